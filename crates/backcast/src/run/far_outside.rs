//! Numbers of a dataset that are far outside what the rest of it has: what most often makes an algorithm diverge.

use crate::DataConfig;
use backcast_core::Real;
use backcast_data::Dataset;

/// How many times further out than the middle half of its column is wide a number has to be.
const FAR: f64 = 1e4;

/// What is to be added to a complaint if the dataset in the file of `data` has such a number; nothing if it has not, or is a generated one.
pub(crate) fn in_dataset(data: &DataConfig) -> Option<String> {
    let dataset = backcast_data::read(data.file.as_ref()?, &data.reading()).ok()?;
    furthest(&dataset).map(|what| format!("; {}: {what}", dataset.origin().display()))
}

/// The number in a row and a column, where the dataset has one.
type Number<'a> = &'a dyn Fn(usize, usize) -> Option<Real>;

/// The number that is furthest outside, of the first kind that has one: a next observation is the next row's again.
fn furthest(dataset: &Dataset) -> Option<String> {
    let [obs, act] = dataset.widths();
    let kinds: [(&str, usize, Number<'_>); 4] = [
        ("observations", obs, &|row, col| Some(dataset.row(row).obs[col])),
        ("actions", act, &|row, col| Some(dataset.row(row).act[col])),
        ("rewards", 1, &|row, _| Some(dataset.row(row).reward)),
        ("next observations", obs, &|row, col| dataset.row(row).next_obs.map(|next| next[col])),
    ];
    kinds.iter().find_map(|(kind, width, number)| {
        let columns = (0..*width).filter_map(|col| {
            let column: Option<Vec<f64>> = (0..dataset.len()).map(|row| number(row, col).map(f64::from)).collect();
            outlier(&column?).map(|found| (col, found))
        });
        let (col, Outlier { row, value, middle, .. }) = columns.max_by(|a, b| a.1.times.total_cmp(&b.1.times))?;
        // As they stand in the dataset.
        let [value, low, high] = [value, middle[0], middle[1]].map(|x| x as Real);
        Some(format!(
            "row {row}, column {col} of the {kind} is {value:e}, far outside: half of that column lies between {low} and {high}"
        ))
    })
}

/// A number that is far outside its column.
struct Outlier {
    row: usize,
    value: f64,
    /// The quartiles of the column.
    middle: [f64; 2],
    /// How many times further out than the middle half is wide.
    times: f64,
}

fn outlier(column: &[f64]) -> Option<Outlier> {
    let mut sorted = column.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quantile = |share: f64| sorted.get((share * (sorted.len().checked_sub(1)?) as f64) as usize).copied();
    let (low, median, high) = (quantile(0.25)?, quantile(0.5)?, quantile(0.75)?);
    let far = |x: f64| (x - median).abs();
    let (row, &value) = column.iter().enumerate().max_by(|a, b| far(*a.1).total_cmp(&far(*b.1)))?;
    // Where half of a column is alike, as rewards are, the mean distance of the others says how wide it is.
    let others = (column.iter().map(|&x| far(x)).sum::<f64>() - far(value)) / (column.len() as f64 - 1.0).max(1.0);
    let width = (high - low).max(others);
    let times = far(value) / if width > 0.0 { width } else { median.abs().max(1.0) };
    (times > FAR).then_some(Outlier { row, value, middle: [low, high], times })
}

#[cfg(test)]
mod tests {
    use super::*;
    use backcast_core::Key;
    use backcast_data::Row;

    fn dataset(change: impl Fn(usize, &mut [Real; 2], &mut Real)) -> Dataset {
        let key = Key::new(4);
        let mut dataset = Dataset::new(2, 1, false);
        for t in 0..500_usize {
            let (mut obs, mut reward) = ([0.0; 2], 0.0);
            key.fold(t as u64).normal(&mut obs);
            change(t, &mut obs, &mut reward);
            dataset.push(Row { obs: &obs, act: &[0.5], reward, terminal: false, truncated: false, next_obs: None });
        }
        dataset
    }

    #[test]
    fn a_wild_number_is_found_and_rare_ones_are_left_alone() {
        assert_eq!(furthest(&dataset(|_, _, _| ())), None);
        // One reward among nothing, and heavy tails, are what datasets have.
        assert_eq!(furthest(&dataset(|t, _, reward| *reward = (t == 400) as u8 as Real)), None);
        assert_eq!(furthest(&dataset(|t, obs, _| obs[1] *= if t % 100 == 3 { 100.0 } else { 1.0 })), None);
        let said = furthest(&dataset(|t, obs, _| obs[1] = if t == 77 { -1e9 } else { obs[1] })).expect("one");
        assert!(said.starts_with("row 77, column 1 of the observations is -1e9"), "{said}");
        let said = furthest(&dataset(|t, _, reward| *reward = if t == 3 { 1e30 } else { 0.0 })).expect("one");
        assert!(said.starts_with("row 3, column 0 of the rewards is 1"), "{said}");
        assert_eq!(furthest(&Dataset::new(2, 1, false)), None);
    }
}
