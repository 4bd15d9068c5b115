"""Expressions over many lines: calls, chains, conditions, literals, strings."""


def f(*args, **kwargs):
    return sum(args) + sum(kwargs.values())


result = f(
    1,
    f(
        2,
        3,
    ),
    k=f(
        4
    ),
)
condition = (
    result > 5
    and
    result < 100
    or
    f(1) == 0
)
value = (
    "yes"
    if condition
    else "no"
)
text = (
    "a"
    f"{value}"
    "b"
)
chained = (
    text
    .upper()
    .replace("A", "x")
    .strip()
)
data = {
    "one": f(1),
    "two": [
        f(n)
        for n in range(2)
    ],
    "three": lambda: (
        f(3)
    ),
}
print(
    result,
    value, chained,
    data["three"](),
)


def default(
    a=f(1),
    *,
    b: int = f(
        2
    ),
) -> None:
    return (
        a
        + b
    )


print(default(
    a=3
))
try:
    f(
        1,
        None,
    )
except TypeError:
    print("failed")
assert (
    condition
), "never"
total = 1 + \
    f(2) + \
    3
print(total)
