use crate::imaginer::{view, view_mut};
use backcast_core::{Column, Direction, Dynamics, Key, Real, Transitions, quantile};
use serde::{Deserialize, Serialize};

/// What carries a chain from one state to the next when a model's error is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drive {
    /// The mean of the best elite.
    BestMean,
    /// The mean of an elite drawn for each chain and step.
    EliteMean,
    /// A sample of an elite drawn for each chain and step: what imagination does.
    #[default]
    EliteSample,
}

/// How to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HorizonConfig {
    /// The greatest number of steps.
    pub horizon: usize,
    /// What carries a chain on.
    pub drive: Drive,
    /// The greatest number of chains; if more could start, this many are drawn without replacement.
    pub max_chains: usize,
}

impl Default for HorizonConfig {
    fn default() -> Self {
        Self { horizon: 10, drive: Drive::EliteSample, max_chains: 2000 }
    }
}

/// Quartiles over chains of ‖ŝ − s‖₂ after some steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HorizonError {
    /// Steps, from 1.
    pub horizon: usize,
    /// Chains that got here with finite numbers.
    pub chains: usize,
    /// First quartile.
    pub q25: Real,
    /// Median.
    pub median: Real,
    /// Third quartile.
    pub q75: Real,
    /// The median had nothing been predicted: the distance from the start of the chain.
    pub copy_median: Real,
}

/// The error of `model` against recorded trajectories, for 1, 2, … steps with the recorded actions.
///
/// `runs` are lists of consecutive rows of `data`, each row's *s′* being the next one's *s*. Forwards a chain starts from *s*
/// of a row and follows its action and those after it; backwards it starts from *s′* and follows the row's action and those
/// before it. Every chain has the whole horizon before it, so that the same chains stand behind every entry.
/// A horizon that no run is long enough for gives an empty list.
///
/// # Panics
/// If the model is an inverse one, the widths differ, or a row is not in `data`.
pub fn model_error(
    model: &mut dyn Dynamics,
    data: &Transitions,
    runs: &[Vec<usize>],
    config: HorizonConfig,
    key: Key,
) -> Vec<HorizonError> {
    let (spec, direction) = (model.spec(), model.direction());
    assert_ne!(direction, Direction::Inverse, "model_error: an inverse model predicts no state");
    assert!(
        (data.spec().obs, data.spec().act) == (spec.obs, spec.act),
        "model_error: data of {:?} for a model of {spec:?}",
        data.spec()
    );
    let (obs, act, cols, h) = (spec.obs, spec.act, 1 + spec.obs, config.horizon);
    if h == 0 {
        return Vec::new();
    }
    // (run, position) of the first row of each chain.
    let mut chains: Vec<(usize, usize)> = Vec::new();
    for (r, run) in runs.iter().enumerate() {
        let starts = (run.len() + 1).saturating_sub(h);
        chains.extend((0..starts).map(|t| (r, if direction == Direction::Reverse { t + h - 1 } else { t })));
    }
    if chains.len() > config.max_chains {
        key.name("chains").shuffle(&mut chains);
        chains.truncate(config.max_chains);
        chains.sort_unstable();
    }
    let n = chains.len();
    if n == 0 {
        return Vec::new();
    }
    let reverse = direction == Direction::Reverse;
    let (known, sought) = if reverse { (Column::NextObs, Column::Obs) } else { (Column::Obs, Column::NextObs) };
    let row = |i: usize, step: usize| {
        let (run, at) = chains[i];
        runs[run][if reverse { at - step } else { at + step }]
    };
    let start: Vec<Real> = (0..n).flat_map(|i| data.row(known, row(i, 0))).copied().collect();
    let mut from = start.clone();
    let mut a = vec![0.0; n * act];
    let (mut mean, mut std, mut noise) = (vec![0.0; n * cols], vec![0.0; n * cols], vec![0.0; n * cols]);
    let elites = model.elites().to_vec();
    let mut result = Vec::with_capacity(h);
    for step in 0..h {
        let key = key.name("step").fold(step as u64);
        for (i, a) in a.chunks_exact_mut(act.max(1)).enumerate() {
            a.copy_from_slice(data.row(Column::Act, row(i, step)));
        }
        let member = |i: usize| match config.drive {
            Drive::BestMean => elites[0],
            _ => elites[key.name("member").below(elites.len(), i)],
        };
        let members: Vec<usize> = (0..n).map(member).collect();
        let given = [view(&from, n, obs), view(&a, n, act)];
        model.predict_elite(given, &members, view_mut(&mut mean, n, cols), view_mut(&mut std, n, cols));
        if config.drive == Drive::EliteSample {
            key.name("noise").normal(&mut noise);
            mean.iter_mut().zip(&std).zip(&noise).for_each(|((x, s), z)| *x += s * z);
        }
        let (mut errors, mut copies) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for i in 0..n {
            let to = &mean[i * cols + 1..][..obs];
            from[i * obs..][..obs].copy_from_slice(to);
            let truth = data.row(sought, row(i, step));
            errors.push(distance(to, truth));
            copies.push(distance(&start[i * obs..][..obs], truth));
        }
        errors.retain(|e| e.is_finite());
        errors.sort_unstable_by(Real::total_cmp);
        copies.sort_unstable_by(Real::total_cmp);
        result.push(HorizonError {
            horizon: step + 1,
            chains: errors.len(),
            q25: quantile(&errors, 0.25),
            median: quantile(&errors, 0.5),
            q75: quantile(&errors, 0.75),
            copy_median: quantile(&copies, 0.5),
        });
    }
    result
}

fn distance(a: &[Real], b: &[Real]) -> Real {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<Real>().sqrt()
}
