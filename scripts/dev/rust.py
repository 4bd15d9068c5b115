"""Cargo, told which interpreter to build against: lint, test, bench, doc.

All interpreters share one target directory: switching costs a rebuild of PyO3 and of this crate, a directory
each would cost a rebuild of every dependency.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

from common import ROOT, Interpreter, clean_env, fail, interpreters, need_build_tools, primary, run, say

FEATURES = ["--locked", "--features", "integration-test"]


def lint() -> None:
    run(["cargo", "fmt", "--check"])
    clippy = ["cargo", "clippy", *FEATURES, "--all-targets", "--", "-D", "warnings"]
    run(clippy, env=primary().cargo_env())


def test(arguments: list[str]) -> None:
    # The lowest version comes last, so that the target directory is left as `lint` and editors want it.
    for interpreter in reversed(interpreters()):
        say(f"Rust tests against CPython {interpreter.version}")
        if shutil.which("cargo-nextest"):
            run(["cargo", "nextest", "run", *FEATURES, "--no-tests=fail", *arguments], env=interpreter.cargo_env())
        else:
            test_without_nextest(interpreter, arguments)
    if not arguments:
        run(["cargo", "test", *FEATURES, "--doc"], env=primary().cargo_env())
        model_check()


def model_check() -> None:
    """The buffer between two threads under loom, which tries every order of their steps."""
    say("Model check of the streams")
    manifest, target = ROOT / "tests" / "loom" / "Cargo.toml", ROOT / "target" / "loom"
    run(["cargo", "test", "--locked", "--manifest-path", str(manifest), "--target-dir", str(target)], env=clean_env())


def test_without_nextest(interpreter: Interpreter, arguments: list[str]) -> None:
    """What nextest does: every test in a process of its own, which tests that embed an interpreter need."""
    env = interpreter.cargo_env()
    build = ["cargo", "test", *FEATURES, "--lib", "--bins", "--tests", "--no-run", "--message-format=json"]
    messages = subprocess.run(build, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if messages.returncode != 0:
        fail("the Rust tests do not compile")
    passed, failed = 0, []
    for message in map(json.loads, messages.stdout.splitlines()):
        if not (message.get("executable") and message["profile"]["test"]):
            continue
        binary = [message["executable"]]
        listing = subprocess.run(
            [*binary, "--list", "--format=terse", *arguments], env=env, cwd=ROOT, check=True, capture_output=True
        )
        names = [line.removesuffix(": test") for line in listing.stdout.decode().splitlines()]
        for name in names:
            outcome = subprocess.run([*binary, "--exact", name], env=env, cwd=ROOT, capture_output=True, text=True)
            if outcome.returncode == 0:
                passed += 1
            else:
                failed.append(name)
                print(outcome.stdout, outcome.stderr, sep="\n")
    print(f"{passed} passed, {len(failed)} failed", flush=True)
    if failed or not passed:
        fail(f"failed Rust tests: {', '.join(failed) or 'none was found'}")


def bench_smoke() -> None:
    """Runs every benchmark once, unoptimised: they must work, how fast they are is not looked at."""
    names = [path.stem for path in sorted((ROOT / "benches").glob("*.rs"))]
    targets = [option for name in names for option in ("--bench", name)]
    if targets:
        run(["cargo", "test", *FEATURES, *targets], env=primary().cargo_env())


def bench(arguments: list[str]) -> None:
    run(["cargo", "bench", "--locked", "--benches", *arguments], env=primary().cargo_env())


def doc() -> None:
    env = primary().cargo_env() | {"RUSTDOCFLAGS": "-D warnings"}
    run(["cargo", "doc", "--locked", "--no-deps", "--document-private-items"], env=env)


if __name__ == "__main__":
    need_build_tools()
    match sys.argv[1:]:
        case ["lint"]:
            lint()
        case ["test", *rest]:
            test(rest)
        case ["bench-smoke"]:
            bench_smoke()
        case ["bench", *rest]:
            bench(rest)
        case ["doc"]:
            doc()
        case ["clean"]:
            run(["cargo", "clean"], env=clean_env())
        case wrong:
            fail(f"rust.py does not know {wrong}")
