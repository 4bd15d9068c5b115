//! Plain data shared by the stages: the format of the files and how the program ended.

/// What the trace files are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TraceFormat {
    /// `trace.bin`: CBOR in seekable zstd, format version 1.
    #[default]
    Binary,
    /// `trace.json`: one JSON array.
    Json,
}

impl TraceFormat {
    /// Name of the events file in a trace directory.
    pub const fn events_file(self) -> &'static str {
        match self {
            Self::Binary => "trace.bin",
            Self::Json => "trace.json",
        }
    }

    /// The other format's events file, which must not lie beside ours.
    pub const fn foreign_events_file(self) -> &'static str {
        match self {
            Self::Binary => "trace.json",
            Self::Json => "trace.bin",
        }
    }
}

/// How the program ended, as the Return of `<toplevel>` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// A known exit status, shown as Int.
    Code(i64),
    /// Not known, shown as the String `<exit>`.
    Unknown,
}
