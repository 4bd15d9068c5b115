"""Producers and consumers on one event loop: coroutines, an async generator, and a task that is cancelled.

./scripts/just run examples/async_pipeline.py
"""

import asyncio


async def countdown(start):
    for n in range(start, 0, -1):
        yield n
        await asyncio.sleep(0)


async def produce(name, start, queue):
    async for n in countdown(start):
        await queue.put((name, n))
    return f"{name} is done"


async def consume(queue, seen):
    try:
        while True:
            name, n = await queue.get()
            seen.append(f"{name}{n}")
            queue.task_done()
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise


async def main():
    queue = asyncio.Queue(maxsize=2)
    seen = []
    consumer = asyncio.create_task(consume(queue, seen))
    async with asyncio.TaskGroup() as group:
        producers = [group.create_task(produce(name, 3, queue)) for name in "abc"]
    await queue.join()
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)
    print([task.result() for task in producers])
    print(seen)


if __name__ == "__main__":
    asyncio.run(main())
