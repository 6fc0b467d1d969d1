use crate::Error;
use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Runs `work` on every item, at most `threads` at a time; results in the order of the items. After an error no further
/// item is begun, and the error of the earliest item is returned (an interruption only if there is nothing worse).
pub(crate) fn each<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let results: Vec<Mutex<Option<Result<R, Error>>>> = items.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(i) else { break };
                    let result = work(item);
                    if result.is_err() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    *results[i].lock().unwrap_or_else(|e| e.into_inner()) = Some(result);
                }
            });
        }
    });
    let results = results.into_iter().filter_map(|r| r.into_inner().unwrap_or_else(|e| e.into_inner()));
    let (mut done, mut interrupted) = (Vec::with_capacity(items.len()), false);
    for result in results {
        match result {
            Ok(result) => done.push(result),
            Err(Error::Interrupted) => interrupted = true,
            Err(error) => return Err(error),
        }
    }
    if interrupted { Err(Error::Interrupted) } else { Ok(done) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_errors_stop_the_rest() {
        let items: Vec<u64> = (0..20).collect();
        for threads in [1, 3, 50] {
            assert_eq!(each(&items, threads, |&x| Ok(x * x)).unwrap()[19], 361);
        }
        let begun = AtomicUsize::new(0);
        let error = each(&items, 1, |&x| {
            begun.fetch_add(1, Ordering::Relaxed);
            if x == 3 { Err(Error::Mismatch("three".into())) } else { Ok(x) }
        });
        assert!(matches!(error, Err(Error::Mismatch(_))));
        assert_eq!(begun.into_inner(), 4);
        assert!(matches!(each(&items, 2, |_| Err::<(), _>(Error::Interrupted)), Err(Error::Interrupted)));
    }
}
