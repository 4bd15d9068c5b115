"""Recording a program that merely imports the package, as its environment asks."""

from __future__ import annotations

import os
import sys

from . import session
from .api import configure_policy_from_env
from .codetracer_python_recorder import announce_outside_session, claim_directory, settle_directory
from .formats import DEFAULT_FORMAT

ENV_TRACE_PATH = "CODETRACER_TRACE"
ENV_TRACE_FILTER = "CODETRACER_TRACE_FILTER"
ENV_TRACE_FORMAT = "CODETRACER_FORMAT"
ENV_DISABLED = "CODETRACER_PYTHON_RECORDER_DISABLED"

_PACKAGE = __name__.partition(".")[0]
_CONSOLE_SCRIPT = "codetracer-python-recorder"


_obeyed = False


def obey_environment() -> None:
    """What importing the package does: takes the policy from the environment, and starts a session if it asks for one.

    Once in a process: of an import that fails because the environment asks for what cannot be, this module stays, and a
    program that imports the package after the start-up hook has done nothing wrong. The command line reads the
    environment itself, where it can report a bad value in one line. Raises what is wrong with the environment.
    """
    global _obeyed
    if _obeyed or is_command_line() or is_disabled():
        return
    _obeyed = True
    configure_policy_from_env()
    auto_start_from_env()


def auto_start_from_env() -> None:
    """Starts a session when `CODETRACER_TRACE` names a directory; it ends when the interpreter exits.

    A process that finds another one recording there, as the child of a recorded program does, records into a
    directory of its own below it, `processes/PID-START`.

    `CODETRACER_FORMAT` and `CODETRACER_TRACE_FILTER` apply, and the policy variables. Nothing happens when a
    session is active already or recording is disabled. Raises what `start` raises.
    """
    directory = os.environ.get(ENV_TRACE_PATH)
    if not directory or is_disabled() or session.is_tracing() or _is_resource_tracker():
        return
    announce_outside_session()
    try:
        session.start(
            claim_directory(session.absolute(directory)),
            format=format_from_env(),
            trace_filter=filters_from_env() or None,
        )
    finally:
        settle_directory()


def filters_from_env() -> list[str]:
    """What `CODETRACER_TRACE_FILTER` names, as `start` takes it; nothing when it is not set."""
    inherited = os.environ.get(ENV_TRACE_FILTER)
    return [inherited] if inherited else []


def format_from_env() -> str:
    """What `CODETRACER_FORMAT` names, or the default."""
    return os.environ.get(ENV_TRACE_FORMAT) or DEFAULT_FORMAT


def is_disabled() -> bool:
    """Tells whether `CODETRACER_PYTHON_RECORDER_DISABLED` is set, to anything that does not say no.

    Whoever sets it wants no recording; a word that nobody knows must not lead to one.
    """
    return os.environ.get(ENV_DISABLED, "").strip().lower() not in ("", "0", "false", "f", "no", "n", "off")


def _is_resource_tracker() -> bool:
    """Tells whether this process is `multiprocessing`'s own janitor, of which every pool has one: it runs none of the
    program's code."""
    return any("from multiprocessing.resource_tracker import main" in word for word in sys.orig_argv)


def is_command_line() -> bool:
    """Tells whether this process is the recorder's own command line, which starts recording by itself.

    True under the console script and under `python -m codetracer_python_recorder[.submodule]`, where the
    package is imported while `sys.argv[0]` is still `-m`; the module's name is then found in `sys.orig_argv`.
    """
    if not getattr(sys, "argv", None):
        return False
    if sys.argv[0] != "-m":
        name = os.path.basename(sys.argv[0])
        return name.removesuffix(".exe").removesuffix(".py").removesuffix("-script") == _CONSOLE_SCRIPT
    if len(sys.orig_argv) < len(sys.argv):
        return False
    module = sys.orig_argv[-len(sys.argv)]
    if module.startswith("-"):  # `-mNAME`, or a cluster of flags such as `-ImNAME`
        module = module.partition("m")[2]
    return module.partition(".")[0] == _PACKAGE


__all__ = (
    "ENV_DISABLED",
    "ENV_TRACE_FILTER",
    "ENV_TRACE_FORMAT",
    "ENV_TRACE_PATH",
    "auto_start_from_env",
    "filters_from_env",
    "format_from_env",
    "is_command_line",
    "is_disabled",
    "obey_environment",
)
