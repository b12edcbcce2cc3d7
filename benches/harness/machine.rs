//! What the figures were measured on.

use std::fs;

/// The machine at the beginning of a run.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    /// Runnable processes, averaged over 1, 5 and 15 minutes, before the run.
    pub(crate) load_before: String,
    /// Whether page tables can be scanned; else floors and figures find dirty pages in slower ways.
    pub(crate) tracker: &'static str,
}

impl Machine {
    /// As it is now. What cannot be found out is `unknown`.
    pub(crate) fn now() -> Machine {
        Machine {
            processor: field("/proc/cpuinfo", "model name"),
            processors: std::thread::available_parallelism().map_or(1, Into::into),
            memory: field("/proc/meminfo", "MemTotal"),
            kernel: first_line("/proc/sys/kernel/osrelease"),
            load_before: load(),
            tracker: vat_image::best_tracker().name(),
        }
    }
}

/// The load averages now.
pub(crate) fn load() -> String {
    first_line("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
    line.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
