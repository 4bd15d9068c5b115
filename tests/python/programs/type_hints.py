"""Generics, type aliases and annotations, which have scopes of their own."""

from typing import Generic, NamedTuple, Protocol, TypeVar

T = TypeVar("T")
type Pair[A] = tuple[A, A]


class Box(Generic[T]):
    def __init__(self, item: T) -> None:
        self.item: T = item


class Modern[K, V: int]:
    def __init__(self, key: K, value: V) -> None:
        self.pair = (key, value)


class Point(NamedTuple):
    x: int
    y: int = 0

    def norm(self) -> float:
        return (self.x**2 + self.y**2) ** 0.5


class Sized(Protocol):
    def size(self) -> int: ...


def first[S](items: list[S], default: S | None = None) -> S | None:
    return items[0] if items else default


annotated: int = 3
only_declared: str
print(Box(1).item, Modern("k", 2).pair, Point(3, 4).norm(), first([5]), first([]), annotated)
print(Pair.__value__, "only_declared" in globals(), Box[int](2).item)
