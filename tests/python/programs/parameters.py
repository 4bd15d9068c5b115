"""Every kind of parameter, and every way to pass arguments."""


def everything(a, b, /, c, d=4, *args, e, f=6, **kwargs):
    return a, b, c, d, args, e, f, kwargs


def only_keyword(*, x, y=2):
    return x, y


def only_positional(p, q=1, /):
    return p, q


def star_only(*args):
    return args


def double_star_only(**kwargs):
    return kwargs


def mutable_default(item, bucket=[]):
    bucket.append(item)
    return bucket


def annotated(n: int, label: str = "x") -> str:
    return label * n


def none():
    return None


print(everything(1, 2, 3, e=5))
print(everything(1, 2, 3, 40, 41, 42, e=5, f=60, g=7, h=8))
print(everything(*[1, 2], *(3,), **{"e": 5}, **{"z": 9}))
print(only_keyword(x=1), only_keyword(y=1, x=3), only_positional(1), only_positional(1, 2))
print(star_only(), star_only(*"ab"), double_star_only(), double_star_only(k=[1]))
print(mutable_default(1), mutable_default(2), mutable_default(3, []), annotated(2), none())
for call in (lambda: only_keyword(1), lambda: only_positional(p=1), lambda: none(1)):
    try:
        call()
    except TypeError as error:
        print(type(error).__name__)
