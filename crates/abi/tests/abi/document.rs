//! The reference for vat authors says what the code does.

use vat_abi::{Syscall, TrapKind, limits, names};

const DOCUMENT: &str = include_str!("../../ABI.md");

/// The module of the section "A whole vat" is a module, and what it says is a syscall.
#[test]
fn the_whole_vat_assembles() {
    let text = DOCUMENT.split("```wat\n").nth(1).unwrap().split("```").next().unwrap();
    let module = wat::parse_str(text).unwrap();
    let syscall = r##"["resolve",[["p-00",false,{"body":"#0","slots":[]}]]]"##;
    assert!(module.windows(syscall.len()).any(|bytes| bytes == syscall.as_bytes()));
    assert!(text.contains(&format!("(i32.const {})", syscall.len())));
    // The vat writes the promise's two digits before it makes the syscall.
    assert!(Syscall::from_json(syscall.replace("p-00", "p-60").as_bytes()).is_ok());
}

#[test]
fn every_name_is_explained() {
    let imports = [names::DELIVERY_READ, names::SYSCALL, names::RESULT_READ, names::LOG, names::FAIL];
    for import in imports {
        assert!(DOCUMENT.contains(&format!("## `{import}(")), "{import}");
    }
    for export in [names::MEMORY, names::VAT_DELIVER, names::INITIALIZE] {
        assert!(DOCUMENT.contains(&format!("| `{export}` |")), "{export}");
    }
    for trap in TrapKind::ALL {
        assert!(DOCUMENT.contains(&format!("`{}`", trap.name())), "{trap}");
    }
}

#[test]
fn the_table_of_limits_is_true() {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    let table = [
        ("| a delivery, a syscall, a result | 16 MiB each |", limits::DELIVERY_BYTES_MAX, 16 * MIB),
        ("| a delivery, a syscall, a result | 16 MiB each |", limits::SYSCALL_BYTES_MAX, 16 * MIB),
        ("| a delivery, a syscall, a result | 16 MiB each |", limits::RESULT_BYTES_MAX, 16 * MIB),
        ("| syscalls in one delivery | 100,000,", limits::SYSCALLS_PER_DELIVERY_MAX, 100_000),
        ("together with their results 64 MiB |", limits::SYSCALL_BYTES_PER_DELIVERY_MAX, 64 * MIB),
        ("in one list | 65,536 each |", limits::SLOTS_MAX, 65_536),
        ("in one list | 65,536 each |", limits::RESOLUTIONS_MAX, 65_536),
        ("in one list | 65,536 each |", limits::VREFS_MAX, 65_536),
        ("| storage key; value | 8,192 bytes;", limits::VATSTORE_KEY_BYTES_MAX, 8_192),
        ("bytes; 8 MiB |", limits::VATSTORE_VALUE_BYTES_MAX, 8 * MIB),
        ("| `log` | 64 KiB a call (cut off),", limits::LOG_BYTES_MAX, 64 * KIB),
        ("1 MiB a delivery (fault) |", limits::OUTPUT_BYTES_PER_DELIVERY_MAX, MIB),
        ("| `fail` message | 1,024 bytes (cut off) |", limits::FAIL_BYTES_MAX, 1_024),
    ];
    for (row, limit, value) in table {
        assert!(DOCUMENT.contains(row), "{row}");
        assert_eq!(limit, value, "{row}");
    }
}
