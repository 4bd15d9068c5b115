import subprocess
import sys
from pathlib import Path

import pytest


def names(fake):
    return [call["call"] for call in fake.calls]


def test_start_hands_the_backend_four_positional_arguments(load, fake, tmp_path, monkeypatch):
    session = load("session")
    seen = []
    monkeypatch.setattr(session, "_start_backend", lambda *arguments: seen.append(arguments))
    script = tmp_path / "main.py"
    filter_file = tmp_path / "f.toml"
    filter_file.touch()
    session.start(tmp_path / "out", format="JSON", start_on_enter=script, trace_filter=filter_file)
    assert seen == [(str(tmp_path / "out"), "json", str(script), [str(filter_file)])]


@pytest.mark.parametrize("framework", ["pytest", "unittest"])
def test_a_test_framework_is_a_fifth_argument_of_the_backend(load, fake, tmp_path, monkeypatch, framework):
    session = load("session")
    seen = []
    monkeypatch.setattr(session, "_start_backend", lambda *arguments: seen.append(arguments))
    session.start(tmp_path / "out", test_framework=framework)
    assert seen == [(str(tmp_path / "out"), "binary", None, None, framework)]


def test_a_session_knows_its_path_and_format_after_a_chdir(load, tmp_path, monkeypatch):
    recorder = load()
    monkeypatch.chdir(tmp_path)
    with recorder.start("out", format="JSON") as session:
        monkeypatch.chdir("/")
        assert (session.path, session.format) == (tmp_path / "out", "json")
        assert isinstance(session.path, Path)


def test_a_second_start_is_refused_and_leaves_the_first_alone(load, tmp_path):
    recorder = load()
    first = recorder.start(tmp_path / "a")
    with pytest.raises(RuntimeError, match="tracing already active"):
        recorder.start(tmp_path / "b")
    assert load("session")._active_session is first
    assert recorder.is_tracing()


def test_stop_and_flush_without_a_session_do_nothing(load, fake):
    recorder = load()
    fake.calls.clear()
    recorder.stop()
    recorder.flush()
    assert fake.calls == []


def test_stop_passes_the_exit_code_on_and_happens_once(load, fake, tmp_path):
    recorder = load()
    session = recorder.start(tmp_path / "out")
    session.flush()
    session.stop(exit_code=7)
    session.stop()
    session.flush()
    assert [call for call in fake.calls if call["call"] in ("flush", "stop")] == [
        {"call": "flush"},
        {"call": "stop", "exit_code": 7},
    ]
    assert load("session")._active_session is None


def test_an_old_session_does_not_stop_a_new_one(load, tmp_path):
    recorder = load()
    old = recorder.start(tmp_path / "a")
    old.stop()
    recorder.start(tmp_path / "b")
    old.stop()
    assert recorder.is_tracing()


def test_a_session_is_over_even_when_completing_it_fails(load, fake, tmp_path, monkeypatch):
    recorder = load()
    recorder.start(tmp_path / "a")
    monkeypatch.setenv("FAKE_RECORDER_FAIL", "stop")
    with pytest.raises(recorder.EnvironmentError):
        recorder.stop()
    monkeypatch.delenv("FAKE_RECORDER_FAIL")
    recorder.start(tmp_path / "b")


def test_trace_starts_on_entry_and_stops_when_its_body_raises(load, fake, tmp_path):
    recorder = load()
    context = recorder.trace(tmp_path / "out", format="json")
    assert not recorder.is_tracing()
    with pytest.raises(ZeroDivisionError), context as session:
        assert recorder.is_tracing()
        assert session.format == "json"
        1 / 0  # noqa: B018
    assert not recorder.is_tracing()


def test_policy_wins_over_the_environment(load, fake, tmp_path):
    recorder = load()
    fake.calls.clear()
    recorder.start(tmp_path / "out", policy={"log_file": tmp_path / "log", "json_errors": True})
    assert names(fake) == ["configure_policy_from_env", "configure_policy", "start"]
    assert fake.calls[1] == {
        "call": "configure_policy",
        "log_file": str(tmp_path / "log"),
        "json_errors": True,
    }


def test_the_environment_can_be_left_out(load, fake, tmp_path):
    recorder = load()
    fake.calls.clear()
    recorder.start(tmp_path / "out", apply_env_policy=False)
    assert names(fake) == ["start"]


def test_a_file_is_no_trace_directory(load, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="exists and is not a directory"):
        load().start(tmp_path / "file")


def test_the_home_directory_is_expanded(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    session = load("session")
    assert session._validate_trace_path(Path("~/out")) == tmp_path / "out"
    assert session._normalize_activation_path("~/x.py") == str(tmp_path / "x.py")
    assert session._normalize_activation_path(None) is None


@pytest.mark.parametrize("value", ["xml", "", " json "])
def test_an_unknown_format_is_refused(load, tmp_path, value):
    with pytest.raises(ValueError, match="unsupported trace format"):
        load().start(tmp_path, format=value)


class TestTraceFilter:
    @pytest.fixture(autouse=True)
    def files(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name in ("a.toml", "b.toml"):
            (tmp_path / name).touch()
        (tmp_path / "directory").mkdir()

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, None),
            ("a.toml", ["a.toml"]),
            (Path("a.toml"), ["a.toml"]),
            ("a.toml::b.toml", ["a.toml", "b.toml"]),
            ("a.toml:: ::b.toml::", ["a.toml", "b.toml"]),
            (["b.toml::a.toml", Path("b.toml")], ["b.toml", "a.toml", "b.toml"]),
            (("a.toml",), ["a.toml"]),
        ],
    )
    def test_every_shape_becomes_absolute_paths(self, load, tmp_path, value, expected):
        resolved = load("session")._normalize_trace_filter(value)
        assert resolved == (None if expected is None else [str(tmp_path / name) for name in expected])

    @pytest.mark.parametrize(
        ("value", "error", "message"),
        [
            ("", ValueError, "at least one path"),
            ("::", ValueError, "at least one path"),
            ([], ValueError, "at least one path"),
            ("directory", ValueError, "is not a file"),
            ("missing.toml", FileNotFoundError, "'missing.toml' does not exist"),
            (5, TypeError, "must be a path"),
            ({"a.toml": 1}, TypeError, "must be a path"),
            (b"a.toml", TypeError, "must be str or os.PathLike"),
            (["a.toml", None], TypeError, "not NoneType"),
        ],
    )
    def test_what_is_no_filter_is_refused(self, load, value, error, message):
        with pytest.raises(error, match=message):
            load("session")._normalize_trace_filter(value)


def test_a_forgotten_session_is_finished_at_exit(interpreter):
    done = interpreter.plain("-c", "import codetracer_python_recorder as r; r.start('out')")
    assert done.returncode == 0, done.stderr
    assert interpreter.calls()[-1] == {"call": "stop", "exit_code": None}


def test_a_forgotten_session_that_fails_is_one_line(interpreter):
    done = interpreter.plain(
        "-c", "import codetracer_python_recorder as r; r.start('out')", env={"FAKE_RECORDER_FAIL": "stop"}
    )
    assert done.stderr == "codetracer-python-recorder: [ERR_IO] cannot stop\n"


def test_importing_the_package_loads_nothing_heavy(fake_installation):
    code = (
        "import sys, json; before = set(sys.modules); import codetracer_python_recorder\n"
        "print(' '.join(sorted(set(sys.modules) - before)))"
    )
    # `json` is loaded for the stand-in's sake, so whatever belongs to it is known before.
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(fake_installation)},
        capture_output=True,
        text=True,
        check=True,
    )
    foreign = [name for name in done.stdout.split() if not name.startswith("codetracer_python_recorder")]
    assert foreign == ["__future__", "atexit"]
