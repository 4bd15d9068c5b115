"""Recursion: simple, mutual, multiple, and with mutable state passed down."""


def factorial(n):
    if n <= 1:
        return 1
    return n * factorial(n - 1)


def is_even(n):
    return True if n == 0 else is_odd(n - 1)


def is_odd(n):
    return False if n == 0 else is_even(n - 1)


def hanoi(n, source, target, spare, moves):
    if n:
        hanoi(n - 1, source, spare, target, moves)
        moves.append((source, target))
        hanoi(n - 1, spare, target, source, moves)
    return len(moves)


def ackermann(m, n):
    if m == 0:
        return n + 1
    if n == 0:
        return ackermann(m - 1, 1)
    return ackermann(m - 1, ackermann(m, n - 1))


def permutations(items, prefix=()):
    if not items:
        return [prefix]
    result = []
    for i, item in enumerate(items):
        rest = items[:i] + items[i + 1 :]
        result += permutations(rest, prefix + (item,))
    return result


print(factorial(10), is_even(7), hanoi(3, "a", "b", "c", []), ackermann(1, 3), len(permutations([1, 2, 3])))
