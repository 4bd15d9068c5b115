"""Properties and descriptors, data and non-data, with __set_name__ and __getattr__."""


class Typed:
    def __init__(self, kind):
        self.kind = kind

    def __set_name__(self, owner, name):
        self.slot = "_" + name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        return instance.__dict__.get(self.slot)

    def __set__(self, instance, value):
        if not isinstance(value, self.kind):
            raise TypeError(f"{self.slot} wants {self.kind.__name__}")
        instance.__dict__[self.slot] = value

    def __delete__(self, instance):
        del instance.__dict__[self.slot]


class Lazy:
    def __init__(self, function):
        self.function = function

    def __get__(self, instance, owner=None):
        value = self.function(instance)
        instance.__dict__[self.function.__name__] = value
        return value


class Thing:
    width = Typed(int)
    name = Typed(str)

    def __init__(self, width):
        self.width = width
        self.log = []

    @property
    def doubled(self):
        return self.width * 2

    @doubled.setter
    def doubled(self, value):
        self.width = value // 2

    @doubled.deleter
    def doubled(self):
        self.width = 0

    @Lazy
    def heavy(self):
        self.log.append("computed")
        return sum(range(self.width))

    def __getattr__(self, name):
        if name.startswith("dyn_"):
            return name[4:]
        raise AttributeError(name)


thing = Thing(4)
thing.doubled = 20
print(thing.doubled, thing.heavy, thing.heavy, thing.log, thing.dyn_x)
del thing.doubled
thing.name = "n"
del thing.name
print(thing.width, thing.name, hasattr(thing, "missing"))
try:
    thing.width = "wide"
except TypeError as error:
    print(error)
