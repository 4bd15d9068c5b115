"""asyncio: 100 tasks, n steps each, queue + lock + sleep(0)."""

import asyncio


async def step(i, k):
    v = i * 31 + k
    v ^= v >> 3
    return v & 0xFF


async def producer(i, n, q):
    s = 0
    for k in range(n):
        v = await step(i, k)
        s += v
        if k & 3 == 0:
            await asyncio.sleep(0)
        await q.put((i, v))
    return s


async def consumer(n, q, lock, st):
    for _ in range(n):
        i, v = await q.get()
        async with lock:
            st["n"] += 1
            st["sum"] += i ^ v


async def amain(n):
    q = asyncio.Queue(64)
    lock = asyncio.Lock()
    st = {"n": 0, "sum": 0}
    ps = [asyncio.create_task(producer(i, n, q)) for i in range(50)]
    cs = [asyncio.create_task(consumer(n, q, lock, st)) for _ in range(50)]
    r = await asyncio.gather(*ps, *cs)
    return sum(x for x in r if x) + st["sum"]


def main(n):
    if not n:
        return 0
    return asyncio.run(amain(n))
