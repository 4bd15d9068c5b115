"""Imported by other programs."""

CONSTANT = [1, 2]


def add(a, b):
    return a + b


class Helper:
    def __init__(self, n):
        self.n = n

    def value(self):
        return self.n * len(CONSTANT)


_hidden = "not exported by star"
