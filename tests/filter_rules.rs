//! Tables of rule → decision, through the public interface of the trace filters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says what is wrong by failing

// Helpers of tests may stop a test like the tests themselves.

use std::path::Path;

use codetracer_python_recorder::trace_filter::{
    ExecDecision, Framework, RuntimePaths, Scope, ScopeResolution, TraceFilterConfig, TraceFilterEngine, ValueAction,
    ValueKind,
};

use ExecDecision::{Skip, Trace};
use ValueAction::{Allow, Drop, Redact, RedactData};
use ValueKind::{Argument, Attribute, Global, Local, Return};

const HEAD: &str = "[meta]\nname = \"t\"\nversion = 1\n";
const INHERIT: &str = "[scope]\ndefault_exec = \"inherit\"\ndefault_value_action = \"inherit\"\n";

fn runtime() -> RuntimePaths {
    RuntimePaths {
        stdlib: vec!["/py/lib/odd".into()],
        site_packages: vec!["/py/lib/odd/site".into()],
        recorder: vec!["/py/lib/odd/site/codetracer_python_recorder".into()],
    }
}

/// The built-in filter and then each text, all with the project root `/srv/app`.
fn engine(filters: &[&str]) -> TraceFilterEngine {
    let mut builder = TraceFilterConfig::builder().builtin_default(&runtime());
    for (number, text) in filters.iter().enumerate() {
        builder = builder.inline(&format!("f{number}"), format!("{HEAD}{text}"), Path::new("/srv/app"));
    }
    TraceFilterEngine::new(builder.build().unwrap())
}

/// A filter that inherits its defaults and has one rule with the lines given.
fn rule(lines: &str) -> String {
    format!("{INHERIT}[[scope.rules]]\n{lines}\n")
}

fn patterns(selector: &str, patterns: &[(&str, &str)]) -> String {
    let mut text = rule(&format!("selector = '{selector}'"));
    for (selector, action) in patterns {
        text += &format!("[[scope.rules.value_patterns]]\nselector = '{selector}'\naction = '{action}'\n");
    }
    text
}

fn resolve(engine: &TraceFilterEngine, module: &str, path: &str, qualname: &str) -> ScopeResolution {
    engine.resolve(&Scope { module: Some(module), path, qualname })
}

fn app(engine: &TraceFilterEngine) -> ScopeResolution {
    resolve(engine, "my_app.core", "/srv/app/src/my_app/core.py", "Service.login")
}

#[test]
fn the_builtin_filter_skips_the_interpreter_and_the_recorder() {
    let engine = engine(&[]);
    for (module, path, expected) in [
        ("__main__", "/srv/app/main.py", Trace),
        ("my_app.core", "/srv/app/src/my_app/core.py", Trace),
        ("json.decoder", "/py/lib/odd/json/decoder.py", Skip),
        ("importlib._bootstrap", "<frozen importlib._bootstrap>", Skip),
        ("os", "/usr/lib/python3.12/os.py", Skip),
        ("os", r"C:\Python\lib\python3.12\os.py", Skip),
        ("requests.api", "/py/lib/odd/site/requests/api.py", Trace),
        ("requests.api", "/v/lib/python3.12/site-packages/requests/api.py", Trace),
        ("_virtualenv", "/v/lib/python3.12/site-packages/_virtualenv.py", Skip),
        ("sitecustomize", "/py/lib/odd/site/sitecustomize.py", Skip),
        ("_distutils_hack", "/py/lib/odd/site/_distutils_hack/__init__.py", Skip),
        ("__editable___a_1_finder", "/py/lib/odd/site/__editable___a_1_finder.py", Skip),
        ("codetracer_python_recorder.cli", "/elsewhere/cli.py", Skip),
        ("__main__", "/py/lib/odd/site/codetracer_python_recorder/__main__.py", Skip),
        ("codetracer_python_recorder_demo", "/srv/app/demo.py", Trace),
    ] {
        assert_eq!(resolve(&engine, module, path, "f").exec(), expected, "{module} {path}");
    }
}

#[test]
fn nothing_makes_the_recorder_visible() {
    let engine = engine(&[&rule("selector = \"obj:*\"\nexec = \"trace\"")]);
    assert_eq!(resolve(&engine, "json", "/py/lib/odd/json/__init__.py", "f").exec(), Trace);
    assert_eq!(resolve(&engine, "codetracer_python_recorder", "/x.py", "f").exec(), Skip);
    let scope = Scope { module: Some("x"), path: "/py/lib/odd/site/codetracer_python_recorder/x.py", qualname: "f" };
    assert_eq!(engine.resolve(&scope).exec(), Skip);
    assert!(engine.explain(&scope).to_string().contains("the recorder never records itself"));
}

#[test]
fn selectors_choose_code() {
    // Each row: a selector of a rule that skips, and whether it matches the four scopes below.
    let scopes = [
        ("my_app", "/srv/app/src/my_app/__init__.py", "<my_app>"),
        ("my_app.core", "/srv/app/src/my_app/core.py", "Service.login"),
        ("my_app.core", "/srv/app/src/my_app/core.py", "<module>"),
        ("six", "/v/lib/python3.12/site-packages/six.py", "with_metaclass"),
    ];
    for (selector, expected) in [
        ("pkg:my_app", [true, false, false, false]),
        ("pkg:my_app.*", [false, true, true, false]),
        ("pkg:my_app*", [true, true, true, false]),
        ("pkg:*", [true, true, true, true]),
        ("pkg:literal:my_app.*", [false, false, false, false]),
        ("pkg:regex:^my_app($|[.])", [true, true, true, false]),
        ("pkg:regex:cor", [false, true, true, false]),
        ("pkg:{six,my_app.core}", [false, true, true, true]),
        ("obj:my_app.core.Service.*", [false, true, false, false]),
        ("obj:*.login", [false, true, false, false]),
        ("obj:my_app.core.*", [false, true, true, false]),
        ("obj:*.<module>", [true, false, true, false]),
        ("obj:<my_app>", [true, false, false, false]),
        ("obj:<my_app.core>", [false, false, true, false]),
        ("file:src/**", [true, true, true, false]),
        ("file:src/*", [false, false, false, false]),
        ("file:src/my_app/core.py", [false, true, true, false]),
        ("file:literal:/srv/app/src/my_app/core.py", [false, true, true, false]),
        ("file:**/core.py", [false, true, true, false]),
        ("file:**/*.py", [true, true, true, true]),
        ("file:*.py", [false, false, false, false]),
        ("file:**/site-packages/**", [false, false, false, true]),
        ("file:@site-packages/*.py", [false, false, false, true]),
        ("file:@stdlib/**", [false, false, false, false]),
        ("file:regex:^src/", [true, true, true, false]),
        ("file:regex:six[.]py$", [false, false, false, true]),
    ] {
        let engine = engine(&[&rule(&format!("selector = '{selector}'\nexec = 'skip'"))]);
        let found = scopes.map(|(module, path, qualname)| resolve(&engine, module, path, qualname).exec() == Skip);
        assert_eq!(found, expected, "{selector}");
    }
}

#[test]
fn code_of_an_unknown_module_is_found_by_file_and_qualname_only() {
    for (selector, expected) in [("pkg:*", Trace), ("obj:Service.login", Skip), ("obj:*", Skip), ("file:a.py", Skip)] {
        let engine = engine(&[&rule(&format!("selector = '{selector}'\nexec = 'skip'"))]);
        let scope = Scope { module: None, path: "/srv/app/a.py", qualname: "Service.login" };
        assert_eq!(engine.resolve(&scope).exec(), expected, "{selector}");
    }
}

#[test]
fn the_last_rule_that_says_something_decides() {
    let defaults =
        |exec: &str, value: &str| format!("[scope]\ndefault_exec = '{exec}'\ndefault_value_action = '{value}'\n");
    let with = |defaults: &str, rules: &[&str]| {
        rules.iter().fold(defaults.to_owned(), |text, rule| text + "[[scope.rules]]\n" + rule + "\n")
    };
    let inherit = defaults("inherit", "inherit");
    let table: Vec<(Vec<String>, ExecDecision, ValueAction)> = vec![
        (vec![], Trace, Allow),
        (vec![defaults("skip", "redact")], Skip, Redact),
        (vec![defaults("skip", "redact"), defaults("inherit", "drop")], Skip, Drop),
        (vec![defaults("skip", "redact"), defaults("trace", "inherit")], Trace, Redact),
        (vec![with(&inherit, &["selector='pkg:my_app*'\nexec='skip'\nvalue_default='deny'"])], Skip, Redact),
        (vec![with(&inherit, &["selector='pkg:other'\nexec='skip'"])], Trace, Allow),
        (
            vec![with(&inherit, &["selector='pkg:*'\nexec='skip'", "selector='pkg:my_app.*'\nexec='trace'"])],
            Trace,
            Allow,
        ),
        (
            vec![with(&inherit, &["selector='pkg:my_app.*'\nexec='trace'", "selector='pkg:*'\nexec='skip'"])],
            Skip,
            Allow,
        ),
        (
            vec![with(
                &inherit,
                &["selector='pkg:*'\nexec='skip'", "selector='pkg:my_app.*'\nexec='inherit'\nvalue_default='drop'"],
            )],
            Skip,
            Drop,
        ),
        // A rule of an earlier filter stands against a later filter's default.
        (
            vec![
                with(&inherit, &["selector='pkg:my_app.*'\nexec='trace'\nvalue_default='drop'"]),
                defaults("skip", "redact"),
            ],
            Trace,
            Drop,
        ),
        // Kinds of selectors do not matter, the order does.
        (vec![with(&inherit, &["selector='obj:*'\nexec='trace'", "selector='file:src/**'\nexec='skip'"])], Skip, Allow),
        (
            vec![
                with(&inherit, &["selector='file:src/**'\nexec='skip'"]),
                with(&inherit, &["selector='pkg:my_app.core'\nexec='trace'"]),
            ],
            Trace,
            Allow,
        ),
    ];
    for (filters, exec, value) in table {
        let engine = engine(&filters.iter().map(String::as_str).collect::<Vec<_>>());
        let resolution = app(&engine);
        assert_eq!(resolution.exec(), exec, "{filters:#?}");
        for kind in [Local, Global, Argument, Return] {
            assert_eq!(resolution.action(kind, "plain"), value, "{kind} {filters:#?}");
        }
        assert_eq!(resolution.return_action(), value, "{filters:#?}");
    }
}

#[test]
fn secrets_are_hidden_in_every_kind_of_value() {
    let resolution = app(&engine(&[]));
    for kind in ValueKind::ALL {
        for name in ["password", "userPassword", "API_KEY", "_Login__token", "session_id"] {
            assert_eq!(resolution.action(kind, name), Redact, "{kind} {name}");
        }
        for name in ["company", "author", "_active_session", "unix_socket_path", "TraceSession", "x"] {
            assert_eq!(resolution.action(kind, name), Allow, "{kind} {name}");
        }
    }
    for key in ["Authorization", "X-Api-Key", "Set-Cookie", "pass", "credit card number"] {
        assert_eq!(resolution.dict_key_action(key), Redact, "{key}");
    }
    assert_eq!(resolution.dict_key_action("Content-Type"), Allow);
    assert!(resolution.redacts_attributes());
}

#[test]
fn functions_named_after_secrets_return_secrets() {
    let engine = engine(&[]);
    for (qualname, expected) in [
        ("get_password", Redact),
        ("Vault.read_secret", Redact),
        ("make.<locals>.token", Redact),
        ("login", Allow),
        ("PasswordStore.size", Allow),
        ("password_of.<locals>.size", Allow),
        ("<lambda>", Allow),
    ] {
        // Words count in the function's own name only, not in its module's.
        assert_eq!(resolve(&engine, "my_app.auth", "/srv/app/a.py", qualname).return_action(), expected, "{qualname}");
    }
}

#[test]
fn return_patterns_may_name_the_function_alone_or_with_its_surroundings() {
    for (selector, expected) in [
        ("ret:login", Drop),
        ("ret:Service.login", Drop),
        ("ret:literal:my_app.core.Service.login", Drop),
        ("ret:my_app.*", Drop),
        ("ret:regex:^login$", Drop),
        ("ret:words:login", Drop),
        ("ret:words:service", Allow),
        ("ret:core", Allow),
    ] {
        let engine = engine(&[&patterns("pkg:*", &[(selector, "drop")])]);
        assert_eq!(app(&engine).return_action(), expected, "{selector}");
    }
}

#[test]
fn a_rule_without_patterns_uncovers_nothing() {
    for lines in [
        "selector = 'pkg:*'\nexec = 'trace'",
        "selector = 'pkg:*'\nexec = 'trace'\nvalue_default = 'allow'",
        "selector = 'obj:my_app.core.Service.login'\nvalue_default = 'allow'",
        "selector = 'file:**'\nexec = 'trace'",
    ] {
        let engine = engine(&[&rule(lines)]);
        assert_eq!(app(&engine).action(Local, "password"), Redact, "{lines}");
    }
}

#[test]
fn the_latest_matching_pattern_decides_and_in_a_rule_the_first() {
    let local = |filters: &[&str], name: &str| app(&engine(filters)).action(Local, name);
    let allow = patterns("pkg:my_app.*", &[("local:max_tokens", "allow")]);
    assert_eq!(local(&[&allow], "max_tokens"), Allow);
    assert_eq!(local(&[&allow], "token"), Redact);
    assert_eq!(app(&engine(&[&allow])).action(Argument, "max_tokens"), Redact, "allowed as a local only");
    let elsewhere = patterns("pkg:other", &[("local:max_tokens", "allow")]);
    assert_eq!(local(&[&elsewhere], "max_tokens"), Redact);
    let first = patterns("pkg:*", &[("local:a*", "drop"), ("local:ab", "allow"), ("local:*", "redact")]);
    assert_eq!((local(&[&first], "ab"), local(&[&first], "b")), (Drop, Redact));
    let later = patterns("pkg:*", &[("local:ab", "allow")]);
    assert_eq!((local(&[&first, &later], "ab"), local(&[&later, &first], "ab")), (Allow, Drop));
    let everything = patterns("pkg:my_app.*", &[("local:words:@secrets", "allow")]);
    assert_eq!(local(&[&everything], "password"), Allow);
}

#[test]
fn what_lies_in_a_shown_value_is_shown_unless_a_pattern_names_it() {
    let text = patterns("pkg:*", &[("local:order", "allow"), ("attr:vat", "drop")])
        .replace("selector = 'pkg:*'", "selector = 'pkg:*'\nvalue_default = 'redact'");
    let resolution = app(&engine(&[&text]));
    assert_eq!((resolution.action(Local, "order"), resolution.action(Local, "other")), (Allow, Redact));
    for (key, expected) in [("price", Allow), ("vat", Drop), ("card_number", Redact)] {
        assert_eq!(resolution.action(Attribute, key), expected, "{key}");
        assert_eq!(resolution.dict_key_action(key), expected, "{key}");
    }
}

#[test]
fn parameters_stay_hidden_after_the_call() {
    let argument = patterns("pkg:*", &[("arg:customer", "redact")]);
    let both = patterns("pkg:*", &[("arg:customer", "redact"), ("local:customer", "allow")]);
    for (text, locals, parameter) in [(argument, Allow, Redact), (both, Allow, Allow)] {
        let resolution = app(&engine(&[&text]));
        assert_eq!(resolution.action(Local, "customer"), locals);
        assert_eq!(resolution.parameter_action("customer"), parameter);
        assert_eq!(resolution.parameter_action("plain"), Allow);
        assert_eq!(resolution.parameter_action("password"), RedactData);
    }
}

#[test]
fn attributes_need_no_look_where_no_pattern_hides_them() {
    let alone = |text: &str| {
        let builder = TraceFilterConfig::builder().inline("a", format!("{HEAD}{text}"), Path::new("/srv/app"));
        app(&TraceFilterEngine::new(builder.build().unwrap())).redacts_attributes()
    };
    let with = |selector: &str, action: &str| {
        patterns("pkg:my_app.*", &[(selector, action)])
            .replace("\"inherit\"", "\"trace\"")
            .replace("default_value_action = \"trace\"", "default_value_action = \"allow\"")
    };
    assert!(!alone(&with("local:x", "redact")));
    assert!(!alone(&with("attr:x", "allow")));
    assert!(alone(&with("attr:x", "drop")));
    assert!(!alone(&with("attr:x", "drop").replace("pkg:my_app.*", "pkg:other")));
}

#[test]
fn framework_filters_skip_the_machinery_and_keep_the_tests() {
    let config = TraceFilterConfig::builder()
        .builtin_default(&runtime())
        .framework(Framework::Pytest)
        .framework(Framework::Unittest);
    let engine = TraceFilterEngine::new(config.build().unwrap());
    for (module, path, expected) in [
        ("_pytest.runner", "/v/_pytest/runner.py", Skip),
        ("pluggy", "/v/pluggy/__init__.py", Skip),
        ("py", "/v/py.py", Skip),
        ("pytest_mock.plugin", "/py/lib/odd/site/pytest_mock/plugin.py", Skip),
        ("pytest_helpers", "/srv/app/tests/pytest_helpers.py", Trace),
        ("pyramid", "/v/pyramid.py", Trace),
        ("unittest.case", "/moved/unittest/case.py", Skip),
        ("tests.test_a", "/srv/app/tests/test_a.py", Trace),
    ] {
        assert_eq!(resolve(&engine, module, path, "f").exec(), expected, "{module}");
    }
    let test = resolve(&engine, "tests.test_a", "/srv/app/tests/test_a.py", "test_x");
    for (kind, name, expected) in [
        (Local, "@py_assert1", Drop),
        (Global, "@pytest_ar", Drop),
        (Local, "py_assert", Allow),
        (Local, "password", Redact),
    ] {
        assert_eq!(test.action(kind, name), expected, "{name}");
    }
}

#[test]
fn rules_that_matched_nothing_are_reported_until_they_do() {
    let engine = engine(&[
        &rule("selector = 'pkg:my_ap.*'\nexec = 'skip'\nreason = 'noise'"),
        &rule("selector = 'obj:*.login'"),
    ]);
    let unmatched = || engine.unmatched_rules().iter().map(ToString::to_string).collect::<Vec<_>>();
    let misspelt = "<inline:f0>:8 scope.rules[0] `pkg:my_ap.*` (noise)";
    assert_eq!(unmatched(), [misspelt, "<inline:f1>:8 scope.rules[0] `obj:*.login`"]);
    let scope = Scope { module: Some("my_app.core"), path: "/srv/app/a.py", qualname: "Service.login" };
    engine.explain(&scope);
    assert_eq!(unmatched().len(), 2, "an explanation is no match");
    engine.resolve(&scope);
    assert_eq!(unmatched(), [misspelt]);
}

#[test]
fn explanations_name_the_rule_that_decides_and_those_it_overrides() {
    let text = patterns("pkg:my_app.*", &[("local:max_tokens", "allow")]);
    let engine = engine(&[
        &rule("selector = 'file:src/**'\nexec = 'skip'\nreason = 'noise'"),
        &rule("selector = 'pkg:my_app.*'\nexec = 'trace'\nvalue_default = 'drop'"),
        &text,
    ]);
    let explanation = engine.explain(&Scope {
        module: Some("my_app.core"),
        path: "/srv/app/src/my_app/core.py",
        qualname: "get_token",
    });
    assert_eq!(
        explanation.to_string(),
        "my_app.core:get_token in /srv/app/src/my_app/core.py
  exec: trace
    by <inline:f1>:8 scope.rules[0] `pkg:my_app.*`
    overrides skip of <inline:f0>:8 scope.rules[0] `file:src/**` (noise)
  value default: drop
    by <inline:f1>:8 scope.rules[0] `pkg:my_app.*`
  returned value: redact
    by <inline:builtin-default>:27 scope.rules[0].value_patterns[3] `ret:words:@secrets` (secrets are hidden wherever their name tells)
  value patterns, the first that matches decides:
    1. allow <inline:f2>:10 scope.rules[0].value_patterns[0] `local:max_tokens`
    2. redact <inline:builtin-default>:18 scope.rules[0].value_patterns[0] `local:words:@secrets` (secrets are hidden wherever their name tells)
    3. redact <inline:builtin-default>:21 scope.rules[0].value_patterns[1] `global:words:@secrets` (secrets are hidden wherever their name tells)
    4. redact <inline:builtin-default>:24 scope.rules[0].value_patterns[2] `arg:words:@secrets` (secrets are hidden wherever their name tells)
    5. redact <inline:builtin-default>:27 scope.rules[0].value_patterns[3] `ret:words:@secrets` (secrets are hidden wherever their name tells)
    6. redact <inline:builtin-default>:30 scope.rules[0].value_patterns[4] `attr:words:@secrets` (secrets are hidden wherever their name tells)
    7. redact <inline:builtin-default>:34 scope.rules[0].value_patterns[5] `attr:literal:pass` (secrets are hidden wherever their name tells)"
    );
    assert_eq!(
        explanation.value(Local, "max_tokens").to_string(),
        "local `max_tokens`: allow, by <inline:f2>:10 scope.rules[0].value_patterns[0] `local:max_tokens`"
    );
    assert_eq!(explanation.value(Global, "x").to_string(), "global `x`: drop, by the value default");
    let skipped = engine.explain(&Scope { module: Some("os"), path: "<frozen os>", qualname: "<module>" }).to_string();
    assert!(
        skipped.contains(
            "exec: skip\n    by <inline:builtin-default>:38 scope.rules[1] `file:@stdlib/**` (standard library)"
        ),
        "{skipped}"
    );
    assert!(skipped.ends_with("values: none are recorded"), "{skipped}");
}

#[test]
fn summaries_and_io_come_from_the_whole_chain() {
    let config = TraceFilterConfig::builder()
        .builtin_default(&runtime())
        .framework(Framework::Pytest)
        .inline("a", format!("{HEAD}{INHERIT}[io]\ncapture = true\nstreams = ['stdin']\n"), Path::new("/"))
        .inline("b", format!("{HEAD}{INHERIT}[io]\ncapture = false\n"), Path::new("/"))
        .build()
        .unwrap();
    let summaries = config.summaries();
    let paths: Vec<&str> = summaries.iter().map(|summary| summary.path.as_str()).collect();
    assert_eq!(paths, ["<inline:builtin-default>", "<inline:builtin-pytest>", "<inline:a>", "<inline:b>"]);
    assert_eq!(summaries[0].name, "builtin-default");
    assert!(summaries.iter().all(|summary| summary.sha256.len() == 64 && summary.version >= 1));
    let json = serde_json::to_value(&summaries[2]).unwrap();
    assert_eq!(json["name"], "t");
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["name", "path", "sha256", "version"]);
    assert_eq!((config.io().capture, config.io().streams.unwrap().len()), (Some(false), 1));
}

#[test]
fn the_first_filter_cannot_inherit() {
    for (exec, value, key, words) in [
        ("inherit", "allow", "scope.default_exec", "`trace` or `skip`"),
        ("trace", "inherit", "scope.default_value_action", "`allow`, `redact` or `drop`"),
    ] {
        let text = format!("{HEAD}[scope]\ndefault_exec = '{exec}'\ndefault_value_action = '{value}'\n");
        let error = TraceFilterConfig::builder().inline("a", text, Path::new("/")).build().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("<inline:a>:4: {key}: `inherit` needs an earlier filter in the chain; use {words}")
        );
        assert_eq!(error.code.as_str(), "ERR_INVALID_POLICY_VALUE");
    }
}

#[test]
fn files_of_a_chain_have_roots_of_their_own() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |directory: &Path| {
        let path = directory.join("f.toml");
        std::fs::write(&path, format!("{HEAD}{}", rule("selector = 'file:a.py'\nexec = 'skip'"))).unwrap();
        path
    };
    let only_one = TraceFilterConfig::builder().builtin_default(&runtime()).file(write(one.path())).build().unwrap();
    let both = TraceFilterConfig::builder()
        .builtin_default(&runtime())
        .file(write(one.path()))
        .file(write(two.path()))
        .build()
        .unwrap();
    let exec = |config: &TraceFilterConfig, directory: &Path| {
        let path = directory.join("a.py");
        resolve(&TraceFilterEngine::new(config.clone()), "a", path.to_str().unwrap(), "f").exec()
    };
    assert_eq!((exec(&only_one, one.path()), exec(&only_one, two.path())), (Skip, Trace));
    assert_eq!((exec(&both, one.path()), exec(&both, two.path())), (Skip, Skip));
}

#[cfg(unix)]
#[test]
fn a_root_behind_a_symlink_is_known_by_both_names() {
    let (real, links) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let link = links.path().join("project");
    std::os::unix::fs::symlink(real.path(), &link).unwrap();
    let path = link.join("f.toml");
    std::fs::write(&path, format!("{HEAD}{}", rule("selector = 'file:a.py'\nexec = 'skip'"))).unwrap();
    let engine =
        TraceFilterEngine::new(TraceFilterConfig::builder().builtin_default(&runtime()).file(&path).build().unwrap());
    for directory in [real.path().canonicalize().unwrap(), link] {
        assert_eq!(resolve(&engine, "a", directory.join("a.py").to_str().unwrap(), "f").exec(), Skip, "{directory:?}");
    }
}

#[test]
fn engine_and_resolutions_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<TraceFilterEngine>();
    crosses::<ScopeResolution>();
    let engine = engine(&[&patterns("pkg:m1*", &[("local:x", "redact")])]);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for number in 0..20_000 {
                    // More names than a cache holds: answers must not depend on what was forgotten.
                    let module = format!("m{number}");
                    let resolution = resolve(&engine, &module, &format!("/srv/app/{number}.py"), "f");
                    let expected = if module.starts_with("m1") { Redact } else { Allow };
                    assert_eq!(resolution.clone().action(Local, "x"), expected, "{module}");
                }
            });
        }
    });
}

#[test]
fn a_regex_beyond_the_limits_is_located() {
    let huge = r"regex:(\w{100}){100}";
    let scope = rule(&format!("selector = 'obj:{huge}'"));
    let value = patterns("pkg:*", &[("attr:x", "drop"), (&format!("attr:{huge}"), "drop")]);
    for (text, expected) in [
        (scope, "<inline:f>:8: scope.rules[0].selector: "),
        (value, "<inline:f>:13: scope.rules[0].value_patterns[1].selector: "),
    ] {
        let chain = TraceFilterConfig::builder().builtin_default(&runtime()).inline(
            "f",
            format!("{HEAD}{text}"),
            Path::new("/"),
        );
        let error = chain.build().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{expected}compiles to more than 2097152 bytes; use smaller repetitions")
        );
        assert_eq!(error.context["rule"].split('.').nth(1), Some("rules[0]"));
    }
}
