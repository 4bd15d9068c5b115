//! The process-wide policy: who said what, and what it amounts to.
//!
//! Invariants:
//! - Rank, lowest first: built-in default, `CODETRACER_POLICY`, single variables, API and command line.
//! - A change happens whole or not at all: a bad value or a log file that cannot be opened leaves everything as it was.
//! - Reading the active policy takes no lock, so it is safe anywhere, after a fork too.

use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;

use crate::errors::RecorderResult;
use crate::logging;

pub mod env;
pub mod ffi;
pub mod file;
pub mod flight;
pub mod keys;
mod layer;
pub mod model;
pub mod presets;
pub mod report;
pub mod suggest;
pub mod units;

pub use layer::{Layer, Origin, Resolved, resolve};
pub use model::RecorderPolicy;

use keys::{KEYS, Key, Literal};

/// What each source said, and the result.
#[derive(Debug, Clone, Default)]
struct Sources {
    policy: Layer,
    variables: Layer,
    api: Layer,
    resolved: Resolved,
}

/// How the environment ranks against what the API said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvironmentRank {
    /// Below it, as documented: a session that starts reads the environment this way.
    BelowApi,
    /// Above it: somebody asked for the environment just now, and the latest word counts.
    LatestWord,
}

impl Sources {
    fn with_api(&self, newer: Layer) -> RecorderResult<Self> {
        let mut next = self.clone();
        next.api.absorb(newer);
        next.resolved()
    }

    fn with_environment(&self, lookup: env::Lookup<'_>, rank: EnvironmentRank) -> RecorderResult<Self> {
        let mut next = Self {
            policy: env::read_policy(lookup)?,
            variables: env::read_variables(lookup)?,
            api: self.api.clone(),
            resolved: Resolved::default(),
        };
        if rank == EnvironmentRank::LatestWord {
            next.api.yield_to(&[&next.policy, &next.variables]);
        }
        next.resolved()
    }

    fn resolved(mut self) -> RecorderResult<Self> {
        self.resolved = resolve(&[&self.policy, &self.variables, &self.api])?;
        Ok(self)
    }
}

static ACTIVE: LazyLock<ArcSwap<Sources>> = LazyLock::new(ArcSwap::default);

/// The policy in force.
pub fn active() -> Arc<RecorderPolicy> {
    Arc::clone(&ACTIVE.load().resolved.policy)
}

/// One key of the policy in force.
#[derive(Debug, Clone)]
pub struct Effective {
    pub key: &'static Key,
    pub value: Literal,
    pub origin: Origin,
}

/// Every key with its value and where that was said.
pub fn origins() -> Vec<Effective> {
    let resolved = ACTIVE.load().resolved.clone();
    KEYS.iter().map(|key| Effective { key, value: key.get(&resolved.policy), origin: resolved.origin(key) }).collect()
}

/// Adds settings made by a program or a command line; they outrank the environment.
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE` (contradicting values) or `ERR_IO` (the log file cannot be opened); nothing changes.
pub fn configure(newer: Layer) -> RecorderResult<()> {
    change(|sources| sources.with_api(newer.clone()))
}

/// Reads the environment anew.
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE` or `ERR_IO`; nothing changes.
pub fn configure_from_env(lookup: env::Lookup<'_>, rank: EnvironmentRank) -> RecorderResult<()> {
    change(|sources| sources.with_environment(lookup, rank))
}

/// Replaces the sources by what `step` makes of them, again if somebody else was faster.
fn change(step: impl Fn(&Sources) -> RecorderResult<Sources>) -> RecorderResult<()> {
    loop {
        let before = ACTIVE.load_full();
        let after = Arc::new(step(&before)?);
        logging::init_logging(&after.resolved.policy)?;
        let found = ACTIVE.compare_and_swap(&before, after);
        if Arc::ptr_eq(&found, &before) {
            return Ok(());
        }
    }
}

/// Held by tests that change the policy or the log of the process.
#[cfg(test)]
pub(crate) static TEST_LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn api(name: &str, value: Literal) -> Layer {
        let mut layer = Layer::default();
        layer.insert(name, value, Origin::Api).unwrap();
        layer
    }

    fn origin(sources: &Sources, name: &str) -> Origin {
        sources.resolved.origin(keys::find(name).unwrap())
    }

    fn environment(name: &str) -> Option<OsString> {
        match name {
            "CODETRACER_POLICY" => Some("require_trace=true;json_errors=true;keep_partial_trace=true".into()),
            "CODETRACER_JSON_ERRORS" => Some("0".into()),
            "CODETRACER_KEEP_PARTIAL_TRACE" => Some("1".into()),
            _ => None,
        }
    }

    #[test]
    fn default_policy_variables_and_api_rank_in_this_order() {
        let sources = Sources::default()
            .with_api(api("keep_partial_trace", Literal::Bool(false)))
            .and_then(|sources| sources.with_environment(&environment, EnvironmentRank::BelowApi))
            .unwrap();
        let recorder = &sources.resolved.policy.recorder;
        assert!(recorder.require_trace && !recorder.json_errors && !recorder.keep_partial_trace);
        assert_eq!(origin(&sources, "require_trace"), Origin::Inline);
        assert_eq!(origin(&sources, "json_errors"), Origin::Variable("CODETRACER_JSON_ERRORS"));
        assert_eq!(origin(&sources, "keep_partial_trace"), Origin::Api);
        assert_eq!(origin(&sources, "log_level"), Origin::Default);
    }

    #[test]
    fn asking_for_the_environment_outranks_what_the_api_said_before_but_only_where_it_speaks() {
        let sources = Sources::default()
            .with_api(api("keep_partial_trace", Literal::Bool(false)))
            .and_then(|sources| sources.with_api(api("values.max_depth", Literal::Integer(3))))
            .and_then(|sources| sources.with_environment(&environment, EnvironmentRank::LatestWord))
            .unwrap();
        assert!(sources.resolved.policy.recorder.keep_partial_trace);
        assert_eq!(sources.resolved.policy.values.max_depth, 3);
        let later = sources.with_api(api("keep_partial_trace", Literal::Bool(false))).unwrap();
        assert!(!later.resolved.policy.recorder.keep_partial_trace);
    }

    #[test]
    fn a_variable_that_is_gone_says_nothing_any_more() {
        let nothing = |_: &str| None;
        let sources = Sources::default()
            .with_environment(&environment, EnvironmentRank::BelowApi)
            .and_then(|sources| sources.with_environment(&nothing, EnvironmentRank::BelowApi))
            .unwrap();
        assert_eq!(*sources.resolved.policy, RecorderPolicy::default());
    }
}
