//! A model buffer that keeps whole rollouts.

use backcast_core::{Key, Source, Spec, Transitions};
use std::collections::VecDeque;

/// The transitions of the last `keep` rollouts, whose numbers may differ: the rows of the oldest are forgotten
/// together.
#[derive(Clone, Debug)]
pub struct Recent {
    spec: Spec,
    keep: usize,
    parts: VecDeque<Transitions>,
}

impl Recent {
    /// An empty buffer.
    pub fn new(spec: Spec, keep: usize) -> Self {
        Self { spec, keep, parts: VecDeque::new() }
    }

    /// Room for one more, in the memory of the oldest if there are as many as are kept.
    pub fn begin(&mut self) -> &mut Transitions {
        let mut part = match self.parts.len() < self.keep {
            true => Transitions::new(self.spec),
            false => self.parts.pop_front().unwrap_or_else(|| Transitions::new(self.spec)),
        };
        part.clear();
        self.parts.push_back(part);
        self.parts.back_mut().expect("pushed above")
    }
}

/// Uniform draws with replacement over all of them.
impl Source for Recent {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn len(&self) -> usize {
        self.parts.iter().map(Transitions::len).sum()
    }

    fn sample_into(&self, key: Key, rows: usize, out: &mut Transitions) {
        let len = self.len();
        for i in 0..rows {
            let mut row = key.below(len, i);
            let part = self.parts.iter().find(|part| {
                let here = row < part.len();
                row -= if here { 0 } else { part.len() };
                here
            });
            out.push_row(part.expect("a row of one of them"), row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::{Column, Real};

    #[test]
    fn the_oldest_rollout_is_forgotten_and_all_others_are_drawn() {
        let spec = Spec::new(1, 1);
        let mut recent = Recent::new(spec, 2);
        for (number, rows) in [(1.0, 5), (2.0, 1), (3.0, 3)] {
            let part = recent.begin();
            (0..rows).for_each(|_| part.push(&[number], &[0.0], 0.0, &[0.0], false));
        }
        assert_eq!(recent.len(), 4);
        let mut drawn = Transitions::new(spec);
        recent.sample_into(Key::new(1), 4000, &mut drawn);
        let share = |of: Real| drawn.values(Column::Obs).iter().filter(|x| **x == of).count();
        assert_eq!((share(1.0), share(2.0) + share(3.0)), (0, 4000));
        assert!((850..1150).contains(&share(2.0)), "{}", share(2.0));
    }
}
