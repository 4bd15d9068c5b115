"""call-heavy: recursive fib(15), n repetitions (1973 calls each)."""


def fib(k):
    if k < 2:
        return k
    return fib(k - 1) + fib(k - 2)


def main(n):
    t = 0
    for _ in range(n):
        t += fib(15)
    return t
