//! Parts of a dataset: some of its episodes, some of its rows, without some of its fields; and a fingerprint of it all.

use crate::{Dataset, End};
use backcast_core::{ConfigError, Fingerprint, Fingerprinter, Key, Real};
use std::ops::Range;

/// Which part of a dataset is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Split {
    /// A share of the episodes, drawn by a seed.
    Random {
        /// The share, in (0, 1).
        share: f64,
        /// Of the draw.
        seed: u64,
    },
    /// The share of the episodes with the highest undiscounted returns.
    Best(f64),
    /// The share with the lowest.
    Worst(f64),
    /// The first so many rows.
    Rows(usize),
}

impl Dataset {
    /// Two datasets that are this one between them: the part that is meant, and the rest, both in the order of the dataset.
    ///
    /// All but [`Split::Rows`] divide whole episodes; the number of the first part is rounded, and at least one episode
    /// stays on either side. Of equal returns the earlier counts as better. An episode that the dataset stops in the middle of
    /// has no known return and goes to the rest of a split by return.
    ///
    /// # Errors
    /// If a share is not in (0, 1), or either part would be empty.
    pub fn split(&self, how: Split) -> Result<[Dataset; 2], ConfigError> {
        let episodes = self.episodes();
        let mut order: Vec<usize> = (0..episodes.len()).collect();
        let share = match how {
            Split::Rows(rows) => {
                let why = format!("are {rows}; the dataset has {}", self.len());
                ConfigError::unless((1..self.len()).contains(&rows), "rows", why)?;
                return Ok([0..rows, rows..self.len()].map(|range| self.rows(&[range])));
            }
            Split::Random { share, seed } => {
                Key::new(seed).name("split").shuffle(&mut order);
                share
            }
            Split::Best(share) | Split::Worst(share) => {
                let worst = matches!(how, Split::Worst(_));
                order.retain(|&e| episodes[e].end != End::Unfinished);
                order.sort_by(|&a, &b| episodes[b].total.total_cmp(&episodes[a].total));
                if worst {
                    order.reverse();
                }
                share
            }
        };
        ConfigError::unless(share > 0.0 && share < 1.0, "share", format!("is {share}; a share lies in (0, 1)"))?;
        let why = format!("cannot be taken of {} whole episodes", episodes.len());
        ConfigError::unless(episodes.len() > 1 && !order.is_empty(), "share", why)?;
        let most = order.len().min(episodes.len() - 1);
        let count = ((share * episodes.len() as f64).round() as usize).clamp(1, most);
        let mut chosen = vec![false; episodes.len()];
        order[..count].iter().for_each(|&e| chosen[e] = true);
        Ok([true, false].map(|side| {
            let ranges = episodes.iter().zip(&chosen).filter(|(_, c)| **c == side);
            self.rows(&ranges.map(|(e, _)| e.first..e.after()).collect::<Vec<_>>())
        }))
    }

    /// The rows of `ranges`, one range after another.
    ///
    /// Where a truncated row stores the *next* episode's first state as its next observation (a leak, see
    /// [`transitions`](Dataset::transitions)), other rows may follow it now, and the leak could no longer be told from a truth.
    /// Such a row is given the first state of what follows it now, so that it is still known for what it is. The last row of
    /// all is judged by the others, as ever; if it is the only one, nothing would betray it: then a truncated row is left out and
    /// the row before it is truncated, and a terminal one has its own state in the place of the next.
    ///
    /// # Panics
    /// If a range reaches beyond the dataset.
    pub fn rows(&self, ranges: &[Range<usize>]) -> Dataset {
        let last = self.len().saturating_sub(1);
        let leaky = (0..self.len()).any(|t| self.leaks(t) == Some(true));
        let leaks = |t: usize| self.leaks(t).unwrap_or(t == last && self.stops(t) && leaky);
        let mut rows: Vec<usize> = ranges.iter().cloned().flatten().collect();
        let (mut cut, mut lone) = (None, None);
        if let Some((&end, others)) = rows.split_last()
            && self.has_next_obs()
            && leaks(end)
            && !others.iter().any(|&t| leaks(t))
        {
            if self.terminal[end] {
                lone = Some(rows.len() - 1);
            } else {
                rows.pop();
                cut = rows.len().checked_sub(1).filter(|&i| rows[i] + 1 == end && !self.stops(rows[i]));
            }
        }
        let pick = |values: &[Real], width: usize| -> Vec<Real> {
            rows.iter().flat_map(|&t| &values[t * width..][..width]).copied().collect()
        };
        let [obs, act] = self.widths;
        let columns = [pick(&self.obs, obs), pick(&self.act, act), pick(&self.reward, 1)];
        let mut next_obs = self.next_obs.as_ref().map(|next| pick(next, obs));
        if let Some(next) = &mut next_obs {
            for (i, pair) in rows.windows(2).enumerate() {
                if pair[1] != pair[0] + 1 && leaks(pair[0]) {
                    next[i * obs..][..obs].copy_from_slice(self.obs_at(pair[1]));
                }
            }
        }
        if let (Some(next), Some(i)) = (&mut next_obs, lone) {
            next[i * obs..].copy_from_slice(self.obs_at(rows[i]));
        }
        let [terminal, mut truncated] =
            [&self.terminal, &self.truncated].map(|flags| rows.iter().map(|&t| flags[t]).collect::<Vec<_>>());
        cut.into_iter().for_each(|i| truncated[i] = true);
        let mut dataset =
            Dataset::from_parts(self.widths, columns, next_obs, [terminal, truncated]).from_origin(&self.origin);
        for info in &self.infos {
            dataset.push_info(&info.name, info.width, pick(&info.values, info.width));
        }
        dataset.set_notes(self.notes().clone());
        dataset.unread.clone_from(&self.unread);
        dataset
    }

    /// The dataset without some of its fields: `infos`, `infos/<name>` or the info's name alone, `notes` or `next_observations`; and
    /// without a note of what was [not read](Dataset::unread): by name, by a folder, or `unread` for all. Other names change nothing.
    pub fn without(&self, fields: &[String]) -> Dataset {
        let named = |field: &str| fields.iter().any(|f| f == field);
        let mut dataset = self.clone();
        dataset.infos.retain(|info| !named("infos") && !named(&format!("infos/{}", info.name)) && !named(&info.name));
        dataset.unread.retain(|unread| !Dataset::names_unread(fields, &unread.name));
        if named("notes") {
            dataset.set_notes(Default::default());
        }
        if named("next_observations") {
            dataset.next_obs = None;
        }
        dataset
    }

    /// Of everything the dataset holds, bit for bit, and of nothing that a file adds: two files of one dataset have one
    /// fingerprint, whatever their formats.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut all = Fingerprinter::default();
        [self.widths[0], self.widths[1], self.len()].iter().for_each(|&n| all.word(n as u64));
        all.word(self.has_next_obs() as u64);
        for (_, _, values) in self.floats() {
            all.numbers(values);
        }
        for flags in [&self.terminal, &self.truncated] {
            all.bytes(&flags.iter().map(|&flag| flag as u8).collect::<Vec<u8>>());
        }
        for info in &self.infos {
            all.bytes(info.name.as_bytes());
            all.numbers(&info.values);
        }
        for (name, note) in self.notes() {
            all.bytes(name.as_bytes());
            all.bytes(note.as_bytes());
        }
        all.finish()
    }
}
