"""Class bodies that compute: loops, conditions, comprehensions, captured variables, functions inside."""

LIMIT = 3


class Table:
    entries = {}
    for i in range(LIMIT):
        entries[i] = i * i
    del i
    squares = [n * n for n in range(LIMIT)]
    if LIMIT > 2:
        big = True
    else:
        big = False

    def get(self, key, table=entries):
        return table[key]

    total = sum(entries.values())
    nested = [[x * y for x in range(2)] for y in range(2)]
    pick = lambda self, n: self.squares[n]  # noqa: E731


def factory(prefix, size):
    captured = prefix * 2

    class Made:
        tag = captured
        width = size
        shadowed = captured + "!"

        class Inner:
            label = prefix
            deep = [prefix + str(n) for n in range(2)]

        def show(self):
            return captured, self.tag, prefix

    return Made


print(Table().get(2), Table.total, Table.nested, Table().pick(1), Table.big)
Made = factory("ab", 4)
print(Made().show(), Made.shadowed, Made.Inner.label, Made.Inner.deep)
Again = factory("z", 1)
print(Again.tag, Again.width)
