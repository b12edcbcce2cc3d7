//! Compiles the vats under test, each once per process.
//!
//! The nested cargo works in the same directory as the one that compiles the example vats, so that a vat's
//! dependencies are compiled once for all purposes. Cargo decides whether anything is to be done; a lock file
//! keeps the test processes that run at the same time from reading a module while another one replaces it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use vat_sdk_build::{CCompiler, GuestTarget, Toolchain, VatBuild, workspace_root};

use crate::error::{Error, Result};

/// A package that is a vat.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    pub(crate) manifest_dir: PathBuf,
    pub(crate) name: String,
    pub(crate) target: GuestTarget,
}

/// A module, or why there is none; shared, since many tests hear of it.
type Outcome = Result<Arc<[u8]>, Arc<vat_sdk_build::Error>>;

/// What was compiled in this process. Held while compiling, so that the tests of a process wait for one build.
static BUILT: Mutex<BTreeMap<Package, Outcome>> = Mutex::new(BTreeMap::new());

impl Package {
    /// The module, compiled now if that did not happen in this process.
    pub(crate) fn wasm(&self) -> Result<Arc<[u8]>> {
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = built.get(self) {
            return outcome.clone().map_err(Error::Build);
        }
        let wasm = match self.build() {
            Ok(wasm) => Ok(wasm),
            Err(Error::Build(reason)) => Err(reason),
            Err(other) => return Err(other),
        };
        built.insert(self.clone(), wasm.clone());
        wasm.map_err(Error::Build)
    }

    fn build(&self) -> Result<Arc<[u8]>> {
        let workspace = workspace_root(&self.manifest_dir).map_err(refused)?;
        let target_dir = guests_dir().unwrap_or_else(|| workspace.join("target/guests"));
        let _lock = lock(&target_dir)?;
        let toolchain = Toolchain::find(&[self.target], &target_dir).map_err(refused)?;
        let build =
            VatBuild { workspace, packages: vec![self.name.clone()], target: self.target, target_dir };
        let built = build.run(&toolchain).map_err(refused)?;
        let module = built.first().expect("one package was asked for, so one was built");
        Ok(fs::read(&module.wasm).map_err(io("read the vat's module"))?.into())
    }
}

/// Compiles a vat in C; `None` where no compiler for that is found.
pub(crate) fn compile_c(source: &Path, headers: &[PathBuf]) -> Result<Option<Vec<u8>>> {
    let compiler = match CCompiler::find() {
        Ok(compiler) => compiler,
        Err(vat_sdk_build::Error::NoCCompiler) => return Ok(None),
        Err(other) => return Err(refused(other)),
    };
    let dir = tempfile::tempdir().map_err(io("make a temporary directory"))?;
    let built = compiler.compile(source, headers, dir.path()).map_err(refused)?;
    Ok(Some(fs::read(built.wasm).map_err(io("read the vat's module"))?))
}

/// Where compiled code is kept between runs of the tests, if this is a test that cargo built.
pub(crate) fn code_dir() -> Option<PathBuf> {
    Some(guests_dir()?.join("code"))
}

/// `guests` in the target directory that the running test lies in, which is the one that cargo has tagged.
fn guests_dir() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let target = test.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file())?;
    Some(target.join("guests"))
}

/// Waits until no other process compiles there; held until dropped.
fn lock(target_dir: &Path) -> Result<File> {
    fs::create_dir_all(target_dir).map_err(io("make the directory for compiled vats"))?;
    let file = File::create(target_dir.join("testkit.lock")).map_err(io("make a lock file"))?;
    file.lock().map_err(io("lock the directory for compiled vats"))?;
    Ok(file)
}

fn refused(error: vat_sdk_build::Error) -> Error {
    Error::Build(Arc::new(error))
}

fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { what, source }
}
