//! Who is at the other end of a Unix socket, and whether a descriptor still is what it was.

use std::io;
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;

/// User id of the process that connected.
///
/// # Errors
/// If the system does not say.
pub fn peer_uid(stream: &UnixStream) -> io::Result<u32> {
    use std::os::fd::AsRawFd;
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: a live socket, and a struct of the size that is given; both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut size,
        )
    };
    if result == 0 { Ok(credentials.uid) } else { Err(io::Error::last_os_error()) }
}

/// The user this process acts for.
pub fn own_uid() -> u32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// Device and inode behind a descriptor; `None` if it is closed.
pub fn identity(descriptor: RawFd) -> Option<(u64, u64)> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the struct is filled when the call returns 0; a descriptor that is closed is an error.
    unsafe {
        (libc::fstat(descriptor, stat.as_mut_ptr()) == 0).then(|| {
            let stat = stat.assume_init();
            (stat.st_dev, stat.st_ino)
        })
    }
}

/// Waits until a descriptor has something to be read, or so many milliseconds.
pub fn wait_readable(descriptor: RawFd, millis: i32) -> bool {
    let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    // SAFETY: one struct, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, millis) > 0 && poll.revents & libc::POLLIN != 0 }
}

/// In a forked child: closes what the parent goes on using.
pub fn close_inherited(descriptor: RawFd) {
    // SAFETY: the descriptor is a copy that this process inherited and nobody here uses.
    unsafe { libc::close(descriptor) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_peer_in_this_process_is_this_user_and_a_descriptor_is_known_until_it_is_closed() {
        let (one, two) = UnixStream::pair().unwrap();
        assert_eq!(peer_uid(&one).unwrap(), own_uid());
        let descriptor = two.as_raw_fd();
        assert!(identity(descriptor).is_some() && identity(descriptor) != identity(one.as_raw_fd()));
        assert!(!wait_readable(descriptor, 0));
        std::io::Write::write_all(&mut &one, b"x").unwrap();
        assert!(wait_readable(descriptor, 1000));
    }
}
