"""What a step costs by what its frame holds: `callbacks.py SCRATCH STEPS ROUNDS`, run by `bench.py --callbacks`.

Prints one JSON object: for every shape of frame the fastest nanoseconds per step of the interpreter's thread, plain,
with C callbacks that do nothing (`floor`), and recorded. The three take turns, and starting and stopping is not in it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType

import codetracer_python_recorder as recorder
import floor

SHAPES = {
    "3 locals": ["a, b = 1, 'two'"],
    "10 locals": ["a, b, c, d, e = 1, 'two', 3.0, None, True", "f, g, h, i = 10**12, 'longer text', -1.5, (1, 2)"],
    "20 locals": [
        "a, b, c, d, e = 1, 'two', 3.0, None, True",
        "f, g, h, i, j = 10**12, 'longer text', -1.5, (1, 2), b'bytes'",
        "k, l, m, o, p = 5, 'six', 7.0, False, 8",
        "q, r, s, t = 'nine', 10, 11.0, 'twelve'",
    ],
    "list of 1000": ["items = list(range(1000))"],
    "dict of 1000": ["table = {str(n): n for n in range(1000)}"],
    "nested objects": ["tree = Node(Node(Node(None, 1), 2), Node(None, 3))", "other = {'tree': tree, 'list': [tree]}"],
}
"""What is assigned before the loop; the loop's counter is a local, too, that changes."""

MUTATION = {
    "list of 1000": "items[n & 7] = n",
    "dict of 1000": "table['5'] = n",
    "nested objects": "tree.right = n",
}


def program(shape: str, change: str) -> str:
    body = "".join(f"    {line}\n" for line in SHAPES[shape])
    return f"""\
class Node:
    def __init__(self, left, right):
        self.left = left
        self.right = right


def main(rounds):
{body}    n = 0
    while n < rounds:
        {change}
        n += 1
"""


def load(path: Path) -> Callable[[int], object]:
    code: CodeType = compile(path.read_text(), str(path), "exec")
    namespace: dict[str, object] = {"__name__": "workload", "__file__": str(path)}
    exec(code, namespace)
    main = namespace["main"]
    assert callable(main)
    return main


def timed(main: Callable[[int], object], rounds: int) -> float:
    """Nanoseconds per step: three lines a round."""
    before = time.thread_time_ns()
    main(rounds)
    return (time.thread_time_ns() - before) / (3 * rounds)


def measure(path: Path, scratch: Path, steps: int, rounds: int) -> dict[str, float]:
    """The least time per step of each way. They take turns in being first: what one leaves behind slows the next."""

    def plain(number: int) -> float:
        return timed(load(path), steps // 3)

    def noop(number: int) -> float:
        # The floor remembers in a code object that it turned its lines on, and that ends with the tool: so each way
        # loads code of its own.
        floor.install(str(path), True)
        took = timed(load(path), steps // 3)
        floor.uninstall()
        return took

    def recorded(number: int) -> float:
        recorder.start(scratch / f"trace-{path.stem}-{number}")
        took = timed(load(path), steps // 3)
        recorder.stop()
        return took

    ways = {"plain": plain, "floor": noop, "recorded": recorded}
    best = dict.fromkeys(ways, float("inf"))
    for number in range(rounds):
        first = number % len(ways)
        for name in [*ways][first:] + [*ways][:first]:
            best[name] = min(best[name], ways[name](number))
    return best


def main() -> None:
    scratch, steps, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    report = {}
    cases = [(shape, shape, "pass") for shape in SHAPES]
    cases += [(f"{shape}, changing", shape, change) for shape, change in MUTATION.items()]
    for number, (name, shape, change) in enumerate(cases):
        path = scratch / f"shape{number}.py"
        path.write_text(program(shape, change))
        report[name] = measure(path, scratch, steps, rounds)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
