//! Settings from one source, and what a stack of them amounts to.
//!
//! Invariants:
//! - A layer holds only what its source said; every setting knows where it was said.
//! - Only keys that exist with values they take get into a layer, so resolving can fail on contradictions only.
//! - Later layers win key by key ([`resolve`]).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::keys::{self, KEYS, Key, Literal};
use super::model::RecorderPolicy;
use super::suggest;
use crate::errors::{RecorderError, RecorderResult};
use crate::usage;

/// Where a value was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// In a policy file.
    File { path: PathBuf, line: usize },
    /// By a preset that `CODETRACER_POLICY` names.
    Preset(&'static str),
    /// In the text of `CODETRACER_POLICY`.
    Inline,
    /// In the environment variable of this name.
    Variable(&'static str),
    /// By `configure_policy`, `policy=` or the command line.
    Api,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built-in default"),
            Self::File { path, line } => write!(f, "policy file {}, line {line}", path.display()),
            Self::Preset(name) => write!(f, "preset '{name}'"),
            Self::Inline => f.write_str("CODETRACER_POLICY"),
            Self::Variable(name) => f.write_str(name),
            Self::Api => f.write_str("configure_policy"),
        }
    }
}

impl Origin {
    /// An `ERR_INVALID_POLICY_VALUE` that tells where the text is that has to be mended.
    pub fn error(&self, message: impl fmt::Display) -> RecorderError {
        // An API call has a traceback of its own.
        let error = match self {
            Self::Api => usage!(InvalidPolicyValue, "{message}"),
            _ => usage!(InvalidPolicyValue, "{message} in {self}"),
        };
        match self {
            Self::File { path, line } => {
                error.with_context("file", path.display().to_string()).with_context("line", line.to_string())
            }
            Self::Variable(name) => error.with_context("variable", *name),
            Self::Inline | Self::Preset(_) => error.with_context("variable", "CODETRACER_POLICY"),
            Self::Default | Self::Api => error,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    value: Literal,
    origin: Origin,
}

/// What one source said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer {
    settings: BTreeMap<&'static str, Setting>,
}

impl Layer {
    /// Adds a setting.
    ///
    /// # Errors
    /// `ERR_INVALID_POLICY_VALUE`: the key does not exist, does not take the value, or was said before.
    pub fn insert(&mut self, name: &str, value: Literal, origin: Origin) -> RecorderResult<()> {
        let key = keys::find(name).ok_or_else(|| unknown_key(name, &origin))?;
        if !key.set(&mut RecorderPolicy::default(), &value) {
            let expected = key.expected();
            return Err(origin
                .error(format_args!("invalid {} value '{value}' (expected {expected})", key.label()))
                .with_context("key", key.path)
                .with_context("value", value.to_string())
                .with_context("expected", expected));
        }
        if self.settings.contains_key(key.path) {
            return Err(origin.error(format_args!("key '{}' is set twice", key.path)).with_context("key", key.path));
        }
        self.settings.insert(key.path, Setting { value, origin });
        Ok(())
    }

    /// Takes over everything `newer` says.
    pub fn absorb(&mut self, newer: Layer) {
        self.settings.extend(newer.settings);
    }

    /// Forgets everything that one of `others` says.
    pub fn yield_to(&mut self, others: &[&Layer]) {
        self.settings.retain(|path, _| !others.iter().any(|other| other.settings.contains_key(path)));
    }

    fn get(&self, key: &Key) -> Option<&Setting> {
        self.settings.get(key.path)
    }
}

/// A policy and where each of its values comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    pub policy: Arc<RecorderPolicy>,
    /// By key path; keys that are not in it have their default.
    origins: BTreeMap<&'static str, Origin>,
}

impl Resolved {
    /// Where the value of `key` was said.
    pub fn origin(&self, key: &Key) -> Origin {
        self.origins.get(key.path).cloned().unwrap_or(Origin::Default)
    }
}

/// The policy that `layers` amount to, the last one first in rank.
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE`: two values contradict each other.
pub fn resolve(layers: &[&Layer]) -> RecorderResult<Resolved> {
    let mut policy = RecorderPolicy::default();
    let mut origins = BTreeMap::new();
    for key in KEYS {
        if let Some(setting) = layers.iter().rev().find_map(|layer| layer.get(key)) {
            let stored = key.set(&mut policy, &setting.value);
            debug_assert!(stored, "a layer holds only what its keys take");
            origins.insert(key.path, setting.origin.clone());
        }
    }
    policy.settle().map_err(|wrong| {
        let value = |path: &str| keys::find(path).map(|key| key.get(&policy).to_string()).unwrap_or_default();
        let origin = [wrong.key, wrong.other].iter().find_map(|path| origins.get(path)).unwrap_or(&Origin::Default);
        origin
            .error(format_args!(
                "{} ({}) {} {} ({})",
                wrong.key,
                value(wrong.key),
                wrong.rule,
                wrong.other,
                value(wrong.other)
            ))
            .with_context("key", wrong.key)
    })?;
    Ok(Resolved { policy: Arc::new(policy), origins })
}

/// Refuses a section that does not exist.
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE`, with the nearest section.
pub fn check_section(section: &str, origin: &Origin) -> RecorderResult<()> {
    if keys::is_section(section) {
        return Ok(());
    }
    let mut known: Vec<_> = KEYS.iter().map(Key::section).collect();
    known.dedup();
    let hint = suggest::hint(section, known.iter().copied());
    let error = origin.error(format_args!("unknown section [{section}]{hint}, expected one of {}", known.join(", ")));
    Err(error.with_context("section", section))
}

fn unknown_key(name: &str, origin: &Origin) -> RecorderError {
    let error = match name.split_once('.') {
        Some((section, _)) => {
            if let Err(error) = check_section(section, origin) {
                return error;
            }
            let siblings = KEYS.iter().filter(|key| key.section() == section);
            let known: Vec<_> = siblings.clone().map(Key::name).collect();
            let hint = suggest::hint(name, siblings.map(|key| key.path));
            origin.error(format_args!("unknown key '{name}'{hint}, [{section}] has {}", known.join(", ")))
        }
        None if keys::is_section(name) => {
            origin.error(format_args!("'{name}' is a section: set its keys, like '{name}.KEY'"))
        }
        // Perhaps the section was forgotten: `max_depth` means `values.max_depth`.
        None => match suggest::nearest(name, KEYS.iter().map(Key::name)) {
            Some(near) => {
                let meant = KEYS.iter().find(|key| key.name() == near).map_or(near, Key::label);
                origin.error(format_args!("unknown key '{name}' (did you mean '{meant}'?)"))
            }
            None => origin.error(format_args!("unknown key '{name}', expected 'key' of [recorder] or 'section.key'")),
        },
    };
    error.with_context("key", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(settings: &[(&str, Literal)]) -> Layer {
        let mut layer = Layer::default();
        for (name, value) in settings {
            layer.insert(name, value.clone(), Origin::Api).unwrap();
        }
        layer
    }

    #[test]
    fn later_layers_win_key_by_key_and_origins_are_remembered() {
        let mut low = layer(&[("values.max_depth", Literal::Integer(3)), ("values.max_items", Literal::Integer(4))]);
        let mut high = Layer::default();
        high.insert("values.max_depth", Literal::Integer(5), Origin::Variable("X")).unwrap();
        let resolved = resolve(&[&low, &high]).unwrap();
        assert_eq!((resolved.policy.values.max_depth, resolved.policy.values.max_items), (5, 4));
        let origin = |name| resolved.origin(keys::find(name).unwrap());
        assert_eq!(origin("values.max_depth"), Origin::Variable("X"));
        assert_eq!(origin("values.max_items"), Origin::Api);
        assert_eq!(origin("values.globals"), Origin::Default);

        low.absorb(high.clone());
        assert_eq!(resolve(&[&low]).unwrap().policy.values.max_depth, 5);
        low.yield_to(&[&high]);
        assert_eq!(resolve(&[&low]).unwrap().policy.values.max_depth, RecorderPolicy::default().values.max_depth);
        assert_eq!(resolve(&[&low]).unwrap().policy.values.max_items, 4);
    }

    #[test]
    fn mistakes_are_named_with_their_place_and_the_likely_meaning() {
        let file = Origin::File { path: "/etc/p.toml".into(), line: 3 };
        for (name, value, message) in [
            (
                "values.max_dept",
                Literal::Integer(1),
                "unknown key 'values.max_dept' (did you mean 'values.max_depth'?)",
            ),
            ("max_depth", Literal::Integer(1), "unknown key 'max_depth' (did you mean 'values.max_depth'?)"),
            ("requre_trace", Literal::Bool(true), "unknown key 'requre_trace' (did you mean 'require_trace'?)"),
            ("nonsense", Literal::Bool(true), "unknown key 'nonsense', expected 'key' of [recorder] or 'section.key'"),
            ("valeus.max_depth", Literal::Integer(1), "unknown section [valeus] (did you mean 'values'?)"),
            ("sampling.on", Literal::Integer(1), "invalid sampling.on value '1' (expected a duration from 1ms to 1h"),
            ("values", Literal::Integer(1), "'values' is a section"),
            (
                "values.max_depth",
                Literal::Integer(99),
                "invalid values.max_depth value '99' (expected an integer from 1 to 20)",
            ),
            (
                "on_recorder_error",
                Literal::Text("zz".into()),
                "invalid on_recorder_error value 'zz' (expected 'abort' or 'disable')",
            ),
        ] {
            let error = Layer::default().insert(name, value, file.clone()).unwrap_err();
            assert!(error.message().starts_with(message), "{error}");
            assert!(error.message().ends_with(" in policy file /etc/p.toml, line 3"), "{error}");
            assert_eq!(error.code, crate::errors::ErrorCode::InvalidPolicyValue);
            assert_eq!((error.context["file"].as_str(), error.context["line"].as_str()), ("/etc/p.toml", "3"));
        }
    }

    #[test]
    fn a_key_is_said_once_per_source() {
        let mut layer = layer(&[("require_trace", Literal::Bool(true))]);
        let error = layer.insert("recorder.require_trace", Literal::Bool(false), Origin::Inline).unwrap_err();
        assert_eq!(error.message(), "key 'recorder.require_trace' is set twice in CODETRACER_POLICY");
    }

    #[test]
    fn descriptors_are_captured_only_with_the_proxies() {
        let fd = layer(&[("io_capture.fd_fallback", Literal::Bool(true))]);
        assert!(resolve(&[&fd]).unwrap().policy.io_capture.fd_fallback);
        let off = layer(&[("io_capture.line_proxies", Literal::Bool(false))]);
        assert!(!resolve(&[&fd, &off]).unwrap().policy.io_capture.fd_fallback);
    }

    #[test]
    fn lines_need_their_calls() {
        let calls = layer(&[("events.calls", Literal::Bool(false))]);
        let error = resolve(&[&calls]).unwrap_err();
        assert_eq!(error.code, crate::errors::ErrorCode::InvalidPolicyValue);
        assert_eq!(
            error.message(),
            "events.lines (true) shows lines within their calls and needs 'true' as events.calls (false)"
        );
        let lines = layer(&[("events.lines", Literal::Bool(false))]);
        assert!(resolve(&[&calls, &lines]).unwrap().policy.events.none());
    }

    #[test]
    fn a_batch_must_fit_the_queue_twice() {
        let text = |text: &str| Literal::Text(text.into());
        let wrong = layer(&[("pipeline.batch_bytes", text("2MiB")), ("pipeline.queue_bytes", text("3MiB"))]);
        let error = resolve(&[&wrong]).unwrap_err();
        assert_eq!(
            error.message(),
            "pipeline.batch_bytes (2097152) must be at most half of pipeline.queue_bytes (3145728)"
        );
    }
}
