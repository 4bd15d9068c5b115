//! Failure injection for tests: `CODETRACER_TEST_INJECT_FAILURE`, only with the cargo feature `integration-test`.
//!
//! Invariants: without the feature nothing here does anything and the variable is not read.

use crate::errors::RecorderError;

/// Where a failure can be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    PyStart,
    Line,
    Finish,
    SuppressEvents,
    TargetArgs,
    Panic,
    /// Fails where a variable was passed over that has changed.
    PassedOver,
    /// Nothing fails, but the end waits a second for the workers and not a minute.
    Impatience,
}

/// What is injected in this session; read once at its start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Injection {
    #[cfg(feature = "integration-test")]
    stage: Option<Stage>,
}

#[cfg(feature = "integration-test")]
impl Injection {
    pub fn from_env() -> Self {
        let value = std::env::var("CODETRACER_TEST_INJECT_FAILURE").unwrap_or_default();
        let stage = match value.trim().to_ascii_lowercase().replace('_', "-").as_str() {
            "py-start" => Some(Stage::PyStart),
            "line" => Some(Stage::Line),
            "finish" => Some(Stage::Finish),
            "suppress-events" => Some(Stage::SuppressEvents),
            "target-args" => Some(Stage::TargetArgs),
            "panic" => Some(Stage::Panic),
            "passed-over" => Some(Stage::PassedOver),
            "impatience" => Some(Stage::Impatience),
            _ => None,
        };
        Self { stage }
    }

    /// Whether this stage is the injected one.
    #[inline]
    pub fn is(self, stage: Stage) -> bool {
        self.stage == Some(stage)
    }

    /// Fails if this stage is the injected one.
    #[inline]
    pub fn check(self, stage: Stage) -> Result<(), Box<RecorderError>> {
        if self.is(stage) { Err(Self::failure(stage)) } else { Ok(()) }
    }

    #[cold]
    fn failure(stage: Stage) -> Box<RecorderError> {
        let name = match stage {
            Stage::PyStart => "py-start",
            Stage::Line => "line",
            Stage::Finish => "finish",
            Stage::SuppressEvents => "suppress-events",
            Stage::TargetArgs => "target-args",
            Stage::Panic => "panic",
            Stage::PassedOver => "passed-over",
            Stage::Impatience => "impatience",
        };
        Box::new(match stage {
            Stage::TargetArgs => crate::target!(TraceIncomplete, "test-injected failure at {name}"),
            _ => crate::bug!(TraceIncomplete, "test-injected failure at {name}"),
        })
    }
}

#[cfg(not(feature = "integration-test"))]
impl Injection {
    #[inline]
    pub fn from_env() -> Self {
        Self::default()
    }
    #[inline]
    pub fn is(self, _stage: Stage) -> bool {
        false
    }
    #[inline]
    pub fn check(self, _stage: Stage) -> Result<(), Box<RecorderError>> {
        Ok(())
    }
}
