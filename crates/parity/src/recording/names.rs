//! Which tensors of a state are an optimiser's, and which parameters that optimiser moves: told by their names.

/// The optimiser that `name` is a part of, and which part: `critic` and `m` of `critic_adam.m`, `temperature` and `m` of
/// `temperature.adam.m`. Those of an ensemble are called `adam.3` and `bounds`, after whatever the ensemble's owner calls them.
pub(super) fn optimiser(name: &str) -> Option<(&str, &str)> {
    let (owner, part) = name.rsplit_once('.')?;
    if ensemble_part(owner).is_some() {
        return Some((owner, part));
    }
    let prefix = owner.strip_suffix("adam")?;
    let prefix = prefix.strip_suffix(['_', '.']).unwrap_or(prefix);
    Some((prefix, part))
}

/// What an optimiser of an ensemble moves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum EnsemblePart<'n> {
    /// The net of the member of this number.
    Member(&'n str),
    /// The bounds of the log-variance, which all members share: those of the first are moved, the others copied.
    Bounds,
}

fn ensemble_part(owner: &str) -> Option<EnsemblePart<'_>> {
    let (rest, last) = owner.rsplit_once('.').unwrap_or(("", owner));
    let (_, before) = rest.rsplit_once('.').unwrap_or(("", rest));
    match last {
        "bounds" => Some(EnsemblePart::Bounds),
        _ if before == "adam" && last.bytes().all(|b| b.is_ascii_digit()) => Some(EnsemblePart::Member(last)),
        _ => None,
    }
}

/// Whether the optimiser moves the parameter.
pub(super) fn moves(optimiser: &str, parameter: &str) -> bool {
    let Some(part) = ensemble_part(optimiser) else {
        let rest = parameter.strip_prefix(optimiser);
        return optimiser.is_empty() || rest.is_some_and(|rest| rest.starts_with('.'));
    };
    let parameter = parameter.strip_prefix("model.").unwrap_or(parameter);
    let Some((member, rest)) = parameter.strip_prefix("store.member.").and_then(|p| p.split_once('.')) else {
        return false;
    };
    match part {
        EnsemblePart::Member(number) => member == number && rest.starts_with("net."),
        EnsemblePart::Bounds => member == "0" && rest.ends_with("log_var"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optimisers_are_known_by_what_they_move() {
        assert_eq!(optimiser("critic_adam.m"), Some(("critic", "m")));
        assert_eq!(optimiser("temperature.adam.steps"), Some(("temperature", "steps")));
        assert_eq!(optimiser("adam.m"), Some(("", "m")));
        assert_eq!(optimiser("adversary.adam.3.v"), Some(("adversary.adam.3", "v")));
        assert_eq!(optimiser("bounds.m"), Some(("bounds", "m")));
        for parameter in
            ["critic.0.weight", "model.store.member.0.min_log_var", "model.input_mean", "vae.encoder.1.bias"]
        {
            assert_eq!(optimiser(parameter), None);
        }
        assert!(moves("critic", "critic.0.weight") && moves("", "actor.0.bias"));
        assert!(!moves("critic", "critic_target.0.weight"));
        assert!(moves("adam.3", "store.member.3.net.0.weight") && moves("x.adam.3", "model.store.member.3.net.2.bias"));
        for other in ["store.member.3.min_log_var", "store.member.1.net.0.weight", "input_mean", "adam.3"] {
            assert!(!moves("adam.3", other), "{other}");
        }
        assert!(moves("bounds", "store.member.0.max_log_var") && !moves("bounds", "store.member.1.max_log_var"));
        assert!(!moves("bounds", "store.member.0.net.0.weight"));
    }
}
