"""Where line events are registered: for all code, or for recorded code objects alone.

    python benches/event_registration.py [ROUNDS]

Imports a part of the standard library, none of which is recorded, under C callbacks that do nothing: `global` has line
events for all code; `local` has only the starts of functions for all code, each switched off where it came, as the
recorder does. Interleaved rounds in processes of their own; prints the median of CPU time over plain.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

SETUP = """
import sys
m = sys.monitoring
how = {how!r}
if how != "plain":
    from operator import is_  # a C function of two arguments whose answer is False: the event stays on
    m.use_tool_id(4, "bench")
    m.register_callback(4, m.events.PY_START, is_ if how == "global" else (lambda *_: m.DISABLE))
    m.register_callback(4, m.events.LINE, is_)
    m.set_events(4, m.events.PY_START | (m.events.LINE if how == "global" else 0))
sys.path.insert(0, {workloads!r})
import imports, time
start = time.process_time()
imports.main(1)
print(time.process_time() - start)
"""


def measure(how: str) -> float:
    """Seconds of CPU time."""
    source = SETUP.format(how=how, workloads=str(Path(__file__).parent / "workloads"))
    env = os.environ | {"PYTHONHASHSEED": "0"}
    return float(subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, env=env).stdout)


def main(rounds: int) -> None:
    ways = ("plain", "global", "local")
    times = [{way: measure(way) for way in ways} for _ in range(rounds)]
    for way in ways[1:]:
        print(f"{way:<8}{statistics.median(each[way] / each['plain'] for each in times):.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
