//! Recorded draws in place of a key's: what makes a step comparable with somebody else's, number for number.

use crate::{Arena, Real, Shape, Tape, Var};
use backcast_core::Key;

/// One recorded draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// Its shape. Leading sizes of 1 may be left out: `[rows, cols]` is `[1, rows, cols]`.
    pub shape: Vec<usize>,
    /// Its numbers in row-major order.
    pub values: Vec<Real>,
}

/// Draws recorded somewhere else, handed out in order by the tapes of the [`Arena`] that holds them, instead of numbers from
/// keys.
///
/// A draw that does not fit is noted, not fatal: the tape goes on with zeros, and [`RecordedDraws::finish`] tells.
///
/// ```
/// use backcast_core::Key;
/// use backcast_nn::{Draw, RecordedDraws, Shape, Store};
///
/// let mut store = Store::default();
/// let recorded = Draw { shape: vec![1, 2], values: vec![0.5, -0.25] };
/// store.arena_mut().set_replay(Some(RecordedDraws::new(vec![recorded])));
/// let tape = store.tape();
/// tape.normal(Shape::new(1, 1, 2), Key::new(0)).read(|x| assert_eq!(x, [0.5, -0.25]));
/// let replay = store.arena_mut().take_replay().expect("it was put there");
/// assert_eq!(replay.finish(), Ok(()));
/// ```
#[derive(Clone, Debug, Default)]
pub struct RecordedDraws {
    draws: Vec<Draw>,
    next: usize,
    fault: Option<ReplayError>,
}

/// How what was asked for differed from what was recorded. Draws are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// More was asked for than is recorded.
    #[error("draw {number}, {asked:?}, is asked for and not recorded")]
    Missing {
        /// Which.
        number: usize,
        /// The shape asked for.
        asked: Shape,
    },
    /// A recorded draw has another shape than the one asked for in its place.
    #[error("draw {number} has shape {found:?}, and {asked:?} is asked for")]
    Shape {
        /// Which.
        number: usize,
        /// The shape recorded.
        found: Vec<usize>,
        /// The shape asked for.
        asked: Shape,
    },
    /// Not everything recorded was asked for.
    #[error("draw {number} is recorded and not asked for")]
    LeftOver {
        /// The first that was not.
        number: usize,
    },
}

impl ReplayError {
    /// Which draw it is about.
    pub fn number(&self) -> usize {
        match *self {
            Self::Missing { number, .. } | Self::Shape { number, .. } | Self::LeftOver { number } => number,
        }
    }
}

impl RecordedDraws {
    /// The draws in the order they are asked for.
    pub fn new(draws: Vec<Draw>) -> Self {
        Self { draws, next: 0, fault: None }
    }

    /// Whether every draw was asked for, and in the shape recorded.
    pub fn finish(self) -> Result<(), ReplayError> {
        match self.fault {
            Some(fault) => Err(fault),
            None if self.next < self.draws.len() => Err(ReplayError::LeftOver { number: self.next }),
            None => Ok(()),
        }
    }

    /// Writes the next draw, or zeros after a fault.
    fn write(&mut self, asked: Shape, out: &mut [Real]) {
        let number = self.next;
        let fault = match self.draws.get(number) {
            _ if self.fault.is_some() => None,
            None => Some(ReplayError::Missing { number, asked }),
            Some(draw) if !fits(&draw.shape, asked) || draw.values.len() != out.len() => {
                Some(ReplayError::Shape { number, found: draw.shape.clone(), asked })
            }
            Some(draw) => {
                self.next += 1;
                return out.copy_from_slice(&draw.values);
            }
        };
        self.fault = self.fault.take().or(fault);
        out.fill(0.0);
    }
}

/// Whether `found` is `asked`, but for leading sizes of 1.
fn fits(found: &[usize], asked: Shape) -> bool {
    let asked = asked.dims();
    let missing = asked.len().checked_sub(found.len());
    missing.is_some_and(|n| asked[..n].iter().all(|&size| size == 1) && asked[n..] == *found)
}

impl Arena {
    /// From now on tapes hand out these draws instead of their keys'; `None` is back to keys.
    pub fn set_replay(&mut self, replay: Option<RecordedDraws>) {
        self.replay = replay.map(Box::new);
    }

    /// Takes the draws away, back to keys. What they say of themselves is [`RecordedDraws::finish`].
    pub fn take_replay(&mut self) -> Option<RecordedDraws> {
        self.replay.take().map(|replay| *replay)
    }
}

impl<'t> Tape<'t> {
    /// Random numbers, which `sample` writes, or the next recorded if there is a [`RecordedDraws`]. Every draw on a tape comes
    /// through here; that of code which fills a tensor by its own means cannot be replayed.
    pub fn draw(self, shape: Shape, sample: impl FnOnce(&mut [Real])) -> Var<'t> {
        // A draw of no numbers, such as candidates of no row, is never recorded.
        let replay = if shape.is_empty() { None } else { self.arena.borrow_mut().replay.take() };
        match replay {
            None => self.fill(shape, sample),
            Some(mut replay) => {
                let recorded = self.fill(shape, |out| replay.write(shape, out));
                self.arena.borrow_mut().replay = Some(replay);
                recorded
            }
        }
    }

    /// Ones with probability `keep` and zeros, drawn by `key`: the mask of dropout.
    pub fn mask(self, shape: Shape, keep: Real, key: Key) -> Var<'t> {
        self.draw(shape, |out| {
            key.uniform(0.0, 1.0, out);
            out.iter_mut().for_each(|x| *x = if *x < keep { 1.0 } else { 0.0 });
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use approx::assert_abs_diff_eq;

    fn draw(shape: &[usize]) -> Draw {
        Draw { shape: shape.to_vec(), values: (0..shape.iter().product()).map(|i| i as Real).collect() }
    }

    /// What a store says after these shapes were asked for, and the sum of the numbers it gave.
    fn asked(draws: Vec<Draw>, shapes: &[[usize; 3]]) -> (Result<(), ReplayError>, Real) {
        let mut store = Store::default();
        store.arena_mut().set_replay(Some(RecordedDraws::new(draws)));
        let mut sum = 0.0;
        for &[members, rows, cols] in shapes {
            // Each on a tape of its own: the queue outlives a step.
            let tape = store.tape();
            let x = tape.no_grad(|tape| tape.normal(Shape::new(members, rows, cols), Key::new(1)));
            sum += x.sum().item();
        }
        (store.arena_mut().take_replay().expect("a replay").finish(), sum)
    }

    #[test]
    fn draws_come_in_order_and_faults_are_named() {
        let draws = || vec![draw(&[2, 3]), draw(&[4])];
        assert_eq!(asked(draws(), &[[1, 2, 3], [1, 1, 4]]), (Ok(()), 15.0 + 6.0));
        assert_eq!(asked(draws(), &[[1, 2, 3]]).0, Err(ReplayError::LeftOver { number: 1 }));
        let more = asked(draws(), &[[1, 2, 3], [1, 1, 4], [1, 1, 1], [9, 9, 9]]).0;
        assert_eq!(more, Err(ReplayError::Missing { number: 2, asked: Shape::SCALAR }));
        let turned = asked(draws(), &[[1, 3, 2], [1, 2, 3]]);
        let fault = ReplayError::Shape { number: 0, found: vec![2, 3], asked: Shape::new(1, 3, 2) };
        assert_eq!(turned, (Err(fault), 0.0));
        let stacked = asked(draws(), &[[2, 1, 3]]).0;
        assert_eq!(stacked.map_err(|e| e.number()), Err(0));
    }

    #[test]
    fn every_kind_of_draw_is_replayed_and_keys_are_back_afterwards() {
        let mut store = Store::default();
        let shape = Shape::new(1, 2, 3);
        let draws = |store: &mut Store| {
            let tape = store.tape();
            let key = Key::new(2);
            [tape.normal(shape, key), tape.uniform(shape, -1.0, 1.0, key), tape.mask(shape, 0.5, key)]
                .map(|x| x.read(|x| x.to_vec()))
        };
        let own = draws(&mut store);
        store.arena_mut().set_replay(Some(RecordedDraws::new(vec![draw(&[1, 2, 3]); 3])));
        for replayed in draws(&mut store) {
            assert_eq!(replayed, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        }
        store.arena_mut().set_replay(None);
        assert_eq!(draws(&mut store), own);
    }

    #[test]
    fn a_mask_keeps_its_share() {
        let mut store = Store::default();
        let kept = store.tape().mask(Shape::new(1, 100, 100), 0.9, Key::new(3)).read(|x| x.to_vec());
        assert!(kept.iter().all(|&x| x == 0.0 || x == 1.0));
        // Six standard deviations.
        let share = kept.iter().sum::<Real>() / 1e4;
        assert_abs_diff_eq!(share, 0.9, epsilon = 6.0 * (0.9 * 0.1 / 1e4 as Real).sqrt());
    }
}
