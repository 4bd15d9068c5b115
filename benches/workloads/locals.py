"""value-heavy: 16 locals of mixed kinds, 20 module globals, a 1000-element list and a growing dict."""

G_LIST = [i * i for i in range(1000)]
G_DICT = {"seed": 1}
G_NAME = "service"
G_HOST = "localhost"
G_PORT = 8080
G_RATE = 0.25
G_FLAG = True
G_NONE = None
G_TUP = (1, 2.5, "three")
G_SET = {1, 2, 3}
G_BYTES = b"\x00\x01\x02abc"
G_NEST = {"a": [1, 2, {"b": "c"}], "d": (4, 5)}
G_TXT = "lorem ipsum dolor sit amet " * 4
G_BIG = 1 << 80
G_CPLX = 1 + 2j
G_RANGE = range(10)
G_COUNT = 0
G_LIMIT = 100000
G_MODE = "fast"
G_SEP = ","


def work(k, name):
    global G_COUNT
    i = k % 1000
    v = G_LIST[i]
    f = v * G_RATE
    s = name + str(i)
    t = (i, s)
    ok = i & 1 == 0
    d = {"i": i, "s": s}
    l = [i, v, f]
    u = s.upper()
    w = len(s) + len(l)
    h = hash(i) ^ w
    m = G_NONE
    b = u[:2]
    e = f + h
    if ok:
        G_DICT[s] = v
    G_COUNT += 1
    r = int(e) + w + len(b) + len(t) + len(d)
    return r


def main(n):
    tot = 0
    for k in range(n * 10):
        tot += work(k, "key")
    return tot + len(G_DICT)
