"""Operator overloading, with every call counted: a recorder that looks too hard changes the counts."""

calls = {}


def count(name):
    calls[name] = calls.get(name, 0) + 1


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __eq__(self, other):
        count("eq")
        return isinstance(other, Money) and self.cents == other.cents

    def __lt__(self, other):
        count("lt")
        return self.cents < other.cents

    def __hash__(self):
        count("hash")
        return hash(self.cents)

    def __add__(self, other):
        count("add")
        return Money(self.cents + other.cents)

    def __radd__(self, other):
        count("radd")
        return self if other == 0 else NotImplemented

    def __iadd__(self, other):
        count("iadd")
        self.cents += other.cents
        return self

    def __bool__(self):
        count("bool")
        return self.cents != 0

    def __len__(self):
        count("len")
        return self.cents

    def __iter__(self):
        count("iter")
        yield from divmod(self.cents, 100)

    def __getitem__(self, index):
        count("getitem")
        return list(self)[index]

    def __contains__(self, item):
        count("contains")
        return item == self.cents

    def __call__(self, factor):
        count("call")
        return Money(self.cents * factor)

    def __repr__(self):
        count("repr")
        return f"{self.cents}c"

    def __index__(self):
        count("index")
        return self.cents

    def __matmul__(self, other):
        count("matmul")
        return (self, other)


a, b = Money(150), Money(250)
c = a + b
c += a
total = sum([a, b])
print(c, total, a == b, a < b, sorted([b, a]), {a: 1}[Money(150)], bool(c), len(a), list(b))
print(a[0], 150 in a, a(2), [0] * 2 == [0, 0], "x" * 3, range(500)[a], (a @ b)[1])
if a and not Money(0):
    first, second = b
print(sorted(calls.items()))
