//! Keys of the notes `config` and `model` that have another name than when the fixtures were recorded.

/// The note `model`, which configures an ensemble.
pub(super) const OF_MODEL: &[(&str, &str)] = &[("learning_rate", "lr"), ("decay", "weight_decay")];

/// The note `config` of what replays a model.
const BESIDE_A_MODEL: &[(&str, &str)] = &[("model.learning_rate", "lr"), ("model.decay", "weight_decay")];

/// For the note `config` of each algorithm: the path of the key then, and the key now.
const OF_CONFIG: &[(&str, &[(&str, &str)])] = &[
    (super::ensemble::NAME, BESIDE_A_MODEL),
    (super::rollout::NAME, BESIDE_A_MODEL),
    (super::rambo::NAME, BESIDE_A_MODEL),
    ("osr", &[("inverse.learning_rate", "lr")]),
    ("sdc", &[("transition.learning_rate", "lr")]),
];

/// What was renamed in the note `config` of `algorithm`.
pub(super) fn of_config(algorithm: &str) -> &'static [(&'static str, &'static str)] {
    OF_CONFIG.iter().find(|(name, _)| *name == algorithm).map_or(&[], |(_, renamed)| renamed)
}
