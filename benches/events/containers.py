"""A list, a dict and a tuple that stay as they are while a number changes: four lines an iteration."""

import sys


def run(n):
    numbers = list(range(20))
    table = {f"key{k}": k * 1.5 for k in range(20)}
    pair = ("left", ["right", numbers])
    total = 0
    for i in range(n):
        total = total + i
        total = total - 1
        total = total + 2
    return total, table, pair


run(int(sys.argv[1]))
