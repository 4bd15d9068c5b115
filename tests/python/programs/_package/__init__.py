"""A package imported by other programs."""

from .child import grandchild

VALUE = grandchild() * 2


def lazily():
    from . import other

    return other.NAME
