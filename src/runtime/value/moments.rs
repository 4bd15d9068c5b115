//! Dates, times, durations and time zones as text.
//!
//! Invariants: as for [`super::special`]; a zone of somebody's own class is named, never asked.

use std::fmt::Write;

use super::text::push_quoted_text;
use crate::ffi::c_types::{Zone, datetime_zone, delta, time_zone, zone};
use crate::ffi::object::Obj;
use crate::ffi::python_types as py;

// Writing to a String cannot fail, so the results of `write!` are dropped in this file.

pub fn push_date(out: &mut String, object: Obj<'_>) {
    let date = py::date_parts(object);
    let _ = write!(out, "{:04}-{:02}-{:02}", date.year, date.month, date.day);
}

pub fn push_datetime(out: &mut String, object: Obj<'_>) {
    push_date(out, object);
    out.push('T');
    push_clock(out, &py::datetime_time(object));
    push_zone(out, &datetime_zone(object));
}

pub fn push_time(out: &mut String, object: Obj<'_>) {
    push_clock(out, &py::time_parts(object));
    push_zone(out, &time_zone(object));
}

/// As `repr` writes a timedelta.
pub fn push_delta(out: &mut String, object: Obj<'_>) {
    let (all, microseconds) = delta(object);
    let (days, seconds) = (all.div_euclid(86_400), all.rem_euclid(86_400));
    let mut separator = "";
    out.push_str("datetime.timedelta(");
    for (name, number) in [("days", days), ("seconds", seconds), ("microseconds", microseconds)] {
        if number != 0 {
            let _ = write!(out, "{separator}{name}={number}");
            separator = ", ";
        }
    }
    out.push_str(if separator.is_empty() { "0)" } else { ")" });
}

/// A `tzinfo` by itself.
pub fn push_tzinfo(out: &mut String, object: Obj<'_>) {
    match zone(object, None) {
        Zone::Fixed { seconds: 0, microseconds: 0, name: None } => out.push_str("datetime.timezone.utc"),
        Zone::Fixed { seconds, microseconds, name } => {
            out.push_str("datetime.timezone(");
            push_offset(out, seconds, microseconds);
            if let Some(name) = name {
                out.push_str(", ");
                push_quoted_text(out, &name);
            }
            out.push(')');
        }
        Zone::Named { key, .. } => {
            out.push_str("zoneinfo.ZoneInfo(");
            push_quoted_text(out, &key);
            out.push(')');
        }
        Zone::Naive | Zone::Other(_) => {
            let _ = write!(out, "<{}>", object.ty().full_name());
        }
    }
}

fn push_clock(out: &mut String, time: &py::TimeParts) {
    let _ = write!(out, "{:02}:{:02}:{:02}", time.hour, time.minute, time.second);
    if time.microsecond != 0 {
        let _ = write!(out, ".{:06}", time.microsecond);
    }
}

/// `+02:00`, and in brackets what else is known of the zone.
fn push_zone(out: &mut String, zone: &Zone) {
    match zone {
        Zone::Naive => {}
        Zone::Fixed { seconds, microseconds, name } => {
            push_offset(out, *seconds, *microseconds);
            if let Some(name) = name {
                let _ = write!(out, "[{name}]");
            }
        }
        Zone::Named { key, seconds } => {
            if let Some(seconds) = seconds {
                push_offset(out, *seconds, 0);
            }
            let _ = write!(out, "[{key}]");
        }
        Zone::Other(name) => {
            let _ = write!(out, "[{name}]");
        }
    }
}

fn push_offset(out: &mut String, seconds: i64, microseconds: i64) {
    let all = seconds * 1_000_000 + microseconds;
    let (sign, all) = if all < 0 { ('-', -all) } else { ('+', all) };
    let (seconds, microseconds) = (all / 1_000_000, all % 1_000_000);
    let _ = write!(out, "{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    if seconds % 60 != 0 || microseconds != 0 {
        let _ = write!(out, ":{:02}", seconds % 60);
    }
    if microseconds != 0 {
        let _ = write!(out, ".{microseconds:06}");
    }
}
