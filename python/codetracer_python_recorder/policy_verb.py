"""`codetracer-python-recorder policy`: what the environment asks for, and where each value was said."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .codetracer_python_recorder import RecorderError, check_policy, configure_policy_from_env, render_policy

_PROGRAM = "codetracer-python-recorder"


def run(verb: str, arguments: Sequence[str]) -> int:
    """Prints the policy, or checks a file; returns 0, or 1 when the policy is wrong.

    Raises `SystemExit` with 2 for bad arguments, with 0 after `-h`.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.check is not None:
            check_policy(options.check)
            print(f"{options.check}: a valid policy")
        else:
            configure_policy_from_env()
            sys.stdout.write(render_policy())
    except RecorderError as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{_PROGRAM} policy",
        description="Print the policy that a recording would have in this environment, as a policy file in which "
        "a comment says where each value comes from.",
    )
    parser.add_argument("--check", metavar="FILE", help="check this policy file instead, and print nothing of it")
    return parser
