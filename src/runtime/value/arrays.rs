//! NumPy's arrays and scalars as text.
//!
//! Invariants: no code of NumPy runs; as many elements as [`Limits`] allow, whatever the size of the array.

use std::fmt::Write;

use super::text::{brief, push_bytes, push_more, push_quoted_text};
use crate::ffi::numpy::{self, Array, Element, Unit};
use crate::ffi::object::Obj;

// Writing to a String cannot fail, so the results of `write!` are dropped in this file.

/// How much is shown.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Elements of an array, columns of a table.
    pub items: usize,
    /// Characters of a text.
    pub text: usize,
    /// How deep in other texts this one stands.
    pub depth: usize,
}

/// `int64 (2, 3) [[1, 2, 3], [4, 5, 6]]`; false if nothing is known of it.
pub fn push_array(out: &mut String, object: Obj<'_>, limits: Limits) -> bool {
    let Some(array) = Array::of(object) else { return false };
    let _ = write!(out, "{} (", array.dtype());
    for (axis, size) in array.shape.iter().enumerate() {
        let _ = write!(out, "{}{size}", if axis > 0 { ", " } else { "" });
    }
    out.push_str(if array.shape.len() == 1 { ",)" } else { ")" });
    if let Some(elements) = array.elements(0, limits.items) {
        out.push(' ');
        push_nested(out, &array.shape, &elements, array.len(), limits);
    }
    true
}

/// The first elements of a one-dimensional array of `length` in brackets.
pub fn push_elements(out: &mut String, elements: &[Element<'_>], length: usize, limits: Limits) {
    push_nested(out, &[length], elements, length, limits);
}

fn push_nested(out: &mut String, shape: &[usize], elements: &[Element<'_>], total: usize, limits: Limits) {
    // How many elements a bracket of each axis encloses: one begins before every multiple of that number.
    let sizes: Vec<usize> = (0..shape.len())
        .map(|axis| shape[axis..].iter().fold(1, |all: usize, &size| all.saturating_mul(size)))
        .collect();
    if total == 0 {
        out.push_str("[]");
        return;
    }
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        sizes.iter().filter(|&&size| index.is_multiple_of(size)).for_each(|_| out.push('['));
        push_element(out, element, limits);
        sizes.iter().filter(|&&size| (index + 1).is_multiple_of(size)).for_each(|_| out.push(']'));
    }
    if elements.len() < total {
        if !elements.is_empty() {
            out.push_str(", ");
        }
        push_more(out, total - elements.len());
        let open = sizes.iter().filter(|&&size| !elements.len().is_multiple_of(size)).count();
        (0..open).for_each(|_| out.push(']'));
    }
}

/// A scalar by itself.
pub fn push_scalar(out: &mut String, object: Obj<'_>, limits: Limits) -> bool {
    let Some(element) = numpy::scalar(object) else { return false };
    push_element(out, &element, limits);
    true
}

pub fn push_element(out: &mut String, element: &Element<'_>, limits: Limits) {
    let float = crate::pipeline::encoder::float_text;
    let _ = match element {
        Element::Bool(value) => write!(out, "{}", if *value { "True" } else { "False" }),
        Element::Int(n) => write!(out, "{n}"),
        Element::Unsigned(n) => write!(out, "{n}"),
        Element::Float(f) => write!(out, "{}", float(*f)),
        Element::Single(f) if f.is_finite() => write!(out, "{f:?}"),
        Element::Single(f) => write!(out, "{}", float(f64::from(*f))),
        Element::Complex(real, imaginary) => {
            let sign = if imaginary.is_sign_negative() { "" } else { "+" };
            write!(out, "({}{sign}{}j)", float(*real), float(*imaginary))
        }
        Element::Bytes(bytes, more) => {
            push_bytes(out, bytes, limits.text);
            out.push_str(if *more { "…" } else { "" });
            Ok(())
        }
        Element::Text(text, more) => {
            let mut shown: String = text.chars().take(limits.text).collect();
            if *more {
                shown.push('…');
            } else {
                let left_out = text[shown.len()..].chars().count();
                if left_out > 0 {
                    push_more(&mut shown, left_out);
                }
            }
            push_quoted_text(out, &shown);
            Ok(())
        }
        Element::Object(None) => write!(out, "None"),
        Element::Object(Some(object)) => {
            brief(*object, out, limits.text, limits.depth + 1);
            Ok(())
        }
        Element::Moment(i64::MIN, _) | Element::Span(i64::MIN, _) => write!(out, "NaT"),
        Element::Moment(ticks, unit) => {
            push_moment(out, *ticks, *unit);
            Ok(())
        }
        Element::Span(ticks, unit) => {
            let name = unit.name();
            let name = name.trim_start_matches('[').trim_end_matches(']');
            write!(out, "{ticks}{}{name}", if name.is_empty() { "" } else { " × " })
        }
    };
}

/// A moment as ISO 8601, as exact as its unit.
fn push_moment(out: &mut String, ticks: i64, unit: Unit) {
    let ticks = i128::from(ticks) * i128::from(unit.count);
    // Days, or seconds and decimals.
    let (days, time) = match unit.base {
        0 | 1 => {
            let months = if unit.base == 0 { ticks * 12 } else { ticks };
            let _ = write!(out, "{:04}", 1970 + months.div_euclid(12));
            if unit.base == 1 {
                let _ = write!(out, "-{:02}", months.rem_euclid(12) + 1);
            }
            return;
        }
        2 => (ticks * 7, None),
        4 => (ticks, None),
        5..=7 => {
            let seconds = ticks * [3600, 60, 1][unit.base as usize - 5];
            (seconds.div_euclid(86_400), Some((seconds.rem_euclid(86_400), 0, 0)))
        }
        8..=13 => {
            let decimals = 3 * (unit.base as usize - 7);
            let second = 10i128.pow(decimals as u32);
            let seconds = ticks.div_euclid(second);
            (seconds.div_euclid(86_400), Some((seconds.rem_euclid(86_400), ticks.rem_euclid(second), decimals)))
        }
        _ => {
            let _ = write!(out, "{ticks}");
            return;
        }
    };
    let (year, month, day) = civil(days);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
    if let Some((seconds, fraction, decimals)) = time {
        let _ = write!(out, "T{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        if decimals > 0 {
            let _ = write!(out, ".{fraction:0decimals$}");
        }
    }
}

/// Year, month and day of a number of days since 1970 in the Gregorian calendar.
fn civil(days: i128) -> (i128, i128, i128) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_exactly_as_their_unit_is() {
        for (ticks, base, count, expected) in [
            (54, 0, 1, "2024"),
            (-1, 1, 1, "1969-12"),
            (1, 2, 1, "1970-01-08"),
            (19_782, 4, 1, "2024-02-29"),
            (-1, 4, 1, "1969-12-31"),
            (25, 5, 1, "1970-01-02T01:00:00"),
            (2, 7, 30, "1970-01-01T00:01:00"),
            (-1, 8, 1, "1969-12-31T23:59:59.999"),
            (1, 10, 1, "1970-01-01T00:00:00.000000001"),
            (7, 14, 1, "7"),
        ] {
            let mut out = String::new();
            push_moment(&mut out, ticks, Unit { base, count });
            assert_eq!(out, expected);
        }
    }
}
