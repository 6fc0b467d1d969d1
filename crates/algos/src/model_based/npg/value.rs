//! The value V along paths, and its fit to λ-returns.

use super::{Npg, paths::tiles};
use backcast_core::{Column, Key, Real};
use backcast_nn::Shape;

impl Npg {
    /// V(s) and V(s′) of every row.
    pub(super) fn evaluate(&mut self) {
        let Self { store, value, paths, scratch, config, .. } = self;
        let scale = (1.0 - config.gamma).recip();
        let both = [(Column::Obs, &mut scratch.value), (Column::NextObs, &mut scratch.next_value)];
        for (column, out) in both {
            out.clear();
            for (first, tile) in tiles(paths.chain.len()) {
                let s = store.tape().input(paths.rows.rows(first, tile).column(column));
                (value.forward(s) * scale).read(|v| out.extend_from_slice(v));
            }
        }
    }

    // ANCHOR: value_step
    /// (6)  L(ψ) = E[ (V_ψ(s) − (A + V(s)))² ], V in units of a reward: (1 − γ)·V
    pub(super) fn value_step(&mut self, key: Key) -> Real {
        let Self { store, value, value_adam, paths, scratch, config, .. } = self;
        let net = *value;
        let scale = 1.0 - config.gamma;
        let obs = paths.rows.spec().obs;
        scratch.order.clear();
        scratch.order.extend(0..paths.chain.len());
        let mut loss = 0.0;
        let mut steps = 0;
        for epoch in 0..config.value_epochs {
            key.fold(epoch as u64).shuffle(&mut scratch.order);
            for rows in scratch.order.chunks(config.value_batch) {
                loss += value_adam.minimise(store, |tape| {
                    let s = tape.fill(Shape::new(1, rows.len(), obs), |out| {
                        for (&row, out) in rows.iter().zip(out.chunks_exact_mut(obs)) {
                            out.copy_from_slice(paths.rows.row(Column::Obs, row));
                        }
                    });
                    let y = tape.fill(Shape::new(1, rows.len(), 1), |out| {
                        let each = rows.iter().zip(out);
                        each.for_each(|(&row, out)| *out = scale * paths.target[row]);
                    });
                    (net.forward(s) - y).square().mean()
                }) as f64;
                steps += 1;
            }
        }
        (loss / steps as f64) as Real
    }
    // ANCHOR_END: value_step
}
