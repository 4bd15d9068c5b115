"""`%%codetracer`: a cell recorded under a file of its own, with output, value and exceptions as without."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from codetracer_python_recorder.codetracer_python_recorder import verify_trace
from support.reading import Trace
from support.running import Outcome

Write = Callable[..., Path]
Run = Callable[..., Outcome]

SESSION = """
    import sys
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance(colors="NoColor")
    shell.history_manager.enabled = False
    for cell in sys.stdin.read().split("\\n# next cell\\n"):
        result = shell.run_cell(cell, store_history=True)
        print("ok" if result.success else "failed", type(result.error_in_exec).__name__)
"""
LOAD = "%load_ext codetracer_python_recorder\nfactor = 3"
CELL = """
def times(n):
    return factor * n

for n in range(3):
    print("printed", times(n))
home = %pwd
total = times(10)
total
"""


def cells(write: Write, run: Run, *sources: str, unbuffered: str = "") -> Outcome:
    stdin = "\n# next cell\n".join([LOAD, *sources])
    return run(write(SESSION, "session.py"), stdin=stdin, env={"PYTHONUNBUFFERED": unbuffered})


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_cell_has_its_output_and_value_and_a_trace_of_a_real_file(
    write: Write, run: Run, tmp_path: Path, unbuffered: str
) -> None:
    after = f"total, home == {str(tmp_path)!r}"
    plain = cells(write, run, CELL, after, unbuffered=unbuffered)
    recorded = cells(write, run, f"%%codetracer\n{CELL}", after, unbuffered=unbuffered)
    assert "Out[2]: 30" in plain.stdout and "Out[3]: (30, True)" in plain.stdout
    assert recorded.stdout == plain.stdout
    assert recorded.stderr == "Trace: codetracer-traces/cell-2\n"

    directory = tmp_path / "codetracer-traces" / "cell-2"
    assert verify_trace(str(directory)) == []
    trace = Trace(directory)
    file = tmp_path / "codetracer-traces" / "cell-2.py"
    assert "def times(n):" in file.read_text()
    assert [call.name for call in trace.main.calls].count("times") == 4
    lines = file.read_text().splitlines()
    ran = [lines[step.line - 1] for step in trace.main.steps if step.path == str(file)]
    assert ran.count("    return factor * n") == 4 and ran[-1] == "total"
    # Nothing of IPython, and none of its variables.
    assert set(trace.paths) <= {str(file), str(tmp_path / "session.py")}
    shown = {name for step in trace.main.steps for name in step.locals}
    assert {"n", "total"} <= shown and not shown & {"In", "Out", "_i", "_ih"}
    assert "".join(output.content for output in trace.main.outputs) == "printed 0\nprinted 3\nprinted 6\n"
    assert trace.metadata["process_exit_status"] == {"code": 0, "label": None}


def test_an_exception_is_the_cells_own_and_is_in_the_trace(write: Write, run: Run, tmp_path: Path) -> None:
    failing = "%%codetracer -q -o traces/failing --format json\n1 / 0"
    outcome = cells(write, run, failing, "%%codetracer --no-such-option\n1", "print('goes on')")
    assert outcome.stdout.count("failed ZeroDivisionError") == 1
    assert "_record" not in outcome.stdout and "cell-" not in outcome.stdout
    assert "failing.py" in outcome.stdout
    assert "goes on" in outcome.stdout and "unrecognized arguments" in outcome.stdout + outcome.stderr
    trace = Trace(tmp_path / "traces" / "failing")
    assert trace.metadata["process_exit_status"] == {"code": 1, "label": None}
    assert (tmp_path / "traces" / "failing" / "trace.json").exists()


def test_a_cell_may_await(write: Write, run: Run, tmp_path: Path) -> None:
    source = "import asyncio\nasync def later(n):\n    await asyncio.sleep(0)\n    return n\n"
    outcome = cells(write, run, f"%%codetracer -q\n{source}value = await later(7)\nawait later(8)", "value")
    assert "Out[2]: 8" in outcome.stdout and "Out[3]: 7" in outcome.stdout, outcome.stdout + outcome.stderr
    trace = Trace(tmp_path / "codetracer-traces" / "cell-2")
    assert len(trace.main.calls_of("later")) == 2 * 2


def test_a_cell_may_await_in_a_loop_that_runs_already(write: Write, run: Run, tmp_path: Path) -> None:
    kernel = """
        import asyncio
        import sys
        from IPython.core.interactiveshell import InteractiveShell

        shell = InteractiveShell.instance(colors="NoColor")
        shell.history_manager.enabled = False

        async def beat():
            while True:
                beats.append(1)
                await asyncio.sleep(0)

        async def main():
            # As a kernel does, in the loop that serves it.
            other = asyncio.ensure_future(beat())
            for cell in sys.stdin.read().split("\\n# next cell\\n"):
                shell.user_ns["beats"] = beats
                transformed = shell.transform_cell(cell)
                result = await shell.run_cell_async(cell, store_history=True, transformed_cell=transformed)
                print("ok" if result.success else "failed", type(result.error_in_exec).__name__)
            other.cancel()

        beats = []
        asyncio.run(main())
    """
    body = (
        "import asyncio\nasync def later(n):\n    for _ in range(3):\n        await asyncio.sleep(0)\n    return n\n"
        "before = len(beats)\nvalue = await later(7)\nprint('others ran', len(beats) > before)\nawait later(8)"
    )
    failing = "%%codetracer -o traces/failing\nawait asyncio.sleep(0)\n1 / 0"
    source = "\n# next cell\n".join(
        [LOAD, "%reload_ext codetracer_python_recorder", f"%%codetracer -q\n{body}", failing, "value"]
    )
    outcome = run(write(kernel, "kernel.py"), stdin=source)
    assert "others ran True" in outcome.stdout and "Out[3]: 8" in outcome.stdout, outcome.stdout + outcome.stderr
    assert "failed ZeroDivisionError" in outcome.stdout and "Out[5]: 7" in outcome.stdout
    assert "failing.py" in outcome.stdout and "_recording" not in outcome.stdout
    assert outcome.stderr == "Trace: traces/failing\n"
    directory = tmp_path / "codetracer-traces" / "cell-3"
    assert verify_trace(str(directory)) == []
    trace = Trace(directory)
    # Each call begins once and is resumed three times; the loop's other task is not in the trace.
    assert [call.name for call in trace.main.calls].count("later") == 2 * 4
    assert "beat" not in [call.name for call in trace.main.calls]
    assert trace.metadata["process_exit_status"] == {"code": 0, "label": None}
    assert Trace(tmp_path / "traces" / "failing").metadata["process_exit_status"] == {"code": 1, "label": None}


NOTEBOOK = """
    import json
    import sys
    import nbclient
    import nbformat

    cells = [nbformat.v4.new_code_cell(source) for source in json.load(sys.stdin)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=100, kernel_name="python3", allow_errors=True).execute()
    answers = []
    for cell in notebook.cells:
        # A kernel sends what a cell prints in as many pieces as it likes.
        answer = {"stdout": "", "stderr": "", "shown": []}
        for output in cell.outputs:
            if output.output_type == "stream":
                answer[output.name] += output.text
            else:
                answer["shown"].append(output.get("data") or [output.ename, output.evalue])
        answers.append(answer)
    json.dump(answers, sys.stdout)
"""
KERNEL_CELLS = [
    "import asyncio, sys",
    "def times(n):\n    return 3 * n\nfor n in range(2):\n    print('printed', times(n))\n"
    "print('told', file=sys.stderr)\nvalue = times(10)\nvalue",
    "async def later(n):\n    await asyncio.sleep(0)\n    return n\nawait later(7)",
    "value / 0",
    "from IPython.display import Markdown, display\ndisplay(Markdown('*shown*'))",
    "value",
]


def test_a_real_kernel_answers_as_without_and_its_cells_have_traces(write: Write, run: Run, tmp_path: Path) -> None:
    load, *rest = KERNEL_CELLS
    recorded = [f"{load}\n%load_ext codetracer_python_recorder", *(f"%%codetracer\n{cell}" for cell in rest)]
    driver = write(NOTEBOOK, "driver.py")
    home = {"HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")}
    outcomes = [run(driver, stdin=json.dumps(cells), env=home) for cells in (KERNEL_CELLS, recorded)]
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes[-1].stderr
    plain, told = (json.loads(outcome.stdout) for outcome in outcomes)
    assert plain[1] == {"stdout": "printed 0\nprinted 3\n", "stderr": "told\n", "shown": [{"text/plain": "30"}]}
    assert plain[3]["shown"] == [["ZeroDivisionError", "division by zero"]]
    assert "text/markdown" in plain[4]["shown"][0]
    for number, answer in enumerate(plain[1:], 2):
        answer["stderr"] += f"Trace: codetracer-traces/cell-{number}\n"
    assert told == plain
    for number in range(2, len(KERNEL_CELLS) + 1):
        directory = tmp_path / "codetracer-traces" / f"cell-{number}"
        assert verify_trace(str(directory)) == []
        trace = Trace(directory)
        assert trace.metadata["process_exit_status"]["code"] == (number == 4)
        # Nothing of the kernel but the program that was started.
        others = {Path(path).name for path in trace.paths if Path(path) != directory.with_suffix(".py")}
        assert others <= {"ipykernel_launcher.py"}
    first = Trace(tmp_path / "codetracer-traces" / "cell-2")
    assert [call.name for call in first.main.calls].count("times") == 3
    assert "".join(output.content for output in first.main.outputs) == "printed 0\nprinted 3\ntold\n"
