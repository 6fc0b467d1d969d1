//! Define by run: operations are computed as they are written and recorded in one arena, which is reused from step to step.

use crate::{Precision, Real, Shape, kernels, op::*, vjp::Mark};
use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2};
use std::cell::RefCell;

/// "No node": an input that an operation does not have.
pub(crate) const NONE: u32 = u32::MAX;

/// One recorded value: where it came from and where its numbers are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) op: Op,
    pub(crate) inputs: [u32; 3],
    pub(crate) shape: Shape,
    /// Offset of the numbers in the arena, or in the parameters.
    at: usize,
    in_params: bool,
}

/// The memory of a tape: nodes, their values and the scratch of products. It grows to the size of the largest step and
/// then stays; a steady-state step allocates nothing.
#[derive(Debug)]
pub struct Arena {
    nodes: Vec<Node>,
    /// `values[..top]` is in use; what lies beyond is left from earlier steps.
    values: Vec<Real>,
    top: usize,
    /// The parameters recorded so far: (offset in the store, node).
    params: Vec<(usize, u32)>,
    adjoints: Vec<u32>,
    marks: Vec<Mark>,
    panels: Vec<Real>,
    machine: Machine,
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
            params: Vec::new(),
            adjoints: Vec::new(),
            marks: Vec::new(),
            panels: Vec::new(),
            machine: Machine { isa: kernels::isa(), precision: Precision::F32, parallel: false },
        }
    }
}

impl Arena {
    /// Whether large products may use the threads of the current rayon pool. The bits do not depend on it.
    pub fn set_parallel(&mut self, parallel: bool) {
        self.machine.parallel = parallel;
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
        (self.values.capacity() + self.panels.capacity()) * size_of::<Real>()
            + self.nodes.capacity() * size_of::<Node>()
    }

    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.params.clear();
        self.top = 0;
    }

    /// Room for `len` more values; returns their offset.
    fn take(&mut self, len: usize) -> usize {
        // At the beginning of a cache line, or vectors of the kernels would straddle two.
        let line = 64 / size_of::<Real>();
        let first = self.values.as_ptr().align_offset(64);
        let at = first + self.top.saturating_sub(first).next_multiple_of(line);
        self.top = at + len;
        if self.top > self.values.len() {
            self.values.resize(self.top, 0.0);
        }
        at
    }
}

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
    arena: &'t RefCell<Arena>,
}

/// A value on a tape: `Copy`, combined by operators and methods.
#[derive(Clone, Copy)]
pub struct Var<'t> {
    pub(crate) tape: Tape<'t>,
    pub(crate) id: u32,
    shape: Shape,
}

impl<'t> Tape<'t> {
    pub(crate) fn new(params: &'t [Real], arena: &'t RefCell<Arena>) -> Self {
        arena.borrow_mut().clear();
        Self { params, arena }
    }

    /// A tape over `params`, the parameters of some [`Store`](crate::Store), with memory of its own. A slice can be shared between
    /// threads, which a store, holding an arena, cannot: one such tape per thread is how inference goes parallel.
    pub fn over(params: &'t [Real], arena: &'t RefCell<Arena>) -> Self {
        Self::new(params, arena)
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
        push(&mut arena, self, Node { op: Op::Input, inputs: [NONE; 3], shape, at, in_params: false })
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
        self.fill(shape, |out| key.normal(out))
    }

    /// Numbers uniform in `[low, high)` drawn by `key`.
    pub fn uniform(self, shape: Shape, low: Real, high: Real, key: backcast_core::Key) -> Var<'t> {
        self.fill(shape, |out| key.uniform(low, high, out))
    }

    /// The parameters at `at` of the store. The same tensor asked for twice is one node.
    pub(crate) fn param(self, at: usize, shape: Shape) -> Var<'t> {
        let mut arena = self.arena.borrow_mut();
        let known = |&&(offset, id): &&(usize, u32)| offset == at && arena.nodes[id as usize].shape == shape;
        if let Some(&(_, id)) = arena.params.iter().find(known) {
            return Var { tape: self, id, shape };
        }
        let id = arena.nodes.len() as u32;
        arena.params.push((at, id));
        push(&mut arena, self, Node { op: Op::Param, inputs: [NONE; 3], shape, at, in_params: true })
    }

    /// Runs `f` and keeps its result alone, without history: the arena rolls back to where it was.
    ///
    /// Values of the scope cannot leave it in any other way, nor can values of this tape enter.
    pub fn no_grad(self, f: impl for<'s> FnOnce(Tape<'s>) -> Var<'s>) -> Var<'t> {
        let (nodes, params, top) = {
            let arena = self.arena.borrow();
            (arena.nodes.len(), arena.params.len(), arena.top)
        };
        // Parameters recorded before stay usable inside; those first seen inside are forgotten with the rest.
        let (id, shape) = {
            let result = f(Tape { params: self.params, arena: self.arena });
            (result.id, result.shape)
        };
        let mut arena = self.arena.borrow_mut();
        let node = arena.nodes[id as usize];
        arena.nodes.truncate(nodes);
        arena.params.truncate(params);
        arena.top = top;
        let at = arena.take(shape.len());
        if node.in_params {
            arena.values[at..at + shape.len()].copy_from_slice(&self.params[node.at..node.at + shape.len()]);
        } else {
            arena.values.copy_within(node.at..node.at + shape.len(), at);
        }
        push(&mut arena, self, Node { op: Op::Input, inputs: [NONE; 3], shape, at, in_params: false })
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
        let mut guard = self.arena.borrow_mut();
        let arena = &mut *guard;
        let at = arena.take(shape.len());
        let (old, new) = arena.values.split_at_mut(at);
        let read = |v: Var<'t>| {
            assert!(std::ptr::eq(v.tape.arena, self.arena), "{}: an input is on another tape", op.name());
            let node = &arena.nodes[v.id as usize];
            let from = if node.in_params { self.params } else { &*old };
            (&from[node.at..node.at + node.shape.len()], v.shape)
        };
        let call = Call { inputs: inputs.map(|v| v.map(read)), shape, machine: arena.machine };
        evaluate(op, call, &mut new[..shape.len()], &mut arena.panels);
        let inputs = inputs.map(|v| v.map_or(NONE, |v| v.id));
        push(arena, self, Node { op, inputs, shape, at, in_params: false })
    }

    /// The derivatives of `loss` with respect to the nodes chosen by `wrt`, themselves values on this tape.
    ///
    /// Only the adjoints that lead to a chosen node are computed. `out` receives each chosen node in the order recorded,
    /// with its derivative, or `None` where the loss does not depend on it.
    pub(crate) fn backward(
        self,
        loss: Var<'t>,
        wrt: impl Fn(u32, &Node) -> bool,
        mut out: impl FnMut(u32, Node, Option<Var<'t>>),
    ) {
        assert_eq!(loss.shape, Shape::SCALAR, "grad: a loss has shape [1, 1, 1]");
        let n = loss.id as usize + 1;
        let (mut marks, mut adjoints) = {
            let mut arena = self.arena.borrow_mut();
            (std::mem::take(&mut arena.marks), std::mem::take(&mut arena.adjoints))
        };
        marks.clear();
        adjoints.clear();
        adjoints.resize(n, NONE);
        for (id, node) in self.arena.borrow().nodes[..n].iter().enumerate() {
            let mut live = wrt(id as u32, node);
            // A derivative that is asked for itself is one more use: it must not be masked.
            let uses = live as u8;
            for &i in node.inputs.iter().filter(|&&i| i != NONE) {
                let mark: &mut Mark = &mut marks[i as usize];
                mark.uses = mark.uses.saturating_add(1);
                live |= mark.live;
            }
            marks.push(Mark { live, uses, masked: false });
        }
        adjoints[n - 1] = self.scalar(1.0).id;
        for id in (0..n).rev() {
            if adjoints[id] == NONE || !marks[id].live {
                continue;
            }
            let node = self.node(id as u32);
            let g = self.var(adjoints[id]);
            let mut accumulate = |to: u32, g: Var<'t>| {
                let so_far = &mut adjoints[to as usize];
                *so_far = if *so_far == NONE { g.id } else { (self.var(*so_far) + g).id };
            };
            crate::vjp::pull_back(self, id as u32, node, g, &mut marks, &mut accumulate);
        }
        for id in 0..n as u32 {
            let node = self.node(id);
            if wrt(id, &node) {
                let adjoint = adjoints[id as usize];
                out(id, node, (adjoint != NONE).then(|| self.var(adjoint)));
            }
        }
        let mut arena = self.arena.borrow_mut();
        (arena.marks, arena.adjoints) = (marks, adjoints);
    }

    /// ∂`loss`/∂`x` as a value on the tape, which can be differentiated again; zeros where the loss does not depend on `x`.
    pub fn grad(self, loss: Var<'t>, x: Var<'t>) -> Var<'t> {
        let mut result = None;
        self.backward(loss, |id, _| id == x.id, |_, _, g| result = g);
        result.unwrap_or_else(|| self.fill(x.shape, |out| out.fill(0.0)))
    }

    /// ∂`loss`/∂θ for the parameters in `range` of the store, written to `out`; zeros where the loss does not depend on them.
    ///
    /// # Panics
    /// If `out` is not as long as `range`.
    pub fn grad_params(self, loss: Var<'t>, range: std::ops::Range<usize>, out: &mut [Real]) {
        let tiled = self.tiled(range.clone());
        if !tiled {
            out.fill(0.0);
        }
        self.collect_grad_params(loss, range, out, tiled);
    }

    /// As [`grad_params`](Tape::grad_params), added to what `out` holds.
    ///
    /// # Panics
    /// If `out` is not as long as `range`.
    pub fn add_grad_params(self, loss: Var<'t>, range: std::ops::Range<usize>, out: &mut [Real]) {
        self.collect_grad_params(loss, range, out, false);
    }

    /// Adds the derivatives to `out`, or, where each of its elements belongs to one node, writes them there.
    fn collect_grad_params(self, loss: Var<'t>, range: std::ops::Range<usize>, out: &mut [Real], tiled: bool) {
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
        );
    }

    /// Whether the parameters recorded so far cover the range exactly, each once: then derivatives need no sum.
    fn tiled(self, range: std::ops::Range<usize>) -> bool {
        let arena = self.arena.borrow();
        let parts = || arena.params.iter().filter_map(|&(_, id)| arena.nodes[id as usize].part_of(&range));
        let apart = |(i, (from, to)): (usize, (usize, usize))| parts().skip(i + 1).all(|(f, t)| t <= from || to <= f);
        parts().map(|(from, to)| to - from).sum::<usize>() == range.len() && parts().enumerate().all(apart)
    }
}

impl Node {
    /// What a parameter has in common with a range of the store: a range may cut through a tensor, and two nodes may read the
    /// same parameters in different shapes.
    fn part_of(&self, range: &std::ops::Range<usize>) -> Option<(usize, usize)> {
        let (from, to) = (self.at.max(range.start), (self.at + self.shape.len()).min(range.end));
        (self.op == Op::Param && from < to).then_some((from, to))
    }
}

fn push<'t>(arena: &mut Arena, tape: Tape<'t>, node: Node) -> Var<'t> {
    arena.nodes.push(node);
    Var { tape, id: arena.nodes.len() as u32 - 1, shape: node.shape }
}

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
        let from = if node.in_params { self.tape.params } else { &arena.values };
        f(&from[node.at..node.at + node.shape.len()])
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
        let Node { at, in_params, .. } = arena.nodes[self.id as usize];
        push(&mut arena, self.tape, Node { op, inputs: [input, NONE, NONE], shape, at, in_params })
    }
}
