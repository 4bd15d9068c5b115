"""Metaclasses: __prepare__, __new__, __call__, attribute hooks, abstract classes."""

from abc import ABC, abstractmethod


class Recorded(dict):
    def __init__(self):
        super().__init__()
        self.order = []

    def __setitem__(self, name, value):
        if not name.startswith("__"):
            self.order.append(name)
        super().__setitem__(name, value)


class Meta(type):
    @classmethod
    def __prepare__(mcs, name, bases, **options):
        return Recorded()

    def __new__(mcs, name, bases, namespace, **options):
        cls = super().__new__(mcs, name, bases, dict(namespace))
        cls.order = namespace.order
        cls.options = options
        return cls

    def __init__(cls, name, bases, namespace, **options):
        super().__init__(name, bases, namespace)

    def __call__(cls, *args, **kwargs):
        instance = super().__call__(*args, **kwargs)
        instance.made_by = cls.__name__
        return instance

    def __len__(cls):
        return len(cls.order)

    def __contains__(cls, item):
        return item in cls.order


class Model(metaclass=Meta, table="models"):
    first = 1
    second = "two"

    def method(self):
        return self.first


class Base(ABC):
    @abstractmethod
    def run(self): ...


class Concrete(Base):
    def run(self):
        return "ran"


model = Model()
print(Model.order, Model.options, model.made_by, len(Model), "first" in Model, model.method())
try:
    Base()
except TypeError as error:
    print(type(error).__name__)
print(Concrete().run(), isinstance(Concrete(), Base))
Dynamic = Meta("Dynamic", (), Meta.__prepare__("Dynamic", ()), flavour=1)
print(Dynamic().made_by, Dynamic.options)
