use backcast_core::{Batch, ConfigError, Real};
use backcast_nn::{Tape, Var};

/// A batch on a tape: the symbols of the papers.
#[derive(Clone, Copy)]
pub(crate) struct Transition<'t> {
    /// s, `[1, rows, obs]`.
    pub(crate) s: Var<'t>,
    /// a, `[1, rows, act]`.
    pub(crate) a: Var<'t>,
    /// r, `[1, rows, 1]`.
    pub(crate) r: Var<'t>,
    /// s′, `[1, rows, obs]`.
    pub(crate) s2: Var<'t>,
    /// 1 − d, `[1, rows, 1]`: 0 where there is no value beyond s′.
    pub(crate) alive: Var<'t>,
}

impl<'t> Transition<'t> {
    pub(crate) fn on(tape: Tape<'t>, batch: Batch<'_>) -> Self {
        Self {
            s: tape.input(batch.obs),
            a: tape.input(batch.act),
            r: tape.input(batch.reward),
            s2: tape.input(batch.next_obs),
            alive: -tape.input(batch.terminal) + 1.0,
        }
    }
}

/// The sizes `first → hidden … → last` of a net.
pub(crate) fn sizes(first: usize, hidden: &[usize], last: usize) -> Vec<usize> {
    [&[first], hidden, &[last]].concat()
}

/// The checks every configuration shares.
pub(crate) fn check_shared(gamma: Real, polyak: Real, rates: &[(&'static str, Real)]) -> Result<(), ConfigError> {
    ConfigError::unless((0.0..=1.0).contains(&gamma), "gamma", format!("is {gamma}; a discount lies in [0, 1]"))?;
    ConfigError::unless(polyak > 0.0 && polyak <= 1.0, "polyak", format!("is {polyak}; it must lie in (0, 1]"))?;
    for &(field, rate) in rates {
        check_rate(field, rate)?;
    }
    Ok(())
}

pub(crate) fn check_rate(field: &'static str, rate: Real) -> Result<(), ConfigError> {
    ConfigError::unless(rate > 0.0 && rate.is_finite(), field, format!("is {rate}; a learning rate is positive"))
}

pub(crate) fn check_weight(field: &'static str, weight: Real) -> Result<(), ConfigError> {
    let sound = weight >= 0.0 && weight.is_finite();
    ConfigError::unless(sound, field, format!("is {weight}; a weight is a number, not negative"))
}

pub(crate) fn check_hidden(field: &'static str, hidden: &[usize]) -> Result<(), ConfigError> {
    let fits = !hidden.is_empty() && hidden.len() < backcast_nn::MAX_LAYERS && !hidden.contains(&0);
    let why = format!("is {hidden:?}; give 1 to {} layers of at least one unit", backcast_nn::MAX_LAYERS - 1);
    ConfigError::unless(fits, field, why)
}
