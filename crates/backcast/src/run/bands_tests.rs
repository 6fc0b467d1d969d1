use super::*;

const TEXT: &str = r#"
    name = "tiny"
    task = "maze2d-umaze-sparse-v1"
    [[methods]]
    name = "one, with a comma"
    [[methods]]
    name = "two"
"#;

fn result(method: &str, seed: u64, shift: f64) -> LearnResult {
    let point = |update: u64| Point {
        update,
        score: 10.0 + shift,
        metrics: vec![("loss".into(), 1.0 / update as f64 + 0.1 * shift)],
    };
    let curve = [100, 200, 300].map(point).into();
    LearnResult { method: method.into(), seed, score: 0.0, score_std: 0.0, curve, seconds: 0.0, warnings: vec![] }
}

/// A finished run with these seeds of both methods.
fn run(folder: &Path, seeds: std::ops::Range<u64>, text: &str) {
    let experiment = Experiment { seeds: Seeds(seeds.clone()), ..Experiment::parse(text).unwrap() };
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("config.toml"), experiment.to_toml()).unwrap();
    for method in &experiment.methods {
        for seed in seeds.clone() {
            let to = learner_folder(folder, method, seed);
            std::fs::create_dir_all(&to).unwrap();
            let result = result(&method.name, seed, [-1.0, 0.0, 1.0, 0.5, -0.3, 0.2][seed as usize % 6]);
            std::fs::write(to.join("result.json"), crate::json::to_string(&result).unwrap()).unwrap();
        }
    }
}

fn bands_of(folders: &[&Path]) -> Result<Bands, Error> {
    Bands::of(&Kept::of(folders)?, 2)
}

#[test]
fn a_band_is_made_of_runs_and_kept_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    run(&a, 0..4, TEXT);
    run(&b, 4..6, TEXT);
    assert!(bands_of(&[&a]).unwrap_err().to_string().contains("4 seeds have finished every method; bands need five"));
    let kept = Kept::of(&[&a, &b]).unwrap();
    let bands = Bands::of(&kept, 2).unwrap();
    assert_eq!((bands.seeds.as_slice(), bands.bands.len()), (&[0, 1, 2, 3, 4, 5][..], 4));
    let score = bands.bands.iter().find(|b| b.method == "two" && b.metric == "score").unwrap();
    let [low, high] = score.at(200).unwrap();
    // All six are inside, about their mean of 10.07, and much further out is not.
    assert!(low < 9.0 && 11.0 < high && low > -20.0 && high < 40.0, "{low} {high}");
    assert!((0.5 * (low + high) - 10.067).abs() < 1e-2, "{low} {high}");
    assert_eq!(score.at(201), None);
    // One seed more in a run, and the bands are wider: the rate is that of the whole.
    let of_nine = Bands::of(&kept, 9).unwrap();
    assert!(of_nine.bands[0].low[0] < bands.bands[0].low[0]);

    let path = folder.path().join("bands.toml");
    std::fs::write(&path, bands.to_toml()).unwrap();
    assert_eq!(Bands::read(&path).unwrap(), Some(bands.clone()));
    assert_eq!(Bands::read(&folder.path().join("none.toml")).unwrap(), None);
    std::fs::write(&path, "rate = 3").unwrap();
    assert!(Bands::read(&path).unwrap_err().to_string().contains("bands.toml"));

    let back = Kept::from_csv(&kept.to_csv(), kept.settings.clone(), &path).unwrap();
    assert_eq!(back.to_csv(), kept.to_csv());
    assert_eq!(back.without(3).seeds.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 4, 5]);
    let near = |a: f64, b: f64| (a - b).abs() < 1e-3;
    assert!(near(Bands::of(&back, 2).unwrap().bands[0].low[0], bands.bands[0].low[0]));
    let error = Kept::from_csv("a,b\n1,2\n", kept.settings, &path).unwrap_err().to_string();
    assert!(error.contains("method,seed,update,score"), "{error}");
}

#[test]
fn runs_of_other_settings_or_of_the_same_seeds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| folder.path().join(name));
    run(&a, 0..5, TEXT);
    run(&b, 2..4, TEXT);
    run(&c, 5..6, &TEXT.replace("name = \"tiny\"", "name = \"tiny\"\nstandardise = true"));
    assert!(bands_of(&[&a, &b]).unwrap_err().to_string().contains("seed 2"));
    assert!(bands_of(&[&a, &c]).unwrap_err().to_string().contains("other settings"));

    let bands = bands_of(&[&a]).unwrap();
    let with = |settings: &[&str]| {
        Experiment::parse_with(TEXT, &settings.iter().map(|&s| s.to_owned()).collect::<Vec<_>>()).unwrap()
    };
    assert!(bands.fits(&with(&["seeds='7..9'", "about='other words'"])));
    assert!(!bands.fits(&with(&["training.batch=7"])));
    let mut others = with(&[]);
    others.methods[0].name = "three".into();
    assert!(bands.fits(&others));
    others.methods[1].algorithm.insert("batch".into(), 7.into());
    assert!(!bands.fits(&others));
}

#[test]
fn a_number_outside_is_complained_of_once() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), 0..6, TEXT);
    let bands = bands_of(&[folder.path()]).unwrap();
    let method = "one, with a comma";
    let mut curve = result(method, 9, 0.3).curve;
    assert_eq!(bands.check(method, &curve), BandCheck { inside: 6, of: 6 });
    for last in 1..=3 {
        assert_eq!(bands.complaints(method, &curve[..last]), Vec::<String>::new());
    }
    curve[1].metrics[0].1 = f64::NAN;
    curve[2].metrics[0].1 = -90.0;
    let [complaint] = &bands.complaints(method, &curve[..2])[..] else { panic!("one complaint") };
    assert!(complaint.contains("loss") && complaint.contains("at update 200"), "{complaint}");
    assert!(complaint.contains("of sound runs 2 in 100"), "{complaint}");
    assert_eq!(bands.complaints(method, &curve), Vec::<String>::new(), "said already");
    assert_eq!(bands.check(method, &curve), BandCheck { inside: 4, of: 6 });
    assert!(bands.stray(&[(method.into(), curve.clone())]));
    curve.push(Point { update: 400, ..curve[2].clone() });
    assert_eq!(bands.complaints(method, &curve), Vec::<String>::new(), "no band at 400");
    assert_eq!(bands.complaints("unknown", &curve), Vec::<String>::new());
}
