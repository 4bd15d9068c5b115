"""What is said where the extension module is missing or cannot be loaded."""

from __future__ import annotations

import platform
import sys
import sysconfig

SUPPORTED = "CPython from 3.12 on, with the GIL, on Linux and macOS"
REINSTALL = "`pip install --force-reinstall codetracer-python-recorder` with this interpreter brings the one it needs"


def explained(error: ImportError) -> ImportError:
    """An error that says what is missing, and what would help.

    Not a `ModuleNotFoundError`: the start-up hook is silent where there is no package, and here is one.
    """
    implementation = platform.python_implementation()
    without_gil = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    here = f"{implementation} {sys.version_info.major}.{sys.version_info.minor}"
    here += f"{' without the GIL' if without_gil else ''} on {sys.platform}"
    advice = ""
    if implementation != "CPython" or without_gil or sys.platform not in ("linux", "darwin"):
        advice = f"; the recorder supports {SUPPORTED}"
    elif isinstance(error, ModuleNotFoundError):
        advice = f"; {REINSTALL}"
    text = f"the extension module of codetracer_python_recorder cannot be loaded by {here}: {error}{advice}"
    return ImportError(text, name=error.name, path=error.path)
