//! Rows of a policy that acts at random, among those of a dataset or in their place.

use crate::{Error, Mix};
use backcast_core::{Key, Transitions};
use backcast_data::{Dataset, Options, Row};

/// A dataset of `rows` rows, rounded up to whole episodes, of uniformly random actions in the environment of `task`; with next observations
/// if `next_obs`.
fn random(task: &str, rows: usize, next_obs: bool, key: Key) -> Result<Dataset, Error> {
    let mut env = backcast_envs::make(task)?;
    let spec = env.spec();
    let mut dataset = Dataset::new(spec.obs, spec.act, next_obs).from_origin(format!("random {task}"));
    let (mut obs, mut next, mut act) = (vec![0.0; spec.obs], vec![0.0; spec.obs], vec![0.0; spec.act]);
    let mut episode = 0;
    while dataset.len() < rows {
        let key = key.fold(episode);
        env.reset(key.name("start"), &mut obs);
        for step in 0.. {
            key.name("act").fold(step).uniform(-spec.act_limit, spec.act_limit, &mut act);
            let outcome = env.step(&act, &mut next);
            dataset.push(Row {
                obs: &obs,
                act: &act,
                reward: outcome.reward,
                terminal: outcome.terminated,
                truncated: outcome.truncated,
                next_obs: next_obs.then_some(next.as_slice()),
            });
            obs.copy_from_slice(&next);
            if outcome.terminated || outcome.truncated {
                break;
            }
        }
        episode += 1;
    }
    Ok(dataset)
}

fn key(mix: &Mix) -> Key {
    Key::new(mix.seed).name("mix")
}

/// The first episodes of `dataset`, then random ones, at the shares of `mix`. Both parts are rounded up to whole episodes.
pub(crate) fn episodes(dataset: &Dataset, mix: &Mix, task: &str) -> Result<Dataset, Error> {
    let [obs, act] = dataset.widths();
    let random_rows = (mix.random * dataset.len() as f64).round() as usize;
    let kept = dataset.len() - random_rows;
    let mut mixed = Dataset::new(obs, act, dataset.has_next_obs()).from_origin(dataset.origin());
    for episode in dataset.episodes() {
        if mixed.len() >= kept {
            break;
        }
        for t in episode.first..episode.after() {
            // An episode the dataset stops in the middle of is not to run into the next.
            let mut row = dataset.row(t);
            row.truncated |= t + 1 == episode.after() && !row.terminal;
            mixed.push(row);
        }
    }
    let random = random(task, random_rows, dataset.has_next_obs(), key(mix).name("log"))?;
    (0..random.len()).for_each(|t| mixed.push(random.row(t)));
    Ok(mixed)
}

/// Replaces each of `columns`, made with `options`, by a random transition with the probability of `mix`.
pub(crate) fn rows(columns: &mut Transitions, mix: &Mix, task: &str, options: &Options) -> Result<(), Error> {
    let next_obs = true;
    let dataset = random(task, columns.len(), next_obs, key(mix).name("log"))?;
    let random = dataset.transitions(options)?.0.into_transitions();
    let (which, by) = (key(mix).name("which"), key(mix).name("by"));
    for row in 0..columns.len() {
        if (which.fold(row as u64).unit() as f64) < mix.random {
            columns.set_row(row, &random, by.below(random.len(), row));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{DataSummary, load};
    use crate::{Experiment, MixOf};
    use backcast_core::{Column, Spec};

    fn of(task: &str, widths: [usize; 2], more: &str) -> (Transitions, Transitions, DataSummary) {
        let text = format!(
            "name = 'x'\ntask = '{task}'\nmethods = [{{ name = 'a' }}]\n[data]\nrows = 8000\nnoise = 0.0\nquirks = 'clean'\n{more}"
        );
        let experiment = Experiment::parse(&text).unwrap_or_else(|e| panic!("{e}"));
        let limit = if task.starts_with("pendulum") { 2.0 } else { 1.0 };
        let loaded = load(&experiment, Spec::new(widths[0], widths[1]).with_act_limit(limit)).unwrap();
        (loaded.episodic.transitions().clone(), loaded.model_data, loaded.summary)
    }

    /// Rows of the first that are not rows of the second at the same place.
    fn other(a: &Transitions, b: &Transitions) -> usize {
        let differs =
            |row: usize| [Column::Obs, Column::Act, Column::NextObs].iter().any(|&c| a.row(c, row) != b.row(c, row));
        (0..a.len()).filter(|&row| differs(row)).count()
    }

    #[test]
    fn single_rows_are_replaced_at_the_rate_and_the_others_stay() {
        for (task, widths) in [("pendulum-v1", [3, 1]), ("maze2d-umaze-v1", [4, 2])] {
            let (plain, ..) = of(task, widths, "");
            for rate in [0.1, 0.6] {
                let (mixed, for_models, summary) =
                    of(task, widths, &format!("mix = {{ random = {rate}, of = 'rows' }}"));
                assert_eq!(mixed.len(), plain.len());
                // No terminal row is dropped for models here, so both are replaced alike.
                assert_eq!(mixed.batch().obs, for_models.batch().obs);
                let share = other(&mixed, &plain) as f64 / plain.len() as f64;
                let error = (rate * (1.0 - rate) / plain.len() as f64).sqrt();
                assert!((share - rate).abs() < 5.0 * error, "{task}: {share} is not {rate}");
                assert!(summary.source.contains("random rows"), "{}", summary.source);
                assert_eq!(other(&mixed, &of(task, widths, &format!("mix = {{ random = {rate}, of = 'rows' }}")).0), 0);
                let another = of(task, widths, &format!("mix = {{ random = {rate}, of = 'rows', seed = 1 }}")).0;
                assert!(other(&mixed, &another) > 0);
            }
        }
    }

    #[test]
    fn whole_episodes_come_first_from_the_dataset_and_then_at_random() {
        // Of 40 episodes of 200 rows 12 stay.
        let (plain, ..) = of("pendulum-v1", [3, 1], "");
        let (mixed, _, summary) = of("pendulum-v1", [3, 1], "mix = { random = 0.7 }");
        assert_eq!((mixed.len(), plain.len(), summary.rows), (8000, 8000, 8000));
        let same: Vec<bool> = (0..8000).map(|row| mixed.row(Column::Obs, row) == plain.row(Column::Obs, row)).collect();
        assert!(same[..2400].iter().all(|&s| s) && !same[2400..].iter().any(|&s| s));
        // The controller's returns are near −150, those of random torques near −1200.
        assert!((-1100.0..-700.0).contains(&summary.mean_return), "{}", summary.mean_return);
        // Random torques are spread over the box, row by row.
        let random = &mixed.values(Column::Act)[2400..];
        let mean = random.iter().map(|&a| a as f64).sum::<f64>() / random.len() as f64;
        let square = random.iter().map(|&a| (a as f64).powi(2)).sum::<f64>() / random.len() as f64;
        assert!(mean.abs() < 0.1 && (square - 4.0 / 3.0).abs() < 0.1, "{mean}, {square}");
        assert_ne!(random[0], random[1]);

        // Segments of a maze's dataset have any length: the share is kept to a segment and an episode.
        let (mixed, ..) = of("maze2d-umaze-v1", [4, 2], "mix = { random = 0.5 }");
        let (plain, ..) = of("maze2d-umaze-v1", [4, 2], "");
        let kept = (0..mixed.len()).take_while(|&r| mixed.row(Column::Obs, r) == plain.row(Column::Obs, r)).count();
        assert!((3800..4300).contains(&kept) && (7700..8700).contains(&mixed.len()), "{kept} of {}", mixed.len());
    }

    #[test]
    fn a_mix_is_of_the_dataset_in_a_file_too() {
        let (task, folder) = ("dmsd", tempfile::tempdir().unwrap());
        let file = folder.path().join("log.hdf5");
        backcast_data::d4rl::write(&file, &random(task, 3000, true, Key::new(3)).unwrap()).unwrap();
        let at = format!("file = {:?}\n", file.display().to_string());
        let plain = of(task, [6, 2], &at).0;
        let mixed = of(task, [6, 2], &format!("{at}mix = {{ random = 0.5, of = 'rows' }}")).0;
        assert!((1300..1700).contains(&other(&mixed, &plain)), "{}", other(&mixed, &plain));
        let half = of(task, [6, 2], &format!("{at}mix = {{ random = 0.5 }}")).0;
        assert_eq!((half.len(), other(&half, &plain)), (3000, 1500));
        assert_eq!(MixOf::default(), MixOf::Episodes);
    }
}
