//! One error type for everything the recorder can refuse or fail at.
//!
//! Invariants:
//! - Every error has a [`ErrorKind`] (who can mend it) and a stable [`ErrorCode`] (what scripts match on);
//!   codes are only ever added to, never renamed.
//! - The message says what is wrong and how to mend it; machine-readable details go to `context`.
//! - Nothing here touches Python except [`python`], which turns an error into the public exception classes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

pub mod python;

/// Who can mend an error; each kind is one Python exception class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller asked for something impossible: `UsageError`.
    Usage,
    /// The machine refused (file system, permissions, limits): `EnvironmentError`.
    Environment,
    /// The traced program got in the way: `TargetError`.
    Target,
    /// A bug of ours: `InternalError`.
    Internal,
}

impl ErrorKind {
    /// The name used in log lines and in the JSON trailer.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "Usage",
            Self::Environment => "Environment",
            Self::Target => "Target",
            Self::Internal => "Internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident => $text:literal,)+) => {
        /// Stable, machine-readable reason of an error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)+ }

        impl ErrorCode {
            /// Every code, in declaration order.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)+];

            /// The stable text, e.g. `ERR_IO`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

error_codes! {
    /// Nothing more precise is known.
    Unknown => "ERR_UNKNOWN",
    /// A session is already recording in this process.
    AlreadyTracing => "ERR_ALREADY_TRACING",
    /// The trace directory exists and is no directory.
    TraceDirConflict => "ERR_TRACE_DIR_CONFLICT",
    /// The trace directory cannot be created.
    TraceDirCreateFailed => "ERR_TRACE_DIR_CREATE_FAILED",
    /// The trace format is neither `binary` nor `json`.
    UnsupportedFormat => "ERR_UNSUPPORTED_FORMAT",
    /// A positional argument is missing.
    MissingPositionalArgument => "ERR_MISSING_POSITIONAL_ARG",
    /// A keyword argument is missing.
    MissingKeywordArgument => "ERR_MISSING_KEYWORD_ARG",
    /// The running frame cannot be read.
    FrameIntrospectionFailed => "ERR_FRAME_INTROSPECTION_FAILED",
    /// The globals of a frame cannot be read.
    GlobalsIntrospectionFailed => "ERR_GLOBALS_INTROSPECTION_FAILED",
    /// No monitoring tool id is free, or ours was taken.
    TracerInstallConflict => "ERR_TRACER_INSTALL_CONFLICT",
    /// Reading or writing a file failed.
    Io => "ERR_IO",
    /// A policy, filter or environment value is not acceptable.
    InvalidPolicyValue => "ERR_INVALID_POLICY_VALUE",
    /// A trace was required and nothing was recorded.
    TraceMissing => "ERR_TRACE_MISSING",
    /// The trace is not complete.
    TraceIncomplete => "ERR_TRACE_INCOMPLETE",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Result of everything fallible in this crate.
pub type RecorderResult<T> = Result<T, RecorderError>;

/// What went wrong, for whom, and the details that help to mend it.
#[derive(Debug)]
pub struct RecorderError {
    /// Who can mend it.
    pub kind: ErrorKind,
    /// Stable reason.
    pub code: ErrorCode,
    message: Cow<'static, str>,
    /// Machine-readable details, e.g. `path`, `key`, `value`.
    pub context: BTreeMap<&'static str, String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl RecorderError {
    /// A new error without context or cause.
    pub fn new(kind: ErrorKind, code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, code, message: message.into(), context: BTreeMap::new(), source: None }
    }

    /// Adds a machine-readable detail.
    #[must_use]
    pub fn with_context(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.context.insert(key, value.into());
        self
    }

    /// Adds the cause, shown after the message.
    #[must_use]
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// The message alone, without code and cause.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for RecorderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl Error for RecorderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// `usage!(Code, "…{}", x)`: an error the caller can mend.
#[macro_export]
macro_rules! usage {
    ($code:ident, $($arg:tt)+) => {
        $crate::errors::RecorderError::new($crate::errors::ErrorKind::Usage, $crate::errors::ErrorCode::$code, format!($($arg)+))
    };
}

/// `enverr!(Code, "…{}", x)`: an error of the machine (file system, limits).
#[macro_export]
macro_rules! enverr {
    ($code:ident, $($arg:tt)+) => {
        $crate::errors::RecorderError::new($crate::errors::ErrorKind::Environment, $crate::errors::ErrorCode::$code, format!($($arg)+))
    };
}

/// `target!(Code, "…{}", x)`: the traced program got in the way.
#[macro_export]
macro_rules! target {
    ($code:ident, $($arg:tt)+) => {
        $crate::errors::RecorderError::new($crate::errors::ErrorKind::Target, $crate::errors::ErrorCode::$code, format!($($arg)+))
    };
}

/// `bug!(Code, "…{}", x)`: an error only we can mend.
#[macro_export]
macro_rules! bug {
    ($code:ident, $($arg:tt)+) => {
        $crate::errors::RecorderError::new($crate::errors::ErrorKind::Internal, $crate::errors::ErrorCode::$code, format!($($arg)+))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_prefixed() {
        let mut seen = std::collections::BTreeSet::new();
        for code in ErrorCode::ALL {
            assert!(code.as_str().starts_with("ERR_"), "{code}");
            assert!(seen.insert(code.as_str()), "{code} twice");
        }
    }

    #[test]
    fn display_shows_the_message_and_then_the_cause() {
        let error = enverr!(Io, "cannot write {}", "x").with_source(std::io::Error::other("disk full"));
        assert_eq!(error.to_string(), "cannot write x: disk full");
        assert_eq!(error.message(), "cannot write x");
        assert_eq!(error.kind, ErrorKind::Environment);
    }

    #[test]
    fn context_keeps_the_last_value_of_a_key() {
        let error = usage!(Io, "m").with_context("path", "a").with_context("path", "b");
        assert_eq!(error.context["path"], "b");
    }
}
