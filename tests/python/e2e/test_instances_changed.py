"""Instances whose attributes change at random: every step shows them as they are.

The oracle knows no attributes. So each instance has a dict beside it that gets every change on the same line; the trace
must show both alike, and the dict as the oracle sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from oracle.model import Value
from support.compare import EVERYTHING, assert_same
from support.programs import Program
from support.recording import Recording
from support.running import run_oracle

Record = Callable[..., Recording]

CHANGES = 250
NAMES = ("a", "b", "c", "d", "e", "f")
VALUES = ("1", "-(2**70)", "0.5", "'text'", "'tex2'", "None", "True", "[1]", "[1, 2]", "{'k': 1}", "(3, [4])", "b'xy'")
KINDS = ("Plain", "Alike", "Slotted", "Mixed")
POLICIES = {"default": {}, "wide": {"CODETRACER_POLICY": "values.max_depth=12;values.max_bytes_per_step=4MiB"}}

HEAD = """\
class Plain:
    pass


class Alike:
    pass


class Slotted:
    __slots__ = ("a", "b", "c", "d", "e", "f")


class Mixed(Slotted):
    __slots__ = ("__dict__",)


def poke(thing, beside, name, value):
    setattr(thing, name, value); beside[name] = value
    return value


def run():
    t0, m0 = Plain(), {}
    t1, m1 = Plain(), {}
    t2, m2 = Slotted(), {}
    t3, m3 = Mixed(), {}
"""


class Writer:
    """Writes one program; knows which attributes each instance has."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._kinds = ["Plain", "Plain", "Slotted", "Mixed"]
        self._has: list[set[str]] = [set(), set(), set(), set()]

    def program(self) -> str:
        lines = [f"    {self._change()}\n" for _ in range(CHANGES)]
        return HEAD + "".join(lines) + "    return None\n\n\nrun()\n"

    def _change(self) -> str:
        at = self._random.randrange(4)
        name, value, has = self._random.choice(NAMES), self._random.choice(VALUES), self._has[at]
        t, m, kind = f"t{at}", f"m{at}", self._kinds[at]
        match self._random.randrange(12):
            case 0 if has:
                gone = self._random.choice(sorted(has))
                has.remove(gone)
                return f"del {t}.{gone}, {m}['{gone}']"
            case 1:
                has.add(name)
                return f"poke({t}, {m}, '{name}', {value})"
            case 2 | 3 if has:
                there = self._random.choice(sorted(has))
                change = f"{t}.{there}[0] = {value}"
                grow = f"{t}.{there}.append({value})"
                return f"if type({t}.{there}) is list and len({t}.{there}) < 9: {self._random.choice((change, grow))}"
            case 4:
                new = self._random.choice(KINDS)
                self._kinds[at], self._has[at] = new, set()
                return f"{t}, {m} = {new}(), {{}}"
            case 5 if kind in ("Plain", "Alike"):
                self._kinds[at] = "Alike" if kind == "Plain" else "Plain"
                return f"{t}.__class__ = {self._kinds[at]}"
            case 6 if kind in ("Plain", "Alike"):
                has.add(name)
                return f"{t}.__dict__['{name}'] = {m}['{name}'] = {value}"
            case 7 if kind in ("Plain", "Alike"):
                has.clear()
                return f"{t}.__dict__ = {{}}; {m}.clear()"
            case 8 if has and kind != "Slotted":
                extra = f"x{self._random.randrange(5)}"
                has.add(extra)
                return f"{t}.{extra} = {m}['{extra}'] = {value}"
            case _:
                has.add(name)
                return f"{t}.{name} = {m}['{name}'] = {value}"


def attributes(instance: Value) -> dict[str, Value]:
    return instance[3] if len(instance) > 3 else {}


def kind_of(instance: Value) -> str:
    return instance[1].rpartition(".")[2]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(10))
def test_attributes_that_change_are_shown_as_they_are_at_each_step(
    seed: int, policy: str, record: Record, tmp_path: Path
) -> None:
    path = tmp_path / f"instances_{seed}.py"
    path.write_text(Writer(seed).program(), encoding="utf-8")
    expected = run_oracle(Program(path), tmp_path / "expected.json")
    recorded = record(path, env=POLICIES[policy])
    assert (recorded.status, recorded.stderr) == (0, "")
    assert_same(recorded.trace.streams, expected, EVERYTHING)
    compared = 0
    for step in recorded.trace.main.steps:
        shown = dict(step.locals)
        for at in range(4):
            if f"t{at}" in shown and f"m{at}" in shown:
                ours, beside = shown[f"t{at}"], shown[f"m{at}"]
                assert ours[0] == "Other" and kind_of(ours) in KINDS, (step, ours)
                assert attributes(ours) == {key[1]: value for key, value in beside[1]}, (step.line, at)
                compared += bool(beside[1])
    assert compared > CHANGES, "too little was compared"
