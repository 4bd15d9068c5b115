"""What the command line does around the program: recording, messages, exit statuses."""

import signal
import sys

import pytest

NOTE = "Script exited with status {}; returning 0. Use '--propagate-script-exit' to mirror the script exit code.\n"


@pytest.fixture
def script(interpreter):
    def write(text, name="app.py"):
        path = interpreter.directory / name
        path.write_text(text)
        return name

    return write


def test_a_run_is_started_with_the_script_and_stopped_with_its_status(interpreter, script):
    name = script("print('hi')\n")
    done = interpreter.recorder("-o", "out", name, "a", "b")
    assert (done.stdout, done.stderr, done.returncode) == ("hi\n", "", 0)
    started, stopped = interpreter.calls()[-2:]
    assert started == {
        "call": "start",
        "path": str(interpreter.directory / "out"),
        "format": "binary",
        "activation": str(interpreter.directory / "app.py"),
        "filters": None,
        "argv": ["app.py", "a", "b"],
    }
    assert stopped == {"call": "stop", "exit_code": 0}


def test_a_failing_script_is_no_failure_of_the_recorder(interpreter, script):
    done = interpreter.recorder(script("raise SystemExit(3)"))
    assert (done.returncode, done.stderr) == (0, NOTE.format(3))
    assert interpreter.calls()[-1] == {"call": "stop", "exit_code": 3}


def test_the_scripts_status_is_mirrored_on_request(interpreter, script):
    name = script("raise SystemExit(3)")
    done = interpreter.recorder("--propagate-script-exit", name)
    assert (done.returncode, done.stderr) == (3, "")
    done = interpreter.recorder(name, env={"CODETRACER_PROPAGATE_SCRIPT_EXIT": "1"})
    assert (done.returncode, done.stderr) == (3, "")
    done = interpreter.recorder("--no-propagate-script-exit", name, env={"CODETRACER_PROPAGATE_SCRIPT_EXIT": "1"})
    assert done.returncode == 0


@pytest.mark.parametrize("value", ["1", "true", "True"])
def test_disabled_runs_the_script_and_records_nothing(interpreter, script, value):
    done = interpreter.recorder(
        script("print('ran'); raise SystemExit(5)"), env={"CODETRACER_PYTHON_RECORDER_DISABLED": value}
    )
    assert (done.returncode, done.stdout) == (5, "ran\n")
    assert "recording disabled via CODETRACER_PYTHON_RECORDER_DISABLED" in done.stderr
    assert "start" not in [call["call"] for call in interpreter.calls()]
    assert not (interpreter.directory / "trace-out").exists()


@pytest.mark.parametrize(
    ("arguments", "env", "message"),
    [
        (["-o", "app.py"], {}, "trace path exists and is not a directory"),
        (["--trace-filter", "nosuch.toml"], {}, "trace filter 'nosuch.toml' does not exist"),
        ([], {"FAKE_RECORDER_FAIL": "start"}, "[ERR_IO] cannot start"),
        ([], {"CODETRACER_PROPAGATE_SCRIPT_EXIT": "zz"}, "invalid boolean value 'zz'"),
    ],
)
def test_a_recording_that_cannot_start_is_1_and_the_script_does_not_run(interpreter, script, arguments, env, message):
    done = interpreter.recorder(*arguments, script("print('ran')"), env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Failed to start Codetracer session: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_recording_that_cannot_be_finished_is_1(interpreter, script):
    done = interpreter.recorder(script("print('ran')"), env={"FAKE_RECORDER_FAIL": "stop"})
    assert (done.returncode, done.stdout) == (1, "ran\n")
    assert done.stderr == "Failed to finish Codetracer session: [ERR_IO] cannot stop\n"


def test_a_recorder_error_that_ends_the_script_is_1(interpreter, script):
    name = script("import codetracer_python_recorder as r\nraise r.InternalError('test-injected')\n")
    done = interpreter.recorder(name)
    assert done.returncode == 1
    assert done.stderr.endswith("InternalError: test-injected\n")
    assert interpreter.calls()[-1] == {"call": "stop", "exit_code": 1}


def test_messages_reach_the_stderr_the_script_replaced(interpreter, script):
    done = interpreter.recorder(script("import sys\nsys.stderr.close()\nsys.stderr = None\nraise SystemExit(2)"))
    assert done.returncode == 0
    done = interpreter.recorder(script("import sys, io\nsys.stderr = io.StringIO()\nraise SystemExit(2)"))
    assert done.stderr == NOTE.format(2)


def test_threads_are_waited_for_before_the_recording_ends(interpreter, script):
    name = script(
        "import threading, time, atexit, codetracer_python_recorder as r\n"
        "atexit.register(lambda: print('exit', r.is_tracing()))\n"
        "def work():\n    time.sleep(0.3)\n    print('thread', r.is_tracing())\n"
        "threading.Thread(target=work).start()\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "print('main')\n"
    )
    done = interpreter.recorder(name)
    assert (done.stdout, done.stderr) == ("main\nthread True\nexit True\n", "")


def test_an_executor_left_open_finishes_its_work(interpreter, script):
    name = script(
        "import concurrent.futures, time, codetracer_python_recorder as r\n"
        "pool = concurrent.futures.ThreadPoolExecutor(2)\n"
        "pool.submit(lambda: (time.sleep(0.2), print('done', r.is_tracing())))\n"
    )
    assert interpreter.recorder(name).stdout == "done True\n"


def test_an_interrupt_is_130_in_the_trace_and_the_signal_outside(interpreter, script):
    name = script("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = interpreter.recorder(name)
    assert done.returncode == 0
    assert done.stderr.endswith("KeyboardInterrupt\n" + NOTE.format(130))
    assert interpreter.calls()[-1] == {"call": "stop", "exit_code": 130}
    done = interpreter.recorder("--propagate-script-exit", name)
    assert done.returncode == -signal.SIGINT
    assert done.stderr.count("KeyboardInterrupt") == 1


def test_a_script_may_stop_its_own_recording(interpreter, script):
    done = interpreter.recorder(script("import codetracer_python_recorder as r\nr.stop()\nprint(r.is_tracing())"))
    assert (done.stdout, done.stderr, done.returncode) == ("False\n", "", 0)


def test_a_caller_in_the_same_process_gets_its_interpreter_back(load, fake, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sibling.py").write_text("value = 42\n")
    (tmp_path / "app.py").write_text(
        "import sys, sibling\nsys.path.append('x')\nprint(sibling.value, sys.argv, __name__)\nsys.exit(4)\n"
    )
    before = (sys.argv, sys.path[:], sys.modules["__main__"])
    try:
        status = load("cli").main(["--propagate-script-exit", "app.py", "z"])
    finally:
        sys.modules.pop("sibling", None)
    assert status == 4
    assert capsys.readouterr().out == "42 ['app.py', 'z'] __main__\n"
    assert before == (sys.argv, sys.path, sys.modules["__main__"])
    assert sys.modules["__main__"] is before[2]


def test_the_console_script_is_the_same(interpreter, script):
    script("import sys\nprint(sys.argv, sys.path[0])\n")
    (interpreter.directory / "bin").mkdir()
    console = interpreter.directory / "bin" / "codetracer-python-recorder"
    console.write_text("import sys\nfrom codetracer_python_recorder.cli import main\nsys.exit(main())\n")
    done = interpreter.plain(str(console), "app.py", "x", env={"CODETRACER_TRACE": "ignored"})
    assert (done.stdout, done.stderr) == (f"['app.py', 'x'] {interpreter.directory}\n", "")
    assert [call["call"] for call in interpreter.calls()].count("start") == 1
