"""Functions of one name: redefined, in classes, in branches, on one line."""


def work():
    return "first"


print(work())


def work():
    return "second"


print(work())


class A:
    def work(self):
        return "A"


class B:
    def work(self):
        return "B"


def make(kind):
    if kind:
        def work(x):
            return x + 1
    else:
        def work(x):
            return x - 1
    return work


first, second = lambda: 1, lambda: 2
print(A().work(), B().work(), make(True)(1), make(False)(1), first(), second())
for n in range(2):
    def work(n=n):
        return n
    print(work())
