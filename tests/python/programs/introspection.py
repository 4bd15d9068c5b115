"""Programs that look at their own stack, locals and tracebacks, as a framework does."""

import inspect
import sys
import traceback


def caller_name():
    return sys._getframe(1).f_code.co_name


def names():
    a = 1
    b = [a]
    return sorted(locals()), inspect.currentframe().f_lineno > 0, b


def stack():
    return [entry.name for entry in traceback.extract_stack()][-2:]


def failing():
    raise ValueError("shown")


def formatted():
    try:
        failing()
    except ValueError:
        return traceback.format_exc().splitlines()[-1], len(traceback.extract_tb(sys.exc_info()[2]))


print(caller_name(), names(), stack(), formatted(), str(inspect.signature(caller_name)))
print("recorder" in " ".join(traceback.format_stack()).lower())
