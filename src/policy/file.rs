//! Policy files: TOML in which nothing unknown is overlooked.
//!
//! Invariants:
//! - Every mistake is an error that names the file, the line, the key, what was expected, and the nearest key.
//! - A file speaks only through [`Layer::insert`], so it can say exactly what every other source can.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Literal};
use super::layer::{Layer, Origin, check_section};
use crate::enverr;
use crate::errors::RecorderResult;

/// Reads a policy file.
///
/// # Errors
/// `ERR_IO` (the file cannot be read) or `ERR_INVALID_POLICY_VALUE` (it says something unknown or impossible).
pub fn read(path: &Path) -> RecorderResult<Layer> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        enverr!(Io, "cannot read policy file {}", path.display())
            .with_context("file", path.display().to_string())
            .with_source(error)
    })?;
    parse(&text, |line| Origin::File { path: path.to_owned(), line })
}

/// Reads the text of a policy file; `origin` tells where a line (from 1) of it is.
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE`.
pub fn parse(text: &str, origin: impl Fn(usize) -> Origin) -> RecorderResult<Layer> {
    let at = |span: std::ops::Range<usize>| {
        let before = text.as_bytes().get(..span.start).unwrap_or_default();
        origin(1 + before.iter().filter(|byte| **byte == b'\n').count())
    };
    let root = DeTable::parse(text).map_err(|error| {
        at(error.span().unwrap_or_default()).error(format_args!("not valid TOML: {}", error.message()))
    })?;
    let mut layer = Layer::default();
    for (name, value) in root.get_ref() {
        let (section, place) = (name.get_ref(), at(name.span()));
        match value.get_ref() {
            DeValue::Table(entries) if keys::find(section).is_none() => {
                check_section(section, &place)?;
                for (name, value) in entries {
                    let path = format!("{section}.{}", name.get_ref());
                    layer.insert(&path, literal(value, text), at(name.span()))?;
                }
            }
            _ => layer.insert(section, literal(value, text), place)?,
        }
    }
    Ok(layer)
}

/// The value a key can judge; what no key takes keeps its source text for the message.
pub(super) fn literal(value: &Spanned<DeValue<'_>>, source: &str) -> Literal {
    let known = match value.get_ref() {
        DeValue::Boolean(value) => Some(Literal::Bool(*value)),
        DeValue::String(text) => Some(Literal::Text(text.clone().into_owned())),
        DeValue::Integer(n) => i64::from_str_radix(&n.as_str().replace('_', ""), n.radix()).ok().map(Literal::Integer),
        _ => None,
    };
    known.unwrap_or_else(|| Literal::Unusable(source.get(value.span()).unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::layer::resolve;
    use super::super::model::{OnFull, RecorderPolicy};
    use super::*;
    use crate::errors::{ErrorCode, ErrorKind};
    use std::time::Duration;

    fn at(line: usize) -> Origin {
        Origin::File { path: "p.toml".into(), line }
    }

    #[test]
    fn sections_dotted_keys_and_classic_keys_are_read() {
        let text = r#"
            require_trace = true
            durability.flush_interval = "250ms"
            [values]
            max_depth = 0x0a
            max_items = 1_000
            [pipeline]
            on_full = "drop"
        "#;
        let policy = resolve(&[&parse(text, at).unwrap()]).unwrap().policy;
        assert!(policy.recorder.require_trace);
        assert_eq!((policy.values.max_depth, policy.values.max_items), (10, 1000));
        assert_eq!(policy.pipeline.on_full, OnFull::Drop);
        assert_eq!(policy.durability.flush_interval, Duration::from_millis(250));
        assert_eq!(policy.events, RecorderPolicy::default().events);
    }

    #[test]
    fn every_mistake_names_file_line_and_remedy() {
        for (text, message) in [
            (
                "\n[values]\nmax_dept = 3",
                "unknown key 'values.max_dept' (did you mean 'values.max_depth'?), [values] has globals, max_depth, max_items, max_string, max_bytes_per_step, max_output_chunk, max_output_total in policy file p.toml, line 3",
            ),
            ("[values]\nmax_depth = 3\nmax_depth = 4", "not valid TOML: duplicate key in policy file p.toml, line 3"),
            (
                "[values]\n\nmax_depth = 3.5",
                "invalid values.max_depth value '3.5' (expected an integer from 1 to 20) in policy file p.toml, line 3",
            ),
            (
                "[values]\nmax_depth = [1, 2]",
                "invalid values.max_depth value '[1, 2]' (expected an integer from 1 to 20) in policy file p.toml, line 2",
            ),
            ("[values]\nmax_depth = 99999999999999999999", "invalid values.max_depth value '99999999999999999999'"),
            ("[values.max_depth]\nx = 1", "invalid values.max_depth value '"),
            ("[valeus]", "unknown section [valeus] (did you mean 'values'?)"),
            ("a = ", "not valid TOML"),
            ("values = 3", "'values' is a section"),
            (
                "require_trace = 1",
                "invalid require_trace value '1' (expected true or false) in policy file p.toml, line 1",
            ),
        ] {
            let error = parse(text, at).unwrap_err();
            assert!(error.message().starts_with(message), "{text:?}: {error}");
            assert!(error.message().contains("in policy file p.toml, line "), "{error}");
            assert_eq!((error.kind, error.code), (ErrorKind::Usage, ErrorCode::InvalidPolicyValue));
        }
    }

    #[test]
    fn an_unreadable_file_is_an_error_of_the_environment() {
        let error = read(Path::new("/nonexistent/policy.toml")).unwrap_err();
        assert_eq!((error.kind, error.code), (ErrorKind::Environment, ErrorCode::Io));
        assert!(error.to_string().starts_with("cannot read policy file /nonexistent/policy.toml: "), "{error}");
    }

    #[test]
    fn a_file_on_disk_is_read_with_its_path_as_origin() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p.toml");
        std::fs::write(&path, "# a policy\n[values]\nglobals = \"all\"\n").unwrap();
        let resolved = resolve(&[&read(&path).unwrap()]).unwrap();
        assert_eq!(resolved.origin(keys::find("values.globals").unwrap()), Origin::File { path, line: 3 });
    }
}
