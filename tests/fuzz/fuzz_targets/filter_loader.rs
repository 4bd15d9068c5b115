//! Any bytes as a filter file: loaded and used, or refused as a mistake of the user; never a panic, never a hang.

#![no_main]

use std::path::Path;

use codetracer_python_recorder::errors::{ErrorCode, ErrorKind};
use codetracer_python_recorder::trace_filter::{Scope, TraceFilterConfig, TraceFilterEngine, ValueKind};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(bytes) else { return Corpus::Reject };
    match TraceFilterConfig::builder().inline("fuzz", text, Path::new("/srv/app")).build() {
        Ok(config) => {
            let engine = TraceFilterEngine::new(config);
            let scope = Scope { module: Some("my_app.core"), path: "/srv/app/src/core.py", qualname: "Service.login" };
            let (resolution, explanation) = (engine.resolve(&scope), engine.explain(&scope));
            assert_eq!(resolution.exec(), explanation.exec);
            for kind in ValueKind::ALL {
                assert_eq!(resolution.action(kind, "password"), explanation.value(kind, "password").action);
            }
        }
        Err(error) => assert_eq!((error.kind, error.code), (ErrorKind::Usage, ErrorCode::InvalidPolicyValue)),
    }
    Corpus::Keep
});
