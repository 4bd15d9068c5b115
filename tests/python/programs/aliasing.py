"""Values mutated in place by callees, through aliases, and while they are iterated."""


def append(items, value):
    items.append(value)


def nested_mutation(tree):
    tree["children"][0]["name"] = "changed"
    tree["count"] = tree.get("count", 0) + 1


def caller():
    items = [1]
    alias = items
    holder = {"list": items}
    append(items, 2)
    append(alias, 3)
    holder["list"].append(4)
    items[0] = "first"
    del items[1]
    items.sort(key=str)
    alias = None
    return items, holder


def same_length(items):
    items[0], items[-1] = items[-1], items[0]


def swaps():
    items = [1, 2, 3]
    same_length(items)
    keys = {"a": 1}
    keys["b"] = keys.pop("a")
    groups = {1, 2}
    groups.discard(1)
    groups.add(3)
    buffer = bytearray(b"abc")
    buffer[0] = 120
    deep = [[[0]]]
    deep[0][0][0] = 1
    deep[0][0].append(deep[0][0][0])
    return items, keys, groups, buffer, deep


def in_loop():
    pending = [3]
    seen = []
    for n in pending:
        seen.append(n)
        if n:
            pending.append(n - 1)
    return seen


tree = {"children": [{"name": "old"}]}
nested_mutation(tree)
print(tree, caller(), swaps(), in_loop())
