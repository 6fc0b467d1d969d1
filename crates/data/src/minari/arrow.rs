//! The arrow layout of a Minari dataset: a folder for each episode, `part-0.arrow` in it.
//!
//! A file has one row more than its episode has steps; what belongs to steps (actions, rewards, flags) is padded at the end,
//! and the padding is not shown here. Columns are lists of fixed length, numbers, or structures of such; a structure's
//! fields become names with slashes, as they have in HDF5.

use super::states;
use crate::arrays::{Entry, Kind, ReadArrays};
use crate::{DataError, Dataset, atomic};
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, BooleanArray, FixedSizeListArray, PrimitiveArray, RecordBatch, StructArray};
use arrow_buffer::ScalarBuffer;
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Fields};
use backcast_core::Real;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

#[cfg(not(feature = "f64"))]
type RealType = Float32Type;
#[cfg(feature = "f64")]
type RealType = Float64Type;

/// Names to entries and bytes.
type Parts = BTreeMap<String, (Entry, Vec<u8>)>;

pub(super) struct Reader {
    path: PathBuf,
    names: Vec<String>,
    entries: BTreeMap<String, Entry>,
    files: BTreeMap<u64, PathBuf>,
    /// The episode that was read last: its arrays are asked for one after another.
    last: Mutex<(Option<u64>, Parts)>,
}

pub(super) fn open(folder: &Path) -> Result<Reader, DataError> {
    let io = |source| DataError::io(folder, source);
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.is_dir()) {
            files.insert(number, path.join("part-0.arrow"));
        }
    }
    let mut entries = BTreeMap::new();
    for (&number, path) in &files {
        entries.extend(read_file(number, path)?.into_iter().map(|(name, (entry, _))| (name, entry)));
    }
    let names = entries.keys().cloned().collect();
    Ok(Reader { path: folder.into(), names, entries, files, last: Mutex::default() })
}

impl ReadArrays for Reader {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> &[String] {
        &self.names
    }

    fn entry(&self, array: &str) -> Result<Entry, DataError> {
        let missing = || DataError::Missing { file: self.path.clone(), dataset: array.into() };
        self.entries.get(array).cloned().ok_or_else(missing)
    }

    fn bytes(&self, array: &str) -> Result<Vec<u8>, DataError> {
        self.entry(array)?;
        // The file is read again here, and may have become another since it was listed.
        let missing = || DataError::Missing { file: self.path.clone(), dataset: array.into() };
        let number = array.strip_prefix("episode_").and_then(|rest| rest.split('/').next()?.parse().ok());
        let number: u64 = number.ok_or_else(missing)?;
        let file = self.files.get(&number).ok_or_else(missing)?;
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.0 != Some(number) {
            *last = (Some(number), read_file(number, file)?);
        }
        let (entry, bytes) = last.1.get(array).ok_or_else(missing)?;
        match &entry.kind {
            Kind::Other(found) => Err(self.unexpected(array, found.clone(), "numbers or booleans")),
            _ => Ok(bytes.clone()),
        }
    }
}

/// All arrays of one file.
fn read_file(number: u64, path: &Path) -> Result<Parts, DataError> {
    let file = File::open(path).map_err(|source| DataError::io(path, source))?;
    let bytes = file.metadata().map_err(|source| DataError::io(path, source))?.len();
    let malformed = |why: String| DataError::Format { file: path.into(), kind: "arrow file", bytes, why };
    let read = || -> Result<Parts, String> {
        let mut parts = Parts::new();
        for batch in FileReader::try_new(file, None).map_err(|e| e.to_string())? {
            let batch = batch.map_err(|e| e.to_string())?;
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                unfold(&format!("episode_{number}/{}", field.name()), column, &mut parts);
            }
        }
        Ok(parts)
    };
    let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("the arrow reader panicked".into()));
    let mut parts = read.map_err(malformed)?;
    for name in ["actions", "rewards", "terminations", "truncations"] {
        let (exact, below) = (format!("episode_{number}/{name}"), format!("episode_{number}/{name}/"));
        for (name, (entry, bytes)) in &mut parts {
            if let Some(rows) = entry.shape.first_mut().filter(|_| *name == exact || name.starts_with(&below)) {
                *rows = rows.saturating_sub(1);
                bytes.truncate(entry.shape.iter().product::<usize>() * entry.kind.bytes());
            }
        }
    }
    Ok(parts)
}

/// Adds a column, or the fields below it.
fn unfold(name: &str, column: &ArrayRef, parts: &mut Parts) {
    if let Some(fields) = column.as_struct_opt() {
        for (field, column) in fields.fields().iter().zip(fields.columns()) {
            // The parts of a tuple are named by their numbers alone.
            let number = field.name().parse::<usize>().is_ok() && !name.contains("/infos");
            let index = if number { "_index_" } else { "" };
            unfold(&format!("{name}/{index}{}", field.name()), column, parts);
        }
        return;
    }
    let (rows, mut shape, mut values) = (column.len(), vec![column.len()], column.clone());
    if let Some(list) = column.as_fixed_size_list_opt() {
        let width = list.value_length() as usize;
        shape.push(width);
        values = list.values().slice(list.value_offset_at(0) as usize, rows * width);
    }
    let (kind, mut bytes) = elements(&values);
    let fresh = || {
        let entry = Entry { name: name.into(), shape: shape.clone(), kind: kind.clone(), storage: "arrow".into() };
        (entry, Vec::new())
    };
    let (entry, all) = parts.entry(name.into()).or_insert_with(fresh);
    if entry.kind == kind && entry.shape[1..] == shape[1..] {
        if !all.is_empty() {
            entry.shape[0] += rows;
        }
        all.append(&mut bytes);
    }
}

/// Numbers as little-endian bytes.
fn elements(values: &ArrayRef) -> (Kind, Vec<u8>) {
    macro_rules! numbers {
        ($type:ty, $kind:expr) => {{
            let values = values.as_primitive::<$type>().values();
            ($kind, values.iter().flat_map(|x| x.to_le_bytes()).collect())
        }};
    }
    let int = |bytes, signed| Kind::Int { bytes, signed };
    match values.data_type() {
        DataType::Float16 => numbers!(Float16Type, Kind::Float { bytes: 2 }),
        DataType::Float32 => numbers!(Float32Type, Kind::Float { bytes: 4 }),
        DataType::Float64 => numbers!(Float64Type, Kind::Float { bytes: 8 }),
        DataType::Int8 => numbers!(Int8Type, int(1, true)),
        DataType::Int16 => numbers!(Int16Type, int(2, true)),
        DataType::Int32 => numbers!(Int32Type, int(4, true)),
        DataType::Int64 => numbers!(Int64Type, int(8, true)),
        DataType::UInt8 => numbers!(UInt8Type, int(1, false)),
        DataType::UInt16 => numbers!(UInt16Type, int(2, false)),
        DataType::UInt32 => numbers!(UInt32Type, int(4, false)),
        DataType::UInt64 => numbers!(UInt64Type, int(8, false)),
        DataType::Boolean => (Kind::Bool, values.as_boolean().values().iter().map(u8::from).collect()),
        other => (Kind::Other(format!("arrow's {other}")), Vec::new()),
    }
}

/// `[rows, width]` as a list of fixed length.
fn list(values: Vec<Real>, width: usize) -> Result<ArrayRef, String> {
    let values = PrimitiveArray::<RealType>::new(ScalarBuffer::from(values), None);
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let list = FixedSizeListArray::try_new(field, width as i32, Arc::new(values), None);
    Ok(Arc::new(list.map_err(|e| e.to_string())?))
}

pub(super) fn write(folder: &Path, dataset: &Dataset) -> Result<(), DataError> {
    for (number, episode) in dataset.episodes().iter().enumerate() {
        let folder = atomic::folder(&folder.join(number.to_string()))?;
        let path = folder.join("part-0.arrow");
        let written = write_file(&path, dataset, episode);
        written.map_err(|why| DataError::io(&path, std::io::Error::other(why)))?;
        let metadata = serde_json::json!({ "id": number, "total_steps": episode.rows }).to_string();
        atomic::write(&folder.join("metadata.json"), metadata.as_bytes())?;
    }
    Ok(())
}

fn write_file(path: &Path, dataset: &Dataset, episode: &crate::Episode) -> Result<(), String> {
    let words = |error: arrow_schema::ArrowError| error.to_string();
    let [obs, act] = dataset.widths();
    let [ends, truncated] = dataset.ends();
    let range = episode.first..episode.after();
    let padded =
        |values: &[Real], width: usize| [&values[range.start * width..range.end * width], &vec![0.0; width]].concat();
    let flags =
        |values: &[bool]| -> ArrayRef { Arc::new(BooleanArray::from([&values[range.clone()], &[false]].concat())) };
    let rewards = PrimitiveArray::<RealType>::new(ScalarBuffer::from(padded(&dataset.reward, 1)), None);
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("observations", list(states(dataset, episode), obs)?),
        ("actions", list(padded(&dataset.act, act), act)?),
        ("rewards", Arc::new(rewards)),
        ("terminations", flags(ends)),
        ("truncations", flags(truncated)),
    ];
    if !dataset.infos().is_empty() {
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for info in dataset.infos() {
            let array = list(padded(&info.values, info.width), info.width)?;
            fields.push(
                Field::new(&info.name, array.data_type().clone(), true)
                    .with_metadata(HashMap::from([("shape".to_string(), info.width.to_string())])),
            );
            arrays.push(array);
        }
        let infos = StructArray::try_new(Fields::from(fields), arrays, None).map_err(words)?;
        columns.push(("infos", Arc::new(infos)));
    }
    let batch = RecordBatch::try_from_iter(columns).map_err(words)?;
    let file = File::create(path).map_err(|error| error.to_string())?;
    let mut writer = FileWriter::try_new(file, &batch.schema()).map_err(words)?;
    writer.write(&batch).and_then(|()| writer.finish()).map_err(words)?;
    let file = writer.into_inner().map_err(words)?;
    file.sync_all().map_err(|error| error.to_string())
}
