//! A policy of a finished run as a file, with a card; and several runs on one page.

use super::*;
use backcast::core::{Key, Policy};
use backcast::export::ExportedPolicy;
use ndarray::Array2;

#[test]
fn a_policy_is_exported_with_a_card() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, run) = (experiment(folder.path(), 30), folder.path().join("run"));
    let run_text = run.display().to_string();
    succeed(&mut xtask(&["run", &file.display().to_string(), "--out", &run_text]));

    let out = |name: &str| folder.path().join(name).display().to_string();
    let (code, text) = said(&xtask(&["export", &run_text, "--to", "onnx", "--out", &out("x.onnx")]).output().unwrap());
    assert_eq!(code, Some(1));
    assert!(text.contains("--method: reverse, mopo"), "{text}");

    let loaded = experiment_of(&run).expect("an experiment");
    for method in &loaded.methods {
        let name = |form: &str| out(&format!("{}.{form}", method.name));
        for form in ["safetensors", "onnx"] {
            succeed(&mut xtask(&["export", &run_text, "--method", &method.name, "--to", form, "--out", &name(form)]));
            let card = std::fs::read_to_string(name(form) + ".md").expect("a card");
            for part in [
                "pendulum-v1",
                "standard error",
                "over 2 episodes",
                "range",
                "fingerprint of the data",
                "updates = 30",
                "generated: 1000 rows",
            ] {
                assert!(card.contains(part), "{part} is missing:\n{card}");
            }
            assert!(!card.contains("95 %"), "an interval of one seed:\n{card}");
        }
        let bytes = std::fs::read(name("safetensors")).expect("a policy");
        let policy = ExportedPolicy::from_safetensors(&bytes).expect("a policy");
        let mut agent = backcast::run::trained(&run, &loaded, method, 0).expect("trained");
        let obs = Array2::from_shape_fn((9, 3), |(i, j)| 2.0 * Key::new(1).fold(3 * i as u64 + j as u64).unit() - 1.0);
        let mut act = Array2::zeros((9, 1));
        agent.as_evaluated().act(obs.view(), None, act.view_mut());
        let answer = policy.answer(obs.view());
        let far = answer.action.iter().zip(&act).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-5, "{}: {far} apart", method.name);
    }
    let events = run.join("tensorboard/mopo-seed-0/events.out.tfevents.0.backcast");
    assert!(std::fs::metadata(events).expect("events").len() > 200);

    // Two runs on one page.
    let second = out("second");
    succeed(&mut xtask(&["run", &file.display().to_string(), "--out", &second, "--set", "name=second"]));
    let page = out("page.html");
    succeed(&mut xtask(&["report", &run_text, &second, "--out", &page]));
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("second: mopo") && page.contains("tiny: mopo") && page.contains("updates"), "{page}");
}
