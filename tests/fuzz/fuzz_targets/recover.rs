//! Any bytes as a trace: recovered to one that the official reader takes, with all that could be read before, or refused;
//! a second time changes nothing.

#![no_main]

mod support;

use codetracer_python_recorder::format::read::read_trace;
use codetracer_python_recorder::format::recover::recover;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some(dir) = support::directory(bytes) else { return Corpus::Reject };
    let before = read_trace(dir.path());
    let Ok(_) = recover(dir.path()) else { return Corpus::Keep };
    let once = support::files(dir.path());
    let after = read_trace(dir.path()).expect("what was recovered can be read");
    assert_eq!(after.damage, None);
    if let Ok(before) = before {
        let kept: Vec<String> = before.events.iter().map(|event| format!("{event:?}")).collect();
        let now: Vec<String> = after.events.iter().map(|event| format!("{event:?}")).collect();
        assert!(now.starts_with(&kept), "{kept:?} became {now:?}");
    }
    assert_eq!(recover(dir.path()).expect("a second time"), Vec::<String>::new());
    assert_eq!(once, support::files(dir.path()));
    Corpus::Keep
});
