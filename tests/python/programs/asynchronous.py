"""Coroutines: gather, async generators, async with, async for, async comprehensions."""

import asyncio


class Resource:
    def __init__(self, name, log):
        self.name = name
        self.log = log

    async def __aenter__(self):
        self.log.append(f"+{self.name}")
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, kind, error, trace):
        self.log.append(f"-{self.name}")
        return kind is ValueError


class Countdown:
    def __init__(self, n):
        self.n = n

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.n == 0:
            raise StopAsyncIteration
        self.n -= 1
        await asyncio.sleep(0)
        return self.n


async def ticks(n):
    try:
        for i in range(n):
            await asyncio.sleep(0)
            yield i
    finally:
        await asyncio.sleep(0)


async def double(x):
    await asyncio.sleep(0)
    return x * 2


async def fails():
    await asyncio.sleep(0)
    raise ValueError("async failure")


async def main():
    log = []
    results = await asyncio.gather(double(1), double(2), fails(), return_exceptions=True)
    log.append([str(r) for r in results])
    async with Resource("a", log) as a, Resource("b", log):
        log.append(a.name)
    async with Resource("swallow", log):
        raise ValueError("swallowed")
    async for i in ticks(3):
        log.append(i)
    log.append([i async for i in Countdown(3)])
    log.append({i: await double(i) async for i in ticks(2) if i})
    log.append(sum([await double(i) for i in (1, 2)]))
    agen = ticks(5)
    async for i in agen:
        if i == 1:
            break
    await agen.aclose()
    try:
        await fails()
    except ValueError as error:
        log.append(str(error))
    task = asyncio.create_task(double(21))
    log.append(await task)
    return log


for entry in asyncio.run(main()):
    print(entry)
