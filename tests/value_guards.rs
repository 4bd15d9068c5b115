//! Values change in every way a program can change them, at random: what a slot holds is always what writing the value
//! anew would hold.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says what is wrong by failing

use std::ffi::CString;
use std::sync::Arc;

use codetracer_python_recorder::ffi::object::Obj;
use codetracer_python_recorder::ffi::{probe, with_obj};
use codetracer_python_recorder::pipeline::layout::{Take, record};
use codetracer_python_recorder::pipeline::tables::Tables;
use codetracer_python_recorder::runtime::slots::SlotCache;
use codetracer_python_recorder::runtime::value::memo::Recalled;
use codetracer_python_recorder::runtime::value::names::SharedTypes;
use codetracer_python_recorder::runtime::value::{Limits, NamePolicy, Snapshotter};
use codetracer_python_recorder::trace_filter::ValueAction;
use proptest::prelude::*;
use pyo3::prelude::*;
use pyo3::types::PyDict;

const LIMITS: Limits = Limits { max_depth: 3, max_items: 6, max_string: 40, max_bytes_per_step: 4_000 };

struct HideSecrets;

impl NamePolicy for HideSecrets {
    fn hides_names(&self) -> bool {
        true
    }
    fn identity(&self) -> Option<usize> {
        Some(1)
    }
    fn attribute(&mut self, name: Obj<'_>) -> ValueAction {
        match codetracer_python_recorder::ffi::object::lossy(name).as_str() {
            "secret" => ValueAction::Redact,
            "noise" => ValueAction::Drop,
            _ => ValueAction::Allow,
        }
    }
    fn dict_key(&mut self, key: Obj<'_>) -> ValueAction {
        self.attribute(key)
    }
}

const WORLD: &std::ffi::CStr = c"
import collections, enum, functools
Pair = collections.namedtuple('Pair', 'left right')
class Colour(enum.Enum):
    RED = 1
    BLUE = 2
class Plain: pass
class Other: pass
class Slotted: __slots__ = ('a', 'b', 'c')
class Both(Slotted): pass
class MyList(list): pass
class MyDict(dict): pass
class MyDeque(collections.deque):
    def __init__(self, *items): super().__init__(*items); self.called = True
class MyInt(int): pass
class MyStr(str): pass
class Large:
    def __init__(self):
        for k in range(40): setattr(self, f'a{k}', k)
def function(): pass
def other(): pass
def generate():
    yield 1
    yield 2
def text(n): return ''.join(['t', 'e', 'x', 't', str(n)])
p = Plain(); p.a = 1; p.b = [1, 2]
q = Slotted(); q.a = 1000; q.b = 2.5
l = [1, 1000, 2.5, text(1), p]
d = {'k': 1000, text(2): l, 'q': q}
t = (1, 1000, l, text(3))
s = {1, 1000, text(4)}
b = Both(); b.a = 5; b.z = 7
m = MyList([1, 1000]); md = MyDict(a=1000)
n = Pair(1000, [1])
f = function; g = generate(); c = Colour.RED; k = Plain; mod = enum; method = l.append; bound = p.__init__
z = 1000; y = text(5); x = b'bytes'; w = None; i = MyInt(1000); j = MyStr('str')
nest = [[[[1000]]]]; big = 1 << 200; u = '\\xe9\\u1234'; large = Large()
dq = collections.deque([1, 1000, text(16), p]); fp = functools.partial(function); fp.a = 1000; fp.b = [1]
v = Plain(); v.a = 1000; v.b = [1]; v.__dict__ = dict(v.__dict__)
deep = [[[b, fp, dq, v]]]
mq = MyDeque([1000, p])
names = 'dq mq fp v deep p q l d t s b m md n f g c k mod method bound z y x w i j nest big u large'.split()
";

/// What a program does to values. Each statement may fail; that changes nothing or something.
const CHANGES: &[&str] = &[
    "dq.append(1000 * len(dq))",
    "dq.appendleft(text(17))",
    "dq.pop()",
    "dq.popleft()",
    "dq.rotate(1)",
    "dq.rotate(-3)",
    "dq[0] = 1000 + len(dq)",
    "dq[-1] = [dq[0]]",
    "dq[1] = float(len(dq))",
    "dq.extend(range(1000, 1070))",
    "while len(dq) > 3: dq.popleft()",
    "dq.extendleft(range(1000, 1070)); [dq.pop() for _ in range(66)]",
    "dq.clear()",
    "dq = collections.deque([1000, p], 3)",
    "dq.append(dq)",
    "mq.append(1000)",
    "mq[0] += 1000",
    "mq.popleft()",
    "mq = MyDeque([[1000]])",
    "fp.a += 1000",
    "fp.a = text(18)",
    "fp.b.append(1000)",
    "fp.c = fp",
    "del fp.a, fp.b",
    "fp.__dict__.clear()",
    "fp.a = 1000; fp.b = [2]",
    "fp.__dict__ = {'z': 1000}",
    "v.a += 1000",
    "v.a = text(19)",
    "v.b.append(text(20))",
    "del v.a; v.a = 1000",
    "v.secret = 1",
    "v.__dict__.clear()",
    "v.__dict__ = {'b': [1000], 'a': 5000}",
    "v.__dict__ = p.__dict__",
    "del b.a",
    "b.b = [b]",
    "b.z = text(21)",
    "del b.z",
    "b.__dict__",
    "b.__dict__['z'] = 5000",
    "b.__dict__.clear()",
    "b = Both()",
    "b.__dict__ = {'x': 1000}",
    "deep[0][0][0] = Both()",
    "deep[0][0][0].z = 1",
    "deep[0][0][3] = Plain(); deep[0][0][3].__dict__ = {'x': 1}",
    "deep[0][0][3].__dict__.clear()",
    "p.a += 1",
    "p.a = 1000 + p.a - 1000",
    "p.a = 2.5",
    "p.a = text(p.a)",
    "p.a = None",
    "p.a = [p.a]",
    "p.a = 5000",
    "p.a = 7",
    "p.a = 1 << 40",
    "p.a = -(1 << 40)",
    "p.a = 1 << 70",
    "p.b.append(len(p.b) * 1000)",
    "p.b.pop()",
    "p.b[0] = 1000 + len(p.b)",
    "p.b[0] = float(len(p.b))",
    "p.b[:] = [1000, 2000, 3000]",
    "p.b.reverse()",
    "p.b.sort()",
    "p.c = 3000",
    "del p.a",
    "del p.b; p.b = [1000]",
    "p.secret = text(9); p.noise = 1",
    "del p.secret",
    "p.__dict__",
    "p.__dict__['a'] = 12345",
    "p.__dict__ = {'a': 4000, 'b': [1]}",
    "p.__class__ = Other",
    "p.__class__ = Plain",
    "p = Plain(); p.a = 1000; p.b = [1000]",
    "p = None; p = Plain(); p.b = [1]; p.a = 2",
    "Plain.shared = 1",
    "Plain.__qualname__ = 'Plainer'",
    "p.me = p",
    "p.l = l",
    "q.a += 1",
    "q.a = text(3)",
    "q.b = -q.b",
    "del q.a",
    "q.c = q",
    "q.c = [1000]",
    "q = Slotted(); q.b = 1000",
    "q = Slotted()",
    "l[0] += 1000",
    "l[1] = 1000 + len(l)",
    "l[2] *= 2",
    "l[3] = text(len(l))",
    "l[3] += 'x'",
    "l.append(text(len(l)))",
    "l.append(None)",
    "l.insert(0, l)",
    "del l[-1]",
    "l.clear()",
    "l = [1000, 1000, 2.5, text(1), p]",
    "l = list(l)",
    "l[0] = True",
    "l[0] = Colour.BLUE",
    "l[0] = function",
    "l[0] = generate()",
    "l[0] = {}",
    "l[0] = ()",
    "l[0] = Plain()",
    "l[0].late = 1",
    "l[0] = MyInt(3)",
    "l[0] = bytes([65, len(l)])",
    "l[0] = range(3)",
    "l[0] = (1000, [1000])",
    "l[0][1].append(1000)",
    "d['k'] += 1000",
    "d['k'] = text(8)",
    "d[1000] = 1",
    "d[text(len(d))] = len(d)",
    "del d['k']; d['k'] = 1",
    "d.pop('q'); d['q'] = q",
    "d.clear()",
    "d = {'k': [1000], 'q': q}",
    "d['k'].append(1)",
    "d['noise'] = 1; d['secret'] = 1000",
    "d['secret'] = text(11)",
    "d = dict(d)",
    "d['t'] = t",
    "t = (1, 1000, l, text(3))",
    "t = (2, 1000, l, text(3))",
    "t = t[:2]",
    "t[2].append(1)",
    "t = (p, q, t[0])",
    "s.add(len(s) * 1000)",
    "s.discard(1000); s.add(1001)",
    "s = {1000, text(4)}",
    "s.clear()",
    "b.a += 1000",
    "b.z += 1000",
    "b.y = 1",
    "m.append(1000)",
    "m[0] += 1000",
    "md['a'] += 1000",
    "md['b'] = [1000]",
    "n = Pair(n.left + 1, n.right)",
    "n.right.append(1000)",
    "f = other",
    "f = function",
    "function.__qualname__ = text(12)",
    "next(g)",
    "g.close()",
    "g = generate()",
    "c = Colour.BLUE",
    "c = Colour.RED",
    "Colour.RED._name_ = text(13)",
    "Colour.RED._name_ = 'RED'",
    "k = Other",
    "mod.__name__ = text(14)",
    "mod.__name__ = 'enum'",
    "method = l.pop",
    "bound = q.__repr__",
    "z += 1000",
    "z = 1000.5",
    "y += 'x'",
    "y = text(6)",
    "y = 'constant'",
    "y = 'another'",
    "w = 'constant'",
    "w = w is False",
    "w = w is None",
    "x += b'y'",
    "x = b'z' * len(x)",
    "i = MyInt(2000)",
    "j = MyStr('other')",
    "nest[0][0][0][0] += 1000",
    "nest[0][0][0].append(1)",
    "nest[0][0] = 1000",
    "nest[0][0] = [[]]",
    "nest[0][0] = [Plain()]",
    "nest[0][0][0].a = 1",
    "nest[0][0] = [q]",
    "nest = [[[p]]]",
    "nest = [[[Slotted()]]]",
    "nest[0][0][0].a = 1000",
    "del nest[0][0][0].a",
    "nest[0].append(text(15))",
    "big += 1",
    "big = -big",
    "big >>= 100",
    "u += '\\u1234'",
    "u = '\\xe9'",
    "u = '\\U0001f600' * 30",
    "large.a5 += 1000",
    "large.a0 = [1000]",
    "large.a41 = 1000",
    "w = [w]",
    "w = None",
    "w = [text(i) * 20 for i in range(6)]",
    "w = {text(i): [text(i) * 10] * 6 for i in range(6)}",
    "w[0] = 1000",
    "import gc; gc.collect()",
];

/// A slot, and what its reader has been told.
#[derive(Default)]
struct Reader {
    cache: SlotCache,
    shown: Vec<u8>,
}

struct World {
    snapshotter: Snapshotter,
    oracle: Snapshotter,
    readers: Vec<Reader>,
    names: Vec<String>,
    sent: usize,
    compared: usize,
}

impl World {
    fn new(namespace: &Bound<'_, PyDict>) -> Self {
        let types = Arc::new(SharedTypes::new(Arc::new(Tables::new())));
        let names: Vec<String> = namespace.get_item("names").unwrap().unwrap().extract().unwrap();
        Self {
            snapshotter: Snapshotter::new(LIMITS, Arc::clone(&types)),
            oracle: Snapshotter::new(LIMITS, types),
            readers: names.iter().map(|_| Reader::default()).collect(),
            names,
            sent: 0,
            compared: 0,
        }
    }

    /// All variables, as at one step of a program.
    fn step(&mut self, namespace: &Bound<'_, PyDict>, what: &str) {
        // The budget is for all values of a step: here each is written alone, so that both sides have the same.
        for (name, reader) in self.names.iter().zip(&mut self.readers) {
            let value = namespace.get_item(name).unwrap().unwrap();
            let (mut out, mut fresh) = (Vec::new(), Vec::new());
            with_obj(&value, |object| {
                self.snapshotter.begin_step(0);
                if !reader.cache.has(Some(object), &mut self.snapshotter) {
                    reader.cache.set(0, object, &mut self.snapshotter, &mut HideSecrets, &mut out);
                }
                self.oracle.begin_step(0);
                self.oracle.write(object, &mut HideSecrets, &mut fresh);
            });
            self.compared += 1;
            if !out.is_empty() {
                self.sent += 1;
                let mut take = Take::new(&out);
                assert_eq!((take.u8(), take.u16()), (Ok(record::SET), Ok(0)));
                reader.shown = take.value().unwrap().to_vec();
                assert!(take.is_empty());
            }
            assert!(reader.shown == fresh, "{name} after {what}:\n{:?}\n{:?}", reader.shown, fresh);
        }
    }
}

fn with_world(work: impl FnOnce(Python<'_>, &Bound<'_, PyDict>)) {
    Python::initialize();
    Python::attach(|py| {
        assert_eq!(probe::decide_frame_access(py), None);
        let namespace = PyDict::new(py);
        namespace.set_item("__name__", "m").unwrap();
        py.run(WORLD, Some(&namespace), None).unwrap();
        work(py, &namespace);
    });
}

fn apply(py: Python<'_>, namespace: &Bound<'_, PyDict>, change: &str) -> bool {
    py.run(&CString::new(change).unwrap(), Some(namespace), None).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_slot_holds_is_what_the_value_is(changes in prop::collection::vec((0..CHANGES.len(), 0..3), 1..80)) {
        with_world(|py, namespace| {
            let mut world = World::new(namespace);
            world.step(namespace, "the beginning");
            for (index, then) in changes {
                apply(py, namespace, CHANGES[index]);
                // Several things can change between two steps.
                if then > 0 {
                    world.step(namespace, CHANGES[index]);
                }
            }
            world.step(namespace, "the end");
        });
    }
}

#[test]
fn every_change_can_be_made_and_is_seen_right_away_or_after_another_one() {
    with_world(|py, namespace| {
        let mut world = World::new(namespace);
        for change in CHANGES {
            apply(py, namespace, change);
            world.step(namespace, change);
            apply(py, namespace, change);
            world.step(namespace, change);
        }
        let before = world.sent;
        world.step(namespace, "nothing");
        world.step(namespace, "nothing");
        assert_eq!(world.sent, before, "nothing changed, and something was sent");
        assert!(world.sent * 3 < world.compared, "{} of {}", world.sent, world.compared);
    });
}

#[test]
fn a_number_that_changed_is_sent_though_something_behind_it_was_only_replaced_by_its_like() {
    with_world(|py, namespace| {
        let mut world = World::new(namespace);
        world.step(namespace, "the beginning");
        for change in ["l[1], l[3] = l[1] + 1000, text(1)", "p.a, p.b = p.a + 1000, list(p.b)", "d['k'], d['q'] = 1, q"]
        {
            for _ in 0..3 {
                assert!(apply(py, namespace, change));
                world.step(namespace, change);
            }
        }
    });
}

#[test]
fn another_object_at_the_same_address_is_another_value() {
    with_world(|py, namespace| {
        let mut world = World::new(namespace);
        let mut kinds = 0;
        // The free lists of the interpreter give back the block that was freed last.
        for make in ["float(n)", "10000 + n", "text(n)", "[n]", "(n, n)", "{n: n}", "Pair(n, 1)", "Plain()"] {
            let mut reused = 0;
            for n in 0..50 {
                let change = format!("n_ = {n}\nbefore_ = id(l[0])\nl[0] = None\nl[0] = (lambda n: {make})(n_)");
                assert!(apply(py, namespace, &format!("l = l or [0]\n{change}\nreused_ = before_ == id(l[0])")));
                reused += usize::from(namespace.get_item("reused_").unwrap().unwrap().extract::<bool>().unwrap());
                world.step(namespace, make);
            }
            kinds += usize::from(reused > 0);
        }
        // Which kinds get the block that was freed last depends on the version.
        assert!(kinds >= 3, "addresses of {kinds} kinds only were used again: that tests too little");
    });
}

#[test]
fn a_value_that_another_reader_knows_is_sent_to_a_new_one_without_a_walk() {
    with_world(|_, namespace| {
        let mut world = World::new(namespace);
        world.step(namespace, "the beginning");
        let value = namespace.get_item("d").unwrap().unwrap();
        let (mut hint, mut out) = (0, Vec::new());
        let snapshotter = &mut world.snapshotter;
        snapshotter.begin_step(0);
        let recalled =
            with_obj(&value, |object| snapshotter.recall(object, &mut HideSecrets, 0, &mut hint, |_| {}, &mut out));
        let Recalled::Content(number) = recalled else { panic!("{recalled:?}") };
        let written = out.len();
        assert!(written > 0);
        let again = with_obj(&value, |object| {
            snapshotter.recall(object, &mut HideSecrets, number, &mut hint, |_| {}, &mut out)
        });
        assert_eq!((again, out.len()), (recalled, written));
    });
}
