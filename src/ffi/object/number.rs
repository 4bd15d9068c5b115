//! Numbers: what they hold, read in place.
//!
//! Invariants: as for every [`Obj`].

use pyo3::ffi;

use super::Obj;

/// The value of an int object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Int {
    Small(i64),
    /// Sign and big-endian magnitude without leading zeros.
    Big {
        negative: bool,
        magnitude: Vec<u8>,
    },
}

impl Obj<'_> {
    /// The value of an int (or an instance of a subclass): call it for `Kind::Int` only.
    #[inline]
    pub fn int_value(self) -> Int {
        // SAFETY: the caller saw `Kind::Int`; layout of 3.12+ (`lv_tag`, 30-bit digits), stable up to 3.14.
        unsafe {
            debug_assert!(ffi::PyLong_Check(self.as_ptr()) != 0);
            let long = self.as_ptr().cast::<LongObject>();
            let tag = (*long).tag;
            let digits = (&raw const (*long).digits).cast::<u32>();
            let negative = tag & 3 == 2;
            let count = tag >> 3;
            if count <= 1 {
                // A zero has no digits by its tag, but the first digit word always exists and is 0 then.
                let magnitude = i64::from(*digits);
                return Int::Small(if tag & 3 == 1 {
                    0
                } else if negative {
                    -magnitude
                } else {
                    magnitude
                });
            }
            big_int(std::slice::from_raw_parts(digits, count), negative)
        }
    }

    /// The value of an int of one or two of CPython's digits (60 bits); call it for `Kind::Int` only.
    #[inline]
    pub fn small_int(self) -> Option<i64> {
        // SAFETY: as in `int_value`; the second digit is read only if there are two.
        unsafe {
            let long = self.as_ptr().cast::<LongObject>();
            let tag = (*long).tag;
            let digits = (&raw const (*long).digits).cast::<u32>();
            let magnitude = match tag >> 3 {
                0 | 1 => i64::from(*digits),
                2 => i64::from(*digits) | i64::from(*digits.add(1)) << 30,
                _ => return None,
            };
            // The two lowest bits: 0 positive, 1 zero, 2 negative.
            Some(magnitude * (1 - (tag & 3) as i64))
        }
    }

    /// The value of an int above 0 and below 2³⁰; call it for `Kind::Int` only.
    #[inline]
    pub fn positive_digit(self) -> Option<u32> {
        // SAFETY: as in `int_value`. One digit, and the two lowest bits as above; the third is set by 3.14 where an int is
        // immortal, as all below 257 are.
        unsafe {
            let long = self.as_ptr().cast::<LongObject>();
            ((*long).tag & !0b100 == 1 << 3).then(|| (*long).digits[0])
        }
    }

    /// Number of bits of the magnitude, rounded up to whole digits of CPython; call it for `Kind::Int` only.
    #[inline]
    pub fn int_bits(self) -> usize {
        // SAFETY: as in `int_value`.
        unsafe { ((*self.as_ptr().cast::<LongObject>()).tag >> 3) * 30 }
    }

    /// Call it for `Kind::Float` only.
    #[inline]
    pub fn float_value(self) -> f64 {
        // SAFETY: the caller saw `Kind::Float`; the struct is `PyObject` plus one double.
        unsafe { self.as_ptr().add(1).cast::<f64>().read() }
    }
}

fn big_int(digits: &[u32], negative: bool) -> Int {
    // Up to three 30-bit digits can still fit 64 bits.
    if digits.len() <= 3 {
        let magnitude = digits.iter().rev().fold(0u128, |sum, &digit| sum << 30 | u128::from(digit));
        let signed = if negative { -(magnitude as i128) } else { magnitude as i128 };
        if let Ok(small) = i64::try_from(signed) {
            return Int::Small(small);
        }
    }
    let mut bytes = Vec::with_capacity(digits.len() * 4);
    let (mut buffer, mut bits) = (0u64, 0u32);
    for &digit in digits {
        buffer |= u64::from(digit) << bits;
        bits += 30;
        while bits >= 8 {
            bytes.push(buffer as u8);
            buffer >>= 8;
            bits -= 8;
        }
    }
    bytes.push(buffer as u8);
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes.reverse();
    Int::Big { negative, magnitude: bytes }
}

#[repr(C)]
struct LongObject {
    head: ffi::PyObject,
    tag: usize,
    digits: [u32; 1],
}
