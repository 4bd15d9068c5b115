"""Frames are read through private layouts only while the public API tells the same: one wrong offset gives all up."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from oracle.model import Stream
from support.compare import EVERYTHING, assert_same
from support.programs import COMPARED
from support.recording import Recording
from support.running import LAYOUT_KNOWN, python, run_oracle

Record = Callable[..., Recording]
Write = Callable[..., Path]

CHECKS = (
    "outer",
    "instruction",
    "variables",
    "caller",
    "recursion",
    "instance",
    "instance dict",
    "namespace",
    "type",
    "other dict",
    "names",
    "keys",
    "version",
    "not begun",
    "ended",
)
"""What src/ffi/probe.rs compares at start-up."""


WORD, INT, BYTE = 8, 4, 1

FIELDS = {
    # A field, or all of a struct: how far it is moved to either side, and the checks that see it first.
    "ThreadState": (WORD, "outer"),
    "ThreadState.recursion_limit": (INT, "outer"),
    "ThreadState.recursion_remaining": (INT, "recursion"),
    **(
        {"ThreadState.cframe": (WORD, "outer"), "CFrame.current_frame": (WORD, "outer")}
        if sys.version_info < (3, 13)
        else {"ThreadState.current_frame": (WORD, "outer")}
    ),
    "InterpreterFrame": (WORD, "outer"),
    "InterpreterFrame.frame_obj": (WORD, "outer"),
    "InterpreterFrame.executable": (WORD, "variables"),
    "InterpreterFrame.previous": (WORD, "variables"),
    "InterpreterFrame.globals": (WORD, "variables"),
    "InterpreterFrame.instruction": (WORD, "variables"),
    "InterpreterFrame.owner": (BYTE, "variables"),
    "InterpreterFrame.localsplus": (WORD, "variables"),
    "InterpreterFrame.locals": (WORD, "namespace"),
    "Instance.dict": (WORD, "instance|other dict"),
    "DictValues": (WORD, "instance"),
    "DictValues.values": (WORD, "instance"),
    **({"DictValues.valid": (BYTE, "instance|other dict")} if sys.version_info >= (3, 13) else {}),
    "HeapType.cached_keys": (WORD, "instance"),
    "HeapType.qualname": (WORD, "type"),
    "Dict": (WORD, "instance dict"),
    "Dict.values": (WORD, "instance dict"),
    "Dict.keys": (WORD, "names"),
    "Dict.version_tag": (WORD, "names"),
    "DictKeys": (WORD, "instance"),
    "DictKeys.log2_index_bytes": (BYTE, "instance|names"),
    "DictKeys.nentries": (WORD, "instance"),
    "DictKeys.indices": (WORD, "instance"),
    "DictKeys.kind": (BYTE, "names"),
    "DictKeys.version": (INT, "version"),
    "UnicodeEntry.key": (WORD, "instance"),
    "UnicodeEntry.value": (WORD, "names"),
    "GeneratorHead.frame_state": (BYTE, "not begun|ended"),
}
"""The private fields of src/ffi/layout.rs that the fast path reads."""

(PROGRAM,) = (program for program in COMPARED if program.name == "class_bodies")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Stream]:
    return run_oracle(PROGRAM, tmp_path_factory.mktemp("oracle") / "expected.json")


def reasons(record: Record, tmp_path: Path, **env: str) -> tuple[Recording, list[str]]:
    """A recording, and why the log says that frames were read through the public API."""
    log = tmp_path / "log.jsonl"
    log.unlink(missing_ok=True)
    recorded = record(PROGRAM, options=["--log-level", "info", "--log-file", str(log)], env=env)
    assert recorded.status == 0, recorded.stderr
    lines = [line for line in log.read_text().splitlines() if "frames are read through the public API" in line]
    return recorded, [json.dumps(json.loads(line)) for line in lines]


@pytest.mark.private_layout
@pytest.mark.parametrize("check", CHECKS)
def test_a_layout_that_reads_otherwise_than_the_public_api_is_not_used(
    check: str, record: Record, expected: list[Stream], tmp_path: Path
) -> None:
    recorded, said = reasons(record, tmp_path, CODETRACER_TEST_INJECT_LAYOUT=check, CODETRACER_FRAME_ACCESS="private")
    assert len(said) == 1
    assert f"the probe `{check}` read otherwise" in said[0]
    assert_same(recorded.trace.streams, expected, EVERYTHING)


@pytest.mark.private_layout
@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_elsewhere_is_found_without_harm_before_it_is_used(
    field: str, record: Record, expected: list[Stream], tmp_path: Path
) -> None:
    size, check = FIELDS[field]
    for by in (size, -size):
        env = {"CODETRACER_TEST_SHIFT_LAYOUT": f"{field}:{by}", "CODETRACER_FRAME_ACCESS": "private"}
        recorded, said = reasons(record, tmp_path, **env)
        assert len(said) == 1, f"{field} was moved by {by}, and the log says {said}"
        assert re.search(f"the probe `({check})` read otherwise", said[0]), said
        assert_same(recorded.trace.streams, expected, EVERYTHING)


def test_the_layout_of_this_interpreter_is_the_one_that_is_used(record: Record, tmp_path: Path) -> None:
    _, said = reasons(record, tmp_path, CODETRACER_FRAME_ACCESS="private")
    if LAYOUT_KNOWN:
        assert said == []
    else:
        assert len(said) == 1 and "the frame layout of this interpreter version is not known" in said[0]


def test_the_public_api_can_be_asked_for(record: Record, tmp_path: Path) -> None:
    _, said = reasons(record, tmp_path, CODETRACER_FRAME_ACCESS="public")
    assert len(said) == 1
    assert "CODETRACER_FRAME_ACCESS=public" in said[0]


def test_the_public_api_leaves_four_frames_below_the_program_and_makes_dicts_and_nothing_else(
    record: Record, write: Write
) -> None:
    script = write("""
        import gc
        import sys

        class Plain:
            def __init__(self):
                self.a = 1

        def dive(depth):
            try:
                return dive(depth + 1)
            except RecursionError:
                return depth

        def dict_is_made():
            instance = Plain()
            same = instance
            return any(type(each) is dict for each in gc.get_referents(same))

        frame, below = sys._getframe(), []
        while frame := frame.f_back:
            below.append(frame.f_globals["__name__"])
        print(len(below), set(below) - {"runpy", "__main__"} <= {"codetracer_python_recorder.cli"})
        print(dive(0))
        print(dict_is_made(), sys.getrecursionlimit())
    """)
    outputs = [
        outcome.stdout.split()
        for outcome in (
            python([script]),
            *(record(script, env={"CODETRACER_FRAME_ACCESS": access}) for access in ("private", "public")),
        )
    ]
    plain, private, public = outputs
    assert private == (plain if LAYOUT_KNOWN else public)
    assert plain[0] == "0"
    assert [int(plain[2]) - int(public[2]), public[0], public[1]] == [4, "4", "True"]
    # On 3.13 the dict of an instance that still has its values itself is not among what it refers to.
    made = str(sys.version_info[:2] != (3, 13))
    assert (plain[3], public[3], public[4]) == ("False", made, plain[4])


def test_namespaces_are_read_while_a_comprehension_in_them_runs(record: Record, write: Write) -> None:
    script = write("""
        def use(value):
            return [bytes(200) for _ in range(50)] and value

        kept = "a name of the module"
        table = {
            number: use(found := number)
            for number in range(30)
        }

        class Body:
            own = "a name of the body"
            table = [
                use(number)
                for number in range(30)
            ]
    """)
    shown = {}
    for access in ("private", "public"):
        main = record(script, env={"CODETRACER_FRAME_ACCESS": access}).trace.main
        shown[access] = [(step.line, step.locals) for step in main.steps]
    assert shown["public"] == shown["private"]
    within = [names for line, names in shown["public"] if line == 7 and "number" in names]
    assert len(within) >= 30
    assert {names["found"][1] for names in within if "found" in names} >= {hex(number) for number in range(29)}
    assert all(names["kept"] == ["String", "a name of the module"] for names in within)


@pytest.mark.parametrize(("access", "frames_below"), [("private", 0), ("public", 4)])
def test_a_caught_recursion_error_stays_the_programs_own_business_either_way(
    access: str, frames_below: int, record: Record, write: Write
) -> None:
    script = write("""
        import sys

        class Node:
            def __init__(self, below):
                self.below = below

        def deeper(depth, below):
            node = Node(below)
            try:
                return deeper(depth + 1, node)
            except RecursionError as error:
                return depth, str(error), error.__context__, error.__cause__

        def generate(depth):
            yield depth
            yield from generate(depth + 1)

        def walk():
            reached = 0
            try:
                for reached in generate(0):
                    pass
            except RecursionError:
                return reached

        for limit in (60, 100, 500):
            sys.setrecursionlimit(limit)
            for _ in range(3):
                depth, *rest = deeper(0, None)
                print(depth, walk(), rest)
    """)
    plain = python([script])
    recorded = record(script, env={"CODETRACER_FRAME_ACCESS": access})
    assert (recorded.status, recorded.stderr) == (plain.status, plain.stderr) == (0, "")
    below = frames_below if LAYOUT_KNOWN else 4
    told, expected = recorded.stdout.splitlines(), plain.stdout.splitlines()
    assert len(told) == len(expected) == 9
    for got, wanted in zip(told, expected, strict=True):
        (depth, reached, rest), (all_depth, all_reached, all_rest) = got.split(" ", 2), wanted.split(" ", 2)
        assert rest == all_rest
        assert [int(all_depth) - int(depth), int(all_reached) - int(reached)] == [below] * 2
    counts = recorded.trace.main.counts
    assert counts["Call"] == counts["Return"]
