"""4 threads: arithmetic, strings, a shared lock; n*100 steps each."""

import threading

LOCK = threading.Lock()
TOTAL = {"v": 0}


def mix(x, i):
    x = (x * 33 + i) & 0xFFFFFFFF
    x ^= x >> 7
    return x


def worker(idx, n):
    x = idx + 1
    words = []
    for i in range(n * 100):
        x = mix(x, i)
        if i % 10 == 0:
            w = "t%d-%x" % (idx, x)
            words.append(w)
        if len(words) >= 8:
            line = ",".join(words)
            words.clear()
            with LOCK:
                TOTAL["v"] += len(line)
    with LOCK:
        TOTAL["v"] += x


def main(n):
    ts = [threading.Thread(target=worker, args=(i, n)) for i in range(4)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    return TOTAL["v"] if n else 0
