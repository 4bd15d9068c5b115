//! A trace directory made of any bytes.

use std::path::Path;

use tempfile::TempDir;
use zeekstd::SeekTable;

const HEADER: [u8; 8] = [0xC0, 0xDE, 0x72, 0xAC, 0xE2, 0x01, 0x00, 0x00];

/// The first byte says what the others are: a binary events file as it is; events in a sound container, cut into frames,
/// perhaps with the end missing; a JSON events file; or one of the small files beside a sound trace.
pub fn directory(bytes: &[u8]) -> Option<TempDir> {
    let (&kind, rest) = bytes.split_first()?;
    let dir = tempfile::tempdir().ok()?;
    let put = |name: &str, contents: &[u8]| std::fs::write(dir.path().join(name), contents).ok();
    match kind % 8 {
        0 => put("trace.bin", &[&HEADER, rest].concat())?,
        1 => put("trace.bin", &container(rest, rest.len().max(1), 0)?)?,
        2 => put("trace.bin", &container(rest, 16, 0)?)?,
        3 => {
            let (&cut, events) = rest.split_first()?;
            put("trace.bin", &container(events, 32, usize::from(cut))?)?;
        }
        4 => put("trace.json", rest)?,
        kind => {
            put("trace.json", SOUND.as_bytes())?;
            let threads = dir.path().join("threads");
            std::fs::create_dir(&threads).ok()?;
            match kind {
                5 => std::fs::write(threads.join("index.jsonl"), rest).ok()?,
                6 => put("trace_metadata.json", rest)?,
                _ => {
                    put("recording.json", rest)?;
                    put("trace_paths.json", rest)?;
                }
            }
        }
    }
    Some(dir)
}

/// A file with these events in frames of `size` bytes, without its last `cut` bytes.
fn container(events: &[u8], size: usize, cut: usize) -> Option<Vec<u8>> {
    let mut file = HEADER.to_vec();
    let mut table = SeekTable::new();
    for piece in events.chunks(size) {
        let frame = zstd::bulk::compress(piece, 1).ok()?;
        table.log_frame(frame.len() as u32, piece.len() as u32).ok()?;
        file.extend_from_slice(&frame);
    }
    let mut serializer = table.into_serializer();
    let mut tail = vec![0; serializer.encoded_len()];
    let written = serializer.write_into(&mut tail);
    file.extend_from_slice(&tail[..written]);
    file.truncate(file.len().saturating_sub(cut).max(HEADER.len()));
    Some(file)
}

const SOUND: &str = r#"[
{"Path":"/p.py"},
{"Function":{"path_id":0,"line":1,"name":"<toplevel>"}},
{"Call":{"function_id":0,"args":[]}},
{"Type":{"kind":30,"lang_type":"None","specific_info":{"kind":"None"}}},
{"Step":{"path_id":0,"line":1}},
{"Return":{"return_value":{"kind":"None","type_id":0}}}
]
"#;

/// Every file below a directory with its contents.
pub fn files(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(contents) = std::fs::read(&path) {
            found.push((path, contents));
        }
    }
    found.sort();
    found
}
