//! Copying few bytes without a call: most records are shorter than `memcpy` takes to find out how to copy them.
//!
//! Invariants:
//! - The result is that of `extend_from_slice` and of `copy_nonoverlapping`.

use std::ptr;

/// Appends bytes whose number is known when this is compiled.
#[inline(always)]
pub fn append<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    if out.capacity() - out.len() < N {
        grow(out, N);
    }
    let length = out.len();
    // SAFETY: there is room for N more bytes, and all of them are written before they count.
    unsafe {
        out.as_mut_ptr().add(length).cast::<[u8; N]>().write(bytes);
        out.set_len(length + N);
    }
}

#[cold]
fn grow(out: &mut Vec<u8>, by: usize) {
    out.reserve(by);
}

/// Copies `count` bytes, of which there are mostly few.
///
/// # Safety
/// As for [`ptr::copy_nonoverlapping`].
#[inline(always)]
pub unsafe fn copy_few(from: *const u8, to: *mut u8, count: usize) {
    /// The first bytes and the last ones, which may overlap.
    ///
    /// # Safety
    /// As for [`copy_few`]; a `T` is not longer than `count`, and any bytes are one.
    #[inline(always)]
    unsafe fn ends<T>(from: *const u8, to: *mut u8, count: usize) {
        let last = count - size_of::<T>();
        // SAFETY: both lie within `count` bytes, at any alignment; both are read before one is written.
        unsafe {
            let (head, tail) = (from.cast::<T>().read_unaligned(), from.add(last).cast::<T>().read_unaligned());
            to.cast::<T>().write_unaligned(head);
            to.add(last).cast::<T>().write_unaligned(tail);
        }
    }
    // SAFETY: the caller's promise; the lengths are looked at.
    unsafe {
        match count {
            0..4 => (0..count).for_each(|at| to.add(at).write(from.add(at).read())),
            4..8 => ends::<u32>(from, to, count),
            8..16 => ends::<u64>(from, to, count),
            16..=32 => ends::<u128>(from, to, count),
            _ => ptr::copy_nonoverlapping(from, to, count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_arrive_and_nothing_around_them_changes() {
        let source: Vec<u8> = (1..=100).collect();
        for count in 0..=80 {
            for shift in 0..3 {
                let mut target = [0u8; 100];
                // SAFETY: both are longer than that, and different.
                unsafe { copy_few(source.as_ptr().add(shift), target.as_mut_ptr().add(shift), count) };
                assert_eq!(target[shift..shift + count], source[shift..shift + count]);
                assert!(target[..shift].iter().chain(&target[shift + count..]).all(|&byte| byte == 0), "{count}");
            }
        }
    }

    #[test]
    fn what_is_appended_is_as_if_it_had_been_extended() {
        let (mut fast, mut plain) = (Vec::new(), Vec::new());
        for n in 0..200u8 {
            append(&mut fast, [n; 5]);
            append(&mut fast, [n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
            append(&mut fast, []);
            plain.extend_from_slice(&[n; 5]);
            plain.extend_from_slice(&[n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        }
        assert_eq!(fast, plain);
    }
}
