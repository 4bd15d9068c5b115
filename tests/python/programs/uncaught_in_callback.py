"""Ends with an exception raised by a callback inside C code, through a generator."""


def numbers():
    for n in (1, 0):
        yield 10 // n


def key(n):
    return -n


print(sorted(numbers(), key=key))
