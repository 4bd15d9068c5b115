"""Assignment expressions, chained comparisons, conditional expressions, unpacking, augmented assignment."""


def consume(items):
    items = list(items)
    total = 0
    while (n := len(items)) > 1:
        if (item := items.pop()) % 2 and (double := item * 2) > 4:
            total += double
        total += n
    return total, item


def unpack(data):
    (a, b), *middle, (c, [d, *e]) = data
    a, b = b, a
    first = second = [a]
    first += [b]
    return a, b, middle, c, d, e, first is second


def chain(x):
    if 0 < x <= 10 and (y := x % 3) or (y := -1):
        return "in" if 0 <= y < 2 < x else "edge"
    return "never"


print(consume(range(6)), unpack([(1, 2), 3, 4, (5, [6, 7, 8])]))
print([chain(x) for x in (1, 2, 4, 30)])
if (m := max(3, 4)) > 3: print(m)
values = {}
values["k"] = values.get("k", 0) + 1
values["k"] <<= 3
x = y = z = 0
x += 1; y -= 1; z |= 6
print(values, x, y, z, not x, x if y else z)
