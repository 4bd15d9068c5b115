"""Runs into the recursion limit and recovers; prints how deep it came."""

import sys


def dive(n):
    global deepest
    deepest = n
    dive(n + 1)


def bounded(n):
    return bounded(n + 1)


deepest = 0
for _ in range(2):
    try:
        dive(1)
    except RecursionError as error:
        print(type(error).__name__, deepest)
sys.setrecursionlimit(300)
try:
    bounded(0)
except RecursionError:
    print("recovered", len([1]))
dive_again = sorted([3, 1], key=lambda n: -n)
print(dive_again)
