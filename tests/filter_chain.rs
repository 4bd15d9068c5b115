//! Chains of filters against a reference that is too simple to be wrong: no sets, no caches, one rule after the other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says what is wrong by failing

// Helpers of tests may stop a test like the tests themselves.

use std::path::Path;

use codetracer_python_recorder::trace_filter::{
    ExecDecision, Scope, TraceFilterConfig, TraceFilterEngine, ValueAction, ValueKind,
};
use globset::GlobBuilder;
use proptest::prelude::*;
use regex::Regex;

const ROOT: &str = "/srv/app";

/// A selector: kind, match, pattern.
type Selector = (&'static str, &'static str, String);

#[derive(Debug, Clone)]
struct Pattern {
    selector: Selector,
    action: &'static str,
}

#[derive(Debug, Clone)]
struct Rule {
    selector: Selector,
    exec: Option<&'static str>,
    value_default: Option<&'static str>,
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Filter {
    default_exec: &'static str,
    default_value: &'static str,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Code {
    module: Option<String>,
    file: String,
    qualname: String,
}

// ---- the reference ----

fn matches(selector: &Selector, text: &str, is_file: bool) -> bool {
    let (_, matching, pattern) = selector;
    match *matching {
        "literal" => pattern == text,
        "regex" => Regex::new(pattern).unwrap().is_match(text),
        _ => GlobBuilder::new(pattern).literal_separator(is_file).build().unwrap().compile_matcher().is_match(text),
    }
}

fn applies(rule: &Rule, code: &Code) -> bool {
    match rule.selector.0 {
        "pkg" => code.module.as_ref().is_some_and(|module| matches(&rule.selector, module, false)),
        "file" => matches(&rule.selector, &code.file, true),
        _ => {
            let object = code.module.iter().chain([&code.qualname]).cloned().collect::<Vec<_>>().join(".");
            matches(&rule.selector, &object, false)
        }
    }
}

fn action(word: &str) -> ValueAction {
    match word {
        "allow" => ValueAction::Allow,
        "drop" => ValueAction::Drop,
        _ => ValueAction::Redact,
    }
}

/// The decision about the code, and about one value in it.
fn reference(chain: &[Filter], code: &Code, kind: ValueKind, name: &str) -> (ExecDecision, ValueAction) {
    let (mut exec, mut default) = ("trace", "allow");
    for filter in chain {
        exec = if filter.default_exec == "inherit" { exec } else { filter.default_exec };
        default = if filter.default_value == "inherit" { default } else { filter.default_value };
    }
    let mut by_name = None;
    for rule in chain.iter().flat_map(|filter| &filter.rules).filter(|rule| applies(rule, code)) {
        exec = rule.exec.filter(|word| *word != "inherit").unwrap_or(exec);
        default = rule.value_default.filter(|word| *word != "inherit").unwrap_or(default);
        let mut patterns = rule.patterns.iter().filter(|pattern| pattern.selector.0 == kind.as_str());
        by_name =
            patterns.find(|pattern| matches(&pattern.selector, name, false)).map(|pattern| pattern.action).or(by_name);
    }
    let default = if kind == ValueKind::Attribute { "allow" } else { default };
    let exec = if exec == "skip" { ExecDecision::Skip } else { ExecDecision::Trace };
    (exec, action(by_name.unwrap_or(default)))
}

// ---- the same chain as text ----

fn selector_text((kind, matching, pattern): &Selector) -> String {
    format!("selector = '{kind}:{matching}:{pattern}'\n")
}

fn filter_text(filter: &Filter) -> String {
    let mut text = format!(
        "[meta]\nname = 'n'\nversion = 1\n[scope]\ndefault_exec = '{}'\ndefault_value_action = '{}'\n",
        filter.default_exec, filter.default_value
    );
    for rule in &filter.rules {
        text += "[[scope.rules]]\n";
        text += &selector_text(&rule.selector);
        for (key, value) in [("exec", rule.exec), ("value_default", rule.value_default)] {
            text += &value.map_or(String::new(), |value| format!("{key} = '{value}'\n"));
        }
        for pattern in &rule.patterns {
            text += "[[scope.rules.value_patterns]]\n";
            text += &selector_text(&pattern.selector);
            text += &format!("action = '{}'\n", pattern.action);
        }
    }
    text
}

fn engine(chain: &[Filter]) -> TraceFilterEngine {
    // Something to inherit from, and nothing that hides anything.
    let first = Filter { default_exec: "trace", default_value: "allow", rules: Vec::new() };
    let mut builder = TraceFilterConfig::builder().inline("first", filter_text(&first), Path::new(ROOT));
    for filter in chain {
        builder = builder.inline("f", filter_text(filter), Path::new(ROOT));
    }
    TraceFilterEngine::new(builder.build().unwrap())
}

// ---- what is generated: few letters, so that things match often ----

fn pattern() -> impl Strategy<Value = (&'static str, String)> {
    let glob = "[ab]{0,1}(\\*|\\?|\\{a,b\\}|\\*\\*|[ab.]|\\[ab\\]){1,3}"
        .prop_filter("globset's own limits", |pattern| GlobBuilder::new(pattern).build().is_ok());
    prop_oneof![
        "[ab]([.]?[ab]){0,2}".prop_map(|pattern| ("literal", pattern)),
        glob.prop_map(|pattern| ("glob", pattern)),
        "\\^?[ab.]{1,2}[*+?]?\\$?".prop_map(|pattern| ("regex", pattern)),
    ]
}

fn selector(kinds: &'static [&'static str]) -> impl Strategy<Value = Selector> {
    (proptest::sample::select(kinds), pattern()).prop_map(|(kind, (matching, pattern))| {
        // As part of a path, `.` and `..` would be tidied away; slashes make it worth while.
        let pattern = if kind == "file" && matching != "regex" {
            let pattern = pattern.replace("**", "*").replace('.', "/");
            let tidy: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
            if tidy.is_empty() { "a".to_owned() } else { tidy.join("/") }
        } else {
            pattern
        };
        (kind, matching, pattern)
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let exec = proptest::option::of(proptest::sample::select(&["trace", "skip", "inherit"][..]));
    let value = proptest::option::of(proptest::sample::select(&["allow", "redact", "drop", "deny", "inherit"][..]));
    let action = proptest::sample::select(&["allow", "redact", "drop", "deny"][..]);
    let pattern = (selector(&["local", "global", "arg", "attr"]), action)
        .prop_map(|(selector, action)| Pattern { selector, action });
    (selector(&["pkg", "file", "obj"]), exec, value, proptest::collection::vec(pattern, 0..4))
        .prop_map(|(selector, exec, value_default, patterns)| Rule { selector, exec, value_default, patterns })
}

fn filter() -> impl Strategy<Value = Filter> {
    let exec = proptest::sample::select(&["trace", "skip", "inherit"][..]);
    let value = proptest::sample::select(&["allow", "redact", "drop", "inherit"][..]);
    (exec, value, proptest::collection::vec(rule(), 0..6)).prop_map(|(default_exec, default_value, rules)| Filter {
        default_exec,
        default_value,
        rules,
    })
}

fn code() -> impl Strategy<Value = Code> {
    (proptest::option::of("[ab]([.][ab]){0,2}"), "[ab](/?[ab]){0,2}", "[ab]([.][ab]){0,1}")
        .prop_map(|(module, file, qualname)| Code { module, file, qualname })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn chains_decide_as_the_reference_does(
        chain in proptest::collection::vec(filter(), 0..4),
        codes in proptest::collection::vec(code(), 1..8),
        names in proptest::collection::vec("[ab][ab.]{0,2}", 1..5),
    ) {
        let engine = engine(&chain);
        for code in &codes {
            let path = format!("{ROOT}/{}", code.file);
            let scope = Scope { module: code.module.as_deref(), path: &path, qualname: &code.qualname };
            let resolution = engine.resolve(&scope);
            let explanation = engine.explain(&scope);
            for name in &names {
                for kind in [ValueKind::Local, ValueKind::Global, ValueKind::Argument, ValueKind::Attribute] {
                    let expected = reference(&chain, code, kind, name);
                    prop_assert_eq!((resolution.exec(), resolution.action(kind, name)), expected, "{:?} {} {}", code, kind, name);
                    let explained = (explanation.exec, explanation.value(kind, name).action);
                    prop_assert_eq!(explained, expected, "explained: {:?} {} {}", code, kind, name);
                }
            }
        }
        let used = |rule: &&Rule| codes.iter().any(|code| applies(rule, code));
        let unused = chain.iter().flat_map(|filter| &filter.rules).filter(|rule| !used(rule)).count();
        prop_assert_eq!(engine.unmatched_rules().len(), unused);
    }

    #[test]
    fn code_of_one_file_and_module_is_decided_alike_unless_a_rule_goes_by_names(
        chain in proptest::collection::vec(filter(), 0..4), code in code(),
        names in proptest::collection::vec("[ab]([.][ab]){0,1}", 1..8),
    ) {
        let engine = engine(&chain);
        let goes_by_names = chain.iter().flat_map(|filter| &filter.rules).any(|rule| rule.selector.0 == "obj");
        prop_assert_eq!(engine.goes_by_names(), goes_by_names);
        let path = format!("{ROOT}/{}", code.file);
        let exec = |qualname: &str| {
            engine.resolve(&Scope { module: code.module.as_deref(), path: &path, qualname }).exec()
        };
        prop_assert!(goes_by_names || names.iter().all(|name| exec(name) == exec(&code.qualname)));
    }

    #[test]
    fn a_rule_about_exec_never_uncovers_a_value(
        chain in proptest::collection::vec(filter(), 0..3), code in code(), name in "[ab][ab.]{0,2}",
        selector in selector(&["pkg", "file", "obj"]),
    ) {
        let rule = Rule { selector, exec: Some("trace"), value_default: None, patterns: Vec::new() };
        let mut longer = chain.clone();
        longer.push(Filter { default_exec: "inherit", default_value: "inherit", rules: vec![rule] });
        let path = format!("{ROOT}/{}", code.file);
        let scope = Scope { module: code.module.as_deref(), path: &path, qualname: &code.qualname };
        let (before, after) = (engine(&chain).resolve(&scope), engine(&longer).resolve(&scope));
        for kind in ValueKind::ALL {
            prop_assert_eq!(before.action(kind, &name), after.action(kind, &name));
        }
    }
}
