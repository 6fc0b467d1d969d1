//! Every operation, head, loss and module against central differences, first and second order, in double precision.
//!
//! A case is one line of a table: a name and a function of a few tensors. From its value y the harness forms the loss
//! L₁ = Σ r⊙y + ½Σ s⊙y² with random r and s (the square makes second derivatives of linear operations something other than
//! zero) and compares ∂L₁ with differences of L₁; then, through `Tape::grad`, L₂ = Σ q⊙∂L₁ + ½‖∂L₁‖², and compares ∂L₂ with
//! differences of L₂.
#![allow(clippy::print_stderr, reason = "a test reports its worst errors")]

mod harness;
mod losses;
mod operations;

use harness::{Case, Worst};
use std::collections::BTreeSet;

fn run(cases: Vec<Case>, trials: u64) -> BTreeSet<&'static str> {
    let (mut worst, mut seen, mut kinks) = (Worst::default(), BTreeSet::new(), 0u64);
    for case in &cases {
        let mut own = Worst::default();
        let mut seeds = 0..;
        for _ in 0..trials {
            while !harness::check(case, seeds.next().expect("seeds never end"), &mut own, &mut seen) {
                kinks += 1;
                assert!(kinks <= 3 + cases.len() as u64 * trials / 20, "{}: too many points lie at a kink", case.name);
            }
        }
        worst.join(&own);
    }
    eprintln!("{} cases × {trials} seeds, {kinks} drawn again; worst errors {worst}", cases.len());
    seen
}

#[test]
fn operations_match_differences() {
    run(operations::unary(), 4);
    run(operations::several(), 4);
}

#[test]
fn broadcasts_match_differences_in_every_pattern() {
    run(operations::broadcasts(), 1);
}

#[test]
fn products_match_differences_in_every_form() {
    run(operations::products(), 2);
}

#[test]
fn heads_and_losses_match_differences() {
    run(losses::heads(), 4);
}

#[test]
fn modules_match_differences() {
    run(losses::modules(), 3);
}

/// No operation of the tape escapes: those in the table and those that only their gradients record.
#[test]
fn every_operation_is_covered() {
    let mut seen = BTreeSet::new();
    for cases in [operations::unary(), operations::several(), operations::products(), losses::modules()] {
        seen.extend(run(cases, 1));
    }
    let all: BTreeSet<_> = backcast_nn::Tape::OPERATIONS.iter().copied().collect();
    assert!(all.len() > 40, "the list of operations is empty or cut off: {all:?}");
    let missed: Vec<_> = all.difference(&seen).collect();
    assert!(missed.is_empty(), "no case records {missed:?}");
}

/// The harness itself can fail: a wrong derivative is reported.
#[test]
#[should_panic(expected = "first order")]
fn a_wrong_gradient_is_noticed() {
    // ∂(x·detach(x)) is x where 2x is right.
    run(vec![harness::one("wrong", harness::Domain::Normal, |x| x * x.detach())], 1);
}

/// As above, where only the second derivative is wrong.
#[test]
#[should_panic(expected = "second order")]
fn a_wrong_gradient_of_a_gradient_is_noticed() {
    // The value is x²; the gradient 2x is right, but half of it is held constant.
    let f: harness::Of1 = |x| x * x.detach() * 2.0 - x.detach().square();
    run(vec![harness::one("wrong", harness::Domain::Normal, f)], 1);
}
