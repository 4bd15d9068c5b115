//! Reads a TOML table by key, and says where in the file anything unacceptable stands.
//!
//! Invariants:
//! - Every error is a `UsageError` `ERR_INVALID_POLICY_VALUE`, reads `file:line: key: what is wrong; what would be right`,
//!   and carries `path`, `line`, `key` and (inside a rule) `rule` as context.
//! - Keys nobody asked for are errors: a misspelt `exec` must not silently record what was to be skipped.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::suggest::{did_you_mean, one_of};
use crate::errors::{RecorderError, RecorderResult};
use crate::usage;

type Value<'d> = Spanned<DeValue<'d>>;

/// One filter file as text.
pub(super) struct Document<'d> {
    /// The path as shown to people.
    pub label: &'d str,
    /// The whole text.
    pub text: &'d str,
}

impl<'d> Document<'d> {
    /// Parses the text; the caller keeps the result and makes sections of it.
    pub fn parse(&self) -> RecorderResult<Spanned<DeTable<'d>>> {
        DeTable::parse(self.text).map_err(|error| {
            let at = error.span().unwrap_or(0..0);
            self.refuse(at, "", "", &format!("is not valid TOML: {}", error.message()))
        })
    }

    /// The whole file as a section.
    pub fn top<'s>(&'s self, table: &'s Spanned<DeTable<'d>>) -> Section<'s, 'd> {
        Section { document: self, name: String::new(), table: table.get_ref(), span: table.span() }
    }

    /// The 1-based line at a byte offset.
    pub fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    }

    fn refuse(&self, at: Range<usize>, section: &str, key: &str, what: &str) -> RecorderError {
        located(self.label, self.line(at.start), section, key, what)
    }
}

/// An error about a key of a section; either may be empty.
pub(super) fn located(label: &str, line: usize, section: &str, key: &str, what: &str) -> RecorderError {
    let full = match (section, key) {
        ("", key) => key.to_owned(),
        (section, "") => section.to_owned(),
        (section, key) => format!("{section}.{key}"),
    };
    let separator = if full.is_empty() { "" } else { ": " };
    let mut error = usage!(InvalidPolicyValue, "{label}:{line}: {full}{separator}{what}")
        .with_context("path", label)
        .with_context("line", line.to_string());
    if !full.is_empty() {
        error = error.with_context("key", full);
    }
    match section.starts_with("scope.rules[") {
        true => error.with_context("rule", section),
        false => error,
    }
}

/// A table of the file.
pub(super) struct Section<'s, 'd> {
    document: &'s Document<'d>,
    /// Its path, e.g. `scope.rules[2].value_patterns[0]`; empty for the file itself.
    pub name: String,
    table: &'s DeTable<'d>,
    span: Range<usize>,
}

impl<'s, 'd> Section<'s, 'd> {
    /// An error about `key` of this section, at the key's value, or at the section where it has no such key.
    pub fn refuse(&self, key: &str, what: &str) -> RecorderError {
        let at = self.get(key).map_or_else(|| self.span.clone(), Spanned::span);
        self.document.refuse(at, &self.name, key, what)
    }

    /// The line of `key`'s value, or of the section.
    pub fn line(&self, key: &str) -> usize {
        self.document.line(self.get(key).map_or(self.span.start, |value| value.span().start))
    }

    /// Refuses keys that are none of `known`; of several the first in the file.
    pub fn only(&self, known: &[&str]) -> RecorderResult<()> {
        let unknown = self.table.iter().map(|(key, _)| key).filter(|key| !known.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let name = key.get_ref();
        let what = format!("unknown key{}; known here: {}", did_you_mean(name, known), one_of(known));
        Err(self.document.refuse(key.span(), &self.name, name, &what))
    }

    fn get(&self, key: &str) -> Option<&'s Value<'d>> {
        self.table.get(key)
    }

    fn wrong_type(&self, key: &str, value: &Value<'d>, expected: &str) -> RecorderError {
        // What stands after a semicolon says how to write it right, so it comes last.
        let (expected, hint) =
            expected.split_once(';').map_or((expected, String::new()), |(e, hint)| (e, format!(";{hint}")));
        self.refuse(key, &format!("must be {expected}, not {}{hint}", with_article(value.get_ref().type_str())))
    }

    /// A string.
    pub fn text(&self, key: &str) -> RecorderResult<Option<&'s str>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.get_ref().as_str().map(Some).ok_or_else(|| self.wrong_type(key, value, "a string"))
    }

    /// A string that must be there, and must not be blank.
    pub fn required_text(&self, key: &str, example: &str) -> RecorderResult<&'s str> {
        match self.text(key)? {
            None => Err(self.refuse(key, &format!("is missing; write e.g. `{key} = {example}`"))),
            Some(text) if text.trim().is_empty() => {
                Err(self.refuse(key, &format!("must not be empty; write e.g. `{key} = {example}`")))
            }
            Some(text) => Ok(text),
        }
    }

    /// One of a few words, each with its meaning.
    pub fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> RecorderResult<Option<T>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if let Some(&(_, meaning)) = choices.iter().find(|(word, _)| *word == text) {
            return Ok(Some(meaning));
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        Err(self.refuse(key, &format!("`{text}` is not known{}; use {}", did_you_mean(text, &words), one_of(&words))))
    }

    /// One of a few words that must be there.
    pub fn required_choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> RecorderResult<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.choice(key, choices)?.ok_or_else(|| self.refuse(key, &format!("is missing; use {}", one_of(&words))))
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &str) -> RecorderResult<Option<bool>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.get_ref().as_bool().map(Some).ok_or_else(|| self.wrong_type(key, value, "true or false"))
    }

    /// A whole number of at least 1 that must be there.
    pub fn required_version(&self, key: &str) -> RecorderResult<u32> {
        let Some(value) = self.get(key) else {
            return Err(self.refuse(key, &format!("is missing; write `{key} = 1`")));
        };
        let integer = value.get_ref().as_integer().ok_or_else(|| self.wrong_type(key, value, "a whole number"))?;
        match u32::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if number >= 1 => Ok(number),
            _ => {
                Err(self
                    .refuse(key, &format!("must be a whole number from 1 to {}, not {}", u32::MAX, integer.as_str())))
            }
        }
    }

    /// A list of strings.
    pub fn texts(&self, key: &str) -> RecorderResult<Option<Vec<&'s str>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let expected = "a list of strings";
        let list = value.get_ref().as_array().ok_or_else(|| self.wrong_type(key, value, expected))?;
        list.iter()
            .map(|item| item.get_ref().as_str().ok_or_else(|| self.wrong_type(key, item, expected)))
            .collect::<RecorderResult<Vec<_>>>()
            .map(Some)
    }

    /// A table.
    pub fn section(&self, key: &str) -> RecorderResult<Option<Section<'s, 'd>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let table = value.get_ref().as_table();
        let table =
            table.ok_or_else(|| self.wrong_type(key, value, &format!("a table; write `[{}]`", self.path(key))))?;
        Ok(Some(Section { document: self.document, name: self.path(key), table, span: value.span() }))
    }

    /// A table that must be there.
    pub fn required_section(&self, key: &str, contents: &str) -> RecorderResult<Section<'s, 'd>> {
        let missing = || self.refuse(key, &format!("is missing; add a section `[{}]` with {contents}", self.path(key)));
        self.section(key)?.ok_or_else(missing)
    }

    /// A list of tables.
    pub fn sections(&self, key: &str) -> RecorderResult<Vec<Section<'s, 'd>>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let expected = format!("a list of tables; write `[[{}]]`", bare(&self.path(key)));
        let list = value.get_ref().as_array().ok_or_else(|| self.wrong_type(key, value, &expected))?;
        let item = |(index, item): (usize, &'s Value<'d>)| {
            let table = item.get_ref().as_table().ok_or_else(|| self.wrong_type(key, item, &expected))?;
            let name = format!("{}[{index}]", self.path(key));
            Ok(Section { document: self.document, name, table, span: item.span() })
        };
        list.iter().enumerate().map(item).collect()
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

/// `scope.rules[2].value_patterns` → `scope.rules.value_patterns`, as headers are written.
fn bare(path: &str) -> String {
    path.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}
