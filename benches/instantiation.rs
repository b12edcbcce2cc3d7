//! From a module's bytes to an instance: compiling, loading compiled code, and starting from code in memory.
//!
//! ```text
//!   compile   bytes ────────────────────────────► module        floor: wasmtime, the bytes as they are
//!   cached    file of compiled code ── restore ──► instance     floor: deserialize_file + instantiate
//!   first     the same in a process that has not seen the file: its bytes are hashed before they are trusted
//!   pooled    the same                                          floor: wasmtime's own pool, instances from data segments
//!   warm      module in memory ─────── restore ──► instance     floor: store + instantiate + one mmap
//!   birth     module in memory ────────────────► its first instance, with data and start function run
//! ```
//!
//! Each for the vat of these benches, which is small, and for example vats as people write them.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use vat_engine::limits::MEMORY_PAGES_MAX;
use vat_engine::{Engine, EngineConfig, Error, HeapState, VatInstance, VatModule};
use vat_image::{Check, PageStore, StoreOptions, best_tracker};

use crate::floor::{BareEngine, BareModule};
use crate::harness::{Figure, Session};
use crate::vat::{HeapSize, Syscalls, module};
use crate::{scratch, timed};

/// Example vats that are measured besides.
const GUESTS: [&str; 2] = ["counter", "search"];

pub(crate) fn bench(session: &mut Session) -> Result<()> {
    if !session.wants("instantiate") {
        return Ok(());
    }
    bench_module(session, "writer", &module(HeapSize::MIB, Syscalls::None))?;
    for name in GUESTS {
        match vat_guests::wasm(name) {
            Ok(wasm) => bench_module(session, name, wasm)?,
            Err(why) => session.left_out(&format!("instantiate/*/{name}"), why),
        }
    }
    Ok(())
}

fn bench_module(session: &mut Session, name: &str, wasm: &[u8]) -> Result<()> {
    bench_compile(session, name, wasm)?;
    let dir = scratch()?;
    let subject = Subject::new(dir.path(), wasm)?;
    bench_cached(session, name, &subject)?;
    bench_pooled(session, name, wasm, &subject)?;
    session.pair(
        Figure::time(format!("instantiate/warm/{name}")).at_most(2.0),
        || timed(|| subject.restore(&subject.module)).map(|(taken, _)| taken),
        || timed(|| subject.bare.instantiate(&subject.bare_module)).map(|(taken, _)| taken),
    )?;
    session.alone(Figure::time(format!("instantiate/birth/{name}")), || {
        let birth = || Ok(VatInstance::birth(&subject.engine, &subject.module, MEMORY_PAGES_MAX)?);
        timed(birth).map(|(taken, _)| taken)
    })
}

fn bench_compile(session: &mut Session, name: &str, wasm: &[u8]) -> Result<()> {
    let bare = BareEngine::new(None)?;
    session.pair(
        Figure::time(format!("instantiate/compile/{name}")),
        || {
            // A new engine, since an engine keeps what it has compiled.
            let engine = Engine::new(EngineConfig::default())?;
            timed(|| Ok(engine.module(wasm)?)).map(|(taken, _)| taken)
        },
        || timed(|| bare.compile(wasm)).map(|(taken, _)| taken),
    )
}

/// Beside what wasmtime does best of itself: it can only start over from a module, which is why this is no bound of ours.
fn bench_pooled(session: &mut Session, name: &str, wasm: &[u8], subject: &Subject) -> Result<()> {
    let figure = Figure::time(format!("instantiate/pooled/{name}"));
    if !session.wants(figure.name()) {
        return Ok(());
    }
    let pool = BareEngine::pooled()?;
    let module = pool.module(wasm)?;
    session.pair(
        figure,
        || timed(|| subject.restore(&subject.module)).map(|(taken, _)| taken),
        || timed(|| pool.instantiate(&module)).map(|(taken, _)| taken),
    )
}

/// The engine keeps no code that is not in use, so that loading another module makes it forget the one measured.
fn bench_cached(session: &mut Session, name: &str, subject: &Subject) -> Result<()> {
    let other = subject.engine.module(&module(HeapSize(2), Syscalls::None))?.hash();
    let config = EngineConfig {
        code_cache: Some(subject.code_cache.clone()),
        code_bytes_max: 0,
        ..EngineConfig::default()
    };
    let engine = Engine::new(config.clone())?;
    let load = |hash| engine.module_by_hash::<Error>(hash, || panic!("its compiled code is on disk"));
    let hash = subject.module.hash();
    let ours = || -> Result<Duration> {
        load(&other)?;
        let (taken, _) = timed(|| Ok(restore(&engine, &load(&hash)?, &subject.birth)?))?;
        Ok(taken)
    };
    let floor = || {
        let (taken, _) = timed(|| subject.bare.instantiate(&subject.bare.load(&subject.bare_code)?))?;
        Ok(taken)
    };
    session.pair(Figure::time(format!("instantiate/cached/{name}")).at_most(1.3), ours, floor)?;
    session.pair(
        Figure::time(format!("instantiate/cached/{name}/first")),
        || {
            let engine = Engine::new(config.clone())?;
            let load = || engine.module_by_hash::<Error>(&hash, || panic!("its compiled code is on disk"));
            timed(|| Ok(restore(&engine, &load()?, &subject.birth)?)).map(|(taken, _)| taken)
        },
        floor,
    )
}

/// A module, compiled, with its state after birth; by our engine and bare.
struct Subject {
    engine: Engine,
    code_cache: std::path::PathBuf,
    module: VatModule,
    birth: HeapState,
    bare: BareEngine,
    bare_module: BareModule,
    bare_code: std::path::PathBuf,
}

impl Subject {
    fn new(dir: &Path, wasm: &[u8]) -> Result<Subject> {
        let code_cache = dir.join("code");
        let engine =
            Engine::new(EngineConfig { code_cache: Some(code_cache.clone()), ..EngineConfig::default() })?;
        let module = engine.module(wasm)?;
        let mut instance = VatInstance::birth(&engine, &module, MEMORY_PAGES_MAX)?;
        let (pages, _) = PageStore::open(&dir.join("pages"), &[], StoreOptions::default())?;
        let birth = instance.capture(&pages, best_tracker().as_ref(), Check::Never)?.state;
        let flat = dir.join("flat");
        fs::write(&flat, instance.heap())?;

        // The prepared module: the original would write its active data over the mapped heap.
        let prepared = vat_engine::prepare(wasm)?;
        let bare = BareEngine::new(Some(File::open(&flat)?))?;
        let bare_code = dir.join("bare.code");
        fs::write(&bare_code, bare.serialize(prepared.wasm())?)?;
        let bare_module = bare.load(&bare_code)?;
        Ok(Subject { engine, code_cache, module, birth, bare, bare_module, bare_code })
    }

    fn restore(&self, module: &VatModule) -> Result<VatInstance> {
        Ok(restore(&self.engine, module, &self.birth)?)
    }
}

fn restore(engine: &Engine, module: &VatModule, state: &HeapState) -> Result<VatInstance, Error> {
    VatInstance::restore(engine, module, MEMORY_PAGES_MAX, state)
}
