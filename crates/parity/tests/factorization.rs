//! Every recorded fixture replayed, and the ways in which a replay must fail.

use backcast_parity::factorization::{Compared, Fixture, Kind, ParityError, Tensor, algorithms, replay};
use std::{collections::BTreeSet, path::Path};

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/factorization");
    let files = std::fs::read_dir(folder).expect("the folder of fixtures").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect();
    files.sort();
    let name = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    files
        .iter()
        .map(|path| Fixture::parse(&name(path), &std::fs::read(path).expect("a readable file")).expect("a fixture"))
        .collect()
}

fn fixture(file: &str) -> Fixture {
    fixtures().into_iter().find(|f| f.file == file).unwrap_or_else(|| panic!("{file} is not committed"))
}

fn failures(compared: &[Compared]) -> Vec<&Compared> {
    compared.iter().filter(|c| !c.holds()).collect()
}

#[test]
fn everything_equals_its_fixtures() {
    let mut wrong = Vec::new();
    for fixture in fixtures() {
        let compared = replay(&fixture).unwrap_or_else(|e| panic!("{e}"));
        for kind in [Kind::Loss, Kind::Gradient, Kind::Parameter, Kind::Change] {
            assert!(compared.iter().any(|c| c.kind == kind), "{}: nothing is compared as {kind:?}", fixture.file);
        }
        wrong.extend(failures(&compared).iter().map(|c| format!("{}: {c:?}", fixture.file)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_learner_has_a_fixture_of_ten_updates_that_is_small_and_described() {
    let (fixtures, page) = (fixtures(), include_str!("golden/factorization/README.md"));
    let named: BTreeSet<_> = fixtures.iter().map(|f| f.algorithm.as_str()).collect();
    assert_eq!(named, algorithms().collect());
    for f in &fixtures {
        assert_eq!(f.tensors["batch/reward"].shape[0], 10, "{}", f.file);
        let numbers: usize = f.tensors.values().map(|t| t.values.len()).sum();
        assert!(numbers < 15_000, "{}: {numbers} numbers", f.file);
        assert!(page.contains(&format!("`{}`", f.file)), "factorization/README.md does not say what {} is", f.file);
    }
    for name in algorithms() {
        assert!(
            page.contains(&format!("| `{name}` |")),
            "factorization/README.md does not say what {name} has and draws"
        );
    }
}

/// One number moved in any of what is compared, any draw or any batch: the replay refuses, and for results names the place.
#[test]
fn one_number_nudged_is_refused() {
    for (file, path, nudge, kind) in [
        ("qmix", "losses/loss", 3e-4, Some(Kind::Loss)),
        ("qmix", "losses/q", 3e-4, Some(Kind::Loss)),
        ("qmix", "gradients/online.mixer.w1.1.weight", 1e-2, Some(Kind::Gradient)),
        ("qmix", "final/online.utilities.0.weight", 1e-4, Some(Kind::Change)),
        ("qmix", "final/target.mixer.v.1.bias", 1e-2, Some(Kind::Change)),
        ("qmix", "batch/next_obs", 1e-1, None),
        ("qmix", "params/target.utilities.0.bias", 1e-1, None),
        ("ma-cql", "losses/penalty", 3e-4, Some(Kind::Loss)),
        ("cfcql-softmax", "gradients/behaviour.0.weight", 1e-2, Some(Kind::Gradient)),
        ("qtran", "gradients/online.joint.0.weight", 1e-2, Some(Kind::Gradient)),
        ("decqn-iql", "losses/value_loss", 3e-4, Some(Kind::Loss)),
        ("decqn-iql", "gradients/policy.1.bias", 1e-2, Some(Kind::Gradient)),
        ("decqn-bcq", "final/critic_target.0.weight", 1e-3, Some(Kind::Change)),
        ("decqn", "batch/reward", 1e-1, None),
        ("coma", "losses/policy_loss", 3e-4, Some(Kind::Loss)),
        ("coma", "gradients/policy.0.weight", 1e-2, Some(Kind::Gradient)),
        ("coma", "final/critic_target.0.weight", 1e-2, Some(Kind::Change)),
        ("coma", "batch/obs", 1e-1, None),
        ("groups", "gradients/actor.1.0.weight", 1e-2, Some(Kind::Gradient)),
        ("groups", "batch/act", 1e-1, None),
        ("joint-fqe", "batch/next_policy", 1e-1, None),
        ("clone", "losses/loss", 3e-4, Some(Kind::Loss)),
    ] {
        let (_, name) = path.split_once('/').expect("a folder");
        let mut f = fixture(file);
        let tensor = f.tensors.get_mut(path).unwrap_or_else(|| panic!("{path}"));
        let norm = tensor.values.iter().map(|x| x * x).sum::<f64>().sqrt();
        let size = if path.starts_with("losses") { tensor.values[0].abs() } else { norm };
        tensor.values[0] += nudge * size;
        let compared = replay(&f).unwrap_or_else(|e| panic!("{e}"));
        let failures = failures(&compared);
        assert!(!failures.is_empty(), "{file}: {path} was nudged and everything holds");
        if let Some(kind) = kind {
            assert!(failures.iter().all(|c| c.name == name), "{path}: {failures:?}");
            assert!(failures.iter().any(|c| c.kind == kind), "{path}: {failures:?}");
        }
    }
}

/// Another action was taken, or another joint action drawn.
#[test]
fn another_action_is_refused() {
    for (file, path) in [
        ("vdn", "batch/act"),
        ("decqn-cql", "batch/act"),
        ("decqn-one-step", "batch/next_act"),
        ("ma-cql", "draws/0/0"),
    ] {
        let mut f = fixture(file);
        let values = &mut f.tensors.get_mut(path).unwrap_or_else(|| panic!("{path}")).values;
        match path {
            // Rows of 0 and 1: the first joint action drawn, its first part's.
            "draws/0/0" => values[..3].rotate_right(1),
            _ => values.iter_mut().for_each(|a| *a = (*a + 1.0) % 3.0),
        }
        assert!(!failures(&replay(&f).unwrap_or_else(|e| panic!("{e}"))).is_empty(), "{file}: {path} goes unnoticed");
    }
}

/// Another setting is another algorithm, and noticed.
#[test]
fn a_configuration_that_is_not_the_recorded_one_is_refused() {
    for (file, from, to) in [
        ("vdn", r#""gamma": 0.97"#, r#""gamma": 0.96"#),
        ("qmix", r#""copy_every": 4"#, r#""copy_every": 5"#),
        ("qplex-scaled", r#""scaled": true"#, r#""scaled": false"#),
        ("cw-qmix", r#""weighting": "central""#, r#""weighting": "optimistic""#),
        ("ow-qmix", r#""weighting": "optimistic""#, r#""weighting": "central""#),
        ("ow-qmix", r#""alpha": 0.3"#, r#""alpha": 0.31"#),
        ("qtran", r#""other": 0.1"#, r#""other": 0.12"#),
        ("ma-cql", r#""weight": 0.7"#, r#""weight": 0.71"#),
        ("cfcql-softmax", r#"{"softmax": 0.5}"#, r#"{"softmax": 0.6}"#),
        ("cfcql-softmax", r#"{"softmax": 0.5}"#, r#""largest""#),
        ("cfcql-largest", r#""largest""#, r#"{"softmax": 1.0}"#),
        ("decqn", r#""mean": true"#, r#""mean": false"#),
        ("decqn-sum", r#""polyak": 0.05"#, r#""polyak": 0.06"#),
        ("decqn-cql", r#""weight": 0.6"#, r#""weight": 0.61"#),
        ("decqn-bcq", r#""threshold": 0.5"#, r#""threshold": 0.3"#),
        ("decqn-iql", r#""expectile": 0.8"#, r#""expectile": 0.79"#),
        ("coma", r#""lambda": 0.8"#, r#""lambda": 0.79"#),
        ("coma", r#""anneal": 6"#, r#""anneal": 7"#),
        ("coma", r#""copy_every": 4"#, r#""copy_every": 5"#),
        ("groups", r#""cloning": 0.9"#, r#""cloning": 0.91"#),
        ("clone", r#""decay": 0.5"#, r#""decay": 0.4"#),
        ("joint-fqe", r#""layer_norm": true"#, r#""layer_norm": false"#),
        ("joint-fqe", r#""gamma": 0.97"#, r#""gamma": 0.96"#),
        ("decqn-iql", r#""inverse_temperature": 12.0"#, r#""inverse_temperature": 12.1"#),
    ] {
        let mut f = fixture(file);
        assert!(f.config.contains(from), "{file}: {}", f.config);
        f.config = f.config.replace(from, to);
        assert!(!failures(&replay(&f).unwrap_or_else(|e| panic!("{e}"))).is_empty(), "{file}: {to} goes unnoticed");
    }
}

#[test]
fn a_fixture_that_does_not_fit_is_refused_by_name() {
    let error = |file: &str, change: &dyn Fn(&mut Fixture)| {
        let mut f = fixture(file);
        change(&mut f);
        replay(&f).expect_err("a fixture that does not fit")
    };
    for path in
        ["params/online.utilities.0.weight", "gradients/online.mixer.v.0.bias", "losses/loss", "batch/next_state"]
    {
        let (file, tensor) = ("qmix".to_owned(), path.to_owned());
        assert_eq!(error("qmix", &|f| drop(f.tensors.remove(path))), ParityError::Missing { file, tensor });
    }
    for path in ["batch/next_act", "params/online.star.0.weight", "draws/0/0"] {
        let wrong = error("qmix", &|f| drop(f.tensors.insert(path.into(), Tensor::new(&[1], [0.0]))));
        assert!(wrong.to_string().contains(path), "{wrong}");
    }
    for (file, change, parts) in [
        ("decqn-one-step", "batch/next_act", ["decqn-one-step", "batch/next_act"]),
        ("ma-cql", "draws/3/0", ["ma-cql", "draws/3/0"]),
    ] {
        let wrong = error(file, &|f| drop(f.tensors.remove(change))).to_string();
        assert!(parts.iter().all(|part| wrong.contains(part)), "{wrong}");
    }
    let wild = |f: &mut Fixture| f.tensors.get_mut("batch/act").expect("actions").values[4] = 7.0;
    let wrong = error("vdn", &wild).to_string();
    assert!(wrong.contains("batch/act") && wrong.contains("7 at 4 of 3"), "{wrong}");
    let wrong = error("vdn", &|f| f.config = f.config.replace("gamma", "gama")).to_string();
    assert!(wrong.contains("config") && wrong.contains("gama"), "{wrong}");
    let wrong = error("vdn", &|f| f.algorithm = "alchemy".into()).to_string();
    assert!(wrong.contains("alchemy"), "{wrong}");
    let wrong = error("vdn", &|f| f.tensors.get_mut("batch/reward").expect("a column").shape.push(1)).to_string();
    assert!(wrong.contains("batch/reward"), "{wrong}");
}
