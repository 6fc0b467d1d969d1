//! What this machine and this process are.

use std::path::Path;

/// Cores that this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The name of the processor, or of its architecture where the system does not say.
pub(super) fn processor() -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// The most memory that this process ever held, in MB, where the system says.
pub(super) fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// Processes waiting for a core, averaged over the last minute, where the system says.
pub(super) fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// Bytes of this program.
pub(super) fn own_size() -> u64 {
    std::env::current_exe().and_then(std::fs::metadata).map_or(0, |m| m.len())
}

/// Bytes of all files under `folder` whose path `counts`, links not followed.
pub(super) fn size_of(folder: &Path, counts: &dyn Fn(&Path) -> bool) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |path: &Path| match std::fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => size_of(path, counts),
        Ok(about) if about.is_file() && counts(path) => about.len(),
        _ => 0,
    };
    entries.map(|entry| size(&entry.path())).sum()
}

/// A size for people: `12.3 MB`.
pub(super) fn size(bytes: u64) -> String {
    let mb = bytes as f64 / 1e6;
    if mb >= 1000.0 { format!("{:.1} GB", mb / 1000.0) } else { format!("{mb:.1} MB") }
}

/// Today by the clock, in UTC: `2031-05-17`.
pub(super) fn today() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    date(since.map_or(0, |s| s.as_secs() / 86_400))
}

/// The civil date so many days after the first of January 1970.
fn date(days: u64) -> String {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= 365 + leap(year) as u64 {
        left -= 365 + leap(year) as u64;
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + leap(year) as u64, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_know_leap_years() {
        for (days, expected) in
            [(0, "1970-01-01"), (58, "1970-02-28"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_819, "2027-01-01")]
        {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn sizes_count_files_that_count() {
        let folder = std::env::temp_dir().join(format!("backcast-size-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("a/b")).unwrap();
        std::fs::write(folder.join("a/b/x"), [0; 100]).unwrap();
        std::fs::write(folder.join("y"), [0; 11]).unwrap();
        assert_eq!(size_of(&folder, &|_| true), 111);
        assert_eq!(size_of(&folder, &|path| path.ends_with("x")), 100);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((size(12_340_000), size(5_600_000_000)), ("12.3 MB".into(), "5.6 GB".into()));
    }
}
