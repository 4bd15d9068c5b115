"""Reading and comparing: what the end-to-end tests believe must itself be able to say no."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from oracle.model import Call, Event, Return, Step, Stream
from oracle.values import render

from support.compare import EVERYTHING, LOCALS, STRUCTURE, VALUES, Level, agrees, assert_same
from support.reading import BadTrace, Thread, Trace, parse
from support.running import environment

NONE = {"kind": "None", "type_id": 0}
KINDS = {"Seq": 0, "Set": 1, "Struct": 6, "Int": 7, "Raw": 16}


def kind_type(name: str, kind: str = "Raw", fields: list[str] | None = None) -> dict[str, Any]:
    info: dict[str, Any] = {"kind": "None"}
    if fields is not None:
        info = {"kind": "Struct", "fields": [{"name": field, "type_id": 0} for field in fields]}
    return {"Type": {"kind": KINDS[kind], "lang_type": name, "specific_info": info}}


def value(name: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"variable_id": name, "value": content}


def well_formed() -> list[dict[str, Any]]:
    return [
        {"Path": "/nowhere/a.py"},
        {"Function": {"path_id": 0, "line": 1, "name": "<toplevel>"}},
        {"Call": {"function_id": 0, "args": []}},
        {"Type": {"kind": 30, "lang_type": "None", "specific_info": {"kind": "None"}}},
        kind_type("Int", "Int"),
        {"Function": {"path_id": 0, "line": 3, "name": "f"}},
        {"VariableName": "x"},
        {"Step": {"path_id": 0, "line": 3}},
        {"Call": {"function_id": 1, "args": [value(0, {"kind": "Int", "i": 5, "type_id": 1})]}},
        {"Step": {"path_id": 0, "line": 4}},
        {"Value": value(0, {"kind": "Int", "i": -5, "type_id": 1})},
        {"Event": {"kind": 0, "metadata": "{}", "content": "out"}},
        {"Return": {"return_value": NONE}},
        {"Return": {"return_value": {"kind": "Int", "i": 0, "type_id": 1}}},
    ]


def read(events: list[dict[str, Any]]) -> Thread:
    return parse(iter(events), Path("/nowhere"))


def test_a_trace_becomes_calls_steps_and_returns() -> None:
    thread = read(well_formed())
    path = "/nowhere/a.py"
    assert thread.events == [
        Call("f", path, 3, [("x", ["Int", "0x5"])]),
        Step(path, 4, {"x": ["Int", "-0x5"]}),
        Return(["None"]),
    ]
    assert thread.toplevel_return == ["Int", "0x0"]
    assert thread.counts == {"Call": 1, "Step": 1, "Return": 1}
    assert [(output.content, output.step) for output in thread.outputs] == [("out", thread.events[1])]
    assert thread.returns_of("f") == [["None"]]


@pytest.mark.parametrize(
    ("position", "replacement"),
    [
        (0, [{"Path": "relative.py"}]),
        (0, [{"Path": "/a/../b.py"}]),
        (0, [{"Path": "/a.py"}, {"Path": "/a.py"}]),
        (2, [{"Step": {"path_id": 0, "line": 1}}, {"Call": {"function_id": 0, "args": []}}]),
        (3, [kind_type("Int", "Int")]),
        (4, []),
        (6, [{"VariableName": "x"}, {"VariableName": "x"}]),
        (7, []),
        (7, [{"Step": {"path_id": 0, "line": 2}}]),
        (7, [{"Step": {"path_id": 0, "line": 3}}, {"Value": value(0, NONE)}]),
        (9, []),
        (9, [{"Step": {"path_id": 1, "line": 4}}]),
        (9, [{"Step": {"path_id": 0, "line": -1}}]),
        (10, [{"Value": value(0, NONE)}, {"Value": value(0, NONE)}]),
        (10, [{"Value": value(1, NONE)}]),
        (10, [{"Value": value(0, {"kind": "Cell", "place": 0, "type_id": 0})}]),
        (10, [{"DropLastStep": None}]),
        (10, [{"ThreadSwitch": 1}]),
        (12, []),
        (12, [{"Return": {"return_value": NONE}}] * 2),
        (13, []),
        (13, [{"Return": {"return_value": NONE}}, {"Step": {"path_id": 0, "line": 4}}]),
    ],
)
def test_a_trace_that_breaks_a_rule_is_refused(position: int, replacement: list[dict[str, Any]]) -> None:
    events = well_formed()
    events[position : position + 1] = replacement
    with pytest.raises(BadTrace):
        read(events)


def test_a_line_past_the_end_of_the_file_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    events = well_formed()
    events[0] = {"Path": str(source)}
    source.write_text("1\n2\n3\n4\n")
    assert read(events).steps
    source.write_text("1\n2\n3\n")
    with pytest.raises(BadTrace, match="line 4 of a file with 3 lines"):
        read(events)


def test_values_too_deep_for_codetracer_are_refused() -> None:
    nested = NONE
    for _ in range(70):
        nested = {"kind": "Sequence", "elements": [nested], "is_slice": False, "type_id": 2}
    events = well_formed()
    events.insert(5, kind_type("List", "Seq"))
    events[11] = {"Value": value(0, nested)}
    with pytest.raises(BadTrace, match="too deep"):
        read(events)


def test_a_struct_has_as_many_values_as_its_type_has_fields() -> None:
    for fields, values in ((["a", "b"], 2), (["a"], 2)):
        events = well_formed()
        events.insert(5, kind_type("m.Point", "Struct", fields))
        events[11] = {"Value": value(0, {"kind": "Struct", "field_values": [NONE] * values, "type_id": 2})}
        if len(fields) == values:
            assert read(events).steps[0].locals["x"] == ["Other", "m.Point", "", {"a": ["None"], "b": ["None"]}]
        else:
            with pytest.raises(BadTrace, match="values for the fields"):
                read(events)


def test_exactly_one_events_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(BadTrace, match="must hold"):
        _ = Trace(tmp_path).main
    (tmp_path / "trace.json").write_text(json.dumps(well_formed()))
    assert len(Trace(tmp_path).main.events) == 3
    other = tmp_path / "threads" / "01-worker"
    other.mkdir(parents=True)
    (other / "trace.json").write_text(json.dumps(well_formed()))
    assert len(Trace(tmp_path).threads) == 2
    (tmp_path / "trace.bin").touch()
    with pytest.raises(BadTrace, match="only one"):
        _ = Trace(tmp_path).main


PATH = "/p.py"


def story(**changes: Any) -> list[Stream]:
    """A call, a step and a return, with one thing changed."""
    events: list[Event] = [
        Call("f", PATH, 1, changes.get("args", [("a", ["Int", "0x1"])])),
        Step(PATH, changes.get("line", 2), changes.get("locals", {"a": ["Int", "0x1"]}), changes.get("globals", {})),
        Return(changes.get("value", ["None"])),
    ]
    return [Stream("main", events)]


def test_equal_stories_agree_at_every_level() -> None:
    for level in (STRUCTURE, VALUES, LOCALS, EVERYTHING):
        assert_same(story(), story(), level)


@pytest.mark.parametrize(
    ("change", "level", "below"),
    [
        ({"line": 3}, STRUCTURE, None),
        ({"value": ["Int", "0x1"]}, VALUES, STRUCTURE),
        ({"args": []}, VALUES, STRUCTURE),
        ({"args": [("a", ["Int", "0x2"])]}, VALUES, STRUCTURE),
        ({"locals": {}}, LOCALS, VALUES),
        ({"locals": {"a": ["Int", "0x2"]}}, LOCALS, VALUES),
        ({"locals": {"a": ["Int", "0x1"], "b": ["None"]}}, LOCALS, VALUES),
    ],
)
def test_a_difference_is_seen_at_its_level(change: dict[str, Any], level: Level, below: Level | None) -> None:
    for recorded, expected in ((story(**change), story()), (story(), story(**change))):
        with pytest.raises(AssertionError):
            assert_same(recorded, expected, level)
        if below is not None:
            assert_same(recorded, expected, below)


def test_globals_are_optional_below_their_level_and_exact_at_it() -> None:
    expected = story(globals={"g": ["Int", "0x7"]})
    shown = story(locals={"a": ["Int", "0x1"], "g": ["Int", "0x7"]})
    wrong = story(locals={"a": ["Int", "0x1"], "g": ["Int", "0x8"]})
    assert_same(shown, expected, EVERYTHING)
    assert_same(story(), expected, LOCALS)
    for recorded in (story(), wrong):
        with pytest.raises(AssertionError, match="g"):
            assert_same(recorded, expected, EVERYTHING)


def test_threads_are_paired_by_content_and_none_may_be_missing() -> None:
    one, two = story(), story(value=["Int", "0x5"])
    assert_same(one + one + two, one + two + one)
    with pytest.raises(AssertionError, match="2 recorded threads, expected 3"):
        assert_same(one + one, one + two + one)


def shown(text: object) -> Any:
    return ["Other", "m.T", str(text)]


@pytest.mark.parametrize(
    ("recorded", "value", "same"),
    [
        (["Int", "0x5"], 5, True),
        (["Int", "0x5"], 6, False),
        (["Int", "0x1"], True, False),
        (["Bool", True], True, True),
        (["Float", "nan"], float("nan"), True),
        (["Float", "1.5"], 1.5, True),
        (["Float", "-0.0"], 0.0, False),
        (["String", "abc"], "abc", True),
        (["String", "ab… +1 more"], "abc", True),
        (["String", "ab… +2 more"], "abc", False),
        (["String", "ax… +1 more"], "abc", False),
        (["String", "a\\ud800"], "a\ud800", True),
        (["Bytes", "b'abc'"], b"abc", True),
        (["Bytes", "b'ab'… +1 more"], b"abc", True),
        (["Bytes", "b'abd'"], b"abc", False),
        (["List", [["Int", "0x1"]]], [1], True),
        (["List", [["Int", "0x1"]]], [1, 2], False),
        (["List", [["Int", "0x1"], ["Int", "0x2"]]], [1], False),
        (["List", [["Int", "0x1"], ["Truncated", "… +2 more"]]], [1, 2, 3], True),
        (["List", [["Int", "0x1"], ["Truncated", "… +1 more"]]], [1, 2, 3], False),
        (["List", [["Int", "0x2"], ["Truncated", "… +2 more"]]], [1, 2, 3], False),
        (["Tuple", [["Int", "0x1"]]], [1], False),
        (["Set", [["Int", "0x2"], ["Int", "0x1"]]], {1, 2}, True),
        (["Set", [["Int", "0x3"], ["Int", "0x1"]]], {1, 2}, False),
        (["Set", [["Int", "0x2"], ["Truncated", "… +1 more"]]], {1, 2}, True),
        (["Dict", [[["String", "k"], ["None"]]]], {"k": None}, True),
        (["Dict", [[["String", "k"], ["None"]]]], {"k": 1}, False),
        (["Dict", [[["String", "k"], ["None"]], ["Truncated", "… +1 more"]]], {"k": None, "l": 1}, True),
        (["Truncated", "…"], [1], True),
        (["Error", "Redacted", "<redacted>"], 5, False),
        (shown(""), object(), True),
        (["Int", "0x5"], object(), False),
        (shown("ValueError: text"), ValueError("text"), True),
        (shown("ValueError: other"), ValueError("text"), False),
        (shown("ValueError"), ValueError(1, 2), True),
    ],
)
def test_what_a_recorded_value_may_look_like(recorded: Any, value: object, same: bool) -> None:
    assert agrees(recorded, render(value)) is same


def test_a_container_inside_itself_is_a_cycle_on_both_sides() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert agrees(["List", [["Int", "0x1"], ["Cycle"]]], render(loop))
    assert not agrees(["List", [["Int", "0x1"], ["List", []]]], render(loop))


def test_long_values_are_compared_as_far_as_both_sides_go() -> None:
    text, items = "xy" * 5000, list(range(1000))
    assert agrees(["String", text], render(text))
    assert not agrees(["String", "y" + text], render(text))
    assert agrees(["List", [["Int", hex(n)] for n in items]], render(items))
    assert not agrees(["List", [["Int", hex(n + 1)] for n in items]], render(items))


def test_rendering_asks_an_object_nothing() -> None:
    asked = []

    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            asked.append(name)
            return super().__getattribute__(name)

        def __eq__(cls, other: object) -> bool:
            asked.append("eq")
            return True

        def __hash__(cls) -> int:
            asked.append("hash")
            return 1

    class Thing(metaclass=Meta):
        def __getattribute__(self, name: str) -> Any:
            asked.append(name)
            raise RuntimeError(name)

    values = [Thing(), Thing]
    del asked[:]
    first, second = render(values)[1]
    assert asked == []
    assert first[1].endswith("<locals>.Thing")
    assert second[1].endswith("<locals>.Meta")


def test_a_child_does_not_inherit_what_changes_python_or_the_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONUNBUFFERED", "PYTHONOPTIMIZE", "CODETRACER_CAPTURE_IO", "RUST_LOG"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PYTHONPATH", "/kept")
    ours = environment({"PYTHONWARNINGS": "error"})
    assert not {"PYTHONUNBUFFERED", "PYTHONOPTIMIZE", "CODETRACER_CAPTURE_IO", "RUST_LOG"} & set(ours)
    assert (ours["PYTHONPATH"], ours["PYTHONWARNINGS"]) == ("/kept", "error")
