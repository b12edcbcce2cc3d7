//! WASI without a world: what `wasm32-wasip1` vats are given.
//!
//! The functions are wasmtime-wasi's; what stands behind them is a value of the crank: both clocks say the crank's recorded
//! time, randomness is derived from the crank's seed, output goes to the log, standard input is empty, there are no
//! arguments, variables, files or sockets. The context is made anew for every delivery, so that nothing outlives a crank on the
//! host's side.
//!
//! Two functions are ours: `random_get`, so that it is charged by length, and `poll_oneoff`, which would sleep by the host's
//! clock and answers "not supported" instead.

use std::time::Duration;

use wasmtime::{Caller, Linker};
use wasmtime_wasi::p1::{WasiP1Ctx, add_to_linker_sync};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

use crate::host::{CrankContext, HostState};
use crate::prepare::WASI_MODULE;
use vat_abi::limits::OUTPUT_BYTES_PER_DELIVERY_MAX;

/// The functions of preview 1, which never changes any more.
const FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// WASI's number for "not supported".
const ERRNO_NOTSUP: i32 = 58;
/// WASI's number for "bad address".
const ERRNO_FAULT: i32 = 21;

/// Whether preview 1 has a function of that name.
pub(crate) fn is_known(name: &str) -> bool {
    FUNCTIONS.binary_search(&name).is_ok()
}

/// The WASI side of one crank.
pub(crate) struct WasiCrank {
    pub(crate) context: WasiP1Ctx,
    output: MemoryOutputPipe,
}

impl WasiCrank {
    /// Makes the world for one crank.
    pub(crate) fn new(crank: &CrankContext) -> WasiCrank {
        let output = MemoryOutputPipe::new(OUTPUT_BYTES_PER_DELIVERY_MAX + 1); // Enough to see that it was too much.
        let context = WasiCtxBuilder::new()
            .stdout(output.clone())
            .stderr(output.clone())
            .wall_clock(CrankClock { time_ns: crank.time_ns })
            .monotonic_clock(CrankClock { time_ns: crank.time_ns })
            .allow_blocking_current_thread(true)
            .allow_tcp(false)
            .allow_udp(false)
            .build_p1();
        WasiCrank { context, output }
    }

    /// What was printed.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&self.output.contents()).into_owned()
    }
}

/// Adds WASI to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    add_to_linker_sync(linker, |host: &mut HostState| {
        &mut host.wasi.as_mut().expect("a WASI vat runs with a WASI context").context
    })?;
    linker.allow_shadowing(true);
    linker.func_wrap(WASI_MODULE, "random_get", random_get)?;
    linker.func_wrap(WASI_MODULE, "poll_oneoff", |_: i32, _: i32, _: i32, _: i32| ERRNO_NOTSUP)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn random_get(mut caller: Caller<'_, HostState>, buffer: i32, len: i32) -> wasmtime::Result<i32> {
    crate::imports::charge(&mut caller, u64::from(len.cast_unsigned()))?;
    let memory = caller.data().memory();
    let (bytes, host) = memory.data_and_store_mut(&mut caller);
    let start = buffer.cast_unsigned() as usize;
    let Some(room) =
        start.checked_add(len.cast_unsigned() as usize).and_then(|end| bytes.get_mut(start..end))
    else {
        return Ok(ERRNO_FAULT);
    };
    host.randomness.fill(room);
    Ok(0)
}

/// A clock that stands still during a crank.
#[derive(Debug, Clone, Copy)]
struct CrankClock {
    time_ns: u64,
}

impl HostWallClock for CrankClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.time_ns)
    }
}

impl HostMonotonicClock for CrankClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.time_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_functions_is_sorted_and_searched() {
        assert!(FUNCTIONS.is_sorted());
        assert!(is_known("fd_write"));
        assert!(!is_known("thread_spawn"));
    }
}
