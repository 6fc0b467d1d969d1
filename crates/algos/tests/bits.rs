//! Hash of every learner's numbers after some updates.
mod shared;
use backcast_core::*;
use shared::{dataset, every, train};

#[test]
fn bits() {
    for (i, case) in every().iter().enumerate() {
        let mut learner = case.build(Key::new(1));
        train(learner.as_mut(), 0, 9);
        println!("BITS {i} {} {:016x}", case.name, values(learner.as_mut()));
        let mut learner = case.build(Key::new(1));
        if case.uses_model {
            let mut sink = Transitions::new(shared::SPEC);
            learner.imagine(&dataset(60), Key::new(5), &mut sink);
            let mut h = Hash::default();
            for c in [Column::Obs, Column::Act, Column::Reward, Column::NextObs, Column::Terminal] {
                sink.values(c).iter().for_each(|x| h.eat(*x));
            }
            println!("BITS {i} {} imagined {} {:016x}", case.name, sink.len(), h.0);
        }
    }
}

struct Hash(u64);
impl Default for Hash {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}
impl Hash {
    fn eat(&mut self, x: Real) {
        x.to_bits()
            .to_le_bytes()
            .iter()
            .for_each(|&b| self.0 = (self.0 ^ b as u64).wrapping_mul(0x0000_0100_0000_01B3));
    }
}
fn values(learner: &mut dyn State) -> u64 {
    let mut h = Hash::default();
    for (_, stored) in snapshot(learner) {
        match stored {
            Stored::Tensor(_, v) => v.iter().for_each(|x| h.eat(*x)),
            Stored::Count(c) => h.eat(Real::from_bits(c as u32)),
        }
    }
    h.0
}
