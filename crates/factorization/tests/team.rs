//! Algorithms of teams: what their terms are, where they agree, and that a step is the same on any machine.

use approx::abs_diff_eq;
use backcast_core::{
    Algorithm, Batch, Key, Learner, Metrics, Policy, Real, Spec, Transitions, fingerprint, restore, snapshot,
};
use backcast_factorization::team::cfcql::Lambda;
use backcast_factorization::team::omar::Search;
use backcast_factorization::team::{Scope, Shared, bc, cfcql, icq, ma_cql, macql, matd3, omar, online, rows, td3_bc};
use backcast_nn::{Gaussian, Parameterised, Shape, Store};
use ndarray::{Array2, Axis};

/// Agents that see two numbers each and choose two.
fn spec(agents: usize) -> Spec {
    Spec::new(2 * agents, 2 * agents)
}

/// A dataset of `rows` rows of anything, and what was done next.
fn dataset(agents: usize, rows: usize, seed: u64) -> Transitions {
    let mut dataset = Transitions::new(spec(agents)).with_next_actions(true);
    let wide = 2 * agents;
    for row in 0..rows as u64 {
        let key = Key::new(seed).fold(row);
        let mut drawn = vec![0.0; 4 * wide + 1];
        key.uniform(-0.9, 0.9, &mut drawn);
        let [obs, act, next, next_act] = [0, 1, 2, 3].map(|i| &drawn[i * wide..(i + 1) * wide]);
        dataset.push_followed(obs, act, drawn[4 * wide], next, row % 7 == 0, next_act);
    }
    dataset
}

fn shared(agents: usize) -> Shared {
    Shared { agents, hidden: vec![16, 16], lr: 3e-3, ..Shared::default() }
}

fn first(config: &impl Algorithm, batch: Batch<'_>) -> Metrics {
    config.build(batch.spec, Key::new(3)).unwrap().update(batch, Key::new(4))
}

#[test]
fn for_one_agent_all_penalties_are_conservative_q_learning() {
    let dataset = dataset(1, 40, 1);
    // The same nets, drawn by the same key; draws are of the same shape, whoever presses.
    let shared = shared(1);
    let one = ma_cql::Config { shared: shared.clone(), ..Default::default() };
    let all = macql::Config { shared: shared.clone(), ..Default::default() };
    let each = |lambda| cfcql::Config { shared: shared.clone(), lambda, ..Default::default() };
    let want = first(&one, dataset.batch());
    for name in ["penalty", "critic_loss", "actor_loss"] {
        let want = want.get(name).unwrap();
        let near = first(&each(Lambda::Near(2.0)), dataset.batch());
        for found in [first(&all, dataset.batch()), first(&each(Lambda::Even), dataset.batch()), near] {
            let found = found.get(name).unwrap();
            assert!(abs_diff_eq!(found, want, epsilon = 1e-4 * want.abs().max(1.0)), "{name}: {found} and {want}");
        }
    }
}

#[test]
fn the_penalty_on_joint_actions_grows_with_the_agents_and_the_counterfactual_one_does_not() {
    // Each draw's density is 4⁻ᵃ, a being the agents that deviate: ln Σ_k exp(Q − ln p) is ln K + a·ln 4 where Q is flat.
    let penalty = |agents: usize, joint: bool| {
        let (dataset, shared) = (dataset(agents, 64, 2), shared(agents));
        let found = match joint {
            true => first(&macql::Config { shared, n_action_samples: 50, ..Default::default() }, dataset.batch()),
            false => first(&cfcql::Config { shared, n_action_samples: 50, ..Default::default() }, dataset.batch()),
        };
        found.get("penalty").unwrap() / 2.0 - (50.0 as Real).ln()
    };
    let ln4 = (4.0 as Real).ln();
    for agents in 1..=6 {
        let (joint, one) = (penalty(agents, true), penalty(agents, false));
        assert!(abs_diff_eq!(joint, agents as Real * ln4, epsilon = 0.3), "{agents} agents: {joint}");
        assert!(abs_diff_eq!(one, ln4, epsilon = 0.3), "{agents} agents: {one}");
    }
}

#[test]
fn the_search_finds_the_top_of_a_function_that_is_known() {
    // −20·‖u − top‖² with a top of each agent's and row's own; a slope from 0 would find it too, a search does without.
    let (agents, rows, act) = (2, 50, 2);
    let (mut store, shape) = (Store::default(), Shape::new(agents, rows, act));
    let mut apart = |search: Search| {
        let tape = store.tape();
        let top = tape.uniform(shape, -0.8, 0.8, Key::new(5));
        let (found, best) = search
            .best(tape, shape, 1.0, Key::new(6), |u| (u - top_of(u, Key::new(5), shape)).square().sum_cols() * -20.0);
        let off = (found - top).square().sum_cols().sqrt().mean().item();
        let same = ((found - top).square().sum_cols() * -20.0 - best).abs().sum().item();
        assert!(same < 1e-3, "the value it says is that of what it found: {same}");
        assert!(found.read(|u| u.iter().all(|u| u.abs() <= 1.0)));
        off
    };
    let search = |iterations, samples| Search { iterations, samples, ..Search::default() };
    let (once, often, wide) = (apart(search(1, 10)), apart(search(3, 10)), apart(search(4, 100)));
    assert!(often < 0.6 * once && wide < 0.1, "{once}, {often}, {wide}");
}

/// The tops again, as many times over as there are actions for each row.
fn top_of<'t>(u: backcast_nn::Var<'t>, key: Key, shape: Shape) -> backcast_nn::Var<'t> {
    u.tape().uniform(shape, -0.8, 0.8, key).repeat_rows(u.shape().rows / shape.rows)
}

#[test]
fn weights_average_to_one_and_go_with_the_advantage() {
    let mut store = Store::default();
    for temperature in [0.01, 0.1, 1.0, 1000.0] {
        let tape = store.tape();
        let advantage = tape.normal(Shape::new(3, 40, 1), Key::new(7));
        let weights = icq::weights(advantage, temperature);
        for agent in 0..3 {
            let mean = weights.member(agent).mean().item();
            assert!(abs_diff_eq!(mean, 1.0, epsilon = 1e-4), "{temperature}, agent {agent}: {mean}");
            let largest =
                |x: backcast_nn::Var<'_>| x.read(|x| (1..40).fold(0, |at, i| if x[i] > x[at] { i } else { at }));
            assert_eq!(largest(weights.member(agent)), largest(advantage.member(agent)));
        }
    }
}

/// How far two agents' clones are from a rule each has of its own, after some updates.
fn cloned(config: &impl Algorithm) -> Real {
    let mut dataset = Transitions::new(spec(2)).with_next_actions(true);
    for row in 0..500 {
        let mut obs = [0.0; 4];
        Key::new(8).fold(row).uniform(-1.0, 1.0, &mut obs);
        let act = [0.5 * obs[0], -0.5 * obs[1], 0.6 * obs[3], 0.2];
        dataset.push_followed(&obs, &act, 0.0, &obs, false, &act);
    }
    let mut learner = config.build(dataset.spec(), Key::new(9)).unwrap();
    (0..400).for_each(|t| _ = learner.update(dataset.batch(), Key::new(10).fold(t)));
    let batch = dataset.batch();
    let mut act = Array2::zeros(batch.act.raw_dim());
    learner.act(batch.obs, None, act.view_mut());
    (&act - &batch.act).mapv(|x| x * x).mean().unwrap().sqrt()
}

#[test]
fn those_that_clone_learn_the_agents_rules() {
    let shared = Shared { action_cost: 0.0, ..shared(2) };
    let found = [
        cloned(&bc::Config { shared: shared.clone() }),
        cloned(&td3_bc::Config { shared: shared.clone(), alpha: 0.01 }),
        cloned(&icq::Config { shared, policy_temperature: 100.0, ..Default::default() }),
    ];
    assert!(found.iter().all(|&apart| apart < 0.08), "{found:?}");
}

/// A game of one move: two agents are paid −‖uᵢ − (0.5, −0.5)‖² each, and learn it from uniform actions.
#[test]
fn those_that_improve_find_what_pays() {
    let mut dataset = Transitions::new(spec(2));
    let top = [0.5, -0.5, 0.5, -0.5];
    for row in 0..1000 {
        let (mut act, obs) = ([0.0; 4], [0.0; 4]);
        Key::new(11).fold(row).uniform(-1.0, 1.0, &mut act);
        let pays = act.iter().zip(top).map(|(u, t)| -(u - t) * (u - t)).sum::<Real>();
        dataset.push(&obs, &act, pays, &obs, true);
    }
    let shared = shared(2);
    let cql = ma_cql::Config { shared: shared.clone(), alpha: 0.05, ..Default::default() };
    let learners: Vec<(&str, Box<dyn Learner>)> = vec![
        ("matd3, own", boxed(&matd3::Config { shared: shared.clone(), scope: Scope::Own })),
        ("matd3, central", boxed(&matd3::Config { shared: shared.clone(), scope: Scope::Central })),
        ("ma_cql", boxed(&cql)),
        ("omar", boxed(&omar::Config { cql: cql.clone(), coefficient: 1.0, search: Search::default() })),
        ("omar, half", boxed(&omar::Config { cql, coefficient: 0.5, search: Search::default() })),
        ("macql", boxed(&macql::Config { shared: shared.clone(), alpha: 0.05, ..Default::default() })),
        ("cfcql", boxed(&cfcql::Config { shared, alpha: 0.05, ..Default::default() })),
    ];
    for (name, mut learner) in learners {
        let mut staging = Transitions::new(dataset.spec());
        for t in 0..300 {
            let key = Key::new(12).fold(t);
            learner.update(backcast_core::Source::sample(&dataset, key.name("rows"), 256, &mut staging), key);
        }
        let mut act = Array2::zeros((1, 4));
        learner.act(Array2::zeros((1, 4)).view(), None, act.view_mut());
        // Standing still costs 1, acting at random 2.3.
        let cost = act.iter().zip(top).map(|(u, t)| (u - t) * (u - t)).sum::<Real>();
        assert!(cost < 0.4, "{name}: {cost} by {act}");
    }
}

fn boxed<A: Algorithm>(config: &A) -> Box<dyn Learner>
where
    A::Learner: 'static,
{
    Box::new(config.build(spec(2), Key::new(13)).unwrap())
}

/// An agent's clone is nearer to the dataset where it does what was done: λ follows.
#[test]
fn behaviour_is_a_density_and_lambda_prefers_who_stays() {
    let mut store = Store::default();
    let tape = store.tape();
    let of = |mean: Real| Gaussian {
        mean: tape.fill(Shape::new(1, 1, 2), |x| x.fill(mean)),
        log_std: tape.fill(Shape::new(1, 1, 2), |x| x.fill(-1.0)),
    };
    let own = tape.fill(Shape::new(1, 1, 2), |x| x.fill(0.1));
    let [near, far] = [0.1, 0.9].map(|mean| of(mean).log_prob(own).item());
    assert!(near > far);
    // With τ it moves values otherwise than without.
    let (dataset, shared) = (dataset(3, 64, 14), shared(3));
    let q = |lambda| {
        let config = cfcql::Config { shared: Shared { period: 1, ..shared.clone() }, lambda, ..Default::default() };
        let mut learner = config.build(dataset.spec(), Key::new(15)).unwrap();
        (0..30).for_each(|t| _ = learner.update(dataset.batch(), Key::new(16).fold(t)));
        learner.values(dataset.batch().obs, dataset.batch().act)
    };
    let (even, none, much) = (q(Lambda::Even), q(Lambda::Near(0.0)), q(Lambda::Near(5.0)));
    let apart = |a: &[Real], b: &[Real]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, Real::max);
    assert!(apart(&even, &none) < 1e-3, "{}", apart(&even, &none));
    assert!(apart(&even, &much) > 1e-2, "{}", apart(&even, &much));
}

/// Ten updates, a copy, ten more of both: the same bits. Also where draws are many.
#[test]
fn learners_save_and_go_on_to_the_same_bits() {
    let dataset = dataset(2, 64, 17);
    let (own, central) = (shared(2), Shared { agents: 2, hidden: vec![16], ..Shared::central() });
    let near = cfcql::Config { shared: central.clone(), lambda: Lambda::Near(1.0), ..Default::default() };
    continues(&dataset, &bc::Config { shared: own.clone() });
    continues(&dataset, &td3_bc::Config { shared: own.clone(), alpha: 2.5 });
    continues(&dataset, &matd3::Config { shared: own.clone(), scope: Scope::Central });
    continues(
        &dataset,
        &omar::Config {
            cql: ma_cql::Config { shared: own.clone(), ..Default::default() },
            coefficient: 0.7,
            search: Search::default(),
        },
    );
    continues(&dataset, &macql::Config { shared: central, alone: false, ..Default::default() });
    continues(&dataset, &near);
    continues(&dataset, &icq::Config { shared: own, ..Default::default() });
}

fn continues(dataset: &Transitions, config: &impl Algorithm) {
    let build = |seed| config.build(dataset.spec(), Key::new(seed)).unwrap();
    let (mut one, mut other) = (build(1), build(2));
    let teach = |learner: &mut dyn Learner, updates: std::ops::Range<u64>| {
        updates.for_each(|t| _ = learner.update(dataset.batch(), Key::new(18).fold(t)));
    };
    teach(&mut one, 0..10);
    assert!(snapshot(&mut one) != snapshot(&mut other));
    restore(&mut other, &snapshot(&mut one)).unwrap();
    teach(&mut one, 10..20);
    teach(&mut other, 10..20);
    assert!(snapshot(&mut one) == snapshot(&mut other), "{}", std::any::type_name_of_val(config));
}

/// Products large enough to be shared out among threads.
#[test]
fn an_update_is_the_same_bits_on_any_number_of_threads() {
    let dataset = dataset(2, 384, 22);
    let shared = Shared { hidden: vec![128, 128], ..shared(2) };
    let cql = ma_cql::Config { shared, n_action_samples: 4, ..Default::default() };
    let config = omar::Config { cql, coefficient: 0.5, search: Search { samples: 4, ..Search::default() } };
    let taught = |threads: usize| {
        let mut learner = config.build(dataset.spec(), Key::new(23)).unwrap();
        learner.store_mut().arena_mut().set_parallel(true);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| (0..3).for_each(|t| _ = learner.update(dataset.batch(), Key::new(24).fold(t))));
        fingerprint(&mut learner)
    };
    let alone = taught(1);
    assert!([2, 4].into_iter().all(|threads| taught(threads) == alone));
}

/// One point on a line for each agent, which is to go to 0; the episode lasts five steps.
struct Line {
    at: [Real; 2],
    left: usize,
}

impl backcast_core::Env for Line {
    fn spec(&self) -> Spec {
        Spec::new(2, 2)
    }

    fn horizon(&self) -> usize {
        5
    }

    fn reset(&mut self, key: Key, obs: &mut [Real]) {
        key.uniform(-1.0, 1.0, &mut self.at);
        self.left = 5;
        obs.copy_from_slice(&self.at);
    }

    fn step(&mut self, act: &[Real], obs: &mut [Real]) -> backcast_core::Step {
        self.left -= 1;
        self.at.iter_mut().zip(act).for_each(|(x, u)| *x += 0.5 * u.clamp(-1.0, 1.0));
        obs.copy_from_slice(&self.at);
        let reward = -self.at.iter().map(|x| x.abs()).sum::<Real>();
        backcast_core::Step { reward, terminated: false, truncated: self.left == 0 }
    }
}

#[test]
fn a_team_learns_online_and_its_replay_is_episode_after_episode() {
    let learn = |rounds: usize| {
        let config = online::Config { rounds, explore: 4, every: 5, batch: 32, noise: 0.2 };
        let matd3 = matd3::Config { shared: shared(2), scope: Scope::Own };
        let mut learner = matd3.build(Spec::new(2, 2), Key::new(19)).unwrap();
        let mut envs: Vec<Box<Line>> = (0..8).map(|_| Box::new(Line { at: [0.0; 2], left: 0 })).collect();
        let mut replay = online::Replay::new(Spec::new(2, 2));
        let mut rounds_seen = 0;
        online::learn(&config, &mut learner, &mut envs, &mut replay, Key::new(20), |_, _, round| {
            rounds_seen = round;
            true
        });
        assert_eq!((rounds_seen, replay.ends.len(), replay.rows.len()), (rounds, 8 * rounds, 40 * rounds));
        (learner, replay)
    };
    let (mut learner, replay) = learn(40);
    // Rows of an episode follow each other.
    let batch = replay.rows.batch();
    for row in (0..batch.len() - 1).filter(|row| !replay.ends.contains(&(row + 1))) {
        assert_eq!(batch.next_obs.row(row), batch.obs.row(row + 1), "row {row}");
    }
    let returns = replay.returns();
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (before, after) = (mean(&returns[..32]), mean(&returns[returns.len() - 32..]));
    assert!(after > 0.6 * before, "{before} to {after}");
    // The same key makes the same dataset and the same team.
    let (mut again, twin) = learn(40);
    assert!(replay == twin && snapshot(&mut learner) == snapshot(&mut again));
}

#[test]
fn nonsense_is_refused_by_field() {
    let refused = |shared: Shared| matd3::Config { shared, scope: Scope::Own }.check().unwrap_err().field;
    let sound = shared(2);
    for (field, shared) in [
        ("agents", Shared { agents: 0, ..sound.clone() }),
        ("gamma", Shared { gamma: -0.1, ..sound.clone() }),
        ("lr", Shared { lr: Real::NAN, ..sound.clone() }),
        ("tau", Shared { tau: 0.0, ..sound.clone() }),
        ("hidden", Shared { hidden: vec![], ..sound.clone() }),
        ("clip", Shared { clip: 0.0, ..sound.clone() }),
        ("action_cost", Shared { action_cost: -1.0, ..sound.clone() }),
        ("noise", Shared { noise: -1.0, ..sound.clone() }),
        ("period", Shared { period: 0, ..sound.clone() }),
    ] {
        assert_eq!(refused(shared), field);
    }
    let shares = matd3::Config { shared: shared(3), scope: Scope::Own }.build(spec(2), Key::new(1));
    assert_eq!(shares.err().unwrap().field, "agents");
    assert_eq!(
        ma_cql::Config { n_action_samples: 0, ..Default::default() }.check().unwrap_err().field,
        "n_action_samples"
    );
    assert_eq!(omar::Config { coefficient: 1.5, ..Default::default() }.check().unwrap_err().field, "coefficient");
    let lambda = Lambda::Near(Real::INFINITY);
    assert_eq!(cfcql::Config { lambda, ..Default::default() }.check().unwrap_err().field, "lambda");
    let cold = icq::Config { policy_temperature: 0.0, ..Default::default() };
    assert_eq!(cold.check().unwrap_err().field, "policy_temperature");
}

/// A deviating agent changes its own columns alone: nothing of the others' depends on it.
#[test]
fn one_deviates_and_the_others_stay() {
    let mut store = Store::default();
    let dataset = dataset(3, 4, 21);
    let tape = store.tape();
    let u = rows::split(tape, dataset.batch().act, 3);
    for agent in 0..3 {
        let alone = tape.fill(Shape::new(1, 8, 2), |x| x.fill(9.0));
        rows::deviating(u, agent, alone).read(|joint| {
            for (row, joint) in joint.chunks(6).enumerate() {
                for (col, &x) in joint.iter().enumerate() {
                    let want = if col / 2 == agent { 9.0 } else { dataset.batch().act[[row / 2, col]] };
                    assert_eq!(x, want, "agent {agent}, row {row}, column {col}");
                }
            }
        });
    }
    assert_eq!(dataset.batch().act.len_of(Axis(0)), 4);
}
