"""Generators that are never finished: left suspended, collected, closed by the collector, kept in cycles."""

import gc

log = []


def watched(name):
    try:
        yield 1
        yield 2
    finally:
        log.append(name)


def half():
    it = watched("half")
    next(it)
    return "left"


def kept_in_cycle():
    holder = {}
    holder["it"] = watched("cycle")
    holder["self"] = holder
    next(holder["it"])


gc.disable()
print(half(), log)
kept_in_cycle()
print(log)
gc.collect()
print(log)
alive = watched("alive")
next(alive)
del alive
print(log)
first, _ = watched("unpacked")
print(first, log)
