//! What is replayed, and how all of it is compared.

use super::compare::{difference, loss_error, relative};
use super::names::{moves, optimiser};
use super::{Compared, Fixture, Kind, ParityError, Tensor};
use backcast_core::{Metrics, Real, Slot, State};
use backcast_nn::{Arena, RecordedDraws};
use std::collections::BTreeMap;

/// Something that fixtures are of: a state, and how it is updated.
pub trait Subject {
    /// Its tensors by name, as they are in the fixture.
    fn state(&mut self) -> &mut dyn State;

    /// β₁ of the optimiser that moves `net`.
    fn beta1(&self, _net: &str) -> Real {
        BETA1
    }

    /// Updates recorded.
    fn updates(&self) -> usize;

    /// What it takes from the fixture beside parameters and draws: the paths.
    fn inputs(&self) -> Vec<String>;

    /// One update, with the fixture's rows and draws.
    fn update(&mut self, fixture: &Fixture, update: usize) -> Result<Metrics, ParityError>;
}

/// An update whose draws are the fixture's: `arena` is that of the store whose tapes draw.
///
/// # Errors
/// If there are more or fewer draws than are asked for, or of another shape.
///
/// # Panics
/// If `update` takes the draws away.
pub fn replaying<S: ?Sized>(
    fixture: &Fixture,
    update: usize,
    subject: &mut S,
    arena: fn(&mut S) -> &mut Arena,
    learn: impl FnOnce(&mut S) -> Metrics,
) -> Result<Metrics, ParityError> {
    arena(subject).set_replay(Some(RecordedDraws::new(fixture.draws(update))));
    let metrics = learn(subject);
    let replay = arena(subject).take_replay().expect("an algorithm does not take the draws away");
    replay.finish().map_err(|source| fixture.draw_error(update, source))?;
    Ok(metrics)
}

/// Replays every update: each quantity with how far ours is from the fixture's. Losses come first, then gradients, then parameters.
///
/// # Errors
/// If the fixture does not fit what it names: a tensor is missing, unknown or of another shape, or there are more or fewer
/// draws than are asked for.
pub fn replay(fixture: &Fixture, subject: &mut dyn Subject) -> Result<Vec<Compared>, ParityError> {
    let updates = subject.updates();
    let first = start(fixture, subject.state())?;
    let mut losses: BTreeMap<String, Vec<Option<Real>>> = BTreeMap::new();
    let mut gradients = BTreeMap::new();
    for update in 0..updates {
        let metrics = subject.update(fixture, update)?;
        for (name, value) in metrics.iter() {
            losses.entry(name.to_owned()).or_insert_with(|| vec![None; updates])[update] = Some(value);
        }
        first_gradients(fixture, subject, &mut gradients)?;
    }

    let mut all = compare_losses(fixture, &losses, updates)?;
    all.extend(compare_gradients(fixture, &gradients)?);
    all.extend(compare_parameters(fixture, subject.state(), &first)?);
    fixture.check_all_compared(&all, &subject.inputs(), updates)?;
    Ok(all)
}

/// Every tensor of the state that is not an optimiser's, with its shape and numbers, in its order.
fn parameters(state: &mut dyn State) -> Vec<(String, Tensor)> {
    let mut all = Vec::new();
    state.visit(&mut |name, slot| {
        if let (Slot::Tensor(shape, values), None) = (slot, optimiser(name)) {
            all.push((name.to_owned(), Tensor::new(shape, values.iter().map(|&x| x as f64))));
        }
    });
    all
}

/// Puts the fixture's first parameters into the state and returns them.
///
/// # Errors
/// If one of them is missing or of another shape.
pub fn start(fixture: &Fixture, state: &mut dyn State) -> Result<Vec<(String, Tensor)>, ParityError> {
    let mut first = parameters(state);
    for (name, tensor) in &mut first {
        *tensor = fixture.tensor(&format!("params/{name}"), &tensor.shape)?.clone();
    }
    let mut next = first.iter();
    state.visit(&mut |name, slot| {
        if let (Slot::Tensor(_, values), None) = (slot, optimiser(name)) {
            let (_, tensor) = next.next().expect("a state visits the same tensors every time");
            values.iter_mut().zip(&tensor.values).for_each(|(to, &x)| *to = x as Real);
        }
    });
    Ok(first)
}

/// Adds the gradient of each optimiser that has now taken its one and only step: its first moment is then (1 − β₁)·g.
fn first_gradients(
    fixture: &Fixture,
    subject: &mut dyn Subject,
    gradients: &mut BTreeMap<String, (String, Tensor)>,
) -> Result<(), ParityError> {
    let (mut moments, mut stepped, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
    subject.state().visit(&mut |name, slot| match (optimiser(name), slot) {
        (Some((prefix, "m")), Slot::Tensor(_, m)) => moments.push((prefix.to_owned(), m.to_vec())),
        (Some((prefix, "steps")), Slot::Count(&mut 1)) => stepped.push(prefix.to_owned()),
        (None, Slot::Tensor(shape, _)) => shapes.push((name.to_owned(), shape.to_vec())),
        _ => {}
    });
    for (prefix, m) in moments.iter().filter(|(prefix, _)| stepped.contains(prefix)) {
        let moved: Vec<_> = shapes.iter().filter(|(name, _)| moves(prefix, name)).collect();
        let len: usize = moved.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        if len != m.len() {
            let why = format!("moves {} numbers, and the tensors called after it have {len}", m.len());
            return Err(fixture.note(&format!("the optimiser of `{prefix}`"), why));
        }
        let mut rest = m.as_slice();
        for (name, shape) in moved {
            let (now, later) = rest.split_at(shape.iter().product());
            let g = now.iter().map(|&m| m as f64 / (1.0 - subject.beta1(prefix) as f64));
            gradients.entry(name.clone()).or_insert_with(|| (prefix.clone(), Tensor::new(shape, g)));
            rest = later;
        }
    }
    Ok(())
}

/// β₁ of the optimisers here, but for some algorithms'.
pub const BETA1: Real = 0.9;

/// Losses, and whatever else of an update's metrics the fixture has. A NaN of the fixture is an update without that metric.
fn compare_losses(
    fixture: &Fixture,
    ours: &BTreeMap<String, Vec<Option<Real>>>,
    updates: usize,
) -> Result<Vec<Compared>, ParityError> {
    let mut all = Vec::new();
    for (name, ours) in ours {
        let path = format!("losses/{name}");
        if !fixture.tensors.contains_key(&path) && !name.ends_with("loss") {
            continue;
        }
        let theirs = &fixture.tensor(&path, &[updates])?.values;
        let largest = theirs.iter().filter(|x| x.is_finite()).fold(0.0f64, |most, x| most.max(x.abs()));
        for (update, (ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
            let error = loss_error(ours.map(|x| x as f64), theirs, largest);
            all.push(Compared { kind: Kind::Loss, name: name.clone(), update: Some(update), error });
        }
    }
    Ok(all)
}

/// A tensor beside the largest of those its optimiser moves.
fn compare_gradients(
    fixture: &Fixture,
    ours: &BTreeMap<String, (String, Tensor)>,
) -> Result<Vec<Compared>, ParityError> {
    let mut theirs = BTreeMap::new();
    for (name, (_, ours)) in ours {
        theirs.insert(name, fixture.tensor(&format!("gradients/{name}"), &ours.shape)?);
    }
    let largest = |of: &str| {
        let beside = theirs.iter().filter(|(name, _)| ours[**name].0 == of);
        beside.fold(0.0f64, |most, (_, tensor)| most.max(tensor.norm()))
    };
    let compared = ours.iter().map(|(name, (optimiser, ours))| {
        let error = relative(difference(ours, theirs[name]), theirs[name].norm(), 1e-3 * largest(optimiser));
        Compared { kind: Kind::Gradient, name: name.clone(), update: None, error }
    });
    Ok(compared.collect())
}

/// Last parameters, and how they changed.
fn compare_parameters(
    fixture: &Fixture,
    state: &mut dyn State,
    first: &[(String, Tensor)],
) -> Result<Vec<Compared>, ParityError> {
    let mut all = Vec::new();
    for ((name, ours), (_, first)) in parameters(state).iter().zip(first) {
        let theirs = fixture.tensor(&format!("final/{name}"), &ours.shape)?;
        let (off, moved) = (difference(ours, theirs), difference(theirs, first));
        for (kind, size, floor) in [(Kind::Parameter, theirs.norm(), 0.0), (Kind::Change, moved, 1e-3 * first.norm())] {
            all.push(Compared { kind, name: name.clone(), update: None, error: relative(off, size, floor) });
        }
    }
    Ok(all)
}
