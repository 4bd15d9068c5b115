"""Big ints, special floats, complex numbers, long strings and containers."""


def keep(value):
    same = value
    return same


power = 2**200
negative = -(3**100)
edge = [2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 0, -1, True]
floats = [0.1, 1e300 * 1e10, -1e300 * 1e10, float("nan"), -0.0, 5e-324, 1e16, 123456789.123456789, 1 / 3]
complexes = [1j, complex(0, -1.5)]
text = "x" * 100_000
numbers = list(range(50_000))
table = {n: str(n) for n in range(5_000)}
wide = tuple([n] * 3 for n in range(2_000))
pool = set(range(3_000))
data = bytes(range(256)) * 100
for value in (power, negative, edge, floats, complexes, text, numbers, table, wide, pool, data):
    keep(value)
print(power, negative, edge, floats, complexes, len(text), len(numbers), len(table), len(wide), len(pool))
enormous = 1 << 100_000
keep(enormous)
print(enormous.bit_length())
