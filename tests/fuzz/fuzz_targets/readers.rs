//! Any bytes as a trace: read, shown and checked, or refused; never a panic, never a hang, never a change.

#![no_main]

mod support;

use codetracer_python_recorder::format::inspect::{Mode, inspect};
use codetracer_python_recorder::format::read::read_trace;
use codetracer_python_recorder::format::verify::verify;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some(dir) = support::directory(bytes) else { return Corpus::Reject };
    let before = support::files(dir.path());
    let content = read_trace(dir.path());
    let findings = verify(dir.path());
    // What the official reader refuses is told by both.
    if let (Ok(content), Ok(findings)) = (&content, &findings) {
        assert!(content.damage.is_none() || !findings.is_empty());
    }
    for mode in [Mode::Summary, Mode::Tree { max_depth: 3, max_calls: 5 }, Mode::JsonLines] {
        let _ = inspect(dir.path(), mode, &mut std::io::sink());
    }
    assert_eq!(before, support::files(dir.path()));
    Corpus::Keep
});
