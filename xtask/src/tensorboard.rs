//! The curve of an algorithm as TensorBoard's event file: records of protocol buffers, each with its length and checksums.
//!
//! The time of an event is its update, in seconds: the same algorithm leaves the same bytes.

use backcast::run::Point;
use prost::Message;

/// The name of the file; TensorBoard looks for `tfevents`.
pub(crate) const FILE: &str = "events.out.tfevents.0.backcast";

/// TensorFlow's `event.proto`, as far as a curve needs it.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, required, tag = "1")]
    wall_time: f64,
    #[prost(int64, optional, tag = "2")]
    step: Option<i64>,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, required, tag = "1")]
    tag: String,
    #[prost(float, required, tag = "2")]
    simple_value: f32,
}

/// The event file of a curve: `score`, and each metric as `metrics/NAME`.
pub(crate) fn events(curve: &[Point]) -> Vec<u8> {
    let version = Event { file_version: Some("brain.Event:2".into()), ..Event::default() };
    let mut file = record(&version.encode_to_vec());
    for point in curve {
        let metrics = point.metrics.iter().map(|(name, value)| (format!("metrics/{name}"), *value));
        for (tag, value) in std::iter::once(("score".to_owned(), point.score)).chain(metrics) {
            let event = Event {
                wall_time: point.update as f64,
                step: Some(point.update as i64),
                summary: Some(Summary { values: vec![Value { tag, simple_value: value as f32 }] }),
                ..Event::default()
            };
            file.extend(record(&event.encode_to_vec()));
        }
    }
    file
}

/// Length, its checksum, the bytes, their checksum (TFRecord).
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [&length[..], &masked(&length).to_le_bytes(), bytes, &masked(bytes).to_le_bytes()].concat()
}

/// The checksum as it stands in records: turned and shifted, so that checksums of checksums are not in step.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// Castagnoli's cyclic redundancy check, bit by bit: files are small.
fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| (crc >> 1) ^ (0x82F6_3B78 & 0_u32.wrapping_sub(crc & 1));
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ byte as u32, |crc, _| bit(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve() -> Vec<Point> {
        let point = |update: u64, score| Point { update, score, metrics: vec![("q".into(), score * 2.0)] };
        vec![point(500, -3.5), point(1000, 12.25), point(300_000, 99.0)]
    }

    #[test]
    fn records_are_whole() {
        // The check value of the polynomial.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        let file = events(&curve());
        let (mut rest, mut records) = (&file[..], 0);
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked(&rest[..8]).to_le_bytes());
            assert_eq!(rest[12 + length..16 + length], masked(&rest[12..12 + length]).to_le_bytes());
            (rest, records) = (&rest[16 + length..], records + 1);
        }
        assert_eq!(records, 1 + 3 * 2);
    }

    #[test]
    fn numbers_that_are_not_finite_are_written_as_they_are() {
        for score in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            let file = events(&[Point { update: 1, score, metrics: vec![] }]);
            // Field 2, four bytes.
            let value = [&[2 << 3 | 5][..], &(score as f32).to_le_bytes()].concat();
            assert!(file.windows(value.len()).any(|part| part == value), "{score}");
        }
    }

    /// TensorBoard's own reader, by the Python that `BACKCAST_PYTHON` names.
    #[test]
    fn tensorboard_reads_what_was_written() {
        let python = std::env::var("BACKCAST_PYTHON").unwrap_or_else(|_| "python3".into());
        let script = "import sys\n\
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n\
            events = EventAccumulator(sys.argv[1]).Reload()\n\
            for tag in sorted(events.Tags()['scalars']):\n    \
                print(tag, [(e.step, e.value) for e in events.Scalars(tag)])\n";
        let has = std::process::Command::new(&python).args(["-c", "import tensorboard"]).output();
        if !has.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: tensorboard_reads_what_was_written: {python} has no tensorboard");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), events(&curve())).unwrap();
        let output = std::process::Command::new(&python).args(["-c", script]).arg(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let expected = "metrics/q [(500, -7.0), (1000, 24.5), (300000, 198.0)]\nscore [(500, -3.5), (1000, 12.25), (300000, 99.0)]\n";
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}
