//! The model as the second player of a game: training it further so that what a policy gains in it becomes unlikely.

use crate::{
    Ensemble, Trainer,
    ensemble::{Head, with_arena},
};
use backcast_core::{Real, Slot, State, Transitions};
use backcast_nn::Tape;
use rayon::prelude::*;

/// ln 2π.
const LN_TAU: Real = 1.837_877_066_409_345_3_f64 as Real;

/// The adversarial model of RAMBO (Rigter, Lacerda & Hawes, *RAMBO-RL: Robust adversarial model-based offline reinforcement
/// learning*, NeurIPS 2022, arXiv:2204.12581): a fitted [`Ensemble`] goes on being trained, and beside the likelihood of the
/// dataset it is made to find unlikely what turned out well for the policy in rollouts. One step is down
///
/// ℒ = λ·E[ A · ln p(y∣x) ] + ℒ_MLE,  p(y∣x) = 1/|E| · Σ_{i∈E} pᵢ(y∣x),
///
/// where *x* is what the model is given, *y* what was drawn from it, *A* the advantage the policy had of that, a number, *E* the
/// elites, and ℒ_MLE the loss that the ensemble was fitted with, on rows of the dataset, bounds and decays included.
///
/// # Members side by side
/// The mixture couples the elites, yet they need not share a tape. With θ all parameters,
///
/// ∂ ln Σⱼ pⱼ / ∂θ = Σᵢ (pᵢ / Σⱼ pⱼ) · ∂ ln pᵢ / ∂θ = Σᵢ wᵢ · ∂ ln pᵢ / ∂θ:
///
/// the gradient is what one gets from Σᵢ wᵢ·ln pᵢ with the *responsibilities* wᵢ, a softmax of ln pᵢ over the elites, taken as
/// numbers. So they are computed first, by a forward pass without history, and then each member goes down a loss of its
/// own; what parameters they share, the bounds of the log-variance, receive the sum, as the formula says.
///
/// Since ln pᵢ = −½ Σ_d [ (μ − y)²·e^(−ℓ) + ℓ + ln 2π ], that loss is the fit's own with other weights: a row of the dataset counts
/// 1/(rows·cols) in each column, one of a rollout −½·λ·A·wᵢ/rows. One forward pass serves both kinds of rows.
#[derive(Clone, Debug)]
pub struct Adversary {
    trainer: Trainer,
    /// ln pᵢ(y∣x), then wᵢ, then −½·λ·A·wᵢ/rows: `[members, rows]`, of which those of the elites are in use.
    share: Vec<Real>,
    /// ln p(y∣x), `[rows]`.
    log_prob: Vec<Real>,
    /// Which members are elites.
    elite: Vec<bool>,
}

/// What a step of the adversary found before it moved.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Played {
    /// ℒ_MLE, decays not counted, summed over members.
    pub fit_loss: Real,
    /// E[ A · ln p(y∣x) ], before the weight λ.
    pub adversarial_loss: Real,
    /// E[ ln p(y∣x) ].
    pub log_prob: Real,
}

impl Adversary {
    /// An adversary that has taken no step, of learning rate `rate`.
    pub fn new(model: &Ensemble, rate: Real) -> Self {
        Self { trainer: Trainer::new(model, rate), share: Vec::new(), log_prob: Vec::new(), elite: Vec::new() }
    }

    // ANCHOR: step
    /// One step: of each member on rows `rows(member)` of `dataset`, and of each elite against `played`, transitions of a rollout
    /// whose advantages, `[rows]`, are multiplied by `weight`, λ.
    ///
    /// With λ = 0 or nothing played it is a step of maximum likelihood.
    ///
    /// # Panics
    /// If the widths of `dataset` or `played` are not those of the ensemble, there is no such row, or there is not one advantage for
    /// each row of `played`.
    pub fn step<'r>(
        &mut self,
        model: &mut Ensemble,
        dataset: &Transitions,
        rows: impl Fn(usize) -> &'r [usize] + Sync,
        played: &Transitions,
        advantage: &[Real],
        weight: Real,
    ) -> Played {
        let n = played.len();
        assert_eq!(advantage.len(), n, "Adversary::step: {} advantages for {n} rows", advantage.len());
        self.weigh(model, played);
        let mean = |x: &mut dyn Iterator<Item = Real>| x.sum::<Real>() / n.max(1) as Real;
        let adversarial_loss = mean(&mut self.log_prob.iter().zip(advantage).map(|(l, a)| l * a));
        let log_prob = mean(&mut self.log_prob.iter().copied());
        let Self { trainer, share, elite, .. } = self;
        for share in share.chunks_exact_mut(n.max(1)) {
            share.iter_mut().zip(advantage).for_each(|(w, a)| *w *= -0.5 * weight * a / n as Real);
        }
        let (share, elite) = (&*share, &*elite);
        let fit_loss = trainer.descend(model, |member, head, tape| {
            let rows = rows(member);
            let against = if elite[member] && weight != 0.0 { n } else { 0 };
            let all = |i: usize| if i < rows.len() { (dataset, rows[i]) } else { (played, i - rows.len()) };
            let (terms, _) = head.terms_of(tape, rows.len() + against, all);
            if against == 0 {
                let fit = terms.mean();
                return (fit, fit.item());
            }
            let fit = terms.rows(0, rows.len()).mean();
            let weights = tape.column(&share[member * n..][..n]);
            (fit + (terms.rows(rows.len(), n).sum_cols() * weights).sum(), fit.item())
        });
        Played { fit_loss, adversarial_loss, log_prob }
    }
    // ANCHOR_END: step

    /// ln p(y∣x) of each row of `played`, and each elite's responsibility for it.
    fn weigh(&mut self, model: &mut Ensemble, played: &Transitions) {
        let (n, parallel) = (played.len(), model.is_parallel());
        let Ensemble { config, head, store, work, elites, .. } = model;
        work.reserve(0, parallel, config.precision);
        let Self { share, log_prob, elite, .. } = self;
        share.resize(config.members * n, 0.0);
        log_prob.resize(n, 0.0);
        elite.clear();
        elite.resize(config.members, false);
        elites.iter().for_each(|&e| elite[e] = true);
        if n == 0 {
            return;
        }
        let (head, arenas, elite) = (&*head, work.arenas(), &*elite);
        let weigh = |(member, (params, out)): (usize, (&[Real], &mut [Real]))| {
            if elite[member] {
                with_arena(arenas, |arena| head.log_prob(Tape::without_history(params, arena), played, out));
            }
        };
        let params = store.params();
        if parallel {
            params.par_chunks_exact(head.len).zip(share.par_chunks_exact_mut(n)).enumerate().for_each(weigh);
        } else {
            params.chunks_exact(head.len).zip(share.chunks_exact_mut(n)).enumerate().for_each(weigh);
        }
        let members = || (0..elite.len()).filter(|&e| elite[e]);
        let uniform = -(members().count() as Real).ln();
        for (row, log_prob) in log_prob.iter_mut().enumerate() {
            let most = members().fold(Real::NEG_INFINITY, |most, e| most.max(share[e * n + row]));
            let sum: Real = members().map(|e| (share[e * n + row] - most).exp()).sum();
            *log_prob = most + sum.ln() + uniform;
            members().for_each(|e| share[e * n + row] = (share[e * n + row] - most).exp() / sum);
        }
    }
}

impl Head {
    /// ln pᵢ of every row of `data`, `[rows]`, of the states as changes from the anchor: the same as of the states themselves.
    fn log_prob(&self, tape: Tape<'_>, data: &Transitions, out: &mut [Real]) {
        let terms = self.terms_of(tape, data.len(), |i| (data, i)).0.sum_cols();
        let constant = self.cols as Real * LN_TAU;
        terms.read(|terms| out.iter_mut().zip(terms).for_each(|(l, t)| *l = -0.5 * (t + constant)));
    }
}

/// Names what the optimisers name; everything else is computed anew in each step.
impl State for Adversary {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.trainer.visit(f);
    }
}
