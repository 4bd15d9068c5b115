"""Loops and blocks on one line, several statements a line."""


def f(x): return x + 1


for i in range(3): f(i)
n = 3
while n: n -= 1
total = 0
for a in range(2): total += f(a); total *= 2
if total: print(total)
else: print("zero")
def g(k): yield from (j for j in range(k)); yield -1
print(list(g(3))); print([f(i) for i in range(3)])
class C: x = 1; y = [x for x in range(2)]
for item in g(2): print(item)
try: f(None)
except TypeError: print("type")
finally: print("done")
with open(__file__) as source: first = source.readline()
x = 1; y = 2; z = x + y
while True: break
for _ in (): pass
else: print("else")
print(C.y, first.strip(), z, (lambda: [f(q) for q in (1, 2)])())
