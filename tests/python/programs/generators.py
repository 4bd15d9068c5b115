"""Generators: send, throw, close, delegation, return values."""


def counter(start, stop):
    value = start
    while value < stop:
        step = yield value
        value += step or 1
    return value


def guarded(log):
    try:
        while True:
            try:
                got = yield len(log)
                log.append(got)
            except ValueError as error:
                log.append(str(error))
    finally:
        log.append("closed")


def delegate(log):
    result = yield from counter(0, 3)
    log.append(result)
    result = yield from guarded(log)
    return result


def unguarded():
    yield None
    yield None


def early():
    yield 1
    return "early"


def raises_stop():
    yield 1
    raise StopIteration("inner")


def infinite():
    n = 0
    while True:
        n += 1
        yield n


log = []
it = counter(0, 6)
print(next(it), it.send(2), it.send(None))
g = guarded(log)
next(g)
g.send("a")
g.throw(ValueError("thrown"))
g.close()
d = delegate(log)
print([next(d) for _ in range(3)])
print(next(d), d.send("x"), d.throw(ValueError("deep")))
d.close()
u = unguarded()
next(u)
try:
    u.throw(KeyError("out"))
except KeyError as error:
    print("escaped", error)
fresh = unguarded()
try:
    fresh.throw(LookupError("before the start"))
except LookupError as error:
    print(error)
unstarted = unguarded()
unstarted.close()
suspended = unguarded()
next(suspended)
suspended.close()
e = early()
next(e)
try:
    next(e)
except StopIteration as stop:
    print(stop.value)
try:
    list(raises_stop())
except RuntimeError as error:
    print(error)
for n in infinite():
    if n > 3:
        break
print(log, sum(x * x for x in counter(0, 4)), max(counter(1, 3)))
a, *rest = counter(0, 4)
print(a, rest)
