//! What the user permits: the active policy and the layers it is made of.
//!
//! Invariants:
//! - The active policy is always whole and valid: a layer that would contradict the others is refused and changes
//!   nothing.
//! - Rank: built-in default, `CODETRACER_POLICY`, single variables, API and command line. An explicit
//!   [`configure_from_env`] is the newest word: what it says wins over earlier API calls.
//! - A running session keeps the policy it started with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub mod env;
pub mod ffi;
pub mod file;
pub mod keys;
pub mod layer;
pub mod model;
pub mod presets;
mod suggest;
mod units;

use crate::errors::RecorderResult;
use layer::{Layer, Resolved, resolve};
use model::RecorderPolicy;

#[derive(Debug, Default)]
struct State {
    policy: Layer,
    variables: Layer,
    api: Layer,
    resolved: Resolved,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

fn state() -> MutexGuard<'static, Option<State>> {
    // Every writer replaces the state as a whole.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The policy in force.
pub fn active() -> Arc<RecorderPolicy> {
    resolved().policy
}

/// The policy in force and where each value comes from.
pub fn resolved() -> Resolved {
    state().as_ref().map(|state| state.resolved.clone()).unwrap_or_default()
}

/// Adds what the API or the command line says.
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE` if it contradicts other settings; then nothing changes.
pub fn configure(said: Layer) -> RecorderResult<()> {
    change(|state| state.api.absorb(said))
}

/// Reads the environment anew.
///
/// # Errors
/// `ERR_INVALID_POLICY_VALUE` or `ERR_IO`, naming the variable; then nothing changes.
pub fn configure_from_env(lookup: env::Lookup<'_>) -> RecorderResult<()> {
    let policy = env::read_policy(lookup)?;
    let variables = env::read_variables(lookup)?;
    change(|state| {
        state.api.yield_to(&[&policy, &variables]);
        state.policy = policy;
        state.variables = variables;
    })
}

fn change(edit: impl FnOnce(&mut State)) -> RecorderResult<()> {
    let mut guard = state();
    let mut next = match guard.as_ref() {
        Some(state) => State {
            policy: state.policy.clone(),
            variables: state.variables.clone(),
            api: state.api.clone(),
            resolved: Resolved::default(),
        },
        None => State::default(),
    };
    edit(&mut next);
    next.resolved = resolve(&[&next.policy, &next.variables, &next.api])?;
    *guard = Some(next);
    Ok(())
}
