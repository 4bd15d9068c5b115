//! What filters cost: compiling a chain, resolving a code object, asking for an action.
//!
//! `resolve/first/*` sees every module and file for the first time, as an import-heavy start does; `resolve/again/*`
//! sees new functions of known modules, the usual case. Nothing of this runs per event except `action/*`, and that
//! only for dict keys and attributes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// a test says what is wrong by failing

// A benchmark that cannot set itself up has nothing better to do than to stop.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;

use codetracer_python_recorder::trace_filter::{RuntimePaths, Scope, TraceFilterConfig, TraceFilterEngine, ValueKind};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Modules per round.
const MODULES: usize = 64;

#[derive(Clone, Copy)]
enum Flavour {
    Glob,
    Regex,
}

impl Flavour {
    const ALL: [(&'static str, Self); 2] = [("glob", Self::Glob), ("regex", Self::Regex)];

    /// Selectors of the three kinds that no fast path can take, with a value pattern each.
    fn filter(self, rules: usize) -> String {
        let mut text =
            "[meta]\nname = 'b'\nversion = 1\n[scope]\ndefault_exec = 'inherit'\ndefault_value_action = 'inherit'\n"
                .to_owned();
        for n in 0..rules {
            let selector = match (self, n % 3) {
                (Self::Glob, 0) => format!("pkg:*app{n}.*.models"),
                (Self::Glob, 1) => format!("file:src/**/part{n}/*.py"),
                (Self::Glob, _) => format!("obj:*.Service{n}.*_view"),
                (Self::Regex, 0) => format!("pkg:regex:^app{n}([.]\\w+)*[.]models$"),
                (Self::Regex, 1) => format!("file:regex:^src/.*/part{n}/[^/]*[.]py$"),
                (Self::Regex, _) => format!("obj:regex:[.]Service{n}[.]\\w+_view$"),
            };
            let value = match self {
                Self::Glob => format!("local:*customer{n}_*"),
                Self::Regex => format!("local:regex:customer{n}_\\w+$"),
            };
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "[[scope.rules]]\nselector = '{selector}'\nexec = 'skip'\n[[scope.rules.value_patterns]]\nselector = '{value}'\naction = 'redact'\n"
            );
        }
        text
    }
}

fn config(filter: Option<String>) -> TraceFilterConfig {
    let runtime = RuntimePaths {
        stdlib: vec!["/py/lib/python3.12".into()],
        site_packages: vec!["/py/lib/python3.12/site-packages".into()],
        recorder: vec!["/py/lib/python3.12/site-packages/codetracer_python_recorder".into()],
    };
    let mut builder = TraceFilterConfig::builder().builtin_default(&runtime);
    if let Some(text) = filter {
        builder = builder.inline("bench", text, Path::new("/srv/app"));
    }
    builder.build().expect("the benchmark's filter is right")
}

/// Code of a program: half its own, half the standard library's.
fn code() -> Vec<(String, String, String)> {
    (0..MODULES)
        .map(|n| match n % 2 {
            0 => (
                format!("app{n}.core.models"),
                format!("/srv/app/src/app/part{n}/models.py"),
                format!("Service{n}.list_view"),
            ),
            _ => (format!("json.part{n}"), format!("/py/lib/python3.12/json/part{n}.py"), format!("Decoder{n}.decode")),
        })
        .collect()
}

fn resolve_all(engine: &TraceFilterEngine, code: &[(String, String, String)]) {
    for (module, path, qualname) in code {
        black_box(engine.resolve(&Scope { module: Some(module), path, qualname }));
    }
}

fn chains() -> Vec<(String, TraceFilterConfig)> {
    let mut chains = vec![("builtin/0".to_owned(), config(None))];
    for (name, flavour) in Flavour::ALL {
        for rules in [10, 100, 1000] {
            chains.push((format!("{name}/{rules}"), config(Some(flavour.filter(rules)))));
        }
    }
    chains
}

fn resolve(criterion: &mut Criterion) {
    let code = code();
    let chains = chains();
    let mut group = criterion.benchmark_group("resolve");
    group.throughput(Throughput::Elements(MODULES as u64));
    for (name, config) in &chains {
        group.bench_function(BenchmarkId::new("first", name), |bencher| {
            let fresh = || TraceFilterEngine::new(config.clone());
            bencher.iter_batched_ref(fresh, |engine| resolve_all(engine, &code), criterion::BatchSize::SmallInput);
        });
        let engine = TraceFilterEngine::new(config.clone());
        group.bench_function(BenchmarkId::new("again", name), |bencher| bencher.iter(|| resolve_all(&engine, &code)));
    }
    group.finish();
}

fn action(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("action");
    for (name, config) in chains().iter().filter(|(name, _)| name == "builtin/0" || name.ends_with("/100")) {
        let engine = TraceFilterEngine::new(config.clone());
        let scope = Scope { module: Some("app0.core.models"), path: "/srv/app/src/app/part1/models.py", qualname: "f" };
        let resolution = engine.resolve(&scope);
        for key in ["id", "customer_name", "Content-Type", "X-Api-Key"] {
            group.bench_function(format!("{name}/dict key/{key}"), |bencher| {
                bencher.iter(|| resolution.dict_key_action(black_box(key)));
            });
        }
        group.bench_function(format!("{name}/local/customer_name"), |bencher| {
            bencher.iter(|| resolution.action(ValueKind::Local, black_box("customer_name")));
        });
    }
    group.finish();
}

fn compile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(10);
    group.bench_function("builtin", |bencher| bencher.iter(|| config(None)));
    for (name, flavour) in Flavour::ALL {
        for rules in [10, 100, 1000] {
            let text = flavour.filter(rules);
            group.bench_function(format!("{name}/{rules}"), |bencher| bencher.iter(|| config(Some(text.clone()))));
        }
    }
    group.finish();
}

criterion_group!(benches, resolve, action, compile);
criterion_main!(benches);
