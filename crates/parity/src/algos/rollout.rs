//! Steps of a rollout with recorded actions, members and noise.

use super::transitions::{RecordedColumns, columns_of};
use super::{Compared, Fixture, Kind, ParityError, Tensor};
use crate::recording::{difference, relative, start};
use backcast_core::*;
use backcast_dynamics::{Ensemble, EnsembleConfig};
use backcast_imagination::{ImagineConfig, Imaginer, StepDraws};
use backcast_penalties::MaxAleatoric;
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::Deserialize;

/// What a fixture calls it.
pub(super) const NAME: &str = "rollout";

/// The note `config`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    direction: Direction,
    model: EnsembleConfig,
    imagine: ImagineConfig,
}

/// The rows that chains start from, in order.
struct InOrder<'a>(&'a Transitions);

impl Source for InOrder<'_> {
    fn spec(&self) -> Spec {
        self.0.spec()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn sample_into(&self, _: Key, rows: usize, out: &mut Transitions) {
        (0..rows).for_each(|row| out.push_row(self.0, row));
    }
}

/// Actions recorded for each step.
struct Recorded {
    spec: Spec,
    steps: std::vec::IntoIter<Vec<Real>>,
}

impl Policy for Recorded {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn act(&mut self, _: ArrayView2<'_, Real>, _: Option<Key>, mut act: ArrayViewMut2<'_, Real>) {
        let recorded = self.steps.next().expect("as many as the horizon");
        act.iter_mut().zip(recorded).for_each(|(to, x)| *to = x);
    }
}

pub(super) fn replay(fixture: &Fixture) -> Result<Vec<Compared>, ParityError> {
    let complain = |why: String| fixture.note("config", why);
    let Config { direction, model, imagine } = super::read_config(fixture)?;
    let (spec, members) = (fixture.spec, model.members);
    if direction == Direction::Inverse {
        return Err(complain("an inverse model predicts no state".into()));
    }
    let mut model = Ensemble::new(model, spec, direction, Key::new(0)).map_err(|e| complain(e.to_string()))?;
    let starts = fixture.columns("batch", false)?;
    let [starts] = &starts[..] else {
        return Err(fixture.note("batch/obs", format!("{} batches of states to start from, not one", starts.len())));
    };
    let first = start(fixture, &mut model)?;
    let (rows, horizon) = (starts.len(), imagine.horizon);
    let mut actions = Vec::new();
    let mut recorded = Vec::new();
    for step in 0..horizon {
        let draw = |number: usize, cols: usize| {
            let Tensor { values, .. } = fixture.tensor(&format!("draws/{step}/{number}"), &[rows, cols])?;
            Ok(values.iter().map(|&x| x as Real).collect::<Vec<_>>())
        };
        actions.push(draw(0, spec.act)?);
        let member: Vec<_> = draw(1, 1)?.iter().map(|&x| x as usize).collect();
        if let Some(member) = member.iter().find(|&&member| member >= members) {
            return Err(fixture.note(&format!("draws/{step}/1"), format!("member {member} of {members}")));
        }
        recorded.push(StepDraws { member, noise: draw(2, 1 + spec.obs)? });
    }
    let config = ImagineConfig { starts_per_call: rows, ..imagine };
    let mut imaginer = Imaginer::new(config, never, MaxAleatoric).map_err(|e| complain(e.to_string()))?;
    imaginer.set_replay(recorded);
    let mut policy = Recorded { spec, steps: actions.into_iter() };
    let [mut s, mut a, mut r, mut s2, mut u] = [const { Vec::new() }; 5];
    imaginer.imagine(&mut model, &InOrder(starts), &mut policy, Key::new(0), &mut |x: Imagined<'_>| {
        s.extend(x.obs.iter().map(|&x| x as f64));
        a.extend(x.act.iter().map(|&x| x as f64));
        s2.extend(x.next_obs.iter().map(|&x| x as f64));
        r.push(x.reward as f64);
        u.push(x.penalty as f64);
    });
    let mut all = Vec::new();
    for (name, width, ours) in
        [("obs", spec.obs, s), ("act", spec.act, a), ("reward", 1, r), ("next_obs", spec.obs, s2), ("penalty", 1, u)]
    {
        let shape = [horizon, rows, width];
        let theirs = fixture.tensor(&format!("transitions/{name}"), &shape)?;
        // A step that lost a row has too few of them.
        let lost = ours.len() != theirs.values.len();
        let off = if lost { f64::INFINITY } else { difference(&Tensor::new(&shape, ours), theirs) };
        let error = relative(off, theirs.norm(), 0.0);
        all.push(Compared { kind: Kind::Transition, name: name.into(), update: None, error });
    }
    let mut inputs = columns_of("batch", false);
    inputs.extend(first.iter().map(|(name, _)| format!("params/{name}")));
    fixture.check_all_compared(&all, &inputs, horizon)?;
    Ok(all)
}
