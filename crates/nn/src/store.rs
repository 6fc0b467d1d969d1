use crate::{Arena, Precision, Real, Shape, Tape, arena::History};
use backcast_core::{Slot, State};
use std::{cell::RefCell, ops::Range, sync::Mutex};

/// Every parameter of one algorithm in one contiguous allocation, and the arena of the tape that reads it.
///
/// Modules are `Copy` handles into it, a target net is a second handle, optimisers and Polyak averages are loops over ranges.
#[derive(Debug, Default)]
pub struct Store {
    params: Vec<Real>,
    tensors: Vec<Tensor>,
    arena: RefCell<Arena>,
    /// One for each thread that shares in [`in_tiles`](Store::in_tiles).
    spare: Vec<Mutex<RefCell<Arena>>>,
}

#[derive(Clone, Debug)]
struct Tensor {
    name: String,
    at: usize,
    dims: [usize; 3],
}

impl Store {
    /// An empty store whose tape computes large products in `precision`.
    pub fn in_precision(precision: Precision) -> Self {
        let mut store = Self::default();
        store.arena_mut().set_precision(precision);
        store
    }

    /// Makes room for a tensor called `name` whose values `init` writes; returns its offset.
    ///
    /// # Panics
    /// If the name is taken.
    pub fn tensor(&mut self, name: &str, shape: Shape, init: impl FnOnce(&mut [Real])) -> usize {
        assert!(self.tensors.iter().all(|t| t.name != name), "Store::tensor: `{name}` exists already");
        let at = self.params.len();
        self.params.resize(at + shape.len(), 0.0);
        init(&mut self.params[at..]);
        self.tensors.push(Tensor { name: name.to_owned(), at, dims: shape.dims() });
        at
    }

    /// Every parameter, in the order the tensors were made.
    pub fn params(&self) -> &[Real] {
        &self.params
    }

    /// Every parameter, for optimisers.
    pub fn params_mut(&mut self) -> &mut [Real] {
        &mut self.params
    }

    /// The number of parameters.
    pub fn len(&self) -> usize {
        self.params.len()
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// Starts a step: forgets the last one and lends parameters and arena to a tape.
    pub fn tape(&mut self) -> Tape<'_> {
        Tape::new(&self.params, &self.arena, History::All)
    }

    /// As [`tape`](Store::tape), for values alone: see [`Tape::without_history`].
    pub fn tape_without_history(&mut self) -> Tape<'_> {
        Tape::new(&self.params, &self.arena, History::Watched)
    }

    /// The parameters and the arena, for optimisers.
    pub(crate) fn parts(&mut self) -> (&mut [Real], &RefCell<Arena>) {
        (&mut self.params, &self.arena)
    }

    /// A tape over these parameters with memory of its own: one per thread for inference in parallel.
    ///
    /// Whatever an earlier tape left in `arena` is forgotten; one arena serves one tape at a time.
    pub fn tape_in<'t>(&'t self, arena: &'t RefCell<Arena>) -> Tape<'t> {
        Tape::new(&self.params, arena, History::All)
    }

    /// The arenas of threads.
    pub(crate) fn spare_arenas(&mut self) -> &mut Vec<Mutex<RefCell<Arena>>> {
        &mut self.spare
    }

    /// The arena of [`Store::tape`].
    pub fn arena_mut(&mut self) -> &mut Arena {
        self.arena.get_mut()
    }

    /// θ̄ ← (1 − τ)·θ̄ + τ·θ, element by element; τ = 1 copies.
    ///
    /// # Panics
    /// If the ranges overlap or differ in length.
    pub fn polyak(&mut self, target: Range<usize>, online: Range<usize>, tau: Real) {
        assert_eq!(target.len(), online.len(), "polyak: target {target:?} and online net {online:?} differ in size");
        let apart = target.end <= online.start || online.end <= target.start;
        assert!(apart, "polyak: target {target:?} and online net {online:?} overlap");
        let (target, online) = if target.start < online.start {
            let (low, high) = self.params.split_at_mut(online.start);
            (&mut low[target], &high[..online.len()])
        } else {
            let (low, high) = self.params.split_at_mut(target.start);
            (&mut high[..target.len()], &low[online])
        };
        if tau == 1.0 {
            target.copy_from_slice(online);
        } else {
            crate::kernels::lerp(tau, online, target);
        }
    }

    /// Copies one member of every `[members, …]` tensor in `range` to or from `saved`, which grows as needed.
    pub(crate) fn member_values(&mut self, range: Range<usize>, member: usize, mut f: impl FnMut(&mut [Real])) {
        for t in self.tensors.iter().filter(|t| range.contains(&t.at)) {
            let len = t.dims[1] * t.dims[2];
            f(&mut self.params[t.at + member * len..][..len]);
        }
    }
}

/// Names every tensor.
impl State for Store {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        for t in &self.tensors {
            let len = t.dims.iter().product::<usize>();
            f(&t.name, Slot::Tensor(&t.dims, &mut self.params[t.at..t.at + len]));
        }
    }
}

/// Something whose nets live in one store.
pub trait Parameterised {
    /// That store.
    fn store_mut(&mut self) -> &mut Store;
}

impl Parameterised for Store {
    fn store_mut(&mut self) -> &mut Store {
        self
    }
}

/// Says what the state of an agent is: a part whose names stand for themselves, its store or an agent that it builds on, then parts
/// whose names begin with the field's. It is all that a checkpoint holds.
///
/// ```
/// use backcast_nn::{Adam, Store, state};
///
/// struct Bc {
///     store: Store,
///     actor_adam: Adam,
///     updates: u64,
/// }
/// state!(Bc: store, actor_adam, updates);
/// ```
#[macro_export]
macro_rules! state {
    ($Learner:ty: $whole:ident $(, $part:ident)* $(,)?) => {
        impl $crate::State for $Learner {
            fn visit(&mut self, f: &mut dyn FnMut(&str, $crate::Slot<'_>)) {
                self.$whole.visit(f);
                $($crate::under(stringify!($part), &mut self.$part, f);)*
            }
        }

        impl $crate::Parameterised for $Learner {
            fn store_mut(&mut self) -> &mut $crate::Store {
                $crate::Parameterised::store_mut(&mut self.$whole)
            }
        }
    };
}
