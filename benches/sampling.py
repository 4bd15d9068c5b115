"""One side of a comparison, in a process of its own: `sampling.py WORKLOAD SIZE SECONDS SCRATCH plain|recorded`.

Loads, says `ready`, waits for a line, then runs the workload again and again for some seconds and prints one JSON
object. `scripts/bench_sampling.py` runs a plain and a recorded process side by side.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from drive import load


def main() -> None:
    workload, size, seconds, scratch = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    run = load(workload)
    # Warm caches and lazy imports.
    for _ in range(5):
        run(size)
    recorder = None
    if sys.argv[5] == "recorded":
        import codetracer_python_recorder as recorder
    print("ready", flush=True)
    sys.stdin.readline()
    session = recorder.start(scratch / "trace") if recorder else None
    # What starting and stopping cost is paid once, however long the service runs.
    rounds, cpu, begin = 0, time.process_time(), time.monotonic()
    while (elapsed := time.monotonic() - begin) < seconds:
        run(size)
        rounds += 1
    spent = time.process_time() - cpu
    share = samples = None
    if session is not None:
        stats = session.stats()
        share, samples = stats["overhead"]["share"], stats.get("sampling", {}).get("samples")
        session.stop()
    print(json.dumps({"rounds": rounds, "cpu": spent, "elapsed": elapsed, "share": share, "samples": samples}))


if __name__ == "__main__":
    main()
