//! What the exit code of the program says.

use backcast::Error;

/// Everything was done.
pub(crate) const DONE: u8 = 0;
/// Something is wrong that asking again will not mend; the message says what. (2 is a command line that makes no sense.)
pub(crate) const FAILED: u8 = 1;
/// There is no room left on a disk. What was saved is whole; free some room and give the same command again.
pub(crate) const DISK_FULL: u8 = 3;
/// Another process is at work in the folder.
pub(crate) const BUSY: u8 = 4;
/// A value stopped being a number.
pub(crate) const NOT_FINITE: u8 = 5;
/// Interrupted, as shells have it for Ctrl-C: everything is saved, and the same command goes on.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code for an error.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        match cause.downcast_ref::<Error>() {
            Some(Error::Interrupted) => return INTERRUPTED,
            Some(Error::Busy { .. }) => return BUSY,
            Some(Error::NotFinite { .. }) => return NOT_FINITE,
            Some(own) if own.is_disk_full() => return DISK_FULL,
            _ => {}
        }
        if cause.downcast_ref::<std::io::Error>().is_some_and(backcast::storage::is_disk_full) {
            return DISK_FULL;
        }
    }
    FAILED
}

/// What to do about an error, beyond what it says itself.
pub(crate) fn advice(code: u8) -> Option<&'static str> {
    match code {
        DISK_FULL => {
            Some("the disk is full. What was saved before is whole: free some room and give the same command again")
        }
        BUSY => Some("nothing was done here, and nothing is lost"),
        NOT_FINITE => Some("with the same settings the same would happen again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn what_went_wrong_is_told_by_the_code() {
        let of = |error: Error| code(&anyhow::Error::new(error).context("a run"));
        let io = |kind: io::ErrorKind| Error::Io { path: "x".into(), source: kind.into() };
        assert_eq!(of(io(io::ErrorKind::StorageFull)), DISK_FULL);
        assert_eq!(of(io(io::ErrorKind::PermissionDenied)), FAILED);
        let source = io::ErrorKind::QuotaExceeded.into();
        assert_eq!(of(backcast::storage::CheckpointError::Io { path: "x".into(), source }.into()), DISK_FULL);
        assert_eq!(of(Error::Interrupted), INTERRUPTED);
        assert_eq!(of(Error::Mismatch("odd".into())), FAILED);
        assert_eq!(code(&anyhow::Error::new(io::Error::from(io::ErrorKind::FileTooLarge))), DISK_FULL);
        assert!(advice(DISK_FULL).is_some() && advice(FAILED).is_none() && advice(DONE).is_none());
    }
}
