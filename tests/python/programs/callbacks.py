"""Python called from C: sorted, map, reduce, re.sub, key functions, iterators, hooks."""

import functools
import re


class Countdown:
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return self

    def __next__(self):
        if not self.n:
            raise StopIteration
        self.n -= 1
        return self.n


class Key:
    def __init__(self, n):
        self.n = n

    def __lt__(self, other):
        return self.n < other.n


def double(match):
    return str(int(match.group()) * 2)


def add(a, b):
    return a + b


def compare(a, b):
    return (a > b) - (a < b)


def broken(n):
    if n == 2:
        raise LookupError("in a callback")
    return n


print(sorted([3, 1, 2], key=Key), list(map(add, [1, 2], [3, 4])), functools.reduce(add, Countdown(4)))
print(re.sub(r"\d+", double, "1 a 22"), sorted("bca", key=functools.cmp_to_key(compare)))
print(list(Countdown(3)), sum(Countdown(3)), max(Countdown(2), default=None), 1 in Countdown(3))
try:
    list(map(broken, range(4)))
except LookupError as error:
    print(error)
print(next(Countdown(0), "default"), dict(zip(Countdown(2), "ab")), [*Countdown(2)], {*Countdown(2)})
print("".join(iter(functools.partial(next, iter("abc|d")), "|")), any(broken(n) for n in (0, 1)))
