"""The command line, the files it leaves, and what its exit status says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from oracle.model import Return
from support.programs import program
from support.reading import Trace
from support.recording import Recording
from support.running import python

Record = Callable[..., Recording]
Write = Callable[..., Path]

HELLO = "def greet(name):\n    return 'hello ' + name\n\nprint(greet('you'))\n"


def recorder(*words: str | Path, **options: object):
    return python(["-m", "codetracer_python_recorder", *words], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("format", "events"), [("binary", "trace.bin"), ("json", "trace.json")])
def test_the_out_dir_holds_one_events_file_metadata_and_paths(
    format: str, events: str, record: Record, write: Write
) -> None:
    recorded = record(write(HELLO), format=format)
    assert recorded.stdout == "hello you\n"
    assert recorded.stderr == ""
    assert recorded.status == 0
    assert {events, "trace_metadata.json", "trace_paths.json"} <= set(recorded.files)
    assert ("trace.json" in recorded.files) != ("trace.bin" in recorded.files)
    assert recorded.trace.main.counts == {"Call": 2, "Step": 3, "Return": 2}
    assert recorded.trace.paths == recorded.trace.main.paths


def test_a_file_of_the_other_format_is_not_left_beside_the_trace(record: Record, write: Write, tmp_path: Path) -> None:
    path, out = write(HELLO), tmp_path / "out"
    for format in ("binary", "json", "binary"):
        recorded = record(path, format=format, out=out)
        assert recorded.trace.main.calls_of("greet")


def test_metadata_say_what_ran_and_how_it_ended(record: Record, tmp_path: Path) -> None:
    subject = program("exit_code")
    recorded = record(subject.path, "one", "two words", cwd=tmp_path)
    metadata = recorded.trace.metadata
    assert metadata["workdir"] == str(tmp_path)
    assert metadata["program"] == str(subject.path)
    assert metadata["args"] == ["one", "two words"]
    assert metadata["process_exit_status"] == {"code": 3, "label": None}
    about = metadata["recorder"]
    assert about["name"] == "codetracer_python_recorder"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", about["version"])
    assert about["target_script"] == str(subject.path)
    filters = metadata["trace_filter"]
    assert filters["filters"][0]["path"] == "<inline:builtin-default>"
    assert set(filters["filters"][0]) >= {"path", "name", "version", "sha256"}
    places = {"argument", "local", "global", "return", "attribute"}
    assert set(filters["stats"]["value_redactions"]) == set(filters["stats"]["value_drops"]) == places
    assert filters["stats"]["scopes_skipped"] >= 0
    assert recorded.trace.main.toplevel_return == ["Int", "0x3"]


@pytest.mark.parametrize(
    ("statement", "status", "message"),
    [
        ("sys.exit()", 0, ""),
        ("sys.exit(None)", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(True)", 1, ""),
        ("sys.exit(7)", 7, ""),
        ("sys.exit(-1)", 255, ""),
        ("sys.exit(2**70)", 255, None),
        ("sys.exit(1000)", 1000 & 0xFF, ""),
        ("sys.exit('text')", 1, "text\n"),
        ("sys.exit(2.5)", 1, "2.5\n"),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit((1, 2))", 1, "(1, 2)\n"),
    ],
)
def test_every_kind_of_exit_is_recorded_as_the_system_sees_it(
    statement: str, status: int, message: str | None, record: Record, write: Write
) -> None:
    path = write(f"import sys\n{statement}\n")
    plain = python([path])
    # What CPython says of a code that does not fit a C long differs between its versions: only the status counts.
    said = message is not None
    assert plain.status == status
    assert not said or plain.stderr == message
    mirrored = record(path, options=["--propagate-script-exit"])
    assert mirrored.status == status
    assert not said or mirrored.stderr == message
    recorded = record(path)
    assert recorded.status == 0
    note = "" if status == 0 else f"Script exited with status {status}; returning 0. "
    assert recorded.stderr.startswith(message + note) if message is not None else note in recorded.stderr
    assert ("Use '--propagate-script-exit' to mirror the script exit code." in recorded.stderr) == bool(status)
    assert recorded.trace.metadata["process_exit_status"] == {"code": status, "label": None}
    assert recorded.trace.main.toplevel_return == ["Int", hex(status)]


def test_an_uncaught_exception_is_printed_as_usual_and_recorded(record: Record) -> None:
    recorded = record(program("uncaught"))
    assert recorded.status == 0
    assert "codetracer" not in recorded.stderr.split("Script exited")[0].lower()
    assert "ValueError: outer failure\nlook at inner\n" in recorded.stderr
    last = recorded.trace.main.events[-1]
    assert isinstance(last, Return) and last.value[0] == "Other" and "outer failure" in last.value[2]
    assert recorded.trace.main.toplevel_return == ["Int", "0x1"]


def test_everything_after_the_script_is_the_scripts(record: Record, write: Write) -> None:
    path = write("import sys\nprint(sys.argv[1:])\n")
    words = ["-h", "--format", "json", "--out-dir", "x", "-m", "--version", "--"]
    recorded = record(path, *words)
    assert recorded.stdout == f"{words}\n"
    assert record(["--", str(path)], "-a").stdout == "['-a']\n"
    assert record([str(path), "--"], "-a").stdout == "['-a']\n"


def test_code_and_modules_run_as_under_python(record: Record, write: Write, tmp_path: Path) -> None:
    module = write("import sys\nprint(__name__, __spec__.name, sys.argv[1:])\ndef f():\n    return 1\nf()\n", "mod.py")
    recorded = record(["-m", "mod"], "-x", cwd=tmp_path)
    assert recorded.stdout == python(["-m", "mod", "-x"], cwd=tmp_path).stdout == "__main__ mod ['-x']\n"
    assert recorded.trace.main.calls_of("f")[0].path == str(module)
    assert (recorded.trace.metadata["program"], recorded.trace.metadata["args"]) == ("mod", ["-x"])
    code = "import mod, sys; print(sys.argv, mod.f())"
    recorded = record(["-c", code], "a", cwd=tmp_path)
    assert recorded.stdout == python(["-c", code, "a"], cwd=tmp_path).stdout
    assert [call.name for call in recorded.trace.main.calls] == ["<mod>", "f", "f"]


def test_version_and_bad_arguments() -> None:
    version = recorder("--version")
    assert re.fullmatch(r"codetracer-python-recorder \d+\.\d+\.\d+\S*\n", version.stdout)
    assert version.status == 0
    for words in ([], ["--no-such-option", "x.py"], ["/no/such/script.py"], ["--format", "xml", __file__]):
        outcome = recorder(*words)
        assert outcome.status == 2, outcome
        assert outcome.stderr and not outcome.stdout


def test_recording_can_be_disabled_by_the_environment(write: Write, tmp_path: Path) -> None:
    path = write("import sys\nprint('ran')\nsys.exit(4)\n")
    for value in ("1", "true"):
        env = {"CODETRACER_PYTHON_RECORDER_DISABLED": value}
        outcome = recorder("-o", tmp_path / "out", path, env=env)
        assert outcome.stdout == "ran\n"
        assert "recording disabled via" in outcome.stderr
        assert outcome.status == 4
        assert not (tmp_path / "out").exists()


def test_the_environment_names_format_and_out_dir(write: Write, tmp_path: Path) -> None:
    env = {"CODETRACER_PYTHON_RECORDER_OUT_DIR": str(tmp_path / "from-env"), "CODETRACER_FORMAT": "JSON"}
    assert recorder(write(HELLO), env=env).status == 0
    assert (tmp_path / "from-env" / "trace.json").exists()
    assert recorder(write(HELLO), cwd=tmp_path).status == 0
    assert (tmp_path / "trace-out" / "trace.bin").exists()


def test_a_relative_out_dir_is_where_the_run_started(record: Record, write: Write, tmp_path: Path) -> None:
    path = write("import os\nos.chdir('/')\ndef f():\n    pass\nf()\n")
    (tmp_path / "deep").mkdir()
    recorded = record(Path("../program.py"), out=Path("sub/trace"), cwd=tmp_path / "deep")
    assert recorded.status == 0, recorded.stderr
    trace = Trace(tmp_path / "deep" / "sub" / "trace")
    assert trace.main.calls_of("f")[0].path == str(path)
    assert trace.metadata["workdir"] == str(tmp_path / "deep")


def test_an_out_dir_that_cannot_be_is_a_failure_of_the_recorder(write: Write, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        outcome = recorder("-o", out, write(HELLO))
        assert outcome.status == 1
        assert outcome.stderr
    assert (tmp_path / "file").read_text() == "in the way"


def test_the_activation_path_switches_recording_on_and_off(record: Record, write: Write, tmp_path: Path) -> None:
    helper = write(
        """
        def run(callback):
            return callback(1)

        def generator():
            yield 1
            yield 2
        """,
        "helper.py",
    )
    main = write(
        """
        def before():
            return "before"

        def callback(n):
            return n + 1

        before()
        import helper
        before()
        helper.run(callback)
        list(helper.generator())
        before()
        """
    )
    link = tmp_path / "link.py"
    link.symlink_to(helper)
    for activation in (str(helper), "helper.py", str(link)):
        recorded = record(main, options=["--activation-path", activation], cwd=tmp_path)
        names = [call.name for call in recorded.trace.main.calls]
        assert names == ["<helper>", "run", "callback", "generator", "generator", "generator"]


def test_module_frames_are_named_by_their_module(record: Record) -> None:
    trace = record(program("imports")).trace
    names = [call.name for call in trace.main.calls if call.name.startswith("<")]
    assert names == ["<__main__>", "<_sibling>", "<_package>", "<_package.child>", "<_package.other>", "<_broken>"]


def test_functions_of_one_name_are_different_functions(record: Record) -> None:
    trace = record(program("same_names")).trace
    assert len({line for name, _, line in trace.main.functions if name == "work"}) == 3
    assert len(trace.main.functions) == len(set(trace.main.functions))


def test_a_json_trace_is_balanced_by_the_packages_own_count(record: Record) -> None:
    from codetracer_python_recorder import trace_balance

    recorded = record(program("async_generators"), format="json")
    events = trace_balance.load_trace_events(recorded.directory / "trace.json")
    result = trace_balance.summarize_trace_balance(events)
    assert result.is_balanced and result.delta == 0 and result.call_count > 20


def test_inspect_prints_what_the_trace_holds(record: Record, write: Write) -> None:
    for format in ("binary", "json"):
        recorded = record(write(HELLO), format=format)
        lines = recorder("inspect", recorded.directory, "--json").stdout.splitlines()
        assert [json.loads(line) for line in lines] == recorded.trace.raw
        assert "greet" in recorder("inspect", recorded.directory, "--tree").stdout
        summary = python(["-m", "codetracer_python_recorder.inspect", recorded.directory])
        assert summary.status == 0 and "Call" in summary.stdout
