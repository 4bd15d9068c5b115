"""Arrays and tables: what a trace shows of NumPy and pandas, whose code does not run for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from oracle.model import Value
from support.filters import only
from support.recording import Recording

Record = Callable[..., Recording]
Write = Callable[..., Path]

ONLY_THE_PROGRAM = only("pkg:literal:__main__")

HEAD = """\
import mmap
import sys
import tempfile

import numpy as np
import pandas as pd

# Texts in objects; with pyarrow, if that is there, pandas keeps them where only its code can read them.
pd.set_option("mode.string_storage", "python")

class Trap:
    def __repr__(self): raise RuntimeError("code of the program ran")
    __str__ = __eq__ = __hash__ = __repr__

mapped = tempfile.TemporaryFile()
mapped.write(bytes(8192))
mapped.flush()
memory = mmap.mmap(mapped.fileno(), 8192)
moments = ["2024-01-01", "2024-01-02"]

def show(value):
    return None

"""


def shown(record: Record, write: Write, expressions: dict[str, str]) -> dict[str, Value]:
    """What the trace shows of each expression passed as an argument."""
    script = write(HEAD + "".join(f"show({expression})\n" for expression in expressions))
    rules = write(ONLY_THE_PROGRAM, "program.toml")
    recorded = record(script, options=["--trace-filter", str(rules)], env={"CODETRACER_POLICY": "values.max_items=6"})
    assert recorded.status == 0, recorded.stderr
    calls = recorded.trace.main.calls_of("show")
    return {expression: dict(call.args)["value"] for expression, call in zip(expressions, calls, strict=True)}


def check(record: Record, write: Write, table: dict[str, str]) -> None:
    found = {expression: f"{value[1]}: {value[2]}" for expression, value in shown(record, write, table).items()}
    assert found == table


def test_arrays_show_dtype_shape_and_their_first_elements(record: Record, write: Write) -> None:
    array = "numpy.ndarray: "
    check(
        record,
        write,
        {
            "np.array([1, 2, 3])": array + "int64 (3,) [1, 2, 3]",
            "np.arange(6, dtype='u1').reshape(2, 3)": array + "uint8 (2, 3) [[0, 1, 2], [3, 4, 5]]",
            "np.arange(6, dtype='i2').reshape(2, 3).T": array + "int16 (3, 2) [[0, 3], [1, 4], [2, 5]]",
            "np.arange(24).reshape(2, 3, 4)": array + "int64 (2, 3, 4) [[[0, 1, 2, 3], [4, 5, … +18 more]]]",
            "np.arange(10**7)[::-2]": array
            + "int64 (5000000,) [9999999, 9999997, 9999995, 9999993, 9999991, 9999989, … +4999994 more]",
            "np.array([1.5, -0.0, np.nan, np.inf])": array + "float64 (4,) [1.5, -0.0, nan, inf]",
            "np.array([0.1, 1e30], dtype='f4')": array + "float32 (2,) [0.1, 1e30]",
            "np.array([1.5, 65504], dtype='f2')": array + "float16 (2,) [1.5, 65504.0]",
            "np.array([1 - 2j], dtype='c8')": array + "complex64 (1,) [(1.0-2.0j)]",
            "np.array([True, False])": array + "bool (2,) [True, False]",
            "np.array([1, 258], dtype='>i4')": array + "byte-swapped int32 (2,) [1, 258]",
            "np.array(['ab', 'é'])": array + "U2 (2,) ['ab', 'é']",
            "np.array([b'a', b'bc'])": array + "S2 (2,) [b'a', b'bc']",
            "np.array(moments, dtype='M8[D]')": array + "datetime64[D] (2,) [2024-01-01, 2024-01-02]",
            "np.array(['NaT', 5], dtype='m8[ms]')": array + "timedelta64[ms] (2,) [NaT, 5 × ms]",
            "np.array([None, 'x', [1, 2]], dtype=object)": array + "object (3,) [None, 'x', [1, 2]]",
            "np.array([Trap()], dtype=object)": array + "object (1,) [<__main__.Trap>]",
            "np.array(7)": array + "int64 () 7",
            "np.zeros((0, 3))": array + "float64 (0, 3) []",
            "np.broadcast_to(np.array([4]), (3,))": array + "int64 (3,) [4, 4, 4]",
            "np.frombuffer(b'abc', dtype='u1')": array + "uint8 (3,) [97, 98, 99]",
            "np.frombuffer(memory, dtype='i8')": array + "int64 (1024,)",
            "np.zeros(2, dtype=[('x', 'i4'), ('y', 'f8')])": array + "void (2,)",
            "np.zeros(2, dtype=np.longdouble)": array + "kind 'f' (2,)",
        },
    )


def test_scalars_of_numpy_show_their_value(record: Record, write: Write) -> None:
    check(
        record,
        write,
        {
            "np.int64(-5)": "numpy.int64: -5",
            "np.uint8(200)": "numpy.uint8: 200",
            "np.float32(0.1)": "numpy.float32: 0.1",
            "np.float64(0.1)": "numpy.float64: 0.1",
            "np.bool_(True)": "numpy.bool: True",
            "np.complex128(1 + 2j)": "numpy.complex128: (1.0+2.0j)",
            "np.datetime64('2024-02-29T12:30')": "numpy.datetime64: 2024-02-29T12:30:00",
            "np.timedelta64(90, 's')": "numpy.timedelta64: 90 × s",
            "np.str_('text')": "numpy.str_: text",
        },
    )


def test_tables_show_their_columns_in_order_and_their_index(record: Record, write: Write) -> None:
    frame = "pandas.DataFrame: "
    check(
        record,
        write,
        {
            "pd.DataFrame({'a': [1, 2], 'b': [0.5, 1.5], 'c': [3, 4]})": frame
            + "2 rows × 3 columns {'a': int64 [1, 2], 'b': float64 [0.5, 1.5], 'c': int64 [3, 4]}, index range(0, 2)",
            "pd.DataFrame(np.arange(20).reshape(2, 10))": frame
            + "2 rows × 10 columns {0: int64 [0, 10], 1: int64 [1, 11], 2: int64 [2, 12], 3: int64 [3, 13], "
            + "4: int64 [4, 14], 5: int64 [5, 15], … +4 more}, index range(0, 2)",
            "pd.DataFrame({'s': ['x', 'y']}, index=[7, 9])": frame
            + "2 rows × 1 columns {'s': StringArray ['x', 'y']}, index int64 [7, 9]",
            "pd.DataFrame({'when': pd.to_datetime(moments)})": frame
            + "2 rows × 1 columns {'when': datetime64[us] [2024-01-01T00:00:00.000000, 2024-01-02T00:00:00.000000]}, "
            + "index range(0, 2)",
            "pd.DataFrame({'c': pd.Categorical(['x', 'y'])})": frame
            + "2 rows × 1 columns {'c': int8 [0, 1]}, index range(0, 2)",
            "pd.DataFrame({'o': [Trap(), None]}, dtype=object)": frame
            + "2 rows × 1 columns {'o': object [<__main__.Trap>, None]}, index range(0, 2)",
            "pd.DataFrame()": frame + "0 rows × 0 columns {}, index range(0, 0)",
            "pd.Series(range(100), name='n')": "pandas.Series: "
            + "'n' int64 [0, 1, 2, 3, 4, 5, … +94 more], index range(0, 100)",
            "pd.Series([1.5], index=['k'])": "pandas.Series: float64 [1.5], index StringArray ['k']",
            "pd.Index([3, 1])": "pandas.Index: int64 [3, 1]",
            "pd.RangeIndex(0, 10, 3)": "pandas.RangeIndex: range(0, 10, 3)",
            "pd.Timestamp('2024-01-02T03:04')": "pandas.Timestamp: 2024-01-02T03:04:00",
        },
    )


def test_texts_that_only_code_can_read_are_named_by_their_type(record: Record, write: Write) -> None:
    frame = "pandas.DataFrame: 2 rows × 2 columns "
    expression = "(pd.set_option('mode.string_storage', 'pyarrow'), pd.DataFrame({'a': [1, 2], 's': ['x', 'y']}))[1]"
    shown = "{column 0: int64 [1, 2], column 1: ArrowStringArray …}, index range(0, 2)"
    check(record, write, {expression: frame + shown})


def test_what_is_shown_of_a_table_is_as_it_is_at_each_step(record: Record, write: Write) -> None:
    script = write(
        """
        import numpy as np
        import pandas as pd

        pd.set_option("mode.string_storage", "python")

        def change():
            array, frame = np.zeros(2), pd.DataFrame({"a": [1, 2]})
            array[1] = 5
            frame.loc[0, "a"] = 9
            view = array[1:]
            view += 1
            return sys.getrefcount(array)

        import sys
        print(change())
        """
    )
    recorded = record(script, options=["--trace-filter", str(write(ONLY_THE_PROGRAM, "program.toml"))])
    assert recorded.status == 0, recorded.stderr
    assert recorded.stdout == "3\n"
    steps = [step.locals for step in recorded.trace.main.steps if "array" in step.locals]
    assert [step["array"][2].split(" ", 2)[2] for step in steps] == [
        "[0.0, 0.0]", "[0.0, 5.0]", "[0.0, 5.0]", "[0.0, 5.0]", "[0.0, 6.0]"
    ]  # fmt: skip
    assert [step["frame"][2].split("{")[1].split("}")[0] for step in steps] == [
        "'a': int64 [1, 2]", "'a': int64 [1, 2]", "'a': int64 [9, 2]", "'a': int64 [9, 2]", "'a': int64 [9, 2]"
    ]  # fmt: skip
