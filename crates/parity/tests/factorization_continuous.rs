//! Algorithms of teams beside updates that other code recorded, and that the comparison can fail. What the files hold: `golden/factorization/team/README.md`.

use backcast_core::{Algorithm, Batch, Key, Learner, Metrics, Real, Slot, Spec, State};
use backcast_factorization::team::{Method, Team, cfcql, icq, ma_cql, macql, omar, td3_bc};
use backcast_nn::{Arena, Draw, Parameterised, RecordedDraws};
use backcast_parity::recording::read_note;
use ndarray::{Array2, ArrayView2};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;

const FILES: [(&str, &[u8]); 7] = [
    ("td3-bc", include_bytes!("golden/factorization/team/td3-bc.safetensors")),
    ("ma-cql", include_bytes!("golden/factorization/team/ma-cql.safetensors")),
    ("omar", include_bytes!("golden/factorization/team/omar.safetensors")),
    ("macql", include_bytes!("golden/factorization/team/macql.safetensors")),
    ("cfcql", include_bytes!("golden/factorization/team/cfcql.safetensors")),
    ("cfcql-near", include_bytes!("golden/factorization/team/cfcql-near.safetensors")),
    ("icq", include_bytes!("golden/factorization/team/icq.safetensors")),
];

/// What is called otherwise than when these were recorded: the path of a key then, and the key now. OMAR searches with `samples` still.
const RENAMED: &[(&str, &str)] = &[
    ("shared.rate", "lr"),
    ("shared.polyak", "tau"),
    ("samples", "n_action_samples"),
    ("cql.shared.rate", "lr"),
    ("cql.shared.polyak", "tau"),
    ("cql.samples", "n_action_samples"),
];

/// An algorithm whose random numbers can be recorded ones.
trait Replayed: Learner {
    fn arena(&mut self) -> &mut Arena;
}

impl<M: Method> Replayed for Team<M> {
    fn arena(&mut self) -> &mut Arena {
        self.store_mut().arena_mut()
    }
}

impl Replayed for icq::Icq {
    fn arena(&mut self) -> &mut Arena {
        self.store_mut().arena_mut()
    }
}

#[derive(Clone)]
struct Tensor {
    shape: Vec<usize>,
    values: Vec<f64>,
}

#[derive(Clone)]
struct Fixture {
    algorithm: String,
    config: String,
    spec: Spec,
    tensors: BTreeMap<String, Tensor>,
}

fn fixture(name: &str) -> Fixture {
    let (_, bytes) = FILES.iter().find(|(file, _)| *file == name).expect("a committed file");
    let (_, head) = SafeTensors::read_metadata(bytes).expect("a head");
    let notes = head.metadata().clone().expect("notes");
    let tensors = SafeTensors::deserialize(bytes).expect("a safetensors file");
    let read = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let values = match view.dtype() {
            Dtype::F32 => view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b) as f64).collect(),
            Dtype::F64 => view.data().as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            other => panic!("{name} is of type {other:?}"),
        };
        (name, Tensor { shape: view.shape().to_vec(), values })
    };
    Fixture {
        algorithm: notes["algorithm"].clone(),
        config: notes["config"].clone(),
        spec: serde_json::from_str(&notes["spec"]).expect("a spec"),
        tensors: tensors.tensors().into_iter().map(read).collect(),
    }
}

fn learner(f: &Fixture) -> Box<dyn Replayed> {
    fn made<A: Algorithm>(f: &Fixture) -> Box<dyn Replayed>
    where
        A::Learner: Replayed + 'static,
    {
        let config: A = read_note(&f.config, RENAMED).expect("a configuration");
        Box::new(config.build(f.spec, Key::new(0)).expect("a sound configuration"))
    }
    match f.algorithm.as_str() {
        "ma_td3_bc" => made::<td3_bc::Config>(f),
        "ma_cql" => made::<ma_cql::Config>(f),
        "omar" => made::<omar::Config>(f),
        "macql" => made::<macql::Config>(f),
        "cfcql" => made::<cfcql::Config>(f),
        "icq" => made::<icq::Config>(f),
        other => panic!("no algorithm is called {other}"),
    }
}

/// Every tensor that is no optimiser's, in order.
fn parameters(learner: &mut dyn State) -> Vec<(String, Vec<f64>)> {
    let mut all = Vec::new();
    learner.visit(&mut |name, slot| {
        if let (false, Slot::Tensor(_, values)) = (name.contains("_adam."), slot) {
            all.push((name.to_owned(), values.iter().map(|&x| x as f64).collect()));
        }
    });
    all
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn off(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
}

/// NaN does not hold.
fn holds(error: f64, bound: f64) -> bool {
    error <= bound
}

/// What does not hold, by name: losses to 10⁻⁴, first gradients, last values and changes to 10⁻³, relative, with a floor of 10⁻³ of the
/// largest, the largest gradient, or the first value.
fn failures(f: &Fixture) -> Vec<String> {
    let mut learner = learner(f);
    let mut missing = Vec::new();
    learner.visit(&mut |name, slot| match slot {
        Slot::Tensor(shape, values) if !name.contains("_adam.") => match f.tensors.get(&format!("params/{name}")) {
            Some(found) if found.shape == shape => {
                values.iter_mut().zip(&found.values).for_each(|(x, &v)| *x = v as Real);
            }
            _ => missing.push(name.to_owned()),
        },
        _ => {}
    });
    assert!(missing.is_empty(), "not recorded: {missing:?}");
    let first = parameters(&mut *learner);
    let column = |name: &str, update: usize| {
        let found = f.tensors.get(&format!("batch/{name}"))?;
        let (rows, cols) = (found.shape[1], found.shape[2]);
        let values = found.values[update * rows * cols..][..rows * cols].iter().map(|&x| x as Real).collect();
        Some(Array2::from_shape_vec((rows, cols), values).expect("a matrix"))
    };
    let mut wrong = Vec::new();
    let mut gradients: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut losses: BTreeMap<&str, Vec<Option<Real>>> = BTreeMap::new();
    let updates = f.tensors["batch/reward"].shape[0];
    for update in 0..updates {
        let get = |name| column(name, update).expect("a column");
        let [obs, act, reward, next_obs, terminal] = ["obs", "act", "reward", "next_obs", "terminal"].map(get);
        let next_act = column("next_act", update);
        let batch = Batch {
            spec: f.spec,
            obs: obs.view(),
            act: act.view(),
            reward: reward.view(),
            next_obs: next_obs.view(),
            terminal: terminal.view(),
            next_act: next_act.as_ref().map(|a| -> ArrayView2<'_, Real> { a.view() }),
            real: reward.nrows(),
        };
        let draws = (0..).map_while(|i| f.tensors.get(&format!("draws/{update}/{i}")));
        let real = |t: &Tensor| Draw { shape: t.shape.clone(), values: t.values.iter().map(|&x| x as Real).collect() };
        let replay = RecordedDraws::new(draws.map(real).collect());
        learner.arena().set_replay(Some(replay));
        let metrics: Metrics = learner.update(batch, Key::new(1));
        if let Err(error) = learner.arena().take_replay().expect("a replay").finish() {
            wrong.push(format!("update {update}: {error}"));
        }
        for name in ["critic_loss", "actor_loss", "penalty", "q"] {
            losses.entry(name).or_default().push(metrics.get(name));
        }
        // After an optimiser's first step its first moment is a tenth of the gradient.
        let mut moments: BTreeMap<String, (Vec<f64>, u64)> = BTreeMap::new();
        learner.visit(&mut |name, slot| match (name.split_once("_adam."), slot) {
            (Some((who, "m")), Slot::Tensor(_, m)) => {
                moments.entry(who.to_owned()).or_default().0 = m.iter().map(|&m| 10.0 * m as f64).collect();
            }
            (Some((who, "steps")), Slot::Count(steps)) => moments.entry(who.to_owned()).or_default().1 = *steps,
            _ => {}
        });
        for (who, (moment, steps)) in moments {
            if steps == 1 {
                gradients.entry(who).or_insert(moment);
            }
        }
    }
    for (name, ours) in losses {
        let Some(theirs) = f.tensors.get(&format!("losses/{name}")) else {
            assert!(ours.iter().all(Option::is_none), "{name} is not recorded");
            continue;
        };
        let largest = theirs.values.iter().filter(|x| x.is_finite()).fold(0.0f64, |a, x| a.max(x.abs()));
        for (update, (ours, theirs)) in ours.iter().zip(&theirs.values).enumerate() {
            let error = match ours {
                None if theirs.is_nan() => 0.0,
                None => f64::INFINITY,
                Some(ours) => (*ours as f64 - theirs).abs() / theirs.abs().max(1e-3 * largest),
            };
            if !holds(error, 1e-4) {
                wrong.push(format!("{name}, update {update}: {error:e}"));
            }
        }
    }
    let last = parameters(&mut *learner);
    for (who, gradient) in gradients {
        let of = match (who.as_str(), f.algorithm.as_str()) {
            ("critic", "icq") => vec!["critic.", "credit.", "bias."],
            ("critic", _) => vec!["critic_1.", "critic_2."],
            ("actor", _) => vec!["actor."],
            _ => vec!["behaviour."],
        };
        let mut from = 0;
        let mine = first.iter().filter(|(name, _)| of.iter().any(|prefix| name.starts_with(prefix)));
        let theirs = |name: &str| &f.tensors[&format!("gradients/{name}")].values;
        let largest = mine.clone().map(|(name, _)| norm(theirs(name))).fold(0.0, f64::max);
        for (name, values) in mine {
            let ours = &gradient[from..from + values.len()];
            from += values.len();
            let error = off(ours, theirs(name)) / norm(theirs(name)).max(1e-3 * largest);
            if !holds(error, 1e-3) {
                wrong.push(format!("gradient of {name}: {error:e}"));
            }
        }
        assert_eq!(from, gradient.len(), "{who}: an optimiser of other tensors");
    }
    for ((name, before), (_, ours)) in first.iter().zip(&last) {
        let theirs = &f.tensors[&format!("final/{name}")].values;
        let change = off(theirs, before).max(1e-3 * norm(before));
        let apart = off(ours, theirs);
        if !(holds(apart, 1e-3 * norm(theirs)) && holds(apart, 1e-3 * change)) {
            wrong.push(format!("{name} at last: {:e} of its change", apart / change));
        }
    }
    wrong
}

#[test]
fn everything_equals_its_fixtures() {
    for (name, _) in FILES {
        let wrong = failures(&fixture(name));
        assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn one_number_nudged_is_refused() {
    for (name, path, nudge) in [
        ("td3-bc", "losses/actor_loss", 3e-4),
        ("ma-cql", "losses/penalty", 3e-3),
        ("ma-cql", "gradients/critic_2.1.weight", 1e-2),
        ("omar", "gradients/actor.0.weight", 1e-2),
        ("omar", "draws/0/2", 0.5),
        ("omar", "final/actor.2.bias", 1e-4),
        ("macql", "batch/obs", 1e-1),
        ("cfcql", "draws/1/0", 0.5),
        ("cfcql", "final/critic_1_target.0.weight", 1e-3),
        ("cfcql-near", "gradients/behaviour.0.weight", 1e-2),
        ("icq", "batch/next_act", 0.2),
        ("icq", "gradients/actor.log_std", 1e-2),
        ("icq", "params/credit_target.2.bias", 0.2),
    ] {
        let mut f = fixture(name);
        let tensor = f.tensors.get_mut(path).unwrap_or_else(|| panic!("{name} has no {path}"));
        // Of losses the first that there is; of draws and batches all: a search may have no use for one, and nothing follows a terminal.
        let at = tensor.values.iter().position(|x| x.is_finite()).expect("a number");
        let all = path.starts_with("draws") || path.starts_with("batch");
        let count = if all { tensor.values.len() } else { 1 };
        tensor.values[at..].iter_mut().take(count).for_each(|x| *x += nudge);
        assert!(!failures(&f).is_empty(), "{name}: {path} was nudged and everything holds");
    }
}

#[test]
fn another_setting_is_refused() {
    for (name, from, to) in [
        ("td3-bc", r#""alpha": 2.5"#, r#""alpha": 2.4"#),
        ("ma-cql", r#""alpha": 0.7"#, r#""alpha": 0.71"#),
        ("ma-cql", r#""clip": 0.5"#, r#""clip": 0.6"#),
        ("ma-cql", r#""action_cost": 0.001"#, r#""action_cost": 0.003"#),
        ("omar", r#""coefficient": 0.6"#, r#""coefficient": 0.61"#),
        ("omar", r#""std": 2.0"#, r#""std": 1.9"#),
        ("macql", r#""alone": true"#, r#""alone": false"#),
        ("macql", r#""period": 2"#, r#""period": 1"#),
        ("cfcql", r#""noise": 0.05"#, r#""noise": 0.06"#),
        ("cfcql-near", r#"{"near": 0.8}"#, r#"{"near": 0.9}"#),
        ("cfcql-near", r#"{"near": 0.8}"#, r#""even""#),
        ("icq", r#""policy_temperature": 0.5"#, r#""policy_temperature": 0.51"#),
        ("icq", r#""value_temperature": 5.0"#, r#""value_temperature": 5.5"#),
    ] {
        let mut f = fixture(name);
        assert!(f.config.contains(from), "{name}: {}", f.config);
        f.config = f.config.replace(from, to);
        assert!(!failures(&f).is_empty(), "{name}: {to} goes unnoticed");
    }
}
