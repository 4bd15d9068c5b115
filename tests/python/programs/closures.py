"""Closures: cells, nonlocal, late binding, unbound cells."""


def counter():
    count = 0

    def increment(by=1):
        nonlocal count
        count += by
        return count

    def peek():
        return count

    return increment, peek


def late():
    functions = []
    for i in range(3):
        functions.append(lambda: i)
    return [f() for f in functions]


def bound():
    return [lambda i=i: i for i in range(3)]


def not_yet():
    def use():
        return value

    try:
        use()
    except NameError as error:
        print(error)
    value = 7
    return use()


def parameter_is_cell(x, *args, flag=False, **options):
    def inner():
        return x, args, flag, options

    x += 1
    return inner()


def deleted():
    value = [1]

    def reader():
        return value

    reader()
    del value
    try:
        reader()
    except NameError as error:
        return str(error)


increment, peek = counter()
increment()
increment(5)
print(peek(), late(), [f() for f in bound()])
print(not_yet(), parameter_is_cell(1, 2, flag=True, k="v"), deleted())
other, _ = counter()
print(other(), peek())
