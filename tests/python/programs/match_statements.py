"""match: literals, captures, sequences, mappings, classes, guards, or-patterns, as-patterns."""

from dataclasses import dataclass


@dataclass
class Point:
    x: int
    y: int


class Box:
    __match_args__ = ("content",)

    def __init__(self, content):
        self.content = content


ORIGIN = 0


def classify(value):
    match value:
        case 0 | 1:
            return "bit"
        case int(n) if n < 0:
            return f"negative {n}"
        case float():
            return "float"
        case "" | None:
            return "empty"
        case str() as text:
            return f"text {text}"
        case []:
            return "no items"
        case [only]:
            return f"one {only}"
        case [first, *_, last] if first == last:
            return f"ring {first}"
        case (first, second, *rest):
            return f"{first} {second} {rest}"
        case {"kind": "move", "by": (dx, dy)}:
            return f"move {dx},{dy}"
        case {"kind": kind, **rest}:
            return f"{kind} {rest}"
        case Point(x=0, y=0):
            return "origin"
        case Point(x, y) if x == y:
            return f"diagonal {x}"
        case Point():
            return "point"
        case Box(Box(inner)):
            return f"boxed {inner}"
        case bool() | complex():
            return "odd"
        case _:
            return "unknown"


for value in [
    1, -4, 2.5, "", "abc", [], [7], [1, 2, 1], (1, 2, 3), {"kind": "move", "by": (1, 2)},
    {"kind": "stop", "n": 1}, Point(0, 0), Point(2, 2), Point(1, 2), Box(Box("x")), 3j, object,
]:
    print(classify(value))
