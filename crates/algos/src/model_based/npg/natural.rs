//! The natural policy gradient (Kakade, NIPS 2001): its gradient, its metric, its step.

use super::{Actor, Npg, Scratch, paths::tiles};
use crate::blocks::conjugate_gradients::dot;
use backcast_core::{Real, Transitions};
use backcast_nn::{Shape, Store};

impl Npg {
    // ANCHOR: policy_gradient
    /// (3)  g = ∇_φ E[ A·ln π_φ(u∣s) ]
    pub(super) fn policy_gradient(&mut self) {
        let Self { store, actor, paths, scratch, .. } = self;
        let range = actor.range();
        let rows = paths.chain.len();
        scratch.gradient.clear();
        scratch.gradient.resize(range.len(), 0.0);
        scratch.mean.clear();
        for (first, tile) in tiles(rows) {
            let tape = store.tape();
            let batch = paths.rows.rows(first, tile);
            let pi = actor.at(tape.input(batch.obs));
            let advantage = tape.column(&paths.advantage[first..first + tile]);
            let gain =
                (advantage * pi.log_prob(tape.input(batch.act))).sum() * (rows as Real).recip();
            tape.add_grad_params(gain, range.clone(), &mut scratch.gradient);
            pi.mean.read(|mean| scratch.mean.extend_from_slice(mean));
        }
    }
    // ANCHOR_END: policy_gradient

    // ANCHOR: fisher_product
    /// (4)  F·v = E[ Jᵀ·σ⁻²·(J·v) ] + damping·v for μ, (2 + damping)·v for ln σ
    pub(super) fn fisher_product(
        store: &mut Store,
        actor: &Actor,
        rows: &Transitions,
        damping: Real,
        v: &[Real],
        out: &mut [Real],
    ) {
        let nets = actor.net.range();
        let (mean, log_std) = out.split_at_mut(nets.len());
        mean.fill(0.0);
        for (first, tile) in tiles(rows.len()) {
            let tape = store.tape();
            let [mu, moved] = actor.tangent(tape.input(rows.rows(first, tile).obs), v);
            let variance =
                (tape.parameter(actor.log_std, Shape::new(1, 1, actor.acts())) * 2.0).exp();
            let weight = (moved / variance * (rows.len() as Real).recip()).detach();
            tape.add_grad_params((mu * weight).sum(), nets.clone(), mean);
        }
        log_std.iter_mut().zip(&v[nets.len()..]).for_each(|(out, v)| *out = 2.0 * v);
        out.iter_mut().zip(v).for_each(|(out, v)| *out += damping * v);
    }
    // ANCHOR_END: fisher_product

    // ANCHOR: natural_step
    /// (5)  F·x = g;   φ ← φ + α·x,  α = √(δ/gᵀx);   ln σ ← max(ln σ, least)
    ///
    /// Returns α and KL(π_old ∥ π).
    pub(super) fn natural_step(&mut self) -> [Real; 2] {
        let Self { store, actor, paths, scratch, config, .. } = self;
        let Scratch { gradient, solver, old, .. } = scratch;
        let fisher = |v: &[Real], out: &mut [Real]| {
            Self::fisher_product(store, actor, &paths.rows, config.damping, v, out);
        };
        solver.solve(fisher, gradient, config.iterations);
        let range = actor.range();
        old.clear();
        old.extend_from_slice(&store.params()[range.clone()]);
        let along = dot(gradient, &solver.solution).abs();
        let mut size = (config.step as f64 / (along + 1e-20)).sqrt() as Real;
        loop {
            let Self { store, actor, scratch: Scratch { old, solver, .. }, config, .. } = self;
            let params = &mut store.params_mut()[range.clone()];
            let moved = params.iter_mut().zip(&*old).zip(&solver.solution);
            moved.for_each(|((p, old), x)| *p = old + size * x);
            let at = params.len() - actor.acts();
            params[at..].iter_mut().for_each(|x| *x = x.max(config.min_log_std));
            let kl = self.divergence();
            if self.config.kl_bound.is_none_or(|bound| kl <= bound) || size < 1e-12 {
                return [size, kl];
            }
            size *= 0.5;
        }
    }
    // ANCHOR_END: natural_step

    /// KL(π_old ∥ π): the old μ is what the gradient left, the old ln σ what the step did.
    fn divergence(&mut self) -> Real {
        let Self { store, actor, paths, scratch, .. } = self;
        let acts = actor.acts();
        let mut sum = 0.0;
        let old = &scratch.old[scratch.old.len() - acts..];
        for (first, tile) in tiles(paths.chain.len()) {
            let tape = store.tape();
            let pi = actor.at(tape.input(paths.rows.rows(first, tile).obs));
            let mean = tape.fill(Shape::new(1, tile, acts), |out| {
                out.copy_from_slice(&scratch.mean[first * acts..][..tile * acts]);
            });
            let old = tape.fill(Shape::new(1, 1, acts), |out| out.copy_from_slice(old));
            let spread = (old * 2.0).exp() + (mean - pi.mean).square();
            let kl = spread * (pi.log_std * -2.0).exp() * 0.5 + pi.log_std - old - 0.5;
            sum += kl.sum().item() as f64;
        }
        (sum / paths.chain.len() as f64) as Real
    }
}
