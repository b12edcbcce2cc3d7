//! What the process must be told, or must be able to do, before it holds many heaps.

use crate::Error;

/// Mappings that a resident heap usually needs: the image, what it has grown by, and the inaccessible rest.
const MAPS_PER_HEAP: u64 = 3;

/// Mappings left to the rest of the process: code, stacks, allocator, compiled modules.
const MAPS_OF_THE_PROCESS: u64 = 4096;

/// How many mappings this process may have, and what that means for heaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapBudget {
    /// `vm.max_map_count`.
    pub limit: u64,
    /// Mappings that a resident heap usually needs. One with a fragmented image needs up to
    /// 2 · [`MAPPED_RUNS_MAX`](crate::MAPPED_RUNS_MAX) + 2.
    pub per_heap: u64,
}

impl MapBudget {
    /// Heaps that can be resident at the same time.
    pub fn heaps(&self) -> u64 {
        self.limit.saturating_sub(MAPS_OF_THE_PROCESS) / self.per_heap
    }

    /// The `vm.max_map_count` that so many resident heaps need; what to raise it to if [`heaps`](Self::heaps)
    /// is too few.
    pub fn limit_for(&self, heaps: u64) -> u64 {
        heaps.saturating_mul(self.per_heap).saturating_add(MAPS_OF_THE_PROCESS)
    }
}

/// Reads the limit on mappings; `None` where there is none, or where it cannot be read.
pub fn map_budget() -> Option<MapBudget> {
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    Some(MapBudget { limit: limit.trim().parse().ok()?, per_heap: MAPS_PER_HEAP })
}

/// From now on, a mapped page that cannot be read (file cut, disk error) ends the process with a message that
/// names the heap (see [`FaultContext`](crate::FaultContext)), the file and the place, instead of a bare
/// SIGBUS. Handlers that are there already keep all other SIGBUS signals. Once per process; where nothing is
/// mapped there is nothing to install.
///
/// # Errors
///
/// [`Error::Signals`] if the system refuses.
pub fn install_sigbus_reporter() -> Result<(), Error> {
    #[cfg(target_os = "linux")]
    crate::mapping::install_sigbus_handler().map_err(|source| Error::Signals { source })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_for_heaps_is_enough_for_them() {
        let budget = MapBudget { limit: 65_530, per_heap: 3 };
        assert_eq!(budget.heaps(), 20_478);
        assert_eq!(MapBudget { limit: budget.limit_for(30_000), ..budget }.heaps(), 30_000);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_its_limit() {
        assert!(map_budget().unwrap().limit > 0);
    }
}
