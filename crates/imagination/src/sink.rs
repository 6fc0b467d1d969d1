use backcast_core::{Imagined, Sink, Transitions};

/// Transitions with the chain and the step each belongs to, for drawing trajectories.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The transitions, in the order imagined: all first steps, then all second steps …
    pub transitions: Transitions,
    /// The chain of each row: the number of its start within the call.
    pub chain: Vec<usize>,
    /// The step of each row, from 0.
    pub step: Vec<usize>,
}

impl Trace {
    /// An empty trace.
    pub fn new(spec: backcast_core::Spec) -> Self {
        Self { transitions: Transitions::new(spec), chain: Vec::new(), step: Vec::new() }
    }

    /// The rows of each chain in the order imagined: forward in time for a forward model, backward for a reverse one.
    pub fn chains(&self) -> Vec<Vec<usize>> {
        let mut chains = vec![Vec::new(); self.chain.iter().max().map_or(0, |c| c + 1)];
        self.chain.iter().enumerate().for_each(|(row, &chain)| chains[chain].push(row));
        chains
    }
}

impl Sink for Trace {
    fn take(&mut self, t: Imagined<'_>) {
        self.chain.push(t.chain);
        self.step.push(t.step);
        self.transitions.take(t);
    }
}
