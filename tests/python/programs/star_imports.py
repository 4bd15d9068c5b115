"""Star imports: names that no code of this module assigned."""

from _sibling import *
from math import *


def area(r):
    return round(pi * r**2, 3)


print(CONSTANT, add(3, 4), Helper(2).value(), floor(2.5), area(2))
print("_hidden" in globals())
