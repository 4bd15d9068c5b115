//! Selectors: `kind[:match]:pattern`, parsed and checked.
//!
//! Invariants:
//! - Globs and regexes are checked for syntax here, where the place is known, and compiled only once, by the engine,
//!   which enforces the limits of size.
//! - `file:` patterns come out relative to their base, with `/`; one that leaves the project is refused.
//! - Error messages say what would be right; the loader adds file, line, rule and key.

use std::fmt;

use globset::{Glob, GlobBuilder};
use regex_syntax::ParserBuilder;

use super::model::{ProjectRoot, ValueKind};
use super::suggest::{did_you_mean, one_of};

/// Longest pattern (bytes): far beyond anything written by hand, small enough to compile at once.
pub const MAX_PATTERN: usize = 4096;
/// Nesting of groups in a regex.
const REGEX_NEST: u32 = 64;

/// What a scope selector looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScopeKind {
    /// `pkg`: the module's name.
    Package,
    /// `file`: the path of the source, relative to a base.
    File(FileBase),
    /// `obj`: `module.qualname`.
    Object,
}

/// What a `file:` pattern is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileBase {
    /// The project root of the filter.
    Project,
    /// `@stdlib/…`: the interpreter's standard library, frozen modules included.
    Stdlib,
    /// `@site-packages/…`: installed packages.
    SitePackages,
}

/// How a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Matcher {
    /// The whole text.
    Literal(String),
    /// `*`, `?`, `[…]`, `{a,b}`; in `file:` patterns `*` and `?` stop at `/`, `**` does not.
    Glob(String),
    /// Anywhere in the text, unless anchored.
    Regex(String),
    /// Phrases, found as whole words of an identifier.
    Words(Vec<String>),
    /// `words:@secrets`: the built-in list of phrases.
    SecretWords,
}

/// Selects code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeSelector {
    /// What it looks at.
    pub kind: ScopeKind,
    /// How it matches.
    pub matcher: Matcher,
    /// As written.
    pub text: String,
}

/// Selects values by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueSelector {
    /// What it looks at.
    pub kind: ValueKind,
    /// How it matches.
    pub matcher: Matcher,
    /// As written.
    pub text: String,
}

/// Why a selector is refused, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorError(String);

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SelectorError {}

macro_rules! refuse {
    ($($arg:tt)+) => { Err(SelectorError(format!($($arg)+))) };
}

const SCOPE_KINDS: [&str; 3] = ["pkg", "file", "obj"];
const VALUE_KINDS: [&str; 5] = ["local", "global", "arg", "ret", "attr"];
const SCOPE_MATCHES: &[&str] = &["glob", "regex", "literal"];
const VALUE_MATCHES: &[&str] = &["glob", "regex", "literal", "words"];

impl ScopeSelector {
    /// Parses a selector of a rule; `root` is what its `file:` patterns are relative to.
    ///
    /// # Errors
    /// When kind, match or pattern is not acceptable.
    pub fn parse(text: &str, root: &ProjectRoot) -> Result<Self, SelectorError> {
        let (kind, matching, pattern) = split(text, &SCOPE_KINDS, SCOPE_MATCHES, &VALUE_KINDS, "value_patterns")?;
        let (kind, pattern) = match kind {
            "pkg" => (ScopeKind::Package, pattern.to_owned()),
            "obj" => (ScopeKind::Object, pattern.to_owned()),
            _ if matching == "regex" => (ScopeKind::File(FileBase::Project), pattern.to_owned()),
            _ => {
                let (base, pattern) = file_pattern(pattern, matching == "literal", root)?;
                (ScopeKind::File(base), pattern)
            }
        };
        let matcher = matcher(matching, pattern, matches!(kind, ScopeKind::File(_)))?;
        Ok(Self { kind, matcher, text: text.to_owned() })
    }
}

impl ValueSelector {
    /// Parses a selector of a value pattern.
    ///
    /// # Errors
    /// When kind, match or pattern is not acceptable.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let (kind, matching, pattern) = split(text, &VALUE_KINDS, VALUE_MATCHES, &SCOPE_KINDS, "scope.rules")?;
        let kind = ValueKind::ALL.into_iter().find(|known| known.as_str() == kind).unwrap_or(ValueKind::Local);
        let matcher = matcher(matching, pattern.to_owned(), false)?;
        Ok(Self { kind, matcher, text: text.to_owned() })
    }
}

/// Splits `kind[:match]:pattern`; the kind and the match returned are known ones.
fn split<'t>(
    text: &'t str,
    kinds: &[&str],
    matches: &[&'static str],
    elsewhere: &[&str],
    where_else: &str,
) -> Result<(&'t str, &'t str, &'t str), SelectorError> {
    if text.len() > MAX_PATTERN {
        return refuse!("is {} bytes long; the limit is {MAX_PATTERN}", text.len());
    }
    let Some((kind, rest)) = text.split_once(':') else {
        let example = if kinds.contains(&text) { text } else { kinds[0] };
        return refuse!("`{text}` has no pattern; a selector is kind[:match]:pattern, e.g. `{example}:my_app.*`");
    };
    if elsewhere.contains(&kind) {
        return refuse!("`{kind}` is not allowed here, it belongs in {where_else}; use {}", one_of(kinds));
    }
    if !kinds.contains(&kind) {
        return refuse!("unknown kind `{kind}`{}; use {}", did_you_mean(kind, kinds), one_of(kinds));
    }
    let (matching, pattern) = match rest.split_once(':') {
        None => ("glob", rest),
        Some((matching, pattern)) if matches.contains(&matching) => (matching, pattern),
        Some((matching, _)) => {
            return refuse!(
                "unknown match `{matching}`{}; use {} (a pattern that contains `:` needs one of them before it: `{kind}:glob:{rest}`)",
                did_you_mean(matching, matches),
                one_of(matches)
            );
        }
    };
    if pattern.is_empty() {
        return refuse!("the pattern must not be empty; `{kind}:*` matches everything");
    }
    Ok((kind, matching, pattern))
}

fn matcher(matching: &str, pattern: String, is_file: bool) -> Result<Matcher, SelectorError> {
    match matching {
        "literal" => Ok(Matcher::Literal(pattern)),
        "regex" => match ParserBuilder::new().nest_limit(REGEX_NEST).build().parse(&pattern) {
            Ok(_) => Ok(Matcher::Regex(pattern)),
            Err(error) => refuse!("bad regex: {error}"),
        },
        "words" => word_list(&pattern),
        // A lone literal is common, and then there is nothing to compile.
        _ if !has_wildcards(&pattern) => Ok(Matcher::Literal(pattern)),
        _ => match glob(&pattern, is_file) {
            Ok(_) => Ok(Matcher::Glob(pattern)),
            Err(error) => refuse!("bad glob `{pattern}`: {}; write `[[]` for a plain bracket", error.kind()),
        },
    }
}

fn word_list(pattern: &str) -> Result<Matcher, SelectorError> {
    if pattern == "@secrets" {
        return Ok(Matcher::SecretWords);
    }
    if pattern.starts_with('@') {
        return refuse!("unknown list of words `{pattern}`; the only one is `@secrets`");
    }
    let phrases: Vec<String> = pattern.split('|').map(|phrase| phrase.trim().to_owned()).collect();
    if phrases.iter().any(|phrase| super::words::words(phrase).next().is_none()) {
        return refuse!("`{pattern}` has an empty phrase; write phrases separated by `|`, e.g. `customer name|vat id`");
    }
    Ok(Matcher::Words(phrases))
}

/// Whether a glob is more than a literal.
pub(super) fn has_wildcards(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', ']', '{', '}', '\\'])
}

/// A glob as selectors mean it.
pub(super) fn glob(pattern: &str, is_file: bool) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(is_file).backslash_escape(true).build()
}

/// Takes a pattern's base off, and makes the rest relative to it.
fn file_pattern(pattern: &str, literal: bool, root: &ProjectRoot) -> Result<(FileBase, String), SelectorError> {
    for (prefix, base) in [("@stdlib/", FileBase::Stdlib), ("@site-packages/", FileBase::SitePackages)] {
        if let Some(rest) = pattern.strip_prefix(prefix) {
            return Ok((base, tidy(rest, pattern)?));
        }
    }
    let unified = if literal { pattern.replace('\\', "/") } else { pattern.to_owned() };
    let Some(absolute) = absolute(&unified) else { return Ok((FileBase::Project, tidy(&unified, pattern)?)) };
    for spelling in root.spellings() {
        let spelling = super::paths::unify(&spelling.to_string_lossy()).into_owned();
        if let Some(rest) = absolute.strip_prefix(spelling.trim_end_matches('/'))
            && let Some(rest) = rest.strip_prefix('/')
        {
            return Ok((FileBase::Project, tidy(rest, pattern)?));
        }
    }
    refuse!(
        "`{pattern}` must reside within project root `{}`; write it relative to the root, or select code elsewhere with `pkg:`, `@stdlib/…` or `@site-packages/…`",
        root.path.display()
    )
}

/// The pattern itself if it starts at the root of a file system.
fn absolute(pattern: &str) -> Option<&str> {
    let bytes = pattern.as_bytes();
    let drive = bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && bytes[2] == b'/';
    (drive || pattern.starts_with('/')).then_some(pattern)
}

/// Resolves `.` and `..`, and refuses to leave the base.
fn tidy(relative: &str, written: &str) -> Result<String, SelectorError> {
    let mut parts: Vec<&str> = Vec::new();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.pop() {
                Some(parent) if !has_wildcards(parent) => {}
                Some(parent) => return refuse!("`{written}` has `..` after the wildcard `{parent}`; leave both out"),
                None => return refuse!("`{written}` escapes the project root; patterns cannot start with `..`"),
            },
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return refuse!("`{written}` names the project root itself; `file:**` matches every file in it");
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn root() -> ProjectRoot {
        ProjectRoot { path: "/srv/app".into(), canonical: Some("/data/app".into()) }
    }

    fn scope(text: &str) -> Result<(ScopeKind, Matcher), String> {
        ScopeSelector::parse(text, &root()).map(|s| (s.kind, s.matcher)).map_err(|e| e.to_string())
    }

    fn value(text: &str) -> Result<(ValueKind, Matcher), String> {
        ValueSelector::parse(text).map(|s| (s.kind, s.matcher)).map_err(|e| e.to_string())
    }

    #[test]
    fn scope_selectors_parse() {
        use Matcher::{Glob, Literal, Regex};
        use ScopeKind::{File, Object, Package};
        let project = File(FileBase::Project);
        for (text, expected) in [
            ("pkg:my_app", (Package, Literal("my_app".into()))),
            ("pkg:my_app.*", (Package, Glob("my_app.*".into()))),
            ("pkg:glob:a:b*", (Package, Glob("a:b*".into()))),
            ("pkg:literal:a.*", (Package, Literal("a.*".into()))),
            ("obj:regex:^a::b$", (Object, Regex("^a::b$".into()))),
            ("file:src/**/*.py", (project, Glob("src/**/*.py".into()))),
            ("file:./src//x/../a.py", (project, Literal("src/a.py".into()))),
            ("file:literal:src\\a.py", (project, Literal("src/a.py".into()))),
            ("file:literal:/srv/app/src/a.py", (project, Literal("src/a.py".into()))),
            ("file:/data/app/src/*.py", (project, Glob("src/*.py".into()))),
            ("file:@stdlib/json/**", (File(FileBase::Stdlib), Glob("json/**".into()))),
            ("file:@site-packages/six.py", (File(FileBase::SitePackages), Literal("six.py".into()))),
            ("file:regex:^/etc/", (project, Regex("^/etc/".into()))),
        ] {
            assert_eq!(scope(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn value_selectors_parse() {
        for (text, kind, matcher) in [
            ("local:x", ValueKind::Local, Matcher::Literal("x".into())),
            ("global:A_*", ValueKind::Global, Matcher::Glob("A_*".into())),
            ("arg:regex:^_", ValueKind::Argument, Matcher::Regex("^_".into())),
            ("ret:literal:*", ValueKind::Return, Matcher::Literal("*".into())),
            (
                "attr:words:customer name|vat id",
                ValueKind::Attribute,
                Matcher::Words(vec!["customer name".into(), "vat id".into()]),
            ),
            ("local:words:@secrets", ValueKind::Local, Matcher::SecretWords),
        ] {
            assert_eq!(value(text), Ok((kind, matcher)), "{text}");
        }
    }

    #[test]
    fn refusals_say_what_would_be_right() {
        for (text, expected) in [
            ("my_app", "`my_app` has no pattern; a selector is kind[:match]:pattern, e.g. `pkg:my_app.*`"),
            ("obj", "`obj` has no pattern; a selector is kind[:match]:pattern, e.g. `obj:my_app.*`"),
            ("pgk:x", "unknown kind `pgk` (did you mean `pkg`?); use `pkg`, `file` or `obj`"),
            ("local:x", "`local` is not allowed here, it belongs in value_patterns; use `pkg`, `file` or `obj`"),
            (
                "pkg:golb:x",
                "unknown match `golb` (did you mean `glob`?); use `glob`, `regex` or `literal` (a pattern that contains `:` needs one of them before it: `pkg:glob:golb:x`)",
            ),
            (
                "pkg:words:x",
                "unknown match `words`; use `glob`, `regex` or `literal` (a pattern that contains `:` needs one of them before it: `pkg:glob:words:x`)",
            ),
            ("pkg:", "the pattern must not be empty; `pkg:*` matches everything"),
            ("pkg:regex:", "the pattern must not be empty; `pkg:*` matches everything"),
            ("pkg:a[", "bad glob `a[`: unclosed character class; missing ']'; write `[[]` for a plain bracket"),
            ("file:../x.py", "`../x.py` escapes the project root; patterns cannot start with `..`"),
            ("file:a/../../x.py", "`a/../../x.py` escapes the project root; patterns cannot start with `..`"),
            ("file:a/*/../x.py", "`a/*/../x.py` has `..` after the wildcard `*`; leave both out"),
            ("file:./", "`./` names the project root itself; `file:**` matches every file in it"),
            (
                "file:/etc/*.py",
                "`/etc/*.py` must reside within project root `/srv/app`; write it relative to the root, or select code elsewhere with `pkg:`, `@stdlib/…` or `@site-packages/…`",
            ),
            (
                "file:literal:/srv/application/x.py",
                "`/srv/application/x.py` must reside within project root `/srv/app`; write it relative to the root, or select code elsewhere with `pkg:`, `@stdlib/…` or `@site-packages/…`",
            ),
        ] {
            assert_eq!(scope(text), Err(expected.to_owned()), "{text}");
        }
        for (text, expected) in [
            (
                "file:x",
                "`file` is not allowed here, it belongs in scope.rules; use `local`, `global`, `arg`, `ret` or `attr`",
            ),
            (
                "locals:x",
                "unknown kind `locals` (did you mean `local`?); use `local`, `global`, `arg`, `ret` or `attr`",
            ),
            ("local:words:@secret", "unknown list of words `@secret`; the only one is `@secrets`"),
            (
                "local:words:a||b",
                "`a||b` has an empty phrase; write phrases separated by `|`, e.g. `customer name|vat id`",
            ),
        ] {
            assert_eq!(value(text), Err(expected.to_owned()), "{text}");
        }
        assert!(scope("pkg:regex:(").unwrap_err().starts_with("bad regex: regex parse error"));
        assert!(scope(&format!("pkg:regex:{}{}", "(".repeat(99), ")".repeat(99))).unwrap_err().contains("nest"));
        assert!(scope(&format!("pkg:{}", "a".repeat(5000))).unwrap_err().contains("the limit is 4096"));
    }

    #[test]
    fn a_root_may_hold_characters_that_are_special_in_globs() {
        let root = ProjectRoot { path: Path::new("/w/[x]").into(), canonical: None };
        let selector = ScopeSelector::parse("file:/w/[x]/a*.py", &root).unwrap();
        assert_eq!(selector.matcher, Matcher::Glob("a*.py".into()));
    }
}
