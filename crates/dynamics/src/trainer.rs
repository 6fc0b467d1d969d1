//! One step of maximum likelihood on given rows: what fitting and whoever trains a fitted ensemble further have in common.

use crate::{
    Ensemble, EnsembleConfig,
    ensemble::{Head, with_arena},
};
use backcast_core::{Real, Slot, State, Transitions, under};
use backcast_nn::{Adam, Shape, Tape, Var};
use rayon::prelude::*;

/// What one member is trained with.
#[derive(Clone, Debug)]
struct Trainee {
    adam: Adam,
    /// What the last step's loss had to say.
    said: Real,
}

/// The optimisers of an [`Ensemble`]: one for each member's net, and one for the bounds of the log-variance, which all share.
///
/// Members are trained side by side, each in memory of its own: nothing that one leaves behind drives out what another
/// needs, and its moments are updated while its gradient is in the inner caches. What they share is summed in their order,
/// so that bits do not depend on threads.
#[derive(Clone, Debug)]
pub struct Trainer {
    trainees: Vec<Trainee>,
    bounds: Adam,
    bounds_gradient: Vec<Real>,
}

impl Trainer {
    /// Optimisers that have taken no step, of learning rate `rate`, with the [`weight_decay`](EnsembleConfig::weight_decay) of the ensemble.
    pub fn new(model: &Ensemble, rate: Real) -> Self {
        let EnsembleConfig { members, weight_decay, .. } = &model.config;
        let bounds = model.head.bounds_range();
        let mut adam = Adam::new(model.head.net.range(), rate).with_gradients_beyond(bounds.len());
        for (layer, &weight_decay) in model.head.net.layers().zip(weight_decay) {
            adam = adam.with_l2(layer, weight_decay);
        }
        let bounds_gradient = vec![0.0; bounds.len()];
        Self { trainees: vec![Trainee { adam, said: 0.0 }; *members], bounds: Adam::new(bounds, rate), bounds_gradient }
    }

    // ANCHOR: step
    /// One step of each member on rows `rows(member)` of `data`. The decays join in [`Adam`]; the rest of the loss, which is
    /// returned, is
    ///
    /// ℒ = Σᵢ ( mean((μᵢ − y)²·e^(−ℓᵢ)) + mean(ℓᵢ) ) + c·(Σ_d M_d − Σ_d m_d),
    ///
    /// means over rows and output columns, without the ½ of a log-likelihood (MOPO's code). What is followed is each term times
    /// e^(βℓᵢ), which has no gradient of its own, β being [`beta_nll`](EnsembleConfig::beta_nll).
    ///
    /// # Panics
    /// If the widths of `data` are not those of the ensemble, or there is no such row.
    pub fn step<'r>(
        &mut self,
        model: &mut Ensemble,
        data: &Transitions,
        rows: impl Fn(usize) -> &'r [usize] + Sync,
    ) -> Real {
        let beta = model.config.beta_nll;
        self.descend(model, |member, head, tape| {
            let (terms, log_var) = head.terms(tape, data, rows(member));
            let fit = terms.mean();
            let followed = if beta == 0.0 { fit } else { (terms * (log_var.detach() * beta).exp()).mean() };
            (followed, fit.item())
        })
    }
    // ANCHOR_END: step

    /// One step of each member down its `loss`, to which the bounds' own term is added; the sum of what they say beside it,
    /// and of that term.
    pub(crate) fn descend(
        &mut self,
        model: &mut Ensemble,
        loss: impl for<'t> Fn(usize, &Head, Tape<'t>) -> (Var<'t>, Real) + Sync,
    ) -> Real {
        let parallel = model.is_parallel();
        let Ensemble { config, head, store, work, .. } = model;
        work.reserve(0, parallel, config.precision);
        let (arenas, coefficient) = (work.arenas(), config.bound_coefficient);
        let train = |(member, (params, trainee)): (usize, (&mut [Real], &mut Trainee))| {
            let step = |arena: &_| {
                trainee.adam.minimise_on(params, arena, |tape| {
                    let (loss, said) = loss(member, head, tape);
                    // All members have the same bounds.
                    if member != 0 {
                        return (loss, said);
                    }
                    let [low, high] = head.bounds(tape);
                    let bounds = (high.sum() - low.sum()) * coefficient;
                    (loss + bounds, said + bounds.item())
                })
            };
            (_, trainee.said) = with_arena(arenas, step);
        };
        let params = store.params_mut();
        if parallel {
            params.par_chunks_exact_mut(head.len).zip(&mut self.trainees).enumerate().for_each(train);
        } else {
            params.chunks_exact_mut(head.len).zip(&mut self.trainees).enumerate().for_each(train);
        }
        let bounds = head.bounds_range();
        self.bounds_gradient.fill(0.0);
        for trainee in &self.trainees {
            self.bounds_gradient.iter_mut().zip(trainee.adam.gradient_beyond()).for_each(|(sum, g)| *sum += g);
        }
        let (first, others) = params.split_at_mut(head.len);
        self.bounds.follow(first, &self.bounds_gradient);
        for params in others.chunks_exact_mut(head.len) {
            params[bounds.clone()].copy_from_slice(&first[bounds.clone()]);
        }
        self.trainees.iter().map(|trainee| trainee.said).sum()
    }
}

/// Names both moments and the steps of each optimiser: `adam.<member>` and `bounds`.
impl State for Trainer {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        for (member, trainee) in self.trainees.iter_mut().enumerate() {
            under(&format!("adam.{member}"), &mut trainee.adam, f);
        }
        under("bounds", &mut self.bounds, f);
    }
}

impl Head {
    /// (μ − y)²·e^(−ℓ) + ℓ of the rows of `data` in `order`, and ℓ, `[1, rows, cols]`.
    fn terms<'t>(&self, tape: Tape<'t>, data: &Transitions, order: &[usize]) -> (Var<'t>, Var<'t>) {
        self.terms_of(tape, order.len(), |i| (data, order[i]))
    }

    /// (μ − y)²·e^(−ℓ) + ℓ of `count` rows, and ℓ, `[1, count, cols]`; `row(i)` is the `i`-th and whose it is.
    pub(crate) fn terms_of<'t, 'd>(
        &self,
        tape: Tape<'t>,
        count: usize,
        row: impl Fn(usize) -> (&'d Transitions, usize),
    ) -> (Var<'t>, Var<'t>) {
        let gather = |width: usize, write: &dyn Fn(&Transitions, usize, &mut [Real])| {
            tape.fill(Shape::new(1, count, width), |out| {
                for (i, out) in out.chunks_exact_mut(width).enumerate() {
                    let (data, row) = row(i);
                    write(data, row, out);
                }
            })
        };
        let x = gather(self.inputs(), &|data, row, out| self.input_row(data, row, out));
        let y = gather(self.cols, &|data, row, out| self.target_row(data, row, out));
        let [mean, log_var] = self.split(self.net.forward(x));
        ((mean - y).square() * (-log_var).exp() + log_var, log_var)
    }
}
