//! The tables, columns and indexes of pandas as text.
//!
//! Invariants:
//! - No Python code of pandas runs: attributes are taken from instance dicts, fields of its C types by their C getters,
//!   data from NumPy's memory, texts from pyarrow's.
//! - What is kept otherwise shows its type in place of its values.

use std::fmt::Write;

use super::arrays::{Limits, push_element, push_elements};
use super::text::{brief, push_more};
use crate::ffi::arrow::{Column, attribute};
use crate::ffi::numpy::{Array, Element};
use crate::ffi::object::{Int, Kind, Obj};
use crate::ffi::python_types::{Owned, c_getter, exact_attribute};

// Writing to a String cannot fail, so the results of `write!` are dropped in this file.

/// Blocks of columns that are searched for one column, and columns of a block.
const SEARCHED: usize = 256;

/// `3 rows × 2 columns {'a': int64 [1, 2, 3], 'b': …}, index range(0, 3)`; false if the table is kept in an unknown way.
pub fn push_frame(out: &mut String, object: Obj<'_>, limits: Limits) -> bool {
    let Some(manager) = attribute(object, "_mgr") else { return false };
    let (Some(axes), Some(blocks)) = (field(manager, "axes"), field(manager, "blocks")) else { return false };
    let (Some(columns), Some(index)) = (item(&axes, 0), item(&axes, 1)) else { return false };
    let Some(width) = index_length(columns).or_else(|| columns_of(&blocks)) else { return false };
    let Some(height) = index_length(index).or_else(|| rows_of(&blocks)) else { return false };
    let _ = write!(out, "{height} rows × {width} columns {{");
    for column in 0..width.min(limits.items) {
        if column > 0 {
            out.push_str(", ");
        }
        push_label(out, columns, column, limits);
        out.push_str(": ");
        push_column(out, &blocks, column, height, limits);
    }
    if width > limits.items {
        out.push_str(", ");
        push_more(out, width - limits.items);
    }
    out.push_str("}, index ");
    push_labels(out, index, limits);
    true
}

/// `'name' int64 [1, 2, 3], index range(0, 3)`.
pub fn push_series(out: &mut String, object: Obj<'_>, limits: Limits) -> bool {
    let Some(manager) = attribute(object, "_mgr") else { return false };
    let (Some(axes), Some(blocks)) = (field(manager, "axes"), field(manager, "blocks")) else { return false };
    let Some(index) = item(&axes, 0) else { return false };
    let Some(length) = index_length(index).or_else(|| rows_of(&blocks)) else { return false };
    let Some(block) = item(&blocks, 0) else { return false };
    let Some(values) = c_getter(block, "values") else { return false };
    if let Some(name) = attribute(object, "_name").filter(|name| !name.is_none()) {
        brief(name, out, limits.text, limits.depth + 1);
        out.push(' ');
    }
    push_values(out, &values, None, length, limits);
    out.push_str(", index ");
    push_labels(out, index, limits);
    true
}

/// `int64 [1, 2, 3]`, or the range.
pub fn push_index(out: &mut String, object: Obj<'_>, limits: Limits) -> bool {
    if index_length(object).is_none() {
        return false;
    }
    push_labels(out, object, limits);
    true
}

/// A field of a manager of blocks: a table's has it in a struct, a column's among its attributes.
fn field(manager: Obj<'_>, name: &str) -> Option<Owned> {
    c_getter(manager, name).or_else(|| attribute(manager, name).map(Owned::of))
}

fn item(container: &Owned, index: usize) -> Option<Obj<'_>> {
    let container = container.get()?;
    matches!(container.kind(), (Kind::List | Kind::Tuple, true)).then(|| container.items().nth(index).flatten())?
}

/// Start, stop and step of a range or slice, if they are small ints.
fn bounds(object: Obj<'_>) -> Option<[i64; 3]> {
    let number = |name| match exact_attribute(object, name)?.get()? {
        value if value.kind() == (Kind::Int, true) && value.int_bits() < 63 => match value.int_value() {
            Int::Small(n) => Some(n),
            Int::Big { .. } => None,
        },
        _ => None,
    };
    let exact = object.ty().is_c_type(c"range") || object.ty().is_c_type(c"slice");
    if exact { Some([number(c"start")?, number(c"stop")?, number(c"step")?]) } else { None }
}

fn count([start, stop, step]: [i64; 3]) -> Option<usize> {
    let span = if step > 0 { stop.checked_sub(start)? } else { start.checked_sub(stop)? };
    if step == 0 { None } else { Some(usize::try_from(span).unwrap_or(0).div_ceil(step.unsigned_abs() as usize)) }
}

/// The range of a `RangeIndex`.
fn range_of(index: Obj<'_>) -> Option<[i64; 3]> {
    bounds(attribute(index, "_range")?)
}

/// How many columns all blocks have.
fn columns_of(blocks: &Owned) -> Option<usize> {
    let mut all = 0;
    for index in 0..SEARCHED {
        let Some(block) = item(blocks, index) else { return Some(all) };
        let places = c_getter(block, "_mgr_locs")?;
        let indexer = c_getter(places.get()?, "indexer")?;
        let indexer = indexer.get()?;
        all += match bounds(indexer) {
            Some(range) => count(range)?,
            None => Array::of(indexer)?.len(),
        };
    }
    None
}

/// How many rows the first block has that is kept in a known way.
fn rows_of(blocks: &Owned) -> Option<usize> {
    (0..SEARCHED).map_while(|index| item(blocks, index)).find_map(|block| {
        let values = c_getter(block, "values")?;
        let values = values.get()?;
        with_array(values, |array| array.shape.last().copied()).flatten().or_else(|| Column::of(values)?.length())
    })
}

fn index_length(index: Obj<'_>) -> Option<usize> {
    if let Some(range) = range_of(index) {
        return count(range);
    }
    let data = attribute(index, "_data")?;
    with_array(data, |array| array.len()).or_else(|| Column::of(data)?.length())
}

/// Looks at the array in which something of pandas keeps its values.
fn with_array<T>(values: Obj<'_>, look: impl FnOnce(Array<'_>) -> T) -> Option<T> {
    if let Some(array) = Array::of(values) {
        return Some(look(array));
    }
    let owned = c_getter(values, "_ndarray")?;
    Array::of(owned.get()?).map(look)
}

fn push_label(out: &mut String, index: Obj<'_>, at: usize, limits: Limits) {
    if let Some([start, _, step]) = range_of(index) {
        let _ = write!(out, "{}", start.saturating_add(step.saturating_mul(at as i64)));
        return;
    }
    let shown = attribute(index, "_data").and_then(|data| {
        if let Some(column) = Column::of(data) {
            push_element(out, texts(&column, at, 1, limits)?.first()?, limits);
            return Some(());
        }
        with_array(data, |array| {
            push_element(out, array.elements(at, 1)?.first()?, limits);
            Some(())
        })
        .flatten()
    });
    if shown.is_none() {
        let _ = write!(out, "column {at}");
    }
}

fn push_labels(out: &mut String, index: Obj<'_>, limits: Limits) {
    match (range_of(index), attribute(index, "_data")) {
        (Some([start, stop, 1]), _) => {
            let _ = write!(out, "range({start}, {stop})");
        }
        (Some([start, stop, step]), _) => {
            let _ = write!(out, "range({start}, {stop}, {step})");
        }
        (None, Some(data)) => {
            let length = index_length(index).unwrap_or(0);
            let shown = with_array(data, |array| {
                push_kind(out, data, &array.dtype());
                array.elements(0, limits.items).map(|elements| push_elements(out, &elements, length, limits))
            });
            match shown {
                Some(Some(())) => {}
                Some(None) => out.push('…'),
                None => push_other(out, data, length, limits),
            }
        }
        (None, None) => out.push_str(&index.ty().full_name()),
    }
}

fn push_column(out: &mut String, blocks: &Owned, column: usize, height: usize, limits: Limits) {
    for index in 0..SEARCHED {
        let Some(block) = item(blocks, index) else { break };
        let row = c_getter(block, "_mgr_locs").and_then(|places| row_of(&places, column));
        if let (Some(row), Some(values)) = (row, c_getter(block, "values")) {
            return push_values(out, &values, Some(row), height, limits);
        }
    }
    out.push('?');
}

/// Which row of a block holds a column of the table, if it is in this block.
fn row_of(places: &Owned, column: usize) -> Option<usize> {
    let indexer = c_getter(places.get()?, "indexer")?;
    let indexer = indexer.get()?;
    if let Some([start, stop, step]) = bounds(indexer) {
        let distance = column as i64 - start;
        let row = usize::try_from(distance.checked_div(step)?).ok()?;
        return (distance % step == 0 && row < count([start, stop, step])?).then_some(row);
    }
    let places = Array::of(indexer)?.elements(0, SEARCHED)?;
    places.iter().position(|place| matches!(place, Element::Int(place) if *place == column as i64))
}

fn push_kind(out: &mut String, values: Obj<'_>, dtype: &str) {
    // Arrays of pandas' own say more by their type than by how they are kept.
    if Array::of(values).is_none() && dtype == "object" {
        let name = values.ty().full_name();
        out.push_str(name.rsplit('.').next().unwrap_or(&name));
    } else {
        out.push_str(dtype);
    }
    out.push(' ');
}

/// The values of one column; `row` where a block of several has them.
fn push_values(out: &mut String, values: &Owned, row: Option<usize>, length: usize, limits: Limits) {
    let Some(values) = values.get() else { return };
    let shown = with_array(values, |array| {
        push_kind(out, values, &array.dtype());
        let elements = match row {
            Some(row) if array.shape.len() == 2 => array.row(row)?.elements(limits.items),
            _ => array.elements(0, limits.items),
        };
        elements.map(|elements| push_elements(out, &elements, length, limits))
    });
    match shown {
        Some(Some(())) => {}
        Some(None) => out.push('…'),
        None => push_other(out, values, length, limits),
    }
}

/// Values that are in no array of NumPy: those in pyarrow's texts, else what they are.
fn push_other(out: &mut String, values: Obj<'_>, length: usize, limits: Limits) {
    let column = Column::of(values);
    let name = values.ty().full_name();
    let name = name.rsplit('.').next().unwrap_or(&name);
    match column.as_ref().and_then(Column::dtype) {
        Some(dtype) => out.push_str(&dtype),
        None => out.push_str(name),
    }
    out.push(' ');
    match column.and_then(|column| texts(&column, 0, limits.items, limits)) {
        Some(elements) => push_elements(out, &elements, length, limits),
        None => out.push('…'),
    }
}

/// Texts of a column; bytes enough for as many characters as are shown, and one more.
fn texts<'a>(column: &Column<'a>, skip: usize, count: usize, limits: Limits) -> Option<Vec<Element<'a>>> {
    column.texts(skip, count, limits.text.saturating_mul(4).saturating_add(4))
}
