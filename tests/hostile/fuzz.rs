//! What nobody thought of: modules with some bytes changed, modules that wasm-smith makes of noise with every feature on, and syscalls of
//! changed bytes. A seed decides everything about a run.
//!
//! A run passes if the host goes on: a module is refused or accepted, a delivery is delivered or faulted, and nothing is an error of the host.
//! What accepted modules compute is not looked at here; `tests/prove/generated` does.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use arbitrary::Unstructured;
use vat_abi::{CapData, Outcome};
use vat_warehouse::{Error, VatName, Warehouse};

use crate::corpus::{self, Guest};
use crate::host::{Kernel, message, options};

/// Bytes that a run has to decide by.
const NOISE_BYTES: usize = 8_192;
/// Deliveries to a vat of a module that was accepted.
const DELIVERIES: u64 = 2;

/// Syscalls that are made as they are.
const GOOD_SYSCALLS: [&str; 12] = [
    r#"["vatstoreGet","key"]"#,
    r#"["vatstoreSet","key","value"]"#,
    r#"["vatstoreSet","an other key","the value of it, which is a longer one"]"#,
    r#"["vatstoreDelete","key"]"#,
    r#"["vatstoreGetNextKey",""]"#,
    r#"["vatstoreGetNextKey","key"]"#,
    r#"["subscribe","p-60"]"#,
    r##"["send","o+1",{"methargs":{"body":"#["name",[1,2]]","slots":["o+1","o+2"]},"result":"p+5"}]"##,
    r##"["resolve",[["p-60",false,{"body":"#"value"","slots":[]}]]]"##,
    r#"["dropImports",["o-1","o-2"]]"#,
    r#"["retireExports",["o+1"]]"#,
    r##"["exit",true,{"body":"#{"#error":"why"}","slots":[]}]"##,
];

/// How many runs ended how.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

/// What is changed: good modules and the corpus's syscalls.
pub(crate) struct Fuzzer<'a> {
    warehouse: &'a Warehouse,
    modules: Vec<Vec<u8>>,
    syscalls: Vec<Vec<u8>>,
    /// A module with the exports that a vat must have.
    exports: Vec<u8>,
    speaker: VatName,
    tally: Tally,
}

impl<'a> Fuzzer<'a> {
    pub(crate) fn new(warehouse: &'a Warehouse) -> Result<Fuzzer<'a>> {
        let says = wat::parse_str(include_str!("../vats/says.wat"))?;
        warehouse.install("says", &says)?;
        let speaker: VatName = "speaker".parse()?;
        let (started, Kernel) =
            warehouse.create(&speaker, "says", options(), CapData::undefined(), 0, Kernel);
        started?;
        let mut modules = vec![says];
        for text in [include_str!("../vats/state.wat"), include_str!("../vats/scatter.wat")] {
            modules.push(wat::parse_str(text)?);
        }
        modules.extend(
            vat_guests::ALL.iter().filter_map(|guest| vat_guests::wasm(guest.name).ok()).map(<[u8]>::to_vec),
        );
        let syscalls = corpus::cases().into_iter().filter_map(|case| match case.guest {
            Guest::Says(bytes) => Some(bytes()).filter(|bytes| bytes.len() < NOISE_BYTES),
            _ => None,
        });
        let syscalls = syscalls.collect();
        let exports = wat::parse_str(
            r#"(module (memory (export "memory") 1) (func (export "vat_deliver") (param i32) (result i32) (unreachable)))"#,
        )?;
        Ok(Fuzzer { warehouse, modules, syscalls, exports, speaker, tally: Tally::new() })
    }

    /// How the runs ended.
    pub(crate) fn tally(self) -> Tally {
        self.tally
    }

    /// One run.
    pub(crate) fn run(&mut self, seed: u64) -> Result<()> {
        let mut bytes = vec![0; NOISE_BYTES];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        let mut noise = Unstructured::new(&bytes);
        match seed % 4 {
            0 => {
                let module = changed(&self.modules, &mut noise)?;
                self.host(seed, &module, "changed module")
            }
            1 => {
                let config = self.config(seed, &mut noise)?;
                let Ok(mut module) = wasm_smith::Module::new(config, &mut noise) else { return Ok(()) };
                let _ = module.ensure_termination(10_000);
                self.host(seed, &module.to_bytes(), "noise as a module")
            }
            _ => {
                let good = GOOD_SYSCALLS.map(|text| text.as_bytes().to_vec());
                let syscall = match noise.arbitrary()? {
                    true => changed(&good, &mut noise)?,
                    false => changed(&self.syscalls, &mut noise)?,
                };
                let hex: String = syscall.iter().map(|byte| format!("{byte:02x}")).collect();
                let ended = self.deliver(&self.speaker.clone(), format!("<{hex}>"), seed)?;
                self.count(match ended {
                    Outcome::Delivered => "changed syscall: made",
                    Outcome::Faulted(_) => "changed syscall: a fault",
                });
                Ok(())
            }
        }
    }

    /// What wasm-smith makes modules of: any feature, or every other time only those that a vat may have.
    fn config(&self, seed: u64, noise: &mut Unstructured<'_>) -> Result<wasm_smith::Config> {
        let any: wasm_smith::Config = noise.arbitrary()?;
        let exports = Some(self.exports.clone());
        if seed % 8 == 1 {
            return Ok(wasm_smith::Config { exports, ..any });
        }
        Ok(wasm_smith::Config {
            exports,
            max_imports: 0,
            max_memories: 1,
            memory64_enabled: false,
            threads_enabled: false,
            exceptions_enabled: false,
            gc_enabled: false,
            tail_call_enabled: false,
            relaxed_simd_enabled: false,
            wide_arithmetic_enabled: false,
            custom_page_sizes_enabled: false,
            ..any
        })
    }

    /// Installs a module, and if it is accepted, lets it run.
    fn host(&mut self, seed: u64, module: &[u8], kind: &'static str) -> Result<()> {
        let is_changed = kind == "changed module";
        let module_name = format!("module-{seed}");
        if let Err(error) = self.warehouse.install(&module_name, module) {
            if !is_refusal(&error) {
                bail!("a module was neither accepted nor refused: {error}");
            }
            self.count(if is_changed { "changed module: refused" } else { "noise as a module: refused" });
            return Ok(());
        }
        self.count(if is_changed { "changed module: accepted" } else { "noise as a module: accepted" });
        let name: VatName = format!("bad-{seed}").parse()?;
        let (started, Kernel) =
            self.warehouse.create(&name, &module_name, options(), CapData::undefined(), 0, Kernel);
        match started {
            Ok(_) => {}
            Err(error) if is_refusal(&error) => return Ok(()),
            Err(error) => bail!("a vat neither started nor faulted: {error}"),
        }
        for n in 0..DELIVERIES {
            self.deliver(&name, format!("#[\"add\",[{n}]]"), n)?;
            self.warehouse.evict(&name)?;
        }
        let verified = self.warehouse.verify(&name)?;
        anyhow::ensure!(verified.verdict.is_identical(), "a replay differs: {}", verified.verdict);
        self.warehouse.terminate(&name, "it was tried")?;
        Ok(())
    }

    fn deliver(&self, name: &VatName, body: String, time: u64) -> Result<Outcome> {
        let (report, Kernel) = self.warehouse.provide_blocking(name)?.deliver(message(body), time, Kernel);
        Ok(report.context("the host could not deliver")?.outcome)
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }
}

/// Whether it is the module's fault.
fn is_refusal(error: &Error) -> bool {
    use vat_engine::Error::{MemoryLimitTooLow, Refused};
    matches!(error, Error::StartFaulted { .. } | Error::Engine(Refused(_) | MemoryLimitTooLow { .. }))
}

/// One of these, with a few things done to it.
fn changed(originals: &[Vec<u8>], noise: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = noise.choose(originals)?.clone();
    for _ in 0..noise.int_in_range(1..=2)? {
        let at = noise.choose_index(bytes.len().max(1))?;
        match noise.int_in_range(0..=8)? {
            _ if bytes.is_empty() => bytes.push(noise.arbitrary()?),
            0 => bytes.truncate(at),
            1 => bytes.insert(at, noise.arbitrary()?),
            2 => drop(bytes.remove(at)),
            3 => {
                let end = (at + noise.int_in_range(0..=64)?).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => bytes[at] ^= 1 << noise.int_in_range(0..=7)?,
            5 => bytes[at] = noise.arbitrary()?,
            // What stands elsewhere in it is more often still of some use.
            _ => bytes[at] = bytes[noise.choose_index(bytes.len())?],
        }
    }
    Ok(bytes)
}
