//! A hash of 64 bits that tells events apart.
//!
//! Invariant: two different events have the same hash about once in 2^64, so a hash stands for what was hashed. It is
//! made by multiplying to 128 bits and folding, sixteen bytes at a time; every bit of the input reaches every bit of it.

const K: [u64; 4] = [0xA076_1D64_78BD_642F, 0xE703_7ED1_A0B4_28DB, 0x8EBC_6AF0_9C88_C6E3, 0x5899_65CC_7537_4CC3];

/// Bits of an entry in a table by hashes that say where something is. The others are some of its hash: most that share the
/// entry's slot are told apart by them, without a look at what is there.
pub(super) const PLACE: u32 = (1 << 24) - 1;

/// The bits of a hash behind those `slot_bits` that choose the slot, where an entry has them.
#[inline]
pub(super) const fn tag(hash: u64, slot_bits: u32) -> u32 {
    ((hash << slot_bits >> 56) as u32) << 24
}

#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word))
}

/// The hash of some bytes, their number included.
#[inline]
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    let (mut one, mut two, mut at) = (K[0] ^ len as u64, K[3], 0);
    while at + 32 <= len {
        one = fold(word(bytes, at) ^ K[1], word(bytes, at + 8) ^ one);
        two = fold(word(bytes, at + 16) ^ K[2], word(bytes, at + 24) ^ two);
        at += 32;
    }
    // The last 32 bytes, or what there is, padded: they may overlap the ones before.
    let (a, b, c, d) = if len >= 32 {
        (word(bytes, len - 32), word(bytes, len - 24), word(bytes, len - 16), word(bytes, len - 8))
    } else {
        let mut padded = [0; 32];
        padded[..len].copy_from_slice(bytes);
        (word(&padded, 0), word(&padded, 8), word(&padded, 16), word(&padded, 24))
    };
    one = fold(a ^ K[1], b ^ one);
    two = fold(c ^ K[2], d ^ two);
    mix(fold(one ^ K[3], two ^ K[0] ^ len as u64))
}

/// The hash of a value's compact bytes: most are a tag and eight bytes at most.
#[inline]
pub(super) fn value_hash(compact: &[u8]) -> u64 {
    match compact {
        [tag, rest @ ..] if rest.len() <= 8 => {
            let mut padded = [0; 8];
            padded[..rest.len()].copy_from_slice(rest);
            short_hash(*tag, u64::from_le_bytes(padded))
        }
        _ => hash(compact),
    }
}

/// The same, of a tag and eight bytes.
#[inline]
pub(super) const fn short_hash(tag: u8, payload: u64) -> u64 {
    fold(payload ^ K[1], K[2] ^ (tag as u64) << 32) ^ payload
}

/// Spreads every bit over all others.
#[inline]
pub(super) const fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9FB2_1C65_1E98_DF25);
    hash ^= hash >> 35;
    hash = hash.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    hash ^ (hash >> 28)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_bit_and_the_length_count_wherever_they_are() {
        let mut seen = HashSet::new();
        let mut count = 0;
        for len in 0..200 {
            for pattern in [0u8, 0x61, 0xff] {
                let mut bytes = vec![pattern; len];
                if len == 0 && pattern != 0 {
                    continue;
                }
                assert!(seen.insert(hash(&bytes)), "{len} bytes of {pattern}");
                count += 1;
                for bit in 0..len * 8 {
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    assert!(seen.insert(hash(&bytes)), "bit {bit} of {len} bytes of {pattern}");
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    count += 1;
                }
            }
        }
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn half_of_the_bits_change_with_one_of_the_input() {
        let mut flips = [0u32; 64];
        let (mut bytes, mut tried) = ([7u8; 45], 0);
        for round in 0..200u8 {
            bytes[3] = round;
            let before = hash(&bytes);
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                let changed = before ^ hash(&bytes);
                bytes[bit / 8] ^= 1 << (bit % 8);
                flips.iter_mut().enumerate().for_each(|(i, flips)| *flips += (changed >> i & 1) as u32);
                tried += 1;
            }
        }
        for (bit, flips) in flips.into_iter().enumerate() {
            let share = f64::from(flips) / f64::from(tried);
            assert!((0.48..0.52).contains(&share), "bit {bit}: {share}");
        }
    }
}
