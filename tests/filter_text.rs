//! Whatever stands in a filter file: an answer or an error that names the place, never a panic.

// Helpers of tests may stop a test like the tests themselves.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use codetracer_python_recorder::errors::{ErrorCode, ErrorKind};
use codetracer_python_recorder::trace_filter::{RuntimePaths, Scope, TraceFilterConfig, TraceFilterEngine, ValueKind};
use proptest::prelude::*;

const GOOD: &str = r#"[meta]
name = "n"
version = 1
labels = ["a"]
[io]
capture = true
streams = ["stdout"]
[scope]
default_exec = "trace"
default_value_action = "allow"
[[scope.rules]]
selector = "file:src/**/[ab]*.py"
exec = "skip"
[[scope.rules.value_patterns]]
selector = "local:regex:^(a|b)+$"
action = "redact"
"#;

/// Loads and uses a filter; errors must be ours and located.
fn exercise(text: &str) -> Result<(), TestCaseError> {
    match TraceFilterConfig::builder().inline("t", text, Path::new("/srv/app")).build() {
        Ok(config) => {
            let engine = TraceFilterEngine::new(config);
            let scope = Scope { module: Some("a.b"), path: "/srv/app/src/a.py", qualname: "C.f" };
            let resolution = engine.resolve(&scope);
            for kind in ValueKind::ALL {
                prop_assert_eq!(
                    resolution.action(kind, "password"),
                    engine.explain(&scope).value(kind, "password").action
                );
            }
            prop_assert!(!engine.explain(&scope).to_string().is_empty());
        }
        Err(error) => {
            prop_assert_eq!((error.kind, error.code), (ErrorKind::Usage, ErrorCode::InvalidPolicyValue));
            prop_assert!(error.to_string().starts_with("<inline:t>:"), "{}", error);
            let line: usize = error.context["line"].parse().unwrap();
            prop_assert!((1..=text.lines().count() + 1).contains(&line), "line {} of {:?}", line, text);
        }
    }
    Ok(())
}

#[test]
fn the_good_text_is_good() {
    assert!(TraceFilterConfig::builder().inline("t", GOOD, Path::new("/srv/app")).build().is_ok());
}

#[test]
fn every_example_of_the_guide_loads() {
    let guide = include_str!("../docs/filters.md");
    let examples: Vec<&str> = guide.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() > 8, "where have the recipes gone?");
    for example in examples {
        let head = "[meta]\nname = \"n\"\nversion = 1\n[scope]\ndefault_exec = \"inherit\"\ndefault_value_action = \"inherit\"\n";
        let text = if example.contains("[meta]") { example.to_owned() } else { format!("{head}{example}") };
        let chain = TraceFilterConfig::builder().builtin_default(&RuntimePaths::default());
        let chain = chain.inline("guide", text, Path::new("/srv/app")).build();
        assert!(chain.is_ok(), "{}\n{example}", chain.unwrap_err());
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        exercise(&text)?;
    }

    #[test]
    fn text_with_a_hole_or_a_patch_never_panics(from in 0..GOOD.len(), length in 0..40usize, patch in "\\PC{0,12}|[\\[\\]=\"'{}\n.:*\\\\]{0,6}") {
        let to = (from + length).min(GOOD.len());
        exercise(&format!("{}{patch}{}", &GOOD[..from], &GOOD[to..]))?;
    }

    #[test]
    fn arbitrary_selectors_never_panic(
        scope in "(pkg|file|obj)(:(glob|regex|literal))?:(\\PC{0,20}|[/.*?{},\\[\\]!@^$|()+a-]{0,12})",
        value in "(local|global|arg|ret|attr)(:(glob|regex|literal|words))?:(\\PC{0,20}|[.*?{},\\[\\]!@^$|()+a-]{0,12})",
    ) {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let text = GOOD.replace("\"file:src/**/[ab]*.py\"", &quoted(&scope)).replace("\"local:regex:^(a|b)+$\"", &quoted(&value));
        exercise(&text)?;
    }
}
