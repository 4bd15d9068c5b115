"""A pool of one worker: results, failures, callbacks, map; and a generator moved between threads."""

import threading
from concurrent.futures import ThreadPoolExecutor


def square(n):
    return n * n


def picky(n):
    if n == 2:
        raise ValueError(f"not {n}")
    return -n


def numbers():
    n = 0
    while True:
        n += 1
        yield n


shared = numbers()
got = []


def take():
    got.append(next(shared))


with ThreadPoolExecutor(max_workers=1) as pool:
    print(list(pool.map(square, range(4))))
    futures = [pool.submit(picky, n) for n in (1, 2)]
    for future in futures:
        try:
            print(future.result())
        except ValueError as error:
            print(error)
for _ in range(2):
    take()
    other = threading.Thread(target=take)
    other.start(); other.join()
print(got)
