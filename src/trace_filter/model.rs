//! What a filter file says, as plain data.
//!
//! Invariants:
//! - Nothing here reads files, parses text or matches names: the loader fills these types, the engine compiles them.
//! - `inherit` is `None`: a value that says nothing, so that the rules before it go on deciding.
//! - Every rule and pattern knows the line it was written on; errors, explanations and reports name it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::selector::{ScopeSelector, ValueSelector};

/// Whether the code of a scope is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecDecision {
    /// Calls, steps and values are recorded.
    Trace,
    /// Nothing of it is recorded; what it calls may still be.
    Skip,
}

impl ExecDecision {
    /// The word used in filter files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Skip => "skip",
        }
    }
}

impl fmt::Display for ExecDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens to one value before it leaves the interpreter thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueAction {
    /// Recorded as it is.
    Allow,
    /// Recorded as `<redacted>`: that it exists is visible, what it is is not.
    Redact,
    /// As [`Self::Redact`], but a module, a function or a class is shown: what it is called is all there is to see of it,
    /// and `import secrets` gives nothing away. What the built-in list of words decides about variables.
    RedactData,
    /// Not recorded at all (a dropped return value says `<dropped>`).
    Drop,
}

impl ValueAction {
    /// The word used in filter files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Redact | Self::RedactData => "redact",
            Self::Drop => "drop",
        }
    }
}

impl fmt::Display for ValueAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a value was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ValueKind {
    /// A local variable, closure cells included.
    Local = 0,
    /// A variable of the module.
    Global = 1,
    /// An argument at the moment of the call.
    Argument = 2,
    /// What a function returns or yields; the name is the function's.
    Return = 3,
    /// An attribute of an object or a key of a dict.
    Attribute = 4,
}

impl ValueKind {
    /// Every kind, in the order of the discriminants (so `kind as usize` indexes arrays of this length).
    pub const ALL: [Self; 5] = [Self::Local, Self::Global, Self::Argument, Self::Return, Self::Attribute];

    /// The word used in selectors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Global => "global",
            Self::Argument => "arg",
            Self::Return => "ret",
            Self::Attribute => "attr",
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A stream whose traffic can be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IoStream {
    /// `sys.stdout`.
    Stdout,
    /// `sys.stderr`.
    Stderr,
    /// `sys.stdin`.
    Stdin,
    /// Files the program opens.
    Files,
}

/// What filters say about input and output; `None` means that no filter of the chain says anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IoConfig {
    /// Whether streams are recorded at all.
    pub capture: Option<bool>,
    /// Which ones, each at most once, in the order written.
    pub streams: Option<Vec<IoStream>>,
}

/// `[meta]`: what the filter calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterMeta {
    /// Never empty.
    pub name: String,
    /// At least 1.
    pub version: u32,
    /// Free text.
    pub description: Option<String>,
    /// Free texts.
    pub labels: Vec<String>,
}

/// Who wrote a filter: only what a user wrote is reported when it has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FilterOrigin {
    /// Comes with the recorder.
    Builtin,
    /// A file, or text given by a caller.
    User,
}

/// The directory that `file:` patterns of a filter are relative to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProjectRoot {
    /// Absolute, as the user wrote it.
    pub path: PathBuf,
    /// The same directory with symlinks resolved, where that differs.
    pub canonical: Option<PathBuf>,
}

impl ProjectRoot {
    /// The root at `path`, which is made absolute; symlinks are resolved where the directory exists.
    pub fn new(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let canonical = path.canonicalize().ok().filter(|canonical| *canonical != path);
        Self { path, canonical }
    }

    /// Both spellings, the user's first.
    pub fn spellings(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.path.as_path()).chain(self.canonical.as_deref())
    }
}

/// One filter of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterFile {
    /// The path as shown to people and in metadata, e.g. `<inline:builtin-default>`.
    pub label: String,
    /// Who wrote it.
    pub origin: FilterOrigin,
    /// Base of its `file:` patterns.
    pub root: ProjectRoot,
    /// SHA-256 of the content, lower-case hex.
    pub sha256: String,
    /// `[meta]`.
    pub meta: FilterMeta,
    /// `[io]`.
    pub io: IoConfig,
    /// `scope.default_exec`; `None` is `inherit`.
    pub default_exec: Option<ExecDecision>,
    /// `scope.default_value_action`; `None` is `inherit`.
    pub default_value_action: Option<ValueAction>,
    /// Line of the `[scope]` header.
    pub scope_line: usize,
    /// `[[scope.rules]]`, in order.
    pub rules: Vec<ScopeRule>,
}

/// One `[[scope.rules]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeRule {
    /// Which code it is about.
    pub selector: ScopeSelector,
    /// `None` is `inherit`.
    pub exec: Option<ExecDecision>,
    /// `None` is `inherit`.
    pub value_default: Option<ValueAction>,
    /// Why, in the author's words.
    pub reason: Option<String>,
    /// The first that matches a name decides.
    pub patterns: Vec<ValuePattern>,
    /// Line of the selector, 1-based.
    pub line: usize,
}

/// One `[[scope.rules.value_patterns]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuePattern {
    /// Which names it is about.
    pub selector: ValueSelector,
    /// What happens to their values.
    pub action: ValueAction,
    /// Why, in the author's words.
    pub reason: Option<String>,
    /// Line of the selector, 1-based.
    pub line: usize,
}

/// One rule, as reports name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleRef {
    /// Label of the filter.
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// `n` of `scope.rules[n]`, 0-based.
    pub rule: usize,
    /// The selector as written.
    pub selector: String,
    /// The author's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} scope.rules[{}] `{}`", self.file, self.line, self.rule, self.selector)?;
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// A code object, as selectors see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scope<'a> {
    /// Name of the module, e.g. `my_app.core`; `None` where it is unknown: then no `pkg:` rule matches.
    pub module: Option<&'a str>,
    /// Absolute path of the source, or `<frozen …>`.
    pub path: &'a str,
    /// `co_qualname`; the code of a module itself is `<module>` or `<name>`.
    pub qualname: &'a str,
}
