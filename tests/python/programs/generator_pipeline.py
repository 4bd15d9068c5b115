"""Several live activations of one code object, interleaved."""


def source(name, count):
    for i in range(count):
        yield f"{name}{i}"


def pairs(left, right):
    for x in left:
        y = next(right, None)
        if y is None:
            return
        yield x, y


def upper(items):
    for item in items:
        yield tuple(part.upper() for part in item)


def tree(depth):
    if depth == 0:
        yield depth
        return
    yield from tree(depth - 1)
    yield depth
    yield from tree(depth - 1)


one, two = source("a", 3), source("b", 2)
print(list(upper(pairs(one, two))))
print(list(tree(3)))
running = [source(c, 2) for c in "xyz"]
while running:
    for stream in list(running):
        try:
            print(next(stream))
        except StopIteration:
            running.remove(stream)
