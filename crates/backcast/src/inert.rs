//! Settings that leave a part of a method without effect: a warm start as long as the training, rates that are zero for most of
//! it. Such a run computes what it was asked to, and its table calls it by a name it has not earned.

use crate::{AlgorithmConfig, Experiment, ExperimentError};
use std::fmt;

/// A part of a method's algorithm that has no effect for at least half of the updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inert {
    /// The method.
    pub method: String,
    /// The setting, a key of `algorithm`.
    pub key: &'static str,
    /// What does not happen.
    pub what: &'static str,
    /// For so many updates.
    pub inert: u64,
    /// Of so many.
    pub updates: u64,
    /// What to do.
    pub remedy: &'static str,
    /// Whether the part is what makes the method: where it is inert to the end, nothing of the method is left.
    essential: bool,
}

impl Inert {
    /// Whether nothing of the method is left.
    pub fn nothing_left(&self) -> bool {
        self.essential && self.inert >= self.updates
    }
}

impl fmt::Display for Inert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, key, what, inert, updates, remedy, .. } = self;
        write!(f, "{method}: for {} of {updates} updates {what} (`{key}`); {remedy}", inert.min(updates))
    }
}

const WARM_START: &str = "set it to 0, or to the small share of the updates that it is in the authors' runs";

/// How long a part of `algorithm` rests in a training of so many `updates`: its key, what does not happen, for how long, the
/// remedy, and whether it is what makes the method.
type Rest = (&'static str, &'static str, u64, &'static str, bool);

fn rests(algorithm: &AlgorithmConfig, updates: u64) -> Vec<Rest> {
    use AlgorithmConfig as A;
    let only_clones = "the policy only clones, and the critics have no say in it";
    let no_term = "there is only CQL: the model of its own term is still being fitted";
    let cloning = |key, warm_start: Option<u64>, default| -> Rest {
        (key, only_clones, warm_start.unwrap_or(default), WARM_START, true)
    };
    let warm_up =
        |until: u64| -> Rest { ("warm_up", no_term, until, "give it fewer updates, or the training more", true) };
    // From its last step on a rate is zero: what is left after it is inert.
    let decay = |key, over: u64, each: u64| -> Rest {
        let left = if over == 0 { 0 } else { updates.saturating_sub(over.saturating_mul(each)) };
        (key, "learning rates have fallen to zero", left, "let the rates fall over all updates", false)
    };
    let once = |every: u64| -> Rest {
        // Before the first update there is only the policy as it was drawn.
        let left = if every >= updates { updates } else { 0 };
        (
            "rollouts.every",
            "the policy is not rolled out again after its first rollouts",
            left,
            "roll out more often",
            false,
        )
    };
    let rare = |period: u64| -> Rest {
        let left = if period > updates { updates } else { 0 };
        ("policy_period", "the policy takes no step", left, "let it move after fewer updates of the critics", true)
    };
    match algorithm {
        A::Cql(c) => {
            let default = backcast_algos::cql::WARM_START;
            vec![cloning("warm_start", c.warm_start, default), decay("lr_decay_steps", c.lr_decay_steps, 1)]
        }
        A::Combo(c) => vec![cloning("cql.warm_start", c.cql.warm_start, 0), once(c.rollouts.every)],
        A::Osr(c) => vec![warm_up(c.warm_up), cloning("cql.warm_start", c.cql.warm_start, 0)],
        A::Sdc(c) => vec![warm_up(c.warm_up), cloning("cql.warm_start", c.cql.warm_start, 0)],
        A::Bear(c) => {
            let what = "the policy only comes nearer to the actions of the dataset, whatever they are worth";
            vec![("warm_start", what, c.warm_start, WARM_START, true)]
        }
        A::SdmGan(c) => {
            let what = "the critics rest, and the policy only follows the discriminator";
            vec![("warm_start", what, c.warm_start.saturating_mul(c.epoch), WARM_START, true)]
        }
        A::Rambo(c) => vec![once(c.rollouts.every), decay("sac.lr_decay_steps", c.sac.lr_decay_steps, 1)],
        A::Mopo(c) => vec![once(c.rollouts.every), decay("sac.lr_decay_steps", c.sac.lr_decay_steps, 1)],
        A::Morel(c) => vec![once(c.rollouts.every), decay("sac.lr_decay_steps", c.sac.lr_decay_steps, 1)],
        A::Mobile(c) => vec![once(c.rollouts.every), decay("lr_decay_steps", c.lr_decay_steps, 1)],
        A::Sac(c) => vec![decay("lr_decay_steps", c.lr_decay_steps, 1)],
        A::Edac(c) => vec![decay("lr_decay_steps", c.lr_decay_steps, 1)],
        A::Bcq(c) => vec![decay("lr_decay_steps", c.lr_decay_steps, 1)],
        A::Iql(c) => vec![decay("actor_lr_decay_steps", c.actor_lr_decay_steps, 1)],
        A::Scas(c) => vec![decay("actor_lr_decay_steps", c.actor_lr_decay_steps, c.policy_period)],
        A::Td3Bc(c) => vec![rare(c.policy_period)],
        A::Rebrac(c) => vec![rare(c.policy_period)],
        A::Bc(_) | A::Awac(_) | A::Mcq(_) | A::Npg(_) => vec![],
    }
}

impl Experiment {
    /// The parts of its methods' algorithms that have no effect for half of the updates or more.
    ///
    /// ```
    /// use backcast::Experiment;
    /// let text = "name = 'x'\ntask = 'pendulum-v1'\nalgorithm = { name = 'cql' }\ntraining = { updates = 20000 }\nmethods = [{ name = 'CQL' }]";
    /// let inert = Experiment::parse(text)?.inert()?;
    /// assert!(inert[0].nothing_left(), "CQL begins with 40 000 updates of cloning");
    /// # Ok::<(), backcast::ExperimentError>(())
    /// ```
    ///
    /// # Errors
    /// If a method's algorithm makes no sense.
    pub fn inert(&self) -> Result<Vec<Inert>, ExperimentError> {
        let updates = self.training.updates;
        let mut all = Vec::new();
        for method in &self.methods {
            for (key, what, inert, remedy, essential) in rests(&self.algorithm_of(method)?, updates) {
                if inert > 0 && inert.saturating_mul(2) >= updates {
                    all.push(Inert { method: method.name.clone(), key, what, inert, updates, remedy, essential });
                }
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inert(algorithm: &str, updates: u64) -> Vec<Inert> {
        let text = format!(
            "name='x'\ntask='dmsd'\nalgorithm={{{algorithm}}}\ntraining={{updates={updates}}}\nmethods=[{{name='a'}}]"
        );
        Experiment::parse(&text).unwrap().inert().unwrap()
    }

    #[test]
    fn a_part_that_rests_for_half_of_the_updates_is_named_and_one_that_never_acts_is_the_end() {
        for (algorithm, updates, parts, nothing_left) in [
            // The published run of 20 000 updates: cloning and nothing else.
            ("name='cql'", 20_000, 1, true),
            ("name='cql'", 50_000, 1, false),
            ("name='cql'", 100_000, 0, false),
            ("name='cql', warm_start=0", 20_000, 0, false),
            ("name='bear'", 100_000, 1, true),
            ("name='bear'", 150_000, 1, false),
            ("name='sdm_gan'", 40_000, 1, true),
            ("name='osr'", 7000, 1, true),
            ("name='sdc'", 30_000, 1, false),
            ("name='combo'", 20_000, 0, false),
            ("name='combo', cql={warm_start=20000}", 20_000, 1, true),
            ("name='mopo', rollouts={every=5000}", 5000, 1, false),
            ("name='iql', actor_lr_decay_steps=10000", 20_000, 1, false),
            ("name='iql', actor_lr_decay_steps=20000", 20_000, 0, false),
            // Every second update is one of the actor.
            ("name='scas', actor_lr_decay_steps=10000", 20_000, 0, false),
            ("name='td3_bc'", 10, 0, false),
            ("name='td3_bc', policy_period=100", 40, 1, true),
        ] {
            let found = inert(algorithm, updates);
            assert_eq!(found.len(), parts, "{algorithm}, {updates} updates: {found:?}");
            assert_eq!(found.iter().any(Inert::nothing_left), nothing_left, "{algorithm}, {updates} updates");
        }
        let said = inert("name='cql'", 20_000)[0].to_string();
        assert!(said.starts_with("a: for 20000 of 20000 updates the policy only clones"), "{said}");
        assert!(said.contains("`warm_start`") && said.contains("set it to 0"), "{said}");
    }

    /// What is published is at work.
    #[test]
    fn no_experiment_that_is_kept_has_an_inert_part() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
        assert!(files.len() > 10, "{files:?}");
        for file in files {
            let experiment = Experiment::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
            assert_eq!(experiment.inert().unwrap(), [], "{}", file.display());
        }
    }
}
