//! The memory of a tape: nodes and the blocks their values stand in.
//!
//! A step writes to more memory than the inner caches hold, though only little of it is still needed at any moment. So a
//! block goes back as soon as nobody can ask for its values any more, and the next value is written where the last one was
//! read, which is in the cache. Two things are known to be finished with: what a net without derivatives left between
//! its layers, and, while the gradient of a loss is taken for the last time, everything above the node in hand.

use crate::{Precision, Real, Shape, kernels, op::*, vjp::Mark};
use std::ops::Range;

/// "No node": an input that an operation does not have.
pub(crate) const NONE: u32 = u32::MAX;

/// Numbers in a cache line.
const LINE: usize = 64 / size_of::<Real>();

/// One recorded value: where it came from and where its numbers are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) op: Op,
    pub(crate) inputs: [u32; 3],
    pub(crate) shape: Shape,
    /// Offset of the numbers in the arena, or in the parameters.
    pub(crate) at: usize,
    pub(crate) in_params: bool,
    /// Whether a derivative may pass through it.
    pub(crate) live: bool,
    /// The node whose block the numbers stand in: itself, unless it is another's numbers in another shape.
    owner: u32,
    /// Of an owner: the nodes whose numbers stand in its block.
    sharers: u32,
    /// Whether its numbers are gone.
    pub(crate) released: bool,
}

/// What derivatives will be asked for on a tape: what leads to nothing of it need not be kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum History {
    /// Any.
    #[default]
    All,
    /// Those of the parameters in a range, and of values that are [watched](crate::Var::watch).
    Of(Range<usize>),
    /// Those of watched values alone.
    Watched,
}

/// A part of a gradient: which, counted from the beginning of the range it was taken of, and where in the arena it is.
#[derive(Clone, Debug)]
struct Piece {
    part: Range<usize>,
    at: usize,
}

/// The memory of a tape: nodes, their values and the scratch of products. It grows to the size of the largest step and
/// then stays; a steady-state step allocates nothing.
#[derive(Debug)]
pub struct Arena {
    pub(crate) nodes: Vec<Node>,
    /// `values[..top]` is in use or free; what lies beyond is left from earlier steps.
    pub(crate) values: Vec<Real>,
    top: usize,
    /// Offsets of free blocks, by class of size.
    free: Vec<Vec<usize>>,
    pub(crate) history: History,
    /// The parameters recorded so far: (offset in the store, node).
    pub(crate) params: Vec<(usize, u32)>,
    pub(crate) adjoints: Vec<u32>,
    /// How many adjoints each node of a backward pass is.
    pub(crate) holds: Vec<u32>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) panels: Vec<Real>,
    /// The last gradient, where each of its numbers is in a block of its own.
    pieces: Vec<Piece>,
    /// The last gradient, where it had to be added up.
    total: Vec<Real>,
    /// What a [descent](crate::Descent) keeps for its blocks.
    pub(crate) kept: Vec<Real>,
    pub(crate) machine: Machine,
    pub(crate) replay: Option<Box<crate::RecordedDraws>>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.isa)?;
        if self.precision != Precision::F32 {
            write!(f, " {:?}", self.precision)?;
        }
        if self.parallel { write!(f, " ×threads") } else { Ok(()) }
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            values: Vec::new(),
            top: 0,
            free: Vec::new(),
            history: History::All,
            params: Vec::new(),
            adjoints: Vec::new(),
            holds: Vec::new(),
            marks: Vec::new(),
            panels: Vec::new(),
            pieces: Vec::new(),
            total: Vec::new(),
            kept: Vec::new(),
            machine: Machine { isa: kernels::isa(), precision: Precision::F32, parallel: false },
            replay: None,
        }
    }
}

impl Arena {
    /// Whether large products may use the threads of the current rayon pool. The bits do not depend on it.
    pub fn set_parallel(&mut self, parallel: bool) {
        self.machine.parallel = parallel;
    }

    /// Whether they may.
    pub fn is_parallel(&self) -> bool {
        self.machine.parallel
    }

    /// How large products are computed from now on, forwards and backwards alike.
    ///
    /// Where [`amx_available`](crate::amx_available) is false this is [`Precision::F32`], whatever is asked for;
    /// [`Arena::precision`] tells. Training is not bit for bit the same on machines that differ in this.
    pub fn set_precision(&mut self, precision: Precision) {
        self.machine.precision = if kernels::amx_available() { precision } else { Precision::F32 };
    }

    /// How large products are computed.
    pub fn precision(&self) -> Precision {
        self.machine.precision
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        (self.values.capacity() + self.panels.capacity() + self.total.capacity() + self.kept.capacity())
            * size_of::<Real>()
            + self.nodes.capacity() * size_of::<Node>()
    }

    pub(crate) fn clear(&mut self, history: History) {
        self.nodes.clear();
        self.params.clear();
        self.free.iter_mut().for_each(Vec::clear);
        self.top = 0;
        self.history = history;
    }

    /// A block for `len` values; returns its offset.
    pub(crate) fn take(&mut self, len: usize) -> usize {
        let (class, block) = size_class(len);
        if let Some(at) = self.free.get_mut(class).and_then(Vec::pop) {
            return at;
        }
        // At the beginning of a cache line, or vectors of the kernels would straddle two.
        let at = self.top.max(self.values.as_ptr().align_offset(LINE * size_of::<Real>()));
        self.top = at + block;
        if self.top > self.values.len() {
            self.values.resize(self.top, 0.0);
        }
        at
    }

    /// Records a node whose numbers stand in the block at `at`, its own, or in the parameters.
    pub(crate) fn push(&mut self, op: Op, inputs: [u32; 3], shape: Shape, at: usize, in_params: bool) -> u32 {
        let id = self.nodes.len() as u32;
        let live = match (&self.history, op) {
            (History::Of(range), Op::Param) => at < range.end && range.start < at + shape.len(),
            _ => self.will_live(inputs),
        };
        let node = Node { op, inputs, shape, at, in_params, live, owner: id, sharers: 1, released: false };
        self.nodes.push(node);
        id
    }

    /// Whether a derivative may pass through what is made of these nodes.
    pub(crate) fn will_live(&self, inputs: [u32; 3]) -> bool {
        self.history == History::All || inputs.iter().any(|&i| i != NONE && self.nodes[i as usize].live)
    }

    /// Records a node that is another's numbers.
    pub(crate) fn push_alias(&mut self, op: Op, input: u32, shape: Shape, of: u32) -> u32 {
        let Node { at, in_params, owner, .. } = self.nodes[of as usize];
        let id = self.push(op, [input, NONE, NONE], shape, at, in_params);
        self.nodes[id as usize].owner = owner;
        self.nodes[owner as usize].sharers += 1;
        id
    }

    /// Gives up the numbers of a node; its block is free when all that share it have.
    pub(crate) fn release(&mut self, id: u32) {
        let node = &mut self.nodes[id as usize];
        if node.released || node.in_params {
            return;
        }
        node.released = true;
        let owner = node.owner as usize;
        let owner = &mut self.nodes[owner];
        owner.sharers -= 1;
        if owner.sharers == 0 {
            let (class, _) = size_class(owner.shape.len());
            let at = owner.at;
            if self.free.len() <= class {
                self.free.resize_with(class + 1, Vec::new);
            }
            self.free[class].push(at);
        }
    }

    /// Forgets the last gradient; the next is put together from pieces.
    pub(crate) fn begin_gradient(&mut self) {
        self.pieces.clear();
        self.total.clear();
    }

    /// As [`begin_gradient`](Arena::begin_gradient), for one of `len` numbers that is added up.
    pub(crate) fn begin_total(&mut self, len: usize) {
        self.begin_gradient();
        self.total.resize(len, 0.0);
    }

    /// As [`begin_total`](Arena::begin_total); forgets what the last descent kept.
    pub(crate) fn begin_descent(&mut self, len: usize) {
        self.begin_total(len);
        self.kept.clear();
    }

    /// Makes numbers `from ..` of node `id` a part of the gradient, whose block is kept until the next step.
    pub(crate) fn keep_piece(&mut self, id: u32, from: usize, part: Range<usize>) {
        let Node { at, owner, in_params, .. } = self.nodes[id as usize];
        debug_assert!(!in_params, "the numbers of a piece are in the arena");
        self.nodes[owner as usize].sharers += 1;
        self.pieces.push(Piece { part, at: at + from });
    }

    /// Adds the numbers of node `id` from `from` on to a part of the gradient.
    pub(crate) fn add_to_total(&mut self, id: u32, from: usize, part: Range<usize>, store: &[Real]) {
        let Node { at, in_params, .. } = self.nodes[id as usize];
        let values = if in_params { store } else { &self.values };
        kernels::accumulate(&values[at + from..][..part.len()], &mut self.total[part]);
    }

    /// The parts of the last gradient.
    pub(crate) fn gradient(&self) -> impl Iterator<Item = (Range<usize>, &[Real])> {
        let total = (!self.total.is_empty()).then(|| (0..self.total.len(), &self.total[..]));
        let pieces = self.pieces.iter().map(|p| (p.part.clone(), &self.values[p.at..][..p.part.len()]));
        total.into_iter().chain(pieces)
    }

    /// Forgets the nodes from `nodes` on but for the numbers of `result`, one of them or an older one, which become those of
    /// a new node without history.
    pub(crate) fn roll_back(&mut self, nodes: usize, params: usize, result: u32, store: &[Real]) -> u32 {
        let Node { shape, at, in_params, owner, .. } = self.nodes[result as usize];
        self.params.truncate(params);
        let inside = owner as usize >= nodes;
        // One more, so that its block outlives the aliases that go.
        self.nodes[owner as usize].sharers += 1;
        (nodes..self.nodes.len()).for_each(|id| self.release(id as u32));
        self.nodes.truncate(nodes);
        if in_params {
            let copy = self.take(shape.len());
            self.values[copy..copy + shape.len()].copy_from_slice(&store[at..at + shape.len()]);
            self.push(Op::Input, [NONE; 3], shape, copy, false)
        } else if inside {
            self.push(Op::Input, [NONE; 3], shape, at, false)
        } else {
            let id = self.push_alias(Op::Input, NONE, shape, owner);
            self.nodes[owner as usize].sharers -= 1;
            id
        }
    }
}

/// The class of blocks for `len` values, and how many those hold: eight sizes for each power of two, so that blocks of
/// nearly the same size serve one another and at most an eighth is wasted.
fn size_class(len: usize) -> (usize, usize) {
    let lines = len.div_ceil(LINE).max(1);
    let shift = lines.ilog2().saturating_sub(3);
    let mantissa = lines.div_ceil(1 << shift);
    ((shift as usize) * 8 + mantissa - 1, (mantissa << shift) * LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_in_order_and_waste_little() {
        let mut last = (0, LINE);
        for lines in 1..5000 {
            for len in [lines * LINE - LINE + 1, lines * LINE] {
                let (class, block) = size_class(len);
                assert!(block >= len && (block - len) * 8 <= block + 8 * LINE, "{len} in {block}");
                assert!((class, block) == last || class > last.0 && block > last.1, "{len}: {class} {block} {last:?}");
                last = (class, block);
            }
        }
    }

    #[test]
    fn a_block_is_free_when_its_last_value_is_given_up() {
        let mut arena = Arena::default();
        let shape = Shape::new(1, 4, 5);
        let at = arena.take(20);
        let first = arena.push(Op::Input, [NONE; 3], shape, at, false);
        let second = arena.push_alias(Op::View, first, Shape::new(1, 5, 4), first);
        arena.release(first);
        assert_ne!(arena.take(20), at, "the second value still stands there");
        arena.release(second);
        arena.release(second);
        assert_eq!(arena.take(17), at);
        assert_ne!(arena.take(17), at, "given out twice");
    }
}
