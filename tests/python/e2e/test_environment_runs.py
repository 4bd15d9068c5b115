"""`CODETRACER_TRACE=DIR` records any program of an environment that has the start-up hook, and its child processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.reading import Trace
from support.running import TIMEOUT, environment

SOURCES = Path(__file__).resolve().parents[3] / "python"
APP = """
import sys

def work(n):
    total = n + 1
    return total

print(work(3), sys.argv[1:], sys.stdin.read())
sys.exit(work(4))
"""


class Environment:
    """A virtual environment in which the package can be imported, and the programs that run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True, timeout=TIMEOUT)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site_packages = root / "lib" / version / "site-packages"
        (self.site_packages / "codetracer_python_recorder.pth").write_text(f"{SOURCES}\n")
        self.hook = self.site_packages / "codetracer_python_recorder_hook.pth"
        self.python = root / "bin" / "python"

    def run(self, cwd: Path, *words: str | Path, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        command = [self.python, *words]
        env = environment(variables)
        return subprocess.run(command, input=stdin, cwd=cwd, env=env, capture_output=True, text=True, timeout=TIMEOUT)

    def manage(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.root, "-m", "codetracer_python_recorder", verb, *words)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("bare environment"))


@pytest.fixture(scope="module")
def enabled(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = Environment(tmp_path_factory.mktemp("enabled environment"))
    assert made.manage("enable").stdout == f"enabled: {made.hook}\n"
    return made


def children(out: Path) -> list[Path]:
    return sorted((out / "processes").iterdir()) if (out / "processes").is_dir() else []


def sound(out: Path) -> bool:
    from codetracer_python_recorder.codetracer_python_recorder import verify_trace

    problems = verify_trace(str(out))
    assert problems == []
    return json.loads((out / "recording.json").read_text())["state"] == "complete"


def tree(out: Path) -> str:
    lines: list[str] = []
    from codetracer_python_recorder.codetracer_python_recorder import inspect_trace

    inspect_trace(str(out), "tree", 20, 1000, lines.append)
    return "".join(lines)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("print(1)", []),
        ("1 / 0", ["0001-uncaught-ZeroDivisionError"]),
        ("import no_such_module", ["0001-uncaught-ModuleNotFoundError"]),
    ],
)
def test_only_what_the_program_leaves_uncaught_is_dumped(
    script: str, expected: list[str], enabled: Environment, tmp_path: Path
) -> None:
    # The interpreter asks the import system first whether the script is an archive; the answer is an exception.
    (tmp_path / "app.py").write_text(script)
    done = enabled.run(tmp_path, "app.py", CODETRACER_TRACE="out", CODETRACER_POLICY="flight-recorder")
    assert done.returncode == (1 if expected else 0)
    assert (tmp_path / "out" / "recording.json").exists()
    assert sorted(path.name for path in (tmp_path / "out" / "dumps").glob("*")) == expected


def test_recording_by_environment_is_switched_on_and_off(bare: Environment, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)

    def is_recorded(name: str) -> bool:
        done = bare.run(tmp_path, "app.py", CODETRACER_TRACE=name)
        assert (done.returncode, done.stderr) == (5, "")
        return (tmp_path / name).exists()

    assert bare.manage("status").stdout == f"disabled: {bare.hook}\n"
    assert not is_recorded("before")
    for _ in range(2):
        done = bare.manage("enable")
        assert (done.stdout, done.stderr, done.returncode) == (f"enabled: {bare.hook}\n", "", 0)
    assert bare.manage("status").stdout == f"enabled: {bare.hook}\n"
    assert is_recorded("while")
    for _ in range(2):
        assert bare.manage("disable").stdout == f"disabled: {bare.hook}\n"
    assert not is_recorded("after")
    assert sorted(path.name for path in bare.site_packages.iterdir()) == ["codetracer_python_recorder.pth"]
    assert bare.manage("enable", "x").returncode == 2


def test_the_wheel_has_the_hook_that_enable_writes(enabled: Environment) -> None:
    assert (SOURCES / "wheel.data" / "platlib" / enabled.hook.name).read_text() == enabled.hook.read_text()


def test_without_the_variable_nothing_of_ours_is_imported(enabled: Environment, tmp_path: Path) -> None:
    code = "import sys; print([name for name in sys.modules if 'codetracer' in name])"
    for variables in ({}, {"CODETRACER_TRACE": ""}):
        done = enabled.run(tmp_path, "-c", code, **variables)
        assert (done.stdout, done.stderr) == ("[]\n", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["script", "-m", "-c"])
def test_a_program_that_knows_nothing_of_us_is_recorded_whole(form: str, enabled: Environment, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    words: Sequence[str] = {"script": ["app.py"], "-m": ["-m", "app"], "-c": ["-c", "import app"]}[form]
    plain = enabled.run(tmp_path, *words, "a", "-h", stdin="in")
    done = enabled.run(tmp_path, *words, "a", "-h", stdin="in", CODETRACER_TRACE="out")
    assert (done.stdout, done.stderr, done.returncode) == (plain.stdout, plain.stderr, plain.returncode)
    assert done.stdout == "4 ['a', '-h'] in\n" and done.returncode == 5
    assert sound(tmp_path / "out")
    metadata = Trace(tmp_path / "out").metadata
    assert metadata["program"] == {"script": "app.py", "-m": "app", "-c": "-c"}[form]
    assert metadata["args"] == ["a", "-h"]
    assert Trace(tmp_path / "out").main.returns_of("work") == [["Int", "0x4"], ["Int", "0x5"]]
    assert children(tmp_path / "out") == []
    if form == "script":
        enabled.run(tmp_path, "-m", "codetracer_python_recorder", "-o", "cli", "app.py", "a", stdin="in")
        here = tree(tmp_path / "out").splitlines()
        assert here[:-1] == tree(tmp_path / "cli").splitlines()[:-1] and len(here) > 4


def test_the_command_line_records_once_and_where_it_was_told(enabled: Environment, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    enabled.run(tmp_path, "-m", "codetracer_python_recorder", "-o", "told", "app.py", CODETRACER_TRACE="env")
    assert (tmp_path / "told" / "trace.bin").exists() and not (tmp_path / "env").exists()


CHILDREN = """
import multiprocessing, os, subprocess, sys

def work(n):
    return n * 2

def parent_only():
    return 0

if __name__ == "__main__":
    parent_only()
    {start}
"""
STARTS = {
    "exec": "print(subprocess.run([sys.executable, 'app.py'], capture_output=True, text=True).stdout, end='')",
    "spawn": "with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
    "        print(pool.map(work, [1, 2])); pool.close(); pool.join()",
    "fork": "with multiprocessing.get_context('fork').Pool(1) as pool:\n"
    "        print(pool.map(work, [1, 2])); pool.close(); pool.join()",
}


@pytest.mark.parametrize("how", STARTS)
def test_child_processes_have_directories_of_their_own(how: str, enabled: Environment, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def work(n):\n    return n\n\nprint(work(1))\n")
    (tmp_path / "main.py").write_text(CHILDREN.format(start=STARTS[how]))
    out = tmp_path / "out"
    done = enabled.run(tmp_path, "main.py", CODETRACER_TRACE="out")
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == {"exec": "1\n"}.get(how, "[2, 4]\n")
    (child,) = children(out)
    assert sound(out) and sound(child)
    root, own = Trace(out), Trace(child)
    assert root.main.calls_of("parent_only") and not root.main.calls_of("work")
    assert own.main.calls_of("work") and not own.main.calls_of("parent_only")
    assert own.metadata["parent_pid"] == root.metadata["pid"] != own.metadata["pid"]
    assert child.name.split("-")[0] == str(own.metadata["pid"])


def test_children_of_children_lie_beside_them(enabled: Environment, tmp_path: Path) -> None:
    (tmp_path / "nest.py").write_text(
        "import os, subprocess, sys\n"
        "n = int(sys.argv[1])\n"
        "if n:\n    subprocess.run([sys.executable, 'nest.py', str(n - 1)], check=True)\n"
        "elif os.fork() == 0:\n    print('leaf', flush=True)\nelse:\n    os.wait()\n"
    )
    # CPython warns of every fork in a process that has threads, and the recorder's workers are threads.
    done = enabled.run(tmp_path, "nest.py", "2", CODETRACER_TRACE="out", PYTHONWARNINGS="ignore::DeprecationWarning")
    assert (done.stdout, done.stderr, done.returncode) == ("leaf\n", "", 0)
    assert len(children(tmp_path / "out")) == 3
    assert len(list(tmp_path.rglob("trace.bin"))) == 4
    assert all(sound(child) for child in children(tmp_path / "out"))


def test_processes_that_start_at_once_lose_nothing_to_each_other(enabled: Environment, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import time\n\ndef work(n):\n    return n\n\nwork(1)\ntime.sleep(0.5)\n")
    out, count = tmp_path / "out", 6
    with ThreadPoolExecutor(count) as pool:
        runs = [pool.submit(enabled.run, tmp_path, "app.py", CODETRACER_TRACE="out") for _ in range(count)]
        assert [(done.result().stderr, done.result().returncode) for done in runs] == [("", 0)] * count
    traces = sorted(path.parent for path in out.rglob("trace.bin"))
    assert len(traces) == count
    for trace in traces:
        assert sound(trace)
        assert Trace(trace).main.returns_of("work") == [["Int", "0x1"]]
    # Now that all have ended, the next run is the first again.
    enabled.run(tmp_path, "app.py", CODETRACER_TRACE="out")
    assert [path.parent for path in out.rglob("trace.bin")] == [out]


def test_a_child_that_outlives_its_parent_keeps_its_directory(enabled: Environment, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("import sys\ndef work():\n    return sys.stdin.read()\nwork()\n")
    (tmp_path / "parent.py").write_text(
        "import subprocess, sys, time\nsubprocess.Popen([sys.executable, 'late.py'], stdout=subprocess.DEVNULL)\n"
        # When a process began is known to a hundredth of a second.
        "time.sleep(0.1)\n"
    )
    out = tmp_path / "out"
    command = [enabled.python, "parent.py"]
    env = environment({"CODETRACER_TRACE": "out"})
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdin=subprocess.PIPE) as parent:
        assert parent.wait(TIMEOUT) == 0
        while not any((child / "recording.json").exists() for child in children(out)):
            time.sleep(0.01)
        (child,) = children(out)
        other = enabled.run(tmp_path, "-c", "print(1)", CODETRACER_TRACE="out")
        assert (other.stdout, other.stderr) == ("1\n", "")
        assert child in children(out) and len(children(out)) == 2
        assert parent.stdin is not None
        parent.stdin.close()
    while json.loads((child / "recording.json").read_text())["state"] != "complete":
        time.sleep(0.01)
    assert sound(child) and sound(out)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"CODETRACER_TRACE": "out", "CODETRACER_POLICY": "values.max_dept=3"}, "'values.max_depth'"),
        ({"CODETRACER_TRACE": "out", "CODETRACER_REQUIRE_TRACE": "perhaps"}, "invalid boolean value"),
        ({"CODETRACER_TRACE": "app.py"}, "not a directory"),
        ({"CODETRACER_TRACE": "app.py/x"}, "failed to create trace directory"),
        ({"CODETRACER_TRACE": "out", "CODETRACER_FORMAT": "xml"}, "unsupported trace format"),
        ({"CODETRACER_TRACE": "out", "CODETRACER_TRACE_FILTER": "none.toml"}, "none.toml"),
    ],
)
def test_a_program_starts_whatever_is_wrong_with_its_environment(
    variables: dict[str, str], reason: str, enabled: Environment, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP)
    done = enabled.run(tmp_path, "app.py", **variables)
    assert (done.stdout, done.returncode) == ("4 [] \n", 5)
    # The log may have its say too, as JSON.
    (told,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert told.startswith("codetracer-python-recorder: this program is not recorded: ") and reason in told
    assert not list(tmp_path.rglob("trace.bin"))


@pytest.mark.parametrize("variables", [{"CODETRACER_POLICY": "values.max_dept=3"}, {"CODETRACER_FORMAT": "xml"}])
def test_so_does_one_that_imports_the_package(variables: dict[str, str], enabled: Environment, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import codetracer_python_recorder as recorder\nprint(recorder.is_tracing())\n")
    done = enabled.run(tmp_path, "app.py", CODETRACER_TRACE="out", **variables)
    assert (done.stdout, done.returncode) == ("False\n", 0)
    assert done.stderr.count("this program is not recorded: ") == 1
    # Whoever wants no recording is not told what is wrong with it.
    done = enabled.run(tmp_path, "app.py", CODETRACER_PYTHON_RECORDER_DISABLED="yes", **variables)
    assert (done.stdout, done.stderr, done.returncode) == ("False\n", "", 0)


def test_a_hook_without_its_package_is_silent(tmp_path: Path, enabled: Environment) -> None:
    alone = Environment(tmp_path / "environment")
    alone.hook.write_text(enabled.hook.read_text())
    (alone.site_packages / "codetracer_python_recorder.pth").unlink()
    done = alone.run(tmp_path, "-c", "print(1)", CODETRACER_TRACE="out")
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)


def test_a_program_that_replaces_itself_keeps_what_it_recorded_before(enabled: Environment, tmp_path: Path) -> None:
    (tmp_path / "second.py").write_text("def second():\n    return 2\nsecond()\n")
    (tmp_path / "first.py").write_text(
        "import os, sys\nimport codetracer_python_recorder as recorder\n\ndef first():\n    return 1\n"
        "first()\nrecorder.flush()\nos.execv(sys.executable, [sys.executable, 'second.py'])\n"
    )
    out = tmp_path / "out"
    done = enabled.run(tmp_path, "first.py", CODETRACER_TRACE="out")
    assert (done.stderr, done.returncode) == ("", 0)
    (successor,) = children(out)
    assert sound(successor) and Trace(successor).main.calls_of("second")
    assert "first()" in tree(out)
