//! One visitor serves checkpoints, restoring, hashing, counting and the search for NaN.

use crate::{Fingerprint, Fingerprinter, Real};
use std::collections::BTreeMap;

/// One named piece of an algorithm's state, open for reading and writing.
#[derive(Debug)]
pub enum Slot<'a> {
    /// A tensor: its shape and its values in row-major order.
    Tensor(&'a [usize], &'a mut [Real]),
    /// A counter, such as the step of an optimiser.
    Count(&'a mut u64),
}

/// Something whose whole state can be visited by name.
///
/// An algorithm names every tensor and counter exactly once, always in the same order.
pub trait State {
    /// Calls `f` with every piece of the state.
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>));
}

/// A counter, whose name is that of the field.
impl State for u64 {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        f("", Slot::Count(self));
    }
}

/// Nothing, where there is nothing.
impl<T: State> State for Option<T> {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        if let Some(part) = self {
            part.visit(f);
        }
    }
}

/// Visits `part` with every name prefixed by `prefix` and a dot; a part without names of its own is called `prefix`.
pub fn under(prefix: &str, part: &mut dyn State, f: &mut dyn FnMut(&str, Slot<'_>)) {
    part.visit(&mut |name, slot| match name {
        "" => f(prefix, slot),
        _ => f(&format!("{prefix}.{name}"), slot),
    });
}

/// A state that does not fit what it is restored into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The snapshot lacks a tensor or counter.
    #[error("the snapshot has no `{0}`")]
    Missing(String),
    /// The snapshot has a tensor or counter that nothing asked for.
    #[error("the snapshot has `{0}`, which this state does not")]
    Unknown(String),
    /// A tensor has another shape.
    #[error("`{name}` has shape {found:?} in the snapshot and {expected:?} here")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape in the snapshot.
        found: Vec<usize>,
        /// The shape in the state.
        expected: Vec<usize>,
    },
}

/// An owned copy of one slot. Counters are stored as tensors' equals, by name.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// Shape and values.
    Tensor(Vec<usize>, Vec<Real>),
    /// A counter.
    Count(u64),
}

/// A copy of every piece of `state` by name.
pub fn snapshot(state: &mut dyn State) -> BTreeMap<String, Stored> {
    let mut all = BTreeMap::new();
    state.visit(&mut |name, slot| {
        let stored = match slot {
            Slot::Tensor(shape, values) => Stored::Tensor(shape.to_vec(), values.to_vec()),
            Slot::Count(count) => Stored::Count(*count),
        };
        assert!(all.insert(name.to_owned(), stored).is_none(), "State::visit names `{name}` twice");
    });
    all
}

/// Writes a [`snapshot`] back. On an error nothing has changed.
pub fn restore(state: &mut dyn State, from: &BTreeMap<String, Stored>) -> Result<(), StateError> {
    let (mut error, mut seen) = (None, 0);
    state.visit(&mut |name, slot| {
        seen += 1;
        let found = match (slot, from.get(name)) {
            (Slot::Tensor(shape, _), Some(Stored::Tensor(found, _))) if shape == found => return,
            (Slot::Count(_), Some(Stored::Count(_))) => return,
            (Slot::Tensor(shape, _), Some(Stored::Tensor(found, _))) => {
                StateError::Shape { name: name.into(), found: found.clone(), expected: shape.to_vec() }
            }
            _ => StateError::Missing(name.into()),
        };
        error.get_or_insert(found);
    });
    if let Some(error) = error {
        return Err(error);
    }
    if seen != from.len() {
        let mut names: Vec<_> = from.keys().cloned().collect();
        state.visit(&mut |name, _| names.retain(|n| n != name));
        return Err(StateError::Unknown(names.swap_remove(0)));
    }
    state.visit(&mut |name, slot| match (slot, &from[name]) {
        (Slot::Tensor(_, values), Stored::Tensor(_, stored)) => values.copy_from_slice(stored),
        (Slot::Count(count), Stored::Count(stored)) => *count = *stored,
        _ => unreachable!("checked above"),
    });
    Ok(())
}

/// Of every name and every bit of the state: equal exactly when two states are, in practice.
pub fn fingerprint(state: &mut dyn State) -> Fingerprint {
    let mut all = Fingerprinter::default();
    state.visit(&mut |name, slot| {
        all.bytes(name.as_bytes());
        match slot {
            Slot::Tensor(_, values) => all.numbers(values),
            Slot::Count(count) => all.word(*count),
        }
    });
    all.finish()
}

/// The name and index of the first NaN or infinity.
pub fn first_non_finite(state: &mut dyn State) -> Option<(String, usize)> {
    let mut found = None;
    state.visit(&mut |name, slot| {
        if let (None, Slot::Tensor(_, values)) = (&found, slot) {
            found = values.iter().position(|x| !x.is_finite()).map(|i| (name.to_owned(), i));
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two {
        a: Vec<Real>,
        n: u64,
    }
    impl State for Two {
        fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
            f("a", Slot::Tensor(&[1, self.a.len()], &mut self.a));
            f("n", Slot::Count(&mut self.n));
        }
    }

    #[test]
    fn a_snapshot_restores_to_the_same_bits() {
        let mut one = Two { a: vec![1.0, -0.0], n: 7 };
        let mut two = Two { a: vec![0.0, 0.0], n: 0 };
        assert_ne!(fingerprint(&mut one), fingerprint(&mut two));
        restore(&mut two, &snapshot(&mut one)).unwrap();
        assert_eq!(fingerprint(&mut one), fingerprint(&mut two));
    }

    #[test]
    fn a_snapshot_that_does_not_fit_changes_nothing_and_is_named() {
        let mut one = Two { a: vec![1.0, 2.0], n: 7 };
        let mut three = Two { a: vec![0.0; 3], n: 1 };
        let error = restore(&mut three, &snapshot(&mut one)).unwrap_err();
        assert_eq!(error, StateError::Shape { name: "a".into(), found: vec![1, 2], expected: vec![1, 3] });
        assert_eq!((three.a, three.n), (vec![0.0; 3], 1));
        let mut extra = snapshot(&mut one);
        extra.insert("b".into(), Stored::Count(0));
        assert_eq!(restore(&mut one, &extra), Err(StateError::Unknown("b".into())));
        extra.remove("b");
        extra.remove("n");
        assert_eq!(restore(&mut one, &extra), Err(StateError::Missing("n".into())));
    }

    #[test]
    fn the_first_nan_is_named() {
        let mut one = Two { a: vec![1.0, Real::NAN], n: 7 };
        assert_eq!(first_non_finite(&mut one), Some(("a".into(), 1)));
        one.a[1] = 0.0;
        assert_eq!(first_non_finite(&mut one), None);
    }
}
