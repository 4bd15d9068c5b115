"""Threads: named, joined, with locals of their own, failing, and started from threads.

Started and joined on one line: what a step between the two would show is a matter of chance.
"""

import sys
import threading

results = {}
lock = threading.Lock()
threading.excepthook = lambda args: print("thread failed:", args.exc_value, file=sys.stderr)


def work(name, count):
    total = 0
    for i in range(count):
        total += i
    with lock:
        results[name] = total
    return total


def parent():
    child = threading.Thread(target=work, args=("child", 4), name="child")
    child.start(); child.join()
    work("parent", 2)


def fails():
    raise ValueError("in a thread")


class Worker(threading.Thread):
    def __init__(self, n):
        super().__init__(name=f"worker-{n}")
        self.n = n

    def run(self):
        work(self.name, self.n)


for target in (parent, fails):
    thread = threading.Thread(target=target, name=target.__name__)
    thread.start(); thread.join()
workers = [Worker(n) for n in range(3)]
for worker in workers:
    worker.start(); worker.join()
print(sorted(results.items()))
