//! A policy as a person reads it.
//!
//! Invariants:
//! - What [`render`] prints is a policy file: reading it gives the same policy again.
//! - Every value stands with where it was said.

use std::fmt::Write as _;
use std::path::Path;

use super::file;
use super::keys::Literal;
use super::layer::resolve;
use super::{Effective, Resolved};
use crate::errors::RecorderResult;

/// The keys as TOML, each with its origin in a comment; a key without a value is a comment altogether.
pub fn render(keys: &[Effective]) -> String {
    let settings: Vec<_> = keys.iter().map(|effective| (effective, setting(effective))).collect();
    let width = settings.iter().map(|(_, text)| text.chars().count()).max().unwrap_or_default();
    let mut out = String::new();
    let mut section = "";
    for (effective, text) in settings {
        if effective.key.section() != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            section = effective.key.section();
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{gap}[{section}]");
        }
        let _ = writeln!(out, "{text:width$}  # {}", effective.origin.to_string().escape_debug());
    }
    out
}

fn setting(effective: &Effective) -> String {
    let name = effective.key.name();
    match &effective.value {
        Literal::Text(text) | Literal::Unusable(text) if text.is_empty() => format!("# {name} is not set"),
        Literal::Text(text) | Literal::Unusable(text) => format!("{name} = {}", quoted(text)),
        Literal::Bool(value) => format!("{name} = {value}"),
        Literal::Integer(value) => format!("{name} = {value}"),
    }
}

/// The text as a basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What a policy file amounts to on top of the built-in defaults.
///
/// # Errors
/// `ERR_IO` or `ERR_INVALID_POLICY_VALUE`, as when a recording is started with it.
pub fn check(path: &Path) -> RecorderResult<Resolved> {
    resolve(&[&file::read(path)?])
}

#[cfg(test)]
mod tests {
    use super::super::keys::KEYS;
    use super::super::layer::{Layer, Origin};
    use super::super::model::RecorderPolicy;
    use super::*;

    fn effective(layer: &Layer) -> (Resolved, Vec<Effective>) {
        let resolved = resolve(&[layer]).unwrap();
        let keys = KEYS
            .iter()
            .map(|key| Effective { key, value: key.get(&resolved.policy), origin: resolved.origin(key) })
            .collect();
        (resolved, keys)
    }

    #[test]
    fn what_is_printed_is_a_policy_file_that_means_the_same() {
        let mut layer = Layer::default();
        for (name, value) in [
            ("log_file", Literal::Text("a \"b\" \\ \t# ü.log".into())),
            ("values.max_depth", Literal::Integer(7)),
            ("pipeline.queue_bytes", Literal::Text("64MiB".into())),
            ("durability.flush_interval", Literal::Text("250ms".into())),
            ("events.lines", Literal::Bool(false)),
        ] {
            layer.insert(name, value, Origin::Inline).unwrap();
        }
        let (resolved, keys) = effective(&layer);
        let text = render(&keys);
        let again = file::parse(&text, |line| Origin::File { path: "printed".into(), line }).unwrap();
        assert_eq!(resolve(&[&again]).unwrap().policy, resolved.policy, "{text}");
    }

    #[test]
    fn every_value_stands_with_its_origin() {
        let mut layer = Layer::default();
        let path = "/etc/new\nline.toml".into();
        layer.insert("values.max_depth", Literal::Integer(7), Origin::File { path, line: 3 }).unwrap();
        let text = render(&effective(&layer).1);
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
        assert!(line("max_depth = 7 ").ends_with("  # policy file /etc/new\\nline.toml, line 3"), "{text}");
        assert!(line("max_items = 20 ").ends_with("  # built-in default"), "{text}");
        assert!(line("# log_level is not set ").ends_with("  # built-in default"), "{text}");
        assert!(text.starts_with("[recorder]\n") && text.contains("\n\n[values]\n"), "{text}");
    }

    #[test]
    fn checking_a_file_says_what_starting_with_it_would_say() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p.toml");
        std::fs::write(&path, "[values]\nmax_dept = 3\n").unwrap();
        let error = check(&path).unwrap_err();
        assert!(error.message().starts_with("unknown key 'values.max_dept' (did you mean 'values.max_depth'?)"));
        std::fs::write(&path, "[pipeline]\nqueue_bytes = \"1MiB\"\nbatch_bytes = \"1MiB\"\n").unwrap();
        assert!(check(&path).unwrap_err().message().contains("must be at most half of"));
        std::fs::write(&path, "# nothing\n").unwrap();
        assert_eq!(*check(&path).unwrap().policy, RecorderPolicy::default());
    }
}
