//! The frames of a `trace.bin`, and the seek table behind them.
//!
//! Invariants:
//! - A frame counts only if it is whole and its checksum, if it has one, is right: zstd's own, or the one in the
//!   skippable frame behind it, which counts as part of it.
//! - One frame is in memory at a time, compressed; its contents never are.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use zstd::zstd_safe;

use crate::pipeline::compressor::{CHECK_MAGIC, check_frame};

/// Length of the file header.
pub(super) const HEADER_LEN: u64 = 8;
/// First five bytes of every binary trace; the version follows.
pub(super) const MAGIC: [u8; 5] = [0xC0, 0xDE, 0x72, 0xAC, 0xE2];

/// Number that starts the skippable frame of a seek table.
const TABLE_MAGIC: u32 = 0x184D_2A5E;
/// Length of that number and of the frame's size.
const TABLE_HEAD: u64 = 8;
/// Length of the end of a seek table: number of frames, descriptor, and [`zeekstd::SEEKABLE_MAGIC_NUMBER`].
const TABLE_FOOT: u64 = 9;
/// Bit of the descriptor that says that entries have a checksum, and so twelve bytes and not eight.
const WITH_CHECKSUMS: u8 = 0x80;
/// Bits of the descriptor that have to be 0.
const RESERVED: u8 = 0x7c;

/// The first read of a frame; most fit.
const FIRST_READ: usize = 256 * 1024;

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Whether the frame at the start of `bytes` has zstd's checksum: a bit of the byte behind the magic number.
fn has_checksum(bytes: &[u8]) -> bool {
    bytes.get(4).is_some_and(|descriptor| descriptor & 4 != 0)
}

/// Checks that a file ends in a seek table that describes it, as the official reader requires. Returns how many bytes
/// the frames hold, decompressed.
///
/// # Errors
/// The outer one if the file cannot be read, the inner one says what is wrong with the table.
pub fn check_seek_table(file: &mut File) -> io::Result<Result<u64, String>> {
    let len = file.seek(SeekFrom::End(0))?;
    let wrong = |what: &str| Ok(Err(format!("{what}; the file was not finished")));
    if len < HEADER_LEN + TABLE_HEAD + TABLE_FOOT {
        return wrong("there is no seek table");
    }
    let mut foot = [0; TABLE_FOOT as usize];
    file.seek(SeekFrom::End(-(TABLE_FOOT as i64)))?;
    file.read_exact(&mut foot)?;
    if number(&foot[5..]) != zeekstd::SEEKABLE_MAGIC_NUMBER {
        return wrong("there is no seek table");
    }
    if foot[4] & RESERVED != 0 {
        return wrong("the seek table is of an unknown kind");
    }
    let frames = u64::from(number(&foot));
    let entry = if foot[4] & WITH_CHECKSUMS != 0 { 12 } else { 8 };
    let table = TABLE_HEAD + frames * entry + TABLE_FOOT;
    let Some(start) = len.checked_sub(table).filter(|start| *start >= HEADER_LEN) else {
        return wrong("the seek table is longer than the file");
    };
    if frames == 0 {
        return wrong("the seek table is empty");
    }
    file.seek(SeekFrom::Start(start))?;
    let mut reader = io::BufReader::new(file).take(table - TABLE_FOOT);
    let mut head = [0; TABLE_HEAD as usize];
    reader.read_exact(&mut head)?;
    if number(&head) != TABLE_MAGIC || u64::from(number(&head[4..])) != table - TABLE_HEAD {
        return wrong("the seek table has no head");
    }
    let (mut described, mut decompressed) = (HEADER_LEN, 0);
    let mut bytes = vec![0; entry as usize];
    for _ in 0..frames {
        reader.read_exact(&mut bytes)?;
        described += u64::from(number(&bytes));
        decompressed += u64::from(number(&bytes[4..]));
    }
    if described != start {
        return wrong("the seek table does not match the file");
    }
    Ok(Ok(decompressed))
}

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Bytes in the file.
    pub compressed: usize,
    /// Bytes of events.
    pub decompressed: usize,
}

/// The whole frames of a file, in order, up to the seek table or the first damage.
#[derive(Debug)]
pub struct Frames {
    file: File,
    /// Bytes read from the file and not given out.
    buffer: Vec<u8>,
    /// Where the next frame starts.
    position: u64,
    at_end: bool,
}

impl Frames {
    /// Starts behind the file header.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn new(mut file: File) -> io::Result<Self> {
        file.seek(SeekFrom::Start(HEADER_LEN))?;
        Ok(Self { file, buffer: Vec::new(), position: HEADER_LEN, at_end: false })
    }

    /// Where the last whole frame ended.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// If the file cannot be read; damage is no error but the end.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        let Found::Frame { size, compressed } = self.find()? else { return Ok(None) };
        let mut decompressed = Counter(0);
        if zstd::stream::copy_decode(&self.buffer[..size], &mut decompressed).is_err() {
            return Ok(None);
        }
        self.take(compressed);
        Ok(Some(Frame { compressed, decompressed: decompressed.0 }))
    }

    fn take(&mut self, compressed: usize) {
        self.buffer.drain(..compressed);
        self.position += compressed as u64;
    }

    /// Puts the next frame at the start of the buffer, whole.
    fn find(&mut self) -> io::Result<Found> {
        if self.buffer.len() < FIRST_READ {
            self.read_more(FIRST_READ)?;
        }
        if number(&self.buffer) != zstd_safe::MAGICNUMBER {
            return Ok(Found::Nothing);
        }
        let size = loop {
            match zstd_safe::find_frame_compressed_size(&self.buffer) {
                Ok(size) => break size,
                // Perhaps only the end of the frame is missing: twice as much, until there is no more.
                Err(_) if !self.at_end => self.read_more(self.buffer.len())?,
                Err(_) => return Ok(Found::Nothing),
            }
        };
        if has_checksum(&self.buffer) {
            return Ok(Found::Frame { size, compressed: size });
        }
        let check = check_frame(&self.buffer[..size]);
        if self.buffer.len() < size + check.len() {
            self.read_more(check.len())?;
        }
        Ok(match &self.buffer[size..] {
            behind if behind.starts_with(&check) => Found::Frame { size, compressed: size + check.len() },
            behind if number(behind) == CHECK_MAGIC => Found::Damage,
            // Frames of others may have no checksum at all.
            _ => Found::Frame { size, compressed: size },
        })
    }

    fn read_more(&mut self, wanted: usize) -> io::Result<()> {
        let read = (&mut self.file).take(wanted as u64).read_to_end(&mut self.buffer)?;
        self.at_end = read < wanted;
        Ok(())
    }
}

/// What comes next in a file.
enum Found {
    /// A frame of `size` bytes, with what belongs to it `compressed`.
    Frame { size: usize, compressed: usize },
    /// A frame that is not what was written.
    Damage,
    /// No whole frame.
    Nothing,
}

/// The bytes of a file from the first frame on, as they are; fails at a frame that is not what was written.
#[derive(Debug)]
pub struct CheckedBytes {
    frames: Frames,
    /// Bytes at the start of the buffer that are checked.
    checked: usize,
}

impl CheckedBytes {
    /// # Errors
    /// If the file cannot be read.
    pub fn new(file: File) -> io::Result<Self> {
        Ok(Self { frames: Frames::new(file)?, checked: 0 })
    }
}

impl Read for CheckedBytes {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.checked == 0 {
            match self.frames.find()? {
                Found::Frame { compressed, .. } => self.checked = compressed,
                Found::Damage => return Err(io::Error::other("the checksum of a frame is wrong")),
                // The seek table, or damage that the decoder will find.
                Found::Nothing if self.frames.buffer.is_empty() => return self.frames.file.read(to),
                Found::Nothing => self.checked = self.frames.buffer.len(),
            }
        }
        let now = self.checked.min(to.len());
        to[..now].copy_from_slice(&self.frames.buffer[..now]);
        self.frames.take(now);
        self.checked -= now;
        Ok(now)
    }
}

/// Counts what is written to it.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
