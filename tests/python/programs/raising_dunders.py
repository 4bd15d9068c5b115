"""An object whose every special method counts and raises: no one but the program may call them."""

count = 0


def trap(name):
    def method(*args, **kwargs):
        global count
        count += 1
        raise RuntimeError(name)

    return method


NAMES = """repr str bytes format lt le eq ne gt ge hash bool len getitem setitem delitem iter next reversed
contains add sub mul getattr call enter exit int float index complex round neg pos abs invert get set delete
dir sizeof reduce reduce_ex copy deepcopy instancecheck subclasscheck length_hint fspath await aiter anext
buffer""".split()


class Meta(type):
    def __getattr__(cls, name):
        return trap("meta getattr")()


for special in ("repr", "eq", "hash", "instancecheck", "subclasscheck", "len", "bool", "dir"):
    setattr(Meta, f"__{special}__", trap(f"meta {special}"))
Meta.__hash__ = type.__hash__


class Trap(metaclass=Meta):
    def __init__(self, content):
        object.__setattr__(self, "content", content)

    prop = property(trap("property"))


for special in NAMES:
    setattr(Trap, f"__{special}__", trap(special))


class TrapList(list):
    pass


class TrapDict(dict):
    pass


class TrapStr(str):
    pass


class TrapInt(int):
    pass


class TrapError(Exception):
    pass


for kind in (TrapList, TrapDict, TrapStr, TrapInt, TrapError):
    for special in NAMES:
        if special != "hash" or kind is not TrapStr:
            setattr(kind, f"__{special}__", trap(f"{kind.__name__} {special}"))
    kind.__getattribute__ = trap("getattribute")


def takes(argument, *rest, option=None, **options):
    local = argument
    container = [local, (rest, option), {"key": local}]
    return container


def yields(item):
    got = yield item
    yield got


def raises(item):
    raise TrapError(item)


trap_object = Trap([1, 2])
everything = [trap_object, TrapList([1]), TrapDict(a=1), TrapStr("s"), TrapInt(5)]
for item in everything:
    result = takes(item, item, option=item, extra=item)
    generator = yields(item)
    next(generator)
    generator.send(item)
    try:
        raises(item)
    except TrapError:
        pass


class Holder:
    def __init__(self, held):
        self.held = held

    def method(self):
        return self.held


Holder(trap_object).method()
assert result[0] is item
print("called", count, "times")
