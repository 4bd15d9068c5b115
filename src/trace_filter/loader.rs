//! Reads filter files: file IO and TOML, nothing else.
//!
//! Invariants:
//! - A file that loads is right in every detail the engine relies on: selectors compile, names are not empty.
//! - Keys, values and defaults are those of the filter format; whatever is not known is an error, never ignored.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::document::{Document, Section};
use super::model::{
    ExecDecision, FilterFile, FilterMeta, FilterOrigin, IoConfig, IoStream, ProjectRoot, ScopeRule, ValueAction,
    ValuePattern,
};
use super::selector::{ScopeSelector, ValueSelector};
use crate::errors::RecorderResult;
use crate::{enverr, usage};

/// Directory of a project's recorder settings.
const PROJECT_DIRECTORY: &str = ".codetracer";
/// The project's filter, in that directory.
const PROJECT_FILTER: &str = "trace-filter.toml";
/// Largest filter file (bytes): a thousand rules take about 100 KiB.
pub const MAX_FILE: u64 = 4 << 20;

const EXEC: [(&str, Option<ExecDecision>); 3] =
    [("trace", Some(ExecDecision::Trace)), ("skip", Some(ExecDecision::Skip)), ("inherit", None)];

/// The last is an older word for `redact`.
const ACTION: [(&str, ValueAction); 4] = [
    ("allow", ValueAction::Allow),
    ("redact", ValueAction::Redact),
    ("drop", ValueAction::Drop),
    ("deny", ValueAction::Redact),
];

const VALUE_DEFAULT: [(&str, Option<ValueAction>); 5] = [
    ("allow", Some(ValueAction::Allow)),
    ("redact", Some(ValueAction::Redact)),
    ("drop", Some(ValueAction::Drop)),
    ("inherit", None),
    ("deny", Some(ValueAction::Redact)),
];

const STREAMS: [(&str, IoStream); 4] = [
    ("stdout", IoStream::Stdout),
    ("stderr", IoStream::Stderr),
    ("stdin", IoStream::Stdin),
    ("files", IoStream::Files),
];

/// The filter of the project that `script` belongs to: `.codetracer/trace-filter.toml` in the script's directory or
/// the nearest one above it; where the script is a symlink and nothing is found, above its target.
pub fn find_project_filter(script: &Path) -> Option<PathBuf> {
    let above = |script: &Path| {
        script
            .ancestors()
            .skip(1)
            .map(|directory| directory.join(PROJECT_DIRECTORY).join(PROJECT_FILTER))
            .find(|path| path.is_file())
    };
    above(&std::path::absolute(script).ok()?).or_else(|| above(&script.canonicalize().ok()?))
}

/// Reads and checks a filter file.
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE` for a file that is missing, too large or wrong; `ERR_IO` for one that cannot be read.
pub(super) fn load_file(path: &Path) -> RecorderResult<FilterFile> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let label = path.to_string_lossy();
    let fail = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            usage!(InvalidPolicyValue, "trace filter `{label}` does not exist").with_context("path", &*label)
        }
        _ => enverr!(Io, "cannot read trace filter `{label}`").with_context("path", &*label).with_source(error),
    };
    let refuse =
        |what: String| Err(usage!(InvalidPolicyValue, "trace filter `{label}` {what}").with_context("path", &*label));
    let kind = std::fs::metadata(&path).map_err(fail)?;
    if !kind.is_file() {
        return refuse("is no regular file".to_owned());
    }
    if kind.len() > MAX_FILE {
        return refuse(format!("has {} bytes; the limit is {MAX_FILE}", kind.len()));
    }
    let bytes = std::fs::read(&path).map_err(fail)?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            return refuse(format!("is not UTF-8 (line {line}); save it as UTF-8"));
        }
    };
    parse(text, &label, FilterOrigin::User, project_root(&path))
}

/// What `file:` patterns of the filter at `path` are relative to: the directory that holds its `.codetracer`, or the
/// directory it lies in.
fn project_root(path: &Path) -> ProjectRoot {
    let directory = path.parent().unwrap_or(path);
    let root = match directory.parent() {
        Some(parent) if directory.ends_with(PROJECT_DIRECTORY) => parent,
        _ => directory,
    };
    ProjectRoot::new(root)
}

/// Checks the text of a filter; `label` names it in errors and metadata.
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE`, naming file, line, rule and key, and what would be right.
pub(super) fn parse(text: &str, label: &str, origin: FilterOrigin, root: ProjectRoot) -> RecorderResult<FilterFile> {
    // An editor's byte order mark is no part of the text.
    let document = Document { label, text: text.strip_prefix('\u{feff}').unwrap_or(text) };
    let table = document.parse()?;
    let top = document.top(&table);
    top.only(&["meta", "io", "scope"])?;
    let meta = meta(&top.required_section("meta", "`name` and `version`")?)?;
    let io = top.section("io")?.map_or_else(|| Ok(IoConfig::default()), |section| io(&section))?;
    let scope = top.required_section("scope", "`default_exec` and `default_value_action`")?;
    scope.only(&["default_exec", "default_value_action", "rules"])?;
    let default_exec = scope.required_choice("default_exec", &EXEC)?;
    let default_value_action = scope.required_choice("default_value_action", &VALUE_DEFAULT)?;
    let rules = scope.sections("rules")?.iter().map(|section| rule(section, &root)).collect::<RecorderResult<_>>()?;
    Ok(FilterFile {
        label: label.to_owned(),
        origin,
        sha256: sha256(&[text]),
        meta,
        io,
        default_exec,
        default_value_action,
        scope_line: scope.line(""),
        rules,
        root,
    })
}

fn meta(section: &Section<'_, '_>) -> RecorderResult<FilterMeta> {
    section.only(&["name", "version", "description", "labels"])?;
    Ok(FilterMeta {
        name: section.required_text("name", "\"my filter\"")?.to_owned(),
        version: section.required_version("version")?,
        description: section.text("description")?.map(str::to_owned),
        labels: section.texts("labels")?.unwrap_or_default().into_iter().map(str::to_owned).collect(),
    })
}

fn io(section: &Section<'_, '_>) -> RecorderResult<IoConfig> {
    section.only(&["capture", "streams", "modes"])?;
    let capture = section.boolean("capture")?;
    if section.texts("modes")?.is_some_and(|modes| !modes.is_empty()) {
        return Err(section.refuse("modes", "is reserved and must be empty; leave it out"));
    }
    let words = STREAMS.map(|(word, _)| word);
    let named = section.texts("streams")?;
    // An empty list is said, too: no stream.
    let mut streams = named.as_ref().map(|_| Vec::<IoStream>::new());
    for text in named.into_iter().flatten() {
        let Some(&(_, stream)) = STREAMS.iter().find(|(word, _)| *word == text) else {
            let near = super::suggest::did_you_mean(text, &words);
            let what = format!("`{text}` is no stream{near}; use {}", super::suggest::one_of(&words));
            return Err(section.refuse("streams", &what));
        };
        let streams = streams.get_or_insert_default();
        if !streams.contains(&stream) {
            streams.push(stream);
        }
    }
    if capture == Some(true) && streams.as_ref().is_none_or(Vec::is_empty) {
        return Err(section.refuse(
            "streams",
            "must name at least one stream when `capture = true`, e.g. `streams = [\"stdout\", \"stderr\"]`",
        ));
    }
    Ok(IoConfig { capture, streams })
}

fn rule(section: &Section<'_, '_>, root: &ProjectRoot) -> RecorderResult<ScopeRule> {
    section.only(&["selector", "exec", "value_default", "reason", "value_patterns"])?;
    let text = section.required_text("selector", "\"pkg:my_app.*\"")?;
    let selector = ScopeSelector::parse(text, root).map_err(|error| section.refuse("selector", &error.to_string()))?;
    Ok(ScopeRule {
        selector,
        exec: section.choice("exec", &EXEC)?.flatten(),
        value_default: section.choice("value_default", &VALUE_DEFAULT)?.flatten(),
        reason: section.text("reason")?.map(str::to_owned),
        patterns: section.sections("value_patterns")?.iter().map(pattern).collect::<RecorderResult<_>>()?,
        line: section.line("selector"),
    })
}

fn pattern(section: &Section<'_, '_>) -> RecorderResult<ValuePattern> {
    section.only(&["selector", "action", "reason"])?;
    let text = section.required_text("selector", "\"local:customer_*\"")?;
    let selector = ValueSelector::parse(text).map_err(|error| section.refuse("selector", &error.to_string()))?;
    Ok(ValuePattern {
        selector,
        action: section.required_choice("action", &ACTION)?,
        reason: section.text("reason")?.map(str::to_owned),
        line: section.line("selector"),
    })
}

/// Lower-case hex of the SHA-256 of the parts, one after the other.
pub(super) fn sha256(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
    }
    let mut hex = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<FilterFile, String> {
        let root = ProjectRoot { path: "/srv/app".into(), canonical: None };
        parse(text, "f.toml", FilterOrigin::User, root).map_err(|error| error.to_string())
    }

    const HEAD: &str =
        "[meta]\nname = \"x\"\nversion = 1\n[scope]\ndefault_exec = \"trace\"\ndefault_value_action = \"allow\"\n";

    #[test]
    fn a_file_with_everything_loads() {
        let filter = load(
            r#"
[meta]
name = "everything"
version = 0x2
description = "d"
labels = ["a", "b"]

[io]
capture = true
streams = ["stdout", "stderr", "stdout"]
modes = []

[scope]
default_exec = "inherit"
default_value_action = "deny"

[[scope.rules]]
selector = "pkg:my_app.*"
exec = "skip"
value_default = "inherit"
reason = "r"

[[scope.rules.value_patterns]]
selector = "local:regex:^_"
action = "drop"
reason = "p"
"#,
        )
        .unwrap();
        assert_eq!((filter.meta.name.as_str(), filter.meta.version), ("everything", 2));
        assert_eq!(filter.meta.labels, ["a", "b"]);
        assert_eq!(
            filter.io,
            IoConfig { capture: Some(true), streams: Some(vec![IoStream::Stdout, IoStream::Stderr]) }
        );
        assert_eq!((filter.default_exec, filter.default_value_action), (None, Some(ValueAction::Redact)));
        let rule = &filter.rules[0];
        assert_eq!((rule.exec, rule.value_default, rule.line), (Some(ExecDecision::Skip), None, 18));
        assert_eq!(rule.reason.as_deref(), Some("r"));
        assert_eq!((rule.patterns[0].action, rule.patterns[0].line), (ValueAction::Drop, 24));
        assert_eq!(filter.scope_line, 13);
    }

    #[test]
    fn the_digest_is_that_of_the_bytes() {
        assert_eq!(sha256(&["a", "bc"]), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let marked = load(&format!("\u{feff}{HEAD}")).unwrap();
        assert_ne!(marked.sha256, load(HEAD).unwrap().sha256);
    }

    #[test]
    fn every_mistake_is_located_and_mended() {
        let head = |rest: &str| format!("{HEAD}{rest}");
        let table: &[(String, &str)] = &[
            (String::new(), "f.toml:1: meta: is missing; add a section `[meta]` with `name` and `version`"),
            (
                "[meta]\nname = \"x\"\nversion = 1\n".into(),
                "f.toml:1: scope: is missing; add a section `[scope]` with `default_exec` and `default_value_action`",
            ),
            ("meta = 1".into(), "f.toml:1: meta: must be a table, not an integer; write `[meta]`"),
            (
                "[meta]\nname = \"x\"\nversion = 1\n[scope]\n".into(),
                "f.toml:4: scope.default_exec: is missing; use `trace`, `skip` or `inherit`",
            ),
            (
                HEAD.replace("\"allow\"", "\"hide\""),
                "f.toml:6: scope.default_value_action: `hide` is not known; use `allow`, `redact`, `drop`, `inherit` or `deny`",
            ),
            (
                HEAD.replace("\"trace\"", "\"Trace\""),
                "f.toml:5: scope.default_exec: `Trace` is not known (did you mean `trace`?); use `trace`, `skip` or `inherit`",
            ),
            (
                HEAD.replace("\"x\"", "\" \""),
                "f.toml:2: meta.name: must not be empty; write e.g. `name = \"my filter\"`",
            ),
            (HEAD.replace("name = \"x\"\n", ""), "f.toml:1: meta.name: is missing; write e.g. `name = \"my filter\"`"),
            (HEAD.replace("\"x\"", "3"), "f.toml:2: meta.name: must be a string, not an integer"),
            (HEAD.replace("= 1", "= 0"), "f.toml:3: meta.version: must be a whole number from 1 to 4294967295, not 0"),
            (
                HEAD.replace("= 1", "= -1"),
                "f.toml:3: meta.version: must be a whole number from 1 to 4294967295, not -1",
            ),
            (HEAD.replace("= 1", "= \"1\""), "f.toml:3: meta.version: must be a whole number, not a string"),
            (HEAD.replace("version = 1\n", ""), "f.toml:1: meta.version: is missing; write `version = 1`"),
            (
                HEAD.replace("version = 1\n", "version = 1\nlabels = [1]\n"),
                "f.toml:4: meta.labels: must be a list of strings, not an integer",
            ),
            (
                head("[[scope.rule]]\n"),
                "f.toml:7: scope.rule: unknown key (did you mean `rules`?); known here: `default_exec`, `default_value_action` or `rules`",
            ),
            (
                head("rules = 1\n"),
                "f.toml:7: scope.rules: must be a list of tables, not an integer; write `[[scope.rules]]`",
            ),
            (
                head("[[scope.rules]]\nexec = \"skip\"\n"),
                "f.toml:7: scope.rules[0].selector: is missing; write e.g. `selector = \"pkg:my_app.*\"`",
            ),
            (
                head(
                    "[[scope.rules]]\nselector = \"pkg:a\"\n\n[[scope.rules]]\nselector = \"pkg:b\"\nexek = \"skip\"\n",
                ),
                "f.toml:12: scope.rules[1].exek: unknown key (did you mean `exec`?); known here: `selector`, `exec`, `value_default`, `reason` or `value_patterns`",
            ),
            (
                head("[[scope.rules]]\nselector = \"pkg:a\"\nexec = \"stop\"\n"),
                "f.toml:9: scope.rules[0].exec: `stop` is not known; use `trace`, `skip` or `inherit`",
            ),
            (
                head("[[scope.rules]]\nselector = \"pkg:regex:(\"\n"),
                "f.toml:8: scope.rules[0].selector: bad regex: regex parse error:\n    (\n    ^\nerror: unclosed group",
            ),
            (
                head("[[scope.rules]]\nselector = \"file:../x\"\n"),
                "f.toml:8: scope.rules[0].selector: `../x` escapes the project root; patterns cannot start with `..`",
            ),
            (
                head(
                    "[[scope.rules]]\nselector = \"pkg:a\"\n[[scope.rules.value_patterns]]\nselector = \"local:x\"\naction = \"inherit\"\n",
                ),
                "f.toml:11: scope.rules[0].value_patterns[0].action: `inherit` is not known; use `allow`, `redact`, `drop` or `deny`",
            ),
            (
                head("[[scope.rules]]\nselector = \"pkg:a\"\n[[scope.rules.value_patterns]]\nselector = \"local:x\"\n"),
                "f.toml:9: scope.rules[0].value_patterns[0].action: is missing; use `allow`, `redact`, `drop` or `deny`",
            ),
            (
                head("[[scope.rules]]\nselector = \"pkg:a\"\nvalue_patterns = [1]\n"),
                "f.toml:9: scope.rules[0].value_patterns: must be a list of tables, not an integer; write `[[scope.rules.value_patterns]]`",
            ),
            (
                head("[io]\ncapture = true\n"),
                "f.toml:7: io.streams: must name at least one stream when `capture = true`, e.g. `streams = [\"stdout\", \"stderr\"]`",
            ),
            (
                head("[io]\ncapture = true\nstreams = []\n"),
                "f.toml:9: io.streams: must name at least one stream when `capture = true`, e.g. `streams = [\"stdout\", \"stderr\"]`",
            ),
            (head("[io]\ncapture = 1\n"), "f.toml:8: io.capture: must be true or false, not an integer"),
            (
                head("[io]\nstreams = [\"stdotu\"]\n"),
                "f.toml:8: io.streams: `stdotu` is no stream (did you mean `stdout`?); use `stdout`, `stderr`, `stdin` or `files`",
            ),
            (head("[io]\nmodes = [\"r\"]\n"), "f.toml:8: io.modes: is reserved and must be empty; leave it out"),
        ];
        for (text, expected) in table {
            assert_eq!(load(text).unwrap_err(), *expected, "{text}");
        }
        assert!(load("[meta\n").unwrap_err().starts_with("f.toml:1: is not valid TOML: "));
        assert!(load(&format!("x = {}", "[".repeat(100_000))).unwrap_err().contains("is not valid TOML"));
    }

    #[test]
    fn errors_carry_their_place_as_context() {
        let text = format!("{HEAD}[[scope.rules]]\nselector = \"pkg:a\"\nexec = \"stop\"\n");
        let error = parse(&text, "f.toml", FilterOrigin::User, ProjectRoot::new(Path::new("/"))).unwrap_err();
        let context: Vec<_> = error.context.iter().map(|(key, value)| (*key, value.as_str())).collect();
        assert_eq!(
            context,
            [("key", "scope.rules[0].exec"), ("line", "9"), ("path", "f.toml"), ("rule", "scope.rules[0]")]
        );
        assert_eq!(error.code.as_str(), "ERR_INVALID_POLICY_VALUE");
        assert_eq!(error.kind.as_str(), "Usage");
    }

    #[test]
    fn files_know_their_project_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join(".codetracer")).unwrap();
        std::fs::create_dir_all(root.join("src/deep")).unwrap();
        let project = root.join(".codetracer/trace-filter.toml");
        std::fs::write(&project, HEAD).unwrap();
        std::fs::write(root.join("src/other.toml"), HEAD).unwrap();
        std::fs::write(root.join("src/deep/a.py"), "").unwrap();
        assert_eq!(load_file(&project).unwrap().root.path, root);
        assert_eq!(load_file(&root.join("src/other.toml")).unwrap().root.path, root.join("src"));
        assert_eq!(find_project_filter(&root.join("src/deep/a.py")), Some(project.clone()));
        assert_eq!(find_project_filter(&root.join("src/deep/missing.py")), Some(project));
        let elsewhere = tempfile::tempdir().unwrap();
        assert_eq!(find_project_filter(&elsewhere.path().join("a.py")), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_linked_script_belongs_to_the_project_of_its_target() {
        let (project, bin) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = project.path().canonicalize().unwrap();
        std::fs::create_dir(root.join(".codetracer")).unwrap();
        std::fs::write(root.join(".codetracer/trace-filter.toml"), HEAD).unwrap();
        std::fs::write(root.join("a.py"), "").unwrap();
        std::os::unix::fs::symlink(root.join("a.py"), bin.path().join("a")).unwrap();
        assert_eq!(find_project_filter(&bin.path().join("a")), Some(root.join(".codetracer/trace-filter.toml")));
    }

    #[test]
    fn unreadable_files_are_explained() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let message = |name: &str| load_file(&path(name)).unwrap_err().to_string();
        assert!(message("missing.toml").ends_with("missing.toml` does not exist"));
        assert!(load_file(directory.path()).unwrap_err().to_string().ends_with("is no regular file"));
        std::fs::write(path("latin.toml"), b"# a\n# \xe9\n").unwrap();
        assert!(message("latin.toml").ends_with("is not UTF-8 (line 2); save it as UTF-8"));
        std::fs::File::create(path("big.toml")).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(message("big.toml").contains("the limit is 4194304"));
    }
}
