"""Child processes: the parent's trace stays whole, a child has one of its own, and nobody hangs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import verify_trace
from support.reading import Trace
from support.recording import Recording
from support.running import Outcome

Record = Callable[..., Recording]
Write = Callable[..., Path]
Run = Callable[..., Outcome]


def children(directory: Path) -> list[Path]:
    return sorted((directory / "processes").glob("*"))


def problems(directory: Path) -> list[str]:
    return [problem for path in (directory, *children(directory)) for problem in verify_trace(str(path))]


FORK = """
import os, sys

def child_work(n):
    total = 0
    for i in range(n):
        total += i
    return total

def parent_work(pid):
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)

pid = os.fork()
if pid == 0:
    result = child_work(5)
    print("child", result, flush=True)
    {end}
print("parent", parent_work(pid))
"""


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("os._exit(3)", 3),
        ("os._exit(status=259)", 3),
        ("sys.exit(4)", 4),
        ("raise ValueError('x')", 1),
        ("os.kill(os.getpid(), 9)", -9),
    ],
)
def test_a_forked_child_has_a_trace_of_its_own_and_its_own_status(
    end: str, status: int, record: Record, write: Write
) -> None:
    recorded = record(
        write(FORK.format(end=end)), env={"CODETRACER_POLICY": "durability.flush_interval=10ms"}, timeout=60
    )
    assert recorded.stdout == f"child 10\nparent {status}\n"
    assert recorded.status == 0, recorded.stderr
    assert recorded.trace.main.calls_of("parent_work") and not recorded.trace.main.calls_of("child_work")
    (child,) = children(recorded.directory)
    metadata = json.loads((child / "trace_metadata.json").read_text())
    assert metadata["parent_pid"] == recorded.trace.metadata["pid"] != metadata["pid"]
    assert child.name.split("-")[0] == str(metadata["pid"])
    if status == -9:
        return
    trace = Trace(child)
    assert trace.main.returns_of("child_work") == [["Int", "0xa"]]
    assert metadata["process_exit_status"] == {"code": status, "label": None}
    assert problems(recorded.directory) == []


def test_the_exit_function_is_the_interpreters_own(write: Write, run: Run, tmp_path: Path) -> None:
    program = write(
        """
        import os, posix
        import codetracer_python_recorder as recorder
        before, shown = os._exit, repr(os._exit)
        with recorder.trace("first"):
            pass
        session = recorder.start("second")
        def work():
            return 7
        work()
        assert os._exit is before is posix._exit and repr(os._exit) == shown and os._exit.__name__ == "_exit"
        for wrong in ((), ("x",), (1, 2), (1 << 40,)):
            try:
                os._exit(*wrong)
            except (TypeError, OverflowError) as error:
                print(type(error).__name__, flush=True)
        assert recorder.is_tracing()
        os._exit(5)
        """
    )
    outcome = run(program)
    assert (outcome.stdout.split(), outcome.status) == (
        ["TypeError", "TypeError", "TypeError", "OverflowError"],
        5,
    ), outcome.stderr
    trace = Trace(tmp_path / "second")
    assert trace.main.returns_of("work") == [["Int", "0x7"]]
    assert trace.metadata["process_exit_status"] == {"code": 5, "label": None}
    assert problems(tmp_path / "second") == []


def test_other_programs_that_are_started_leave_the_parents_trace_whole(record: Record, write: Write) -> None:
    program = write(
        """
        import os, subprocess, sys

        def work(n):
            for i in range(n):
                x = i

        def start():
            work(100)
            # By vfork, by posix_spawn, by fork and exec, and by a shell.
            subprocess.run([sys.executable, "-c", "print('one', flush=True)"], check=True)
            os.waitpid(os.posix_spawn("/bin/echo", ["echo", "two"], os.environ), 0)
            subprocess.run(["/bin/echo", "three"], check=True, preexec_fn=lambda: None)
            os.system("echo four")
            work(100)

        print("zero", flush=True)
        start()
        """
    )
    recorded = record(program, timeout=60)
    assert (recorded.stdout.split(), recorded.status) == (["zero", "one", "two", "three", "four"], 0), recorded.stderr
    assert len([step for step in recorded.trace.main.steps if "x" in step.locals]) == 2 * 199
    assert verify_trace(str(recorded.directory)) == []
    # Only who runs Python code between fork and exec has begun a recording, which that ended.
    (child,) = children(recorded.directory)
    assert json.loads((child / "recording.json").read_text())["state"] == "recording"


POOLS = {
    "fork": 'multiprocessing.get_context("fork").Pool(2)',
    "spawn": 'multiprocessing.get_context("spawn").Pool(1)',
    "forkserver": 'multiprocessing.get_context("forkserver").Pool(1)',
    "executor": 'concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork"))',
}


@pytest.mark.parametrize("kind", POOLS)
def test_pools_of_processes_work_and_leave_the_parents_trace_whole(kind: str, record: Record, write: Write) -> None:
    program = write(
        f"""
        import concurrent.futures, multiprocessing, time

        def square(n):
            result = n * n
            return result

        if __name__ == "__main__":
            with {POOLS[kind]} as pool:
                print(sum(pool.map(square, range(20))))
                time.sleep(0.5)  # until all workers have begun
        """
    )
    recorded = record(program, timeout=60)
    assert (recorded.stdout, recorded.status) == ("2470\n", 0), recorded.stderr
    assert not recorded.trace.main.calls_of("square")
    # A pool ends its workers by SIGTERM: their recordings are finished all the same.
    assert problems(recorded.directory) == []
    if kind == "executor":
        # Its workers end by a sentinel, and each writes its own trace to the end.
        calls = [call for child in children(recorded.directory) for call in Trace(child).main.calls_of("square")]
        assert len(calls) == 20


def test_a_process_started_by_multiprocessing_is_recorded_to_its_end(record: Record, write: Write) -> None:
    program = write(
        """
        import multiprocessing

        def work(n):
            for i in range(n):
                pass

        processes = [multiprocessing.get_context("fork").Process(target=work, args=(n,)) for n in (3, 4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        print([process.exitcode for process in processes])
        """
    )
    recorded = record(program)
    assert recorded.stdout == "[0, 0]\n"
    traces = [Trace(child) for child in children(recorded.directory)]
    assert sorted(call.args[0][1][1] for trace in traces for call in trace.main.calls_of("work")) == ["0x3", "0x4"]
    assert [trace.metadata["process_exit_status"]["code"] for trace in traces] == [0, 0]
    assert problems(recorded.directory) == []


def test_forks_among_busy_threads_never_hang(record: Record, write: Write) -> None:
    program = write(
        """
        import os, threading, time

        stop = False

        def busy():
            n = 0
            while not stop:
                n += 1
                time.sleep(0.0001)

        def fork_some():
            for _ in range(6):
                pid = os.fork()
                if pid == 0:
                    grandchild = os.fork()
                    if grandchild == 0:
                        os._exit(0)
                    os.waitpid(grandchild, 0)
                    os._exit(0)
                _, status = os.waitpid(pid, 0)
                assert status == 0

        threads = [threading.Thread(target=busy) for _ in range(3)]
        threads.append(threading.Thread(target=fork_some))
        for thread in threads:
            thread.start()
        threads[-1].join()
        stop = True
        for thread in threads:
            thread.join()
        print("done")
        """
    )
    recorded = record(program, timeout=90)
    assert (recorded.stdout, recorded.status) == ("done\n", 0), recorded.stderr
    # Children of children are beside them, not inside.
    assert len(children(recorded.directory)) == 12
    assert problems(recorded.directory) == []


def test_prefork_workers_that_never_return_are_recorded(record: Record, write: Write) -> None:
    program = write(
        """
        import os, signal, sys

        def handle(request):
            return request.upper()

        def worker(source):
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            for request in source:
                print(handle(request.strip()), flush=True)

        workers = []
        for index in range(3):
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(write)
                for _, earlier in workers:
                    earlier.close()
                worker(os.fdopen(read))
                os._exit(0)
            os.close(read)
            workers.append((pid, os.fdopen(write, "w")))
        for pid, pipe in workers:
            print("get", file=pipe, flush=True)
            pipe.close()
            os.waitpid(pid, 0)
        """
    )
    recorded = record(program)
    assert (recorded.stdout, recorded.status) == ("GET\n" * 3, 0), recorded.stderr
    assert [len(Trace(child).main.calls_of("handle")) for child in children(recorded.directory)] == [1, 1, 1]
    assert problems(recorded.directory) == []


@pytest.mark.parametrize(("policy", "expected"), [("never", 0), ("always", 1), ("auto", 1)])
def test_the_policy_decides_for_runs_of_the_command_line(
    policy: str, expected: int, record: Record, write: Write
) -> None:
    program = write(FORK.format(end="os._exit(0)"))
    recorded = record(program, env={"CODETRACER_POLICY": f"processes.record={policy}"})
    assert recorded.stdout == "child 10\nparent 0\n"
    assert len(children(recorded.directory)) == expected
    assert problems(recorded.directory) == []


@pytest.mark.parametrize(("policy", "expected"), [("auto", 0), ("always", 1)])
def test_a_program_that_records_itself_decides_for_itself(
    policy: str, expected: int, write: Write, run: Run, tmp_path: Path
) -> None:
    program = write(
        """
        import os
        import codetracer_python_recorder as recorder
        def work():
            pid = os.fork()
            if not pid:
                assert recorder.is_tracing() == (os.environ["EXPECTED"] == "1")
                os._exit(0)
            return os.waitpid(pid, 0)[1]
        with recorder.trace("out"):
            assert work() == 0
        """
    )
    outcome = run(program, env={"CODETRACER_POLICY": f"processes.record={policy}", "EXPECTED": str(expected)})
    assert outcome.status == 0, outcome.stderr
    assert len(children(tmp_path / "out")) == expected
    assert problems(tmp_path / "out") == []


def test_forking_warns_only_of_the_programs_own_threads(record: Record, write: Write, run: Run) -> None:
    program = write(
        """
        import os, threading, warnings

        def fork():
            pid = os.fork()
            if not pid:
                os._exit(0)
            os.waitpid(pid, 0)

        shown = list(warnings.filters)
        fork()
        assert warnings.filters == shown
        print("alone")
        event = threading.Event()
        thread = threading.Thread(target=event.wait)
        thread.start()
        fork()
        event.set()
        thread.join()
        """
    )
    always = {"PYTHONWARNINGS": "always::DeprecationWarning"}
    plain, recorded = run(program, env=always), record(program, env=always)
    assert recorded.stdout == plain.stdout == "alone\n"
    first, second = (re.sub(r"pid=\d+", "pid=N", outcome.stderr) for outcome in (plain, recorded))
    assert first == second and first.count("multi-threaded") == 1
