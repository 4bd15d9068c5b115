//! Says in words which rule of which file decides about a code object, and why.
//!
//! Invariant: an explanation is computed from the same compiled chain, by the same verdict and policy, as the decision.

use std::fmt;
use std::sync::Arc;

use super::engine::patterns::PatternId;
use super::engine::program::{Program, RuleId};
use super::engine::{ValuePolicy, Verdict};
use super::model::{ExecDecision, RuleRef, Scope, ValueAction, ValueKind};

/// What made a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decider {
    /// The last matching rule that says something.
    Rule(RuleRef),
    /// No rule does: the default of this filter.
    FileDefault {
        /// Label of the filter.
        file: String,
        /// Line of its `[scope]`, 1-based.
        line: usize,
    },
    /// No filter does.
    Nothing,
    /// The recorder's own code is never recorded.
    Recorder,
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => write!(f, "{rule}"),
            Self::FileDefault { file, line } => write!(f, "{file}:{line} the default, as no rule says otherwise"),
            Self::Nothing => f.write_str("no filter says otherwise"),
            Self::Recorder => f.write_str("the recorder never records itself"),
        }
    }
}

/// A value pattern that applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternRef {
    /// The selector as written.
    pub selector: String,
    /// What it does.
    pub action: ValueAction,
    /// Label of the filter.
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// `n` of `scope.rules[n]`.
    pub rule: usize,
    /// `n` of `value_patterns[n]`.
    pub index: usize,
    /// The author's reason.
    pub reason: Option<String>,
}

impl fmt::Display for PatternRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { selector, file, line, rule, index, .. } = self;
        write!(f, "{file}:{line} scope.rules[{rule}].value_patterns[{index}] `{selector}`")?;
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// Why one value is shown or hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueExplanation {
    /// Where the value is found.
    pub kind: ValueKind,
    /// Its name.
    pub name: String,
    /// What happens to it.
    pub action: ValueAction,
    /// The pattern that decides; `None`: the default does.
    pub pattern: Option<PatternRef>,
}

impl fmt::Display for ValueExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: {}, by ", self.kind, self.name, self.action)?;
        match &self.pattern {
            Some(pattern) => write!(f, "{pattern}"),
            None => f.write_str("the value default"),
        }
    }
}

/// Which rules decide about one code object; [`fmt::Display`] is the report for people.
#[derive(Debug, Clone)]
pub struct Explanation {
    title: String,
    /// Whether it is recorded.
    pub exec: ExecDecision,
    /// Who says so.
    pub exec_by: Decider,
    /// Matching rules that say something else about `exec` and are overridden, the latest first.
    pub overridden: Vec<(ExecDecision, RuleRef)>,
    /// What happens to values that no pattern names.
    pub value_default: ValueAction,
    /// Who says so.
    pub value_default_by: Decider,
    /// The value patterns that apply, in the order they are tried.
    pub patterns: Vec<PatternRef>,
    /// What happens to what the code returns.
    pub returned: ValueExplanation,
    program: Arc<Program>,
    policy: Arc<ValuePolicy>,
}

impl Explanation {
    pub(super) fn new(program: &Arc<Program>, scope: &Scope<'_>, rules: &[RuleId], recorder: bool) -> Self {
        let verdict = Verdict::new(program, rules);
        let decider = |rule: Option<RuleId>, default: Option<usize>| match (rule, default) {
            (Some(rule), _) => Decider::Rule(program.rule_ref(rule)),
            (None, Some(file)) => {
                let file = &program.files[file];
                Decider::FileDefault { file: file.label.clone(), line: file.scope_line }
            }
            (None, None) => Decider::Nothing,
        };
        let (exec, exec_by) = match recorder {
            true => (ExecDecision::Skip, Decider::Recorder),
            false => (verdict.exec, decider(verdict.exec_by, program.default_exec.1)),
        };
        let overridden = rules.iter().rev().filter_map(|&id| Some((program.rule(id).exec?, program.rule_ref(id))));
        let overridden = overridden.filter(|(other, _)| *other != exec).collect();
        let policy = Arc::new(ValuePolicy::new(program.clone(), rules, verdict.value_default));
        let mut patterns: Vec<(RuleId, usize, PatternRef)> = Vec::new();
        for kind in ValueKind::ALL {
            for id in policy.patterns(kind) {
                let place = program.pattern(kind, id).0;
                patterns.push((place.rule, place.index, pattern_ref(program, kind, id)));
            }
        }
        patterns.sort_by_key(|(rule, index, _)| (std::cmp::Reverse(*rule), *index));
        let returned = policy.return_pattern(scope.module, scope.qualname);
        let returned = ValueExplanation {
            kind: ValueKind::Return,
            name: scope.qualname.rsplit('.').next().unwrap_or(scope.qualname).to_owned(),
            action: policy.return_action(scope.module, scope.qualname),
            pattern: returned.map(|id| pattern_ref(program, ValueKind::Return, id)),
        };
        Self {
            title: format!("{}:{} in {}", scope.module.unwrap_or("(unknown module)"), scope.qualname, scope.path),
            exec,
            exec_by,
            overridden,
            value_default: verdict.value_default,
            value_default_by: decider(verdict.value_default_by, program.default_value.1),
            patterns: patterns.into_iter().map(|(_, _, pattern)| pattern).collect(),
            returned,
            program: program.clone(),
            policy,
        }
    }

    /// Why one value of this code is shown or hidden.
    pub fn value(&self, kind: ValueKind, name: &str) -> ValueExplanation {
        let pattern = self.policy.pattern(kind, name).map(|id| pattern_ref(&self.program, kind, id));
        let action = pattern.as_ref().map_or(self.policy.default_of(kind), |pattern| pattern.action);
        ValueExplanation { kind, name: name.to_owned(), action, pattern }
    }
}

fn pattern_ref(program: &Program, kind: ValueKind, id: PatternId) -> PatternRef {
    let (place, pattern) = program.pattern(kind, id);
    let rule = program.rule_ref(place.rule);
    PatternRef {
        selector: pattern.selector.text.clone(),
        action: place.action,
        file: rule.file,
        line: pattern.line,
        rule: rule.rule,
        index: place.index,
        // A pattern without a reason of its own is there for its rule's.
        reason: pattern.reason.clone().or(rule.reason),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        writeln!(f, "  exec: {}", self.exec)?;
        writeln!(f, "    by {}", self.exec_by)?;
        for (exec, rule) in &self.overridden {
            writeln!(f, "    overrides {exec} of {rule}")?;
        }
        if self.exec == ExecDecision::Skip {
            return f.write_str("  values: none are recorded");
        }
        writeln!(f, "  value default: {}", self.value_default)?;
        writeln!(f, "    by {}", self.value_default_by)?;
        writeln!(f, "  returned value: {}", self.returned.action)?;
        match &self.returned.pattern {
            Some(pattern) => writeln!(f, "    by {pattern}")?,
            None => writeln!(f, "    by the value default")?,
        }
        if self.patterns.is_empty() {
            return f.write_str("  value patterns: none apply");
        }
        f.write_str("  value patterns, the first that matches decides:")?;
        for (number, pattern) in self.patterns.iter().enumerate() {
            write!(f, "\n    {}. {} {pattern}", number + 1, pattern.action)?;
        }
        Ok(())
    }
}
