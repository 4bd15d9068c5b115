"""for/while with else, break, continue; nested loops; iterating dicts while unpacking; enumerate, zip, reversed."""


def primes(limit):
    found = []
    for n in range(2, limit):
        for p in found:
            if n % p == 0:
                break
        else:
            found.append(n)
            continue
        if n > 100:
            return found
    return found


def collatz(n):
    steps = 0
    while n != 1:
        if n % 2:
            n = 3 * n + 1
        else:
            n //= 2
        steps += 1
    else:
        steps += 1000
    return steps


def search(grid, wanted):
    for y, row in enumerate(grid):
        for x, cell in enumerate(row):
            if cell == wanted:
                return x, y
    return None


def bubble(items):
    items = list(items)
    swapped = True
    while swapped:
        swapped = False
        for i in range(len(items) - 1):
            if items[i] > items[i + 1]:
                items[i], items[i + 1] = items[i + 1], items[i]
                swapped = True
    return items


print(primes(30), collatz(6), search([[1, 2], [3, 4]], 3), search([], 1), bubble([3, 1, 2]))
for (name, (low, high)), flag in zip({"a": (1, 2), "b": (3, 4)}.items(), (True, False)):
    if flag:
        continue
    print(name, low, high)
for item in reversed([1, 2]):
    print(item)
