"""Five numbers, two of which change: four lines an iteration."""

import sys


def run(n):
    a, b, c, d = 1, 2.5, "text", None
    for i in range(n):
        a = i + 3
        b = b + 0.5
        d = a
    return a, b, c, d


run(int(sys.argv[1]))
