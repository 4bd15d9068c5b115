"""String and list += in loops: in-place optimisations the recorder must not disturb."""

import sys


def build(n):
    s = ""
    for i in range(n):
        s += str(i)
    return s


def lists(n):
    out = []
    alias = out
    for i in range(n):
        out += [i]
        out = out + [i]
    return alias, out


def grows(n):
    data = b""
    for i in range(n):
        data += bytes([i])
    joined = ",".join(str(b) for b in data)
    return joined


def interned():
    a = "word"
    b = "".join(["wo", "rd"])
    return a == b, sys.intern(b) is a


print(build(15), lists(3), grows(5), interned())
line = ""
for word in "the quick brown fox".split():
    line += word.capitalize() if len(line) % 2 else word
print(line)
