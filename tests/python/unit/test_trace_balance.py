import importlib.util
import json
from pathlib import Path

import pytest

CALL, RETURN, STEP = {"Call": {}}, {"Return": {}}, {"Step": {}}


@pytest.fixture
def balance(load):
    return load("trace_balance")


@pytest.mark.parametrize(
    ("events", "counts", "negative", "balanced"),
    [
        ([], (0, 0), None, True),
        ([STEP, CALL, STEP, RETURN], (1, 1), None, True),
        ([CALL, CALL, RETURN], (2, 1), None, False),
        ([RETURN], (0, 1), 0, False),
        ([CALL, RETURN, RETURN, CALL], (2, 2), 2, False),
    ],
)
def test_calls_and_returns_are_counted_in_order(balance, events, counts, negative, balanced):
    result = balance.summarize_trace_balance(events)
    assert result == balance.TraceBalanceResult(*counts, negative)
    assert result.is_balanced is balanced
    assert result.delta == counts[0] - counts[1]


def test_an_event_cannot_be_both(balance):
    with pytest.raises(balance.TraceBalanceError, match="event #1 contains both"):
        balance.summarize_trace_balance([CALL, CALL | RETURN])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "invalid JSON in trace file"),
        (b"\xff", "invalid JSON in trace file"),
        (b"{}", "must be a JSON array, got dict"),
        (b'[{"Call": {}}, 1]', "event #1 is not a JSON object \\(found int\\)"),
        (None, "trace file not found"),
    ],
)
def test_a_malformed_file_says_what_is_wrong(balance, tmp_path, content, message):
    path = tmp_path / "trace.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(balance.TraceBalanceError, match=message):
        balance.load_trace_events(path)


class TestScript:
    @pytest.fixture
    def main(self, load):
        load("trace_balance")
        path = Path(__file__).resolve().parents[3] / "scripts" / "check_trace_balance.py"
        specification = importlib.util.spec_from_file_location("check_trace_balance", path)
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module.main

    @pytest.mark.parametrize(
        ("events", "status", "says"),
        [
            ([CALL, RETURN], 0, ["Balanced trace: 1 call events, 1 return events"]),
            ([CALL, CALL, CALL, RETURN], 1, ["Unbalanced trace detected.", "Missing 2 return event(s)."]),
            (
                [CALL, RETURN, RETURN],
                1,
                ["Unbalanced trace detected.", "Unexpected 1 extra return event(s)."],
            ),
            ([RETURN, CALL], 1, ["Unbalanced trace detected.", "Event #0 returns"]),
        ],
    )
    def test_the_verdict(self, main, tmp_path, capsys, events, status, says):
        path = tmp_path / "trace.json"
        path.write_text(json.dumps(events))
        assert main([str(path)]) == status
        output = capsys.readouterr().out
        assert all(line in output for line in says), output

    def test_a_malformed_file_is_2(self, main, tmp_path, capsys):
        assert main([str(tmp_path / "missing.json")]) == 2
        assert "trace file not found" in capsys.readouterr().err
