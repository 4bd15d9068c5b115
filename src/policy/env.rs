//! The policy as the environment states it: `CODETRACER_POLICY`, and one variable per classic key.
//!
//! Invariants:
//! - The environment is read through a [`Lookup`], so nothing here depends on, or races for, the real one.
//! - A variable that is set and cannot be understood is an error, never a silent default.
//! - `CODETRACER_POLICY` is a preset's name, else inline text (a `=` after a plain key), else the path of a file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::keys::Literal;
use super::layer::{Layer, Origin};
use super::{file, presets, suggest};
use crate::errors::RecorderResult;

/// The variable that holds a whole policy.
pub const POLICY: &str = "CODETRACER_POLICY";
/// The variable with a grammar of its own.
pub const CAPTURE_IO: &str = "CODETRACER_CAPTURE_IO";

/// Returns the value of an environment variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process.
pub fn process_environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

#[derive(Clone, Copy)]
enum Reading {
    Text,
    Boolean,
}

/// Variables that stand for one key each; also the order in which mistakes are reported.
const VARIABLES: [(&str, &str, Reading); 8] = [
    ("CODETRACER_ON_RECORDER_ERROR", "recorder.on_recorder_error", Reading::Text),
    ("CODETRACER_REQUIRE_TRACE", "recorder.require_trace", Reading::Boolean),
    ("CODETRACER_KEEP_PARTIAL_TRACE", "recorder.keep_partial_trace", Reading::Boolean),
    ("CODETRACER_LOG_LEVEL", "recorder.log_level", Reading::Text),
    ("CODETRACER_LOG_FILE", "recorder.log_file", Reading::Text),
    ("CODETRACER_JSON_ERRORS", "recorder.json_errors", Reading::Boolean),
    ("CODETRACER_MODULE_NAME_FROM_GLOBALS", "recorder.module_name_from_globals", Reading::Boolean),
    ("CODETRACER_PROPAGATE_SCRIPT_EXIT", "recorder.propagate_script_exit", Reading::Boolean),
];

/// What the single variables say.
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE`, naming the variable.
pub fn read_variables(lookup: Lookup<'_>) -> RecorderResult<Layer> {
    let mut layer = Layer::default();
    for (variable, key, reading) in VARIABLES {
        let Some(text) = read_text(variable, lookup)? else { continue };
        let origin = Origin::Variable(variable);
        let value = match reading {
            Reading::Text => Literal::Text(text),
            Reading::Boolean => Literal::Bool(parse_boolean(&text, &origin)?),
        };
        layer.insert(key, value, origin)?;
    }
    if let Some(text) = read_text(CAPTURE_IO, lookup)? {
        let origin = Origin::Variable(CAPTURE_IO);
        let (line_proxies, fd_fallback) = parse_capture_io(&text, &origin)?;
        layer.insert("io_capture.line_proxies", Literal::Bool(line_proxies), origin.clone())?;
        layer.insert("io_capture.fd_fallback", Literal::Bool(fd_fallback), origin)?;
    }
    Ok(layer)
}

/// What `CODETRACER_POLICY` says; nothing if it is unset or blank.
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE`, or `ERR_IO` if it names a file that cannot be read.
pub fn read_policy(lookup: Lookup<'_>) -> RecorderResult<Layer> {
    let text = read_text(POLICY, lookup)?.unwrap_or_default();
    let text = text.trim();
    if text.is_empty() {
        return Ok(Layer::default());
    }
    if let Some(preset) = presets::find(text) {
        return file::parse(preset.toml, |_| Origin::Preset(preset.name));
    }
    if let Some((key, _)) = text.split_once('=')
        && is_key(key.trim())
    {
        return parse_inline(text);
    }
    let path = expand_home(text, lookup);
    // A bare word is more likely a misspelt preset than a file, unless the file is there.
    if !text.contains(['/', '\\', '.']) && !path.exists() {
        let names = presets::PRESETS.map(|preset| preset.name);
        let hint = suggest::hint(text, names);
        return Err(Origin::Inline.error(format_args!(
            "'{text}' is neither a preset ({}){hint} nor 'key=value' nor an existing file",
            names.join(", ")
        )));
    }
    file::read(&path)
}

fn read_text(variable: &'static str, lookup: Lookup<'_>) -> RecorderResult<Option<String>> {
    let Some(value) = lookup(variable) else { return Ok(None) };
    value.into_string().map(Some).map_err(|value| {
        Origin::Variable(variable).error(format_args!("value '{}' is not valid UTF-8", value.to_string_lossy()))
    })
}

fn parse_boolean(text: &str, origin: &Origin) -> RecorderResult<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" => Ok(true),
        "0" | "false" | "f" | "no" | "n" => Ok(false),
        _ => Err(origin
            .error(format_args!("invalid boolean value '{text}' (expected 1/true/t/yes/y or 0/false/f/no/n)"))
            .with_context("value", text)),
    }
}

/// `(line_proxies, fd_fallback)`. One of the words for all or nothing, or a list of parts to capture.
fn parse_capture_io(text: &str, origin: &Origin) -> RecorderResult<(bool, bool)> {
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "on" | "1" | "true" | "enable" | "enabled" => return Ok((true, false)),
        "off" | "0" | "false" | "none" | "disable" | "disabled" => return Ok((false, false)),
        _ => {}
    }
    let mut parts = text.split([',', '+']).map(str::trim).filter(|part| !part.is_empty()).peekable();
    if parts.peek().is_none() {
        return Err(origin.error(format_args!("'{text}' must enable at least 'proxies' or 'fd'")));
    }
    // The descriptors are captured on top of the proxies, never alone.
    let mut fd_fallback = false;
    for part in parts {
        match part.to_ascii_lowercase().as_str() {
            "proxies" | "proxy" => {}
            "fd" | "mirror" | "fallback" => fd_fallback = true,
            _ => {
                return Err(origin
                    .error(format_args!(
                        "invalid {CAPTURE_IO} value '{part}' (expected 'off', 'on', 'proxies', 'fd' or 'proxies+fd')"
                    ))
                    .with_context("value", part));
            }
        }
    }
    Ok((true, fd_fallback))
}

/// Whether text before a `=` can be a key (and not the start of a path).
fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// `key=value;section.key=value`; a value is TOML, or a bare word taken as text.
fn parse_inline(text: &str) -> RecorderResult<Layer> {
    let mut layer = Layer::default();
    for item in split_items(text)? {
        let (key, value) = item
            .split_once('=')
            .ok_or_else(|| Origin::Inline.error(format_args!("'{item}' is not of the form 'key=value'")))?;
        let value = value.trim();
        let literal = match DeValue::parse(value) {
            Ok(parsed) => file::literal(&parsed, value),
            Err(_) if value.starts_with(['"', '\'', '[', '{']) => {
                return Err(Origin::Inline.error(format_args!("value {value} of '{}' is not valid TOML", key.trim())));
            }
            Err(_) => Literal::Text(value.to_owned()),
        };
        layer.insert(key.trim(), literal, Origin::Inline)?;
    }
    Ok(layer)
}

/// Splits at every `;` outside quotes; blank items are left out. A quote is one only where a value begins: the
/// apostrophe of `log_file=/home/o'neil/x` is text.
fn split_items(text: &str) -> RecorderResult<Vec<&str>> {
    let (mut items, mut start, mut quote, mut escaped, mut value_begins) = (Vec::new(), 0, None, false, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some('"'), _) if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if value_begins => quote = Some(c),
            (None, ';') => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            (None, _) => {}
        }
        value_begins = c == '=' || (value_begins && c.is_whitespace());
    }
    if let Some(quote) = quote {
        return Err(Origin::Inline.error(format_args!("quote {quote} is not closed")));
    }
    items.push(&text[start..]);
    Ok(items.into_iter().map(str::trim).filter(|item| !item.is_empty()).collect())
}

/// `~/x` is below `HOME`, as a shell would have made it.
fn expand_home(text: &str, lookup: Lookup<'_>) -> PathBuf {
    match (text.strip_prefix("~/"), lookup("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::layer::resolve;
    use super::super::model::{Globals, OnRecorderError, RecorderPolicy};
    use super::*;
    use crate::errors::{ErrorCode, RecorderError};
    use proptest::prelude::*;

    fn with<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    }

    fn variables(variables: &[(&str, &str)]) -> Result<RecorderPolicy, RecorderError> {
        Ok((*resolve(&[&read_variables(&with(variables))?])?.policy).clone())
    }

    fn policy(text: &str) -> Result<RecorderPolicy, RecorderError> {
        Ok((*resolve(&[&read_policy(&with(&[(POLICY, text), ("HOME", "/home/me")]))?])?.policy).clone())
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(variables(&[]).unwrap(), RecorderPolicy::default());
        assert_eq!(policy("  ").unwrap(), RecorderPolicy::default());
    }

    #[test]
    fn every_single_variable_reaches_its_key() {
        let policy = variables(&[
            ("CODETRACER_ON_RECORDER_ERROR", " Disable "),
            ("CODETRACER_REQUIRE_TRACE", "1"),
            ("CODETRACER_KEEP_PARTIAL_TRACE", "Yes"),
            ("CODETRACER_LOG_LEVEL", " debug"),
            ("CODETRACER_LOG_FILE", "/tmp/x.log"),
            ("CODETRACER_JSON_ERRORS", " T "),
            ("CODETRACER_MODULE_NAME_FROM_GLOBALS", "n"),
            ("CODETRACER_PROPAGATE_SCRIPT_EXIT", "true"),
            ("CODETRACER_CAPTURE_IO", "off"),
        ])
        .unwrap();
        let recorder = &policy.recorder;
        assert_eq!(recorder.on_recorder_error, OnRecorderError::Disable);
        assert!(recorder.require_trace && recorder.keep_partial_trace && recorder.json_errors);
        assert!(!recorder.module_name_from_globals && recorder.propagate_script_exit);
        assert_eq!(recorder.log_level.as_deref(), Some("debug"));
        assert_eq!(recorder.log_file.as_deref(), Some(Path::new("/tmp/x.log")));
        assert!(!policy.io_capture.line_proxies);
    }

    #[test]
    fn an_empty_variable_clears_the_log_settings() {
        let low = parse_inline("log_level=debug;log_file=/tmp/x").unwrap();
        let high = read_variables(&with(&[("CODETRACER_LOG_LEVEL", ""), ("CODETRACER_LOG_FILE", "")])).unwrap();
        assert_eq!(resolve(&[&low, &high]).unwrap().policy.recorder, RecorderPolicy::default().recorder);
    }

    #[test]
    fn booleans_have_ten_spellings_and_no_more() {
        for (text, value) in [("1", true), ("TRUE", true), ("t", true), ("yes", true), ("Y", true)].into_iter().chain([
            ("0", false),
            ("False", false),
            ("f", false),
            ("NO", false),
            (" n ", false),
        ]) {
            assert_eq!(variables(&[("CODETRACER_REQUIRE_TRACE", text)]).unwrap().recorder.require_trace, value);
        }
        for text in ["", "on", "off", "2", "yes please"] {
            let error = variables(&[("CODETRACER_REQUIRE_TRACE", text)]).unwrap_err();
            assert!(error.message().contains(&format!("invalid boolean value '{text}'")), "{error}");
            assert_eq!(error.context["variable"], "CODETRACER_REQUIRE_TRACE");
            assert_eq!(error.code, ErrorCode::InvalidPolicyValue);
        }
    }

    #[test]
    fn capture_io_grammar() {
        for (text, capture) in [
            ("", (true, false)),
            ("on", (true, false)),
            ("Enabled", (true, false)),
            ("off", (false, false)),
            ("none", (false, false)),
            ("disable", (false, false)),
            ("proxies", (true, false)),
            ("fd", (true, true)),
            ("mirror", (true, true)),
            ("proxies+fd", (true, true)),
            (" Fallback , Proxies ", (true, true)),
            ("proxies,,fd", (true, true)),
        ] {
            let io = variables(&[(CAPTURE_IO, text)]).unwrap().io_capture;
            assert_eq!((io.line_proxies, io.fd_fallback), capture, "{text}");
        }
        for (text, message) in [
            ("off,fd", "invalid CODETRACER_CAPTURE_IO value 'off'"),
            ("fd+on", "invalid CODETRACER_CAPTURE_IO value 'on'"),
            ("x", "invalid CODETRACER_CAPTURE_IO value 'x'"),
            (",", "must enable at least 'proxies' or 'fd' in CODETRACER_CAPTURE_IO"),
        ] {
            let error = variables(&[(CAPTURE_IO, text)]).unwrap_err();
            assert!(error.message().contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn a_policy_is_a_preset_inline_text_or_a_file() {
        assert!(!policy("calls").unwrap().events.lines);
        assert_eq!(policy(" full ").unwrap(), RecorderPolicy::default());

        let inline =
            policy("require_trace=true; values.max_depth = 3 ;values.globals=all;;log_file='/tmp/a;b';").unwrap();
        assert!(inline.recorder.require_trace);
        assert_eq!((inline.values.max_depth, inline.values.globals), (3, Globals::All));
        assert_eq!(inline.recorder.log_file.as_deref(), Some(Path::new("/tmp/a;b")));
        let bare = policy("log_file=/home/o'neil/x=y;json_errors=true").unwrap().recorder;
        assert_eq!(bare.log_file.as_deref(), Some(Path::new("/home/o'neil/x=y")));
        assert!(bare.json_errors);
        let units = policy("pipeline.queue_bytes=64MiB;durability.flush_interval=\"2s\"").unwrap();
        assert_eq!((units.pipeline.queue_bytes, units.durability.flush_interval.as_secs()), (64 << 20, 2));

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a=b.toml");
        std::fs::write(&path, "[values]\nmax_items = 7\n").unwrap();
        assert_eq!(policy(path.to_str().unwrap()).unwrap().values.max_items, 7);
    }

    #[test]
    fn a_policy_that_cannot_be_understood_says_why() {
        for (text, message) in [
            (
                "call",
                "'call' is neither a preset (full, calls, sampled, flight-recorder, off) (did you mean 'calls'?) nor 'key=value' nor an existing file in CODETRACER_POLICY",
            ),
            ("require_trace=true;x", "'x' is not of the form 'key=value' in CODETRACER_POLICY"),
            (
                "require_trace=maybe",
                "invalid require_trace value 'maybe' (expected true or false) in CODETRACER_POLICY",
            ),
            ("values.max_dept=3", "unknown key 'values.max_dept' (did you mean 'values.max_depth'?)"),
            ("sampling.on=200", "invalid sampling.on value '200' (expected a duration from 1ms to 1h"),
            ("ring.storage=disk", "invalid ring.storage value 'disk' (expected 'off', 'memory' or 'files')"),
            ("log_level=\"a;b", "quote \" is not closed"),
            ("log_level='a' x", "value 'a' x of 'log_level' is not valid TOML"),
            ("require_trace=true;require_trace=true", "key 'recorder.require_trace' is set twice"),
            ("./nowhere/p.toml", "cannot read policy file ./nowhere/p.toml"),
            ("~/p.toml", "cannot read policy file /home/me/p.toml"),
        ] {
            let error = policy(text).unwrap_err();
            assert!(error.message().starts_with(message), "{text}: {error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let lookup = |name: &str| (name == "CODETRACER_LOG_FILE").then(|| OsString::from_vec(vec![b'/', 0xff]));
        let error = read_variables(&lookup).unwrap_err();
        assert!(error.message().contains("is not valid UTF-8 in CODETRACER_LOG_FILE"), "{error}");
    }

    proptest! {
        #[test]
        fn quoted_text_survives_the_splitting(text in "[ -~]{0,30}") {
            // A JSON string of printable ASCII is a TOML string.
            let quoted = serde_json::to_string(&text).unwrap();
            let policy = policy(&format!("log_file={quoted};require_trace=true")).unwrap();
            let expected = (!text.trim().is_empty()).then(|| PathBuf::from(&text));
            prop_assert_eq!(policy.recorder.log_file, expected);
            prop_assert!(policy.recorder.require_trace);
        }

        #[test]
        fn any_inline_text_is_read_or_refused_without_a_panic(text: String) {
            let _ = policy(&format!("log_level={text}"));
            let _ = parse_inline(&text);
        }
    }
}
