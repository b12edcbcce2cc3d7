//! What is tested: a module, and how a vat of it is hosted.
//!
//! Nothing is compiled before the vat starts, so making a subject cannot fail; except for a vat in C, of which
//! it must be known first whether there is a compiler at all.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vat_abi::{Syscall, SyscallResult};
use vat_sdk_build::GuestTarget;
use vat_warehouse::{VatOptions, module_bytes};

use crate::compile::{Package, compile_c};
use crate::error::{Error, Result};

/// A vat to be: its module, its options, and what it hears back from its syscalls.
#[derive(Clone, Debug)]
pub struct Subject {
    module: Module,
    options: VatOptions,
    answers: Answers,
}

#[derive(Clone, Debug)]
enum Module {
    Package(Package),
    Wasm(Arc<[u8]>),
}

/// What other than vat storage answers syscalls.
#[derive(Clone)]
pub(crate) struct Answers(Arc<dyn Fn(&Syscall) -> SyscallResult + Send + Sync>);

impl Subject {
    /// A package of Rust; [`this_vat!`](crate::this_vat) is the one that the test belongs to.
    pub fn package(
        manifest_dir: impl Into<PathBuf>,
        name: impl Into<String>,
        target: GuestTarget,
    ) -> Subject {
        Subject::of(Module::Package(Package { manifest_dir: manifest_dir.into(), name: name.into(), target }))
    }

    /// A module that exists already: wasm, or its text format.
    pub fn wasm(module: impl Into<Vec<u8>>) -> Subject {
        Subject::of(Module::Wasm(module.into().into()))
    }

    /// A vat in C: one file, and the headers that it includes. `None` on a machine without a C compiler for
    /// wasm; then standard error says that the test is skipped, and the test should return.
    ///
    /// # Errors
    /// [`Error::Build`](crate::Error::Build) with the compiler's words.
    pub fn c(source: impl AsRef<Path>, headers: &[PathBuf]) -> Result<Option<Subject>> {
        let source = source.as_ref();
        let Some(wasm) = compile_c(source, headers)? else {
            // Written past the test harness, which would hide it: a skipped test must not look like one that ran.
            let message = vat_sdk_build::Error::NoCCompiler;
            let _ = writeln!(std::io::stderr(), "test skipped, {} not run: {message}", source.display());
            return Ok(None);
        };
        Ok(Some(Subject::wasm(wasm)))
    }

    /// With these options instead of the default ones.
    #[must_use]
    pub fn options(self, options: VatOptions) -> Subject {
        Subject { options, ..self }
    }

    /// With these answers to the syscalls that are not `vatstore…`; otherwise the answer is always `ok`. A vat
    /// storage's own syscalls are answered by the warehouse.
    #[must_use]
    pub fn answering(self, answers: impl Fn(&Syscall) -> SyscallResult + Send + Sync + 'static) -> Subject {
        Subject { answers: Answers(Arc::new(answers)), ..self }
    }

    fn of(module: Module) -> Subject {
        let answers = Answers(Arc::new(|_| SyscallResult::Ok(None)));
        Subject { module, options: VatOptions::default(), answers }
    }

    /// The module's bytes, compiled now if need be.
    pub(crate) fn module(&self) -> Result<Arc<[u8]>> {
        match &self.module {
            Module::Package(package) => package.wasm(),
            Module::Wasm(bytes) => {
                let binary = module_bytes(bytes).map_err(|refusal| Error::Module(refusal.to_string()))?;
                Ok(binary.into())
            }
        }
    }

    pub(crate) fn vat_options(&self) -> VatOptions {
        self.options.clone()
    }

    pub(crate) fn answers(&self) -> Answers {
        self.answers.clone()
    }
}

impl Answers {
    pub(crate) fn answer(&self, syscall: &Syscall) -> SyscallResult {
        (self.0)(syscall)
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}
