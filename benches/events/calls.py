"""A call with two arguments: four lines, a call and a return an iteration."""

import sys


def add(left, right):
    both = left + right
    return both


def run(n):
    total = 0
    for i in range(n):
        total = add(total, i)
    return total


run(int(sys.argv[1]))
