//! Clones that draw an action factor by factor, compared with a policy that is known.

use approx::abs_diff_eq;
use backcast_core::{Key, Policy, Real, Spec, Transitions, fingerprint, restore, snapshot};
use backcast_dynamics::{BinnedClone, BinnedConfig, Condition, Factors};
use ndarray::Array2;

const SPEC: Spec = Spec::new(1, 3).with_act_limit(2.0);
const BINS: usize = 4;

/// The chance of each bin of column `col`, leaning one way or the other with the state.
fn chances(col: usize, state: Real) -> [Real; BINS] {
    let weight = |bin: usize| (1.5 * state * (bin as Real - 1.5) * if col == 1 { -1.0 } else { 1.0 }).exp();
    let all: [Real; BINS] = std::array::from_fn(weight);
    let sum: Real = all.iter().sum();
    all.map(|w| w / sum)
}

/// Rows of the policy; with `copies`, the last two columns are in the first one's bin.
fn dataset(rows: usize, copies: bool, key: Key) -> Transitions {
    let mut dataset = Transitions::new(SPEC);
    for row in 0..rows {
        let key = key.fold(row as u64);
        let state = if key.name("state").unit() < 0.5 { 1.0 } else { -1.0 };
        let mut act = [0.0; 3];
        let mut first = 0;
        for (col, a) in act.iter_mut().enumerate() {
            let mut left = key.name("bin").fold(col as u64).unit();
            let bin = chances(col, state).iter().position(|p| {
                left -= p;
                left < 0.0
            });
            let bin = if copies && col > 0 { first } else { bin.unwrap_or(BINS - 1) };
            first = if col == 0 { bin } else { first };
            *a = 2.0 * ((bin as Real + key.name("within").fold(col as u64).unit()) / BINS as Real * 2.0 - 1.0);
        }
        dataset.push(&[0.0], &act, 0.0, &[state], false);
    }
    dataset
}

fn fitted(factors: Factors, dataset: &Transitions) -> BinnedClone {
    let config = BinnedConfig {
        bins: BINS,
        factors,
        hidden: vec![],
        lr: 2e-2,
        batch: 64,
        steps: 500,
        ..BinnedConfig::default()
    };
    let mut clone = BinnedClone::new(config, SPEC, Key::new(1)).unwrap();
    clone.fit(dataset, Key::new(2), &mut |_, _| true);
    clone
}

/// How many nats a row of rows that nobody learnt from costs beyond what it must: KL(π ‖ clone).
fn excess(clone: &mut BinnedClone, copies: bool) -> Real {
    let tried = dataset(2000, copies, Key::new(77));
    let batch = tried.batch();
    let said = clone.log_density(batch.next_obs, batch.act);
    let truth = |row: usize| {
        let bin = |col: usize| (((batch.act[[row, col]] / 2.0 + 1.0) * 0.5 * BINS as Real) as usize).min(BINS - 1);
        let columns = if copies { 1 } else { 3 };
        let chance: Real = (0..columns).map(|col| chances(col, batch.next_obs[[row, 0]])[bin(col)].ln()).sum();
        chance + 3.0 * (BINS as Real / 2.0).ln()
    };
    said.iter().enumerate().map(|(row, said)| truth(row) - said).sum::<Real>() / said.len() as Real
}

#[test]
fn independent_factors_need_fewer_rows_than_joint_actions() {
    for rows in [60, 250] {
        let dataset = dataset(rows, false, Key::new(3));
        let [apart, joint] = [Factors::Independent, Factors::Joint].map(|f| excess(&mut fitted(f, &dataset), false));
        assert!(apart >= -0.05 && apart < 0.35 * joint, "{rows} rows: {apart} and {joint}");
    }
    // A quarter of the rows is enough, and more than enough.
    let few = excess(&mut fitted(Factors::Independent, &dataset(50, false, Key::new(3))), false);
    let many = excess(&mut fitted(Factors::Joint, &dataset(200, false, Key::new(3))), false);
    assert!(few < 0.8 * many, "{few} of 50 rows, {many} of 200");
}

#[test]
fn factors_that_depend_on_each_other_must_know_those_before() {
    let dataset = dataset(600, true, Key::new(4));
    let [apart, chained] = [Factors::Independent, Factors::Chained].map(|f| excess(&mut fitted(f, &dataset), true));
    assert!(chained < 0.15, "{chained}");
    assert!(apart > 1.0, "two columns that copy the first are no surprise: {apart}");
    // And draws by it are like the dataset's: no column in another bin than the first.
    let mut clone = fitted(Factors::Chained, &dataset);
    let mut act = Array2::zeros((1500, 3));
    clone.act(Array2::ones((1500, 1)).view(), Some(Key::new(5)), act.view_mut());
    let bin = |a: Real| (((a / 2.0 + 1.0) * 0.5 * BINS as Real) as usize).min(BINS - 1);
    let copies = act.rows().into_iter().filter(|a| bin(a[0]) == bin(a[1]) && bin(a[0]) == bin(a[2])).count();
    assert!(copies > 1350, "{copies} of 1500");
}

/// Actions are drawn as often as the clone says, in the box, by row and not by neighbours; without a key the likeliest.
#[test]
fn draws_follow_the_density() {
    let dataset = dataset(600, false, Key::new(6));
    for factors in [Factors::Independent, Factors::Chained, Factors::Joint] {
        let mut clone = fitted(factors, &dataset);
        let rows = 4000;
        let (states, mut act) = (Array2::ones((rows, 1)), Array2::zeros((rows, 3)));
        clone.act(states.view(), Some(Key::new(7)), act.view_mut());
        assert!(act.iter().all(|a| a.abs() <= 2.0));
        let top = act.rows().into_iter().filter(|a| a[0] >= 1.0).count() as Real / rows as Real;
        // The first column's last bin, given what its clone learnt: the chance is 0.78 in truth.
        let want = chances(0, 1.0)[3];
        assert!(abs_diff_eq!(top, want, epsilon = 0.08), "{factors:?}: {top} and {want}");
        let mut alone = Array2::zeros((2, 3));
        clone.act(states.slice(ndarray::s![..2, ..]), Some(Key::new(7)), alone.view_mut());
        assert_eq!(alone, act.slice(ndarray::s![..2, ..]));
        clone.act(states.slice(ndarray::s![..2, ..]), None, alone.view_mut());
        assert_eq!(alone.row(0).to_vec(), [1.5, -1.5, 1.5], "{factors:?}");
    }
}

#[test]
fn it_saves_and_goes_on_and_refuses_nonsense() {
    let dataset = dataset(50, false, Key::new(8));
    let build = |seed| {
        let config = BinnedConfig { factors: Factors::Chained, hidden: vec![8], steps: 10, ..BinnedConfig::default() };
        BinnedClone::new(config, SPEC, Key::new(seed)).unwrap()
    };
    let (mut a, mut b) = (build(1), build(2));
    a.fit(&dataset, Key::new(3), &mut |step, _| step < 5);
    restore(&mut b, &snapshot(&mut a)).unwrap();
    [&mut a, &mut b].into_iter().for_each(|clone| clone.fit(&dataset, Key::new(3), &mut |_, _| true));
    assert_eq!((a.steps(), fingerprint(&mut a)), (10, fingerprint(&mut b)));
    let sound = BinnedConfig { condition: Condition::State, ..BinnedConfig::default() };
    for (field, config) in [
        ("bins", BinnedConfig { bins: 1, ..sound.clone() }),
        ("bins", BinnedConfig { bins: 40, factors: Factors::Joint, ..sound.clone() }),
        ("hidden", BinnedConfig { hidden: vec![0], ..sound.clone() }),
        ("lr", BinnedConfig { lr: 0.0, ..sound.clone() }),
        ("weight_decay", BinnedConfig { weight_decay: -1.0, ..sound.clone() }),
        ("batch", BinnedConfig { batch: 0, ..sound.clone() }),
    ] {
        assert_eq!(BinnedClone::new(config, SPEC, Key::new(1)).unwrap_err().field, field);
    }
}
