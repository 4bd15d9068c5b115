//! Sizes such as `32MiB` and durations such as `500ms`, in both directions.
//!
//! Invariants:
//! - A duration always names its unit; a bare number of bytes is a size.
//! - What [`format_size`] and [`format_duration`] write is read back as the same quantity.

use std::time::Duration;

const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Bytes of a size: a whole number with a unit of `B`, `KB`, `MB`, `GB` (thousands) or `KiB`, `MiB`, `GiB` (1024s),
/// in any case, spaces between allowed; without a unit it is bytes. None if it is anything else or overflows.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    if unit.is_empty() {
        return Some(number);
    }
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*factor)
}

/// The size with the largest binary unit that divides it.
pub fn format_size(bytes: u64) -> String {
    let (unit, factor) = SIZE_UNITS[..3]
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// A duration: a whole number of `ms`, `s`, `m` or `h`, spaces between allowed. None if it is anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_number(text)?;
    let (_, factor) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor).map(Duration::from_millis)
}

/// The duration, to the millisecond, with the largest unit that divides it.
pub fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, factor) = DURATION_UNITS
        .iter()
        .rev()
        .find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor))
        .unwrap_or(&("ms", 1));
    format!("{}{unit}", millis / factor)
}

/// A share of a whole, to the millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// Millionths of all of it.
    pub const WHOLE: u32 = 1_000_000;

    /// So many hundredths, at most 100.
    pub const fn percent(percent: u32) -> Self {
        Self(percent * 10_000)
    }

    /// A number of percent with at most four decimals, from 0 to 100, spaces before the sign allowed. None if it is
    /// anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.trim().strip_suffix('%')?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 4 {
            return None;
        }
        let hundredths = format!("{decimals:0<4}").parse::<u32>().ok()?;
        let share = whole.parse::<u32>().ok()?.checked_mul(10_000)?.checked_add(hundredths)?;
        (share <= Self::WHOLE).then_some(Self(share))
    }

    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// From 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE)
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, decimals) = (self.0 / 10_000, format!("{:04}", self.0 % 10_000));
        match decimals.trim_end_matches('0') {
            "" => write!(f, "{whole}%"),
            decimals => write!(f, "{whole}.{decimals}%"),
        }
    }
}

/// Splits `12 MiB` into 12 and `MiB`.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_percent_with_at_most_four_decimals() {
        for (text, share) in [
            ("1%", Some("1%")),
            (" 0.25 % ", Some("0.25%")),
            ("0.0001%", Some("0.0001%")),
            ("100%", Some("100%")),
            ("2.50%", Some("2.5%")),
            ("100.0001%", None),
            ("1", None),
            (".5%", None),
            ("-1%", None),
            ("0.00001%", None),
            ("%", None),
            ("4294967296%", None),
        ] {
            assert_eq!(Share::parse(text).map(|share| share.to_string()).as_deref(), share, "{text}");
        }
        assert_eq!((Share::percent(2).fraction(), Share::percent(2).millionths()), (0.02, 20_000));
    }

    #[test]
    fn sizes_are_read_in_thousands_and_in_1024s() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("1KB", 1000),
            ("1KiB", 1024),
            (" 32 mib ", 32 << 20),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "1M", "1 MiB x", "20000000000GiB", "99999999999999999999"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, millis) in [("0ms", 0), ("500ms", 500), ("1s", 1000), ("2 m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "1", "s", "1.5s", "-1s", "1 day", "1S", "9999999999999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn the_largest_fitting_unit_is_written() {
        assert_eq!(format_size(32 << 20), "32MiB");
        assert_eq!(format_size(1536), "1536B");
        assert_eq!(format_size(0), "0B");
        assert_eq!(format_duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(format_duration(Duration::from_secs(90)), "90s");
        assert_eq!(format_duration(Duration::ZERO), "0ms");
    }

    proptest! {
        #[test]
        fn written_quantities_are_read_back(bytes: u64, millis in 0..u64::MAX / 3_600_000) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text: String) {
            let _ = parse_size(&text);
            let _ = parse_duration(&text);
        }
    }
}
