//! Output in a regular file, read from there: nothing stands between those who write and their file.
//!
//! Descriptors that child processes inherit share their position in the file: where it stands is how far output has
//! come. What Python's own streams write is noted as a range of the file; the rest is what bypassed them.
//!
//! Invariants:
//! - No descriptor of the program changes in any way; its file is only read, through a descriptor of our own.
//! - A range that Python's streams wrote is never taken for somebody else's, also while others write at the same time:
//!   where the position moved further than the write, the bytes themselves are looked for.
//! - The lock is never waited for with the GIL held.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::relay::identity;

/// Bytes that are looked at at a time.
const MOST_AT_ONCE: usize = 1024 * 1024;

/// A regular file behind standard descriptors.
#[derive(Debug)]
pub struct ReadBack {
    descriptors: Vec<RawFd>,
    /// Ours, for reading.
    reading: RawFd,
    /// Device, inode and kind.
    file: (u64, u64, u32),
    progress: Mutex<Progress>,
    /// Where the descriptors stood when all that came before was taken.
    settled: AtomicU64,
}

#[derive(Debug, Default)]
struct Progress {
    /// What lies before has been taken, or was there already.
    seen: u64,
    /// Ranges behind `seen` that are not to be taken: start and end, in order.
    own: VecDeque<(u64, u64)>,
    /// Taken from the file before the program went back in it.
    rescued: Vec<u8>,
}

impl Progress {
    /// Output goes on at `position`, whatever came behind it before.
    fn back_to(&mut self, position: u64) {
        self.seen = self.seen.min(position);
        while let Some(last) = self.own.back_mut()
            && last.1 > position
        {
            last.1 = position;
            if last.0 < position {
                break;
            }
            self.own.pop_back();
        }
    }

    /// This range is not to be taken.
    fn leave_out(&mut self, start: u64, end: u64) {
        match self.own.back_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => self.own.push_back((start, end)),
        }
    }

    /// What can be taken in one go, if the position stands at `end`.
    fn next(&mut self, end: u64) -> Option<(u64, u64)> {
        if end < self.seen {
            // The program went back, or made the file shorter.
            self.back_to(end);
        }
        while let Some(&(start, until)) = self.own.front() {
            if start > self.seen {
                return (self.seen < start.min(end)).then(|| (self.seen, start.min(end)));
            }
            self.seen = self.seen.max(until);
            self.own.pop_front();
        }
        (self.seen < end).then_some((self.seen, end))
    }
}

/// Where a descriptor stands in its file. One that appends says so only once it has written.
fn position(descriptor: RawFd) -> Option<u64> {
    // SAFETY: asks for a number.
    u64::try_from(unsafe { libc::lseek(descriptor, 0, libc::SEEK_CUR) }).ok()
}

fn appends(descriptor: RawFd) -> bool {
    // SAFETY: asks for flags.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
    flags >= 0 && flags & libc::O_APPEND != 0
}

fn size(descriptor: RawFd) -> Option<u64> {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `fstat` fills the struct when it returns 0.
    unsafe {
        (libc::fstat(descriptor, status.as_mut_ptr()) == 0)
            .then(|| u64::try_from(status.assume_init().st_size).unwrap_or(0))
    }
}

impl ReadBack {
    /// Whether a descriptor is of a regular file.
    pub fn is_possible(descriptor: RawFd) -> bool {
        identity(descriptor).is_some_and(|(_, _, kind)| kind == libc::S_IFREG)
    }

    /// Begins to follow the file behind `descriptors`.
    ///
    /// # Errors
    /// The file cannot be read by us.
    pub fn start(descriptors: Vec<RawFd>) -> io::Result<Self> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let first = descriptors.first().copied().ok_or_else(gone)?;
        let file = identity(first).ok_or_else(gone)?;
        let opened = std::fs::File::open(format!("/proc/self/fd/{first}"))?;
        // SAFETY: a descriptor of ours, given a number that programs do not expect.
        let reading = unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&opened), libc::F_DUPFD_CLOEXEC, 100) };
        if reading < 0 {
            return Err(io::Error::last_os_error());
        }
        let this = Self { descriptors, reading, file, progress: Mutex::default(), settled: AtomicU64::default() };
        let seen = if appends(first) { size(first) } else { this.position() };
        this.progress.lock().unwrap_or_else(PoisonError::into_inner).seen = seen.unwrap_or(0);
        Ok(this)
    }

    /// Whether the file still stands behind `descriptor`.
    pub fn is_behind(&self, descriptor: RawFd) -> bool {
        self.descriptors.contains(&descriptor) && identity(descriptor) == Some(self.file)
    }

    /// Where the descriptors stand, whatever is behind them.
    pub fn stands(&self) -> u64 {
        self.descriptors.iter().filter_map(|&descriptor| position(descriptor)).max().unwrap_or(0)
    }

    /// What came before they stood there has been taken.
    pub fn settle(&self, stood: u64) {
        self.settled.store(stood, Ordering::Relaxed);
    }

    /// They stand where they stood then.
    pub fn is_settled(&self) -> bool {
        self.stands() == self.settled.load(Ordering::Relaxed)
    }

    /// How far output has come.
    fn position(&self) -> Option<u64> {
        let behind = self.descriptors.iter().filter(|&&descriptor| self.is_behind(descriptor));
        behind.filter_map(|&descriptor| position(descriptor)).max()
    }

    /// How far output has come, seen from `seen`: those who append stand nowhere before their first write.
    fn end(&self, seen: u64) -> Option<u64> {
        let position = self.position()?;
        if !self.descriptors.iter().any(|&descriptor| appends(descriptor)) {
            return Some(position);
        }
        let size = size(self.reading)?;
        Some(position.max(seen).min(size))
    }

    /// Writes for one of Python's own streams. Call it without the GIL.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn write(&self, descriptor: RawFd, bytes: &[u8]) -> io::Result<usize> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if appends(descriptor) { size(descriptor) } else { position(descriptor) };
        if let Some(before) = before {
            progress.back_to(before);
        }
        // SAFETY: a valid buffer.
        let written = unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) };
        let written = usize::try_from(written).map_err(|_| io::Error::last_os_error())?;
        if let (Some(before), Some(after)) = (before, position(descriptor))
            && let Some(own) = after.checked_sub(written as u64)
            && written > 0
        {
            let start = if own > before { self.find(before, after, &bytes[..written]).unwrap_or(own) } else { own };
            progress.leave_out(start, start + written as u64);
        }
        Ok(written)
    }

    /// Where `bytes` are in a range of the file: others wrote at the same time.
    #[cold]
    fn find(&self, start: u64, end: u64, bytes: &[u8]) -> Option<u64> {
        let start = start.max(end.saturating_sub((MOST_AT_ONCE + bytes.len()) as u64));
        let mut around = vec![0; usize::try_from(end - start).ok()?];
        self.with_file(|file| file.read_exact_at(&mut around, start))?.ok()?;
        let offset = around.windows(bytes.len()).rposition(|window| window == bytes)?;
        Some(start + offset as u64)
    }

    /// The program moved a descriptor's position by itself, from where it was `before`: nothing was written by that.
    pub fn moved(&self, descriptor: RawFd, before: u64) {
        let Some(after) = position(descriptor).filter(|after| *after != before) else { return };
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if after > before {
            progress.leave_out(before, after);
            return;
        }
        // What was written there may be written over in a moment.
        let mut buffer = [0; 4096];
        while progress.rescued.len() < MOST_AT_ONCE {
            let count = self.take(&mut progress, before, &mut buffer);
            if count == 0 {
                break;
            }
            progress.rescued.extend_from_slice(&buffer[..count]);
        }
        progress.back_to(after);
    }

    /// Takes more of what bypassed Python's streams; 0 if there is none now.
    pub fn read(&self, buffer: &mut [u8]) -> usize {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if !progress.rescued.is_empty() {
            let count = progress.rescued.len().min(buffer.len());
            for (to, from) in buffer.iter_mut().zip(progress.rescued.drain(..count)) {
                *to = from;
            }
            return count;
        }
        let Some(end) = self.end(progress.seen) else { return 0 };
        self.take(&mut progress, end, buffer)
    }

    fn take(&self, progress: &mut Progress, end: u64, buffer: &mut [u8]) -> usize {
        let Some((start, until)) = progress.next(end) else { return 0 };
        let length = usize::try_from(until - start).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.with_file(|file| file.read_at(&mut buffer[..length], start)).and_then(Result::ok).unwrap_or(0);
        progress.seen += count as u64;
        count
    }

    /// Bytes that nobody has taken yet.
    pub fn left(&self) -> u64 {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = 0;
        while let Some(end) = self.end(progress.seen)
            && let Some((start, until)) = progress.next(end)
        {
            left += until - start;
            progress.seen = until;
        }
        left
    }

    /// The file, unless the program has closed our descriptor with all others.
    fn with_file<T>(&self, work: impl FnOnce(&std::fs::File) -> T) -> Option<T> {
        if identity(self.reading) != Some(self.file) {
            return None;
        }
        // SAFETY: open, as was just seen; it is not closed here.
        let file = std::mem::ManuallyDrop::new(unsafe {
            <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(self.reading)
        });
        Some(work(&file))
    }
}

/// Where `descriptor` stands, for [`ReadBack::moved`].
pub fn stands_at(descriptor: RawFd) -> u64 {
    position(descriptor).unwrap_or(0)
}

impl Drop for ReadBack {
    fn drop(&mut self) {
        if identity(self.reading) == Some(self.file) {
            super::relay::close(self.reading);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom, Write};
    use std::os::fd::AsRawFd;
    use std::sync::Arc;

    use super::*;

    fn taken(follower: &ReadBack) -> String {
        let (mut text, mut buffer) = (Vec::new(), [0; 7]);
        loop {
            let count = follower.read(&mut buffer);
            if count == 0 {
                return String::from_utf8(text).unwrap();
            }
            text.extend_from_slice(&buffer[..count]);
        }
    }

    fn follow(append: bool, present: &str) -> (tempfile::TempDir, std::fs::File, ReadBack) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        std::fs::write(&path, present).unwrap();
        let file = std::fs::OpenOptions::new().append(append).write(true).open(path).unwrap();
        let follower = ReadBack::start(vec![file.as_raw_fd()]).unwrap();
        (directory, file, follower)
    }

    #[test]
    fn what_others_write_is_taken_and_what_python_writes_is_not() {
        for append in [false, true] {
            let (_directory, mut file, follower) = follow(append, "");
            let descriptor = file.as_raw_fd();
            file.write_all(b"one ").unwrap();
            assert_eq!(follower.write(descriptor, b"PYTHON ").unwrap(), 7);
            assert_eq!(follower.write(descriptor, b"AGAIN ").unwrap(), 6);
            file.write_all(b"two").unwrap();
            assert_eq!(taken(&follower), "one two");
            assert_eq!(follower.write(descriptor, b"END").unwrap(), 3);
            assert_eq!(taken(&follower), "");
        }
    }

    #[test]
    fn what_was_in_the_file_before_is_no_output() {
        let (_directory, mut file, follower) = follow(true, "old content");
        assert_eq!(taken(&follower), "");
        file.write_all(b"new").unwrap();
        assert_eq!(taken(&follower), "new");
    }

    #[test]
    fn a_file_made_shorter_and_a_position_moved_are_no_output() {
        let (_directory, mut file, follower) = follow(false, "");
        file.write_all(b"first").unwrap();
        assert_eq!(taken(&follower), "first");
        file.set_len(0).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        assert_eq!(taken(&follower), "");
        file.write_all(b"second").unwrap();
        assert_eq!(taken(&follower), "second");
        let before = stands_at(file.as_raw_fd());
        file.seek(SeekFrom::Start(1000)).unwrap();
        follower.moved(file.as_raw_fd(), before);
        file.write_all(b"third").unwrap();
        assert_eq!(taken(&follower), "third");
    }

    #[test]
    fn what_is_written_over_is_taken_before_and_so_is_what_it_is_written_over_with() {
        let (_directory, mut file, follower) = follow(false, "");
        let descriptor = file.as_raw_fd();
        follower.write(descriptor, b"A LONG LINE ").unwrap();
        file.write_all(b"of others ").unwrap();
        let before = stands_at(descriptor);
        file.seek(SeekFrom::Start(0)).unwrap();
        follower.moved(descriptor, before);
        follower.write(descriptor, b"SHORT ").unwrap();
        file.write_all(b"behind it").unwrap();
        assert_eq!(taken(&follower), "of others behind it");
    }

    #[test]
    fn two_who_write_at_the_same_time_are_told_apart() {
        for append in [false, true] {
            let (_directory, file, follower) = follow(append, "");
            let follower = Arc::new(follower);
            let mut other = file.try_clone().unwrap();
            let writer = std::thread::spawn(move || (0..2000).for_each(|n| writeln!(other, "other {n}").unwrap()));
            let mut found = String::new();
            for number in 0..2000 {
                let line = format!("PYTHON {number}\n");
                assert_eq!(follower.write(file.as_raw_fd(), line.as_bytes()).unwrap(), line.len());
                if number % 100 == 0 {
                    found += &taken(&follower);
                }
            }
            writer.join().unwrap();
            found += &taken(&follower);
            let expected: String = (0..2000).map(|n| format!("other {n}\n")).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_descriptor_that_the_program_closed_or_replaced_is_left_alone() {
        let (_directory, mut file, follower) = follow(false, "");
        file.write_all(b"lost").unwrap();
        crate::ffi::relay::close(follower.reading);
        assert_eq!(taken(&follower), "");
        let mut other = tempfile::tempfile().unwrap();
        // SAFETY: both are open.
        unsafe { libc::dup2(other.as_raw_fd(), follower.reading) };
        assert_eq!(taken(&follower), "");
        assert!(follower.is_behind(file.as_raw_fd()));
        let number = follower.reading;
        drop(follower);
        assert!(identity(number).is_some(), "not ours to close");
        crate::ffi::relay::close(number);
        let mut rest = String::new();
        other.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}
