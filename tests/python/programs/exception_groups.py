"""Exception groups and except*."""


def throw(*errors):
    raise ExceptionGroup("several", list(errors))


def handle(*errors):
    log = []
    try:
        throw(*errors)
    except* ValueError as group:
        log.append(("value", [str(e) for e in group.exceptions]))
    except* (KeyError, IndexError) as group:
        log.append(("lookup", len(group.exceptions)))
    else:
        log.append("else")
    finally:
        log.append("finally")
    return log


def nested():
    try:
        try:
            throw(TypeError("t"), ValueError("v"), ExceptionGroup("inner", [KeyError("k"), ValueError("w")]))
        except* ValueError as group:
            print("inner", len(group.exceptions))
    except* TypeError:
        print("type")
    except* KeyError as group:
        print(group.message)


def unmatched():
    try:
        throw(OSError("o"), ValueError("v"))
    except* ValueError:
        pass


def naked():
    try:
        raise ValueError("alone")
    except* ValueError as group:
        kind = type(group).__name__
    return kind


print(handle(ValueError("a"), KeyError("b"), ValueError("c")))
print(handle(IndexError("d")))
nested()
try:
    unmatched()
except ExceptionGroup as group:
    print([type(e).__name__ for e in group.exceptions])
print(naked())
