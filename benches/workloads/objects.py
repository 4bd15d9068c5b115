"""objects + generators + exceptions: a small task scheduler and constraint chain, n rounds."""


class Empty(Exception):
    pass


class Packet:
    __slots__ = ("link", "ident", "kind", "data")

    def __init__(self, link, ident, kind):
        self.link = link
        self.ident = ident
        self.kind = kind
        self.data = [0] * 4


class Queue:
    def __init__(self):
        self.items = []

    def put(self, p):
        self.items.append(p)

    def get(self):
        if not self.items:
            raise Empty()
        return self.items.pop(0)


class Task:
    def __init__(self, sched, name, prio):
        self.sched = sched
        self.name = name
        self.prio = prio
        self.inbox = Queue()
        self.count = 0

    def run(self):
        try:
            p = self.inbox.get()
        except Empty:
            return None
        return self.handle(p)

    def handle(self, p):
        raise NotImplementedError


class Worker(Task):
    def handle(self, p):
        self.count += 1
        for i in range(4):
            p.data[i] = (p.data[i] + self.count + i) & 0xFF
        p.kind = (p.kind + 1) % 3
        return p


class Device(Task):
    def __init__(self, sched, name, prio):
        super().__init__(sched, name, prio)
        self.pending = None

    def handle(self, p):
        self.count += 1
        if self.pending is None:
            self.pending = p
            return None
        q = self.pending
        self.pending = p
        return q


class Scheduler:
    def __init__(self):
        self.tasks = []
        self.log = 0

    def add(self, cls, name, prio):
        t = cls(self, name, prio)
        self.tasks.append(t)
        return t

    @property
    def busy(self):
        return sum(1 for t in self.tasks if t.inbox.items)

    def steps(self, limit):
        n = 0
        while n < limit:
            for t in self.tasks:
                r = t.run()
                yield t, r
                n += 1


def evens(it):
    for t, r in it:
        if r is not None:
            yield t.prio, r


def numbered(it):
    k = 0
    for x in it:
        yield (k,) + x
        k += 1


def one_round(seed):
    s = Scheduler()
    for i in range(3):
        s.add(Worker, "w%d" % i, i)
        s.add(Device, "d%d" % i, i + 10)
    link = None
    for i in range(8):
        link = Packet(link, i, i % 3)
        s.tasks[(seed + i) % 6].inbox.put(link)
    tot = 0
    for k, prio, p in numbered(evens(s.steps(60))):
        nxt = s.tasks[(p.ident + p.kind + k) % 6]
        nxt.inbox.put(p)
        tot += prio + p.data[k & 3]
    try:
        tot += s.busy
        s.tasks[0].inbox.items[99]
    except IndexError as exc:
        tot += len(str(exc))
    finally:
        tot += 1
    return tot


def main(n):
    t = 0
    for k in range(n):
        t += one_round(k)
    return t
