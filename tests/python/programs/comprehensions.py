"""Comprehensions of every kind: nested, filtered, shadowing, capturing, over several lines."""

matrix = [[1, 2, 3], [4, 5, 6]]
x = "outer"
flat = [x for row in matrix for x in row]
print(x, flat)
squares = {n: n * n for n in flat if n % 2}
unique = {n % 3 for n in flat}
lazy = (n + 1 for n in flat)
print(squares, sorted(unique), list(lazy))
transposed = [
    [row[i] for row in matrix]
    for i in range(3)
]
print(transposed)
long = [
    value
    for value in flat
    if value > 1
    if value < 6
]
print(long)


def inside(items, factor):
    result = [item * factor for item in items]
    nested = {k: [v for v in range(k) if v != factor] for k in items}
    functions = [lambda: item + factor for item in items]
    total = sum(item for item in items if item)
    return result, nested, [f() for f in functions], total


def shadow(items):
    i = "kept"
    got = [i for i in items]
    return i, got


def walrus(items):
    kept = [last := item for item in items]
    return kept, last


def raising(items):
    try:
        return [10 // item for item in items]
    except ZeroDivisionError:
        item = "unbound before"
        return item


print(inside([1, 2], 3), shadow([1]), walrus([4, 5]), raising([1, 0]))
print([[a, b] for a in "ab" for b in "cd" if a != b][:2], [*(c for c in "xy")])
