//! Trace filters: TOML files that decide what is recorded and what is hidden.
//!
//! ```text
//! loader ──► model ──► engine ──► ScopeResolution      (one per code object, kept in its extra slot)
//! files,     plain     rules      exec: trace │ skip
//! TOML       data      compiled   action(kind, name): allow │ redact │ drop
//! ```
//!
//! Invariants:
//! - A chain is checked and compiled when it is built; after that nothing about it can fail.
//! - Rules are evaluated in order over the whole chain, and the last that matches decides `exec` and `value_default`.
//! - Value patterns of all matching rules apply, the latest rule's first, so a rule that says nothing about a secret
//!   never uncovers it: a secret is shown only where a rule allows it by name.
//! - Nothing here depends on Python.

mod builtin;
mod document;
pub mod engine;
mod explain;
mod loader;
pub mod model;
mod paths;
pub mod selector;
mod suggest;
pub mod summary;
pub mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use builtin::Framework;
pub use engine::{ScopeResolution, TraceFilterEngine};
pub use explain::{Decider, Explanation, PatternRef, ValueExplanation};
pub use loader::{MAX_FILE, find_project_filter};
pub use model::{ExecDecision, IoConfig, IoStream, RuleRef, Scope, ValueAction, ValueKind};
pub use paths::RuntimePaths;
pub use summary::FilterSummary;

use crate::errors::RecorderResult;
use engine::program::Program;
use model::{FilterFile, FilterOrigin, ProjectRoot};

/// Whether the built-in filter takes a value of this name for a secret.
pub fn is_secret_name(name: &str) -> bool {
    words::SECRETS.matches(name)
}

/// A chain of filters, checked and compiled. Immutable; clones share everything.
#[derive(Debug, Clone)]
pub struct TraceFilterConfig {
    program: Arc<Program>,
}

impl TraceFilterConfig {
    /// The chain that applies where nobody asks for anything else, told about no directories: the standard library is
    /// known by the classic places only.
    ///
    /// # Errors
    /// None in practice: the filter is part of the recorder.
    pub fn builtin_default() -> RecorderResult<Self> {
        Self::builder().builtin_default(&RuntimePaths::default()).build()
    }

    /// Starts an empty chain.
    pub fn builder() -> TraceFilterConfigBuilder {
        TraceFilterConfigBuilder::default()
    }

    /// The filters as metadata lists them, in the order of the chain.
    pub fn summaries(&self) -> Vec<FilterSummary> {
        self.program.files.iter().map(FilterSummary::from).collect()
    }

    /// The filters themselves, in the order of the chain.
    pub fn filters(&self) -> &[FilterFile] {
        &self.program.files
    }

    /// What the chain says about streams: for each key the last filter that has it.
    pub fn io(&self) -> IoConfig {
        let mut merged = IoConfig::default();
        for io in self.program.files.iter().map(|file| &file.io) {
            merged.capture = io.capture.or(merged.capture);
            merged.streams = io.streams.clone().or(merged.streams);
        }
        merged
    }
}

/// One link of a chain that is being built.
#[derive(Debug, Clone)]
enum Link {
    Default,
    Framework(Framework),
    File(PathBuf),
    Inline { name: String, text: String, root: PathBuf },
}

/// Collects the filters of a chain, in order; see [`TraceFilterConfig::builder`].
#[derive(Debug, Clone, Default)]
pub struct TraceFilterConfigBuilder {
    links: Vec<Link>,
    runtime: RuntimePaths,
}

impl TraceFilterConfigBuilder {
    /// Adds the built-in default, which knows the interpreter by `paths`.
    #[must_use]
    pub fn builtin_default(mut self, paths: &RuntimePaths) -> Self {
        self.runtime = paths.clone();
        self.links.push(Link::Default);
        self
    }

    /// Adds the built-in filter of a test framework.
    #[must_use]
    pub fn framework(mut self, framework: Framework) -> Self {
        self.links.push(Link::Framework(framework));
        self
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.links.push(Link::File(path.into()));
        self
    }

    /// Adds a filter given as text, called `<inline:NAME>`; its `file:` patterns are relative to `root`.
    #[must_use]
    pub fn inline(mut self, name: &str, text: impl Into<String>, root: &Path) -> Self {
        self.links.push(Link::Inline { name: name.to_owned(), text: text.into(), root: root.to_path_buf() });
        self
    }

    /// Reads, checks and compiles the chain.
    ///
    /// # Errors
    /// `UsageError` `ERR_INVALID_POLICY_VALUE` naming file, line, rule and key, and what would be right;
    /// `EnvironmentError` `ERR_IO` for a file that cannot be read.
    pub fn build(self) -> RecorderResult<TraceFilterConfig> {
        let files: Vec<FilterFile> = self.links.into_iter().map(load).collect::<RecorderResult<_>>()?;
        check_inheritance(&files)?;
        Ok(TraceFilterConfig { program: Arc::new(Program::new(files, &self.runtime)?) })
    }
}

fn load(link: Link) -> RecorderResult<FilterFile> {
    match link {
        Link::Default => builtin::default_filter(),
        Link::Framework(framework) => builtin::framework_filter(framework),
        Link::File(path) => loader::load_file(&path),
        Link::Inline { name, text, root } => {
            loader::parse(&text, &format!("<inline:{name}>"), FilterOrigin::User, ProjectRoot::new(&root))
        }
    }
}

/// The first filter has nothing to inherit from.
fn check_inheritance(files: &[FilterFile]) -> RecorderResult<()> {
    let Some(first) = files.first() else { return Ok(()) };
    let (key, words) = match (first.default_exec, first.default_value_action) {
        (None, _) => ("default_exec", "`trace` or `skip`"),
        (_, None) => ("default_value_action", "`allow`, `redact` or `drop`"),
        _ => return Ok(()),
    };
    let what = format!("`inherit` needs an earlier filter in the chain; use {words}");
    Err(document::located(&first.label, first.scope_line, "scope", key, &what))
}
