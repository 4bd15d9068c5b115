//! Values of a trace as short text for people.
//!
//! Invariants: bounded length; Python's way of writing where there is one.

use runtime_tracing::{TypeId, TypeRecord, TypeSpecificInfo, ValueRecord};

/// Longest text of one value.
const MAX_TEXT: usize = 200;

/// Writes values with the names of their types.
pub struct Renderer<'a> {
    types: &'a [TypeRecord],
}

impl<'a> Renderer<'a> {
    pub fn new(types: &'a [TypeRecord]) -> Self {
        Self { types }
    }

    /// The value, shortened to a line.
    pub fn text(&self, value: &ValueRecord) -> String {
        let mut out = String::new();
        self.push(value, &mut out);
        match out.char_indices().nth(MAX_TEXT) {
            Some((end, _)) => format!("{}…", &out[..end]),
            None => out,
        }
    }

    fn type_of(&self, id: TypeId) -> Option<&TypeRecord> {
        self.types.get(id.0)
    }

    fn push(&self, value: &ValueRecord, out: &mut String) {
        if out.len() > 4 * MAX_TEXT {
            return;
        }
        match value {
            ValueRecord::None { .. } => out.push_str("None"),
            ValueRecord::Int { i, .. } => out.push_str(&i.to_string()),
            ValueRecord::Float { f, .. } => out.push_str(&f.to_string()),
            ValueRecord::Bool { b, .. } => out.push_str(if *b { "True" } else { "False" }),
            ValueRecord::String { text, .. } => out.push_str(&format!("{text:?}")),
            ValueRecord::Raw { r, .. } => out.push_str(r),
            ValueRecord::Error { msg, .. } => out.push_str(msg),
            ValueRecord::BigInt { b, negative, .. } => {
                out.push_str(if *negative { "-0x" } else { "0x" });
                b.iter().for_each(|byte| out.push_str(&format!("{byte:02x}")));
            }
            ValueRecord::Sequence { elements, type_id, .. } => {
                let name = self.type_of(*type_id).map_or("", |info| info.lang_type.as_str());
                let pairs = !elements.is_empty()
                    && name == "Dict"
                    && elements
                        .iter()
                        .all(|item| matches!(item, ValueRecord::Tuple { elements, .. } if elements.len() == 2));
                if pairs {
                    self.list('{', '}', elements, out, |this, item, out| {
                        if let ValueRecord::Tuple { elements, .. } = item {
                            this.push(&elements[0], out);
                            out.push_str(": ");
                            this.push(&elements[1], out);
                        }
                    });
                } else {
                    let (open, close) =
                        if matches!(name, "Set" | "FrozenSet" | "Dict") { ('{', '}') } else { ('[', ']') };
                    self.list(open, close, elements, out, Self::push);
                }
            }
            ValueRecord::Tuple { elements, .. } => self.list('(', ')', elements, out, Self::push),
            ValueRecord::Struct { field_values, type_id } => {
                let info = self.type_of(*type_id);
                out.push_str(info.map_or("?", |info| info.lang_type.as_str()));
                let fields = match info.map(|info| &info.specific_info) {
                    Some(TypeSpecificInfo::Struct { fields }) => fields.as_slice(),
                    _ => &[],
                };
                out.push('(');
                for (index, item) in field_values.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    if let Some(field) = fields.get(index) {
                        out.push_str(&field.name);
                        out.push('=');
                    }
                    self.push(item, out);
                }
                out.push(')');
            }
            ValueRecord::Variant { discriminator, contents, .. } => {
                out.push_str(discriminator);
                self.list('(', ')', std::slice::from_ref(contents.as_ref()), out, Self::push);
            }
            ValueRecord::Reference { dereferenced, .. } => self.push(dereferenced, out),
            ValueRecord::Cell { place } => out.push_str(&format!("<cell {}>", place.0)),
        }
    }

    fn list(
        &self,
        open: char,
        close: char,
        items: &[ValueRecord],
        out: &mut String,
        push: impl Fn(&Self, &ValueRecord, &mut String),
    ) {
        out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            push(self, item, out);
        }
        out.push(close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_tracing::TypeKind;

    #[test]
    fn values_are_written_the_python_way() {
        let info = |name: &str| TypeRecord {
            kind: TypeKind::Seq,
            lang_type: name.to_owned(),
            specific_info: TypeSpecificInfo::None,
        };
        let types = [info("None"), info("Dict"), info("List")];
        let int = |i| ValueRecord::Int { i, type_id: TypeId(0) };
        let pair = ValueRecord::Tuple { elements: vec![int(1), int(2)], type_id: TypeId(0) };
        let dict = ValueRecord::Sequence { elements: vec![pair], is_slice: false, type_id: TypeId(1) };
        let list = ValueRecord::Sequence { elements: vec![dict, int(3)], is_slice: false, type_id: TypeId(2) };
        assert_eq!(Renderer::new(&types).text(&list), "[{1: 2}, 3]");
    }

    #[test]
    fn a_long_value_is_cut() {
        let text = ValueRecord::String { text: "x".repeat(10_000), type_id: TypeId(0) };
        assert_eq!(Renderer::new(&[]).text(&text).chars().count(), MAX_TEXT + 1);
    }
}
