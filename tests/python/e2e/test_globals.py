"""Which globals a step shows: those that its code can load, all, or none, by `values.globals`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.recording import Recording

Record = Callable[..., Recording]
Write = Callable[..., Path]

PROGRAM = """\
import math

limit = 10
unused = "no function loads it"
late = None

def helper():
    return 1

class Kind:
    pass

def work(n):
    def inner():
        return late
    total = n + limit + helper() + len("ab") + math.floor(1.5)
    return total, inner(), Kind

work(1)
late = [2]
work(2)
limit = len
del late
try:
    work(3)
except (NameError, TypeError):
    pass
"""

IN_ANY_CASE = {"n", "total", "inner"}
SHOWN = {"referenced": {"limit", "late"}, "all": {"limit", "late", "unused"}, "off": set()}


@pytest.mark.parametrize("policy", SHOWN)
def test_a_function_shows_the_globals_that_the_policy_names(policy: str, record: Record, write: Write) -> None:
    recorded = record(write(PROGRAM), env={"CODETRACER_POLICY": f"values.globals={policy}"})
    assert (recorded.status, recorded.stderr) == (0, "")
    steps = recorded.trace.main.steps
    lines = {text.strip(): number for number, text in enumerate(PROGRAM.splitlines(), 1)}
    first, second, third = [step.locals for step in steps if step.line == lines["def inner():"]]
    assert first.keys() - IN_ANY_CASE == SHOWN[policy]
    assert second.keys() - IN_ANY_CASE == SHOWN[policy]
    # A function is no data, and what was deleted is nothing.
    assert third.keys() - IN_ANY_CASE == SHOWN[policy] - {"limit", "late"}
    if policy != "off":
        assert (first["limit"], first["late"]) == (["Int", "0xa"], ["None"])
        assert second["late"] == ["List", [["Int", "0x2"]]]
    if policy == "all":
        assert first["unused"] == ["String", "no function loads it"]
    # A module's own names are its variables, whatever the policy.
    (at_module,) = [step.locals for step in steps if step.line == lines["work(2)"]]
    assert {"limit", "unused", "late"} <= at_module.keys()


@pytest.mark.parametrize("count", [3, 64, 70])
def test_globals_that_change_in_place_are_shown_at_every_line_and_so_are_those_bound_anew(
    count: int, record: Record, write: Write
) -> None:
    """Also more than there are bits for. Each line changes another one: a list in place, a number by a binding."""
    names = [f"g{number}" for number in range(count)]
    head = [f"{name} = [{index}]" if index % 2 else f"{name} = {index}" for index, name in enumerate(names)]
    body = [
        f"    {name}.append(-{index})" if index % 2 else f"    {name} = -{index}" for index, name in enumerate(names)
    ]
    work = ["def work():", f"    global {', '.join(names)}", *body, *body, "    return 0"]
    recorded = record(write("\n".join([*head, *work, "work()", ""])))
    assert (recorded.status, recorded.stderr) == (0, "")

    def number(n: int) -> list[str]:
        return ["Int", f"{n:#x}"]

    values: dict[str, list[object]] = {}
    for index, name in enumerate(names):
        values[name] = ["List", [number(index)]] if index % 2 else [*number(index)]
    first = len(head) + 3
    steps = {step.line: step.locals for step in recorded.trace.main.steps if step.line >= first}
    for line in range(first, first + 2 * count):
        assert steps[line] == values, f"before line {line}"
        index = (line - first) % count
        if index % 2:
            shown = values[names[index]]
            values[names[index]] = ["List", [*shown[1], number(-index)]]  # type: ignore[misc]
        else:
            values[names[index]] = [*number(-index)]
    assert steps[first + 2 * count] == values
