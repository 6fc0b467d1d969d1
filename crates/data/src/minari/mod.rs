//! Minari datasets: a folder of episodes, each with one more observation than it has actions.
//!
//! ```text
//! <dataset>/data/metadata.json       identity, spaces, counts
//! <dataset>/data/main_data.hdf5      episode_0/{observations, actions, rewards, terminations, truncations, infos/…} …
//! <dataset>/data/0/part-0.arrow …    the same in arrow, a file for each episode (feature `arrow`)
//! ```
//!
//! # Reading
//!
//! Any of the folder, its `data` and the main file may be named. Row *t* of an episode is observation *t*, action *t*, reward
//! *t*, and observation *t + 1* as the next one, so that a dataset read from Minari always knows *s′*.
//!
//! - **Flattening.** Spaces that are dictionaries or tuples become columns side by side, keys sorted, depth first, boxes
//!   row-major and categories one-hot, as gymnasium's `flatten` does. Images and text are errors that name the array.
//! - **Flags.** A termination is a terminal, a truncation a truncation. An episode that ends with neither was truncated, for another
//!   follows it; the last one is then unfinished.
//! - **Infos** that are numbers and have a row for each step, or one more for the reset, in every episode, become
//!   [infos](crate::Dataset::infos) by their path. Of those with one more, row *t* is what came with observation *t*, as in D4RL;
//!   what came after the last step is left behind. Other arrays are [noted](crate::Dataset::unread) and not read.
//! - **Notes** are the entries of `metadata.json`.
//!
//! # Writing
//!
//! What is written opens in Minari (`minari.MinariDataset("<dataset>/data")`, or by its id from Minari's own folder). Spaces
//! are flat boxes: with the bounds of the dataset's own note `observation_space` or `action_space` if one fits, else ±1 for
//! actions that lie there, else none. An entry `backcast` keeps the notes exactly, so that a dataset is read back to the same
//! bits.
//!
//! **What it cannot hold:** a dataset without next observations (the last of each episode is then not known, see
//! [`WriteOptions::repeat_final`]), and rows inside an episode whose stored next observation is not the next row's.

#[cfg(feature = "arrow")]
mod arrow;
mod space;

use crate::arrays::ReadArrays;
use crate::{DataError, Dataset, Format, WriteOptions, atomic, h5};
use backcast_core::Real;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The name of the main file.
pub(crate) const MAIN: &str = "main_data.hdf5";
const METADATA: &str = "metadata.json";

/// The arrays of an episode that have a number for each step.
const FLAGS: [&str; 3] = ["rewards", "terminations", "truncations"];

/// No metadata are longer.
const LONGEST: u64 = 1 << 26;

/// What a dataset says of itself: our entry, and the format it was written in where nothing says otherwise.
const OURS: &str = "backcast";
const VERSION: &str = "0.5.3";

/// Entries that describe the file and not the dataset.
const STRUCTURE: [&str; 6] = ["total_episodes", "total_steps", "data_format", "dataset_size", "jpeg_encoding", OURS];

/// Entries that Minari insists are text, whatever they look like.
const TEXT: [&str; 7] =
    ["dataset_id", "minari_version", "code_permalink", "algorithm_name", "env_spec", "eval_env_spec", "description"];

/// The folder that holds the data of the dataset at `path`.
fn data_folder(path: &Path) -> PathBuf {
    if path.is_file() {
        return path.parent().unwrap_or(Path::new("")).into();
    }
    let inner = path.join("data");
    let here = path.join(METADATA).exists() || path.join(MAIN).exists();
    if !here && inner.is_dir() { inner } else { path.into() }
}

pub(crate) fn main_file(path: &Path) -> PathBuf {
    data_folder(path).join(MAIN)
}

/// Whether the folder at `path` is a dataset, and of which kind.
pub(crate) fn detect(path: &Path) -> Result<Format, DataError> {
    let folder = data_folder(path);
    if !folder.join(METADATA).exists() && !folder.join(MAIN).exists() {
        let why = format!(
            "a folder without {METADATA} and {MAIN}, so no Minari dataset; name a file, or the dataset's folder"
        );
        return Err(DataError::Unknown { file: path.into(), why });
    }
    let metadata = metadata(&folder)?;
    match metadata.get("data_format").and_then(Value::as_str) {
        Some("arrow") => Ok(Format::MinariArrow),
        Some("hdf5") | None => Ok(Format::Minari),
        Some(other) => {
            let why = format!("a Minari dataset kept as {other}; save it as hdf5 or arrow with Minari first");
            Err(DataError::Unknown { file: path.into(), why })
        }
    }
}

/// The entries of `metadata.json`; none for datasets from before there was one.
fn metadata(folder: &Path) -> Result<Map<String, Value>, DataError> {
    let path = folder.join(METADATA);
    let length = match std::fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(_) => return Ok(Map::new()),
    };
    let malformed = |why: String| DataError::Format { file: path.clone(), kind: "JSON file", bytes: length, why };
    if length > LONGEST {
        return Err(malformed("longer than any metadata".into()));
    }
    let bytes = std::fs::read(&path).map_err(|source| DataError::io(&path, source))?;
    parse_metadata(&bytes).map_err(malformed)
}

/// The entries of the text of a `metadata.json`. The error is in words.
fn parse_metadata(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    match space::lenient(text).map_err(|error| error.to_string())? {
        Value::Object(entries) => Ok(entries),
        _ => Err("not an object".into()),
    }
}

/// Reads a Minari dataset: its folder, the folder's `data`, or the main file.
///
/// # Errors
/// Typed, naming the file, the array and where possible the row. Never panics on a damaged dataset.
pub fn read(path: &Path) -> Result<Dataset, DataError> {
    let folder = data_folder(path);
    let metadata = metadata(&folder)?;
    let dataset = match detect(path)? {
        #[cfg(feature = "arrow")]
        Format::MinariArrow => read_from(&arrow::open(&folder)?, &metadata)?,
        #[cfg(not(feature = "arrow"))]
        Format::MinariArrow => return Err(without_arrow(path)),
        _ => read_from(&*h5::open(&folder.join(MAIN))?, &metadata)?,
    };
    Ok(dataset.from_origin(path))
}

/// Reads the episodes in `file`, described by the text of a `metadata.json`, wherever they lie.
///
/// # Errors
/// As [`read`].
pub fn read_parts(file: &dyn ReadArrays, metadata: &[u8]) -> Result<Dataset, DataError> {
    let entries = parse_metadata(metadata).map_err(|why| DataError::Format {
        file: file.path().into(),
        kind: "JSON file",
        bytes: metadata.len() as u64,
        why,
    })?;
    read_from(file, &entries)
}

#[cfg(not(feature = "arrow"))]
fn without_arrow(path: &Path) -> DataError {
    let why = "a Minari dataset in arrow files, and this program was built without the feature `arrow`; build with \
               `--features arrow`, or save it as hdf5 with Minari";
    DataError::Unknown { file: path.into(), why: why.into() }
}

/// One info, as the first episode has it.
struct InfoPart {
    name: String,
    width: usize,
    values: Vec<Real>,
}

fn read_from(file: &dyn ReadArrays, metadata: &Map<String, Value>) -> Result<Dataset, DataError> {
    let episodes = episodes(file)?;
    let declared = metadata.get("total_episodes").and_then(Value::as_u64);
    if let Some(declared) = declared.filter(|&n| n != episodes.len() as u64) {
        let why = format!("{METADATA} counts {declared} episodes, and {} are here", episodes.len());
        return Err(DataError::damaged(file.path(), "total_episodes", None, why));
    }
    let ours = metadata.get(OURS);
    let repeated = ours.and_then(|ours| ours.get("next_observations")) == Some(&json!("repeated"));
    let mut dataset: Option<Dataset> = None;
    let mut infos: Vec<InfoPart> = Vec::new();
    let (mut obs_leaves, mut act_leaves) = (Vec::new(), Vec::new());
    for (index, &number) in episodes.iter().enumerate() {
        let episode = format!("episode_{number}");
        let name = |array: &str| format!("{episode}/{array}");
        let rows = file.entry(&name("rewards"))?.shape.first().copied().unwrap_or(0);
        FLAGS.iter().try_for_each(|array| file.vector(&name(array), rows))?;
        if index == 0 {
            obs_leaves = leaves(file, metadata, "observation_space", &episode, "observations")?;
            act_leaves = leaves(file, metadata, "action_space", &episode, "actions")?;
            infos = first_infos(file, &episode, rows)?;
        }
        if rows == 0 {
            continue;
        }
        spread(file, &episode, &dataset)?;
        let (obs, states) = space::read(file, &episode, &obs_leaves, rows + 1)?;
        let (act, actions) = space::read(file, &episode, &act_leaves, rows)?;
        let rewards = file.reals(&name("rewards"))?;
        let (ends, truncated) = (file.flags(&name("terminations"))?, file.flags(&name("truncations"))?);
        infos = more_infos(file, &episode, rows, infos)?;
        let dataset = dataset.get_or_insert_with(|| Dataset::new(obs, act, !repeated));
        if dataset.widths() != [obs, act] {
            let expected = format!("{:?} columns like the first episode", dataset.widths());
            return Err(file.misshapen(&name("observations"), vec![obs, act], expected));
        }
        if let Some(t) = dataset.len().checked_sub(1) {
            dataset.truncated[t] |= !dataset.terminal[t];
        }
        dataset.obs.extend_from_slice(&states[..rows * obs]);
        dataset.act.extend(actions);
        dataset.reward.extend(rewards);
        dataset.terminal.extend(ends);
        dataset.truncated.extend(truncated);
        if let Some(next) = &mut dataset.next_obs {
            next.extend_from_slice(&states[obs..]);
        }
    }
    let Some(mut dataset) = dataset else {
        return Err(DataError::Empty { file: file.path().into(), why: "the dataset has no steps" });
    };
    let leaves = obs_leaves.iter().chain(&act_leaves).map(|leaf| leaf.path.clone());
    let read = leaves.chain(infos.iter().map(|info| format!("infos/{}", info.name)));
    note_others(file, &mut dataset, &read.chain(FLAGS.map(Into::into)).collect());
    for info in infos {
        dataset.push_info(info.name, info.width, info.values);
    }
    dataset.set_notes(notes(metadata));
    Ok(dataset.from_origin(file.path()))
}

/// Refuses to go on once the categories of the episodes so far take more than all of the file may become.
fn spread(file: &dyn ReadArrays, episode: &str, dataset: &Option<Dataset>) -> Result<(), DataError> {
    let values = dataset.as_ref().map_or(0, |dataset| dataset.obs.len() + dataset.act.len());
    let (declared, limit) = ((values * size_of::<Real>()) as u128, file.budget());
    if declared <= limit as u128 {
        return Ok(());
    }
    let (path, dataset, bytes) = (file.path().into(), format!("{episode}/observations"), limit / h5::MAX_RATIO);
    Err(DataError::TooLarge { file: path, dataset, declared, bytes, limit })
}

/// Notes the arrays that are read in no episode, each once, by its path in an episode.
fn note_others(file: &dyn ReadArrays, dataset: &mut Dataset, read: &BTreeSet<String>) {
    for name in file.names() {
        let inside = name.split_once('/').filter(|(episode, _)| episode.starts_with("episode_"));
        let (short, why) = match inside {
            Some((_, short)) if read.contains(short) => continue,
            Some((_, short)) if short.starts_with("infos/") => {
                (short, "not every episode has a row of numbers for each step")
            }
            Some((_, short)) => (short, "no space of the dataset has a place for it"),
            None => (name.as_str(), "it lies in no episode"),
        };
        if !dataset.unread().iter().any(|unread| unread.name == short) {
            let shape = file.entry(name).map(|entry| entry.shape).unwrap_or_default();
            dataset.note_unread(short, shape, why);
        }
    }
    file.others().into_iter().for_each(|name| dataset.note_unread(name, Vec::new(), crate::unread::NO_ARRAY));
}

/// The numbers of the episodes, in order.
fn episodes(file: &dyn ReadArrays) -> Result<Vec<u64>, DataError> {
    let number = |name: &String| name.strip_prefix("episode_")?.split('/').next()?.parse::<u64>().ok();
    let mut numbers: Vec<u64> = file.names().iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.is_empty() {
        return Err(DataError::Missing { file: file.path().into(), dataset: "episode_0".into() });
    }
    Ok(numbers)
}

fn leaves(
    file: &dyn ReadArrays,
    metadata: &Map<String, Value>,
    space: &str,
    episode: &str,
    path: &str,
) -> Result<Vec<space::Leaf>, DataError> {
    let found = match metadata.get(space) {
        Some(Value::String(text)) => {
            space::lenient(text).map_err(|e| e.to_string()).and_then(|s| space::leaves(&s, path))
        }
        Some(value) => space::leaves(value, path),
        None => Ok(space::leaves_of_file(file, episode, path)),
    };
    let damaged = |why| DataError::damaged(file.path(), space, None, why);
    match found.map_err(damaged)? {
        found if found.is_empty() => {
            Err(DataError::Missing { file: file.path().into(), dataset: format!("{episode}/{path}") })
        }
        found => Ok(found),
    }
}

fn info_width(file: &dyn ReadArrays, array: &str, rows: usize) -> Result<Option<usize>, DataError> {
    let entry = file.entry(array)?;
    let width = entry.shape.iter().skip(1).product();
    let per_row = entry.shape.first().is_some_and(|n| *n == rows || *n == rows + 1);
    Ok(Some(width).filter(|w| per_row && *w > 0 && entry.kind.bytes() > 0))
}

/// Which infos the first episode has, without their values.
fn first_infos(file: &dyn ReadArrays, episode: &str, rows: usize) -> Result<Vec<InfoPart>, DataError> {
    let prefix = format!("{episode}/infos/");
    let mut infos = Vec::new();
    for array in file.names() {
        let Some(name) = array.strip_prefix(&prefix) else { continue };
        if let Some(width) = info_width(file, array, rows)? {
            infos.push(InfoPart { name: name.into(), width, values: Vec::new() });
        }
    }
    Ok(infos)
}

/// Adds one episode's values; an info that this episode has not, or has differently, is given up.
fn more_infos(
    file: &dyn ReadArrays,
    episode: &str,
    rows: usize,
    infos: Vec<InfoPart>,
) -> Result<Vec<InfoPart>, DataError> {
    let mut kept = Vec::new();
    for mut info in infos {
        let array = format!("{episode}/infos/{}", info.name);
        if file.has(&array) && info_width(file, &array, rows)? == Some(info.width) {
            let values = file.reals(&array)?;
            info.values.extend_from_slice(&values[..rows * info.width]);
            kept.push(info);
        }
    }
    Ok(kept)
}

fn notes(metadata: &Map<String, Value>) -> BTreeMap<String, String> {
    let exact = metadata.get(OURS).and_then(|ours| serde_json::from_value(ours.get("notes")?.clone()).ok());
    exact.unwrap_or_else(|| {
        let of_dataset = metadata.iter().filter(|(name, _)| !STRUCTURE.contains(&name.as_str()));
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), Into::into);
        of_dataset.map(|(name, value)| (name.clone(), text(value))).collect()
    })
}

/// What of `dataset` has no place here, and why.
pub(crate) fn unheld(dataset: &Dataset, options: &WriteOptions) -> Option<(String, String)> {
    let field = || "next_observations".to_string();
    if !dataset.has_next_obs() {
        let why = "it stores one more observation after each episode, and the dataset does not know it; write with \
                   `repeat_final` (`--repeat-final`) to let the last one stand in, or keep the dataset in another format";
        return (!options.repeat_final).then(|| (field(), why.into()));
    }
    let bits = |values: &[Real]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let inside = |t: &usize| !dataset.stops(*t) && t + 1 < dataset.len();
    let apart = |t: &usize| dataset.row(*t).next_obs.is_some_and(|next| bits(next) != bits(dataset.row(t + 1).obs));
    let row = (0..dataset.len()).filter(inside).find(apart)?;
    let why = "is not the observation of the row after it, and an episode stores each observation once; leave \
               `next_observations` out, or mark where the episode ends";
    Some((field(), format!("that of row {row} {why}")))
}

pub(crate) fn write_in_place(
    path: &Path,
    format: Format,
    dataset: &Dataset,
    _options: &WriteOptions,
) -> Result<(), DataError> {
    let folder = atomic::folder(&path.join("data"))?;
    match format {
        #[cfg(feature = "arrow")]
        Format::MinariArrow => arrow::write(&folder, dataset)?,
        #[cfg(not(feature = "arrow"))]
        Format::MinariArrow => return Err(without_arrow(path)),
        _ => write_hdf5(&folder.join(MAIN), dataset)?,
    }
    let entries = describe(path, format, dataset);
    let text = serde_json::to_string_pretty(&entries).expect("a JSON object");
    atomic::write(&folder.join(METADATA), text.as_bytes())
}

/// The observations of an episode and the one after it, `[rows + 1, obs]`.
fn states(dataset: &Dataset, episode: &crate::Episode) -> Vec<Real> {
    let last = dataset.row(episode.after() - 1);
    let width = dataset.widths()[0];
    let all = &dataset.obs[episode.first * width..episode.after() * width];
    [all, last.next_obs.unwrap_or(last.obs)].concat()
}

fn write_hdf5(path: &Path, dataset: &Dataset) -> Result<(), DataError> {
    let mut file = h5::create(path)?;
    let [obs, act] = dataset.widths();
    let [ends, truncated] = dataset.ends();
    for (number, episode) in dataset.episodes().iter().enumerate() {
        let group = format!("episode_{number}");
        let name = |array: &str| format!("{group}/{array}");
        let (rows, range) = (episode.rows, episode.first..episode.after());
        file.reals(&name("observations"), &[rows + 1, obs], &states(dataset, episode))?;
        file.reals(&name("actions"), &[rows, act], &dataset.act[range.start * act..range.end * act])?;
        file.reals(&name("rewards"), &[rows], &dataset.reward[range.clone()])?;
        file.flags(&name("terminations"), &ends[range.clone()])?;
        file.flags(&name("truncations"), &truncated[range.clone()])?;
        for info in dataset.infos() {
            let values = &info.values[range.start * info.width..range.end * info.width];
            file.reals(&name(&format!("infos/{}", info.name)), &[rows, info.width], values)?;
        }
        file.mark(&group, "id", number as i64)?;
        file.mark(&group, "total_steps", rows as i64)?;
    }
    file.finish()
}

/// The entries of `metadata.json`.
fn describe(path: &Path, format: Format, dataset: &Dataset) -> Value {
    let [obs, act] = dataset.widths();
    let mut entries = Map::new();
    for (name, text) in dataset.notes() {
        // A note that is the JSON of something other than text was that something.
        let value = serde_json::from_str::<Value>(text).ok();
        let value = value.filter(|v| {
            !TEXT.contains(&name.as_str()) && !v.is_string() && serde_json::to_string(v).as_ref().ok() == Some(text)
        });
        entries.insert(name.clone(), value.unwrap_or_else(|| text.clone().into()));
    }
    let within = dataset.act.iter().all(|a| a.abs() <= 1.0);
    let spaces = [("observation_space", obs, false), ("action_space", act, within)];
    for (name, width, unit) in spaces {
        let own = dataset.notes().get(name).filter(|text| fits(text, width)).cloned();
        entries.insert(name.into(), own.unwrap_or_else(|| flat_box(width, unit)).into());
    }
    let stem = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let sound = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    // The folder is written under another name first: a point before, and a number and a word behind.
    let stem = stem.trim_start_matches('.').trim_end_matches(".partial");
    let stem: String = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem).chars().map(sound).collect();
    let id = dataset.notes().get("dataset_id").cloned().unwrap_or_else(|| format!("backcast/{stem}-v0"));
    entries.insert("dataset_id".into(), id.into());
    if !entries.contains_key("minari_version") {
        entries.insert("minari_version".into(), VERSION.into());
    }
    entries.insert("total_episodes".into(), dataset.episodes().len().into());
    entries.insert("total_steps".into(), dataset.len().into());
    entries.insert("data_format".into(), if format == Format::MinariArrow { "arrow" } else { "hdf5" }.into());
    entries.insert("jpeg_encoding".into(), false.into());
    let next = if dataset.has_next_obs() { "stored" } else { "repeated" };
    entries.insert(OURS.into(), json!({ "notes": dataset.notes(), "next_observations": next }));
    Value::Object(entries)
}

/// Whether a serialised space is a flat box of `width`.
fn fits(text: &str, width: usize) -> bool {
    let space = space::lenient(text).unwrap_or_default();
    space.get("type") == Some(&json!("Box")) && space.get("shape") == Some(&json!([width]))
}

/// A box of `width` as Minari serialises it, ±1 or without bounds.
fn flat_box(width: usize, unit: bool) -> String {
    let all = |value: &str| vec![value; width].join(", ");
    let (low, high) = if unit { ("-1.0", "1.0") } else { ("-Infinity", "Infinity") };
    let dtype = if size_of::<Real>() == 4 { "float32" } else { "float64" };
    format!(
        "{{\"type\": \"Box\", \"dtype\": \"{dtype}\", \"shape\": [{width}], \"low\": [{}], \"high\": [{}]}}",
        all(low),
        all(high)
    )
}
