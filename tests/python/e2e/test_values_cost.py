"""What values cost does not depend on their size, and threads that change them meanwhile harm nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.filters import only
from support.recording import Recording

Record = Callable[..., Recording]
Write = Callable[..., Path]


def test_huge_values_cost_what_small_ones_do(record: Record, write: Write) -> None:
    script = write(
        """
        import json
        import sys
        import time

        MAKE = {
            "deep list": lambda size: nest(30_000 if size else 8),
            "long list": lambda size: [None] * (10_000_000 if size else 100),
            "huge str": lambda size: "x" * (1_000_000_000 if size else 2000),
            "huge bytes": lambda size: bytes(500_000_000 if size else 2000),
            "huge dict": lambda size: dict.fromkeys(range(1_000_000 if size else 100)),
            "huge set": lambda size: set(range(1_000_000 if size else 100)),
            "huge int": lambda size: 1 << (100_000_000 if size else 20_000),
        }

        def nest(depth):
            items = []
            for _ in range(depth):
                items = [items]
            return items

        def look(value, other):
            a = 1
            other = value
            b = 2
            other = None
            c = 3
            other = value
            d = 4
            return None

        def once(value):
            begin = time.perf_counter_ns()
            look(value, None)
            return time.perf_counter_ns() - begin

        def fastest(value):
            return min(once(value) for _ in range(15))

        seconds = {}
        for name, make in MAKE.items():
            seconds[name] = [fastest(make(size)) / 1e9 for size in (0, 1)]
        print(json.dumps(seconds))
        """
    )
    rules = write(only("obj:literal:__main__.look"), "look.toml")
    recorded = record(script, options=["--trace-filter", str(rules)])
    assert recorded.status == 0, recorded.stderr
    import json

    for name, (small, huge) in json.loads(recorded.stdout).items():
        # Ten steps that show the value; walking all of it would take from 10 ms (a million entries) to seconds each.
        assert huge < 20 * small + 0.001, f"{name}: {small * 1e6:.0f} µs grew to {huge * 1e6:.0f} µs"
    shown = {str(value)[:40] for call in recorded.trace.main.calls_of("look") for _, value in call.args}
    assert len(shown) > 8, shown


def test_values_that_other_threads_change_are_recorded_without_harm(record: Record, write: Write) -> None:
    script = write(
        """
        import collections
        import sys
        import threading
        import time

        sys.setswitchinterval(1e-6)

        class Shared:
            pass

        shared_list, shared_dict, shared_set = list(range(40)), {}, set()
        shared_queue, instance, text = collections.deque(), Shared(), bytearray(b"abc")
        end = threading.Event()

        def change(seed):
            # Calls of C code let other threads in between.
            n = seed
            while not end.is_set():
                n += 1
                shared_list.append([n])
                if len(shared_list) > 60:
                    del shared_list[:40]
                shared_dict[n % 50] = {n: [n]}
                shared_dict.pop((n * 7) % 50, None)
                if n % 20 == 0:
                    shared_dict.clear()
                    shared_set.clear()
                    instance.__dict__.clear()
                shared_set.add((n, str(n)))
                shared_queue.append(n)
                if len(shared_queue) > 30:
                    shared_queue.clear()
                setattr(instance, f"name{n % 40}", [n])
                if n % 3 == 0:
                    vars(instance).pop(f"name{(n * 3) % 40}", None)
                text.extend(b"more")
                if len(text) > 100:
                    text.clear()
                if n % 50 == 0:
                    time.sleep(0)

        def watch(rounds):
            items, table, unique, queue = shared_list, shared_dict, shared_set, shared_queue
            thing, data = instance, text
            for round in range(rounds):
                copied = list(items)
                time.sleep(0.001)
            return len(items) >= 0

        changers = [threading.Thread(target=change, args=(seed * 1000,)) for seed in range(4)]
        watchers = [threading.Thread(target=watch, args=(40,), name=f"watch-{n}") for n in range(3)]
        for thread in changers + watchers: thread.start()
        for thread in watchers: thread.join()
        end.set()
        for thread in changers: thread.join()
        print("joined")
        """
    )
    rules = write(only("obj:glob:__main__.watch*"), "watch.toml")
    recorded = record(script, options=["--trace-filter", str(rules)])
    assert (recorded.stdout, recorded.status) == ("joined\n", 0), recorded.stderr
    # Reading the traces is the assertion that each is whole and balanced.
    threads = recorded.trace.threads
    watching = [thread for thread in threads if thread.calls_of("watch")]
    assert len(watching) == 3
    for thread in watching:
        assert thread.returns_of("watch") == [["Bool", True]]
        names = {"items", "table", "unique", "queue", "thing", "data"}
        assert sum(names <= step.locals.keys() for step in thread.steps) > 80
    contents = {str(step.locals.get("items")) for thread in watching for step in thread.steps}
    assert len(contents) > 3, "nothing changed meanwhile"
