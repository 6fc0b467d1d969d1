//! The behaviour policy as a variational autoencoder of actions given the state (BCQ, BEAR, MCQ).

use backcast_core::{Key, Spec};
use backcast_nn::{LATENT_BOUND, Shape, Store, Vae, Var, clipped_normal};

/// ω, a net called `vae` in `store`, with two latent dimensions for each dimension of the action, as in the code of
/// BCQ.
pub fn behaviour_vae(store: &mut Store, spec: Spec, hidden: &[usize], key: Key) -> Vae {
    Vae::new(store, "vae", spec.obs, spec.act, 2 * spec.act, hidden, spec.act_limit, key)
}

/// One z ~ N(0, 1) held in ±½ for each row of `s`, `[1, rows, latent]`.
pub fn latents<'t>(vae: Vae, s: Var<'t>, key: Key) -> Var<'t> {
    clipped_normal(s.tape(), Shape::new(1, s.shape().rows, vae.latent()), key, LATENT_BOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decoded_is_in_the_box() {
        let mut store = Store::default();
        let spec = Spec::new(3, 2).with_act_limit(0.5);
        let vae = behaviour_vae(&mut store, spec, &[8], Key::new(1));
        let s = store.tape().normal(Shape::new(1, 40, 3), Key::new(2));
        let z = latents(vae, s, Key::new(3));
        assert_eq!(z.shape().dims(), [1, 40, 4]);
        z.read(|z| assert!(z.iter().all(|z| z.abs() <= LATENT_BOUND)));
        vae.decode(s, z).read(|a| assert!(a.iter().all(|a| a.abs() <= 0.5)));
    }
}
