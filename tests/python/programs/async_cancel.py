"""Cancellation, timeouts, task groups, shields."""

import asyncio


async def sleeper(log, name):
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        log.append(f"{name} cancelled")
        raise
    finally:
        log.append(f"{name} finished")


async def stubborn(log):
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        log.append("ignored once")
    return "survived"


async def boom():
    await asyncio.sleep(0)
    raise RuntimeError("group member")


async def main():
    log = []
    task = asyncio.create_task(sleeper(log, "one"))
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        log.append("seen")
    task = asyncio.create_task(stubborn(log))
    await asyncio.sleep(0)
    task.cancel()
    log.append(await task)
    never = asyncio.create_task(sleeper(log, "never started"))
    never.cancel()
    await asyncio.wait([never])
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper(log, "two"))
            group.create_task(boom())
    except* RuntimeError as errors:
        log.append(str(errors.exceptions[0]))
    try:
        await asyncio.wait_for(sleeper(log, "three"), timeout=0.01)
    except TimeoutError:
        log.append("timeout")
    return log


print("\n".join(asyncio.run(main())))
