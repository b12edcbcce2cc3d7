//! Threads whose stacks are deep enough for vats.
//!
//! The engine can deliver on any thread, but on a shallow one it maps a deep stack for every call.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};

use anyhow::{Context as _, Result};
use vat_warehouse::thread_stack_bytes;

/// Does the work on a thread with a deep stack, and waits for it.
pub(crate) fn on_deep_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| join(spawn(scope, work)?)?)
}

/// Does the work for every item, `jobs` at a time; the results come in the order of the items.
pub(crate) fn map<I: Sync, T: Send>(
    items: &[I],
    jobs: usize,
    work: impl Fn(&I) -> T + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some((index, item)) = take(items, &next) {
            done.push((index, work(item)));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..jobs.min(items.len())).map(|_| spawn(scope, worker)).collect::<Result<_>>()?;
        let mut done = Vec::with_capacity(items.len());
        for worker in workers {
            done.extend(join(worker)?);
        }
        Ok::<_, anyhow::Error>(done)
    })?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// Does the work for every item at the same time, each item on its own thread.
pub(crate) fn each<I: Send, T: Send>(
    items: &mut [I],
    work: impl Fn(&mut I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let work = &work;
    thread::scope(|scope| {
        let workers: Vec<_> =
            items.iter_mut().map(|item| spawn(scope, move || work(item))).collect::<Result<_>>()?;
        workers.into_iter().map(|worker| join(worker)?).collect()
    })
}

/// How many threads there is use for on this machine.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn take<'a, I>(items: &'a [I], next: &AtomicUsize) -> Option<(usize, &'a I)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    items.get(index).map(|item| (index, item))
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let builder = Builder::new().name("vats".to_owned()).stack_size(thread_stack_bytes());
    builder.spawn_scoped(scope, work).context("cannot start a thread")
}

fn join<T>(worker: ScopedJoinHandle<'_, T>) -> Result<T> {
    Ok(worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..1_000).collect();
        for jobs in [1, 2, 7, 2_000] {
            let doubled = map(&items, jobs, |n| n * 2).unwrap();
            assert_eq!(doubled, items.iter().map(|n| n * 2).collect::<Vec<_>>());
        }
        assert!(map(&[] as &[u64], 2, |n| *n).unwrap().is_empty());
    }
}
