//! A whole run on a disk that fails: whatever goes wrong at whatever operation, asking again comes to the same bits.

#[path = "../../storage/tests/faulty/mod.rs"]
mod faulty;

use backcast::run::{self, Outcome, Silent};
use backcast::{Error, Experiment};
use faulty::{Fault, Memory, Survival, Unsynced};
use std::{collections::BTreeMap, path::Path};

/// Models, a fitted policy of rollouts, and algorithms that imagine in two ways, all as small as they come.
fn tiny() -> Experiment {
    let text = r#"
        name = "tiny"
        task = "pendulum-v1"
        seeds = "3..4"
        standardise = true
        [data]
        rows = 1000
        [algorithm]
        name = "td3_bc"
        hidden = [4]
        [model]
        hidden = [4, 4, 4, 4]
        max_epochs = 2
        epoch_rows = 256
        [imagination]
        rows = 60
        starts_per_call = 20
        horizon = 2
        policy = "vae"
        [rollout_vae]
        hidden = [4]
        steps = 20
        [training]
        updates = 25
        batch = 4
        eval_every = 10
        eval_episodes = 1
        final_episodes = 1
        [[methods]]
        name = "reverse"
        imagine = "reverse"
        [[methods]]
        name = "mopo"
        algorithm = { name = "mopo", rollouts = { every = 10, starts = 5, horizon = 2, keep = 1, real = 0.5 }, sac = { hidden = [4] } }
    "#;
    Experiment::parse(text).expect("a sound experiment")
}

fn carry_out(disk: &Memory) -> Result<Outcome, Error> {
    run::carry_out_on(disk, &tiny(), Path::new("run"), 1, &Silent)
}

/// What must not differ: everything but seconds.
fn essence(outcome: &Outcome) -> String {
    let mut outcome = outcome.clone();
    outcome.stages.clear();
    outcome.models.iter_mut().for_each(|m| m.seconds = 0.0);
    outcome.learners.iter_mut().for_each(|l| l.seconds = 0.0);
    serde_json::to_string(&outcome).expect("plain values")
}

/// The tensors of every checkpoint, without headers, which hold seconds.
fn tensors(disk: &Memory) -> BTreeMap<String, Vec<u8>> {
    let all = disk.contents().into_iter().map(|(path, bytes)| (path.display().to_string(), bytes));
    let own = all.filter(|(path, _)| path.ends_with(".safetensors"));
    own.map(|(path, bytes)| {
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        (path, bytes[8 + header..].to_vec())
    })
    .collect()
}

#[test]
fn a_run_whose_disk_fails_anywhere_is_finished_by_asking_again() {
    let sound = Memory::default();
    let whole = carry_out(&sound).expect("a sound disk");
    let operations = sound.operations();
    assert!(operations.len() > 60, "{operations:#?}");
    let all: Vec<(usize, Fault)> = (0..operations.len()).flat_map(|at| Fault::ALL.map(|fault| (at, fault))).collect();
    let try_one = |&(at, fault): &(usize, Fault)| {
        let disk = Memory::default().failing(at, fault);
        let result = carry_out(&disk);
        let what = format!("{fault:?} at {at} ({})", operations[at]);
        match &result {
            // Removing what is no longer of use may fail without harm.
            Ok(_) => assert!(operations[at].starts_with("remove") || fault == Fault::Full, "{what}"),
            Err(error) => assert!(fault != Fault::Full || error.is_disk_full(), "{what}: {error}"),
        }
        let last = disk.survivals().last().expect("at least one").names;
        let worst = match fault {
            Fault::Crash => Survival { names: 0, contents: Unsynced::Lost },
            _ => Survival { names: last, contents: Unsynced::Half },
        };
        let disk = if fault.is_crash() { disk.after_crash(worst) } else { disk.mended() };
        let again = carry_out(&disk).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(essence(&again), essence(&whole), "{what}");
        assert_eq!(tensors(&disk), tensors(&sound), "{what}");
    };
    // Neither thread knows of the other: each case has a disk of its own.
    let (one, other) = all.split_at(all.len() / 2);
    std::thread::scope(|scope| {
        [one, other].map(|cases| scope.spawn(|| cases.iter().for_each(try_one))).map(|t| t.join().unwrap())
    });
}
