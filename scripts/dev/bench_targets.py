"""What the recorder is to reach, beside what `scripts/bench.py` measured.

Invariants:
- Each target has one figure, from the medians that the other tables show; what was not measured is said to be missing.
- Figures of workloads that did not finish are left out, and named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench_table import Figure, Row, bytes_per_step, each, geometric_mean, over_plain_rss, ratio

SCALARS = ("fib", "loop", "fib-far", "loop-far")
"""Workloads whose variables are numbers."""

SKIPPED = ("imports", "wsgi")
"""Workloads for the price of code that is not recorded."""


@dataclass(frozen=True)
class Target:
    """A figure by workload, how they are made one, and what that may be at most (or has to be at least)."""

    what: str
    figure: Callable[[Row], float | None]
    together: Callable[[Sequence[float]], float]
    limit: float
    at_least: bool = False
    workloads: tuple[str, ...] | None = None

    def meets(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


def median(figure: Figure) -> float | None:
    return figure[0] if figure else None


def median_ratio(recorder: str, base: str, key: str) -> Callable[[Row], float | None]:
    return lambda row: median(ratio(row, recorder, base, key))


def faster_than_the_release(row: Row) -> float | None:
    """Both against plain in runs of their own: 0.3.0 gets a smaller program."""
    theirs, ours = ratio(row, "0.3.0", "plain", "wall"), ratio(row, "full", "plain", "wall")
    return theirs[0] / ours[0] if theirs and ours else None


def size(row: Row) -> float | None:
    return median(each(row, "full", bytes_per_step))


def memory(row: Row) -> float | None:
    return median(over_plain_rss(row, "full"))


TARGETS = (
    Target(
        "interpreter's threads over the floor's, scalars, most",
        median_ratio("full", "floor", "interpreter_cpu"),
        max,
        1.6,
        workloads=SCALARS,
    ),
    Target(
        "interpreter's threads over the floor's, geometric mean",
        median_ratio("full", "floor", "interpreter_cpu"),
        geometric_mean,
        2,
    ),
    Target(
        "interpreter's threads over the floor's, most",
        median_ratio("full", "floor", "interpreter_cpu"),
        max,
        3.5,
    ),
    Target("wall time over plain, geometric mean", median_ratio("full", "plain", "wall"), geometric_mean, 3),
    Target("wall time over plain, most", median_ratio("full", "plain", "wall"), max, 7),
    Target("times faster than 0.3.0, least", faster_than_the_release, min, 100, at_least=True),
    Target(
        "CPU time over viztracer's with values, geometric mean",
        median_ratio("full", "viztracer-values", "cpu"),
        geometric_mean,
        0.1,
    ),
    Target("bytes per step, geometric mean", size, geometric_mean, 3),
    Target("bytes per step of values that never repeat", size, max, math.inf, workloads=("fresh",)),
    Target(
        "skipped code over plain, CPU time, most",
        median_ratio("skipped", "plain", "main_cpu"),
        max,
        1.03,
        workloads=SKIPPED,
    ),
    Target("MiB over plain, most", memory, max, 64),
)


def shown(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def print_targets(results: Mapping[str, Row]) -> None:
    print("\n`full`: what it is to reach\n")
    print("| | target | measured | met | by |")
    print("|---|---:|---:|---|---|")
    for target in TARGETS:
        names = [name for name in results if target.workloads is None or name in target.workloads]
        found = {name: value for name in names if (value := target.figure(results[name])) is not None}
        missing = [name for name in names if name not in found]
        sign = "≥" if target.at_least else "≤"
        limit = "to be told" if math.isinf(target.limit) else f"{sign} {target.limit:g}"
        if not found:
            print(f"| {target.what} | {limit} | – | not measured | |")
            continue
        value = target.together([*found.values()])
        met = "" if math.isinf(target.limit) else "yes" if target.meets(value) else "no"
        by = f"{len(found)} programs" if target.together is geometric_mean else extreme(found, value)
        if missing:
            by += f", without {', '.join(missing)}"
        print(f"| {target.what} | {limit} | {shown(value)} | {met} | {by} |")


def extreme(found: Mapping[str, float], value: float) -> str:
    """The workload that the figure is of."""
    return next(name for name, each_value in found.items() if each_value == value)
