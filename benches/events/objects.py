"""Objects that refer to each other, one attribute of which changes: four lines an iteration."""

import sys


class Node:
    def __init__(self, name, parent):
        self.name = name
        self.parent = parent
        self.children = []
        self.weight = 1.0
        if parent is not None:
            parent.children.append(self)


def run(n):
    root = Node("root", None)
    leaf = Node("leaf", Node("branch", root))
    total = 0
    for i in range(n):
        leaf.weight = i
        total = total + 1
        total = total - 2
    return total


run(int(sys.argv[1]))
