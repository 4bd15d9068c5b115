"""Imports of sibling modules and packages, repeated, relative, failing, and inside functions."""

import importlib

import _sibling
import _package.child as child
from _package import VALUE, lazily
from _sibling import Helper, add as plus


def inside():
    from _package.child import grandchild

    return grandchild()


print(_sibling.CONSTANT, plus(1, 2), Helper(3).value(), VALUE)
print(child.grandchild(), inside(), lazily())
again = importlib.import_module("_sibling")
print(again is _sibling)
try:
    import _broken
except ZeroDivisionError as error:
    print("broken", error)
try:
    import _does_not_exist
except ImportError as error:
    print(error.name)
