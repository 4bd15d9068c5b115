"""Lambdas: as keys, defaults, nested, immediately called, raising, several on one line."""

data = [("b", 2), ("a", 3), ("c", 1)]
print(sorted(data, key=lambda pair: pair[1]), sorted(data, key=lambda p: (-p[1], p[0])))
add = lambda a, b=1, *c, d=0, **e: a + b + sum(c) + d + len(e)
print(add(1), add(1, 2, 3, d=4, x=5))
compose = lambda f, g: lambda x: f(g(x))
print(compose(lambda x: x + 1, lambda x: x * 2)(5), (lambda: "now")())
print(list(map(lambda x: x * x, filter(lambda x: x % 2, range(6)))))
table = {"sum": lambda *n: sum(n), "max": lambda *n: max(n)}
print({name: function(1, 2, 3) for name, function in table.items()})
fact = lambda n: 1 if n < 2 else n * fact(n - 1)
print(fact(5))
try:
    (lambda: 1 / 0)()
except ZeroDivisionError as error:
    print(error)
multi = lambda x: (
    x
    + 1
)
print(multi(1))
