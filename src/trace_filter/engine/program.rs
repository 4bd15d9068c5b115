//! A chain, compiled: one set of patterns per domain, and the order of everything.
//!
//! Invariants:
//! - Rules have one number over the whole chain; a higher number is a later rule, which overrides.
//! - Value patterns are numbered per kind so that a lower number takes precedence: the latest rule's come first, within
//!   a rule the first written. So the pattern that decides is the lowest number that matches and is active.

use crate::errors::{RecorderError, RecorderResult};
use crate::trace_filter::document::located;
use crate::trace_filter::engine::patterns::{BadPattern, PatternId, PatternSet};
use crate::trace_filter::model::{
    ExecDecision, FilterFile, FilterOrigin, RuleRef, Scope, ScopeRule, ValueAction, ValueKind, ValuePattern,
};
use crate::trace_filter::paths::{KnownPlaces, RuntimePaths, below, spellings, unify};
use crate::trace_filter::selector::{FileBase, Matcher, ScopeKind};

/// Number of a rule over the whole chain.
pub(in crate::trace_filter) type RuleId = u32;

/// The Python package of the recorder, for interpreters that do not tell where it lies.
const RECORDER_PACKAGE: &str = "codetracer_python_recorder";

/// Where a value pattern stands.
#[derive(Debug, Clone, Copy)]
pub(in crate::trace_filter) struct PatternPlace {
    pub rule: RuleId,
    /// Index in the rule's patterns.
    pub index: usize,
    pub action: ValueAction,
}

/// `file:` patterns of the filters that share a project root.
#[derive(Debug)]
struct ProjectSet {
    /// Spellings of the root.
    root: Vec<String>,
    patterns: PatternSet,
}

/// What a path tells about the code in it.
#[derive(Debug, Default)]
pub(in crate::trace_filter) struct FileFacts {
    /// Rules whose `file:` selector matches; unsorted.
    pub rules: Vec<RuleId>,
    /// Whether it is a file of the recorder, whose code no filter makes visible.
    pub recorder: bool,
}

#[derive(Debug)]
pub(in crate::trace_filter) struct Program {
    pub files: Vec<FilterFile>,
    /// Rule → index of its file, index of the rule in it.
    rules: Vec<(usize, usize)>,
    places: KnownPlaces,
    packages: PatternSet,
    objects: PatternSet,
    stdlib: PatternSet,
    site_packages: PatternSet,
    projects: Vec<ProjectSet>,
    values: [PatternSet; 5],
    value_places: [Vec<PatternPlace>; 5],
    /// The default that applies, and the file that says so.
    pub default_exec: (ExecDecision, Option<usize>),
    pub default_value: (ValueAction, Option<usize>),
    /// Whether what code is called may decide if it is recorded, or tells that a user's rule matches.
    pub goes_by_names: bool,
}

impl Program {
    pub fn new(files: Vec<FilterFile>, runtime: &RuntimePaths) -> RecorderResult<Self> {
        let rules: Vec<(usize, usize)> = files
            .iter()
            .enumerate()
            .flat_map(|(file, filter)| (0..filter.rules.len()).map(move |rule| (file, rule)))
            .collect();
        let scopes = |kind: ScopeKind| {
            let of_kind = rules.iter().zip(0..).map(|(&(file, rule), id)| (id, &files[file].rules[rule].selector));
            of_kind.filter(move |(_, selector)| selector.kind == kind).map(|(id, selector)| (id, &selector.matcher))
        };
        let mut values: [Numbered<'_>; 5] = Default::default();
        let mut value_places: [Vec<PatternPlace>; 5] = Default::default();
        for (id, &(file, rule)) in rules.iter().enumerate().rev() {
            for (index, pattern) in files[file].rules[rule].patterns.iter().enumerate() {
                let kind = pattern.selector.kind as usize;
                values[kind].push((value_places[kind].len() as PatternId, &pattern.selector.matcher));
                value_places[kind].push(PatternPlace { rule: id as RuleId, index, action: pattern.action });
            }
        }
        let [locals, globals, arguments, returns, attributes] = values;
        let value_set = |kind: ValueKind, patterns: Numbered<'_>| {
            PatternSet::new(patterns, false).map_err(|bad| {
                let place = value_places[kind as usize][bad.id as usize];
                refuse(&files, rules[place.rule as usize], Some(place.index), &bad.why)
            })
        };
        let values = [
            value_set(ValueKind::Local, locals)?,
            value_set(ValueKind::Global, globals)?,
            value_set(ValueKind::Argument, arguments)?,
            value_set(ValueKind::Return, returns)?,
            value_set(ValueKind::Attribute, attributes)?,
        ];
        let bad_rule = |bad: BadPattern| refuse(&files, rules[bad.id as usize], None, &bad.why);
        let file_set = |base| PatternSet::new(scopes(ScopeKind::File(base)), true).map_err(bad_rule);
        let packages = PatternSet::new(scopes(ScopeKind::Package), false).map_err(bad_rule)?;
        let objects = PatternSet::new(scopes(ScopeKind::Object), false).map_err(bad_rule)?;
        let (stdlib, site_packages) = (file_set(FileBase::Stdlib)?, file_set(FileBase::SitePackages)?);
        let projects = project_sets(&files, &rules).map_err(bad_rule)?;
        let default_exec =
            files.iter().enumerate().filter_map(|(at, file)| Some((file.default_exec?, Some(at)))).next_back();
        let default_value =
            files.iter().enumerate().filter_map(|(at, file)| Some((file.default_value_action?, Some(at)))).next_back();
        let goes_by_names = rules.iter().any(|&(file, rule)| {
            let (file, rule) = (&files[file], &files[file].rules[rule]);
            rule.selector.kind == ScopeKind::Object && (rule.exec.is_some() || file.origin == FilterOrigin::User)
        });
        Ok(Self {
            goes_by_names,
            default_exec: default_exec.unwrap_or((ExecDecision::Trace, None)),
            default_value: default_value.unwrap_or((ValueAction::Allow, None)),
            places: KnownPlaces::new(runtime),
            rules,
            packages,
            objects,
            stdlib,
            site_packages,
            projects,
            values,
            value_places,
            files,
        })
    }

    /// How many rules the chain has.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    pub fn rule(&self, id: RuleId) -> &ScopeRule {
        let (file, rule) = self.rules[id as usize];
        &self.files[file].rules[rule]
    }

    pub fn rule_ref(&self, id: RuleId) -> RuleRef {
        let (file, index) = self.rules[id as usize];
        let rule = self.rule(id);
        RuleRef {
            file: self.files[file].label.clone(),
            line: rule.line,
            rule: index,
            selector: rule.selector.text.clone(),
            reason: rule.reason.clone(),
        }
    }

    /// Whether a user wrote the rule.
    pub fn is_users(&self, id: RuleId) -> bool {
        self.files[self.rules[id as usize].0].origin == FilterOrigin::User
    }

    pub fn pattern(&self, kind: ValueKind, id: PatternId) -> (PatternPlace, &ValuePattern) {
        let place = self.value_places[kind as usize][id as usize];
        (place, &self.rule(place.rule).patterns[place.index])
    }

    pub fn pattern_places(&self, kind: ValueKind) -> &[PatternPlace] {
        &self.value_places[kind as usize]
    }

    pub fn value_patterns(&self, kind: ValueKind) -> &PatternSet {
        &self.values[kind as usize]
    }

    /// Rules whose `pkg:` selector matches a module; unsorted.
    pub fn package_rules(&self, module: &str) -> Vec<RuleId> {
        let mut found = Vec::new();
        self.packages.matches(module, |rule| found.push(rule));
        found
    }

    /// What a path tells about the code in it.
    pub fn file_facts(&self, path: &str) -> FileFacts {
        let path = unify(path);
        let place = self.places.locate(&path);
        let mut found = Vec::new();
        if let Some(rest) = place.stdlib {
            self.stdlib.matches(rest, |rule| found.push(rule));
        }
        if let Some(rest) = place.site_packages {
            self.site_packages.matches(rest, |rule| found.push(rule));
        }
        for project in &self.projects {
            // Outside the project only patterns that start with a wildcard can match: `**/six.py`.
            let relative = project.root.iter().find_map(|root| below(&path, root)).unwrap_or(&path);
            project.patterns.matches(relative, |rule| found.push(rule));
        }
        FileFacts { rules: found, recorder: place.recorder }
    }

    /// Rules whose `obj:` selector matches; unsorted, possibly twice for the code of a module.
    pub fn object_rules(&self, scope: &Scope<'_>) -> Vec<RuleId> {
        let mut found = Vec::new();
        for_object_names(scope, |name| self.objects.matches(name, |rule| found.push(rule)));
        found
    }
}

/// Whether a module is the recorder's own.
pub(in crate::trace_filter) fn is_recorder_module(module: &str) -> bool {
    module.strip_prefix(RECORDER_PACKAGE).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The names by which `obj:` selectors know code: `module.qualname`; code of a module is both `module.<module>` and,
/// as traces show it, `<module name>`.
pub(in crate::trace_filter) fn for_object_names(scope: &Scope<'_>, mut each: impl FnMut(&str)) {
    let Some(module) = scope.module else { return each(scope.qualname) };
    let inner = scope.qualname.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    if inner.is_some_and(|inner| inner == module || inner == "module") {
        each(&format!("{module}.<module>"));
        each(&format!("<{module}>"));
    } else {
        each(&format!("{module}.{}", scope.qualname));
    }
}

/// Patterns on their way into a set.
type Numbered<'m> = Vec<(PatternId, &'m Matcher)>;

fn project_sets(files: &[FilterFile], rules: &[(usize, usize)]) -> Result<Vec<ProjectSet>, BadPattern> {
    let mut grouped: Vec<(Vec<String>, Numbered<'_>)> = Vec::new();
    for (&(file, rule), id) in rules.iter().zip(0..) {
        let selector = &files[file].rules[rule].selector;
        if selector.kind != ScopeKind::File(FileBase::Project) {
            continue;
        }
        let root = spellings(&files[file].root.path);
        match grouped.iter_mut().find(|(known, _)| *known == root) {
            Some((_, patterns)) => patterns.push((id, &selector.matcher)),
            None => grouped.push((root, vec![(id, &selector.matcher)])),
        }
    }
    grouped
        .into_iter()
        .map(|(root, patterns)| Ok(ProjectSet { root, patterns: PatternSet::new(patterns, true)? }))
        .collect()
}

/// The error about a selector that parses and does not compile.
fn refuse(files: &[FilterFile], (file, rule): (usize, usize), pattern: Option<usize>, why: &str) -> RecorderError {
    let filter = &files[file];
    let mut section = format!("scope.rules[{rule}]");
    let mut line = filter.rules[rule].line;
    if let Some(index) = pattern {
        section += &format!(".value_patterns[{index}]");
        line = filter.rules[rule].patterns[index].line;
    }
    located(&filter.label, line, &section, "selector", why)
}
