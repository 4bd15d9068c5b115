"""A module of the package."""


def grandchild():
    return 21
