"""Every program of this environment, recorded when its environment variables ask for it.

A line in a `.pth` file runs whenever the interpreter starts. Ours looks for `CODETRACER_TRACE` and does nothing without
it; with it, it imports the package before the program's first line, and importing the package starts the recording.

`codetracer-python-recorder enable|disable|status` puts that file in place, takes it away, and tells.
"""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
from collections.abc import Sequence

PROGRAM = "codetracer-python-recorder"
FILE_NAME = "codetracer_python_recorder_hook.pth"
# One line, as `site` wants it. A program must start whatever the recorder thinks of its environment; and a package that
# was removed without its hook is no reason for a message at every start. In virtual environments `site` runs the line
# twice: what failed is not tried, and told, again; of a package whose import failed its modules stay.
LINE = (
    r"""import os; os.environ.get("CODETRACER_TRACE") and exec("import sys\ntry:\n"""
    r""" if 'codetracer_python_recorder.session' not in sys.modules: import codetracer_python_recorder\n"""
    r"""except ModuleNotFoundError:\n pass\nexcept Exception as error:\n"""
    r""" sys.stderr and print('codetracer-python-recorder: this program is not recorded:', error, file=sys.stderr)")"""
    "\n"
)
VERBS = {
    "enable": "Record every program of this environment that runs with CODETRACER_TRACE=DIR.",
    "disable": "Record only programs that import the package or are run by the recorder's command line.",
    "status": "Tell whether programs of this environment are recorded when CODETRACER_TRACE=DIR is set.",
}


def hook_path() -> str:
    """Where the hook is or would be: beside the package, if `site` looks there, else in site-packages."""
    beside = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    known = {os.path.realpath(path) for path in _site_directories()}
    directory = beside if os.path.realpath(beside) in known else sysconfig.get_path("platlib")
    return os.path.join(directory, FILE_NAME)


def is_enabled(path: str) -> bool:
    """Tells whether the hook is in place, as this version wants it."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read() == LINE
    except FileNotFoundError:
        return False


def run(verb: str, arguments: Sequence[str]) -> int:
    """Runs one of `VERBS` and returns the exit status: 0, or 1 when the environment cannot be changed.

    Raises `SystemExit` with 2 for bad arguments, with 0 after `-h`.
    """
    argparse.ArgumentParser(prog=f"{PROGRAM} {verb}", description=VERBS[verb]).parse_args(arguments)
    path = hook_path()
    try:
        if verb == "enable" and not is_enabled(path):
            _write(path)
        elif verb == "disable" and os.path.lexists(path):
            os.unlink(path)
        print(f"{'enabled' if is_enabled(path) else 'disabled'}: {path}")
    except OSError as error:
        print(f"{PROGRAM}: cannot {verb} recording by environment: {error}", file=sys.stderr)
        return 1
    return 0


def _write(path: str) -> None:
    """Puts the hook in place as a whole: a start at this moment sees all of it or nothing."""
    scratch = f"{path}.{os.getpid()}.tmp"
    try:
        with open(scratch, "w", encoding="utf-8") as file:
            file.write(LINE)
        os.replace(scratch, path)
    except OSError:
        if os.path.exists(scratch):
            os.unlink(scratch)
        raise


def _site_directories() -> list[str]:
    import site

    found = list(site.getsitepackages())
    if site.ENABLE_USER_SITE:
        found.append(site.getusersitepackages())
    return found
