"""Structures that contain themselves or share parts."""


class Node:
    def __init__(self, value):
        self.value = value
        self.next = None


loop = [1, 2]
loop.append(loop)
mapping = {"self": None}
mapping["self"] = mapping
shared = [0]
twice = [shared, shared, (shared,)]
a, b = [], []
a.append(b)
b.append(a)
first, second = Node(1), Node(2)
first.next, second.next = second, first
tuple_cycle = ([],)
tuple_cycle[0].append(tuple_cycle)


def walk(node, limit):
    values = []
    while limit:
        values.append(node.value)
        node = node.next
        limit -= 1
    return values


def touch(structure):
    return len(structure)


print(walk(first, 3), touch(loop), touch(mapping), touch(twice), touch(a), touch(tuple_cycle))
shared.append(1)
print(twice)
