//! Deciding about code objects: skipped or recorded, which variables, which of them hidden.
//!
//! Invariants:
//! - One decision per code object and session, kept in its extra slot; an event costs one load.
//! - Names are matched here, once; an event looks at actions only.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use rustc_hash::FxHashSet;

use super::paths::{absolute, module_name_from_path};
use super::shared::Shared;
use crate::errors::RecorderError;
use crate::ffi;
use crate::ffi::frame::Frame;
use crate::ffi::object::{Kind, Obj, Text, lossy};
use crate::monitoring::CodeObjectWrapper;
use crate::monitoring::code::{CodeNames, CodeSignature};
use crate::pipeline::tables::CodeInfo;
use crate::policy::model::Globals;
use crate::runtime::bytecode::Opcodes;
use crate::runtime::code_entry::{
    CodeEntry, FixedSlot, Gatekeeper, GlobalSlot, NOT_INSTRUMENTED, Namespace, Parameter, TracedCode,
};
use crate::runtime::stores::Stores;
use crate::runtime::value::NamePolicy;
use crate::trace_filter::{ExecDecision, Scope, ScopeResolution, ValueAction, ValueKind};

/// Most globals shown around one function: beyond, a step would cost more than it tells.
const MAX_GLOBALS: usize = 256;
const CO_OPTIMIZED: u32 = 0x1;
const CO_VARARGS: u32 = 0x4;
const CO_VARKEYWORDS: u32 = 0x8;

/// The decision of this session, if there is one.
#[inline]
pub fn known_entry<'a>(shared: &Shared, code: CodeObjectWrapper<'a>) -> Option<&'a CodeEntry> {
    ffi::code_entry(code, shared.code_slot).filter(|entry| entry.generation == shared.generation)
}

/// Decides and remembers.
#[cold]
pub fn decide<'a>(
    shared: &Arc<Shared>,
    code: CodeObjectWrapper<'a>,
    frame: Frame<'_>,
) -> Result<&'a CodeEntry, Box<RecorderError>> {
    ffi::attached(|py| decide_with(py, shared, code, frame.globals()))
}

fn decide_with<'a>(
    py: Python<'_>,
    shared: &Shared,
    code: CodeObjectWrapper<'a>,
    globals: Option<Obj<'_>>,
) -> Result<&'a CodeEntry, Box<RecorderError>> {
    let unreadable = |error| crate::bug!(FrameIntrospectionFailed, "cannot read a code object: {error}");
    let module = globals.and_then(module_in);
    let filename = code.filename(py).map_err(unreadable)?;
    if ffi::with_obj(&filename, |filename| shared.skipped_file.is(filename, module)) {
        return remember(shared, code, None, None);
    }
    let module = module.map(lossy);
    let names = code.names(py).map_err(unreadable)?;
    let path = absolute(&shared.cwd, Path::new(&names.filename));
    let traced = decide_now(py, shared, code, &names, &path, module.clone()).map_err(unreadable)?;
    let gatekeeper = (traced.is_none() && shared.gate.is_activated_by(&path)).then(Gatekeeper::default);
    if traced.is_none() && gatekeeper.is_none() && !shared.engine.goes_by_names() {
        shared.skipped_file.remember(names.filename, module);
    }
    remember(shared, code, traced, gatekeeper)
}

fn remember<'a>(
    shared: &Shared,
    code: CodeObjectWrapper<'a>,
    traced: Option<TracedCode>,
    gatekeeper: Option<Gatekeeper>,
) -> Result<&'a CodeEntry, Box<RecorderError>> {
    if traced.is_none() {
        shared.stats.scopes_skipped.fetch_add(1, Ordering::Relaxed);
    }
    let entry = CodeEntry { generation: shared.generation, code: code.id(), traced: traced.map(Box::new), gatekeeper };
    ffi::remember_code_entry(code, shared.code_slot, Arc::new(entry));
    crate::runtime::joins::seen(code.id());
    known_entry(shared, code)
        .ok_or_else(|| Box::new(crate::bug!(FrameIntrospectionFailed, "a code object takes no extra data")))
}

/// Switches a recorded code object's own events on.
#[cold]
pub fn instrument(shared: &Shared, code: CodeObjectWrapper<'_>, traced: &TracedCode) -> Result<(), Box<RecorderError>> {
    traced.instrumented.store(shared.state.epoch(), Ordering::Relaxed);
    let only_calls = shared.only_calls.load(Ordering::Relaxed);
    let events = if only_calls { shared.call_events } else { shared.local_events };
    ffi::attached(|py| crate::monitoring::install::instrument(py, code, events)).map_err(Box::new)
}

/// Lets frames of code that is not recorded open the activation gate.
#[cold]
pub fn instrument_gatekeeper(
    shared: &Shared,
    code: CodeObjectWrapper<'_>,
    gatekeeper: &Gatekeeper,
) -> Result<(), Box<RecorderError>> {
    gatekeeper.instrumented.store(shared.state.epoch(), Ordering::Relaxed);
    ffi::attached(|py| crate::monitoring::install::instrument(py, code, shared.call_events)).map_err(Box::new)
}

/// The local events of this code object are those of this epoch.
#[inline]
pub fn is_instrumented(shared: &Shared, traced: &TracedCode) -> bool {
    traced.instrumented.load(Ordering::Relaxed) == shared.state.epoch()
}

/// Decides about the code of a frame that runs already, and switches its events on if it is recorded. Returns whether
/// the frame is of the file that switches recording on.
pub fn enroll(py: Python<'_>, shared: &Arc<Shared>, frame: &Bound<'_, PyAny>) -> Result<bool, RecorderError> {
    let parts = || -> PyResult<(Bound<'_, PyAny>, Bound<'_, PyAny>)> {
        Ok((frame.getattr("f_code")?, frame.getattr("f_globals")?))
    };
    let (code, globals) =
        parts().map_err(|error| crate::enverr!(FrameIntrospectionFailed, "cannot read a running frame: {error}"))?;
    ffi::with_obj(&code, |object| {
        let code = CodeObjectWrapper::new(object);
        let entry = match known_entry(shared, code) {
            Some(entry) => entry,
            None => ffi::with_obj(&globals, |globals| decide_with(py, shared, code, Some(globals)))
                .map_err(|error| *error)?,
        };
        let Some(traced) = entry.traced.as_deref() else {
            let Some(gatekeeper) = &entry.gatekeeper else { return Ok(false) };
            if shared.gate.is_open() {
                instrument_gatekeeper(shared, code, gatekeeper).map_err(|error| *error)?;
            }
            return Ok(true);
        };
        // Behind a closed gate code is instrumented when it is needed.
        if shared.gate.is_open() && !is_instrumented(shared, traced) {
            instrument(shared, code, traced).map_err(|error| *error)?;
        }
        Ok(traced.activates)
    })
}

/// Whether module code runs in the namespace it was decided for (or is no module code).
#[inline]
pub fn fits_namespace(shared: &Shared, traced: &TracedCode, frame: Frame<'_>) -> bool {
    traced.namespace != Namespace::Module
        || !shared.module_name_from_globals
        || frame.globals().and_then(module_name_in).is_none_or(|name| traced.module.as_deref() == Some(name.as_str()))
}

/// `__name__` of a globals dict.
fn module_name_in(globals: Obj<'_>) -> Option<String> {
    module_in(globals).map(lossy)
}

/// The same as the str that it is.
fn module_in(globals: Obj<'_>) -> Option<Obj<'_>> {
    if globals.kind().0 != Kind::Dict {
        return None;
    }
    let is_name = |key: Obj<'_>| key.kind() == (Kind::Str, true) && matches!(key.text(), Text::Ascii("__name__"));
    let (_, value) = globals.dict_entries().find(|(key, _)| is_name(*key))?;
    (value.kind().0 == Kind::Str).then_some(value)
}

fn decide_now(
    py: Python<'_>,
    shared: &Shared,
    code: CodeObjectWrapper<'_>,
    names: &CodeNames,
    path: &Path,
    module: Option<String>,
) -> PyResult<Option<TracedCode>> {
    if names.filename.starts_with('<') && names.filename.ends_with('>') {
        return Ok(None);
    }
    let path_text = path.to_string_lossy().into_owned();
    let module = if shared.module_name_from_globals { module } else { None }
        .or_else(|| module_name_from_path(&shared.search_path, path));
    let name = match (&module, names.name.as_str()) {
        (Some(module), "<module>") => format!("<{module}>"),
        _ => names.qualname.clone(),
    };
    let scope = Scope { module: module.as_deref(), path: &path_text, qualname: &name };
    let resolution = shared.engine.resolve(&scope);
    let is_entry = shared.entries.as_ref().is_some_and(|entries| entries.selects(&scope));
    if resolution.exec() == ExecDecision::Skip {
        return Ok(None);
    }
    let signature = code.signature(py)?;
    let is_module = names.name == "<module>";
    let order = parameters(&signature);
    let (fixed, fixed_names) = fixed_slots(py, code, order.len(), &resolution)?;
    let (globals, global_names) = global_slots(py, shared, code, is_module, &resolution)?;
    let parameter = |&slot: &u16| {
        let index = usize::from(slot);
        let action = resolution.variable_action(ValueKind::Argument, &fixed_names[index]);
        Parameter { slot, action, differs: action != fixed[index].action }
    };
    let parameters = order.iter().map(parameter).collect();
    let lines_are_read_in_place = shared.local_events != shared.call_events && ffi::layout::trusted();
    let stores = if lines_are_read_in_place {
        Stores::of(&ffi::bound(py, code.object()), &shared.opcodes, signature.first_line, &fixed)?
    } else {
        None
    };
    let id = shared.tables.add_code(CodeInfo {
        path: path_text,
        first_line: signature.first_line,
        name,
        variables: fixed_names.into_iter().chain(global_names).collect(),
        parameters: order,
    });
    let namespace = match (signature.flags & CO_OPTIMIZED != 0, shared.globals) {
        (true, Globals::All) => Namespace::AllGlobals,
        (true, _) => Namespace::None,
        (false, _) if is_module => Namespace::Module,
        (false, _) => Namespace::Local,
    };
    Ok(Some(TracedCode {
        id,
        fixed,
        stores,
        parameters,
        globals,
        no_globals: AtomicU64::new(0),
        namespace,
        module: if namespace == Namespace::Module { module } else { None },
        activates: shared.gate.is_activated_by(path),
        is_entry,
        return_action: resolution.return_action(),
        resolution,
        instrumented: AtomicU32::new(NOT_INSTRUMENTED),
    }))
}

fn parameters(signature: &CodeSignature) -> Vec<u16> {
    // Fast slots: positional, keyword-only, *args, **kwargs; a signature shows *args before the keyword-only ones.
    let (positional, keyword_only) = (signature.argcount, signature.kwonly_count);
    let mut order: Vec<usize> = (0..positional).collect();
    let mut next = positional + keyword_only;
    if signature.flags & CO_VARARGS != 0 {
        order.push(next);
        next += 1;
    }
    order.extend(positional..positional + keyword_only);
    if signature.flags & CO_VARKEYWORDS != 0 {
        order.push(next);
    }
    order.into_iter().filter_map(|index| u16::try_from(index).ok()).collect()
}

type Slots<T> = (Box<[T]>, Vec<String>);

fn fixed_slots(
    py: Python<'_>,
    code: CodeObjectWrapper<'_>,
    parameter_count: usize,
    resolution: &ScopeResolution,
) -> PyResult<Slots<FixedSlot>> {
    let mut names = Vec::new();
    let slots = code
        .slot_names(py)?
        .into_iter()
        .take(usize::from(u16::MAX) / 2)
        .enumerate()
        .map(|(index, (name, in_cell))| {
            let text = ffi::with_obj(&name, lossy);
            let action = if index < parameter_count {
                resolution.parameter_action(&text)
            } else {
                resolution.variable_action(ValueKind::Local, &text)
            };
            names.push(text);
            FixedSlot { name: name.as_ptr() as usize, in_cell, action }
        })
        .collect();
    Ok((slots, names))
}

fn global_slots(
    py: Python<'_>,
    shared: &Shared,
    code: CodeObjectWrapper<'_>,
    is_module: bool,
    resolution: &ScopeResolution,
) -> PyResult<Slots<GlobalSlot>> {
    // Module code shows its whole namespace, which is the globals.
    if shared.globals != Globals::Referenced || is_module {
        return Ok((Box::default(), Vec::new()));
    }
    let mut seen = FxHashSet::default();
    let mut found = Vec::new();
    collect_globals(&shared.opcodes, &ffi::bound(py, code.object()), &mut seen, &mut found, 0)?;
    let mut names = Vec::new();
    let slots = found
        .into_iter()
        .map(|(name, text)| {
            let action = resolution.variable_action(ValueKind::Global, &text);
            names.push(text);
            GlobalSlot { name, action, hint: AtomicUsize::new(usize::MAX) }
        })
        .collect();
    Ok((slots, names))
}

/// Indices into `co_names` of what the instructions load as globals.
fn global_names(opcodes: &Opcodes, bytecode: &[u8]) -> impl Iterator<Item = usize> {
    opcodes.instructions(bytecode).filter_map(|instruction| {
        if Some(instruction.opcode) == opcodes.load_global {
            // The lowest bit says whether a null is pushed for a call.
            return Some(instruction.argument >> 1);
        }
        opcodes.by_name.contains(&instruction.opcode).then_some(instruction.argument)
    })
}

fn collect_globals(
    opcodes: &Opcodes,
    code: &Bound<'_, PyAny>,
    seen: &mut FxHashSet<String>,
    found: &mut Vec<(usize, String)>,
    depth: usize,
) -> PyResult<()> {
    let bytecode = code.getattr("co_code")?.cast_into::<PyBytes>()?;
    let names = code.getattr("co_names")?.cast_into::<PyTuple>()?;
    for index in global_names(opcodes, bytecode.as_bytes()) {
        let Ok(name) = names.get_item(index) else { continue };
        let text = ffi::with_obj(&name, lossy);
        let dunder = text.starts_with("__") && text.ends_with("__");
        if found.len() < MAX_GLOBALS && !dunder && seen.insert(text.clone()) {
            // The tuple belongs to the code object (or to one of its constants) and keeps the name alive.
            found.push((name.as_ptr() as usize, text));
        }
    }
    if depth < 8 {
        for constant in code.getattr("co_consts")?.cast_into::<PyTuple>()?.iter() {
            if constant.is_instance_of::<pyo3::types::PyCode>() {
                collect_globals(opcodes, &constant, seen, found, depth + 1)?;
            }
        }
    }
    Ok(())
}

/// One thread's memory of decisions about attribute names and dict keys: a table of fixed size.
#[derive(Debug)]
pub struct NameDecisions {
    known: Box<[Decision; NAMES_KNOWN]>,
}

/// Entries of the table; a power of two.
const NAMES_KNOWN: usize = 512;

/// Strings are told apart by hash and length.
#[derive(Debug, Clone, Copy)]
struct Decision {
    policy: usize,
    hash: isize,
    length: usize,
    is_key: bool,
    action: ValueAction,
}

/// The decisions for one code object.
#[derive(Debug)]
pub struct NameDecisionsOf<'a> {
    code: &'a TracedCode,
    known: &'a mut [Decision; NAMES_KNOWN],
}

impl Default for NameDecisions {
    fn default() -> Self {
        let nothing = Decision { policy: 0, hash: -1, length: 0, is_key: false, action: ValueAction::Redact };
        Self { known: Box::new([nothing; NAMES_KNOWN]) }
    }
}

impl NameDecisions {
    #[inline]
    pub fn of<'a>(&'a mut self, code: &'a TracedCode) -> NameDecisionsOf<'a> {
        NameDecisionsOf { code, known: &mut self.known }
    }
}

impl NameDecisionsOf<'_> {
    /// A string without a cached hash is matched each time.
    #[inline]
    fn remembered(&mut self, name: Obj<'_>, is_key: bool) -> ValueAction {
        let (policy, hash, length) = (self.code.resolution.identity(), name.str_hash(), name.text().len());
        let at = (hash as usize ^ usize::from(is_key)) % NAMES_KNOWN;
        let known = &self.known[at];
        if known.hash == hash
            && known.length == length
            && known.policy == policy
            && known.is_key == is_key
            && hash != -1
        {
            return known.action;
        }
        let action = self.decide(name, is_key);
        self.known[at] = Decision { policy, hash, length, is_key, action };
        action
    }

    #[cold]
    fn decide(&self, name: Obj<'_>, is_key: bool) -> ValueAction {
        let (resolution, text) = (&self.code.resolution, lossy(name));
        if is_key { resolution.dict_key_action(&text) } else { resolution.action(ValueKind::Attribute, &text) }
    }
}

impl NamePolicy for NameDecisionsOf<'_> {
    #[inline]
    fn hides_names(&self) -> bool {
        self.code.resolution.redacts_attributes()
    }
    #[inline]
    fn identity(&self) -> Option<usize> {
        Some(if self.hides_names() { self.code.resolution.identity() } else { 0 })
    }
    #[inline]
    fn attribute(&mut self, name: Obj<'_>) -> ValueAction {
        self.remembered(name, false)
    }
    #[inline]
    fn dict_key(&mut self, key: Obj<'_>) -> ValueAction {
        self.remembered(key, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_in_signature_order() {
        let signature = |argcount, kwonly_count, flags| CodeSignature { first_line: 1, flags, argcount, kwonly_count };
        assert_eq!(parameters(&signature(2, 0, 0)), [0, 1]);
        assert_eq!(parameters(&signature(1, 2, CO_VARARGS | CO_VARKEYWORDS)), [0, 3, 1, 2, 4]);
        assert_eq!(parameters(&signature(0, 1, CO_VARKEYWORDS)), [0, 1]);
    }

    #[test]
    fn global_loads_are_found_across_extended_arguments() {
        let opcodes = Opcodes { load_global: Some(116), by_name: vec![92], extended_arg: Some(144), binding: None };
        let found: Vec<usize> = global_names(&opcodes, &[116, 3, 0, 0, 144, 1, 116, 0, 92, 7]).collect();
        assert_eq!(found, [1, 128, 7]);
    }
}
