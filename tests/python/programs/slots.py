"""__slots__, unset slots, inheritance of slots, subclasses of built-in types."""


class Vector:
    __slots__ = ("x", "y", "__weakref__")

    def __init__(self, x, y=None):
        self.x = x
        if y is not None:
            self.y = y

    def __add__(self, other):
        return Vector(self.x + other.x, self.y + other.y)


class Named(Vector):
    __slots__ = ("name",)


class Open(Vector):
    pass


class Stack(list):
    def push(self, item):
        self.append(item)
        return self


class Config(dict):
    def __missing__(self, key):
        self[key] = value = key.upper()
        return value


class Celsius(float):
    unit = "C"


class Text(str):
    __slots__ = ()


named = Named(1, 2)
partial = Vector(1)
print(hasattr(partial, "y"), (Vector(1, 2) + named).y, hasattr(named, "name"))
named.name = "n"
try:
    named.other = 1
except AttributeError:
    print("no dict")
opened = Open(1, 2)
opened.extra = [opened.x]
print(Stack().push(1).push(2), Config(a=1)["b"], Celsius(21.5) + 1, Text("t") * 2, opened.extra)
