"""Fuzzes what reads files that anybody may have made: `fuzz.py [--minutes N] [TARGET…]`, from sound files on.

What a fuzzer finds is in `target/fuzz/artifacts`; the corpus stays in `target/fuzz/corpus` for the next time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import cbor2
import extension
from common import ROOT, clean_env, fail, need_build_tools, primary, run, say

FUZZ = ROOT / "tests" / "fuzz"
WORK = ROOT / "target" / "fuzz"
PROGRAM = """
import threading

class Point:
    def __init__(self, x):
        self.x = x

def work(n):
    point, text = Point(n), "text"
    for i in range(n):
        text = f"{text}{i}"
    return [point.x, 1.5, 2**70, None, (True, b"b"), {text: n}]

thread = threading.Thread(target=work, args=(2,))
thread.start()
thread.join()
print(work(3))
"""
"""Its trace has events of every kind, in few bytes."""
MAX_LEN = 16_384


def targets() -> list[str]:
    return sorted(path.stem for path in (FUZZ / "fuzz_targets").glob("*.rs"))


def need_fuzzer() -> None:
    nightly = subprocess.run(["cargo", "+nightly", "--version"], env=clean_env(), capture_output=True).returncode == 0
    if shutil.which("cargo-fuzz") is None or not nightly:
        fail(
            "fuzzing needs cargo-fuzz and a nightly toolchain: "
            "cargo install cargo-fuzz --locked; rustup toolchain install nightly --profile minimal"
        )


def seeds_of_traces(directory: Path) -> list[bytes]:
    """What `support::directory` in the targets makes trace directories of, its first byte says which kind."""
    interpreter = primary()
    extension.ensure(interpreter)
    program = directory / "program.py"
    program.write_text(PROGRAM)
    for name in ("binary", "json"):
        command: list[str | Path] = [interpreter.python, "-m", "codetracer_python_recorder", "--format", name]
        run([*command, "-o", directory / name, program], stdout=subprocess.DEVNULL)
    trace = directory / "json"
    events = b"".join(map(cbor2.dumps, json.loads((trace / "trace.json").read_text())))
    return [
        b"\x00" + (directory / "binary" / "trace.bin").read_bytes()[8:],
        b"\x01" + events,
        b"\x02" + events,
        b"\x03\x20" + events,
        b"\x04" + (trace / "trace.json").read_bytes(),
        b"\x05" + (trace / "threads" / "index.jsonl").read_bytes(),
        b"\x06" + (trace / "trace_metadata.json").read_bytes(),
        b"\x07" + (trace / "recording.json").read_bytes(),
        b"\x07" + (trace / "trace_paths.json").read_bytes(),
    ]


def fuzz(target: str, seeds: list[bytes], minutes: float) -> None:
    say(f"Fuzzing {target}")
    corpus, initial, artifacts = (WORK / name / target for name in ("corpus", "seeds", "artifacts"))
    for directory in (corpus, initial, artifacts):
        directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (initial / str(number)).write_bytes(seed[:MAX_LEN])
    options = [f"-max_total_time={round(60 * minutes)}", f"-max_len={MAX_LEN}", "-rss_limit_mb=3000"]
    options += [f"-artifact_prefix={artifacts}/", "-print_final_stats=1"]
    command: list[str | Path] = ["cargo", "+nightly", "fuzz", "run", "--fuzz-dir", FUZZ]
    command += ["--target-dir", WORK / "build", target]
    # Every run writes files: in memory, where there is such a place.
    memory = Path("/dev/shm")
    env = primary().cargo_env() | ({"TMPDIR": str(memory)} if memory.is_dir() else {})
    run([*command, corpus, initial, "--", *options], env=env)


def main() -> None:
    parser = argparse.ArgumentParser(prog="just fuzz", description="Fuzz the readers, `recover` and the filter loader.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(targets())}; default: all")
    parser.add_argument("--minutes", type=float, default=3.0, help="for each target (default: 3)")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(targets()):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    need_fuzzer()
    filters = [path.read_bytes() for path in sorted((ROOT / "src" / "trace_filter").glob("*.toml"))]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        traces = seeds_of_traces(Path(temporary))
    for target in options.targets or targets():
        fuzz(target, filters if target == "filter_loader" else traces, options.minutes)


if __name__ == "__main__":
    need_build_tools()
    main()
