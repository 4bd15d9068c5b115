"""Ends with an exception nobody catches, with a cause and notes."""


def inner(n):
    items = [1, 2]
    return items[n]


def outer():
    try:
        inner(5)
    except IndexError as error:
        wrapped = ValueError("outer failure")
        wrapped.add_note("look at inner")
        raise wrapped from error


print("before")
outer()
print("never")
