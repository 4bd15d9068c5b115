//! Free space of a disk.

use std::io;
use std::path::Path;

/// Bytes that an ordinary user may still write to the file system of `path`.
///
/// # Errors
/// If the path does not exist, or the system does not say.
#[cfg(unix)]
pub fn free_space(path: &Path) -> io::Result<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut stats = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path is a C string and the struct is ours; both live through the call.
    if unsafe { libc::statvfs(path.as_ptr(), stats.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled the struct.
    let stats = unsafe { stats.assume_init() };
    #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
    Ok((stats.f_bavail as u64).saturating_mul(stats.f_frsize as u64))
}

/// Not known on this system.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub fn free_space(_: &Path) -> io::Result<u64> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_disk_of_a_directory_has_room_and_a_missing_one_is_an_error() {
        assert!(free_space(&std::env::temp_dir()).unwrap() > 0);
        assert_eq!(free_space(Path::new("/no/such/directory")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
