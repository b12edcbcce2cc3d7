//! How much memory this process had at most.

use std::fs;

/// The most memory that was in use at once: the resident set with everything in it, mapped files and compiled code too
/// (`VmHWM`). 0 where the operating system does not say.
pub(crate) fn peak_bytes() -> u64 {
    fs::read_to_string("/proc/self/status").ok().as_deref().and_then(high_water_mark).unwrap_or(0)
}

fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_found_in_the_status() {
        assert_eq!(high_water_mark("Name:\tvats\nVmHWM:\t   12 kB\nVmRSS:\t 5 kB\n"), Some(12 << 10));
        assert_eq!(high_water_mark("Name:\tvats\n"), None);
    }
}
