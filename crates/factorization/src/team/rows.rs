//! A joint batch on a tape: what each agent sees and does, side by side.

use crate::parts::side_by_side;
use backcast_core::Batch;
use backcast_nn::{Real, Shape, Tape, Var};
use ndarray::ArrayView2;

/// What is known of a state: to each agent, and to all of them together.
#[derive(Clone, Copy)]
pub struct Seen<'t> {
    /// *oᵢ*, `[agents, rows, obs]`.
    pub own: Var<'t>,
    /// *s*, everything that anybody sees, `[1, rows, agents·obs]`.
    pub joint: Var<'t>,
}

impl<'t> Seen<'t> {
    /// Of joint observations, `[rows, agents·obs]`.
    pub fn on(tape: Tape<'t>, obs: ArrayView2<'_, Real>, agents: usize) -> Self {
        Self { own: split(tape, obs, agents), joint: tape.input(obs) }
    }
}

/// The symbols of the papers.
#[derive(Clone, Copy)]
pub struct Rows<'t> {
    /// At *t*.
    pub s: Seen<'t>,
    /// *uᵢ*, `[agents, rows, act]`.
    pub u: Var<'t>,
    /// *r*, the same for all, `[1, rows, 1]`.
    pub r: Var<'t>,
    /// At *t* + 1.
    pub s2: Seen<'t>,
    /// 1 − d, `[1, rows, 1]`.
    pub alive: Var<'t>,
}

impl<'t> Rows<'t> {
    /// Of a batch whose observations and actions are `agents` agents' own, one after the other.
    pub fn on(tape: Tape<'t>, batch: Batch<'_>, agents: usize) -> Self {
        Self {
            s: Seen::on(tape, batch.obs, agents),
            u: split(tape, batch.act, agents),
            r: tape.input(batch.reward),
            s2: Seen::on(tape, batch.next_obs, agents),
            alive: -tape.input(batch.terminal) + 1.0,
        }
    }
}

/// `[rows, agents·width]` as `[agents, rows, width]`.
///
/// # Panics
/// If the columns cannot be shared out.
pub fn split<'t>(tape: Tape<'t>, joint: ArrayView2<'_, Real>, agents: usize) -> Var<'t> {
    let (rows, cols) = joint.dim();
    assert!(agents > 0 && cols.is_multiple_of(agents), "split: {cols} columns among {agents} agents");
    let width = cols / agents;
    tape.fill(Shape::new(agents, rows, width), |out| {
        for (agent, out) in out.chunks_mut(rows * width).enumerate() {
            for (out, row) in out.chunks_mut(width).zip(joint.rows()) {
                out.iter_mut().zip(row.iter().skip(agent * width)).for_each(|(o, &x)| *o = x);
            }
        }
    })
}

/// *(u₋ᵢ, aᵢ)*: `alone`, `[1, rows·k, act]`, in the place of agent `i`'s action, each of the others' as it is in `u`,
/// `[agents, rows, act]`, beside *k* consecutive rows: `[1, rows·k, agents·act]`.
pub fn deviating<'t>(u: Var<'t>, i: usize, alone: Var<'t>) -> Var<'t> {
    let Shape { members: agents, rows, .. } = u.shape();
    let k = alone.shape().rows / rows;
    let of = |agent: usize| if agent == i { alone } else { u.member(agent).repeat_rows(k) };
    (1..agents).fold(of(0), |left, agent| left.cat(of(agent)))
}

/// `[agents, rows, act]` as the joint action `[1, rows, agents·act]`.
pub fn together(u: Var<'_>) -> Var<'_> {
    side_by_side(u)
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_nn::Store;
    use ndarray::array;

    #[test]
    fn what_is_split_comes_together_and_one_deviates_alone() {
        let mut store = Store::default();
        let tape = store.tape();
        let joint = array![[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0, 8.0, 9.0, 10.0, 11.0, 12.0]];
        let u = split(tape, joint.view(), 3);
        assert_eq!(u.shape().dims(), [3, 2, 2]);
        u.read(|x| assert_eq!(x, [1.0, 2.0, 7.0, 8.0, 3.0, 4.0, 9.0, 10.0, 5.0, 6.0, 11.0, 12.0]));
        together(u).read(|x| assert_eq!(x, joint.as_slice().unwrap()));
        let alone =
            tape.fill(Shape::new(1, 4, 2), |out| out.iter_mut().enumerate().for_each(|(i, x)| *x = -(i as Real)));
        let deviating = deviating(u, 1, alone);
        assert_eq!(deviating.shape().dims(), [1, 4, 6]);
        deviating.read(|x| assert_eq!(x[6..12], [1.0, 2.0, -2.0, -3.0, 5.0, 6.0]));
        deviating.read(|x| assert_eq!(x[12..18], [7.0, 8.0, -4.0, -5.0, 11.0, 12.0]));
    }
}
