"""The tables that `scripts/bench.py` prints: ratios, so that they mean something on other machines.

Invariants:
- A ratio is taken round by round, of runs that were made one after the other, then the median of the ratios.
- A cell that did not finish is shown as such and left out of the means.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol


class Runs(Protocol):
    runs: list[dict[str, Any]]
    problem: str | None


Row = Mapping[str, Runs]
Figure = tuple[float, float] | None
"""Median and half the distance between the quartiles."""


def spread(values: Sequence[float]) -> Figure:
    if not values:
        return None
    if len(values) < 2:
        return values[0], 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, (high - low) / 2


def ratio(row: Row, recorder: str, base: str, key: str) -> Figure:
    """Ratios of a recorder's `key` to another's, round by round."""
    if recorder not in row or base not in row or row[recorder].problem or row[base].problem:
        return None
    if recorder == "0.3.0":
        # It runs a smaller program, whose plain times were taken in the same process.
        return spread([run[key] / run[f"plain_{key}"] for run in row[recorder].runs])
    pairs = zip(row[recorder].runs, row[base].runs, strict=False)
    return spread([ours[key] / theirs[key] for ours, theirs in pairs])


def each(row: Row, recorder: str, figure: Callable[[dict[str, Any]], float | None]) -> Figure:
    if recorder not in row or row[recorder].problem:
        return None
    values = [figure(run) for run in row[recorder].runs]
    return spread([value for value in values if value is not None])


def bytes_per_step(run: dict[str, Any]) -> float | None:
    return run["disk"] / run["steps"] if run["steps"] and run["disk"] is not None else None


def shown(figure: Figure) -> str:
    if figure is None:
        return "–"
    value, deviation = figure
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} ±{deviation:.{digits}f}"


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def shown_mean(figures: Sequence[Figure]) -> str:
    values = [figure[0] for figure in figures if figure is not None and figure[0] > 0]
    return f"{geometric_mean(values):.2f}" if values else "–"


def print_table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[Figure]]) -> None:
    """Nothing, if there is no figure to show."""
    if not any(figure for figures in rows.values() for figure in figures):
        return
    print(f"\n{title}\n")
    print(f"| workload | {' | '.join(columns)} |")
    print(f"|---|{'---|' * len(columns)}")
    for name, figures in rows.items():
        print(f"| {name} | {' | '.join(map(shown, figures))} |")
    means = [shown_mean(column) for column in zip(*rows.values(), strict=True)]
    print(f"| *geometric mean* | {' | '.join(means)} |")


def print_tables(results: Mapping[str, Row], recorders: Sequence[str]) -> None:
    others = [name for name in recorders if name not in ("plain", "actors")]
    print_table(
        "Wall time, from before the start to the finished file, over plain",
        others,
        {name: [ratio(row, other, "plain", "wall") for other in others] for name, row in results.items()},
    )
    print_table(
        "CPU time over plain, all threads, saving included",
        others,
        {name: [ratio(row, other, "plain", "cpu") for other in others] for name, row in results.items()},
    )
    print_table(
        "Interpreter threads' CPU time over the floor's",
        ["full / floor", "full-shallow / floor", "calls / floor-calls"],
        {
            name: [
                ratio(row, "full", "floor", "interpreter_cpu"),
                ratio(row, "full-shallow", "floor", "interpreter_cpu"),
                ratio(row, "calls", "floor-calls", "interpreter_cpu"),
            ]
            for name, row in results.items()
        },
    )
    print_table(
        "`full`: what a step costs",
        ["bytes on disk", "ns of workers", "ns of wall", "CPU of viztracer-values / ours", "MiB over plain"],
        {name: [*step_costs(row)] for name, row in results.items()},
    )
    print_table(
        "`full`: ns of CPU time per step, by thread",
        ACTORS,
        {name: [actor_cost(row, actor) for actor in ACTORS] for name, row in results.items()},
    )
    print_sizes(results)
    for name, row in results.items():
        for recorder, cell in row.items():
            if cell.problem:
                print(f"{name}, {recorder}: {cell.problem}")


ACTORS = ("interpreter", "ct-encoder", "ct-zstd", "ct-writer")
"""The program's threads with what recording adds to them, and the recorder's own by name."""


def actor_cost(row: Row, actor: str) -> Figure:
    """Of a run that waits for the workers before their times are taken."""

    def cost(run: dict[str, Any]) -> float | None:
        used = run["interpreter_cpu"] if actor == "interpreter" else run["workers"].get(actor, 0)
        return used / run["steps"] if run["steps"] else None

    return each(row, "actors", cost)


def print_sizes(results: Mapping[str, Row]) -> None:
    """Bytes per step together, without the programs that come back to the same state, and where nothing repeats."""
    sizes = {name: each(row, "full", bytes_per_step) for name, row in results.items()}
    others = [size for name, size in sizes.items() if not name.startswith("fib")]
    if any(sizes.values()):
        print(f"\nBytes per step, geometric mean: {shown_mean([*sizes.values()])}", end="")
        print(f"; without fib, which repeats itself: {shown_mean(others)}", end="")
        print(f"; values that never repeat (fresh): {shown(sizes.get('fresh'))}")


def over_plain_rss(row: Row, recorder: str) -> Figure:
    """MiB of memory at most, over plain."""
    plain = each(row, "plain", lambda run: float(run["rss"]))
    return each(row, recorder, lambda run: (run["rss"] - plain[0]) / 2**20 if plain else None)


def step_costs(row: Row) -> list[Figure]:
    return [
        each(row, "full", bytes_per_step),
        each(row, "full", lambda run: (run["cpu"] - run["interpreter_cpu"]) / run["steps"] if run["steps"] else None),
        each(row, "full", lambda run: run["wall"] / run["steps"] if run["steps"] else None),
        ratio(row, "viztracer-values", "full", "cpu"),
        over_plain_rss(row, "full"),
    ]
