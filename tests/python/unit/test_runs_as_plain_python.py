"""The same program under plain python and under the recorder: same output, same errors, same status.

The recorder's own last line about a status other than 0 is switched off with `--propagate-script-exit`.
"""

import re
import zipfile

import pytest

SCRIPTS = {
    "empty": "",
    "argv": "import sys; print(sys.argv)",
    "path": "import sys; print(sys.path)",
    "main namespace": "print([(k, type(v)) for k, v in globals().items()])",
    "main values": "print(__name__, __file__, __spec__, __package__, __cached__, __doc__, __builtins__)",
    "docstring": '"""Says something."""\nprint(__doc__)',
    "annotations": "x: int = 1\nprint(__annotations__)",
    "main is in sys.modules": "import sys; print(vars(sys.modules['__main__']) is globals())",
    "loader": "print(type(__loader__).__name__, __loader__.path, __loader__.name)",
    "no future leaks in": "def f(x: 1 + 1): pass\nprint(f.__annotations__)",
    "sibling import": "import sibling; print(sibling.__file__, sibling.__name__)",
    "shadowed standard library": "import pathlib, argparse, typing; print(pathlib.mine, argparse.mine)",
    "code file name": "import sys; print(sys._getframe().f_code.co_filename, sys._getframe().f_code.co_name)",
    "pickle": (
        "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A, A.__module__, A.__qualname__)"
    ),
    "inspect": "import inspect\ndef f(): pass\nprint(inspect.getsource(f), inspect.getfile(f))",
    "warnings": "import warnings; warnings.warn('careful')",
    "exception": "def f():\n    raise ValueError('no')\nf()",
    "exception chain": ("try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise KeyError('x') from e"),
    "exception context": "try:\n    1/0\nexcept ZeroDivisionError:\n    {}['x']",
    "exception group": "raise ExceptionGroup('many', [ValueError(1), TypeError(2)])",
    "exception with notes": "e = ValueError('x')\ne.add_note('look here')\nraise e",
    "base exception": "class E(BaseException): pass\nraise E('x')",
    "exception without text": "raise ValueError",
    "exception in str": "class E(Exception):\n    def __str__(self): 1/0\nraise E",
    "generator exit": "raise GeneratorExit",
    "traceback of an import": "import broken",
    "traceback seen by the program": (
        "import sys, traceback\ntry:\n    1/0\nexcept ZeroDivisionError:\n    traceback.print_exc()"
    ),
    "syntax error": "x = (\nprint(1",
    "indentation error": "if 1:\nprint(1)",
    "late syntax error": "print('not reached')\nreturn 1",
    "null byte": b"x = 1\0\n",
    "not utf-8": b"x = 1\ny = '\xe9'\n",
    "not utf-8 in a comment": b"# \xff\n",
    "not utf-8 in the second line": b"# a comment\ny = '\xe9'\n",
    "not utf-8 in a later line": b"x = 1\n\nif x:\n    y = '\xe9 and more'\n",
    "latin-1 cookie": b"# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))\n",
    "byte order mark": b"\xef\xbb\xbfprint('bom')\n",
    "crlf": b"print(1)\r\nprint(2)\r\n",
    "unknown cookie": b"# coding: nonsense\n",
    "exit": "import sys; sys.exit()",
    "exit none": "raise SystemExit(None)",
    "exit 0": "raise SystemExit(0)",
    "exit 3": "raise SystemExit(3)",
    "exit -1": "raise SystemExit(-1)",
    "exit 256": "raise SystemExit(256)",
    "exit 257": "raise SystemExit(257)",
    "exit 2**32 + 5": "raise SystemExit(2**32 + 5)",
    "exit 2**63": "raise SystemExit(2**63)",
    "exit -2**63": "raise SystemExit(-2**63)",
    "exit 2**70": "raise SystemExit(2**70)",
    "exit true": "raise SystemExit(True)",
    "exit message": "import sys; sys.exit('bye')",
    "exit empty message": "import sys; sys.exit('')",
    "exit object": "raise SystemExit([1, 2])",
    "exit float": "raise SystemExit(2.0)",
    "exit tuple": "raise SystemExit(1, 2)",
    "exit unprintable": "class C:\n    def __str__(self): 1/0\nraise SystemExit(C())",
    "exit subclass": "class E(SystemExit): pass\nraise E(7)",
    "exit with computed code": "class E(SystemExit):\n    code = property(lambda self: 9)\nraise E(7)",
    "exit with broken code": "class E(SystemExit):\n    code = property(lambda self: 1/0)\nraise E(7)",
    "exit in a function": (
        "def f():\n    try:\n        raise SystemExit(6)\n    finally:\n        print('finally')\nf()"
    ),
    "exit without stderr": "import sys; sys.stderr = None; sys.exit('bye')",
    "exit with stderr closed": "import sys; sys.stderr.close(); sys.exit('bye')",
    "exit with stderr replaced": (
        "import sys\nclass S:\n    def write(self, t): print('got', repr(t))\n    def flush(self): pass\n"
        "sys.stderr = S()\nsys.exit('bye')"
    ),
    "builtin exit": "exit(4)",
    "quit message": "quit('so long')",
    "sys.exit replaced": "import sys\nsys.exit = None\nraise SystemExit(3)",
    "keyboard interrupt": "raise KeyboardInterrupt",
    "keyboard interrupt subclass": "class K(KeyboardInterrupt): pass\nraise K",
    "keyboard interrupt and atexit": (
        "import atexit, sys\natexit.register(lambda: print('exit', sys.last_type))\nraise KeyboardInterrupt"
    ),
    "sys.last_exc": (
        "import atexit, sys, traceback\n"
        "def show():\n"
        "    print(sys.last_exc, sys.last_type, sys.last_value)\n    traceback.print_tb(sys.last_traceback)\n"
        "atexit.register(show)\n1/0"
    ),
    "no sys.last_exc after exit": (
        "import atexit, sys\natexit.register(lambda: print(hasattr(sys, 'last_exc')))\nsys.exit(1)"
    ),
    "excepthook": ("import sys\ndef hook(*a):\n    print('hook', a[0], sys.exc_info())\nsys.excepthook = hook\n1/0"),
    "excepthook that raises": (
        "import sys\ndef hook(*a):\n    raise ValueError('in hook')\nsys.excepthook = hook\n1/0"
    ),
    "excepthook that exits": "import sys\ndef hook(*a):\n    sys.exit(12)\nsys.excepthook = hook\n1/0",
    "excepthook missing": "import sys\ndel sys.excepthook\n1/0",
    "excepthook none": "import sys\nsys.excepthook = None\n1/0",
    "excepthook sees no frames of ours": (
        "import sys, traceback\ndef hook(t, v, tb):\n    print(traceback.format_tb(tb))\nsys.excepthook = hook\n1/0"
    ),
    "audit hook sees the excepthook": (
        "import sys\nsys.addaudithook(lambda n, a: print(n, a[1:3]) if n == 'sys.excepthook' else None)\n1/0"
    ),
    "audit hook silences the excepthook": (
        "import sys\n"
        "def audit(name, arguments):\n    if name == 'sys.excepthook': raise RuntimeError\n"
        "sys.addaudithook(audit)\n1/0"
    ),
    "atexit order": ("import atexit\natexit.register(print, 'second')\natexit.register(print, 'first')\nprint('main')"),
    "atexit raises": "import atexit\natexit.register(lambda: 1/0)",
    "destructor at exit": (
        "import atexit\nclass A:\n    def __del__(self): print('del')\na = A()\natexit.register(print, 'atexit')"
    ),
    "destructor before the end after exit": (
        "import atexit\nclass A:\n    def __del__(self): print('del')\n"
        "def f():\n    a = A()\n    raise SystemExit(0)\natexit.register(print, 'atexit')\nf()"
    ),
    "threads": (
        "import threading, time, atexit\n"
        "atexit.register(lambda: print('atexit', threading.main_thread().is_alive()))\n"
        "def work():\n    time.sleep(0.2)\n    print('work')\n"
        "threading.Thread(target=work).start()\nprint('main')"
    ),
    "threads after an exception": (
        "import threading, time\ndef work():\n    time.sleep(0.2)\n    print('work')\n"
        "threading.Thread(target=work).start()\n1/0"
    ),
    "thread exception": "import threading\ndef f(): 1/0\nt = threading.Thread(target=f)\nt.start()\nt.join()",
    "executor at exit": (
        "import concurrent.futures as c, atexit\np = c.ThreadPoolExecutor(1)\np.submit(print, 'job')\n"
        "def late():\n    try:\n        p.submit(print)\n    except RuntimeError as e:\n        print(e)\n"
        "atexit.register(late)"
    ),
    "interrupted while waiting for threads": (
        "import threading, time, os, signal\n"
        "t = threading.Thread(target=time.sleep, args=(0.6,))\nt.start()\n"
        "threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()"
    ),
    "unflushed output": "import sys\nsys.stdout.write('no newline')",
    "stdin": "import sys; print(sys.stdin.read())",
    "input": "print(input('? '))",
    "os._exit": "import os\nprint('x', flush=True)\nos._exit(3)",
    "chdir": "import os, sys\nos.chdir('/')\nimport sibling\nprint(sibling.value)",
    "recursion error": (
        "def f(): f()\ntry:\n    f()\nexcept RecursionError as e:\n    print(e)\n"
        "import sys\nprint(sys.getrecursionlimit())"
    ),
    "asyncio": (
        "import asyncio\nasync def main():\n    await asyncio.sleep(0)\n    print('async')\nasyncio.run(main())"
    ),
    "asyncio debug": "import asyncio\nasync def f():\n    1/0\nasyncio.run(f(), debug=True)",
    "multiprocessing spawn": (
        "import multiprocessing as m\ndef f(x): return x + 1\n"
        "if __name__ == '__main__':\n    with m.get_context('spawn').Pool(1) as p:\n"
        "        print(p.map(f, [1, 2]))"
    ),
    "multiprocessing fork": (
        "import multiprocessing as m\ndef f(): print('child', __name__)\n"
        "if __name__ == '__main__':\n"
        "    p = m.get_context('fork').Process(target=f)\n    p.start(); p.join()\n"
        "    print(p.exitcode)"
    ),
    "subprocess of itself": (
        "import subprocess, sys\nif sys.argv[1:] == ['child']:\n    print('child')\nelse:\n"
        "    print(subprocess.run([sys.executable, __file__, 'child'], "
        "capture_output=True, text=True).stdout)"
    ),
    "runpy": "import runpy\nprint(runpy.run_path('sibling.py')['value'], __name__)",
    "unittest": (
        "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(1, 2)\n"
        "    def test_ok(self): pass\n"
        "import io\nunittest.main(testRunner=unittest.TextTestRunner(stream=io.StringIO()))"
    ),
    "doctest": '"""\n>>> 1 + 1\n3\n"""\nimport doctest\nprint(doctest.testmod())',
    "dataclass": "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\nprint(A(1))",
    "exec in main": "exec('y = 1')\nprint(y, eval('__name__'))",
    "typing hints of main": ("import typing\nclass A:\n    x: 'B'\nclass B: pass\nprint(typing.get_type_hints(A))"),
    "main reimported": (
        "import sys\nif __name__ == '__main__':\n    import app\n    print(app.__name__, app is sys.modules['app'])"
    ),
}


@pytest.fixture
def project(interpreter):
    root = interpreter.directory
    (root / "sibling.py").write_text("value = 42\n")
    (root / "broken.py").write_text("def f():\n    1/0\nf()\n")
    return root


def without_noise(text):
    """Drops addresses, and what CPython shows otherwise for ignored exceptions: carets, a `: ` at the end."""
    text = re.sub(r"0x[0-9a-f]+", "0x…", text)
    return re.sub(r"(?m)^ +[~^]+\n|: $", "", text)


def assert_same(interpreter, *command, flags=(), **options):
    plain = interpreter.plain(*command, flags=flags, **options)
    recorded = interpreter.recorder("--propagate-script-exit", *command, flags=flags, **options)
    assert recorded.stdout == plain.stdout
    assert without_noise(recorded.stderr) == without_noise(plain.stderr)
    assert recorded.returncode == plain.returncode
    return plain


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_as_under_plain_python(interpreter, project, name):
    source = SCRIPTS[name]
    if name == "shadowed standard library":
        for module in ("pathlib", "argparse", "typing"):
            (project / f"{module}.py").write_text("mine = True\n")
    (project / "app.py").write_bytes(source if isinstance(source, bytes) else source.encode())
    assert_same(interpreter, "app.py", "one", "-h", "--format", input="a line\n")


ROUND_THE_WORLD = "import sys\nprint(__file__, sys.argv, sys.path)\nimport sibling\nraise ValueError"


@pytest.mark.parametrize("path", ["./app.py", ".//app.py", "sub/../app.py", "sub/link.py", "{absolute}/app.py"])
def test_the_path_may_be_written_in_any_way(interpreter, project, path):
    (project / "sub").mkdir()
    (project / "app.py").write_text(ROUND_THE_WORLD)
    (project / "sub" / "link.py").symlink_to("../app.py")
    assert_same(interpreter, path.format(absolute=project))


def test_a_script_elsewhere_has_its_own_directory_first(interpreter, project):
    (project / "sub").mkdir()
    (project / "sub" / "app.py").write_text("import sys\nprint(sys.path)\nimport sibling")
    assert "ModuleNotFoundError" in assert_same(interpreter, "sub/app.py").stderr


@pytest.mark.parametrize("flags", [["-P"], ["-s"], ["-O"], ["-W", "error"], ["-X", "dev"], ["-B", "-u"]])
def test_interpreter_flags_keep_their_meaning(interpreter, project, flags):
    (project / "app.py").write_text("import sys\nprint(sys.path, sys.flags)\nassert not __debug__\nimport sibling")
    assert_same(interpreter, "app.py", flags=flags)


@pytest.mark.parametrize("value", ["", "1"])
def test_safe_path_by_environment(interpreter, project, value):
    (project / "app.py").write_text("import sys\nprint(sys.path)\nimport sibling")
    assert_same(interpreter, "app.py", env={"PYTHONSAFEPATH": value})


MODULE_SOURCE = (
    "import sys\nprint(sys.argv, sys.path, [(k, str(v)[:70]) for k, v in globals().items() if k[0] == '_'"
    " and k not in ('__loader__', '__spec__')], __spec__.name, type(__loader__).__name__)\n"
    "def f():\n    raise ValueError('x')\nif sys.argv[1:]:\n    f()\n"
)


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "mod"],
        ["-mmod", "fail"],
        ["-m", "pkg.sub", "fail", "-m"],
        ["-m", "pkg"],
        ["-m", "nosuch"],
        ["-m", "pkg.nosuch"],
        ["-m", "bad"],
        ["-m", "sibling"],
        ["-m", "interrupted"],
        ["-m", "json.tool", "--help"],
    ],
)
def test_a_module_runs_as_under_plain_python(interpreter, project, command):
    (project / "mod.py").write_text(MODULE_SOURCE)
    (project / "interrupted.py").write_text("raise KeyboardInterrupt")
    (project / "pkg").mkdir()
    (project / "pkg" / "__init__.py").write_text("import sys\nprint('init', sys.argv)\n")
    (project / "pkg" / "__main__.py").write_text(MODULE_SOURCE)
    (project / "pkg" / "sub.py").write_text("from . import other\n" + MODULE_SOURCE)
    (project / "pkg" / "other.py").write_text("print(__name__)")
    (project / "bad.py").write_text("x = (")
    assert_same(interpreter, *command)


@pytest.mark.parametrize(
    "command",
    [
        ["-c", "import sys; print(sys.argv, sys.path, list(globals()), __loader__)", "a", "-c"],
        ["-cimport sibling; print(sibling.value)"],
        ["-c", "def f():\n    1/0\nf()"],
        ["-c", "x = ("],
        ["-c", ""],
        ["-c", "raise SystemExit('bye')"],
        ["-c", "raise KeyboardInterrupt"],
        ["-c", "print('é \\N{SNOWMAN}')"],
    ],
)
def test_source_text_runs_as_under_plain_python(interpreter, project, command):
    assert_same(interpreter, *command)


def test_a_directory_runs_its_main(interpreter, project):
    (project / "app").mkdir()
    (project / "app" / "__main__.py").write_text(MODULE_SOURCE)
    assert_same(interpreter, "app")
    assert_same(interpreter, "app", "fail")
    assert_same(interpreter, "app", flags=["-P"])


def test_a_directory_without_main_says_so(interpreter, project):
    (project / "empty").mkdir()
    assert_same(interpreter, "empty")


def test_a_zip_file_runs_its_main(interpreter, project):
    with zipfile.ZipFile(project / "app.zip", "w") as archive:
        archive.writestr("__main__.py", MODULE_SOURCE)
    assert_same(interpreter, "app.zip")
    assert_same(interpreter, "app.zip", "fail")


def test_compiled_code_runs(interpreter, project):
    import py_compile

    (project / "app.py").write_text("import sys\nprint(__file__, type(__loader__), sys.argv)\n1/0")
    py_compile.compile(str(project / "app.py"), cfile=str(project / "app.pyc"), dfile="somewhere.py")
    assert_same(interpreter, "app.pyc")
    (project / "app.pyc").rename(project / "compiled")
    assert_same(interpreter, "compiled")


def test_a_script_may_come_through_a_pipe(interpreter, project):
    (project / "app.py").write_text("print('piped', __file__[:8])")
    assert_same(interpreter, "/dev/stdin", input="print('piped')\n")


def test_the_working_directory_cannot_shadow_what_the_recorder_needs(interpreter, project):
    for module in ("runpy", "argparse", "pathlib", "contextlib", "typing"):
        (project / f"{module}.py").write_text("raise RuntimeError('shadowed')\n")
    (project / "sub").mkdir()
    (project / "sub" / "app.py").write_text("print('fine')")
    assert_same(interpreter, "sub/app.py")


def test_the_script_sees_no_module_that_python_m_would_not_load(interpreter, project):
    (project / "app.py").write_text(
        "import sys\nprint(sorted(n for n in sys.modules if not n.startswith('codetracer_python_recorder')))"
    )
    (project / "probe.py").write_text((project / "app.py").read_text())
    plain = set(eval(interpreter.plain("-m", "probe").stdout))
    recorded = set(eval(interpreter.recorder("app.py").stdout))
    of_the_stand_in = set(eval(interpreter.plain("-c", "import json, sys; print(list(sys.modules))").stdout))
    assert recorded - plain - of_the_stand_in <= {"atexit", "__future__"}
