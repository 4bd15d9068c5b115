"""The moment objects die, as the program sees it: __del__, weakrefs, callbacks, cycles, reference counts."""

import gc
import sys
import weakref

log = []


class Node:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        log.append(f"del {self.name}")


def scope():
    local = Node("local")
    reference = weakref.ref(local, lambda _: log.append("callback"))
    log.append(reference() is local)
    del local
    log.append(reference() is None)
    kept = Node("kept")
    log.append("end of scope")


def rebind():
    node = Node("first")
    node = Node("second")
    log.append("rebound")
    return node


def consume(node):
    name = node.name
    node = None
    log.append("dropped")
    return name


def cycle():
    a, b = Node("a"), Node("b")
    a.other, b.other = b, a


def counts():
    item = object()
    one = sys.getrefcount(item)
    alias = [item]
    two = sys.getrefcount(item)
    return two - one, len(alias)


gc.disable()
scope()
log.append("after scope")
rebind()
consume(Node("argument"))
cycle()
log.append("before collect")
gc.collect()
values = weakref.WeakValueDictionary()
values["x"] = held = Node("weak value")
held = None
log.append(len(values))
for n in range(2):
    node = Node(f"loop {n}")
del node
print(counts())
print("\n".join(map(str, log)))
