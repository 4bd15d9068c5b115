"""Dataclasses: generated methods (code of no file), defaults, post-init, ordering, frozen, slots."""

from dataclasses import FrozenInstanceError, asdict, dataclass, field, replace


@dataclass(order=True)
class Item:
    price: float
    name: str = field(compare=False)
    tags: list = field(default_factory=list)

    def __post_init__(self):
        self.label = f"{self.name}@{self.price}"


@dataclass(frozen=True, slots=True)
class Fixed:
    x: int
    y: int = 2

    @property
    def total(self):
        return self.x + self.y


@dataclass
class Parent:
    item: Item
    children: "list[Parent]" = field(default_factory=list)

    def walk(self):
        yield self.item.name
        for child in self.children:
            yield from child.walk()


cheap, dear = Item(1.5, "nut"), Item(9.0, "gear", ["steel"])
print(cheap < dear, cheap.label, asdict(dear), replace(cheap, price=3.0))
fixed = Fixed(1)
try:
    fixed.x = 5
except FrozenInstanceError as error:
    print(type(error).__name__, fixed.total, fixed)
print(list(Parent(dear, [Parent(cheap), Parent(cheap, [Parent(dear)])]).walk()))
