//! Experiment files: TOML, its checks, and what is made of it before anything runs.
#![no_main]
use backcast::Experiment;
use backcast_fuzz::bounded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // A table of TOML is some hundred bytes of memory for four of text: the constant and the factor are those of text.
    bounded(bytes.len(), 1024, 4 << 20, || {
        let Ok(experiment) = Experiment::parse(text) else { return };
        let _ = experiment.check();
        for method in &experiment.methods {
            let _ = (experiment.data_of(method), experiment.algorithm_of(method));
        }
        let again = experiment.to_toml();
        assert!(Experiment::parse(&again).is_ok(), "what was parsed and written is refused:\n{again}");
    });
});
