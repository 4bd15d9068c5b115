//! From compact values to encoded ones.
//!
//! Invariants:
//! - Definitions that a value needs go to `definitions`' output, whole and before the value is used anywhere; the
//!   value itself goes elsewhere, so a value that turns out malformed leaves only complete events behind.
//! - Nothing is allocated for what a count *says*; a count larger than the bytes that are left is malformed.

use super::codec::{Compound, EventCodec};
use super::float::FloatText;
use super::interning::Definitions;
use crate::pipeline::layout::{Malformed, Take, value};
use crate::pipeline::tables::types;

/// Containers nested deeper than this are malformed. CodeTracer's readers give up at about 60 levels of sequences,
/// the event around the value included; whoever records values must stay below.
pub const MAX_VALUE_DEPTH: u32 = 48;

/// Takes one value from `take`, appends it to `value_out` and the definitions it needs to `out`.
#[inline]
pub(super) fn encode_value<C: EventCodec>(
    take: &mut Take<'_>,
    definitions: &mut Definitions<C>,
    value_out: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    encode_nested(take, definitions, value_out, out, 0)
}

fn encode_nested<C: EventCodec>(
    take: &mut Take<'_>,
    definitions: &mut Definitions<C>,
    value_out: &mut Vec<u8>,
    out: &mut Vec<u8>,
    depth: u32,
) -> Result<(), Malformed> {
    let tag = take.u8()?;
    let compound = match tag {
        value::NONE => {
            C::none(value_out, definitions.type_id(types::NONE, out)?);
            return Ok(());
        }
        value::RAW => {
            let type_id = definitions.type_id(take.u32()?, out)?;
            C::raw(value_out, take.text()?, type_id);
            return Ok(());
        }
        value::ERROR => {
            let type_id = definitions.type_id(take.u32()?, out)?;
            C::error(value_out, take.text()?, type_id);
            return Ok(());
        }
        value::TYPED => {
            let shown_as = take.u32()?;
            return encode_scalar(take.u8()?, Some(shown_as), take, definitions, value_out, out);
        }
        value::SEQ => Compound::Sequence,
        value::TUPLE => Compound::Tuple,
        value::STRUCT => Compound::Struct,
        scalar => return encode_scalar(scalar, None, take, definitions, value_out, out),
    };
    let type_id = definitions.type_id(take.u32()?, out)?;
    let count = take.u32()?;
    // Every element takes at least its tag.
    if count as usize > take.rest().len() || depth == MAX_VALUE_DEPTH {
        return Err(Malformed);
    }
    C::begin_compound(value_out, compound, count);
    for i in 0..count {
        if i > 0 {
            value_out.extend_from_slice(C::ITEM_SEPARATOR);
        }
        encode_nested(take, definitions, value_out, out, depth + 1)?;
    }
    C::end_compound(value_out, compound, type_id);
    Ok(())
}

/// The values `TRUE` to `BIGINT`, shown with their own type or another one.
#[inline]
fn encode_scalar<C: EventCodec>(
    tag: u8,
    shown_as: Option<u32>,
    take: &mut Take<'_>,
    definitions: &mut Definitions<C>,
    value_out: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let mut type_id = |own| definitions.type_id(shown_as.unwrap_or(own), out);
    match tag {
        value::INT => C::int(value_out, take.i64()?, type_id(types::INT)?),
        value::STR => C::string(value_out, take.text()?, type_id(types::STRING)?),
        value::TRUE => C::bool(value_out, true, type_id(types::BOOL)?),
        value::FALSE => C::bool(value_out, false, type_id(types::BOOL)?),
        // Older and newer CodeTracer disagree on how a Float is written; both read Raw text of kind Float.
        value::FLOAT => C::raw(value_out, FloatText::default().format(take.f64()?), type_id(types::FLOAT)?),
        value::BIGINT => {
            let negative = take.u8()? != 0;
            let len = take.u32()? as usize;
            C::big_int(value_out, negative, take.bytes(len)?, type_id(types::INT)?);
        }
        _ => return Err(Malformed),
    }
    Ok(())
}
