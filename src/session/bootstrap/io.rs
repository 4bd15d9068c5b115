//! Which streams of the program are recorded.

use std::path::Path;
use std::sync::Arc;

use pyo3::Python;

use crate::policy::model::RecorderPolicy;
use crate::runtime::io_capture::totals::Limits;
use crate::runtime::io_capture::{Capture, Sink};
use crate::runtime::tracer::shared::Shared;
use crate::trace_filter::{IoConfig, IoStream};

/// Whether the recording is of the whole program, from its main file on.
pub fn is_whole_program(activation: Option<&Path>, script: Option<&Path>) -> bool {
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    match (activation, script) {
        (Some(activation), Some(script)) => {
            activation == script || canonical(activation).is_some_and(|path| canonical(script) == Some(path))
        }
        _ => false,
    }
}

/// The streams by number, as policy and filters want them.
fn wanted(policy: &RecorderPolicy, filter: &IoConfig) -> [bool; 3] {
    if !policy.io_capture.line_proxies || filter.capture == Some(false) {
        return [false; 3];
    }
    match &filter.streams {
        None => [true; 3],
        Some(streams) => [IoStream::Stdout, IoStream::Stderr, IoStream::Stdin].map(|stream| streams.contains(&stream)),
    }
}

/// Begins to watch the program's streams, if any is to be recorded.
pub fn watch(
    py: Python<'_>,
    shared: &Arc<Shared>,
    policy: &RecorderPolicy,
    filter: &IoConfig,
    whole_program: bool,
) -> Option<Capture> {
    let streams = wanted(policy, filter);
    let limits = Limits { one: policy.values.max_output_chunk, total: policy.values.max_output_total };
    let sink = || Arc::new(Sink::new(Arc::clone(shared), streams, whole_program, limits));
    streams.contains(&true).then(|| Capture::install(py, sink(), policy.io_capture.fd_fallback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_and_filters_both_have_to_want_a_stream() {
        let mut policy = RecorderPolicy::default();
        let mut filter = IoConfig::default();
        assert_eq!(wanted(&policy, &filter), [true; 3]);
        filter.streams = Some(vec![IoStream::Stderr, IoStream::Files]);
        assert_eq!(wanted(&policy, &filter), [false, true, false]);
        filter.capture = Some(false);
        assert_eq!(wanted(&policy, &filter), [false; 3]);
        filter = IoConfig::default();
        policy.io_capture.line_proxies = false;
        assert_eq!(wanted(&policy, &filter), [false; 3]);
    }

    #[test]
    fn a_program_is_whole_when_its_own_script_switches_recording_on() {
        let (main, other) = (Path::new("/w/main.py"), Path::new("/w/other.py"));
        assert!(is_whole_program(Some(main), Some(main)));
        assert!(!is_whole_program(Some(other), None));
        assert!(!is_whole_program(None, Some(main)));
    }
}
