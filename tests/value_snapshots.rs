//! What each kind of Python value becomes: expressions evaluated in a real interpreter, snapshots decoded to text.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says what is wrong by failing

use std::sync::Arc;

use codetracer_python_recorder::ffi::object::Obj;
use codetracer_python_recorder::ffi::with_obj;
use codetracer_python_recorder::pipeline::encoder::float_text;
use codetracer_python_recorder::pipeline::layout::{Take, value as tag};
use codetracer_python_recorder::pipeline::tables::Tables;
use codetracer_python_recorder::runtime::value::names::SharedTypes;
use codetracer_python_recorder::runtime::value::{Limits, NamePolicy, Snapshotter};
use codetracer_python_recorder::trace_filter::ValueAction;
use pyo3::prelude::*;
use pyo3::types::PyDict;

const LIMITS: Limits = Limits { max_depth: 6, max_items: 5, max_string: 20, max_bytes_per_step: 10_000 };

/// Hides attributes and keys that contain "secret", drops those that contain "noise".
struct HideSecrets;

impl NamePolicy for HideSecrets {
    fn hides_names(&self) -> bool {
        true
    }
    fn identity(&self) -> Option<usize> {
        Some(1)
    }
    fn attribute(&mut self, name: Obj<'_>) -> ValueAction {
        let name = codetracer_python_recorder::ffi::object::lossy(name);
        if name.contains("secret") {
            ValueAction::Redact
        } else if name.contains("noise") {
            ValueAction::Drop
        } else {
            ValueAction::Allow
        }
    }
    fn dict_key(&mut self, key: Obj<'_>) -> ValueAction {
        self.attribute(key)
    }
}

/// A snapshot as text: `kind:type(content)`, types left out where the kind says it all.
fn render(take: &mut Take<'_>, tables: &Tables) -> String {
    let name = |id: u32| tables.type_info(id).map(|info| info.name.clone()).unwrap_or_default();
    match take.u8().unwrap() {
        tag::NONE => "None".into(),
        tag::TRUE => "True".into(),
        tag::FALSE => "False".into(),
        tag::INT => take.i64().unwrap().to_string(),
        tag::FLOAT => float_text(take.f64().unwrap()),
        tag::STR => format!("{:?}", take.text().unwrap()),
        tag::BIGINT => {
            let sign = if take.u8().unwrap() == 1 { "-" } else { "" };
            let len = take.u32().unwrap() as usize;
            let hex: String = take.bytes(len).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{sign}0x{hex}")
        }
        kind @ (tag::SEQ | tag::TUPLE | tag::STRUCT) => {
            let id = take.u32().unwrap();
            let count = take.u32().unwrap();
            let items: Vec<String> = (0..count)
                .map(|index| {
                    let item = render(take, tables);
                    match kind {
                        tag::STRUCT => format!("{}={item}", tables.type_info(id).unwrap().fields[index as usize]),
                        _ => item,
                    }
                })
                .collect();
            format!("{}({})", name(id), items.join(", "))
        }
        tag::RAW => {
            let id = take.u32().unwrap();
            format!("{}`{}`", name(id), take.text().unwrap())
        }
        tag::ERROR => {
            take.u32().unwrap();
            take.text().unwrap().to_owned()
        }
        tag::TYPED => {
            let id = take.u32().unwrap();
            format!("{}:{}", name(id), render(take, tables))
        }
        other => panic!("unknown value tag {other}"),
    }
}

const PRELUDE: &std::ffi::CStr = c"
import collections, datetime, decimal, enum, fractions, pathlib, re, types, uuid, weakref, dataclasses
Point = collections.namedtuple('Point', 'x y')
class Colour(enum.Enum):
    RED = 1
class Level(enum.IntEnum):
    HIGH = 3
class MyInt(int): pass
class MyList(list): pass
class MyDict(dict): pass
class Plain:
    def __init__(self): self.a = 1; self.b = 'x'
class Slotted:
    __slots__ = ('p', 'q', 'r')
    def __init__(self): self.q = 2; self.p = 1
class Sub(Slotted):
    __slots__ = ('s',)
    def __init__(self): super().__init__(); self.s = 3
class Both(Slotted):
    def __init__(self): super().__init__(); self.z = 9
class Holder:
    def __init__(self): self.secret_key = 'hunter2'; self.noise = 1; self.ok = 2
class Empty: pass
@dataclasses.dataclass
class Data:
    n: int
    items: list
class Trap:
    count = 0
    def _boom(self, *a, **k):
        type.__setattr__(Trap, 'count', Trap.count + 1)
        raise RuntimeError('program code ran')
    __getattribute__ = __getattr__ = __repr__ = __str__ = __eq__ = __hash__ = __len__ = __iter__ = _boom
    __bool__ = __int__ = __float__ = __index__ = __contains__ = __getitem__ = __format__ = __dir__ = _boom
    @property
    def prop(self): self._boom()
class TrapList(list):
    __iter__ = __len__ = __getitem__ = __repr__ = Trap._boom
class TrapDict(dict):
    __iter__ = __len__ = __getitem__ = __repr__ = keys = items = values = Trap._boom
class TrapStr(str):
    __repr__ = __str__ = __len__ = __hash__ = __eq__ = Trap._boom
class TrapInt(int):
    __repr__ = __str__ = __index__ = __int__ = __hash__ = Trap._boom
class TrapError(Exception):
    __str__ = __repr__ = Trap._boom
class Meta(type):
    def __getattribute__(cls, name): raise RuntimeError('metaclass code ran')
class Weird(metaclass=Meta): pass
cycle = []; cycle.append(cycle)
deep = []
for _ in range(30000): deep = [deep]
def function(): pass
def generator(): yield 1
error = ValueError('bad', 3)
noted = KeyError('k'); noted.add_note('look here'); noted.__cause__ = OSError('disk')
try:
    try: raise OSError('disk')
    except OSError: raise ValueError('read')
except ValueError as caught: chained = caught
try:
    try: raise OSError('disk')
    except OSError: raise ValueError('read') from None
except ValueError as caught: unchained = caught
looped = ValueError(); looped.args = ([looped],)
begun, ended = generator(), generator(); next(begun); ended.close()
async def coroutine_function(): pass
coroutine = coroutine_function()
async def async_generator(): yield 1
coroutine.close; import array, zoneinfo
referent = Plain(); reference = weakref.ref(referent); proxy = weakref.proxy(referent)
dead = weakref.ref(Plain()); dead_proxy = weakref.proxy(Plain())
method_reference = weakref.WeakMethod(referent.__init__)
released = memoryview(b'abc'); released.release()
emptied = memoryview(bytearray(b'abc')); slice_of_emptied = emptied[1:]; emptied.release()
class Zone(datetime.tzinfo):
    def utcoffset(self, moment): raise RuntimeError('program code ran')
    __repr__ = __str__ = tzname = utcoffset
class Moment(datetime.datetime):
    year = property(lambda self: 1 / 0)
    __repr__ = __str__ = isoformat = Zone.utcoffset
class Span(datetime.timedelta):
    __repr__ = __str__ = Zone.utcoffset
nested = None
for _ in range(3000): nested = slice(nested)
east = datetime.timezone(datetime.timedelta(hours=2), 'E')
west = datetime.timezone(datetime.timedelta(hours=-2, minutes=-30))
";

fn with_namespace(work: impl FnOnce(Python<'_>, &Bound<'_, PyDict>)) {
    Python::initialize();
    Python::attach(|py| {
        let namespace = PyDict::new(py);
        namespace.set_item("__name__", "m").unwrap();
        py.run(PRELUDE, Some(&namespace), None).unwrap();
        work(py, &namespace);
    });
}

fn show(py: Python<'_>, namespace: &Bound<'_, PyDict>, expression: &str) -> String {
    let value = py.eval(&std::ffi::CString::new(expression).unwrap(), Some(namespace), None).unwrap();
    let tables = Arc::new(Tables::new());
    let mut snapshotter = Snapshotter::new(LIMITS, Arc::new(SharedTypes::new(Arc::clone(&tables))));
    let mut out = Vec::new();
    snapshotter.begin_step(0);
    with_obj(&value, |object| snapshotter.write(object, &mut HideSecrets, &mut out));
    let mut take = Take::new(&out);
    let text = render(&mut take, &tables);
    assert!(take.is_empty(), "{expression}: bytes left over");
    text
}

fn check_table(table: &[(&str, &str)]) {
    with_namespace(|py, namespace| {
        let wrong: Vec<String> = table
            .iter()
            .map(|(expression, expected)| {
                (expression, expected, show(py, namespace, expression).replace("pathlib._local.", "pathlib."))
            })
            .filter(|(_, expected, shown)| shown != *expected)
            .map(|(expression, expected, shown)| format!("{expression}\n  expected {expected}\n  shown    {shown}"))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn scalars() {
    check_table(&[
        ("None", "None"),
        ("True", "True"),
        ("0", "0"),
        ("-5", "-5"),
        ("2**30", "1073741824"),
        ("-2**63", "-9223372036854775808"),
        ("2**63 - 1", "9223372036854775807"),
        ("2**63", "0x8000000000000000"),
        ("-2**64", "-0x010000000000000000"),
        ("1.5", "1.5"),
        ("1e16", "1e+16"),
        ("float('nan')", "nan"),
        ("'text'", "\"text\""),
        ("'é' * 3", "\"ééé\""),
        ("'\\udc80x'", "\"\\\\udc80x\""),
        ("'a' * 30", "\"aaaaaaaaaaaaaaaaaaaa… +10 more\""),
        ("b'\\x00a\\''", "Bytes`b\"\\x00a'\"`"),
        ("1 << 100_000", "Int`<int of 100020 bits>`"),
        ("1j", "complex`1j`"),
        ("...", "ellipsis`Ellipsis`"),
    ]);
}

#[test]
fn containers_are_bounded_and_say_so() {
    check_table(&[
        ("[1, [2]]", "List(1, List(2))"),
        ("(1, 'a')", "Tuple(1, \"a\")"),
        ("{'a': 1}", "Dict(Tuple(\"a\", 1))"),
        ("{7}", "Set(7)"),
        ("frozenset([7])", "FrozenSet(7)"),
        ("list(range(1000))", "List(0, 1, 2, 3, 4, Truncated`… +995 more`)"),
        ("cycle", "List(Cycle`<cycle>`)"),
        ("deep", "List(List(List(List(List(List(Truncated`…`))))))"),
        ("MyList([1])", "m.MyList(1)"),
        ("MyDict(a=1)", "m.MyDict(Tuple(\"a\", 1))"),
        ("collections.deque([1, 2])", "collections.deque(1, 2)"),
        ("collections.Counter('aab')", "collections.Counter(Tuple(\"a\", 2), Tuple(\"b\", 1))"),
        ("types.MappingProxyType({'a': 1})", "mappingproxy(Tuple(\"a\", 1))"),
        ("Point(1, 2)", "m.Point(x=1, y=2)"),
    ]);
}

#[test]
fn objects_are_shown_by_their_own_attributes() {
    check_table(&[
        ("Plain()", "m.Plain(a=1, b=\"x\")"),
        ("Slotted()", "m.Slotted(p=1, q=2)"),
        ("Sub()", "m.Sub(p=1, q=2, s=3)"),
        ("Both()", "m.Both(p=1, q=2, z=9)"),
        ("Data(1, [2])", "m.Data(n=1, items=List(2))"),
        ("fractions.Fraction(1, 3)", "fractions.Fraction(_numerator=1, _denominator=3)"),
        ("Empty()", "m.Empty`<m.Empty #1>`"),
        ("object()", "object`<object #1>`"),
        ("Colour.RED", "m.Colour`<m.Colour.RED>`"),
        ("Level.HIGH", "m.Level`<m.Level.HIGH>`"),
        ("MyInt(4)", "m.MyInt:4"),
    ]);
}

#[test]
fn well_known_types_have_readable_text() {
    check_table(&[
        ("range(1, 9, 2)", "range`range(1, 9, 2)`"),
        ("slice(None, 3)", "slice`slice(None, 3, None)`"),
        ("datetime.date(2024, 2, 29)", "datetime.date`2024-02-29`"),
        ("datetime.datetime(2024, 1, 2, 3, 4, 5, 6)", "datetime.datetime`2024-01-02T03:04:05.000006`"),
        ("datetime.time(1, 2)", "datetime.time`01:02:00`"),
        ("datetime.timedelta(1)", "datetime.timedelta`datetime.timedelta(days=1)`"),
        ("decimal.Decimal('1.10')", "decimal.Decimal`Decimal('1.10')`"),
        ("uuid.UUID(int=5)", "uuid.UUID`00000000-0000-0000-0000-000000000005`"),
        ("pathlib.PurePosixPath('/a/b')", "pathlib.PurePosixPath`/a/b`"),
        ("re.compile('a+')", "re.Pattern`re.compile('a+')`"),
        ("re.match('a', 'ab')", "re.Match`<re.Match span=(0, 1)>`"),
        ("function", "function`<function function>`"),
        ("len", "builtin_function_or_method`<function len>`"),
        ("int", "type`<class 'int'>`"),
        ("Plain", "type`<class 'm.Plain'>`"),
        ("re", "module`<module 're'>`"),
        ("[].append", "builtin_function_or_method`<function append>`"),
        ("Plain().__init__", "method`<bound method Plain.__init__ of m.Plain>`"),
        ("generator()", "generator`<generator generator (not started)>`"),
        ("begun", "generator`<generator generator (suspended)>`"),
        ("ended", "generator`<generator generator (finished)>`"),
        ("coroutine", "coroutine`<coroutine coroutine_function (not started)>`"),
        ("async_generator()", "async_generator`<async_generator async_generator (not started)>`"),
        ("error", "ValueError`ValueError: ('bad', 3)`"),
        ("noted", "KeyError`KeyError: k (caused by OSError: disk) [note: 'look here']`"),
    ]);
}

#[test]
fn weak_references_say_what_they_refer_to_or_that_it_is_dead() {
    check_table(&[
        ("reference", "weakref.ReferenceType`<weak reference to m.Plain #1>`"),
        (
            "[reference, proxy]",
            "List(weakref.ReferenceType`<weak reference to m.Plain #1>`, weakref.ProxyType`<weak proxy to m.Plain #1>`)",
        ),
        ("dead", "weakref.ReferenceType`<weak reference (dead)>`"),
        ("dead_proxy", "weakref.ProxyType`<weak proxy (dead)>`"),
        ("method_reference", "weakref.WeakMethod`<weak reference to m.Plain #1>`"),
        ("ValueError(reference)", "ValueError`ValueError: <weak reference to m.Plain>`"),
    ]);
}

#[test]
fn memory_views_show_shape_format_and_their_first_bytes() {
    check_table(&[
        ("memoryview(b'mv')", "memoryview`<memoryview shape=[2] format=\"B\" b'mv'>`"),
        ("memoryview(bytearray(b'0123456789'))[::-3]", "memoryview`<memoryview shape=[4] format=\"B\" b'9630'>`"),
        (
            "memoryview(array.array('h', [1, 2]))",
            "memoryview`<memoryview shape=[2] format=\"h\" b'\\x01\\x00\\x02\\x00'>`",
        ),
        ("memoryview(b'abcdef').cast('B', [2, 3])", "memoryview`<memoryview shape=[2, 3] format=\"B\" b'abcdef'>`"),
        ("memoryview(b'a' * 30)", "memoryview`<memoryview shape=[30] format=\"B\" b'aaaaaaaaaaaaaaaaaaaa'… +10 more>`"),
        ("memoryview(b'')", "memoryview`<memoryview shape=[0] format=\"B\" b''>`"),
        ("released", "memoryview`<released memoryview>`"),
        ("emptied", "memoryview`<released memoryview>`"),
        ("slice_of_emptied", "memoryview`<memoryview shape=[2] format=\"B\" b'bc'>`"),
    ]);
}

#[test]
fn moments_show_their_zone_without_asking_classes_of_the_program() {
    check_table(&[
        ("datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc)", "datetime.datetime`2024-01-02T00:00:00+00:00`"),
        ("datetime.datetime(2024, 1, 2, tzinfo=east)", "datetime.datetime`2024-01-02T00:00:00+02:00[E]`"),
        ("datetime.time(1, tzinfo=west)", "datetime.time`01:00:00-02:30`"),
        (
            "datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))",
            "datetime.datetime`2024-07-01T00:00:00+02:00[Europe/Berlin]`",
        ),
        ("datetime.time(1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))", "datetime.time`01:00:00[Europe/Berlin]`"),
        ("datetime.datetime(2024, 1, 2, tzinfo=Zone())", "datetime.datetime`2024-01-02T00:00:00[m.Zone]`"),
        ("Moment(2024, 1, 2)", "m.Moment`2024-01-02T00:00:00`"),
        (
            "Moment(2024, 1, 2, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))",
            "m.Moment`2024-01-02T00:00:00[Europe/Berlin]`",
        ),
        ("Span(seconds=-1)", "m.Span`datetime.timedelta(days=-1, seconds=86399)`"),
        ("datetime.timedelta(0)", "datetime.timedelta`datetime.timedelta(0)`"),
        ("datetime.timedelta(1, 2, 3)", "datetime.timedelta`datetime.timedelta(days=1, seconds=2, microseconds=3)`"),
        ("datetime.timezone.utc", "datetime.timezone`datetime.timezone.utc`"),
        ("east", "datetime.timezone`datetime.timezone(+02:00, 'E')`"),
        ("zoneinfo.ZoneInfo('UTC')", "zoneinfo.ZoneInfo`zoneinfo.ZoneInfo('UTC')`"),
    ]);
}

#[test]
fn exceptions_show_what_led_to_them_and_end_where_they_contain_themselves() {
    check_table(&[
        ("chained", "ValueError`ValueError: read (while handling OSError: disk)`"),
        ("unchained", "ValueError`ValueError: read`"),
        ("looped", "ValueError`ValueError: [ValueError: …]`"),
        ("nested", "slice`slice(None, slice(None, slice(None, slice(None, …, None), None), None), None)`"),
    ]);
}

#[test]
fn hidden_attributes_and_keys_never_reach_the_bytes() {
    check_table(&[
        ("Holder()", "m.Holder(secret_key=<redacted>, noise=<dropped>, ok=2)"),
        ("{'secret': 'hunter2', 'ok': 1}", "Dict(Tuple(\"secret\", <redacted>), Tuple(\"ok\", 1))"),
        ("[{'deep': {'secret': 'hunter2'}}]", "List(Dict(Tuple(\"deep\", Dict(Tuple(\"secret\", <redacted>)))))"),
    ]);
}

#[test]
fn no_code_of_the_program_runs() {
    with_namespace(|py, namespace| {
        for expression in [
            "Trap()",
            "[Trap(), (Trap(),), {'k': Trap()}]",
            "TrapList([1, 2])",
            "TrapDict(a=1)",
            "TrapStr('s')",
            "TrapInt(7)",
            "TrapError('message')",
            "Weird()",
            "Weird",
            "range(TrapInt(3))",
            "slice(Trap(), TrapInt(1))",
            "ValueError(Trap())",
            "Trap()._boom.__func__ if False else Trap",
            "types.MappingProxyType(TrapDict(a=1))",
            "weakref.ref(function)",
            "types.SimpleNamespace(a=TrapInt(1))",
        ] {
            show(py, namespace, expression);
        }
        let count = py.eval(c"Trap.__dict__['count']", Some(namespace), None).unwrap();
        assert_eq!(count.extract::<i32>().unwrap(), 0);
    });
}

#[test]
fn reading_leaves_reference_counts_and_instance_dicts_alone() {
    with_namespace(|py, namespace| {
        py.run(
            c"import sys\nvalue = Plain()\nbefore = sys.getrefcount(value), sys.getrefcount(value.b)",
            Some(namespace),
            None,
        )
        .unwrap();
        show(py, namespace, "value");
        let same = py.eval(c"before == (sys.getrefcount(value), sys.getrefcount(value.b))", Some(namespace), None);
        assert!(same.unwrap().extract::<bool>().unwrap());
    });
}
