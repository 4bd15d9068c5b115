"""Exceptions: raise, from, finally, else, nested, re-raised, replaced, through several frames."""


class Custom(Exception):
    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


def fails(n):
    if n == 0:
        raise Custom("bottom", 42)
    return fails(n - 1)


def shapes(kind):
    log = []
    try:
        if kind == "value":
            raise ValueError("v")
        elif kind == "index":
            [][1]
        elif kind == "custom":
            fails(2)
    except ValueError as error:
        log.append(f"value {error}")
    except (IndexError, KeyError):
        log.append("lookup")
    else:
        log.append("else")
    finally:
        log.append("finally")
    return log


def chained():
    try:
        try:
            {}["missing"]
        except KeyError as error:
            raise RuntimeError("wrapped") from error
    except RuntimeError as error:
        return type(error.__cause__).__name__


def context():
    try:
        try:
            1 / 0
        except ZeroDivisionError:
            int("x")
    except ValueError as error:
        return type(error.__context__).__name__


def reraised():
    try:
        try:
            raise OSError("first")
        except OSError:
            try:
                raise KeyError("second")
            except KeyError:
                pass
            raise
    except OSError as error:
        return str(error)


def passes_through():
    try:
        fails(1)
    finally:
        cleanup = "done"
    return cleanup


def bare_reraise():
    try:
        fails(0)
    except Custom:
        try:
            raise LookupError("other")
        except LookupError:
            pass
        raise


def not_matching():
    try:
        raise TypeError("t")
    except ValueError:
        pass


for kind in ("value", "index", "none"):
    print(shapes(kind))
try:
    shapes("custom")
except Custom as error:
    print(error, error.code)
print(chained(), context(), reraised())
for function in (passes_through, bare_reraise, not_matching):
    try:
        function()
    except Exception as error:
        print(function.__name__, type(error).__name__, error)
try:
    raise ValueError from None
except ValueError as error:
    error.add_note("a note")
    print(error.__suppress_context__, error.__notes__)
try:
    assert [] == [1], "assertion text"
except AssertionError as error:
    print(error)
