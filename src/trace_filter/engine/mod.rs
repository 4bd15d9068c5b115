//! Resolves code objects against a compiled chain, each once.
//!
//! Invariants:
//! - What depends on the module or the file alone is matched once per module and file; a code object then costs its
//!   `obj:` patterns and a merge of three short lists.
//! - The caches are bounded: code made at run time under ever new names costs time, never memory.
//! - The recorder's own code is skipped whatever the rules say.

pub(in crate::trace_filter) mod patterns;
pub(in crate::trace_filter) mod program;
mod resolution;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;

pub use resolution::ScopeResolution;
pub(in crate::trace_filter) use resolution::ValuePolicy;

use super::TraceFilterConfig;
use super::explain::Explanation;
use super::model::{ExecDecision, RuleRef, Scope, ValueAction};
use program::{FileFacts, Program, RuleId, is_recorder_module};

/// Entries of one cache; when it is full it starts anew.
const CACHE_SIZE: usize = 8192;

/// Decides about code objects. One per session: it remembers which rules ever matched.
#[derive(Debug)]
pub struct TraceFilterEngine {
    program: Arc<Program>,
    /// Per rule of the chain.
    matched: Box<[AtomicBool]>,
    caches: Mutex<Caches>,
}

#[derive(Debug, Default)]
struct Caches {
    packages: FxHashMap<Box<str>, Vec<RuleId>>,
    files: FxHashMap<Box<str>, FileFacts>,
    policies: FxHashMap<PolicyKey, Arc<ValuePolicy>>,
}

/// What a policy depends on: the rules with value patterns, and the default.
type PolicyKey = (Box<[RuleId]>, ValueAction);

/// What the matching rules decide together, and which of them do.
#[derive(Debug, Clone, Copy)]
pub(in crate::trace_filter) struct Verdict {
    pub exec: ExecDecision,
    pub exec_by: Option<RuleId>,
    pub value_default: ValueAction,
    pub value_default_by: Option<RuleId>,
}

impl Verdict {
    /// The last rule (of ascending ones) that says something decides.
    pub fn new(program: &Program, rules: &[RuleId]) -> Self {
        let mut verdict = Self {
            exec: program.default_exec.0,
            exec_by: None,
            value_default: program.default_value.0,
            value_default_by: None,
        };
        for &id in rules {
            let rule = program.rule(id);
            if let Some(exec) = rule.exec {
                (verdict.exec, verdict.exec_by) = (exec, Some(id));
            }
            if let Some(action) = rule.value_default {
                (verdict.value_default, verdict.value_default_by) = (action, Some(id));
            }
        }
        verdict
    }
}

impl TraceFilterEngine {
    /// An engine for one session.
    pub fn new(config: TraceFilterConfig) -> Self {
        let program = config.program;
        let matched = (0..program.rule_count()).map(|_| AtomicBool::new(false)).collect();
        Self { program, matched, caches: Mutex::default() }
    }

    /// Whether code of one file and module may be decided about differently, by what it is called.
    pub fn goes_by_names(&self) -> bool {
        self.program.goes_by_names
    }

    /// Decides about one code object. Takes microseconds: meant to be called once per code object.
    pub fn resolve(&self, scope: &Scope<'_>) -> ScopeResolution {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rules = self.program.object_rules(scope);
        let mut recorder = false;
        if let Some(module) = scope.module {
            recorder = is_recorder_module(module);
            rules.extend(cached(&mut caches.packages, module, || self.program.package_rules(module)));
        }
        let file = cached(&mut caches.files, scope.path, || self.program.file_facts(scope.path));
        rules.extend(&file.rules);
        recorder |= file.recorder;
        rules.sort_unstable();
        rules.dedup();
        for &rule in &rules {
            let matched = &self.matched[rule as usize];
            // Reading first keeps the cache line shared between threads.
            if !matched.load(Ordering::Relaxed) {
                matched.store(true, Ordering::Relaxed);
            }
        }
        let verdict = Verdict::new(&self.program, &rules);
        let exec = if recorder { ExecDecision::Skip } else { verdict.exec };
        rules.retain(|&rule| !self.program.rule(rule).patterns.is_empty());
        let policy = self.policy(&mut caches.policies, rules, verdict.value_default);
        drop(caches);
        let return_action = policy.return_action(scope.module, scope.qualname);
        ScopeResolution::new(policy, exec, return_action)
    }

    fn policy(
        &self,
        policies: &mut FxHashMap<PolicyKey, Arc<ValuePolicy>>,
        rules: Vec<RuleId>,
        default: ValueAction,
    ) -> Arc<ValuePolicy> {
        let key: PolicyKey = (rules.into_boxed_slice(), default);
        if let Some(policy) = policies.get(&key) {
            return policy.clone();
        }
        if policies.len() >= CACHE_SIZE {
            policies.clear();
        }
        let policy = Arc::new(ValuePolicy::new(self.program.clone(), &key.0, default));
        policies.insert(key, policy.clone());
        policy
    }

    /// The users' rules that matched no code object so far, in order: at the end of a session they are probably
    /// misspelt.
    pub fn unmatched_rules(&self) -> Vec<RuleRef> {
        let rules = self.matched.iter().zip(0..).filter(|(matched, _)| !matched.load(Ordering::Relaxed));
        rules.map(|(_, id)| id).filter(|&id| self.program.is_users(id)).map(|id| self.program.rule_ref(id)).collect()
    }

    /// Tells which rule of which file decides about a code object, and why. Does not count as a match.
    pub fn explain(&self, scope: &Scope<'_>) -> Explanation {
        let mut rules = self.program.object_rules(scope);
        let file = self.program.file_facts(scope.path);
        rules.extend(file.rules);
        rules.extend(scope.module.into_iter().flat_map(|module| self.program.package_rules(module)));
        rules.sort_unstable();
        rules.dedup();
        let recorder = file.recorder || scope.module.is_some_and(is_recorder_module);
        Explanation::new(&self.program, scope, &rules, recorder)
    }
}

/// What is known about a key, from the cache or by finding it out.
fn cached<'c, T>(cache: &'c mut FxHashMap<Box<str>, T>, key: &str, find: impl FnOnce() -> T) -> &'c T {
    if !cache.contains_key(key) {
        if cache.len() >= CACHE_SIZE {
            cache.clear();
        }
        cache.insert(key.into(), find());
    }
    &cache[key]
}
