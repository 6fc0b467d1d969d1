//! Keys of the notes `config` and `model` that have another name than when the fixtures were recorded.

/// The note `model`, which configures an ensemble.
pub(super) const OF_MODEL: &[(&str, &str)] = &[("learning_rate", "lr"), ("decay", "weight_decay")];

/// The note `config` of what replays a model.
const BESIDE_A_MODEL: &[(&str, &str)] = &[("model.learning_rate", "lr"), ("model.decay", "weight_decay")];

/// Keys of every algorithm's note `config`, and of the agent within it that it builds on.
const OF_ALL: &[(&str, &str)] = &[
    ("polyak", "tau"),
    ("actor_rate", "actor_lr"),
    ("critic_rate", "critic_lr"),
    ("value_rate", "value_lr"),
    ("vae_rate", "vae_lr"),
    ("alpha_rate", "alpha_lr"),
    ("discriminator_rate", "discriminator_lr"),
    ("model_rate", "model_lr"),
    ("decay", "lr_decay_steps"),
    ("actor_decay", "actor_lr_decay_steps"),
];

/// Keys of CQL's.
const OF_CQL: &[(&str, &str)] =
    &[("weight", "cql_alpha"), ("samples", "n_action_samples"), ("lagrange", "target_action_gap")];

/// Agents that others are built on, as they are called in notes.
const WITHIN: [&str; 5] = ["", "sac.", "cql.", "rambo.", "rambo.sac."];

/// What was renamed in the note `config` of `algorithm`: the path of the key then, and the key now.
pub(super) fn of_config(algorithm: &str) -> Vec<(String, &'static str)> {
    let owned = |(old, new): &(&str, &'static str)| ((*old).to_owned(), *new);
    let within = |keys: &'static [(&str, &'static str)], part: &'static str| {
        keys.iter().map(move |(old, new)| (format!("{part}{old}"), *new))
    };
    let mut renamed: Vec<_> = WITHIN.iter().flat_map(|part| within(OF_ALL, part)).collect();
    renamed.extend(within(OF_CQL, "cql."));
    match algorithm {
        "cql" => renamed.extend(within(OF_CQL, "")),
        "mcq" => renamed.push(("samples".into(), "n_action_samples")),
        "mobile" => renamed.push(("weight".into(), "penalty_coef")),
        "osr" => renamed.extend([("samples".into(), "n_action_samples"), ("inverse.learning_rate".into(), "lr")]),
        "sdc" => renamed.push(("transition.learning_rate".into(), "lr")),
        super::ensemble::NAME | super::rollout::NAME | super::rambo::NAME => {
            renamed.extend(BESIDE_A_MODEL.iter().map(owned))
        }
        _ => {}
    }
    renamed
}
