//! Define by run: operations are computed as they are written and recorded in one arena, which is reused from step to step.

use crate::{
    Activation, Arena, Real, Shape,
    arena::{History, NONE, Node},
    kernels,
    op::*,
    vjp::Mark,
};
use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2};
use std::{cell::RefCell, ops::Range};

/// One forward pass in progress. While it, or any [`Var`] of it, is alive, the parameters it reads cannot change:
///
/// ```compile_fail
/// # use backcast_nn::Store;
/// let mut store = Store::default();
/// let tape = store.tape();
/// let x = tape.scalar(1.0);
/// store.params_mut()[0] = 2.0; // error: `store` is borrowed by the tape
/// println!("{}", x.item());
/// ```
#[derive(Clone, Copy)]
pub struct Tape<'t> {
    params: &'t [Real],
    pub(crate) arena: &'t RefCell<Arena>,
}

/// A value on a tape: `Copy`, combined by operators and methods.
#[derive(Clone, Copy)]
pub struct Var<'t> {
    pub(crate) tape: Tape<'t>,
    pub(crate) id: u32,
    shape: Shape,
}

impl<'t> Tape<'t> {
    pub(crate) fn new(params: &'t [Real], arena: &'t RefCell<Arena>, history: History) -> Self {
        arena.borrow_mut().clear(history);
        Self { params, arena }
    }

    /// A tape over `params`, the parameters of some [`Store`](crate::Store), with memory of its own. A slice can be shared between
    /// threads, which a store, holding an arena, cannot: one such tape per thread is how inference goes parallel.
    pub fn over(params: &'t [Real], arena: &'t RefCell<Arena>) -> Self {
        Self::new(params, arena, History::All)
    }

    /// As [`over`](Tape::over), for values alone: what nets have between their layers is not kept, and derivatives can be taken
    /// of [watched](Var::watch) values only.
    pub fn without_history(params: &'t [Real], arena: &'t RefCell<Arena>) -> Self {
        Self::new(params, arena, History::Watched)
    }

    /// A matrix from outside, `[1, rows, cols]`.
    pub fn input(self, x: ArrayView2<'_, Real>) -> Var<'t> {
        let shape = Shape::new(1, x.nrows(), x.ncols());
        self.fill(shape, |out| match x.as_slice() {
            Some(x) => out.copy_from_slice(x),
            None => out.iter_mut().zip(x.iter()).for_each(|(o, &v)| *o = v),
        })
    }

    /// A stack of matrices from outside, `[members, rows, cols]`.
    pub fn input3(self, x: ArrayView3<'_, Real>) -> Var<'t> {
        let (members, rows, cols) = x.dim();
        self.fill(Shape::new(members, rows, cols), |out| match x.as_slice() {
            Some(x) => out.copy_from_slice(x),
            None => out.iter_mut().zip(x.iter()).for_each(|(o, &v)| *o = v),
        })
    }

    /// A tensor from outside whose numbers `write` fills in (it sees old memory and must write all of it).
    ///
    /// # Panics
    /// If `write` uses the tape, whose memory it is writing to.
    pub fn fill(self, shape: Shape, write: impl FnOnce(&mut [Real])) -> Var<'t> {
        let mut arena = self.arena.borrow_mut();
        let at = arena.take(shape.len());
        write(&mut arena.values[at..at + shape.len()]);
        Var { tape: self, id: arena.push(Op::Input, [NONE; 3], shape, at, false), shape }
    }

    /// Numbers that a descent [keeps](crate::Descent::keep), from number `at` on.
    pub(crate) fn kept(self, at: usize, shape: Shape) -> Var<'t> {
        let mut guard = self.arena.borrow_mut();
        let to = guard.take(shape.len());
        let Arena { values, kept, .. } = &mut *guard;
        values[to..to + shape.len()].copy_from_slice(&kept[at..at + shape.len()]);
        Var { tape: self, id: guard.push(Op::Input, [NONE; 3], shape, to, false), shape }
    }

    /// A column from outside, `[1, rows, 1]`.
    pub fn column(self, x: &[Real]) -> Var<'t> {
        self.fill(Shape::new(1, x.len(), 1), |out| out.copy_from_slice(x))
    }

    /// One number from outside, `[1, 1, 1]`.
    pub fn scalar(self, x: Real) -> Var<'t> {
        self.fill(Shape::SCALAR, |out| out[0] = x)
    }

    /// Standard normal numbers drawn by `key`.
    pub fn normal(self, shape: Shape, key: backcast_core::Key) -> Var<'t> {
        self.normal_from(shape, key, 0)
    }

    /// As [`normal`](Tape::normal), the numbers from number `first` of the draw on: the noise of some rows of many, to the same bits.
    ///
    /// # Panics
    /// If `first` is no multiple of four.
    pub fn normal_from(self, shape: Shape, key: backcast_core::Key, first: usize) -> Var<'t> {
        self.draw(shape, |out| key.normal_from(first, out))
    }

    /// Numbers uniform in `[low, high)` drawn by `key`.
    pub fn uniform(self, shape: Shape, low: Real, high: Real, key: backcast_core::Key) -> Var<'t> {
        self.draw(shape, |out| key.uniform(low, high, out))
    }

    /// The parameters at `at` of the store. The same tensor asked for twice is one node.
    pub(crate) fn param(self, at: usize, shape: Shape) -> Var<'t> {
        let mut arena = self.arena.borrow_mut();
        let known = |&&(offset, id): &&(usize, u32)| offset == at && arena.nodes[id as usize].shape == shape;
        if let Some(&(_, id)) = arena.params.iter().find(known) {
            return Var { tape: self, id, shape };
        }
        let id = arena.push(Op::Param, [NONE; 3], shape, at, true);
        arena.params.push((at, id));
        Var { tape: self, id, shape }
    }

    /// Runs `f` and keeps its result alone, without history: the arena rolls back to where it was.
    ///
    /// Values of the scope cannot leave it in any other way, nor can values of this tape enter.
    pub fn no_grad(self, f: impl for<'s> FnOnce(Tape<'s>) -> Var<'s>) -> Var<'t> {
        let (nodes, params) = {
            let arena = self.arena.borrow();
            (arena.nodes.len(), arena.params.len())
        };
        // Parameters recorded before stay usable inside; those first seen inside are forgotten with the rest.
        let (result, shape) = {
            let result = f(Tape { params: self.params, arena: self.arena });
            (result.id, result.shape)
        };
        let id = self.arena.borrow_mut().roll_back(nodes, params, result, self.params);
        Var { tape: self, id, shape }
    }

    /// The number of values recorded so far.
    pub fn len(self) -> usize {
        self.arena.borrow().nodes.len()
    }

    /// Whether nothing is recorded yet.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The name of every operation a tape can record.
    pub const OPERATIONS: &'static [&'static str] = Op::NAMES;

    /// The name of the operation that gave the value recorded `i`-th, one of [`Tape::OPERATIONS`]: for tests and profiles.
    ///
    /// # Panics
    /// If fewer are recorded.
    pub fn operation(self, i: usize) -> &'static str {
        self.arena.borrow().nodes[i].op.name()
    }

    pub(crate) fn node(self, id: u32) -> Node {
        self.arena.borrow().nodes[id as usize]
    }

    pub(crate) fn var(self, id: u32) -> Var<'t> {
        Var { tape: self, id, shape: self.node(id).shape }
    }

    /// Computes and records `op`.
    pub(crate) fn record(self, op: Op, inputs: [Option<Var<'t>>; 3], shape: Shape) -> Var<'t> {
        let at = self.compute(op, inputs, shape);
        let inputs = inputs.map(|v| v.map_or(NONE, |v| v.id));
        Var { tape: self, id: self.arena.borrow_mut().push(op, inputs, shape, at, false), shape }
    }

    /// Computes and records a layer, and before it the slope of its swish if a derivative may pass through it.
    pub(crate) fn record_layer(self, act: Activation, inputs: [Var<'t>; 3], shape: Shape) -> Var<'t> {
        let (op, all) = (Op::Linear(act), inputs.map(Some));
        let ids = inputs.map(|v| v.id);
        if act != Activation::Swish || !self.arena.borrow().will_live(ids) {
            return self.record(op, all, shape);
        }
        let at = self.compute(Op::Linear(Activation::Identity), all, shape);
        let mut arena = self.arena.borrow_mut();
        let slope = arena.take(shape.len());
        let (low, high) = arena.values.split_at_mut(at.max(slope));
        let (low, high) = (&mut low[at.min(slope)..][..shape.len()], &mut high[..shape.len()]);
        let (values, slopes) = if at < slope { (low, high) } else { (high, low) };
        kernels::swish_and_slope(values, slopes);
        let slope = arena.push(Op::SwishSlope, [NONE; 3], shape, slope, false);
        arena.nodes[slope as usize].live = true;
        Var { tape: self, id: arena.push(op, ids, shape, at, false), shape }
    }

    /// The slope that was recorded before a layer with swish.
    pub(crate) fn slope_of(self, layer: u32) -> Var<'t> {
        let slope = layer.checked_sub(1).filter(|&id| self.node(id).op == Op::SwishSlope);
        self.var(slope.unwrap_or_else(|| panic!("linear: {RELEASED}")))
    }

    /// Computes `op` and returns where its values are.
    fn compute(self, op: Op, inputs: [Option<Var<'t>>; 3], shape: Shape) -> usize {
        let mut guard = self.arena.borrow_mut();
        let arena = &mut *guard;
        let at = arena.take(shape.len());
        let (low, rest) = arena.values.split_at_mut(at);
        let (out, high) = rest.split_at_mut(shape.len());
        let read = |v: Var<'t>| {
            assert!(std::ptr::eq(v.tape.arena, self.arena), "{}: an input is on another tape", op.name());
            let node = &arena.nodes[v.id as usize];
            assert!(!node.released, "{}: {RELEASED}", op.name());
            let (from, at) = match node {
                Node { in_params: true, .. } => (self.params, node.at),
                Node { .. } if node.at < at => (&*low, node.at),
                Node { .. } => (&*high, node.at - at - shape.len()),
            };
            (&from[at..at + node.shape.len()], v.shape)
        };
        let call = Call { inputs: inputs.map(|v| v.map(read)), shape, machine: arena.machine };
        evaluate(op, call, out, &mut arena.panels);
        at
    }

    /// Gives up the numbers of a value that nobody will look at again, if no derivative may pass through `next`, made of it.
    pub(crate) fn pass_on(self, value: Var<'t>, next: Var<'t>) {
        let mut arena = self.arena.borrow_mut();
        if !arena.nodes[next.id as usize].live {
            arena.release(value.id);
        }
    }

    /// The derivatives of `loss` with respect to the nodes chosen by `wrt`, themselves values on this tape.
    ///
    /// Only the adjoints that lead to a chosen node are computed. `out` receives each chosen node, the last recorded first,
    /// with its derivative, or `None` where the loss does not depend on it.
    ///
    /// If `last`, the numbers of every node up to the loss are given up on the way, and those of the derivatives as soon as
    /// they have been passed on.
    pub(crate) fn backward(
        self,
        loss: Var<'t>,
        wrt: impl Fn(u32, &Node) -> bool,
        mut out: impl FnMut(u32, Node, Option<Var<'t>>),
        last: bool,
    ) {
        assert_eq!(loss.shape, Shape::SCALAR, "grad: a loss has shape [1, 1, 1]");
        let n = loss.id as usize + 1;
        let (mut marks, mut adjoints, mut holds) = {
            let mut arena = self.arena.borrow_mut();
            (std::mem::take(&mut arena.marks), std::mem::take(&mut arena.adjoints), std::mem::take(&mut arena.holds))
        };
        marks.clear();
        adjoints.clear();
        adjoints.resize(n, NONE);
        {
            let nodes = &self.arena.borrow().nodes;
            let of = |inputs: [u32; 3]| inputs.into_iter().filter(|&i| i != NONE).map(|i| i as usize);
            for (id, node) in nodes[..n].iter().enumerate() {
                let mut live = wrt(id as u32, node);
                // A derivative that is asked for itself is one more use: it must not be masked.
                let uses = live as u8;
                for i in of(node.inputs) {
                    let mark: &mut Mark = &mut marks[i];
                    mark.uses = mark.uses.saturating_add(1);
                    live |= mark.live;
                    // Whoever uses a slope uses what its layer does.
                    if nodes[i].op == Op::SwishSlope {
                        of(nodes[i + 1].inputs).for_each(|i| marks[i].uses = marks[i].uses.saturating_add(1));
                    }
                }
                if node.op == Op::SwishSlope {
                    live |= of(nodes[id + 1].inputs).any(|i| marks[i].live);
                }
                marks.push(Mark { live, uses, masked: false });
            }
        }
        // Nodes from here on are those of this pass, and `holds` counts the adjoints that each of them is.
        let own = self.len();
        holds.clear();
        adjoints[n - 1] = self.scalar(1.0).id;
        holds.push(1);
        for id in (0..n as u32).rev() {
            let (adjoint, made) = (adjoints[id as usize], self.len());
            let (node, live) = (self.node(id), marks[id as usize].live);
            if wrt(id, &node) {
                out(id, node, (adjoint != NONE).then(|| self.var(adjoint)));
            }
            if adjoint != NONE && live {
                let mut accumulate = |to: u32, g: Var<'t>| {
                    let before = adjoints[to as usize];
                    let now = if before == NONE { g.id } else { (self.var(before) + g).id };
                    adjoints[to as usize] = now;
                    holds.resize(self.len() - own, 0);
                    holds[now as usize - own] += 1;
                    if before != NONE {
                        holds[before as usize - own] -= 1;
                    }
                    if last && before != NONE && holds[before as usize - own] == 0 {
                        self.arena.borrow_mut().release(before);
                    }
                };
                crate::vjp::pull_back(self, id, node, self.var(adjoint), &mut marks, &mut accumulate);
            }
            if last {
                let mut arena = self.arena.borrow_mut();
                holds.resize(arena.nodes.len() - own, 0);
                if adjoint != NONE {
                    holds[adjoint as usize - own] -= 1;
                    if holds[adjoint as usize - own] == 0 {
                        arena.release(adjoint);
                    }
                }
                for id in made..arena.nodes.len() {
                    if holds[id - own] == 0 {
                        arena.release(id as u32);
                    }
                }
                arena.release(id);
            }
        }
        let mut arena = self.arena.borrow_mut();
        (arena.marks, arena.adjoints, arena.holds) = (marks, adjoints, holds);
    }

    /// ∂`loss`/∂`x` as a value on the tape, which can be differentiated again; zeros where the loss does not depend on `x`.
    pub fn grad(self, loss: Var<'t>, x: Var<'t>) -> Var<'t> {
        let mut result = None;
        self.backward(loss, |id, _| id == x.id, |_, _, g| result = g, false);
        result.unwrap_or_else(|| self.fill(x.shape, |out| out.fill(0.0)))
    }

    /// ∂`loss`/∂θ for the parameters in `range` of the store, written to `out`; zeros where the loss does not depend on them.
    ///
    /// # Panics
    /// If `out` is not as long as `range`.
    pub fn grad_params(self, loss: Var<'t>, range: Range<usize>, out: &mut [Real]) {
        let tiled = self.tiled(range.clone());
        if !tiled {
            out.fill(0.0);
        }
        self.collect_grad_params(loss, range, out, tiled);
    }

    /// ∂`loss`/∂θ for the parameters in `range`, left in the arena, for optimisers. Every value is given up on the way: the loss
    /// itself can no longer be read.
    pub(crate) fn last_gradient(self, loss: Var<'t>, range: Range<usize>) {
        if !self.tiled(range.clone()) {
            self.arena.borrow_mut().begin_total(range.len());
            return self.add_last_gradient(loss, range);
        }
        self.arena.borrow_mut().begin_gradient();
        let wanted = |_, node: &Node| node.part_of(&range).is_some();
        let keep = |_, node: Node, g: Option<Var<'t>>| {
            let Some((from, to)) = node.part_of(&range) else { return };
            // Numbers of the arena: neither none at all nor those of a parameter.
            let g = match g {
                None => self.fill(node.shape, |out| out.fill(0.0)),
                Some(g) if self.node(g.id).in_params => g * 1.0,
                Some(g) => g,
            };
            self.arena.borrow_mut().keep_piece(g.id, from - node.at, from - range.start..to - range.start);
        };
        self.backward(loss, wanted, keep, true);
    }

    /// As [`last_gradient`](Tape::last_gradient), added to the total that was begun.
    pub(crate) fn add_last_gradient(self, loss: Var<'t>, range: Range<usize>) {
        let wanted = |_, node: &Node| node.part_of(&range).is_some();
        let add = |_, node: Node, g: Option<Var<'t>>| {
            let (Some((from, to)), Some(g)) = (node.part_of(&range), g) else { return };
            let part = from - range.start..to - range.start;
            self.arena.borrow_mut().add_to_total(g.id, from - node.at, part, self.params);
        };
        self.backward(loss, wanted, add, true);
    }

    /// As [`grad_params`](Tape::grad_params), added to what `out` holds.
    ///
    /// # Panics
    /// If `out` is not as long as `range`.
    pub fn add_grad_params(self, loss: Var<'t>, range: Range<usize>, out: &mut [Real]) {
        self.collect_grad_params(loss, range, out, false);
    }

    /// Adds the derivatives to `out`, or, where each of its elements belongs to one node, writes them there.
    fn collect_grad_params(self, loss: Var<'t>, range: Range<usize>, out: &mut [Real], tiled: bool) {
        assert_eq!(out.len(), range.len(), "grad_params: {} numbers for {range:?}", out.len());
        self.backward(
            loss,
            |_, node| node.part_of(&range).is_some(),
            |_, node, g| {
                let Some((from, to)) = node.part_of(&range) else { return };
                let out = &mut out[from - range.start..to - range.start];
                match g {
                    Some(g) if tiled => g.read(|g| out.copy_from_slice(&g[from - node.at..to - node.at])),
                    Some(g) => g.read(|g| kernels::accumulate(&g[from - node.at..to - node.at], out)),
                    None if tiled => out.fill(0.0),
                    None => {}
                }
            },
            false,
        );
    }

    /// Whether the parameters recorded so far cover the range exactly, each once: then derivatives need no sum.
    fn tiled(self, range: Range<usize>) -> bool {
        let arena = self.arena.borrow();
        let parts = || arena.params.iter().filter_map(|&(_, id)| arena.nodes[id as usize].part_of(&range));
        let apart = |(i, (from, to)): (usize, (usize, usize))| parts().skip(i + 1).all(|(f, t)| t <= from || to <= f);
        parts().map(|(from, to)| to - from).sum::<usize>() == range.len() && parts().enumerate().all(apart)
    }
}

impl Node {
    /// What a parameter has in common with a range of the store: a range may cut through a tensor, and two nodes may read the
    /// same parameters in different shapes.
    fn part_of(&self, range: &Range<usize>) -> Option<(usize, usize)> {
        let (from, to) = (self.at.max(range.start), (self.at + self.shape.len()).min(range.end));
        (self.op == Op::Param && from < to).then_some((from, to))
    }
}

const RELEASED: &str = "the numbers of a value are gone: what stands between the layers of a net is kept only where it leads \
                        to a parameter being trained or to a watched value, and a last backward pass keeps nothing";

impl<'t> Var<'t> {
    /// `[members, rows, cols]`.
    pub fn shape(self) -> Shape {
        self.shape
    }

    /// The tape it is on.
    pub fn tape(self) -> Tape<'t> {
        self.tape
    }

    /// Lends the numbers, in row-major order, to `f`.
    ///
    /// # Panics
    /// If `f` records on the tape, whose memory it is looking at; looking at further values is fine.
    pub fn read<R>(self, f: impl FnOnce(&[Real]) -> R) -> R {
        let arena = self.tape.arena.borrow();
        let node = &arena.nodes[self.id as usize];
        assert!(!node.released, "read: {RELEASED}");
        let from = if node.in_params { self.tape.params } else { &arena.values };
        f(&from[node.at..node.at + node.shape.len()])
    }

    /// Copies the numbers into `out`, in the place of what it held: it grows once.
    pub fn copy_into(self, out: &mut Vec<Real>) {
        out.clear();
        self.read(|x| out.extend_from_slice(x));
    }

    /// Copies the numbers to what a descent keeps; returns where they are.
    pub(crate) fn keep(self) -> usize {
        let mut guard = self.tape.arena.borrow_mut();
        let Arena { nodes, values, kept, .. } = &mut *guard;
        let node = &nodes[self.id as usize];
        assert!(!node.released, "keep: {RELEASED}");
        let (from, at) = (if node.in_params { self.tape.params } else { values }, kept.len());
        kept.extend_from_slice(&from[node.at..node.at + node.shape.len()]);
        at
    }

    /// Copies the numbers of a `[1, rows, cols]` into a matrix.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn write_to(self, mut out: ArrayViewMut2<'_, Real>) {
        let shape = self.shape;
        assert_eq!(shape.dims(), [1, out.nrows(), out.ncols()], "write_to: {shape:?} into {:?}", out.dim());
        self.read(|x| out.iter_mut().zip(x).for_each(|(o, &v)| *o = v));
    }

    /// The only number of a `[1, 1, 1]`.
    ///
    /// # Panics
    /// If there are more.
    pub fn item(self) -> Real {
        assert_eq!(self.shape, Shape::SCALAR, "item: a single number has shape [1, 1, 1]");
        self.read(|x| x[0])
    }

    /// The same numbers without history; no copy.
    pub fn detach(self) -> Self {
        self.alias(Op::Input, NONE, self.shape)
    }

    /// The same value, of which a derivative will be asked for with [`Tape::grad`]. Needed only where the tape keeps no
    /// history of it otherwise: on one [without history](Tape::without_history), and inside [`Adam::minimise`](crate::Adam::minimise)
    /// for what does not depend on the parameters being trained.
    pub fn watch(self) -> Self {
        self.tape.arena.borrow_mut().nodes[self.id as usize].live = true;
        self
    }

    /// The same numbers in another shape; no copy.
    ///
    /// # Panics
    /// If the number of values differs.
    pub fn reshape(self, shape: Shape) -> Self {
        assert_eq!(self.shape.len(), shape.len(), "reshape: {:?} and {shape:?} differ in length", self.shape);
        self.alias(Op::View, self.id, shape)
    }

    fn alias(self, op: Op, input: u32, shape: Shape) -> Self {
        let mut arena = self.tape.arena.borrow_mut();
        assert!(!arena.nodes[self.id as usize].released, "{}: {RELEASED}", op.name());
        Var { tape: self.tape, id: arena.push_alias(op, input, shape, self.id), shape }
    }
}
