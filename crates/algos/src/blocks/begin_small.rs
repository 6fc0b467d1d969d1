//! How ensembles of critics begin in the code of EDAC and of ReBRAC: alike, and near zero.

use backcast_core::{Key, Real};
use backcast_nn::{Mlp, Store};

/// Sets hidden biases to 0.1 and draws weights and biases of the last layer uniformly from ±`bound`.
pub fn begin_small(store: &mut Store, net: &Mlp, bound: Real, key: Key) {
    let last = net.layers().count() - 1;
    for (i, layer) in net.layers().enumerate() {
        let (all, weights) = (layer.range(), layer.weight_range());
        match i == last {
            true => key.uniform(-bound, bound, &mut store.params_mut()[all]),
            false => store.params_mut()[weights.end..all.end].fill(0.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_nn::{Activation, Init};

    #[test]
    fn outputs_begin_near_zero() {
        let mut store = Store::default();
        let net =
            Mlp::new(&mut store, "net", &[3, 8, 1], 2, Activation::Relu, Init::FanIn, Key::new(1));
        begin_small(&mut store, &net, 1e-3, Key::new(2));
        let layers: Vec<_> = net.layers().collect();
        let biases = layers[0].weight_range().end..layers[0].range().end;
        assert!(store.params()[biases].iter().all(|b| *b == 0.1));
        let last = &store.params()[layers[1].range()];
        assert!(last.iter().all(|x| x.abs() <= 1e-3) && last.iter().any(|x| x.abs() > 1e-4));
    }
}
