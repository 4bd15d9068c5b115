//! Bytes of a stream as text: whole characters only, and what is none is escaped.
//!
//! Invariants:
//! - No byte is lost or invented: undoing the escapes gives the bytes back.
//! - Between two calls at most three bytes wait: the beginning of a character that may still be completed.

use std::fmt::Write;

/// The state of one stream of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    waiting: Vec<u8>,
}

impl Decoder {
    /// Appends the text of `bytes` to `out`; true if bytes had to be escaped (as `\xNN`).
    pub fn push(&mut self, bytes: &[u8], out: &mut String) -> bool {
        let mut escaped = false;
        let joined;
        let mut rest = bytes;
        if !self.waiting.is_empty() {
            self.waiting.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.waiting);
            rest = &joined;
        }
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    return escaped;
                }
                Err(error) => {
                    let (valid, invalid) = rest.split_at(error.valid_up_to());
                    // This is valid by the error's word.
                    out.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    let Some(length) = error.error_len() else {
                        self.waiting = invalid.to_vec();
                        return escaped;
                    };
                    escape(&invalid[..length], out);
                    escaped = true;
                    rest = &invalid[length..];
                }
            }
        }
    }

    /// What waits will not be completed: escapes it. True if there was any.
    pub fn finish(&mut self, out: &mut String) -> bool {
        let waiting = std::mem::take(&mut self.waiting);
        escape(&waiting, out);
        !waiting.is_empty()
    }
}

fn escape(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_comes_in_parts_is_shown_whole() {
        for text in ["né", "→ x", "🦀!"] {
            for cut in 0..=text.len() {
                let (mut decoder, mut out) = (Decoder::default(), String::new());
                assert!(!decoder.push(&text.as_bytes()[..cut], &mut out));
                assert!(!decoder.push(&text.as_bytes()[cut..], &mut out));
                assert!(!decoder.finish(&mut out));
                assert_eq!(out, text);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        let (mut decoder, mut out) = (Decoder::default(), String::new());
        assert!(decoder.push(b"a\xff\xc3(b", &mut out));
        assert_eq!(out, r"a\xff\xc3(b");
        out.clear();
        assert!(!decoder.push(b"\xe2\x86", &mut out));
        assert!(decoder.push(b"z", &mut out));
        assert!(!decoder.push(b"\xe2", &mut out));
        assert!(decoder.finish(&mut out));
        assert_eq!(out, r"\xe2\x86z\xe2");
    }
}
