//! Splits identifiers into words, and finds phrases in them.
//!
//! Invariants:
//! - A phrase matches whole words only: `pan` is found in `cardPan`, never in `company`.
//! - Looking up a name allocates nothing, whatever the name: dict keys are looked up while the program runs. Most names
//!   hold no word of any phrase, not even as a part, and one pass of an automaton tells.
//! - A phrase of several words also matches its words glued into one (`api key` finds `apikey`); the last word may
//!   carry a plural `s` unless the phrase is one word of three letters or fewer (`pin` does not find `pins`).

use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use rustc_hash::FxHashMap;

/// Longer words are in no phrase, so they are stepped over without a look at the table (bytes, lower-cased).
const MAX_WORD: usize = 32;

/// The list that `@secrets` stands for: one phrase per line, `#` starts a comment.
pub(super) const SECRETS_TEXT: &str = include_str!("secret_words.txt");

/// The compiled `@secrets`.
pub(super) static SECRETS: LazyLock<Arc<WordSet>> = LazyLock::new(|| Arc::new(WordSet::new(secret_phrases())));

fn secret_phrases() -> impl Iterator<Item = &'static str> {
    SECRETS_TEXT.lines().map(|line| line.split('#').next().unwrap_or("").trim()).filter(|line| !line.is_empty())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Lower,
    Upper,
    Digit,
    Separator,
}

fn class(c: char) -> Class {
    if c.is_ascii() {
        return match c {
            'a'..='z' => Class::Lower,
            'A'..='Z' => Class::Upper,
            '0'..='9' => Class::Digit,
            _ => Class::Separator,
        };
    }
    if c.is_uppercase() {
        Class::Upper
    } else if c.is_alphabetic() {
        Class::Lower
    } else if c.is_numeric() {
        Class::Digit
    } else {
        Class::Separator
    }
}

/// The words of an identifier, in its own case: `userPasswordV2` → `user`, `Password`, `V`, `2`.
///
/// Words end at separators, between letters and digits, before a capital that follows a small letter, and before the
/// last capital of a run that a small letter follows (`APIKey` → `API`, `Key`; a plural `s` stays: `userIDs` → `user`, `IDs`).
pub fn words(name: &str) -> Words<'_> {
    Words { rest: name }
}

/// Iterator of [`words`].
#[derive(Debug, Clone)]
pub struct Words<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest.trim_start_matches(|c| class(c) == Class::Separator);
        let end = word_end(text);
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// Where the word that `text` starts with ends (bytes); 0 for an empty text.
fn word_end(text: &str) -> usize {
    let mut chars = text.char_indices().peekable();
    let Some((_, first)) = chars.next() else { return 0 };
    let mut previous = class(first);
    // Start of the previous character, and how many capitals stand in a row before this one.
    let mut previous_at = 0;
    let mut capitals = usize::from(previous == Class::Upper);
    while let Some((at, c)) = chars.next() {
        let current = class(c);
        match (previous, current) {
            (Class::Upper, Class::Lower) if capitals > 1 => {
                let plural = c == 's' && chars.peek().is_none_or(|&(_, next)| class(next) != Class::Lower);
                return if plural { at + c.len_utf8() } else { previous_at };
            }
            (Class::Upper, Class::Lower) => capitals = 0,
            (Class::Upper, Class::Upper) => capitals += 1,
            (a, b) if a != b => return at,
            _ => {}
        }
        previous = current;
        previous_at = at;
    }
    text.len()
}

/// A lower-cased word on the stack.
struct Lower {
    bytes: [u8; MAX_WORD],
    len: usize,
}

impl Lower {
    /// `None` where the word is too long to be in any phrase.
    fn new(word: &str) -> Option<Self> {
        let mut lower = Self { bytes: [0; MAX_WORD], len: 0 };
        if word.is_ascii() {
            let target = lower.bytes.get_mut(..word.len())?;
            target.copy_from_slice(word.as_bytes());
            target.make_ascii_lowercase();
            lower.len = word.len();
            return Some(lower);
        }
        for c in word.chars().flat_map(char::to_lowercase) {
            let end = lower.len + c.len_utf8();
            c.encode_utf8(lower.bytes.get_mut(lower.len..end)?);
            lower.len = end;
        }
        Some(lower)
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A lower-case word of a phrase (UTF-8).
type Word = Box<[u8]>;

/// Phrases to look for in names.
#[derive(Debug)]
pub struct WordSet {
    /// Finds first words of phrases anywhere in a text, in any (ASCII) case; `None` where it could not be built.
    parts: Option<AhoCorasick>,
    /// First word → what may follow it, each alternative a list of words.
    phrases: FxHashMap<Word, Vec<Vec<Word>>>,
}

impl WordSet {
    /// Compiles phrases: words in any case, split like names are.
    pub fn new<'a>(phrases: impl IntoIterator<Item = &'a str>) -> Self {
        let mut set = Self { parts: None, phrases: FxHashMap::default() };
        for phrase in phrases {
            let words: Vec<String> = words(phrase).map(str::to_lowercase).collect();
            let plural = words.len() > 1 || words.iter().all(|word| word.chars().count() > 3);
            set.insert(&words);
            set.insert(&[words.concat()]);
            if plural && let Some((last, head)) = words.split_last() {
                let mut many = head.to_vec();
                many.push(format!("{last}s"));
                set.insert(&many);
                set.insert(&[many.concat()]);
            }
        }
        let kind = Some(AhoCorasickKind::DFA);
        set.parts = AhoCorasick::builder().ascii_case_insensitive(true).kind(kind).build(set.phrases.keys()).ok();
        set
    }

    fn insert(&mut self, words: &[String]) {
        let Some((first, rest)) = words.split_first().filter(|(first, _)| !first.is_empty()) else { return };
        let rest: Vec<Word> = rest.iter().map(|word| word.as_bytes().into()).collect();
        let alternatives = self.phrases.entry(first.as_bytes().into()).or_default();
        if !alternatives.contains(&rest) {
            alternatives.push(rest);
        }
    }

    /// Whether any phrase occurs in the words of `name`.
    pub fn matches(&self, name: &str) -> bool {
        // Letters beyond ASCII may have other cases that the automaton does not know.
        if let Some(parts) = &self.parts
            && name.is_ascii()
            && !parts.is_match(name)
        {
            return false;
        }
        let mut rest = words(name);
        while let Some(word) = rest.next() {
            let Some(word) = Lower::new(word) else { continue };
            let Some(alternatives) = self.phrases.get(word.as_bytes()) else { continue };
            if alternatives.iter().any(|phrase| follows(rest.clone(), phrase)) {
                return true;
            }
        }
        false
    }
}

/// Whether the next words are exactly those of `phrase`.
fn follows(mut rest: Words<'_>, phrase: &[Word]) -> bool {
    phrase.iter().all(|want| rest.next().and_then(Lower::new).is_some_and(|word| word.as_bytes() == &**want))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identifiers_split_into_words() {
        for (name, expected) in [
            ("password", "password"),
            ("user_password", "user password"),
            ("__user__password__", "user password"),
            ("userPassword", "user Password"),
            ("UserPassword", "User Password"),
            ("APIKey", "API Key"),
            ("apiKEY", "api KEY"),
            ("XApiKey", "X Api Key"),
            ("X-Api-Key", "X Api Key"),
            ("userIDs", "user IDs"),
            ("JWTs_seen", "JWTs seen"),
            ("HTMLsource", "HTM Lsource"),
            ("HTTPServer", "HTTP Server"),
            ("password2", "password 2"),
            ("oauth2Token", "oauth 2 Token"),
            ("sha256sum", "sha 256 sum"),
            ("A", "A"),
            ("aB", "a B"),
            ("AB", "AB"),
            ("a.b/c d", "a b c d"),
            ("", ""),
            ("___", ""),
            ("größeÜbersicht", "größe Übersicht"),
            ("密码_pin", "密码 pin"),
        ] {
            assert_eq!(words(name).collect::<Vec<_>>().join(" "), expected, "{name}");
        }
    }

    #[test]
    fn phrases_match_whole_words_glued_words_and_plurals() {
        let set = WordSet::new(["api key", "token", "pin"]);
        for name in ["api_key", "apiKey", "APIKEY", "x-api-keys", "myApiKeys2", "Token", "tokens", "led_pin", "PIN"] {
            assert!(set.matches(name), "{name}");
        }
        for name in ["api", "key", "api_the_key", "keyApi", "tokenizer", "pins", "spin", "pinned", "", "apikeyring"] {
            assert!(!set.matches(name), "{name}");
        }
    }

    #[test]
    fn secret_words_find_secrets() {
        for name in [
            "password",
            "passwd",
            "pwd",
            "userPassword",
            "PASSWORD_1",
            "pass_word",
            "passwords",
            "new_passphrase",
            "client_secret",
            "secrets",
            "token",
            "accessToken",
            "refresh_tokens",
            "api_key",
            "apikey",
            "APIKey",
            "X-Api-Key",
            "aws_access_key_id",
            "private_key",
            "privateKeyPem",
            "secretkey",
            "auth",
            "basic_auth",
            "oauth",
            "Authorization",
            "proxy-authorization",
            "credentials",
            "db_creds",
            "cookie",
            "Set-Cookie",
            "session_id",
            "sessionid",
            "sid",
            "csrf_token",
            "csrf",
            "jwt",
            "bearer",
            "card_number",
            "cardNumber",
            "creditCard",
            "pan",
            "cvv",
            "cvv2",
            "cvc",
            "iban",
            "account_number",
            "accountNo",
            "ssn",
            "otp",
            "pin",
            "_Login__password",
            "connection_string",
            "DATABASE_URL",
            "db_pass",
            "smtpPass",
            "signing_key",
            "passcode",
        ] {
            assert!(SECRETS.matches(name), "{name} must be a secret");
        }
    }

    #[test]
    fn secret_words_leave_the_rest_alone() {
        for name in [
            "company",
            "author",
            "authors",
            "authored",
            "tokenizer",
            "tokenize",
            "_active_session",
            "session",
            "TraceSession",
            "session_count",
            "unix_socket_path",
            "key",
            "keys",
            "keyboard",
            "primary_key",
            "sort_key",
            "card",
            "discard",
            "cardinality",
            "account",
            "accounts",
            "number",
            "spinner",
            "pinned",
            "pins",
            "expand",
            "panel",
            "japan",
            "passenger",
            "passed",
            "compass",
            "bypass",
            "side",
            "inside",
            "residual",
            "secretary",
            "cookiecutter",
            "pass_count",
            "number_of_accounts",
            "possession_id_",
            "x",
            "",
            "data_url",
            "base_url",
            "first_pass",
            "hotpath",
            "private",
            "access",
            "public_key",
            "foreign_key",
        ] {
            assert!(!SECRETS.matches(name), "{name} must not be a secret");
        }
    }

    #[test]
    fn the_list_of_secrets_is_lower_case_sorted_out_and_short_enough_to_match() {
        let mut seen = std::collections::BTreeSet::new();
        for phrase in secret_phrases() {
            assert!(phrase.chars().all(|c| c.is_ascii_lowercase() || c == ' '), "{phrase:?}");
            assert!(seen.insert(phrase), "{phrase:?} twice");
            assert!(phrase.len() < MAX_WORD, "{phrase:?} glued would never match");
            assert!(SECRETS.matches(phrase), "{phrase:?}");
        }
        assert!(seen.len() > 40);
    }

    proptest! {
        #[test]
        fn words_are_the_name_without_its_separators(name in "\\PC{0,40}") {
            let glued: String = words(&name).collect();
            let kept: String = name.chars().filter(|&c| class(c) != Class::Separator).collect();
            prop_assert_eq!(glued, kept);
        }

        #[test]
        fn a_secret_word_is_found_between_any_other_words(
            before in "[a-z]{0,6}", after in "[a-z]{0,6}", secret in proptest::sample::select(secret_phrases().collect::<Vec<_>>()),
        ) {
            let snake = format!("{before}_{}_{after}", secret.replace(' ', "_"));
            prop_assert!(SECRETS.matches(&snake), "{}", snake);
            let camel: String = secret.split(' ').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
            prop_assert!(SECRETS.matches(&format!("{before}{camel}")), "{}{}", before, camel);
        }

        #[test]
        fn looking_up_any_text_never_panics(name in any::<String>()) {
            SECRETS.matches(&name);
        }
    }
}
