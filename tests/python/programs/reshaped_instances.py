"""Instances whose attributes come, go and change their order; classes that change under their instances."""


class Plain:
    def __init__(self, a, b):
        self.a = a
        self.b = b


class Slotted:
    __slots__ = ("x", "y", "z")

    def __init__(self, x, y):
        self.x = x
        self.y = y


class Both(Slotted):
    pass


class Other:
    def __init__(self):
        self.b = "other"
        self.a = "order"


def attributes():
    first = Plain(1, 2)
    second = Plain(3, 4)
    items = [first, second]
    second.c = 5
    first.c = 6
    del first.a
    first.a = "again"
    del second.b
    second.__dict__["d"] = 7
    first.__dict__.clear()
    first.b = items
    return items


def slots():
    item = Slotted(1, 2)
    item.z = [3]
    del item.y
    item.z.append(item.x)
    item.y = item.z
    del item.x
    both = Both(item, None)
    both.extra = 1
    both.x = both.extra
    del both.extra
    del both.x, both.y
    return item


def classes():
    value = Plain(1, 2)
    Plain.shared = 1
    value.a = 3
    value.__class__ = Other
    value.a = 4
    made = []
    for size in range(4):
        kind = type("Made", (), {"__slots__": tuple("pqrs"[: size + 1])})
        made = kind()
        for name in kind.__slots__:
            setattr(made, name, size)
    for size in range(4):
        kind = type("Made", (Plain,), {})
        made = kind(size, [size])
        made.b[0] += 1
    return made.b


def same_value_other_type():
    value = 1
    value = True
    value = 1.0
    value = 1
    value = -1
    value = 0
    value = False
    value = None
    value = 0.0
    value = -0.0
    value = 1 << 30
    value = 1 << 59
    value = -(1 << 60) + 1
    value = 1 << 60
    value = 1 << 61
    items = [value, 0]
    items[1] = False
    items[1] = 0.0
    items[1] = -0.0
    items[0] = -value
    items[0] = float("nan")
    items[0] = "1"
    items[0] = b"1"
    return items


print(len(attributes()), slots().z is not None, classes(), same_value_other_type()[1])
