"""try/finally that overrides: return, break and continue in finally, nested."""


def swallowed():
    try:
        raise ValueError("lost")
    finally:
        return "finally wins"


def replaced():
    try:
        return "first"
    finally:
        return "second"


def looped():
    seen = []
    for i in range(4):
        try:
            if i == 1:
                continue
            if i == 3:
                break
            seen.append(i)
        finally:
            seen.append(f"f{i}")
    else:
        seen.append("else")
    return seen


def nested():
    log = []
    try:
        try:
            try:
                raise KeyError("k")
            finally:
                log.append(1)
        except KeyError:
            log.append(2)
            raise TypeError("t") from None
        finally:
            log.append(3)
    except TypeError:
        log.append(4)
    return log


def value_kept():
    x = 1
    try:
        return x
    finally:
        x = 2


def breaks():
    while True:
        try:
            raise ValueError
        finally:
            break
    return "broke"


print(swallowed(), replaced(), looped(), nested(), value_kept(), breaks())
