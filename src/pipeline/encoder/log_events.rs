//! `Event` records: what the program read and wrote, and marks where the recording has gaps.

use runtime_tracing::EventLogKind;
use serde::{Serialize, Serializer};

use crate::pipeline::layout::{LossCause, Malformed, output};

/// Metadata of program input and output.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct OutputMetadata {
    pub stream: &'static str,
    /// Native id of the thread.
    pub thread: u64,
    /// Where it came from; `None` when that is not known.
    pub path_id: Option<u32>,
    pub line: u32,
    pub frame_id: u64,
    #[serde(serialize_with = "flag_names")]
    pub flags: u8,
    /// It is only where the thread stood when the output was seen.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
}

fn flag_names<S: Serializer>(flags: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(output::FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| name))
}

/// Metadata of a gap.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct GapMetadata {
    kind: &'static str,
    cause: &'static str,
    count: u64,
}

impl GapMetadata {
    pub(super) const fn new(cause: LossCause, count: u64) -> Self {
        Self { kind: "lost", cause: cause.as_str(), count }
    }

    /// What a reader sees of the gap.
    pub(super) fn content(&self) -> String {
        format!("{} events lost here: {}", self.count, self.cause)
    }
}

/// Writes metadata as JSON into `buffer`, in place of what it holds.
pub(super) fn metadata_text<'b>(metadata: &impl Serialize, buffer: &'b mut Vec<u8>) -> Result<&'b str, Malformed> {
    buffer.clear();
    serde_json::to_writer(&mut *buffer, metadata).map_err(|_| Malformed)?;
    std::str::from_utf8(buffer).map_err(|_| Malformed)
}

/// Kind of event, and name in the metadata, of a stream of an `OUTPUT` record.
pub(super) const fn output_stream(stream: u8) -> Result<(EventLogKind, &'static str), Malformed> {
    match stream {
        output::STDOUT => Ok((EventLogKind::Write, "stdout")),
        output::STDERR => Ok((EventLogKind::WriteOther, "stderr")),
        output::STDIN => Ok((EventLogKind::Read, "stdin")),
        _ => Err(Malformed),
    }
}

/// The kind with this number.
pub(super) fn event_kind(byte: u8) -> Result<EventLogKind, Malformed> {
    use EventLogKind::{
        CloseDir, Error, EvmEvent, Open, OpenDir, Read, ReadDir, ReadFile, ReadOther, Socket, TraceLogEvent, Write,
        WriteFile, WriteOther,
    };
    const KINDS: [EventLogKind; 14] = [
        Write,
        WriteFile,
        WriteOther,
        Read,
        ReadFile,
        ReadOther,
        ReadDir,
        OpenDir,
        CloseDir,
        Socket,
        Open,
        Error,
        TraceLogEvent,
        EvmEvent,
    ];
    KINDS.get(usize::from(byte)).copied().ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_kind_is_the_one_with_its_number() {
        for byte in 0..=u8::MAX {
            match event_kind(byte) {
                Ok(kind) => assert_eq!(kind as u8, byte),
                Err(Malformed) => assert!(byte > EventLogKind::EvmEvent as u8),
            }
        }
    }

    #[test]
    fn metadata_is_json_with_all_keys_in_order() {
        let mut buffer = b"something old".to_vec();
        let output = OutputMetadata {
            stream: "stdout",
            thread: 7,
            path_id: Some(2),
            line: 30,
            frame_id: u64::MAX,
            flags: output::NEWLINE | output::TIME_SPLIT,
            approximate: false,
        };
        assert_eq!(
            metadata_text(&output, &mut buffer),
            Ok(concat!(
                r#"{"stream":"stdout","thread":7,"path_id":2,"line":30,"frame_id":18446744073709551615,"#,
                r#""flags":["newline","time_split"]}"#
            ))
        );
        let unknown = OutputMetadata { path_id: None, line: 0, frame_id: 0, flags: 0, ..output };
        assert_eq!(
            metadata_text(&unknown, &mut buffer),
            Ok(r#"{"stream":"stdout","thread":7,"path_id":null,"line":0,"frame_id":0,"flags":[]}"#)
        );
        let near = OutputMetadata { flags: output::MIRROR, approximate: true, ..output };
        assert_eq!(
            metadata_text(&near, &mut buffer),
            Ok(concat!(
                r#"{"stream":"stdout","thread":7,"path_id":2,"line":30,"frame_id":18446744073709551615,"#,
                r#""flags":["mirror"],"approximate":true}"#
            ))
        );
        let gap = GapMetadata::new(LossCause::QueueFull, 3);
        assert_eq!(metadata_text(&gap, &mut buffer), Ok(r#"{"kind":"lost","cause":"queue_full","count":3}"#));
        assert_eq!(gap.content(), "3 events lost here: queue_full");
    }
}
