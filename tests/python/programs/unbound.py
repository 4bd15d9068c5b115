"""Variables that are not bound: deleted, not yet assigned, cleared by except."""


def deleted():
    x = 1
    y = x
    del x
    try:
        return x
    except UnboundLocalError as error:
        return type(error).__name__, y


def conditional(flag):
    if flag:
        maybe = "set"
    try:
        return maybe
    except UnboundLocalError:
        return "unset"


def cleared():
    try:
        raise ValueError("v")
    except ValueError as error:
        kept = str(error)
    return "error" in locals(), kept


def loops():
    for never in []:
        pass
    found = "never" in locals()
    for once in [1]:
        pass
    return found, once


def rebinds(n):
    del n
    n = "again"
    values = [n, None]
    del values[0]
    return values


print(deleted(), conditional(True), conditional(False), cleared(), loops(), rebinds(0))
top = 1
del top
print("top" in globals())
