"""One measured run, in a process of its own: `drive.py RECORDER WORKLOAD SIZE SCRATCH`.

Prints one JSON object. The measured part goes from before the recorder starts until its file is finished; loading the
workload and the recorder is not in it. `scripts/bench.py` calls this once per table cell and round.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType


class Plain:
    """Nothing is recorded. Also the shape of all recorders."""

    #: The trace, if any.
    output: Path | None = None

    def __init__(self, workload: Path, scratch: Path) -> None: ...

    def start(self) -> None: ...

    def settle(self) -> None:
        """Before the threads' times are taken."""

    def stop(self) -> None: ...

    def steps(self) -> int | None:
        return None


class Floor(Plain):
    """C callbacks that do nothing, for the same events as ours."""

    lines = True

    def __init__(self, workload: Path, scratch: Path) -> None:
        import floor

        self.floor = floor
        self.workload = workload

    def start(self) -> None:
        self.floor.install(str(self.workload), self.lines)

    def stop(self) -> None:
        self.floor.uninstall()


class FloorCalls(Floor):
    """The same without lines."""

    lines = False


class Ours(Plain):
    """This recorder, with its policy in `POLICIES`."""

    trace_filter: str | None = None

    def __init__(self, workload: Path, scratch: Path) -> None:
        import codetracer_python_recorder as recorder

        self.recorder = recorder
        self.output = scratch / "trace"

    def start(self) -> None:
        self.recorder.start(self.output, trace_filter=self.trace_filter)

    def stop(self) -> None:
        self.recorder.stop()

    def steps(self) -> int | None:
        metadata = json.loads((self.output / "trace_metadata.json").read_text()) if self.output else {}
        streams = metadata.get("streams")
        return None if streams is None else sum(stream["counts"]["steps"] for stream in streams)


class Actors(Ours):
    """This recorder, whose workers are done before their times are taken."""

    def settle(self) -> None:
        self.recorder.flush()


class Skipped(Ours):
    """This recorder, with a filter that skips the workload: what code costs that is not recorded."""

    def __init__(self, workload: Path, scratch: Path) -> None:
        super().__init__(workload, scratch)
        rules = scratch / "skip.toml"
        rules.write_text(
            '[meta]\nname = "skip"\nversion = 1\n[scope]\ndefault_exec = "skip"\ndefault_value_action = "allow"\n'
        )
        self.trace_filter = str(rules)


class VizTracer(Plain):
    """viztracer: calls."""

    options: dict[str, object] = {}

    def __init__(self, workload: Path, scratch: Path) -> None:
        import viztracer

        self.output = scratch / "trace.json"
        self.tracer = viztracer.VizTracer(output_file=str(self.output), verbose=0, **self.options)

    def start(self) -> None:
        self.tracer.start()

    def stop(self) -> None:
        self.tracer.stop()
        self.tracer.save()


class VizTracerValues(VizTracer):
    """viztracer: calls with arguments and return values."""

    options = {"log_func_args": True, "log_func_retval": True}


RECORDERS: dict[str, type[Plain]] = {
    "plain": Plain,
    "floor": Floor,
    "floor-calls": FloorCalls,
    "full": Ours,
    "full-shallow": Ours,
    "actors": Actors,
    "calls": Ours,
    "flight-recorder": Ours,
    "off": Ours,
    "skipped": Skipped,
    "0.3.0": Ours,
    "viztracer": VizTracer,
    "viztracer-values": VizTracerValues,
}

POLICIES = {
    "full": "full",
    "full-shallow": "values.max_depth=1;values.max_items=8",
    "actors": "full",
    "calls": "calls",
    "flight-recorder": "flight-recorder",
    "off": "off",
}
"""What ours are run by; where nothing stands here, by the default."""


def worker_cpu() -> dict[str, int]:
    """Nanoseconds that each of the recorder's own threads has run so far; Linux only."""
    used: dict[str, int] = {}
    for task in Path("/proc/self/task").glob("*"):
        # A thread may end meanwhile.
        with contextlib.suppress(OSError, ValueError):
            name = (task / "comm").read_text().strip()
            if name.startswith("ct-"):
                actor = name.rstrip("-0123456789")
                used[actor] = used.get(actor, 0) + int((task / "schedstat").read_text().split()[0])
    return used


def peak_rss() -> int:
    """Bytes. Not `ru_maxrss` where that can be helped: it starts with what the parent had at the fork."""
    with contextlib.suppress(OSError, StopIteration):
        status = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in status if line.startswith("VmHWM:")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def size_of(path: Path | None) -> int | None:
    if path is None:
        return None
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)


def load(workload: Path) -> Callable[[int], object]:
    """The workload's `main`."""
    code: CodeType = compile(workload.read_text(), str(workload), "exec")
    namespace: dict[str, object] = {"__name__": "workload", "__file__": str(workload)}
    exec(code, namespace)
    main = namespace["main"]
    assert callable(main)
    return main


def measure(recorder: Plain, main: Callable[[int], object], size: int) -> dict[str, object]:
    gc.collect()
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    recorder.start()
    started = time.process_time_ns()
    result = main(size)
    ended = time.process_time_ns()
    recorder.settle()
    workers = worker_cpu()
    interpreter = time.process_time_ns() - cpu - sum(workers.values())
    recorded = time.perf_counter_ns()
    recorder.stop()
    finished = time.perf_counter_ns()
    return {
        "wall": finished - wall,
        "stop": finished - recorded,
        "cpu": time.process_time_ns() - cpu,
        "interpreter_cpu": interpreter,
        "main_cpu": ended - started,
        "workers": workers,
        "result": repr(result),
    }


def main() -> None:
    name, workload, size, scratch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    run = load(workload)
    # Warm caches and lazy imports.
    run(1)
    if name in POLICIES:
        os.environ["CODETRACER_POLICY"] = POLICIES[name]
    report: dict[str, object] = {}
    if os.environ.get("BENCH_ALSO_PLAIN"):
        plain = measure(Plain(workload, scratch), run, size)
        report |= {"plain_wall": plain["wall"], "plain_cpu": plain["cpu"]}
    recorder = RECORDERS[name](workload, scratch)
    report |= measure(recorder, run, size)
    report |= {"rss": peak_rss(), "disk": size_of(recorder.output), "steps": recorder.steps()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
