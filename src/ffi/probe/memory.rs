//! Memory that may not be there, read through the kernel.
//!
//! Invariants:
//! - No address is ever dereferenced: a pipe takes the bytes, and the kernel refuses those that are not readable.
//! - The pipe is empty between two reads, and holds at least a page: a write of no more than that never waits.

use std::io::Read;

/// Bytes that any pipe holds.
const PAGE: usize = 4096;

/// See the module docs.
pub(super) struct Memory {
    read: std::io::PipeReader,
    write: std::io::PipeWriter,
}

impl Memory {
    /// `None` if there is no pipe to be had.
    pub fn new() -> Option<Self> {
        let (read, write) = std::io::pipe().ok()?;
        Some(Self { read, write })
    }

    /// The bytes at an address.
    pub fn bytes<const N: usize>(&mut self, address: usize) -> Option<[u8; N]> {
        let mut found = [0; N];
        self.fill(address, &mut found).then_some(found)
    }

    /// A number of bytes: one by one they would take as many system calls.
    pub fn many(&mut self, address: usize, count: usize) -> Option<Vec<u8>> {
        let mut found = vec![0; count];
        let filled = |(number, page): (usize, &mut [u8])| self.fill(address.wrapping_add(number * PAGE), page);
        found.chunks_mut(PAGE).enumerate().all(filled).then_some(found)
    }

    /// Fills the buffer, of a page at most; false if it cannot be filled whole.
    fn fill(&mut self, address: usize, buffer: &mut [u8]) -> bool {
        let count = self.send(address, buffer.len()).unwrap_or(0).min(buffer.len());
        self.read.read_exact(&mut buffer[..count]).is_ok() && count == buffer.len()
    }

    pub fn word(&mut self, address: usize) -> Option<usize> {
        self.bytes(address).map(usize::from_ne_bytes)
    }

    pub fn byte(&mut self, address: usize) -> Option<u8> {
        self.bytes(address).map(|[byte]| byte)
    }

    pub fn int(&mut self, address: usize) -> Option<i32> {
        self.bytes(address).map(i32::from_ne_bytes)
    }

    /// How many of the bytes went into the pipe.
    #[cfg(unix)]
    fn send(&self, address: usize, count: usize) -> Option<usize> {
        use std::os::fd::AsRawFd;
        // SAFETY: the kernel reads the memory, and answers with an error where there is none.
        let sent = unsafe { libc::write(self.write.as_raw_fd(), address as *const libc::c_void, count) };
        usize::try_from(sent).ok()
    }

    /// Unknown elsewhere.
    #[cfg(not(unix))]
    fn send(&self, _: usize, _: usize) -> Option<usize> {
        let _ = &self.write;
        None
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::Memory;

    #[test]
    fn many_bytes_are_read_whole_or_not_at_all() {
        let mut memory = Memory::new().unwrap();
        let bytes: Vec<u8> = (0..3 * super::PAGE + 1).map(|n| n as u8).collect();
        assert_eq!(memory.many(bytes.as_ptr() as usize, bytes.len()), Some(bytes));
        assert_eq!(memory.many(usize::MAX - 3, 4), None);
        assert_eq!(memory.many(8, 2 * super::PAGE), None);
    }

    #[test]
    fn what_is_not_there_is_told_and_what_is_there_is_read_afterwards() {
        let mut memory = Memory::new().unwrap();
        let number = 0x0102_0304_0506_0708_usize;
        let at = &raw const number as usize;
        assert_eq!(memory.word(at), Some(number));
        for nowhere in [0, 8, 1 << 62, usize::MAX - 3] {
            assert_eq!(memory.word(nowhere), None);
            assert_eq!(memory.byte(at), Some(number.to_ne_bytes()[0]));
        }
    }
}
