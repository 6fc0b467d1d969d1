//! Reverse policies that draw an action factor by factor, compared with a policy that is known: part of `cargo xtask games`.

use crate::games::each_seed;
use backcast::core::{Key, Real, Spec, Transitions};
use backcast::dynamics::{BinnedClone, BinnedConfig, Factors};
use comfy_table::{Table, presets::ASCII_MARKDOWN};

const SPEC: Spec = Spec::new(1, 3);
const BINS: usize = 4;

/// The chance of each bin of a column: it leans one way or the other with the state.
fn chances(col: usize, state: Real) -> [Real; BINS] {
    let weight = |bin: usize| (1.5 * state * (bin as Real - 1.5) * if col == 1 { -1.0 } else { 1.0 }).exp();
    let all: [Real; BINS] = std::array::from_fn(weight);
    let sum: Real = all.iter().sum();
    all.map(|w| w / sum)
}

/// The bin that `unit` falls into.
fn bin(col: usize, state: Real, unit: Real) -> usize {
    let mut left = unit;
    let over = chances(col, state).iter().position(|p| {
        left -= p;
        left < 0.0
    });
    over.unwrap_or(BINS - 1)
}

/// Rows of the policy; with `copies`, the second and the third column are in the first one's bin.
fn dataset(rows: usize, copies: bool, key: Key) -> Transitions {
    let mut dataset = Transitions::new(SPEC);
    for key in (0..rows).map(|row| key.fold(row as u64)) {
        let state = if key.name("state").unit() < 0.5 { 1.0 } else { -1.0 };
        let own = |col: usize| bin(col, state, key.name("bin").fold(col as u64).unit());
        let act: [Real; 3] = std::array::from_fn(|col| {
            let bin = own(if copies { 0 } else { col });
            (bin as Real + key.name("within").fold(col as u64).unit()) / BINS as Real * 2.0 - 1.0
        });
        dataset.push(&[0.0], &act, 0.0, &[state], false);
    }
    dataset
}

/// KL(π ‖ clone), by rows that nobody learnt from.
fn excess(factors: Factors, rows: usize, copies: bool, seed: u64) -> anyhow::Result<f64> {
    let config = BinnedConfig {
        bins: BINS,
        factors,
        hidden: vec![],
        lr: 2e-2,
        batch: 64,
        steps: 500,
        ..BinnedConfig::default()
    };
    let mut clone = BinnedClone::new(config, SPEC, Key::new(seed))?;
    clone.fit(&dataset(rows, copies, Key::new(seed).name("log")), Key::new(seed).name("fit"), &mut |_, _| true);
    let tried = dataset(2000, copies, Key::new(seed).name("tried"));
    let batch = tried.batch();
    let truth = |row: usize| {
        let bin = |col: usize| (((batch.act[[row, col]] + 1.0) * 0.5 * BINS as Real) as usize).min(BINS - 1);
        let columns = if copies { 1 } else { 3 };
        let chance: Real = (0..columns).map(|col| chances(col, batch.next_obs[[row, 0]])[bin(col)].ln()).sum();
        chance + 3.0 * (BINS as Real / 2.0).ln()
    };
    let said = clone.log_density(batch.next_obs, batch.act);
    Ok(said.iter().enumerate().map(|(row, said)| f64::from(truth(row) - said)).sum::<f64>() / said.len() as f64)
}

/// Nats beyond what must be, by rows of the dataset and by what the factors know of each other.
pub(crate) fn table(seeds: u64) -> anyhow::Result<Table> {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    let rows = [50, 100, 200, 400, 800];
    let heads = rows.map(|rows| format!("{rows} rows"));
    table.set_header(["columns", "factors"].map(String::from).into_iter().chain(heads));
    for (kind, copies) in [("by themselves", false), ("copies of the first", true)] {
        for (name, factors) in
            [("independent", Factors::Independent), ("chained", Factors::Chained), ("joint", Factors::Joint)]
        {
            let mut cells = vec![kind.to_owned(), name.to_owned()];
            for rows in rows {
                let all = each_seed(seeds, |seed| excess(factors, rows, copies, seed))?;
                cells.push(format!("{:.3}", all.iter().sum::<f64>() / all.len() as f64));
            }
            table.add_row(cells);
        }
    }
    Ok(table)
}
