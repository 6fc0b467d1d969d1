use super::*;
use crate::losses::BandReport;

/// A run that never happened, with every piece a report can have.
pub(crate) fn made_up() -> RunReport {
    let curve = |last: f64, wobble: f64| -> Vec<CurvePoint> {
        let point = |i: u64| {
            let t = i as f64 / 40.0;
            let mean = last * (1.0 - (-4.0 * t).exp()) + wobble * (i as f64 * 1.7).sin();
            CurvePoint { step: i * 25_000, mean, lo: mean - 0.2 * last.abs() - 3.0, hi: mean + 0.15 * last.abs() + 3.0 }
        };
        (0..=40).map(point).collect()
    };
    let method = |name: &str, description: &str, scores: &[f64], iqm: f64, ends: [f64; 2], value: f64| MethodReport {
        name: name.into(),
        description: description.into(),
        scores: scores.to_vec(),
        iqm,
        spread: Spread::Interval95(ends),
        curve: curve(iqm, 4.0),
        value_curve: curve(value, 0.3),
        updates_per_second: Some(1234.0),
        robustness: vec![],
    };
    let walk = |i: usize, way: f64| -> Vec<(f64, f64)> {
        let (x, y) = (0.7 + 0.11 * (i % 20) as f64, 2.7 + 0.05 * (i % 7) as f64);
        (0..6).map(|t| (x + way * 0.05 * t as f64, y - 0.03 * (t * (i % 3)) as f64)).collect()
    };
    let (bins_x, bins_y) = (40, 40);
    let free = |b: usize| {
        let (x, y) = ((b / bins_y) as f64 / 8.0, (b % bins_y) as f64 / 8.0);
        let cell = ["#####", "#GOO#", "###O#", "#OOO#", "#####"][x as usize].as_bytes()[y as usize];
        if cell == b'#' { 0.0 } else { 1.0 + 400.0 * (1.0 + (x * 2.0).sin() * (y * 3.0).cos()) }
    };
    let error = |name: &str, rate: f64, start: f64| ModelErrorSeries {
        name: name.into(),
        points: (1..=15)
            .map(|h| {
                (h, start * rate.powi(h as i32), 0.6 * start * rate.powi(h as i32), 1.8 * start * rate.powi(h as i32))
            })
            .collect(),
    };
    let fit = |direction: &str, rmse: f64| ModelFit {
        direction: direction.into(),
        epochs: 42,
        holdout_mse: vec![1.2e-4, 0.9e-4, 1.1e-4, 2.0e-4, 1.0e-4, 1.9e-4, 0.95e-4],
        elites: vec![1, 6, 4, 2, 0],
        seconds: 96.0,
        one_step_rmse: rmse,
        baseline_copy_rmse: 0.0413,
        reward_unexplained: Some(0.0312),
    };
    RunReport {
        experiment: "romi-bcq-umaze".into(),
        task: "maze2d-umaze-v1".into(),
        command: "cargo xtask run experiments/umaze.toml --seeds 0,1,2,3,4".into(),
        commit: "0123abc".into(),
        seeds: vec![0, 1, 2, 3, 4],
        wall_seconds: 4210.0,
        hardware: "two made-up cores, 8 GB".into(),
        methods: vec![
            method(
                "ROMI-BCQ",
                "BCQ on data mixed with paths imagined backwards",
                &[118.2, 131.0, 96.4, 124.9, 120.1],
                121.0,
                [99.0, 130.0],
                31.0,
            ),
            method(
                "FOMI-BCQ",
                "the same, imagined forwards",
                &[70.0, 84.0, 61.0, 92.0, 66.0],
                73.3,
                [62.0, 90.0],
                28.0,
            ),
            method("BCQ", "the data alone", &[20.0, 41.0, 28.0, 33.0, 12.0], 27.0, [14.0, 39.0], 14.0),
            method(
                "TD3+BC",
                "a regulariser instead of a generative model",
                &[8.0, 15.0, -4.0, 22.0, 11.0],
                11.3,
                [-2.0, 20.0],
                66.0,
            ),
        ],
        sensitivity: vec![],
        published: vec![("ROMI-BCQ, published".into(), 139.5, "recalled from the paper; other data".into())],
        maze: Some(MazeReport {
            rows: ["#####", "#GOO#", "###O#", "#OOO#", "#####"].map(String::from).to_vec(),
            occupancy: (bins_x, bins_y, (0..bins_x * bins_y).map(free).collect()),
            reverse: (0..30).map(|i| walk(i, 1.0)).collect(),
            forward: (0..30).map(|i| walk(i, -1.0)).collect(),
            goal: (1.0, 1.0),
            goal_radius: 0.5,
        }),
        free_space: vec![ModelErrorSeries {
            name: "reverse".into(),
            points: vec![(0, 100.0, 100.0, 100.0), (1, 99.0, 98.0, 99.5)],
        }],
        model_error: vec![
            error("reverse", 1.22, 0.004),
            error("forward", 1.2, 0.0045),
            error("copy the state", 1.12, 0.05),
        ],
        model_report: vec![fit("reverse", 0.00412), fit("forward", 0.00398)],
        data: DataReport {
            source: "maze2d-umaze, regenerated <200k>".into(),
            rows: 200_000,
            episodes: 2491,
            mean_return: 5.87,
            fingerprint: "0123456789abcdef".into(),
        },
        stages: [("load data", 1.2), ("fit models", 192.0), ("imagine", 14.0), ("learn", 3900.0), ("evaluate", 102.0)]
            .map(|(n, s)| (n.to_owned(), s))
            .to_vec(),
        config_toml: "[algorithm]\nname = \"bcq\"\nphi = 0.05\n".into(),
        warnings: vec!["ROMI-BCQ, seed 3: its critics diverge".into()],
        metrics: vec![MetricReport {
            name: "critic_loss".into(),
            curves: vec![curve(2.0, 0.1), vec![], curve(1.0, 0.05), vec![]],
        }],
        expected: Some(ExpectedReport {
            inside: 81,
            of: 82,
            rate: 0.02,
            seeds: 4,
            bands: vec![
                BandReport {
                    method: "BCQ".into(),
                    metric: "critic_loss".into(),
                    points: (0..=40).map(|i| (i * 25_000, 0.2, 1.4)).collect(),
                },
                BandReport {
                    method: "a method left out".into(),
                    metric: "critic_loss".into(),
                    points: vec![(0, 1.0, 2.0)],
                },
            ],
        }),
    }
}

#[test]
fn the_page_has_every_piece_and_needs_nothing_else() {
    let run = made_up();
    let page = html(&run);
    assert!(page.contains("81 of 82 numbers") && page.matches(">expected<").count() == 1);
    for piece in [
        "ROMI-BCQ",
        "FOMI-BCQ",
        "121.0",
        "99.0 to 130.0",
        "118.2",
        "139.5",
        "recalled from the paper",
        "cargo xtask run experiments/umaze.toml",
        "0123abc",
        "two made-up cores",
        "1 h 10 min",
        "200\u{202f}000",
        "roads into the data",
        "roads out of the data",
        "imagined steps",
        "copy the state",
        "mean Q of the batch",
        "0.00412",
        "0.0413",
        "phi = 0.05",
        "fit models",
        "regenerated &lt;200k&gt;",
    ] {
        assert!(page.contains(piece), "`{piece}` is missing");
    }
    assert_eq!(page.matches("<svg xmlns").count(), figures(&run).len() + run.metrics.len());
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    // Self-contained: the only address is the name of the drawing format.
    let alone = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for outside in ["http:", "https:", "<script", "<link", "<img", "url(", "@import", "src="] {
        assert!(!alone.contains(outside), "`{outside}` reaches outside");
    }
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("width=device-width"));
    assert!(!page.contains("NaN"));
}

#[test]
fn a_run_with_little_to_show_still_makes_a_page() {
    let mut run = made_up();
    (run.maze, run.model_error, run.model_report, run.published, run.stages) = (None, vec![], vec![], vec![], vec![]);
    run.methods.truncate(1);
    run.methods[0].curve.clear();
    run.methods[0].scores = vec![f64::NAN];
    run.methods[0].spread = Spread::Range([f64::NAN; 2]);
    run.seeds = vec![7];
    let page = html(&run);
    assert!(page.contains("Fewer than five seeds") && page.contains("nothing recorded"));
    assert!(!page.contains("95 %"), "an interval of one seed");
    assert!(!page.contains("The models") && !page.contains("roads into"));
    assert!(!page.contains("cx=\"NaN\""));
    run.methods.clear();
    html(&run);
}

#[test]
fn a_report_survives_its_file() {
    let mut run = made_up();
    run.methods[3].value_curve[40].mean = f64::INFINITY;
    let text = backcast::json::to_string(&run).unwrap();
    // The last digit of a number may be lost in the file; nothing that is shown may.
    let back: RunReport = backcast::json::from_str(&text).unwrap();
    assert!(html(&back) == html(&run) && crate::table::table(&back) == crate::table::table(&run));
}

#[test]
fn the_report_command_builds_the_page_and_the_figures_from_the_file() {
    let folder = std::env::temp_dir().join(format!("backcast-report-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("report.json"), backcast::json::to_string(&made_up()).unwrap()).unwrap();
    main(Args { runs: vec![folder.clone()], out: None, figures: Some(folder.join("figures")) }).unwrap();
    assert!(std::fs::read_to_string(folder.join("report.html")).unwrap().contains("ROMI-BCQ"));
    let figure = std::fs::read_to_string(folder.join("figures/reverse.svg")).unwrap();
    assert!(figure.starts_with("<svg") && figure.contains("<style>"));
    // A page does not take the place of what it is made from.
    let record = Some(folder.join("report.json"));
    let error = main(Args { runs: vec![folder.clone()], out: record, figures: None }).unwrap_err();
    assert!(error.to_string().contains("a record of the run itself"), "{error}");
    let error = main(Args { runs: vec![folder.join("nowhere")], out: None, figures: None }).unwrap_err();
    assert!(format!("{error:#}").contains("report.json"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn numbers_are_shown_as_a_person_would_say_them() {
    assert_eq!([2.34, 59.7, 96.0, 4210.0].map(clock), ["2.3 s", "1 min 00 s", "1 min 36 s", "1 h 10 min"]);
    assert_eq!([0.004123, 12.345, 1234.5].map(significant), ["0.00412", "12.3", "1234"]);
    assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
}

/// `BACKCAST_PAGE=folder cargo test -p xtask look` leaves the made-up page there, to be looked at.
#[test]
fn the_made_up_page_can_be_looked_at() {
    let Some(folder) = std::env::var_os("BACKCAST_PAGE").map(PathBuf::from) else { return };
    std::fs::write(folder.join("report.html"), html(&made_up())).unwrap();
}
