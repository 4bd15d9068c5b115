"""Async generators driven by hand: asend, athrow, aclose, and coroutines without an event loop."""


class Suspend:
    def __init__(self, value):
        self.value = value

    def __await__(self):
        answer = yield self.value
        return answer


async def echo(log):
    try:
        while True:
            try:
                got = yield len(log)
                log.append(got)
            except KeyError as error:
                log.append(repr(error))
                yield "recovered"
    finally:
        log.append("closed")


def drive(coroutine, answers=()):
    answers = list(answers)
    seen = []
    try:
        seen.append(coroutine.send(None))
        while True:
            seen.append(coroutine.send(answers.pop(0) if answers else None))
    except StopIteration as stop:
        return seen, stop.value


async def conversation(log):
    agen = echo(log)
    first = await anext(agen)
    second = await agen.asend("x")
    third = await agen.athrow(KeyError("k"))
    await agen.aclose()
    reply = await Suspend("question")
    return first, second, third, reply


async def fails():
    await Suspend(1)
    raise StopIteration("converted")


log = []
print(drive(conversation(log), ["answer"]), log)
try:
    drive(fails())
except RuntimeError as error:
    print(error)
thrown = conversation([])
thrown.send(None)
try:
    thrown.throw(OSError("from outside"))
except OSError as error:
    print("thrown through", error)
unawaited = fails()
unawaited.close()
