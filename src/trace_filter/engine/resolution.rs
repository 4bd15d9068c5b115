//! What the filters decided about one code object.
//!
//! Invariants:
//! - A resolution never changes, and a clone costs one reference count.
//! - All code objects that the same rules apply to share one [`ValuePolicy`].
//! - Asking for an action takes no lock, and allocates nothing where no glob or regex of a user is concerned.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::patterns::PatternId;
use super::program::{Program, RuleId};
use crate::trace_filter::model::{ExecDecision, ValueAction, ValueKind};

/// What happens to values, for all code that the same rules apply to.
#[derive(Debug)]
pub(in crate::trace_filter) struct ValuePolicy {
    program: Arc<Program>,
    pub default: ValueAction,
    /// Per kind, per pattern of the chain: whether its rule applies here. Empty where none of the kind does.
    active: [Box<[bool]>; 5],
    redacts_attributes: bool,
    /// Never given twice in a process: an address could be.
    identity: usize,
}

static NEXT_IDENTITY: AtomicUsize = AtomicUsize::new(1);

impl ValuePolicy {
    /// The policy under the rules given (ascending).
    pub fn new(program: Arc<Program>, rules: &[RuleId], default: ValueAction) -> Self {
        let active = ValueKind::ALL.map(|kind| {
            let places = program.pattern_places(kind).iter();
            let active: Box<[bool]> = places.map(|place| rules.binary_search(&place.rule).is_ok()).collect();
            if active.contains(&true) { active } else { Box::default() }
        });
        let attributes =
            program.pattern_places(ValueKind::Attribute).iter().zip(&active[ValueKind::Attribute as usize]);
        let redacts_attributes =
            attributes.into_iter().any(|(place, &active)| active && place.action != ValueAction::Allow);
        let identity = NEXT_IDENTITY.fetch_add(1, Ordering::Relaxed);
        Self { program, default, active, redacts_attributes, identity }
    }

    /// The pattern that decides about a name, if any does.
    pub fn pattern(&self, kind: ValueKind, name: &str) -> Option<PatternId> {
        let active = &self.active[kind as usize];
        if active.is_empty() {
            return None;
        }
        let mut first = None;
        self.program.value_patterns(kind).matches(name, |id| keep_first(&mut first, active, id));
        first
    }

    /// The pattern that decides about what a function returns, if any does. Patterns may name the function alone, with
    /// its classes, or with its module too; words are looked for in its own name only.
    pub fn return_pattern(&self, module: Option<&str>, qualname: &str) -> Option<PatternId> {
        let kind = ValueKind::Return;
        let active = &self.active[kind as usize];
        if active.is_empty() {
            return None;
        }
        let mut first = None;
        let mut keep = |id| keep_first(&mut first, active, id);
        let patterns = self.program.value_patterns(kind);
        patterns.matches(qualname.rsplit('.').next().unwrap_or(qualname), &mut keep);
        if patterns.looks_at_text() {
            patterns.matches_text(qualname, &mut keep);
            if let Some(module) = module {
                patterns.matches_text(&format!("{module}.{qualname}"), &mut keep);
            }
        }
        first
    }

    /// What happens to the values a function returns.
    pub fn return_action(&self, module: Option<&str>, qualname: &str) -> ValueAction {
        let pattern = self.return_pattern(module, qualname);
        pattern.map_or(self.default, |id| self.program.pattern_places(ValueKind::Return)[id as usize].action)
    }

    /// What a pattern decides about a name, if any does.
    fn by_name(&self, kind: ValueKind, name: &str) -> Option<ValueAction> {
        let place = &self.program.pattern_places(kind)[self.pattern(kind, name)? as usize];
        let is_variable = matches!(kind, ValueKind::Local | ValueKind::Global | ValueKind::Argument);
        let shows_code = is_variable && place.action == ValueAction::Redact && !self.program.is_users(place.rule);
        Some(if shows_code { ValueAction::RedactData } else { place.action })
    }

    /// The patterns that apply to a kind, in the order they are tried.
    pub fn patterns(&self, kind: ValueKind) -> impl Iterator<Item = PatternId> {
        self.active[kind as usize].iter().zip(0..).filter(|(active, _)| **active).map(|(_, id)| id)
    }

    /// The default of a kind. What lies inside a shown value is shown too unless a pattern names it.
    pub fn default_of(&self, kind: ValueKind) -> ValueAction {
        match kind {
            ValueKind::Attribute => ValueAction::Allow,
            _ => self.default,
        }
    }
}

/// Keeps the active pattern that takes precedence.
fn keep_first(first: &mut Option<PatternId>, active: &[bool], id: PatternId) {
    if active[id as usize] && first.is_none_or(|first| id < first) {
        *first = Some(id);
    }
}

/// What the filters decided about one code object. Cheap to clone; immutable.
#[derive(Debug, Clone)]
pub struct ScopeResolution {
    policy: Arc<ValuePolicy>,
    exec: ExecDecision,
    return_action: ValueAction,
}

impl ScopeResolution {
    pub(super) fn new(policy: Arc<ValuePolicy>, exec: ExecDecision, return_action: ValueAction) -> Self {
        Self { policy, exec, return_action }
    }

    /// Whether the code is recorded.
    pub fn exec(&self) -> ExecDecision {
        self.exec
    }

    /// What happens to the value called `name`, whatever it is.
    pub fn action(&self, kind: ValueKind, name: &str) -> ValueAction {
        match self.variable_action(kind, name) {
            ValueAction::RedactData => ValueAction::Redact,
            action => action,
        }
    }

    /// What happens to the variable called `name`: it may depend on whether it holds data ([`ValueAction::RedactData`]).
    pub fn variable_action(&self, kind: ValueKind, name: &str) -> ValueAction {
        self.policy.by_name(kind, name).unwrap_or_else(|| self.policy.default_of(kind))
    }

    /// What happens to a parameter when the locals of a step are recorded: a pattern for locals decides, then one for
    /// arguments, then the default. So what was hidden in the call does not come to light one line later. It may depend
    /// on whether the parameter holds data, as [`Self::variable_action`].
    pub fn parameter_action(&self, name: &str) -> ValueAction {
        let policy = &self.policy;
        let by_name = policy.by_name(ValueKind::Local, name).or_else(|| policy.by_name(ValueKind::Argument, name));
        by_name.unwrap_or(policy.default)
    }

    /// What happens to the values this code returns or yields, by the name of the function.
    pub fn return_action(&self) -> ValueAction {
        self.return_action
    }

    /// What happens to the value under a dict key: like an attribute of that name; keys need not be identifiers.
    pub fn dict_key_action(&self, key: &str) -> ValueAction {
        self.action(ValueKind::Attribute, key)
    }

    /// Names what decides about values, for the life of the process: equal numbers, equal answers. Never 0.
    #[inline]
    pub fn identity(&self) -> usize {
        self.policy.identity
    }

    /// `false` when no attribute and no dict key can ever be hidden, so that nobody needs to ask.
    pub fn redacts_attributes(&self) -> bool {
        self.policy.redacts_attributes
    }
}
