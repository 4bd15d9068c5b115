//! The table of keys: the one place that knows how a policy is spelt.
//!
//! Invariants:
//! - A key is `section.name`; files, inline text, the Python API, snapshots and messages all use this table.
//! - A value is judged by its key's [`Rule`] before it is stored, so a stored value always fits its field.
//! - What [`Key::get`] shows is accepted by [`Key::set`] and changes nothing.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::flight::{ControlSocket, RingStorage, TriggerSignal};
use super::model::{Globals, OnFull, OnRecorderError, RecorderPolicy, SamplingMode};
use super::units::{Share, format_duration, parse_duration, parse_size};
use crate::pipeline::limits::OnReached;
use crate::session::processes::RecordProcesses;

/// A value as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    Bool(bool),
    Integer(i64),
    Text(String),
    /// Of a type that no key takes, with the text to show in messages.
    Unusable(String),
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(text) | Self::Unusable(text) => f.write_str(text),
        }
    }
}

/// Which values a key takes.
#[derive(Debug, Clone, Copy)]
enum Rule {
    Flag,
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    /// From the first to the second, both included.
    Integer(i64, i64),
    /// Bytes or a size with unit, from the first to the second, both included.
    Size(&'static str, &'static str),
    /// From the first to the second, both included.
    Duration(&'static str, &'static str),
    /// From the first to the second, both included.
    Share(&'static str, &'static str),
    /// Any text, spaces around it removed; empty clears the key.
    Text,
    /// A path, taken as it is; blank clears the key.
    Path,
}

impl Rule {
    /// The value in the form its field reads, or None if it does not fit.
    fn accept(self, given: &Literal) -> Option<Literal> {
        match (self, given) {
            (Self::Flag, Literal::Bool(_)) => Some(given.clone()),
            (Self::Word(words), Literal::Text(text)) => {
                let word = words.iter().find(|word| word.eq_ignore_ascii_case(text.trim()))?;
                Some(Literal::Text((*word).to_owned()))
            }
            (Self::Integer(low, high), Literal::Integer(n)) => (low..=high).contains(n).then_some(Literal::Integer(*n)),
            (Self::Size(low, high), Literal::Integer(_) | Literal::Text(_)) => {
                let bytes = match given {
                    Literal::Integer(n) => u64::try_from(*n).ok()?,
                    other => parse_size(&other.to_string())?,
                };
                (parse_size(low)? <= bytes && bytes <= parse_size(high)?)
                    .then_some(Literal::Integer(i64::try_from(bytes).ok()?))
            }
            (Self::Duration(low, high), Literal::Text(text)) => {
                let duration = parse_duration(text)?;
                (parse_duration(low)? <= duration && duration <= parse_duration(high)?).then_some(given.clone())
            }
            (Self::Share(low, high), Literal::Text(text)) => {
                let share = Share::parse(text)?;
                (Share::parse(low)? <= share && share <= Share::parse(high)?).then_some(given.clone())
            }
            (Self::Text, Literal::Text(text)) => Some(Literal::Text(text.trim().to_owned())),
            (Self::Path, Literal::Text(text)) => {
                Some(Literal::Text(if text.trim().is_empty() { String::new() } else { text.clone() }))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Word(words) => {
                for (position, word) in words.iter().enumerate() {
                    let before = match position {
                        0 => "",
                        _ if position + 1 == words.len() => " or ",
                        _ => ", ",
                    };
                    write!(f, "{before}'{word}'")?;
                }
                Ok(())
            }
            Self::Integer(low, high) => write!(f, "an integer from {low} to {high}"),
            Self::Size(low, high) => write!(f, "a size from {low} to {high}, as bytes or like \"{low}\""),
            Self::Duration(low, high) => write!(f, "a duration from {low} to {high}, in ms, s, m or h"),
            Self::Share(low, high) => write!(f, "a share from {low} to {high}"),
            Self::Text => f.write_str("a text"),
            Self::Path => f.write_str("a path"),
        }
    }
}

/// A field's type, read from an accepted literal and shown as one.
trait Stored: Sized {
    fn load(accepted: &Literal) -> Option<Self>;
    fn show(&self) -> Literal;
}

impl Stored for bool {
    fn load(accepted: &Literal) -> Option<Self> {
        if let Literal::Bool(value) = accepted { Some(*value) } else { None }
    }
    fn show(&self) -> Literal {
        Literal::Bool(*self)
    }
}

macro_rules! stored_integers {
    ($($type:ty)+) => {$(
        impl Stored for $type {
            fn load(accepted: &Literal) -> Option<Self> {
                if let Literal::Integer(n) = accepted { Self::try_from(*n).ok() } else { None }
            }
            fn show(&self) -> Literal {
                Literal::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
            }
        }
    )+};
}
stored_integers!(usize i32 u64);

impl Stored for Duration {
    fn load(accepted: &Literal) -> Option<Self> {
        if let Literal::Text(text) = accepted { parse_duration(text) } else { None }
    }
    fn show(&self) -> Literal {
        Literal::Text(format_duration(*self))
    }
}

impl Stored for Share {
    fn load(accepted: &Literal) -> Option<Self> {
        if let Literal::Text(text) = accepted { Self::parse(text) } else { None }
    }
    fn show(&self) -> Literal {
        Literal::Text(self.to_string())
    }
}

impl Stored for Option<String> {
    fn load(accepted: &Literal) -> Option<Self> {
        let Literal::Text(text) = accepted else { return None };
        Some((!text.is_empty()).then(|| text.clone()))
    }
    fn show(&self) -> Literal {
        Literal::Text(self.clone().unwrap_or_default())
    }
}

impl Stored for Option<PathBuf> {
    fn load(accepted: &Literal) -> Option<Self> {
        <Option<String> as Stored>::load(accepted).map(|text| text.map(PathBuf::from))
    }
    fn show(&self) -> Literal {
        Literal::Text(self.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default())
    }
}

macro_rules! words {
    ($type:ty: $($word:literal = $variant:ident),+) => {
        impl $type {
            const WORDS: &'static [&'static str] = &[$($word),+];
            /// The word that stands for it in a policy.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
        impl Stored for $type {
            fn load(accepted: &Literal) -> Option<Self> {
                let Literal::Text(text) = accepted else { return None };
                match text.as_str() { $($word => Some(Self::$variant),)+ _ => None }
            }
            fn show(&self) -> Literal {
                Literal::Text(self.as_str().to_owned())
            }
        }
    };
}
words!(OnRecorderError: "abort" = Abort, "disable" = Disable);
words!(Globals: "referenced" = Referenced, "all" = All, "off" = Off);
words!(OnFull: "block" = Block, "drop" = Drop);
words!(RecordProcesses: "auto" = Auto, "always" = Always, "never" = Never);
words!(ControlSocket: "auto" = Auto, "always" = Always, "never" = Never);
words!(RingStorage: "off" = Off, "memory" = Memory, "files" = Files);
words!(TriggerSignal: "none" = None, "SIGUSR1" = Usr1, "SIGUSR2" = Usr2);
words!(SamplingMode: "off" = Off, "windows" = Windows, "entries" = Entries, "budget" = Budget);
words!(OnReached: "stop" = Stop, "rotate" = Rotate);

/// One setting: its name, what it takes, and where it lives in [`RecorderPolicy`].
pub struct Key {
    /// `section.name`.
    pub path: &'static str,
    rule: Rule,
    set: fn(&mut RecorderPolicy, &Literal) -> Option<()>,
    get: fn(&RecorderPolicy) -> Literal,
}

impl Key {
    /// The section, e.g. `values`.
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(section, _)| section)
    }

    /// The name within its section, e.g. `max_depth`.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The name used in messages: classic keys have been known without their section for long.
    pub fn label(&self) -> &'static str {
        if self.section() == CLASSIC { self.name() } else { self.path }
    }

    /// What the key takes, for messages and documentation.
    pub fn expected(&self) -> String {
        self.rule.to_string()
    }

    /// Stores a value; false, and nothing changed, if the key does not take it.
    #[must_use]
    pub fn set(&self, policy: &mut RecorderPolicy, given: &Literal) -> bool {
        self.rule.accept(given).and_then(|accepted| (self.set)(policy, &accepted)).is_some()
    }

    /// The value in `policy`; a key that is not set shows as an empty text, a size as bytes.
    pub fn get(&self, policy: &RecorderPolicy) -> Literal {
        (self.get)(policy)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
    }
}

/// The section that may be left out: `require_trace` is `recorder.require_trace`.
const CLASSIC: &str = "recorder";

macro_rules! keys {
    ($($section:ident.$field:ident: $rule:expr;)+) => {
        /// Every key, by section.
        pub static KEYS: &[Key] = &[$(Key {
            path: concat!(stringify!($section), ".", stringify!($field)),
            rule: $rule,
            set: |policy, accepted| {
                policy.$section.$field = Stored::load(accepted)?;
                Some(())
            },
            get: |policy| policy.$section.$field.show(),
        },)+];
    };
}

keys! {
    recorder.on_recorder_error: Rule::Word(OnRecorderError::WORDS);
    recorder.require_trace: Rule::Flag;
    recorder.keep_partial_trace: Rule::Flag;
    recorder.log_level: Rule::Text;
    recorder.log_file: Rule::Path;
    recorder.json_errors: Rule::Flag;
    recorder.module_name_from_globals: Rule::Flag;
    recorder.propagate_script_exit: Rule::Flag;
    io_capture.line_proxies: Rule::Flag;
    io_capture.fd_fallback: Rule::Flag;
    values.globals: Rule::Word(Globals::WORDS);
    values.max_depth: Rule::Integer(1, 20);
    values.max_items: Rule::Integer(1, 100_000);
    values.max_string: Rule::Integer(1, 1_000_000);
    values.max_bytes_per_step: Rule::Size("1KiB", "16MiB");
    values.max_output_chunk: Rule::Size("0B", "1GiB");
    values.max_output_total: Rule::Size("0B", "1024GiB");
    events.lines: Rule::Flag;
    events.calls: Rule::Flag;
    events.returns: Rule::Flag;
    events.exceptions: Rule::Flag;
    pipeline.queue_bytes: Rule::Size("1MiB", "1GiB");
    pipeline.batch_bytes: Rule::Size("8KiB", "16MiB");
    pipeline.on_full: Rule::Word(OnFull::WORDS);
    pipeline.compression_level: Rule::Integer(-7, 19);
    pipeline.compression_threads: Rule::Integer(0, 64);
    pipeline.segment_bytes: Rule::Size("64KiB", "64MiB");
    durability.flush_interval: Rule::Duration("10ms", "1h");
    durability.finish_on_signals: Rule::Flag;
    limits.max_bytes: Rule::Size("0B", "1024GiB");
    limits.max_steps: Rule::Integer(0, 1_000_000_000_000);
    limits.max_duration: Rule::Duration("0s", "8760h");
    limits.min_free_disk: Rule::Size("0B", "1024GiB");
    limits.on_reached: Rule::Word(OnReached::WORDS);
    sampling.mode: Rule::Word(SamplingMode::WORDS);
    sampling.seed: Rule::Integer(0, 1 << 53);
    sampling.on: Rule::Duration("1ms", "1h");
    sampling.every: Rule::Duration("10ms", "24h");
    sampling.jitter: Rule::Share("0%", "100%");
    sampling.entries: Rule::Text;
    sampling.rate: Rule::Share("0%", "100%");
    sampling.budget: Rule::Share("0.1%", "100%");
    processes.record: Rule::Word(RecordProcesses::WORDS);
    ring.storage: Rule::Word(RingStorage::WORDS);
    ring.seconds: Rule::Integer(1, 86_400);
    ring.max_bytes: Rule::Size("256KiB", "16GiB");
    ring.max_steps: Rule::Integer(0, 1_000_000_000_000);
    ring.keep_at_exit: Rule::Flag;
    triggers.signal: Rule::Word(TriggerSignal::WORDS);
    triggers.uncaught_exception: Rule::Flag;
    triggers.exceptions: Rule::Text;
    triggers.slow_request: Rule::Duration("0s", "24h");
    triggers.server_errors: Rule::Flag;
    triggers.min_interval: Rule::Duration("0s", "24h");
    triggers.max_dumps: Rule::Integer(0, 1_000_000_000);
    output.control: Rule::Word(ControlSocket::WORDS);
}

/// The key of this name; a name without a section belongs to `[recorder]`.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == name || (key.section() == CLASSIC && key.name() == name))
}

/// Whether a section of this name exists.
pub fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.section() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_accepted_by_its_own_key_and_changes_nothing() {
        let default = RecorderPolicy::default();
        for key in KEYS {
            let mut policy = default.clone();
            assert!(key.set(&mut policy, &key.get(&default)), "{key:?}");
            assert_eq!(policy, default, "{key:?}");
        }
    }

    #[test]
    fn names_are_distinct_and_found() {
        for key in KEYS {
            assert_eq!(find(key.path).map(|found| found.path), Some(key.path));
            assert_eq!(KEYS.iter().filter(|other| other.path == key.path).count(), 1, "{key:?}");
        }
        assert_eq!(find("require_trace").map(|key| key.path), Some("recorder.require_trace"));
        assert!(find("max_depth").is_none() && find("recorder").is_none() && find("").is_none());
    }

    #[test]
    fn values_are_judged_by_type_and_range() {
        let text = |text: &str| Literal::Text(text.into());
        for (key, given, accepted) in [
            ("recorder.on_recorder_error", text(" Disable "), true),
            ("recorder.on_recorder_error", text("zz"), false),
            ("recorder.on_recorder_error", text(""), false),
            ("recorder.require_trace", Literal::Bool(true), true),
            ("recorder.require_trace", Literal::Integer(1), false),
            ("recorder.require_trace", text("true"), false),
            ("values.max_depth", Literal::Integer(20), true),
            ("values.max_depth", Literal::Integer(21), false),
            ("values.max_depth", Literal::Integer(0), false),
            ("values.max_depth", text("8"), false),
            ("pipeline.queue_bytes", text("64MiB"), true),
            ("pipeline.queue_bytes", Literal::Integer(1 << 20), true),
            ("pipeline.queue_bytes", Literal::Integer(-1), false),
            ("pipeline.queue_bytes", Literal::Bool(true), false),
            ("pipeline.compression_level", Literal::Integer(-7), true),
            ("durability.flush_interval", text("250ms"), true),
            ("durability.flush_interval", text("1ms"), false),
            ("durability.flush_interval", Literal::Integer(1), false),
            ("values.globals", Literal::Unusable("[1]".into()), false),
        ] {
            let mut policy = RecorderPolicy::default();
            let key = find(key).unwrap();
            assert_eq!(key.set(&mut policy, &given), accepted, "{key:?} {given:?}");
            if !accepted {
                assert_eq!(policy, RecorderPolicy::default(), "a refused value changes nothing");
            }
        }
    }

    #[test]
    fn an_empty_text_clears_log_level_and_log_file() {
        let mut policy = RecorderPolicy::default();
        for (key, given, shown) in [
            ("log_level", " info ", "info"),
            ("log_level", "  ", ""),
            ("log_file", " a b.log ", " a b.log "),
            ("log_file", " ", ""),
        ] {
            let key = find(key).unwrap();
            assert!(key.set(&mut policy, &Literal::Text(given.into())));
            assert_eq!(key.get(&policy), Literal::Text(shown.into()));
        }
        assert_eq!((policy.recorder.log_level, policy.recorder.log_file), (None, None));
    }

    #[test]
    fn expectations_read_like_a_sentence() {
        for (key, expected) in [
            ("on_recorder_error", "'abort' or 'disable'"),
            ("values.globals", "'referenced', 'all' or 'off'"),
            ("values.max_depth", "an integer from 1 to 20"),
        ] {
            assert_eq!(find(key).unwrap().expected(), expected);
        }
    }

    #[test]
    fn the_guide_lists_every_key_with_its_default_and_what_it_takes() {
        let guide = include_str!("../../docs/policy.md");
        let default = RecorderPolicy::default();
        for key in KEYS {
            let section = guide.split(&format!("### [{}]\n", key.section())).nth(1).unwrap();
            let section = section.split("\n##").next().unwrap();
            let shown = match (key.rule, key.get(&default)) {
                (Rule::Size(..), Literal::Integer(bytes)) => {
                    format!("`{}`", super::super::units::format_size(bytes as u64))
                }
                (_, Literal::Text(text)) if text.is_empty() => "none".to_owned(),
                (_, value) => format!("`{value}`"),
            };
            let takes = match key.rule {
                Rule::Word(_) => format!("`{}`", key.expected()),
                _ => key.expected(),
            };
            let row = format!("| `{}` | {shown} | {takes} | ", key.name());
            assert!(section.contains(&row), "no row starts with {row}");
        }
    }
}
