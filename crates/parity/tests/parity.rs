//! Every recorded fixture replayed, and the ways in which a replay must fail.

use backcast_nn::ReplayError;
use backcast_parity::algos::{Compared, Fixture, Kind, ParityError, Tensor, algorithms, replay};
use std::{collections::BTreeSet, path::Path};

/// Every committed fixture.
fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = std::fs::read_dir(folder).expect("the folder of fixtures").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect();
    files.sort();
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    files
        .iter()
        .map(|path| Fixture::parse(&name(path), &std::fs::read(path).expect("a readable file")).expect("a fixture"))
        .collect()
}

fn fixture(file: &str) -> Fixture {
    fixtures().into_iter().find(|f| f.file == file).expect("a committed fixture")
}

fn failures(compared: &[Compared]) -> Vec<&Compared> {
    compared.iter().filter(|c| !c.holds()).collect()
}

#[test]
fn everything_equals_its_fixtures() {
    let mut wrong = Vec::new();
    for fixture in fixtures() {
        let compared = replay(&fixture).unwrap_or_else(|e| panic!("{e}"));
        let kinds: &[Kind] = match fixture.algorithm.as_str() {
            "rollout" => &[Kind::Transition],
            _ => &[Kind::Loss, Kind::Gradient, Kind::Parameter, Kind::Change],
        };
        for &kind in kinds {
            assert!(compared.iter().any(|c| c.kind == kind), "{}: nothing is compared as {kind:?}", fixture.file);
        }
        wrong.extend(failures(&compared).iter().map(|c| format!("{}: {c:?}", fixture.file)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_algorithm_has_a_fixture_of_ten_updates_that_is_small() {
    let fixtures = fixtures();
    let named: BTreeSet<_> = fixtures.iter().map(|f| f.algorithm.as_str()).collect();
    assert_eq!(named, algorithms().collect());
    for f in fixtures {
        // A rollout begins once.
        let updates = if f.algorithm == "rollout" { 1 } else { 10 };
        assert_eq!(f.tensors["batch/obs"].shape[0], updates, "{}", f.file);
        let numbers: usize = f.tensors.values().map(|t| t.values.len()).sum();
        assert!(numbers < 50_000, "{}: {numbers} numbers", f.file);
    }
}

#[test]
fn the_format_s_page_describes_every_algorithm() {
    let page = include_str!("golden/README.md");
    for name in algorithms() {
        assert!(page.contains(&format!("| `{name}` |")), "golden/README.md does not say what {name} has and draws");
    }
}

/// One number moved in any of what is compared, any draw or any batch: the replay refuses, and for results names the place.
#[test]
fn one_number_nudged_is_refused() {
    // By how much: several bounds of the number's own size, or of its tensor's.
    for (file, path, nudge, kind) in [
        ("sac", "losses/critic_loss", 3e-4, Some(Kind::Loss)),
        ("sac", "gradients/critic.1.weight", 1e-2, Some(Kind::Gradient)),
        ("sac", "final/actor.1.weight", 1e-4, Some(Kind::Change)),
        ("sac", "final/critic_target.0.weight", 1e-2, Some(Kind::Change)),
        ("sac", "draws/0/0", 1e-2, None),
        ("sac", "batch/reward", 1e-2, None),
        ("sac", "params/critic.0.bias", 1e-2, None),
        ("ensemble-forward", "losses/loss", 3e-4, Some(Kind::Loss)),
        ("ensemble-forward", "gradients/store.member.1.net.0.bias", 1e-2, Some(Kind::Gradient)),
        ("ensemble-reverse", "gradients/store.member.0.max_log_var", 1e-2, Some(Kind::Gradient)),
        ("ensemble-reverse", "final/store.member.2.net.1.weight", 1e-4, Some(Kind::Change)),
        ("ensemble-reverse", "final/store.member.0.min_log_var", 1e-3, Some(Kind::Change)),
        ("ensemble-weighted", "gradients/store.member.1.net.1.weight", 1e-2, Some(Kind::Gradient)),
        ("ensemble-forward", "batch/next_obs", 1e-2, None),
        ("ensemble-forward", "params/input_std", 1e-2, None),
        ("ensemble-forward", "params/store.member.0.min_log_var", 1e-2, None),
        ("rambo", "losses/adversarial_loss", 3e-4, Some(Kind::Loss)),
        ("rambo", "gradients/model.store.member.1.net.0.weight", 1e-2, Some(Kind::Gradient)),
        ("rambo", "played/reward", 1e-2, None),
        ("rambo", "played/act", 1e-2, None),
        ("rambo", "log/next_obs", 1e-2, None),
        ("rambo", "draws/0/0", 1e-2, None),
        ("sdm_gan", "losses/discriminator_loss", 3e-4, Some(Kind::Loss)),
        ("sdm_gan", "gradients/discriminator.1.weight", 1e-2, Some(Kind::Gradient)),
        ("sdm_gan", "final/threshold", 1e-2, Some(Kind::Change)),
        ("sdm_gan", "draws/0/5", 1e-2, None),
        ("sdm_gan", "evidence/rewards", 1e-1, None),
        ("sdm_gan-wasserstein", "gradients/actor.0.weight", 1e-2, Some(Kind::Gradient)),
        ("sdm_gan-wasserstein", "draws/0/8", 1e-1, None),
        ("rollout-forward", "transitions/reward", 1e-3, Some(Kind::Transition)),
        ("rollout-reverse", "transitions/obs", 1e-3, Some(Kind::Transition)),
        ("rollout-reverse", "transitions/penalty", 1e-3, Some(Kind::Transition)),
        ("rollout-reverse", "draws/0/0", 1e-2, None),
        ("rollout-forward", "draws/1/1", 1.0, None),
        ("rollout-forward", "draws/1/2", 1e-2, None),
        ("rollout-forward", "params/store.member.3.net.2.bias", 1e-1, None),
        ("rollout-forward", "batch/obs", 1e-2, None),
    ] {
        let (_, name) = path.split_once('/').expect("a folder");
        let mut f = fixture(&format!("{file}.safetensors"));
        let tensor = f.tensors.get_mut(path).unwrap_or_else(|| panic!("{path}"));
        let size = if path.starts_with("losses") { tensor.values[0].abs() } else { norm(tensor) };
        match path {
            // Another member.
            "draws/1/1" => tensor.values[0] = (tensor.values[0] + 1.0) % 4.0,
            _ => tensor.values[0] += nudge * size,
        }
        let compared = replay(&f).unwrap_or_else(|e| panic!("{e}"));
        let failures = failures(&compared);
        assert!(!failures.is_empty(), "{file}: {path} was nudged and everything holds");
        if let Some(kind) = kind {
            assert!(failures.iter().all(|c| c.name == name), "{path}: {failures:?}");
            assert!(failures.iter().any(|c| c.kind == kind), "{path}: {failures:?}");
        }
    }
}

fn norm(tensor: &Tensor) -> f64 {
    tensor.values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Another setting is another algorithm, and noticed.
#[test]
fn a_configuration_that_is_not_the_recorded_one_is_refused() {
    for (file, from, to) in [
        ("sac-bc.safetensors", r#""cloning": 2.5"#, r#""cloning": 2.6"#),
        ("cql.safetensors", r#""warm_start": 4"#, r#""warm_start": 3"#),
        ("cql-lagrange.safetensors", r#""lagrange": 10.0"#, r#""lagrange": 10.5"#),
        ("cql-three-way.safetensors", r#""entropy_backup": true"#, r#""entropy_backup": false"#),
        ("iql.safetensors", r#""actor_decay": 8"#, r#""actor_decay": 9"#),
        ("iql-dropout.safetensors", r#""weight_bound": 1.5"#, r#""weight_bound": 1.6"#),
        ("bcq.safetensors", r#""phi": 0.05"#, r#""phi": 0.06"#),
        ("td3_bc.safetensors", r#""noise_clip": 0.5"#, r#""noise_clip": 0.4"#),
        ("awac-bounded.safetensors", r#""weight_bound": 1.5"#, r#""weight_bound": 1.6"#),
        ("bear.safetensors", r#""target_actor": true"#, r#""target_actor": false"#),
        ("bear-gaussian.safetensors", r#""warm_start": 4"#, r#""warm_start": 3"#),
        ("bear-gaussian.safetensors", r#""sigma": 20.0"#, r#""sigma": 21.0"#),
        ("edac.safetensors", r#""eta": 1.5"#, r#""eta": 1.51"#),
        ("edac-no-entropy.safetensors", r#""layer_norm": true"#, r#""layer_norm": false"#),
        ("mcq-one-sided.safetensors", r#""one_sided": true"#, r#""one_sided": false"#),
        ("mcq-one-sided.safetensors", r#""target_pseudo": true"#, r#""target_pseudo": false"#),
        ("combo.safetensors", r#""weight": 5.0"#, r#""weight": 5.01"#),
        ("combo-model-states.safetensors", r#""entropy_backup": true"#, r#""entropy_backup": false"#),
        ("combo-uniform.safetensors", r#""mu": "uniform""#, r#""mu": "policy""#),
        ("combo-lagrange.safetensors", r#""lagrange": 3.0"#, r#""lagrange": 3.5"#),
        ("mobile.safetensors", r#""weight": 1.0"#, r#""weight": 1.01"#),
        ("mobile.safetensors", r#""non_negative": true"#, r#""non_negative": false"#),
        ("mobile.safetensors", r#""entropy_backup": true"#, r#""entropy_backup": false"#),
        ("sdm_gan.safetensors", r#""alpha": 3.0"#, r#""alpha": 3.01"#),
        ("sdm_gan.safetensors", r#""warm_start": 1"#, r#""warm_start": 0"#),
        ("sdm_gan.safetensors", r#""reward_margin": 2.0"#, r#""reward_margin": 2.1"#),
        ("sdm_gan.safetensors", r#""huber": 0.8"#, r#""huber": 0.81"#),
        ("sdm_gan.safetensors", r#""value_bound": 0.3"#, r#""value_bound": 0.4"#),
        ("sdm_gan.safetensors", r#""noise_clip": 0.06"#, r#""noise_clip": 0.08"#),
        ("sdm_gan.safetensors", r#""policy_period": 2"#, r#""policy_period": 1"#),
        ("sdm_gan-wasserstein.safetensors", r#""gradient_penalty": 10.0"#, r#""gradient_penalty": 10.1"#),
        ("sdm_gan-wasserstein.safetensors", r#""lambda": 0.75"#, r#""lambda": 0.76"#),
        ("sdm_gan-mmd.safetensors", r#""mmd_samples": 4"#, r#""mmd_samples": 8"#),
        ("sdm_gan-mmd.safetensors", r#""sigma": 2.0"#, r#""sigma": 2.01"#),
        ("sdm_gan-mmd.safetensors", r#""kernel": "gaussian""#, r#""kernel": "laplacian""#),
        ("osr.safetensors", r#""beta": 0.1"#, r#""beta": 0.11"#),
        ("osr.safetensors", r#""at_perturbed": true"#, r#""at_perturbed": false"#),
        ("osr.safetensors", r#""kl_weight": 0.5"#, r#""kl_weight": 0.51"#),
        ("osr-released.safetensors", r#""divergence": "policy_to_inverse""#, r#""divergence": "inverse_to_policy""#),
        ("osr-released.safetensors", r#""log_std_of_mean": true"#, r#""log_std_of_mean": false"#),
        ("osr-v.safetensors", r#""lambda": 0.7"#, r#""lambda": 0.71"#),
        ("sdc.safetensors", r#""width": 3.0"#, r#""width": 3.1"#),
        ("sdc.safetensors", r#""quantile": 0.5"#, r#""quantile": 0.7"#),
        ("sdc.safetensors", r#""calibration": 3"#, r#""calibration": 4"#),
        ("sdc-laplacian.safetensors", r#""kernel": "laplacian""#, r#""kernel": "gaussian""#),
        ("sdc-laplacian.safetensors", r#""beta": 0.3"#, r#""beta": 0.31"#),
        ("scas.safetensors", r#""sharpness": 5.0"#, r#""sharpness": 4.99"#),
        ("scas.safetensors", r#""beta": 0.1"#, r#""beta": 0.11"#),
        ("scas-mean-target.safetensors", r#""elites": 2"#, r#""elites": 1"#),
        ("scas-mean-target.safetensors", r#""mean_target": true"#, r#""mean_target": false"#),
        ("rebrac.safetensors", r#""beta2": 0.3"#, r#""beta2": 0.31"#),
        ("ensemble-forward.safetensors", r#""decay": [0.02"#, r#""decay": [0.021"#),
        ("ensemble-forward.safetensors", r#""bound_coefficient": 0.02"#, r#""bound_coefficient": 0.03"#),
        ("ensemble-reverse.safetensors", r#""direction": "reverse""#, r#""direction": "forward""#),
        ("ensemble-weighted.safetensors", r#""beta_nll": 0.5"#, r#""beta_nll": 0.51"#),
        ("rambo.safetensors", r#""lambda": 0.4"#, r#""lambda": 0.41"#),
        ("rambo.safetensors", r#""elites": 2"#, r#""elites": 3"#),
        ("rambo.safetensors", r#""gamma": 0.97"#, r#""gamma": 0.96"#),
        ("rollout-reverse.safetensors", r#""direction": "reverse""#, r#""direction": "forward""#),
        ("rollout-forward.safetensors", r#""penalty_weight": 0.7"#, r#""penalty_weight": 0.71"#),
    ] {
        let mut f = fixture(file);
        assert!(f.config.contains(from), "{file}: {}", f.config);
        f.config = f.config.replace(from, to);
        assert!(!failures(&replay(&f).unwrap_or_else(|e| panic!("{e}"))).is_empty(), "{file}: {to} goes unnoticed");
    }
}

#[test]
fn a_fixture_that_does_not_fit_is_refused_by_name() {
    let file = "sac.safetensors".to_owned();
    let error = |change: &dyn Fn(&mut Fixture)| {
        let mut f = fixture(&file);
        change(&mut f);
        replay(&f).expect_err("a fixture that does not fit")
    };
    for path in [
        "params/actor.0.weight",
        "params/temperature.ln_alpha",
        "gradients/critic.2.bias",
        "final/critic_target.1.bias",
        "losses/actor_loss",
        "batch/obs",
        "batch/terminal",
    ] {
        let (file, tensor) = (file.clone(), path.to_owned());
        assert_eq!(error(&|f| drop(f.tensors.remove(path))), ParityError::Missing { file, tensor });
    }
    for path in ["params/actor.0.weight", "gradients/critic.2.bias", "final/actor.0.bias", "losses/q", "batch/act"] {
        let refused = error(&|f| f.tensors.get_mut(path).expect("a tensor").shape.push(1));
        assert!(matches!(&refused, ParityError::Shape { tensor, .. } if tensor == path), "{path}: {refused}");
    }
    let refused = error(&|f| {
        for column in ["obs", "act", "reward", "next_obs", "terminal"] {
            let tensor = f.tensors.get_mut(&format!("batch/{column}")).expect("a column");
            (tensor.shape[1], tensor.values) = (0, vec![]);
        }
    });
    assert!(refused.to_string().contains("batch/obs"), "{refused}");
    for path in ["params/actor.9.weight", "gradients/critic_target.0.weight", "losses/joy", "notes/1", "draws/10/0"] {
        let (file, tensor) = (file.clone(), path.to_owned());
        let refused = error(&|f| drop(f.tensors.insert(path.into(), Tensor::new(&[1], [0.0]))));
        assert_eq!(refused, ParityError::Unknown { file, tensor });
    }
}

/// The action at the next state must be there for an algorithm that asks for it, and only for one.
#[test]
fn next_actions_are_wanted_where_they_are_used() {
    let [file, tensor] = ["rebrac.safetensors", "batch/next_act"].map(String::from);
    let mut f = fixture(&file);
    let a2 = f.tensors.remove(&tensor).expect("a column");
    let refused = replay(&f).expect_err("a column is missing");
    assert_eq!(refused, ParityError::Missing { file, tensor: tensor.clone() });
    let alive = f.tensors["batch/terminal"].values.iter().position(|&d| d == 0.0).expect("a row that goes on");
    let mut nudged = a2.clone();
    nudged.values[2 * alive] += 0.1;
    f.tensors.insert(tensor.clone(), nudged);
    assert!(
        !failures(&replay(&f).unwrap_or_else(|e| panic!("{e}"))).is_empty(),
        "{tensor} was nudged and everything holds"
    );
    let mut f = fixture("td3_bc.safetensors");
    f.tensors.insert(tensor.clone(), a2);
    assert_eq!(replay(&f).expect_err("a column too many"), ParityError::Unknown { file: f.file, tensor });
}

/// Which rows are of the dataset is part of the recording.
#[test]
fn another_number_of_real_rows_is_refused() {
    let mut f = fixture("combo.safetensors");
    let real = f.real.expect("a note");
    for other in [Some(real - 1), Some(real + 1), None] {
        f.real = other;
        assert!(!failures(&replay(&f).unwrap_or_else(|e| panic!("{e}"))).is_empty(), "{other:?} goes unnoticed");
    }
    f.real = Some(17);
    let refused = replay(&f).expect_err("more rows than there are").to_string();
    assert!(refused.contains("combo.safetensors: real: 17 of 16 rows"), "{refused}");
}

/// The model that an algorithm asks is part of the recording: its parameters, its elites, its units.
#[test]
fn another_model_is_refused() {
    let file = "mobile.safetensors";
    for (path, change) in [
        ("model/store.member.2.net.0.weight", 0.3),
        ("model/input_mean", 0.3),
        ("model/elite.0", -1.0),
        ("units/mean", 0.3),
        ("units/std", 0.3),
    ] {
        let mut f = fixture(file);
        f.tensors.get_mut(path).unwrap_or_else(|| panic!("{path}")).values[0] += change;
        assert!(!failures(&replay(&f).unwrap_or_else(|e| panic!("{e}"))).is_empty(), "{path} goes unnoticed");
    }
    for path in ["model/store.member.0.net.0.bias", "model/elite.2", "units/std"] {
        let (mut f, file, tensor) = (fixture(file), file.to_owned(), path.to_owned());
        f.tensors.remove(path).expect("a tensor");
        assert_eq!(replay(&f).expect_err("a part is missing"), ParityError::Missing { file, tensor });
    }
    for path in ["model/elite.3", "units/median"] {
        let (mut f, file, tensor) = (fixture(file), file.to_owned(), path.to_owned());
        f.tensors.insert(path.into(), Tensor::new(&[1], [0.0]));
        assert_eq!(replay(&f).expect_err("a part too many"), ParityError::Unknown { file, tensor });
    }
    for (model, part) in [("{\"members\": 0}", "members"), ("{\"membres\": 2}", "membres")] {
        let mut f = fixture(file);
        f.model = Some(model.to_owned());
        let refused = replay(&f).expect_err("no model").to_string();
        assert!(refused.contains("model") && refused.contains(part), "{refused}");
    }
}

#[test]
fn draws_that_do_not_fit_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Fixture)| {
        let mut f = fixture("sac.safetensors");
        change(&mut f);
        match replay(&f).expect_err("draws that do not fit") {
            ParityError::Draw { tensor, source, .. } => (tensor, source),
            other => panic!("{other}"),
        }
    };
    let (place, why) = refused(&|f| drop(f.tensors.remove("draws/3/1")));
    assert!(place == "draws/3/1" && matches!(why, ReplayError::Missing { number: 1, .. }), "{place}: {why}");
    let extra = Tensor::new(&[16, 2], vec![0.0; 32]);
    let (place, why) = refused(&|f| drop(f.tensors.insert("draws/4/2".into(), extra.clone())));
    assert_eq!((place.as_str(), why), ("draws/4/2", ReplayError::LeftOver { number: 2 }));
    let (place, why) = refused(&|f| f.tensors.get_mut("draws/9/0").expect("a draw").shape.reverse());
    assert!(place == "draws/9/0" && matches!(why, ReplayError::Shape { number: 0, .. }), "{place}: {why}");
}

#[test]
fn notes_that_make_no_sense_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Fixture)| {
        let mut f = fixture("bc.safetensors");
        change(&mut f);
        replay(&f).expect_err("a note that makes no sense").to_string()
    };
    let no_such_member = |file: &str| {
        let mut f = fixture(file);
        f.tensors.get_mut("draws/0/1").expect("members").values[3] = 9.0;
        replay(&f).expect_err("a member that there is not").to_string()
    };
    let not_shared_out = |file: &str| {
        let mut f = fixture(file);
        f.config = f.config.replace(r#""members": 3"#, r#""members": 5"#);
        replay(&f).expect_err("rows that cannot be shared out").to_string()
    };
    let too_few_played = |file: &str| {
        let mut f = fixture(file);
        for column in ["obs", "act", "reward", "next_obs", "terminal"] {
            let tensor = f.tensors.get_mut(&format!("played/{column}")).expect("a column");
            tensor.values.truncate(tensor.values.len() / 10 * 9);
            tensor.shape[0] = 9;
        }
        replay(&f).expect_err("an update without transitions").to_string()
    };
    for (error, parts) in [
        (too_few_played("rambo.safetensors"), ["played", "9 updates"]),
        (no_such_member("rollout-forward.safetensors"), ["draws/0/1", "member 9 of 4"]),
        (not_shared_out("ensemble-forward.safetensors"), ["48 rows", "5 members"]),
        (refused(&|f| f.algorithm = "alchemy".into()), ["bc.safetensors", "alchemy"]),
        (refused(&|f| f.config = "{\"hiden\": [4]}".into()), ["config", "hiden"]),
        (refused(&|f| f.config = "{\"actor_rate\": -1}".into()), ["config", "actor_lr"]),
        (refused(&|f| f.spec.obs += 1), ["batch/obs", "[10, 16, 4]"]),
        (refused(&|f| f.spec.act = 0), ["spec", "act"]),
        (refused(&|f| f.spec.act_limit = 0.0), ["spec", "act_limit"]),
    ] {
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn bytes_that_are_no_fixture_are_refused() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bc.safetensors");
    let bytes = std::fs::read(path).expect("a readable file");
    for cut in [0, 7, 100, bytes.len() - 1] {
        assert!(matches!(Fixture::parse("bc", &bytes[..cut]), Err(ParityError::Format { .. })), "cut at {cut}");
    }
    // A file of the same tensors without one of the notes; the names are as long, so that offsets stay right.
    for note in ["format", "algorithm", "spec", "config", "source"] {
        let (at, len) = (format!("\"{note}\":"), note.len());
        let place = bytes.windows(at.len()).position(|w| w == at.as_bytes()).unwrap_or_else(|| panic!("{note}"));
        let mut renamed = bytes.clone();
        renamed[place + 1..place + 1 + len].fill(b'x');
        let error = Fixture::parse("bc", &renamed).expect_err("a note is missing").to_string();
        assert!(error.contains(&format!("`{note}`")), "{error}");
    }
}
