//! The rollout loop on an environment that is known exactly: s′ = s + M·a on the plane, r = s₀ + a₀, two members of which one lies.

use approx::{abs_diff_eq, assert_abs_diff_eq};
use backcast_core::{
    Column, Direction, Dynamics, Imagined, Key, Policy, Prediction, Real, RolloutSummary, Sampling, Sink, Slot, Source,
    Spec, State, Transitions, never,
};
use backcast_dynamics::{BinnedClone, BinnedConfig, Factors};
use backcast_imagination::{
    Anchor, CycleCheck, Drive, Halt, HorizonConfig, ImagineConfig, Imaginer, RowsWhere, StopRule, Trace, Uniform,
    model_error,
};
use backcast_penalties::{MaxPairwise, NoPenalty, Penalty};
use ndarray::{Array3, ArrayView2, ArrayViewMut2};

const SPEC: Spec = Spec::new(2, 1);

fn reward(s: &[Real], a: &[Real]) -> Real {
    s[0] + a[0]
}

/// Actions of 1/8 keep every sum exact in binary, so that continuity can be tested with `==`.
fn next(s: &[Real], a: &[Real]) -> [Real; 2] {
    [s[0] + a[0], s[1] - 0.5 * a[0]]
}

/// Members 0 and 2 are right; member 1 is off by `bias` in every column and is no elite.
struct ExactModel {
    direction: Direction,
    elites: Vec<usize>,
    bias: Real,
    mean: Array3<Real>,
    std: Array3<Real>,
}

impl ExactModel {
    fn new(direction: Direction) -> Self {
        let none = Array3::zeros((0, 0, 0));
        Self { direction, elites: vec![0, 2], bias: 3.0, mean: none.clone(), std: none }
    }
}

impl State for ExactModel {
    fn visit(&mut self, _: &mut dyn FnMut(&str, Slot<'_>)) {}
}

impl Dynamics for ExactModel {
    fn spec(&self) -> Spec {
        SPEC
    }
    fn direction(&self) -> Direction {
        self.direction
    }
    fn elites(&self) -> &[usize] {
        &self.elites
    }
    fn predict(&mut self, [from, act]: [ArrayView2<'_, Real>; 2]) -> Prediction<'_> {
        let rows = from.nrows();
        self.mean = Array3::zeros((3, rows, 3));
        self.std = Array3::zeros((3, rows, 3));
        for row in 0..rows {
            let (f, a) = (from.row(row).to_vec(), act.row(row).to_vec());
            let (to, s) = match self.direction {
                Direction::Forward => (next(&f, &a), f.clone()),
                _ => ([f[0] - a[0], f[1] + 0.5 * a[0]], vec![f[0] - a[0], f[1] + 0.5 * a[0]]),
            };
            for member in 0..3 {
                let off = if member == 1 { self.bias } else { 0.0 };
                for (c, x) in [reward(&s, &a), to[0], to[1]].into_iter().enumerate() {
                    self.mean[[member, row, c]] = x + off;
                }
            }
        }
        Prediction { mean: self.mean.view(), std: self.std.view() }
    }
}

/// Actions −1, −7/8 … 1, whatever the state.
struct Eighths;

impl Policy for Eighths {
    fn spec(&self) -> Spec {
        SPEC
    }
    fn act(&mut self, _: ArrayView2<'_, Real>, key: Option<Key>, mut act: ArrayViewMut2<'_, Real>) {
        let key = key.expect("imagination samples");
        act.iter_mut().enumerate().for_each(|(i, a)| *a = key.below(17, i) as Real / 8.0 - 1.0);
    }
}

fn dataset(rows: usize) -> Transitions {
    let (key, mut dataset) = (Key::new(3), Transitions::new(SPEC));
    for i in 0..rows {
        let x = |j: usize| key.fold(j as u64).below(65, i) as Real / 8.0 - 4.0;
        let (s, a) = ([x(0), x(1)], [x(2) / 4.0]);
        dataset.push(&s, &a, reward(&s, &a), &next(&s, &a), i % 10 == 9);
    }
    dataset
}

fn imaginer(change: impl FnOnce(&mut ImagineConfig), end: backcast_core::Termination) -> Imaginer<NoPenalty> {
    let mut config = ImagineConfig { horizon: 4, starts_per_call: 50, ..ImagineConfig::default() };
    change(&mut config);
    Imaginer::new(config, end, NoPenalty).unwrap()
}

fn rolled(direction: Direction, mut imaginer: Imaginer<NoPenalty>, dataset: &Transitions) -> Trace {
    let mut trace = Trace::new(SPEC);
    let summary = imaginer.imagine(&mut ExactModel::new(direction), dataset, &mut Eighths, Key::new(5), &mut trace);
    assert_eq!(summary.stored, trace.transitions.len());
    assert_eq!(summary.terminal, trace.transitions.values(Column::Terminal).iter().filter(|&&d| d == 1.0).count());
    trace
}

fn has_row(dataset: &Transitions, column: Column, state: &[Real]) -> bool {
    (0..dataset.len()).any(|row| dataset.row(column, row) == state)
}

#[test]
fn transitions_are_stored_in_forward_time_in_both_directions() {
    let dataset = dataset(100);
    for direction in [Direction::Forward, Direction::Reverse] {
        let trace = rolled(direction, imaginer(|_| (), never), &dataset);
        assert_eq!(trace.transitions.len(), 200, "{direction:?}");
        for row in 0..trace.transitions.len() {
            let (s, a) = (trace.transitions.row(Column::Obs, row), trace.transitions.row(Column::Act, row));
            assert_eq!(trace.transitions.row(Column::NextObs, row), next(s, a), "{direction:?}, row {row}");
            assert_eq!(trace.transitions.row(Column::Reward, row), [reward(s, a)], "{direction:?}, row {row}");
        }
    }
}

#[test]
fn chains_are_continuous_and_end_in_real_states() {
    let dataset = dataset(100);
    for anchor in [Anchor::State, Anchor::NextState] {
        let real = if anchor == Anchor::State { Column::Obs } else { Column::NextObs };
        for direction in [Direction::Forward, Direction::Reverse] {
            let trace = rolled(direction, imaginer(|c| c.anchor = anchor, never), &dataset);
            // The side of a transition nearer to the data, and the farther one.
            let (near, far) = match direction {
                Direction::Reverse => (Column::NextObs, Column::Obs),
                _ => (Column::Obs, Column::NextObs),
            };
            for chain in trace.chains().iter().filter(|c| !c.is_empty()) {
                assert_eq!(chain.len(), 4);
                assert!(
                    has_row(&dataset, real, trace.transitions.row(near, chain[0])),
                    "{direction:?} from {anchor:?}"
                );
                for (step, pair) in chain.windows(2).enumerate() {
                    assert_eq!([trace.step[pair[0]], trace.step[pair[1]]], [step, step + 1]);
                    assert_eq!(
                        trace.transitions.row(far, pair[0]),
                        trace.transitions.row(near, pair[1]),
                        "{direction:?}"
                    );
                }
            }
        }
    }
}

/// A reverse policy that draws factor by factor is a policy like any other: its chains end in real states, its actions are the dataset's.
#[test]
fn chains_of_a_policy_of_factors_end_in_real_states() {
    let dataset = dataset(100);
    for factors in [Factors::Independent, Factors::Chained] {
        let config = BinnedConfig { factors, bins: 4, hidden: vec![8], steps: 50, ..BinnedConfig::default() };
        let mut policy = BinnedClone::new(config, SPEC, Key::new(1)).unwrap();
        policy.fit(&dataset, Key::new(2), &mut |_, _| true);
        let mut trace = Trace::new(SPEC);
        let mut model = ExactModel::new(Direction::Reverse);
        let summary = imaginer(|_| {}, never).imagine(&mut model, &dataset, &mut policy, Key::new(5), &mut trace);
        assert_eq!(summary.stored, 4 * 50);
        for chain in trace.chains() {
            assert_eq!(chain.len(), 4);
            // From the recorded state backwards: it is where the chain ends.
            assert!(has_row(&dataset, Column::Obs, trace.transitions.row(Column::NextObs, chain[0])), "{factors:?}");
            for pair in chain.windows(2) {
                let (earlier, later) =
                    (trace.transitions.row(Column::NextObs, pair[1]), trace.transitions.row(Column::Obs, pair[0]));
                assert_eq!(earlier, later, "{factors:?}");
            }
        }
        assert!(trace.transitions.values(Column::Act).iter().all(|a| a.abs() <= SPEC.act_limit));
    }
}

/// The checker lies where s₀ > 2: nothing that it is asked about from there passes. What is left is whole chains, from a real
/// state on, and the same transitions as without the check.
#[test]
fn what_the_other_direction_denies_is_left_out_and_ends_its_chain() {
    let dataset = dataset(40);
    for direction in [Direction::Forward, Direction::Reverse] {
        let other = if direction == Direction::Forward { Direction::Reverse } else { Direction::Forward };
        let check = CycleCheck::new(Box::new(ExactModel::new(other)), &dataset, 1.0);
        assert!(check.tolerance() < 1e-6, "the dataset obeys the environment: {}", check.tolerance());
        let all = rolled(direction, imaginer(|_| (), never), &dataset);
        let agreed = rolled(direction, imaginer(|_| (), never).with_cycle_check(check), &dataset);
        assert_eq!(all, agreed, "two exact models agree");

        let check = CycleCheck::new(Box::new(LiesBeyondTwo(ExactModel::new(other))), &all.transitions, 0.0);
        let mut checked = imaginer(|_| (), never).with_cycle_check(check);
        let mut trace = Trace::new(SPEC);
        let mut model = ExactModel::new(direction);
        let summary = checked.imagine(&mut model, &dataset, &mut Eighths, Key::new(5), &mut trace);
        let whole = rolled(direction, imaginer(|_| (), never), &dataset);
        assert!(summary.disagreed > 0 && summary.stored == trace.transitions.len());
        let (known, asked) = if direction == Direction::Forward {
            (Column::Obs, Column::NextObs)
        } else {
            (Column::NextObs, Column::Obs)
        };
        for (chain, full) in trace.chains().iter().zip(whole.chains()) {
            // Draws belong to a row's place among the living: the first steps are those of the unchecked call.
            let denied = whole.transitions.row(asked, full[0])[0] > 2.0;
            assert_eq!(chain.is_empty(), denied);
            let mut end = None;
            for (step, &row) in chain.iter().enumerate() {
                assert_eq!(trace.step[row], step, "a step is missing");
                assert!(trace.transitions.row(asked, row)[0] <= 2.0, "it was denied");
                let begin = trace.transitions.row(known, row);
                let hangs = end.map_or_else(|| !has_row(&dataset, Column::Obs, begin), |end| end != begin);
                assert!(!hangs, "step {step} hangs in the air");
                end = Some(trace.transitions.row(asked, row));
            }
        }
    }
}

/// Right, but off by one where it is asked from beyond 2.
struct LiesBeyondTwo(ExactModel);

impl State for LiesBeyondTwo {
    fn visit(&mut self, _: &mut dyn FnMut(&str, Slot<'_>)) {}
}

impl Dynamics for LiesBeyondTwo {
    fn spec(&self) -> Spec {
        SPEC
    }
    fn direction(&self) -> Direction {
        self.0.direction
    }
    fn elites(&self) -> &[usize] {
        &self.0.elites
    }
    fn predict(&mut self, given: [ArrayView2<'_, Real>; 2]) -> Prediction<'_> {
        let lies: Vec<bool> = given[0].column(0).iter().map(|&x| x > 2.0).collect();
        self.0.predict(given);
        for (row, _) in lies.iter().enumerate().filter(|(_, lie)| **lie) {
            (0..3).for_each(|member| self.0.mean[[member, row, 1]] += 1.0);
        }
        Prediction { mean: self.0.mean.view(), std: self.0.std.view() }
    }
}

/// u is 1 where s₀ > 2 and ¼ elsewhere: a budget of one lets four sure steps pass, or one step into the unsure and no more.
#[test]
fn a_chain_goes_as_far_as_its_uncertainty_budget_allows() {
    let budget = ImagineConfig { uncertainty_budget: Some(1.0), horizon: 6, starts_per_call: 30, ..Default::default() };
    let mut imaginer = Imaginer::new(budget, never, UnsureBeyondTwo).unwrap();
    let mut trace = Trace::new(SPEC);
    let mut penalties = vec![];
    let mut sink = |t: Imagined<'_>| {
        penalties.push(t.penalty);
        Sink::take(&mut trace, t);
    };
    let summary =
        imaginer.imagine(&mut ExactModel::new(Direction::Forward), &dataset(40), &mut Eighths, Key::new(6), &mut sink);
    assert!(summary.uncertain > 0 && summary.stored < 6 * summary.started);
    for chain in trace.chains() {
        let spent: Real = chain.iter().map(|&row| penalties[row]).sum();
        assert!(spent <= 1.0 && chain.len() <= 4, "{spent} in {} steps", chain.len());
    }
    let zero = ImagineConfig { uncertainty_budget: Some(0.0), ..Default::default() };
    assert_eq!(Imaginer::new(zero, never, UnsureBeyondTwo).unwrap_err().field, "uncertainty_budget");
    let blind = ImagineConfig { uncertainty_budget: Some(1.0), ..Default::default() };
    assert_eq!(Imaginer::new(blind, never, NoPenalty).unwrap_err().field, "uncertainty_budget");
}

#[derive(Debug)]
struct UnsureBeyondTwo;

impl Penalty for UnsureBeyondTwo {
    fn penalty(&mut self, _: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &mut [Real]) {
        out.iter_mut().zip(outcome.column(1)).for_each(|(u, &s)| *u = if s > 2.0 { 1.0 } else { 0.25 });
    }
}

#[test]
fn nothing_happens_after_a_recorded_end() {
    // Every tenth row is terminal: forward chains from s′ must leave those starts out, backward chains may end there.
    let dataset = dataset(100);
    let forward = rolled(Direction::Forward, imaginer(|c| c.anchor = Anchor::NextState, never), &dataset);
    let reverse = rolled(Direction::Reverse, imaginer(|c| c.anchor = Anchor::NextState, never), &dataset);
    assert!(forward.transitions.len() < 200 && forward.transitions.len() > 100, "{}", forward.transitions.len());
    assert_eq!(reverse.transitions.len(), 200);
    let ends = RowsWhere::new(&dataset, |dataset, row| dataset.row(Column::Terminal, row)[0] == 1.0);
    let mut only_ends = imaginer(|c| c.anchor = Anchor::NextState, never);
    let mut sink = Transitions::new(SPEC);
    let made = only_ends.imagine(&mut ExactModel::new(Direction::Forward), &ends, &mut Eighths, Key::new(1), &mut sink);
    assert_eq!((made.started, made.stored), (0, 0));
}

/// Ends at the right edge, judged by s′ alone; panics if it is ever shown a transition backwards.
fn right_edge(s: &[Real], a: &[Real], s2: &[Real]) -> bool {
    assert_eq!(next(s, a), s2, "the termination was not given forward time");
    s2[0] >= 2.0
}

#[test]
fn terminations_see_forward_time_and_end_chains() {
    let dataset = dataset(200);
    for direction in [Direction::Forward, Direction::Reverse] {
        let trace = rolled(direction, imaginer(|_| (), right_edge), &dataset);
        let terminal = trace.transitions.values(Column::Terminal);
        assert!(terminal.contains(&1.0) && terminal.contains(&0.0), "{direction:?}: a test of both");
        for row in 0..trace.transitions.len() {
            let beyond = trace.transitions.row(Column::NextObs, row)[0] >= 2.0;
            assert_eq!(
                trace.transitions.row(Column::Terminal, row),
                [beyond as u8 as Real],
                "{direction:?}, row {row}"
            );
        }
        for chain in trace.chains().iter().filter(|c| !c.is_empty()) {
            let (last, earlier) = chain.split_last().unwrap();
            assert!(earlier.iter().all(|&row| terminal[row] == 0.0), "{direction:?}: a chain went on after its end");
            assert!(terminal[*last] == 1.0 || chain.len() == 4, "{direction:?}: a chain stopped for no reason");
        }
        // The other rule labels the same way and goes on.
        let all = rolled(direction, imaginer(|c| c.stop = StopRule::Never, right_edge), &dataset);
        assert_eq!(all.transitions.len(), 200);
        assert!(all.transitions.values(Column::Terminal).contains(&1.0));
    }
}

#[test]
fn only_elites_are_drawn_and_each_of_them_is() {
    let dataset = dataset(100);
    for weight in [0.0, 1.0] {
        let config = ImagineConfig { penalty_weight: weight, starts_per_call: 100, ..ImagineConfig::default() };
        let mut imaginer = Imaginer::new(config, never, MaxPairwise::default()).unwrap();
        let mut drawn = [0; 3];
        let mut sink = |t: Imagined<'_>| drawn[t.member] += 1;
        imaginer.imagine(&mut ExactModel::new(Direction::Forward), &dataset, &mut Eighths, Key::new(7), &mut sink);
        assert!(drawn[0] > 180 && drawn[2] > 180 && drawn[1] == 0, "{drawn:?}");
    }
}

#[test]
fn the_penalty_is_taken_off_the_reward() {
    let dataset = dataset(100);
    let config = ImagineConfig { penalty_weight: 0.25, horizon: 2, ..ImagineConfig::default() };
    let mut imaginer = Imaginer::new(config, never, MaxPairwise::default()).unwrap();
    let mut seen = 0;
    let mut sink = |t: Imagined<'_>| {
        // The liar is 3 off in each of three columns.
        assert_abs_diff_eq!(t.penalty, 27f32.sqrt() as Real, epsilon = 1e-4);
        let want = reward(t.obs, t.act) - 0.25 * t.penalty;
        assert_abs_diff_eq!(t.reward, want, epsilon = 1e-4);
        seen += 1;
    };
    imaginer.imagine(&mut ExactModel::new(Direction::Reverse), &dataset, &mut Eighths, Key::new(7), &mut sink);
    assert_eq!(seen, 2000);
}

/// Four steps from 200 starts by the uncertainty of [`Beyond`].
fn unsure_beyond_two(
    direction: Direction,
    halt: Option<Halt>,
    weight: Real,
    stop: StopRule,
) -> (Trace, RolloutSummary) {
    let dataset = dataset(200);
    let config =
        ImagineConfig { horizon: 4, starts_per_call: 200, penalty_weight: weight, stop, halt, ..Default::default() };
    let mut imaginer = Imaginer::new(config, never, Beyond).unwrap();
    let mut trace = Trace::new(SPEC);
    let made = imaginer.imagine(&mut ExactModel::new(direction), &dataset, &mut Eighths, Key::new(5), &mut trace);
    (trace, made)
}

/// u = the drawn s′₀ (of a forward model), or s₀ (of a reverse one), NaN where it is 3 or more.
struct Beyond;

impl Penalty for Beyond {
    fn penalty(&mut self, _: Prediction<'_>, outcome: ArrayView2<'_, Real>, out: &mut [Real]) {
        let u = |x: Real| if x >= 3.0 { Real::NAN } else { x };
        out.iter_mut().zip(outcome.column(1)).for_each(|(out, &x)| *out = u(x));
    }
}

#[test]
fn the_unknown_is_absorbing() {
    let halt = Halt { threshold: 2.0, reward: -77.0 };
    for (direction, far) in [(Direction::Forward, Column::NextObs), (Direction::Reverse, Column::Obs)] {
        for stop in [StopRule::OnTerminal, StopRule::Never] {
            let (trace, made) = unsure_beyond_two(direction, Some(halt), 0.0, stop);
            let rows = &trace.transitions;
            let unknown: Vec<bool> = (0..rows.len()).map(|row| rows.row(far, row)[0] > 2.0).collect();
            let count = unknown.iter().filter(|&&u| u).count();
            assert!(count > 10 && count < rows.len() - 10, "{direction:?}: a test of both, {count}");
            let nan = (0..rows.len()).filter(|&row| rows.row(far, row)[0] >= 3.0).count();
            assert!(nan > 0, "{direction:?}: a NaN is unknown too");
            assert_eq!((made.halted, made.terminal, made.not_finite), (count, count, 0));
            for (row, &unknown) in unknown.iter().enumerate() {
                let (s, a) = (rows.row(Column::Obs, row), rows.row(Column::Act, row));
                let want = if unknown { [-77.0, 1.0] } else { [reward(s, a), 0.0] };
                let got = [rows.row(Column::Reward, row)[0], rows.row(Column::Terminal, row)[0]];
                assert_eq!(got, want, "{direction:?}, row {row}");
            }
            for chain in trace.chains().iter().filter(|c| !c.is_empty()) {
                let (last, earlier) = chain.split_last().unwrap();
                assert!(earlier.iter().all(|&row| !unknown[row]), "{direction:?}: a chain went on from the unknown");
                assert!(unknown[*last] || chain.len() == 4, "{direction:?}: a chain stopped for no reason");
            }
        }
    }
}

#[test]
fn without_halt_nothing_halts_and_what_is_not_halted_is_the_same() {
    let all = unsure_beyond_two(Direction::Forward, None, 0.0, StopRule::OnTerminal);
    assert_eq!((all.1.halted, all.1.terminal, all.1.stored), (0, 0, 800));
    // A threshold nobody reaches (and no NaN): the same rows, whether or not uncertainty was asked for.
    let dataset = dataset(200);
    let roll = |halt| {
        let config = ImagineConfig { horizon: 4, starts_per_call: 200, halt, ..Default::default() };
        let mut imaginer = Imaginer::new(config, never, MaxPairwise::default()).unwrap();
        let mut sink = Transitions::new(SPEC);
        imaginer.imagine(&mut ExactModel::new(Direction::Forward), &dataset, &mut Eighths, Key::new(5), &mut sink);
        sink
    };
    let far = Halt { threshold: 1000.0, reward: -1.0 };
    assert!(roll(Some(far)) == all.0.transitions && roll(None) == all.0.transitions);
    // The liar is √27 off everywhere: everything halts at its first step.
    assert_eq!(roll(Some(Halt { threshold: 5.0, reward: -1.0 })).len(), 200);
}

#[test]
fn halting_without_a_measure_is_refused() {
    let halt = Halt { threshold: 1.0, reward: -1.0 };
    let config = |halt| ImagineConfig { halt: Some(halt), ..ImagineConfig::default() };
    assert_eq!(Imaginer::new(config(halt), never, NoPenalty).err().unwrap().field, "halt");
    for bad in [Halt { threshold: Real::NAN, ..halt }, Halt { reward: Real::INFINITY, ..halt }] {
        assert_eq!(Imaginer::new(config(bad), never, MaxPairwise::default()).err().unwrap().field, "halt");
    }
}

#[test]
fn a_model_gone_astray_stores_nothing() {
    let mut model = ExactModel::new(Direction::Forward);
    (model.elites, model.bias) = (vec![1], Real::INFINITY);
    let (dataset, mut sink) = (dataset(10), Transitions::new(SPEC));
    let made = imaginer(|_| (), never).imagine(&mut model, &dataset, &mut Eighths, Key::new(1), &mut sink);
    assert_eq!((made.stored, made.not_finite, sink.len()), (0, 50, 0));
}

#[test]
fn an_empty_source_gives_nothing() {
    let dataset = dataset(10);
    let none = RowsWhere::new(&dataset, |_, _| false);
    let mut sink = Transitions::new(SPEC);
    let made = imaginer(|_| (), never).imagine(
        &mut ExactModel::new(Direction::Forward),
        &none,
        &mut Eighths,
        Key::new(1),
        &mut sink,
    );
    assert_eq!((made, sink.len()), (Default::default(), 0));
}

#[test]
fn goal_starts_are_goals() {
    let dataset = dataset(500);
    let goals = RowsWhere::new(&dataset, |dataset, row| dataset.row(Column::Obs, row)[0] > 3.0);
    assert!(!goals.is_empty() && goals.len() < 500);
    let mut trace = Trace::new(SPEC);
    imaginer(|_| (), never).imagine(
        &mut ExactModel::new(Direction::Reverse),
        &goals,
        &mut Eighths,
        Key::new(1),
        &mut trace,
    );
    for chain in trace.chains() {
        assert!(trace.transitions.row(Column::NextObs, chain[0])[0] > 3.0);
    }
}

#[test]
fn the_same_key_gives_the_same_transitions_and_another_key_others() {
    let dataset = dataset(100);
    let run = |seed| {
        let mut sink = Transitions::new(SPEC);
        let mut uniform = Uniform(SPEC.with_act_limit(0.5));
        imaginer(|_| (), never).imagine(
            &mut ExactModel::new(Direction::Reverse),
            &dataset,
            &mut uniform,
            Key::new(seed),
            &mut sink,
        );
        sink
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let spread = |x: Real| run(1).values(Column::Act).iter().filter(|a| a.abs() > x).count();
    assert!(spread(0.5) == 0 && spread(0.4) > 20, "{} {}", spread(0.5), spread(0.4));
}

/// A trajectory with the exact dynamics; `bias` members drift by a known amount.
#[test]
fn the_error_of_a_drifting_model_grows_as_it_should() {
    let (mut dataset, mut s) = (Transitions::new(SPEC), [0.0, 0.0]);
    for i in 0..40 {
        let a = [Key::new(9).below(17, i) as Real / 8.0 - 1.0];
        let s2 = next(&s, &a);
        dataset.push(&s, &a, reward(&s, &a), &s2, false);
        s = s2;
    }
    let runs = [(0..20).collect(), (20..40).collect(), vec![3, 4]];
    for direction in [Direction::Forward, Direction::Reverse] {
        let config = HorizonConfig { horizon: 5, drive: Drive::EliteMean, max_chains: 1000 };
        let mut model = ExactModel::new(direction);
        let exact = model_error(&mut model, &dataset, &runs, config, Key::new(1));
        assert_eq!(exact.len(), 5);
        assert!(exact.iter().all(|e| e.median == 0.0 && e.q75 == 0.0 && e.chains == 32), "{direction:?}: {exact:?}");
        assert!(exact.iter().all(|e| e.copy_median > 0.1), "{exact:?}");
        // Only the liar: each step adds 3 to both coordinates.
        (model.elites, model.bias) = (vec![1], 3.0);
        let drift = model_error(&mut model, &dataset, &runs, config, Key::new(1));
        for e in &drift {
            let want = e.horizon as Real * 18f32.sqrt() as Real;
            assert!(abs_diff_eq!(e.median, want, epsilon = 1e-4) && e.q25 <= e.median, "{direction:?}: {e:?}");
        }
        let few = HorizonConfig { max_chains: 7, ..config };
        assert!(model_error(&mut model, &dataset, &runs, few, Key::new(1)).iter().all(|e| e.chains == 7));
        let long = HorizonConfig { horizon: 21, ..config };
        assert!(model_error(&mut model, &dataset, &runs, long, Key::new(1)).is_empty());
    }
}

#[test]
fn configurations_that_make_no_sense_are_named() {
    let with = |change: fn(&mut ImagineConfig)| {
        let mut config = ImagineConfig::default();
        change(&mut config);
        config.check().map_err(|e| e.field)
    };
    assert_eq!(with(|_| ()), Ok(()));
    assert_eq!(with(|c| c.horizon = 0), Err("horizon"));
    assert_eq!(with(|c| c.starts_per_call = 0), Err("starts_per_call"));
    assert_eq!(with(|c| c.penalty_weight = Real::NAN), Err("penalty_weight"));
    assert_eq!(with(|c| c.sampling = Sampling::Mean), Ok(()));
}
