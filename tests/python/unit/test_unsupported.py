"""Where the extension module is missing or cannot be loaded, importing the package says so, and what would help."""

import shutil
import sys
from pathlib import Path

import pytest

PACKAGE = "codetracer_python_recorder"
SUPPORTED = "the recorder supports CPython from 3.12 on, with the GIL, on Linux and macOS"
HOOK = Path(__file__).resolve().parents[3] / "python" / "wheel.data" / "platlib" / f"{PACKAGE}_hook.pth"
HERE = f"CPython {sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def without_extension(interpreter, tmp_path):
    """Runs Python where the package has no extension module."""
    shutil.copytree(interpreter.installation / PACKAGE, tmp_path / "bare" / PACKAGE)
    (tmp_path / "bare" / PACKAGE / f"{PACKAGE}.py").unlink()
    interpreter.installation = tmp_path / "bare"
    return interpreter


@pytest.mark.parametrize("platform", ["win32", "cygwin", "freebsd14"])
def test_another_platform_is_told_which_are_supported(without_extension, platform):
    done = without_extension.plain(
        "-c",
        f"import platform, sys, sysconfig; sysconfig.get_config_vars(); sys.platform = {platform!r}; import {PACKAGE}",
    )
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith(f"ImportError: the extension module of {PACKAGE} cannot be loaded by {HERE} on {platform}: ")
    assert last.endswith(f"; {SUPPORTED}")
    assert "During handling" not in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        "sysconfig.get_config_var = {'Py_GIL_DISABLED': 1}.get",
        "platform.python_implementation = lambda: 'PyPy'",
    ],
)
def test_another_kind_of_interpreter_is_told_which_are_supported(without_extension, change):
    done = without_extension.plain("-c", f"import platform, sysconfig; {change}; import {PACKAGE}")
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last.endswith(f"; {SUPPORTED}")
    assert " without the GIL on " in last or " PyPy 3." in last


def test_on_a_supported_platform_the_advice_is_to_install_again(without_extension):
    done = without_extension.recorder("--version")
    assert done.returncode == 1
    assert "No module named 'codetracer_python_recorder.codetracer_python_recorder'" in done.stderr
    assert "pip install --force-reinstall" in done.stderr and "supports" not in done.stderr


def test_a_program_that_only_has_the_hook_runs_and_one_line_says_that_it_is_not_recorded(without_extension, tmp_path):
    done = without_extension.plain(
        "-c",
        f"exec({HOOK.read_text()!r}); print('ran')",
        flags=["-S"],  # else the hook of this environment runs as well
        env={"CODETRACER_TRACE": str(tmp_path / "trace")},
    )
    assert (done.returncode, done.stdout) == (0, "ran\n")
    (told,) = done.stderr.splitlines()
    assert told.startswith("codetracer-python-recorder: this program is not recorded: ") and "cannot be loaded" in told


def test_what_the_loader_says_is_passed_on(without_extension):
    broken = without_extension.installation / PACKAGE / f"{PACKAGE}.py"
    broken.write_text("raise ImportError('version GLIBC_9.99 not found', path='x.so')")
    done = without_extension.plain("-c", f"import {PACKAGE}")
    assert done.stderr.splitlines()[-1].endswith(": version GLIBC_9.99 not found")
