"""Context managers: classes, contextlib, suppress, ExitStack, failures on the way in and out."""

import contextlib


class Managed:
    def __init__(self, name, log, swallow=False, fail=None):
        self.name, self.log, self.swallow, self.fail = name, log, swallow, fail

    def __enter__(self):
        self.log.append(f"enter {self.name}")
        if self.fail == "enter":
            raise RuntimeError("enter failed")
        return self

    def __exit__(self, kind, error, trace):
        self.log.append(f"exit {self.name} {kind and kind.__name__}")
        if self.fail == "exit":
            raise RuntimeError("exit failed")
        return self.swallow


@contextlib.contextmanager
def managed(log):
    log.append("before")
    try:
        yield "resource"
    except ValueError as error:
        log.append(f"caught {error}")
    finally:
        log.append("after")


def run(log):
    with Managed("a", log) as a, Managed("b", log):
        log.append(a.name)
    with Managed("swallow", log, swallow=True):
        raise KeyError("gone")
    with managed(log) as resource:
        log.append(resource)
        raise ValueError("inside")
    with contextlib.suppress(ZeroDivisionError): 1 / 0
    with (
        Managed("p", log) as p,
        Managed("q", log) as q,
    ):
        log.append((p.name, q.name))
    for fail in ("enter", "exit"):
        try:
            with Managed(fail, log, fail=fail):
                log.append("body")
        except RuntimeError as error:
            log.append(str(error))
    with contextlib.ExitStack() as stack:
        for n in range(3):
            stack.enter_context(Managed(n, log))
        stack.callback(log.append, "callback")
    return log


def returning(log):
    with Managed("r", log):
        return "returned"


def leaves(log):
    with Managed("l", log):
        raise LookupError("leaves")


log = []
print(run([]), returning(log), log)
try:
    leaves(log)
except LookupError as error:
    print(error, log)
