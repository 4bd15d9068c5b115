"""Fibonacci numbers, slowly and quickly: recursion is where a call tree is worth a thousand prints.

./scripts/just run examples/fibonacci.py 6
"""

import sys


def slow(n):
    if n < 2:
        return n
    return slow(n - 1) + slow(n - 2)


def quick(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    print(f"slow({n}) = {slow(n)}")
    print(f"quick({n}) = {quick(n)}")
    print(f"quick(100) = {quick(100)}")


if __name__ == "__main__":
    main()
