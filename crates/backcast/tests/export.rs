//! Exported policies answer as their algorithms do: read back, computed by a small interpreter of ONNX here, and, where Python
//! has it, by ONNX Runtime.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what was measured is told, and what is skipped")]
#![allow(clippy::unnecessary_cast, reason = "`as f32` does something in double precision")]

#[path = "export/onnx.rs"]
mod onnx;

use backcast::core::{
    DatasetStats, Direction, Key, Policy, Problem, Slot, Spec, State, Transitions, WorldModel, never,
};
use backcast::data::{Normaliser, Scale};
use backcast::dynamics::{Ensemble, EnsembleConfig};
use backcast::export::{ExportError, ExportedPolicy, OPSET};
use backcast::{Agent, AlgorithmConfig, Experiment};
use ndarray::Array2;
use std::{collections::BTreeMap, path::Path, process::Command};

const SPEC: Spec = Spec { act_limit: 1.5, ..Spec::new(3, 2) };

/// Every algorithm, small, and whether it has an exportable policy with a distribution.
const LEARNERS: [(&str, &str, Option<bool>); 22] = [
    ("bc", "hidden = [8]", Some(false)),
    ("td3_bc", "hidden = [8]", Some(false)),
    ("rebrac", "hidden = [8, 8, 8]", Some(false)),
    ("scas", "hidden = [8]", Some(false)),
    ("iql", "hidden = [8]", Some(true)),
    ("iql", "hidden = [8]\ndeterministic = true", Some(false)),
    ("awac", "hidden = [8]", Some(true)),
    ("sac", "hidden = [8]", Some(true)),
    ("cql", "hidden = [8]", Some(true)),
    ("edac", "hidden = [8]", Some(true)),
    ("mcq", "hidden = [8]\nvae_hidden = [8]", Some(true)),
    ("osr", "cql = { hidden = [8] }", Some(true)),
    ("sdc", "cql = { hidden = [8] }", Some(true)),
    ("mopo", "sac = { hidden = [8] }", Some(true)),
    ("rambo", "sac = { hidden = [8] }", Some(true)),
    ("morel", "sac = { hidden = [8] }", Some(true)),
    ("combo", "cql = { hidden = [8] }", Some(true)),
    ("mobile", "hidden = [8]", Some(true)),
    ("npg", "hidden = [8]", Some(true)),
    ("bcq", "hidden = [8]\nvae_hidden = [8]", None),
    ("bear", "hidden = [8]\nvae_hidden = [8]", None),
    ("sdm_gan", "hidden = [8]", None),
];

/// An algorithm whose actor is not as it was drawn: last layers begin small, and a small net says little of itself.
fn agent(name: &str, options: &str) -> (Agent, AlgorithmConfig) {
    let text =
        format!("name = 'x'\ntask = 'dmsd'\nmethods = [{{ name = 'alone' }}]\n[algorithm]\nname = '{name}'\n{options}");
    let algorithm = Experiment::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}")).algorithm;
    let key = Key::new(1).name(name);
    let mut obs = Array2::zeros((50, SPEC.obs));
    key.name("obs").normal(obs.as_slice_mut().expect("dense"));
    let normaliser = Normaliser::fit((obs * 3.0 + 1.0).view(), Scale::Plus(1e-3));
    let mut problem = Problem::new(SPEC);
    if algorithm.needs_model() {
        let model = Ensemble::new(EnsembleConfig::default(), SPEC, Direction::Forward, key).expect("sound");
        let mut rows = Transitions::new(SPEC);
        (0..8).for_each(|i| rows.push(&[0.1 * i as f32 as backcast::core::Real; 3], &[0.0; 2], 0.0, &[0.0; 3], false));
        let dataset_stats = DatasetStats {
            holdout: Some(rows.clone()),
            initial: Some(rows),
            least_reward: Some(0.0),
            ..DatasetStats::default()
        };
        problem = problem.with_model(WorldModel::new(model, never)).with_stats(dataset_stats);
    }
    let mut agent = Agent::new(&algorithm, Some(normaliser), problem, key).unwrap_or_else(|e| panic!("{name}: {e}"));
    agent.visit(&mut |name, slot| {
        if let (true, Slot::Tensor(_, values)) = (name.starts_with("actor.") || name == "log_std", slot) {
            let mut noise = vec![0.0; values.len()];
            key.name("noise").name(name).normal(&mut noise);
            values.iter_mut().zip(noise).for_each(|(x, n)| *x += 0.5 * n);
        }
    });
    (agent, algorithm)
}

/// Raw observations, some of them far out.
fn observations() -> Array2<f32> {
    Array2::from_shape_fn((40, SPEC.obs), |(i, j)| {
        let size = if i % 10 == 0 { 30.0 } else { 2.0 };
        size * (Key::new(9).fold((i * 3 + j) as u64).unit() as f32 * 2.0 - 1.0)
    })
}

fn furthest(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    assert_eq!(a.dim(), b.dim());
    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, |far, x| if x.is_nan() { f32::INFINITY } else { far.max(x) })
}

fn actions(agent: &mut Agent, obs: &Array2<f32>) -> Array2<f32> {
    let mut act = Array2::zeros((obs.nrows(), SPEC.act));
    let obs = obs.mapv(|x| x as backcast::core::Real);
    agent.as_evaluated().act(obs.view(), Some(Key::new(3)), act.view_mut());
    act.mapv(|x| x as f32)
}

#[test]
fn every_exportable_policy_answers_as_its_learner_does() {
    let obs = observations();
    for (name, options, distribution) in LEARNERS {
        let (mut agent, algorithm) = agent(name, options);
        let policy = match (ExportedPolicy::of(&mut agent, &algorithm), distribution) {
            (Ok(policy), Some(_)) => policy,
            (Err(error), None) => {
                assert_eq!(error, ExportError::Candidates(algorithm.name()));
                continue;
            }
            (other, _) => panic!("{name}: {other:?}"),
        };
        assert_eq!(policy.spec(), SPEC, "{name}");
        let expected = actions(&mut agent, &obs);
        let spread = expected.iter().copied().fold(0.0_f32, |m, x| m.max(x.abs()));
        assert!(spread > 0.2, "{name} always answers nearly nothing");
        let answer = policy.answer(obs.view());
        let far = furthest(&answer.action, &expected);
        assert!(far < 1e-5, "{name}: {far} apart");
        assert_eq!(answer.log_std.is_some(), distribution == Some(true), "{name}");

        let again =
            ExportedPolicy::from_safetensors(&policy.to_safetensors()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(again, policy, "{name}");
        assert_eq!(policy.to_safetensors(), again.to_safetensors(), "{name}");

        // Whoever reads the ONNX file and knows its operators comes to the same.
        let model = onnx::Model::read(&policy.to_onnx());
        assert_eq!((model.ir, model.opset), (8, OPSET));
        assert_eq!(model.inputs, [("obs".to_owned(), SPEC.obs)]);
        let names: Vec<&str> = model.outputs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            if distribution == Some(true) { vec!["action", "mean", "log_std"] } else { vec!["action", "mean"] }
        );
        assert!(model.outputs.iter().all(|(_, width)| *width == SPEC.act));
        let computed = model.run("obs", &obs);
        for (output, ours) in
            [("action", Some(&answer.action)), ("mean", Some(&answer.mean)), ("log_std", answer.log_std.as_ref())]
        {
            let Some(ours) = ours else { continue };
            let far = furthest(&computed[output], ours);
            let scale = ours.iter().fold(1.0_f32, |m, x| m.max(x.abs()));
            assert!(far < 1e-5 * scale, "{name}: {output} {far} apart");
        }
    }
}

#[test]
fn what_is_no_exported_policy_is_refused() {
    let (mut agent, algorithm) = agent("iql", "hidden = [8]");
    let policy = ExportedPolicy::of(&mut agent, &algorithm).expect("exportable");
    let bytes = policy.to_safetensors();
    for length in [0, 7, 20, bytes.len() - 1] {
        assert!(ExportedPolicy::from_safetensors(&bytes[..length]).is_err(), "{length} bytes");
    }
    let spoilt = ExportedPolicy { log_std: None, ..policy.clone() };
    assert!(ExportedPolicy::from_safetensors(&spoilt.to_safetensors()).unwrap_err().to_string().contains("deviations"));
    let mut spoilt = policy.clone();
    spoilt.layers.remove(0);
    assert!(ExportedPolicy::from_safetensors(&spoilt.to_safetensors()).is_err());
}

/// ONNX Runtime and ONNX's own checker on every model, by the Python that `BACKCAST_PYTHON` names.
#[test]
fn onnx_runtime_answers_the_same() {
    let python = std::env::var("BACKCAST_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&python).args(["-c", "import onnx, onnxruntime, numpy"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: onnx_runtime_answers_the_same: {python} has no onnx, onnxruntime or numpy");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let obs = observations();
    let rows: Vec<Vec<f32>> = obs.rows().into_iter().map(|row| row.to_vec()).collect();
    std::fs::write(folder.path().join("obs.json"), serde_json::to_string(&rows).expect("numbers")).expect("written");
    let mut expected: BTreeMap<String, Array2<f32>> = BTreeMap::new();
    for (i, (name, options, distribution)) in LEARNERS.into_iter().enumerate() {
        if distribution.is_none() {
            continue;
        }
        let (mut agent, algorithm) = agent(name, options);
        let policy = ExportedPolicy::of(&mut agent, &algorithm).expect("exportable");
        let name = format!("{i:02}-{name}");
        std::fs::write(folder.path().join(format!("{name}.onnx")), policy.to_onnx()).expect("written");
        expected.insert(name, actions(&mut agent, &obs));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/export/answers.py");
    let output = Command::new(&python).arg(script).arg(folder.path()).output().expect("it started before");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: BTreeMap<String, Vec<Vec<f32>>> = serde_json::from_slice(&output.stdout).expect("answers");
    assert_eq!(answers.len(), expected.len());
    let mut furthest_of_all = 0.0_f32;
    for (name, ours) in expected {
        let theirs = Array2::from_shape_fn(ours.dim(), |(i, j)| answers[&name][i][j]);
        let far = furthest(&theirs, &ours);
        assert!(far < 1e-5, "{name}: {far} apart");
        furthest_of_all = furthest_of_all.max(far);
    }
    println!("ONNX Runtime: {} policies, at most {furthest_of_all:e} apart", answers.len());
}

/// ln σ is held in the bounds of each algorithm's own code, by the algorithm and by what is exported of it.
#[test]
fn the_bounds_of_ln_sigma_are_those_of_the_algorithm() {
    for (name, options, low) in [
        ("sac", "hidden = [8]", -20.0),
        ("mopo", "sac = { hidden = [8] }", -20.0),
        ("morel", "sac = { hidden = [8] }", -20.0),
        ("osr", "cql = { hidden = [8] }", -20.0),
        ("cql", "hidden = [8]", -5.0),
        ("combo", "cql = { hidden = [8] }", -5.0),
        ("sdc", "cql = { hidden = [8] }", -5.0),
        ("edac", "hidden = [8]", -5.0),
        ("mcq", "hidden = [8]\nvae_hidden = [8]", -5.0),
        ("mobile", "hidden = [8]", -5.0),
        ("rambo", "sac = { hidden = [8] }", -5.0),
        ("cql", "hidden = [8]\npreset = 'hopper-medium-v2'", -20.0),
        ("cql", "hidden = [8]\nlog_std_bounds = [-3.0, 1.0]", -3.0),
        ("rambo", "sac = { hidden = [8], log_std_bounds = [-3.0, 1.0] }", -3.0),
    ] {
        let (mut agent, algorithm) = agent(name, options);
        // As sure as can be: far below any bound.
        agent.visit(&mut |name, slot| {
            if let (true, Slot::Tensor(_, values)) = (name == "actor.1.bias", slot) {
                values[SPEC.act..].fill(-1000.0);
            }
        });
        let policy = ExportedPolicy::of(&mut agent, &algorithm).unwrap();
        let obs = Array2::<backcast::core::Real>::zeros((200, SPEC.obs));
        let said = policy.answer(obs.mapv(|x| x as f32).view());
        let log_std = said.log_std.expect("it has a distribution");
        assert!(log_std.iter().all(|x| *x == low), "{name}, {options}: {} in the file", log_std[[0, 0]]);
        let mut drawn = Array2::zeros((200, SPEC.act));
        agent.act(obs.view(), Some(Key::new(5)), drawn.view_mut());
        // Before the tanh, in units of what the file says; where that is too small for single precision, nothing is left.
        let limit = SPEC.act_limit as f32;
        let apart = drawn.mapv(|a| (a as f32 / limit).atanh()) - &said.mean;
        let deviation = (apart.mapv(|x| x * x).mean().expect("rows")).sqrt();
        let want = f32::exp(low);
        let near = if low < -10.0 { deviation < 2e-3 } else { (0.8..1.25).contains(&(deviation / want)) };
        assert!(near, "{name}, {options}: the algorithm's deviation is {deviation}, the file's {want}");
    }
}
