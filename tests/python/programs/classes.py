"""Classes: methods of every kind, inheritance, super, class attributes, nested classes."""


class Shape:
    count = 0
    registry = {}

    def __init_subclass__(cls, /, label="none", **kwargs):
        super().__init_subclass__(**kwargs)
        cls.label = label
        Shape.registry[label] = cls.__name__

    def __init__(self, name):
        self.name = name
        type(self).count += 1
        Shape.count += 1

    def area(self):
        raise NotImplementedError

    def describe(self):
        return f"{self.name}: {self.area()}"

    @classmethod
    def make(cls, *args):
        return cls(*args)

    @staticmethod
    def unit():
        return "cm"

    def __repr__(self):
        return f"<{self.label} {self.name}>"


class Square(Shape, label="square"):
    def __init__(self, side):
        super().__init__("sq")
        self.side = side

    def area(self):
        return self.side**2


class Circle(Shape, label="circle"):
    class Point:
        x = y = 0

        def norm(self):
            return (self.x**2 + self.y**2) ** 0.5

    def __init__(self, radius):
        super().__init__("ci")
        self.center = self.Point()
        self.radius = radius

    def area(self):
        return 3 * self.radius**2


class Mixin:
    def area(self):
        return super().area() + 1


class Odd(Mixin, Square, label="odd"):
    pass


shapes = [Square.make(2), Circle.make(3), Odd(4)]
for shape in shapes:
    print(shape.describe(), shape, shape.unit())
print(Shape.count, Shape.registry, Circle(1).center.norm())
try:
    Shape("abstract").describe()
except NotImplementedError:
    print("abstract")
