"""Enums: auto, flags, members with methods, lookups, failures."""

from enum import Enum, Flag, IntEnum, StrEnum, auto, unique


@unique
class Color(Enum):
    RED = 1
    GREEN = 2
    ALIAS_FREE = auto()

    @classmethod
    def parse(cls, text):
        return cls[text.upper()]

    def mix(self, other):
        return Color.GREEN if self is other else Color.RED


class Planet(Enum):
    EARTH = (5.97e24, 6.37e6)
    MARS = (6.42e23, 3.39e6)

    def __init__(self, mass, radius):
        self.mass = mass
        self.radius = radius

    @property
    def dense(self):
        return self.mass / self.radius**3 > 20000


class Permission(Flag):
    R = auto()
    W = auto()
    RW = R | W


class Level(IntEnum):
    LOW = 1
    HIGH = 10


class Word(StrEnum):
    ONE = auto()


print(Color.parse("red").mix(Color.RED), [c.name for c in Color], Color(2))
print([p.dense for p in Planet], Permission.R | Permission.W is Permission.RW, Level.HIGH > 3, Word.ONE)
try:
    Color(9)
except ValueError as error:
    print(error)
