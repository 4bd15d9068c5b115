"""Structures far deeper than any recorder or viewer can show."""


def nest(levels):
    return eval("[" * levels + "]" * levels)


def depth(value):
    levels = 0
    while value: value = value[0]; levels += 1
    return levels


class Link:
    def __init__(self, inner):
        self.inner = inner


nested = nest(90)
stack = [nested] * 3
mapping = {}
for n in range(100): mapping = {n: mapping}
chain = None
for _ in range(50): chain = Link(chain)
bottomless = [0]
for _ in range(30_000): bottomless = [bottomless]
print(depth(nested), len(mapping), chain.inner is not None, len(stack))
held = {"deep": (bottomless, nested)}
print(depth(bottomless[0]) > 1000)
