import sys

import pytest


@pytest.fixture
def auto_start(load):
    return load("auto_start")


def test_the_names_of_the_variables_are_the_contract(auto_start):
    assert auto_start.ENV_TRACE_PATH == "CODETRACER_TRACE"
    assert auto_start.ENV_TRACE_FILTER == "CODETRACER_TRACE_FILTER"
    assert auto_start.ENV_TRACE_FORMAT == "CODETRACER_FORMAT"


@pytest.mark.parametrize("directory", [None, ""])
def test_nothing_starts_without_a_directory(auto_start, fake, monkeypatch, directory):
    if directory is not None:
        monkeypatch.setenv("CODETRACER_TRACE", directory)
    auto_start.auto_start_from_env()
    assert not fake.is_tracing()


def test_the_environment_chooses_directory_format_and_filters(auto_start, fake, monkeypatch, tmp_path):
    filters = [tmp_path / "a.toml", tmp_path / "b.toml"]
    for path in filters:
        path.touch()
    monkeypatch.setenv("CODETRACER_TRACE", str(tmp_path / "out"))
    monkeypatch.setenv("CODETRACER_FORMAT", "JSON")
    monkeypatch.setenv("CODETRACER_TRACE_FILTER", "::".join(map(str, filters)))
    auto_start.auto_start_from_env()
    started = fake.calls[-1]
    assert started["path"] == str(tmp_path / "out")
    assert started["format"] == "json"
    assert started["activation"] is None
    assert started["filters"] == [str(path) for path in filters]


def test_an_active_session_goes_on(auto_start, load, fake, monkeypatch, tmp_path):
    load().start(tmp_path / "mine")
    monkeypatch.setenv("CODETRACER_TRACE", str(tmp_path / "other"))
    auto_start.auto_start_from_env()
    assert [call["path"] for call in fake.calls if call["call"] == "start"] == [str(tmp_path / "mine")]


@pytest.mark.parametrize(
    ("value", "starts"),
    [("1", False), ("TRUE", False), ("yes", False), ("perhaps", False), ("0", True), ("No", True), ("", True)],
)
def test_disabling_recording_holds_here_too(auto_start, fake, monkeypatch, tmp_path, value, starts):
    monkeypatch.setenv("CODETRACER_TRACE", str(tmp_path / "out"))
    monkeypatch.setenv("CODETRACER_PYTHON_RECORDER_DISABLED", value)
    auto_start.auto_start_from_env()
    assert fake.is_tracing() is starts


@pytest.mark.parametrize(
    ("orig_argv", "argv", "expected"),
    [
        (["python", "-m", "codetracer_python_recorder", "x.py", "-m"], ["-m", "x.py", "-m"], True),
        (["python", "-X", "dev", "-m", "codetracer_python_recorder"], ["-m"], True),
        (["python", "-mcodetracer_python_recorder"], ["-m"], True),
        (["python", "-Imcodetracer_python_recorder", "a"], ["-m", "a"], True),
        (["python", "-m", "codetracer_python_recorder.inspect", "d"], ["-m", "d"], True),
        (
            ["python", "-m", "pytest", "codetracer_python_recorder"],
            ["-m", "codetracer_python_recorder"],
            False,
        ),
        (["python", "-m", "codetracer_python_recorder_extra"], ["-m"], False),
        (
            ["python", "/bin/codetracer-python-recorder", "x.py"],
            ["/bin/codetracer-python-recorder", "x.py"],
            True,
        ),
        (["python", "script.py"], ["script.py"], False),
        (["python", "-c", "..."], ["-c"], False),
        (["python"], [""], False),
        (["python"], [], False),
    ],
)
def test_the_recorders_own_command_line_is_recognised(auto_start, monkeypatch, orig_argv, argv, expected):
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    monkeypatch.setattr(sys, "argv", argv)
    assert auto_start.is_command_line() is expected


def test_importing_the_package_starts_and_exit_stops(interpreter):
    (interpreter.directory / "app.py").write_text(
        "import os, codetracer_python_recorder as r\nprint(r.is_tracing())\nos.chdir('/')\nraise SystemExit(4)\n"
    )
    done = interpreter.plain("app.py", env={"CODETRACER_TRACE": "out"})
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 4)
    started, stopped = interpreter.calls()[-2:]
    assert started["path"] == str(interpreter.directory / "out")
    assert stopped == {"call": "stop", "exit_code": None}


def test_the_command_line_records_where_it_was_told_and_not_twice(interpreter):
    (interpreter.directory / "app.py").write_text("import codetracer_python_recorder as r\nprint(r.is_tracing())\n")
    done = interpreter.recorder("-o", "mine", "app.py", env={"CODETRACER_TRACE": "other"})
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)
    paths = [call["path"] for call in interpreter.calls() if call["call"] == "start"]
    assert paths == [str(interpreter.directory / "mine")]
