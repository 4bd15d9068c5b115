//! Many patterns over one kind of text, compiled once.
//!
//! Invariants:
//! - The cheap ways come first: whole texts and prefixes are hash look-ups; only what is left becomes one `GlobSet`
//!   and a few `RegexSet`s of bounded size: the lazy automaton of a huge one outgrows its cache and turns slow.
//! - A pattern that cannot be compiled is found by halving the set, and named by its number.
//! - Every match is reported, in no particular order; who asks decides which one counts.

use std::sync::Arc;

use globset::{Candidate, GlobSet};
use regex::{RegexSet, RegexSetBuilder};
use rustc_hash::FxHashMap;

use crate::trace_filter::selector::{Matcher, glob, has_wildcards};
use crate::trace_filter::words::{SECRETS, WordSet};

/// Compiled size of one `RegexSet` (bytes), so of one regex too; beyond it the set is halved. `regex` allows 10 MiB.
const REGEX_SET_SIZE: usize = 2 << 20;
/// Cache of the lazy automaton of one `RegexSet` (bytes).
const REGEX_CACHE_SIZE: usize = 4 << 20;
/// Regexes in one set. In `benches/filter_engine.rs` one set of hundreds of regexes of `\w+` outgrew its cache and was
/// several times slower than sets of this size. Globs gain nothing: they stay in one set.
const REGEXES_PER_SET: usize = 32;

/// Number of a pattern in its set; the owner gives it a meaning.
pub(in crate::trace_filter) type PatternId = u32;

/// A pattern that does not compile, and why.
#[derive(Debug)]
pub(in crate::trace_filter) struct BadPattern {
    pub id: PatternId,
    pub why: String,
}

#[derive(Debug, Default)]
pub(in crate::trace_filter) struct PatternSet {
    /// Match every text.
    all: Vec<PatternId>,
    literals: FxHashMap<Box<str>, Vec<PatternId>>,
    prefixes: FxHashMap<Box<str>, Vec<PatternId>>,
    /// Lengths that occur in `prefixes`, ascending.
    prefix_lengths: Vec<usize>,
    globs: Vec<(GlobSet, Vec<PatternId>)>,
    regexes: Vec<(RegexSet, Vec<PatternId>)>,
    words: Vec<(Arc<WordSet>, PatternId)>,
}

impl PatternSet {
    /// Compiles patterns; `is_file` makes `*` and `?` stop at `/`.
    pub fn new<'m>(
        patterns: impl IntoIterator<Item = (PatternId, &'m Matcher)>,
        is_file: bool,
    ) -> Result<Self, BadPattern> {
        let mut set = Self::default();
        let (mut globs, mut regexes) = (Vec::new(), Vec::new());
        for (id, matcher) in patterns {
            match matcher {
                Matcher::Literal(text) => set.literals.entry(text.as_str().into()).or_default().push(id),
                Matcher::Glob(pattern) => match prefix(pattern, is_file) {
                    Some("") => set.all.push(id),
                    Some(prefix) => set.prefixes.entry(prefix.into()).or_default().push(id),
                    None => globs.push((id, pattern.as_str())),
                },
                Matcher::Regex(pattern) => regexes.push((id, pattern.as_str())),
                Matcher::Words(phrases) => {
                    set.words.push((Arc::new(WordSet::new(phrases.iter().map(String::as_str))), id));
                }
                Matcher::SecretWords => set.words.push((SECRETS.clone(), id)),
            }
        }
        set.prefix_lengths = set.prefixes.keys().map(|prefix| prefix.len()).collect();
        set.prefix_lengths.sort_unstable();
        set.prefix_lengths.dedup();
        compile(&globs, globs.len(), &mut set.globs, &|patterns| {
            let mut builder = GlobSet::builder();
            for (_, pattern) in patterns {
                builder.add(glob(pattern, is_file).map_err(|error| error.to_string())?);
            }
            builder.build().map_err(|error| error.to_string())
        })?;
        compile(&regexes, REGEXES_PER_SET, &mut set.regexes, &|patterns| {
            let mut builder = RegexSetBuilder::new(patterns.iter().map(|(_, pattern)| *pattern));
            builder.size_limit(REGEX_SET_SIZE).dfa_size_limit(REGEX_CACHE_SIZE).build().map_err(|error| match error {
                regex::Error::CompiledTooBig(limit) => {
                    format!("compiles to more than {limit} bytes; use smaller repetitions")
                }
                error => format!("bad regex: {error}"),
            })
        })?;
        Ok(set)
    }

    /// Calls `found` with every pattern that matches, each once.
    pub fn matches(&self, text: &str, mut found: impl FnMut(PatternId)) {
        self.matches_text(text, &mut found);
        for (words, id) in &self.words {
            if words.matches(text) {
                found(*id);
            }
        }
    }

    /// Whether anything but words is looked for.
    pub fn looks_at_text(&self) -> bool {
        !(self.all.is_empty()
            && self.literals.is_empty()
            && self.prefixes.is_empty()
            && self.globs.is_empty()
            && self.regexes.is_empty())
    }

    /// As [`Self::matches`], without the patterns that look for words: those are about plain names.
    pub fn matches_text(&self, text: &str, mut found: impl FnMut(PatternId)) {
        self.all.iter().copied().for_each(&mut found);
        if !self.literals.is_empty()
            && let Some(ids) = self.literals.get(text)
        {
            ids.iter().copied().for_each(&mut found);
        }
        for &length in self.prefix_lengths.iter().take_while(|&&length| length <= text.len()) {
            if let Some(ids) = text.get(..length).and_then(|prefix| self.prefixes.get(prefix)) {
                ids.iter().copied().for_each(&mut found);
            }
        }
        if !self.globs.is_empty() {
            let candidate = Candidate::new(text);
            for (set, ids) in &self.globs {
                set.matches_candidate(&candidate).into_iter().for_each(|index| found(ids[index]));
            }
        }
        for (set, ids) in &self.regexes {
            set.matches(text).into_iter().for_each(|index| found(ids[index]));
        }
    }
}

/// The text a glob merely asks to start with, if that is all it asks.
fn prefix(pattern: &str, is_file: bool) -> Option<&str> {
    let prefix = if is_file {
        // `src/**` is everything below `src/`; a single `*` would stop at the next `/`.
        let prefix = pattern.strip_suffix("**")?;
        (prefix.is_empty() || prefix.ends_with('/')).then_some(prefix)?
    } else {
        pattern.strip_suffix('*')?
    };
    (!has_wildcards(prefix)).then_some(prefix)
}

/// Compiles patterns into sets of at most `per_set`, smaller where one would be beyond the limits of size.
fn compile<S>(
    patterns: &[(PatternId, &str)],
    per_set: usize,
    sets: &mut Vec<(S, Vec<PatternId>)>,
    build: &impl Fn(&[(PatternId, &str)]) -> Result<S, String>,
) -> Result<(), BadPattern> {
    for patterns in patterns.chunks(per_set.max(1)) {
        match build(patterns) {
            Ok(set) => sets.push((set, patterns.iter().map(|(id, _)| *id).collect())),
            Err(why) => match patterns {
                [(id, _)] => return Err(BadPattern { id: *id, why }),
                several => {
                    let (left, right) = several.split_at(several.len() / 2);
                    compile(left, per_set, sets, build)?;
                    compile(right, per_set, sets, build)?;
                }
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(patterns: &[Matcher], is_file: bool, text: &str) -> Vec<PatternId> {
        let set = PatternSet::new(patterns.iter().enumerate().map(|(id, matcher)| (id as PatternId, matcher)), is_file)
            .unwrap();
        let mut found = Vec::new();
        set.matches(text, |id| found.push(id));
        found.sort_unstable();
        found
    }

    fn globs(patterns: &[&str]) -> Vec<Matcher> {
        patterns.iter().map(|pattern| Matcher::Glob((*pattern).to_owned())).collect()
    }

    #[test]
    fn a_star_crosses_dots_but_not_slashes() {
        let patterns = globs(&["my_app.*", "*.core", "my_app.*.models", "*", "my?app.core", "{my,your}_app.[ct]ore"]);
        assert_eq!(matches(&patterns, false, "my_app.core"), [0, 1, 3, 4, 5]);
        assert_eq!(matches(&patterns, false, "my_app.a.b.models"), [0, 2, 3]);
        assert_eq!(matches(&patterns, false, "my_app"), [3]);
        let patterns = globs(&["src/*", "src/**", "src/**/*.py", "*", "**", "**/a.py", "s*"]);
        assert_eq!(matches(&patterns, true, "src/a.py"), [0, 1, 2, 4, 5]);
        assert_eq!(matches(&patterns, true, "src/x/a.py"), [1, 2, 4, 5]);
        assert_eq!(matches(&patterns, true, "a.py"), [3, 4, 5]);
        assert_eq!(matches(&patterns, true, "/usr/lib/a.py"), [4, 5]);
    }

    #[test]
    fn all_kinds_of_patterns_report_each_match_once() {
        let patterns = [
            Matcher::Literal("a.b".into()),
            Matcher::Glob("a.*".into()),
            Matcher::Glob("*b".into()),
            Matcher::Regex("^a".into()),
            Matcher::Regex("[.]".into()),
            Matcher::Words(vec!["b".into()]),
            Matcher::SecretWords,
            Matcher::Literal("*".into()),
        ];
        assert_eq!(matches(&patterns, false, "a.b"), [0, 1, 2, 3, 4, 5]);
        assert_eq!(matches(&patterns, false, "a.token"), [1, 3, 4, 6]);
        assert_eq!(matches(&patterns, false, "*"), [7]);
        assert_eq!(matches(&patterns, false, ""), [] as [u32; 0]);
    }

    #[test]
    fn prefixes_never_split_a_character() {
        let patterns = globs(&["ab*", "é*"]);
        assert_eq!(matches(&patterns, false, "éx"), [1]);
        assert_eq!(matches(&patterns, false, "aé"), [] as [u32; 0]);
    }

    #[test]
    fn sets_beyond_the_limits_are_split() {
        // Each alone is well below the limit of size; a set of `REGEXES_PER_SET` is beyond it.
        let patterns: Vec<Matcher> = (0..100).map(|n| Matcher::Regex(format!("^(?:x\\w{{9}}){{1}}{n}y$"))).collect();
        let set = PatternSet::new(patterns.iter().enumerate().map(|(id, m)| (id as PatternId, m)), false).unwrap();
        assert!(set.regexes.len() > 100 / REGEXES_PER_SET + 1, "the limit of size split nothing: make the test bigger");
        let mut found = Vec::new();
        set.matches("xabcdefghi7y", |id| found.push(id));
        assert_eq!(found, [7]);
    }

    #[test]
    fn a_pattern_beyond_the_limits_is_named() {
        let mut patterns: Vec<Matcher> = (0..70).map(|n| Matcher::Regex(format!("^a{n}$"))).collect();
        patterns[50] = Matcher::Regex(r"(\w{100}){100}".into());
        let bad = PatternSet::new(patterns.iter().enumerate().map(|(id, m)| (id as PatternId, m)), false).unwrap_err();
        assert_eq!((bad.id, bad.why.as_str()), (50, "compiles to more than 2097152 bytes; use smaller repetitions"));
    }
}
