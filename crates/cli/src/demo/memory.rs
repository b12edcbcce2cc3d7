//! How much memory this process has, and had at most.

use std::fs;

/// The most memory that was in use at once: the resident set with everything in it, mapped files and compiled code too
/// (`VmHWM`). 0 where the operating system does not say.
pub(crate) fn peak_bytes() -> u64 {
    fs::read_to_string("/proc/self/status")
        .ok()
        .as_deref()
        .and_then(|status| line(status, "VmHWM:"))
        .unwrap_or(0)
}

/// The memory of its own that is in use now, mapped files left out (`RssAnon`): those leave it when others need the space.
pub(crate) fn now_bytes() -> u64 {
    fs::read_to_string("/proc/self/status")
        .ok()
        .as_deref()
        .and_then(|status| line(status, "RssAnon:"))
        .unwrap_or(0)
}

fn line(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_found_in_the_status() {
        assert_eq!(line("Name:\tvats\nVmHWM:\t   12 kB\nVmRSS:\t 5 kB\n", "VmHWM:"), Some(12 << 10));
        assert_eq!(line("Name:\tvats\n", "VmHWM:"), None);
    }
}
