//! The view of a namespace against one that looks at everything, every time.

use std::ffi::CString;
use std::sync::Arc;

use proptest::prelude::*;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::*;
use crate::ffi::{probe, with_obj};
use crate::pipeline::layout::{Put, Take, record};
use crate::pipeline::tables::Tables;
use crate::runtime::value::Limits;
use crate::runtime::value::names::SharedTypes;
use crate::runtime::value::show_all::ShowAll;

/// A view, and what it needs; an oracle looks at everything every time.
struct Viewer {
    view: NamespaceView,
    snapshotter: Snapshotter,
    looks_at_all: bool,
}

impl Viewer {
    fn new(looks_at_all: bool) -> Self {
        let limits = Limits { max_depth: 3, max_items: 20, max_string: 1000, max_bytes_per_step: 65_536 };
        let types = Arc::new(SharedTypes::new(Arc::new(Tables::new())));
        Self { view: NamespaceView::default(), snapshotter: Snapshotter::new(limits, types), looks_at_all }
    }

    fn step(&mut self, namespace: &Bound<'_, PyDict>, shown: Shown) -> Vec<u8> {
        let mut out = Vec::new();
        self.snapshotter.begin_step(0);
        if self.looks_at_all {
            self.view.seen = None;
        }
        let mut sink = Sink { snapshotter: &mut self.snapshotter, policy: &mut ShowAll, out: &mut out };
        with_obj(namespace, |namespace| {
            self.view.sync(namespace, shown, 0, &mut |_| ValueAction::Allow, &mut sink);
        });
        plain(&out)
    }
}

/// The records without the numbers of contents: each viewer gives its own.
fn plain(records: &[u8]) -> Vec<u8> {
    let (mut take, mut plain) = (Take::new(records), Vec::new());
    while !take.is_empty() {
        let rest = take.rest();
        let tag = take.u8().unwrap();
        if tag == record::SET {
            plain.put_u8(tag);
            plain.put_u16(take.u16().unwrap());
            plain.put_bytes(take.value().unwrap());
        } else {
            take.pass(tag).unwrap();
            plain.put_bytes(&rest[..rest.len() - take.rest().len()]);
        }
    }
    plain
}

fn run(py: Python<'_>, namespace: &Bound<'_, PyDict>, source: &str) {
    py.run(&CString::new(source).unwrap(), Some(namespace), None).unwrap();
}

/// Compiled before, so that nothing but its own doing is between two looks: the compiler puts names into a dict, too.
fn compiled<'py>(py: Python<'py>, source: &str) -> Bound<'py, PyAny> {
    py.import("builtins").unwrap().call_method1("compile", (source, "m", "exec")).unwrap()
}

fn fresh(py: Python<'_>) -> Bound<'_, PyDict> {
    Python::initialize();
    assert_eq!(probe::decide_frame_access(py), None);
    let namespace = PyDict::new(py);
    // What the changes below need is there from the start.
    run(py, &namespace, "kept = [1]\nkind = type('K', (), {})\nit = kind()\nnames = globals()\nother = {}");
    namespace
}

/// Everything that can happen to a namespace between two lines; `#` is a number.
const CHANGES: [&str; 22] = [
    "pass",
    "n# = #",
    "n# = 1000 + #",
    "n# = 'text #'",
    "n# = [#]",
    "n# = {'a': #}",
    "def n#(): pass",
    "class n#: pass",
    "kept.append(#)",
    "it.x = #",
    "names.pop('n#', None)",
    "names.pop('n#', None); names['n' + str(#)] = 1",
    "names.pop('n#', None); names['m' + str(#)] = 1",
    "a# = b# = kept; n# = it",
    "other[#] = 1; n# = #",
    "(lambda: None).__qualname__ = 'x'; [v for v in list(names.values()) if type(v).__name__ == 'function' and setattr(v, '__qualname__', 'q#')]",
    "names[#] = 1; names.pop(#)",
    "names.update({f'u{i}': i for i in range(#)})",
    "names.update({'n#': 5, 'n2': 7})",
    "n# = n# + 1000 if isinstance(names.get('n#'), int) else 1000",
    "n1 = [n1] if 'n1' in names else 0; n# = (kept, 1)",
    "names.pop('n#', None); names['n#'] = #; names.update({f'm{i}': 1 for i in range(2)})",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// What is sent is what somebody would send who looks at every name at every line.
    #[test]
    fn what_changed_is_sent_whatever_happens_to_a_namespace(
        changes in prop::collection::vec((prop::collection::vec((0..CHANGES.len(), 0..9u32), 1..4), any::<bool>()), 1..25),
        shown in prop_oneof![Just(Shown::Module), Just(Shown::Local), Just(Shown::GlobalData)],
    ) {
        Python::initialize();
        Python::attach(|py| {
            let namespace = fresh(py);
            let (mut viewer, mut oracle) = (Viewer::new(false), Viewer::new(true));
            let exec = py.import("builtins").unwrap().getattr("exec").unwrap();
            let source = |(change, number): (usize, u32)| CHANGES[change].replace('#', &number.to_string());
            let lines: Vec<_> = changes
                .into_iter()
                .map(|(line, forgets)| (line.into_iter().map(source).map(|text| compiled(py, &text)).collect::<Vec<_>>(), forgets))
                .collect();
            for (line, forgets) in lines {
                for code in line {
                    exec.call1((code, &namespace)).unwrap();
                }
                if forgets {
                    viewer.view.invalidate();
                    oracle.view.invalidate();
                }
                prop_assert_eq!(viewer.step(&namespace, shown), oracle.step(&namespace, shown));
            }
            Ok(())
        })?;
    }
}

#[test]
fn names_that_are_added_or_get_another_value_leave_the_others_alone() {
    Python::initialize();
    Python::attach(|py| {
        let namespace = fresh(py);
        let mut viewer = Viewer::new(false);
        viewer.step(&namespace, Shown::Module);
        let looks = viewer.view.epoch;
        let names: Vec<_> = (0..3000).map(|number| PyString::new(py, &format!("n{number}"))).collect();
        for (number, name) in names.iter().enumerate() {
            namespace.set_item(name, number).unwrap();
            assert!(!viewer.step(&namespace, Shown::Module).is_empty());
        }
        assert!(viewer.view.epoch - looks < 12, "it looked at everything again and again");
        let looks = viewer.view.epoch;
        assert!(viewer.view.loose.len() < 10, "numbers need no second look");
        for turn in 0..100 {
            for name in [7, 1500] {
                namespace.set_item(&names[name], 70_000 + turn).unwrap();
            }
            assert!(!viewer.step(&namespace, Shown::Module).is_empty());
            assert_eq!(viewer.view.replaced.len(), 2);
        }
        assert_eq!(viewer.view.epoch, looks, "it looked at everything for another value");
        assert!(viewer.view.loose.len() < 10, "what is a number again needs no second look");
        namespace.del_item(&names[7]).unwrap();
        viewer.step(&namespace, Shown::Module);
        assert_eq!(viewer.view.epoch, looks + 1, "a name that is gone is found by a look at all");
    });
}
