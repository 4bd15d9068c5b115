"""Arrays and tables: what a trace shows of NumPy and pandas, whose code does not run for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from oracle.model import Value
from support.filters import only
from support.recording import Recording
from support.running import python

Record = Callable[..., Recording]
Write = Callable[..., Path]

ONLY_THE_PROGRAM = only("pkg:literal:__main__")

HEAD = """\
import mmap
import sys
import tempfile

import numpy as np
import pandas as pd

# Texts in objects: what pandas does without pyarrow.
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
            "np.array(['x' * 1020])": array + f"U1020 (1,) ['{'x' * 1000}… +20 more']",
            "np.array(['x' * 2000])": array + f"U2000 (1,) ['{'x' * 1000}…']",
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


def test_texts_in_pyarrow_are_shown_and_other_values_there_by_their_dtype(record: Record, write: Write) -> None:
    frame, series = "pandas.DataFrame: ", "pandas.Series: "
    arrow = "pd.set_option('mode.string_storage', 'pyarrow') or "
    texts = "pd.array(['x', None, 'é' * 2000], 'string[pyarrow]')"
    many = "pd.Series(pd.array([str(n) for n in range(100)], 'string[pyarrow]'))"
    check(
        record,
        write,
        {
            arrow + "pd.DataFrame({'a': [1, 2], 's': ['x', 'y']})": frame
            + "2 rows × 2 columns {'a': int64 [1, 2], 's': ArrowStringArray ['x', 'y']}, index range(0, 2)",
            "pd.DataFrame({'s': ['x']}, index=['k'])": frame
            + "1 rows × 1 columns {'s': ArrowStringArray ['x']}, index ArrowStringArray ['k']",
            f"pd.Series({texts})": series
            + f"ArrowStringArray ['x', None, '{'é' * 1000}… +1000 more'], index range(0, 3)",
            many: series + "ArrowStringArray ['0', '1', '2', '3', '4', '5', … +94 more], index range(0, 100)",
            f"{many}[90:][::-1]": series
            + "ArrowStringArray ['99', '98', '97', '96', '95', '94', … +4 more], index range(99, 89, -1)",
            "pd.Series(pd.array([], 'string[pyarrow]'))": series + "ArrowStringArray [], index range(0, 0)",
            "pd.Index(['k', 'l'], dtype='string[pyarrow]')": "pandas.Index: ArrowStringArray ['k', 'l']",
            "pd.Series([1, None], dtype='int64[pyarrow]')": series + "int64[pyarrow] …, index range(0, 2)",
            "pd.DataFrame({'n': pd.array([1, 2], 'int64[pyarrow]')}, index=['a', 'b'])": frame
            + "2 rows × 1 columns {'n': int64[pyarrow] …}, index ArrowStringArray ['a', 'b']",
        },
    )


def test_what_a_program_does_to_texts_in_pyarrow_is_shown_and_nothing_of_theirs_is_kept(
    record: Record, write: Write
) -> None:
    script = write(
        """
        import gc
        import sys

        import pandas as pd
        import pyarrow

        def change():
            column = pd.array(["a", "b"], "string[pyarrow]")
            column[1] = "c"
            chunks = column._pa_array
            before = pyarrow.total_allocated_bytes()
            counts = [sys.getrefcount(column), sys.getrefcount(chunks)]
            series = pd.Series(column)
            counts.append(sys.getrefcount(chunks))
            return counts, pyarrow.total_allocated_bytes() - before

        print(change())
        """
    )
    plain = python([script])
    recorded = record(script, options=["--trace-filter", str(write(ONLY_THE_PROGRAM, "program.toml"))])
    assert (recorded.status, recorded.stdout, recorded.stderr) == (0, plain.stdout, "")
    shown = [step.locals["series"][2] for step in recorded.trace.main.steps if "series" in step.locals]
    assert shown == ["ArrowStringArray ['a', 'c'], index range(0, 2)"] * 2


TRAPS = """\
import numpy as np
import pandas as pd

count = 0


def trap(name):
    def method(*args, **kwargs):
        global count
        count += 1
        raise RuntimeError(name)

    return method


def made(name, base, /, *args, **kwargs):
    # An instance of a class that derives from `base`, in which everything that can be asked counts and raises.
    cls = type(name, (base,), {})
    if base is np.ndarray:
        instance = np.arange(6).reshape(2, 3).view(cls)
    elif base is pd.Index:
        instance = cls._simple_new(np.array(*args))
    else:
        instance = cls(*args, **kwargs)
    for asked in dir(base):
        if asked not in ("__class__", "__del__", "__new__", "__init__", "__dict__", "__doc__", "__module__"):
            value = trap(name + "." + asked)
            setattr(cls, asked, value if callable(getattr(base, asked, None)) else property(value))
    cls.__getattribute__ = cls.__getattr__ = cls.__setattr__ = cls.__delattr__ = trap(name)
    cls.__del__ = lambda self: None
    return instance


class Cell:
    pass


cell = Cell()
objects = np.empty(2, dtype=object)
objects[:] = [cell, cell]
more = ["__bool__", "__len__", "__iter__", "__getattr__", "__array__", "__float__"]
for asked in dir(object) + more:
    if asked not in ("__class__", "__new__", "__init__", "__dict__", "__doc__", "__module__"):
        setattr(Cell, asked, trap("Cell." + asked))
"""


def test_nothing_that_derives_from_arrays_and_tables_is_asked_anything(record: Record, write: Write) -> None:
    script = write(
        TRAPS
        + """\
everything = [
    made("Array", np.ndarray),
    made("Frame", pd.DataFrame, {"a": [1, 2], "s": ["x", "y"]}),
    made("Column", pd.Series, [1.5, 2.5], name="n"),
    made("Labels", pd.Index, [3, 1]),
    made("Number", np.float64, 1.5),
    made("Text", np.str_, "text"),
    objects,
]


def takes(argument, *rest, option=None, **options):
    local = argument
    container = [local, (rest, option), {"key": local}]
    return container


def yields(item):
    got = yield item
    yield got


def raises(item):
    raise ValueError(item)


class Holder:
    def __init__(self, held):
        self.held = held


for item in everything:
    result = takes(item, item, option=item, extra=item)
    generator = yields(item)
    next(generator)
    generator.send(item)
    holder = Holder(item)
    try:
        raises(item)
    except ValueError as error:
        error.args = ()
print("called", count, "times")
"""
    )
    plain = python([script])
    assert (plain.stdout, plain.stderr) == ("called 0 times\n", "")
    recorded = record(script, options=["--trace-filter", str(write(ONLY_THE_PROGRAM, "program.toml"))])
    assert (recorded.stdout, recorded.stderr, recorded.status) == (plain.stdout, "", 0)
    shown = [dict(call.args)["argument"] for call in recorded.trace.main.calls_of("takes")]
    texts = "'s': ArrowStringArray ['x', 'y']" if "Arrow" in str(shown[1]) else "'s': StringArray ['x', 'y']"
    assert [value[1:3] for value in shown[1:3]] == [
        ["__main__.Frame", f"2 rows × 2 columns {{'a': int64 [1, 2], {texts}}}, index range(0, 2)"],
        ["__main__.Column", "'n' float64 [1.5, 2.5], index range(0, 2)"],
    ]
    assert [value[1] for value in shown] == [
        "__main__.Array", "__main__.Frame", "__main__.Column", "__main__.Labels", "__main__.Number", "__main__.Text",
        "numpy.ndarray",
    ]  # fmt: skip
    assert shown[4][2] == "1.5" and shown[5][2] == "text"
    assert shown[6][2] == "object (2,) [<__main__.Cell>, <__main__.Cell>]"


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
    # How many references there are depends on the version: a local that is loaded is only borrowed on 3.14.
    assert recorded.stdout == python([script]).stdout
    steps = [step.locals for step in recorded.trace.main.steps if "array" in step.locals]
    assert [step["array"][2].split(" ", 2)[2] for step in steps] == [
        "[0.0, 0.0]", "[0.0, 5.0]", "[0.0, 5.0]", "[0.0, 5.0]", "[0.0, 6.0]"
    ]  # fmt: skip
    assert [step["frame"][2].split("{")[1].split("}")[0] for step in steps] == [
        "'a': int64 [1, 2]", "'a': int64 [1, 2]", "'a': int64 [9, 2]", "'a': int64 [9, 2]", "'a': int64 [9, 2]"
    ]  # fmt: skip
