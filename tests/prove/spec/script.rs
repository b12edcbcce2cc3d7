//! Runs one script of the specification's tests: every directive is run, or counted with the reason why it is not.
//!
//! What does not go as the script says is a *failure*; a script is run to its end whatever fails.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use vat_abi::{TrapKind, VatFault};
use vat_engine::{CallValue, Error, Refusal, module_bytes, prepare};
use vat_image::RestoreMethod;
use wast::lexer::Lexer;
use wast::parser::{ParseBuffer, parse};
use wast::{QuoteWat, QuoteWatTest, Wast, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

use super::refusals;
use super::subject::{Born, Host, Subject};
use super::tally::Tally;
use super::values;
use super::wrap::{self, Unfit};

/// Why a module is not linked with another: vats have no imports but the host's.
const LINKED: &str = "modules that are linked";

/// A module of the script.
enum Slot {
    Alive(Box<Subject>),
    /// It is no vat, for this reason.
    Absent(String),
}

/// A script that is being run.
pub(crate) struct Script {
    host: Host,
    slots: Vec<Slot>,
    /// Slots of named modules.
    names: BTreeMap<String, usize>,
    /// Slots of registered modules, which others can import.
    registered: BTreeMap<String, usize>,
    /// Modules that are instantiated on request, the last one under no name.
    definitions: BTreeMap<Option<String>, Vec<u8>>,
    tally: Tally,
    failures: Vec<String>,
}

/// Runs a script but for what is outdated at these lines; answers its counts and what failed.
pub(crate) fn run(text: &str, outdated: &[usize], restore: RestoreMethod) -> Result<(Tally, Vec<String>)> {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer)?;
    let mut script = Script {
        host: Host::new(restore)?,
        slots: Vec::new(),
        names: BTreeMap::new(),
        registered: BTreeMap::new(),
        definitions: BTreeMap::new(),
        tally: Tally::default(),
        failures: Vec::new(),
    };
    for directive in parse::<Wast<'_>>(&buffer)?.directives {
        let line = directive.span().linecol_in(text).0 + 1;
        if outdated.contains(&line) {
            script.tally.skip("outdated");
        } else if let Err(error) = script.directive(directive) {
            script.failures.push(format!("line {line}: {error:#}"));
        }
    }
    Ok(script.finish())
}

impl Script {
    fn directive(&mut self, directive: WastDirective<'_>) -> Result<()> {
        match directive {
            WastDirective::Module(module) => self.module(module),
            WastDirective::ModuleDefinition(mut module) => {
                let name = module.name().map(|id| id.name().to_owned());
                let bytes = module.encode()?;
                self.definitions.insert(None, bytes.clone());
                self.definitions.insert(name, bytes);
                self.tally.count("defined");
                Ok(())
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let definition = module.map(|id| id.name().to_owned());
                let bytes = self.definitions.get(&definition).context("no such definition")?.clone();
                self.instantiate(instance.map(|id| id.name().to_owned()), &bytes)
            }
            WastDirective::AssertMalformed { module, .. }
            | WastDirective::AssertMalformedCustom { module, .. }
            | WastDirective::AssertInvalid { module, .. }
            | WastDirective::AssertInvalidCustom { module, .. } => self.not_valid(module),
            WastDirective::AssertUnlinkable { mut module, .. } => self.not_linked(&mut module),
            WastDirective::Invoke(invoke) => self.invoke(&invoke),
            WastDirective::AssertReturn { exec, results, .. } => self.returns(exec, &results),
            WastDirective::AssertTrap { exec, message, .. } => self.traps(exec, message),
            WastDirective::AssertExhaustion { call, message, .. } => self.faults(&call, message, "exhausted"),
            WastDirective::AssertException { exec, .. } => self.skip_on_absent(&exec, "an exception"),
            WastDirective::AssertSuspension { exec, .. } => self.skip_on_absent(&exec, "a suspension"),
            WastDirective::Register { name, module, .. } => {
                let slot = self.slot(module.map(|id| id.name()))?;
                self.registered.insert(name.to_owned(), slot);
                Ok(())
            }
            WastDirective::Thread(_) | WastDirective::Wait { .. } => {
                self.tally.skip("threads");
                Ok(())
            }
        }
    }

    fn module(&mut self, mut module: QuoteWat<'_>) -> Result<()> {
        let name = module.name().map(|id| id.name().to_owned());
        let bytes = module.encode()?;
        self.instantiate(name, &bytes)
    }

    fn instantiate(&mut self, name: Option<String>, bytes: &[u8]) -> Result<()> {
        // Until it is known better, so that nothing is done to the module before in the name of this one.
        let slot = self.slots.len();
        self.slots.push(Slot::Absent("that failed".to_owned()));
        if let Some(name) = name {
            self.names.insert(name, slot);
        }
        self.slots[slot] = match self.bear(bytes)? {
            Ok(Born::Alive(subject)) => {
                self.tally.count("born");
                Slot::Alive(subject)
            }
            Ok(Born::Failed(fault)) => bail!("the module was not born: {fault}"),
            Err(reason) => Slot::Absent(reason),
        };
        Ok(())
    }

    /// A vat of the module, or the reason why it is none.
    fn bear(&mut self, bytes: &[u8]) -> Result<Result<Born, String>> {
        let wrapped = match wrap::as_vat(bytes) {
            Ok(wrapped) => wrapped,
            Err(Unfit::Linked(exporter)) => {
                self.leave_to_linked(&exporter);
                self.tally.refuse(LINKED);
                return Ok(Err(LINKED.to_owned()));
            }
            // What cannot be read here can still be refused.
            Err(Unfit::Malformed) => bytes.to_vec(),
        };
        let refusal = match self.host.bear(&wrapped) {
            Ok(born) => return Ok(Ok(born)),
            Err(error) => match error.downcast::<Error>() {
                Ok(Error::Refused(refusal)) => refusal,
                Ok(error) => return Err(error.into()),
                Err(error) => return Err(error),
            },
        };
        let reason =
            refusals::reason(&refusal).ok_or_else(|| anyhow!("a valid module was refused: {refusal}"))?;
        self.tally.refuse(reason);
        Ok(Err(format!("modules refused for {reason}")))
    }

    /// What a module that is left out would have changed in another one is not known: the other is left out from here on.
    fn leave_to_linked(&mut self, exporter: &str) {
        if let Some(slot) = self.registered.get(exporter).copied() {
            self.retire(slot);
            self.slots[slot] = Slot::Absent(LINKED.to_owned());
        }
    }

    /// Counts what a vat has been through.
    fn retire(&mut self, slot: usize) {
        if let Slot::Alive(subject) = &self.slots[slot] {
            self.tally.add("captures", subject.captures);
            self.tally.add("restores", subject.restores);
            self.tally.add("compared", subject.compared);
        }
    }

    /// The module must be refused, whatever is wrong with it.
    fn not_valid(&mut self, mut module: QuoteWat<'_>) -> Result<()> {
        let bytes = match module.to_test() {
            Err(_) => None, // It cannot even be written in the binary format.
            Ok(QuoteWatTest::Text(text)) => match module_bytes(&text) {
                Err(_) => None,
                Ok(bytes) => Some(bytes.into_owned()),
            },
            Ok(QuoteWatTest::Binary(bytes)) => Some(bytes),
        };
        let Some(bytes) = bytes else {
            self.tally.count("rejected as text");
            return Ok(());
        };
        let bytes = wrap::define_imports(&bytes).unwrap_or(bytes);
        match prepare(&bytes) {
            // Whether a module exports what a vat must is looked at after all else.
            Ok(_) | Err(Refusal::Export { .. }) => bail!("a module that is not valid was accepted"),
            Err(Refusal::Import { .. }) => self.tally.count("rejected for an import"),
            Err(refusal) if refusals::reason(&refusal).is_some() => {
                self.tally.count("rejected for a feature")
            }
            Err(_) => self.tally.count("rejected"),
        }
        Ok(())
    }

    /// A module that cannot be linked has an import, and is refused for it.
    fn not_linked(&mut self, module: &mut Wat<'_>) -> Result<()> {
        ensure!(prepare(&module.encode()?).is_err(), "a module with imports was accepted");
        self.tally.count("unlinkable");
        Ok(())
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Result<()> {
        if let Some(result) = self.call(invoke)? {
            result.map_err(|fault| anyhow!("`{}` faulted: {fault}", invoke.name))?;
            self.tally.count("invoked");
        }
        Ok(())
    }

    fn returns(&mut self, exec: WastExecute<'_>, expected: &[WastRet<'_>]) -> Result<()> {
        let found = match exec {
            WastExecute::Invoke(invoke) => match self.call(&invoke)? {
                Some(result) => result.map_err(|fault| anyhow!("`{}` faulted: {fault}", invoke.name))?,
                None => return Ok(()),
            },
            WastExecute::Get { module, global, .. } => {
                let slot = self.slot(module.map(|id| id.name()))?;
                match &mut self.slots[slot] {
                    Slot::Alive(subject) => vec![subject.global(&self.host, global)?],
                    Slot::Absent(reason) => {
                        self.tally.skip(reason);
                        return Ok(());
                    }
                }
            }
            WastExecute::Wat(_) => bail!("a module returns nothing"),
        };
        ensure!(values::all_match(&found, expected), "expected {expected:?}, got {found:?}");
        self.tally.count("returned");
        Ok(())
    }

    fn traps(&mut self, exec: WastExecute<'_>, message: &str) -> Result<()> {
        match exec {
            WastExecute::Invoke(invoke) => self.faults(&invoke, message, "trapped"),
            WastExecute::Get { .. } => bail!("reading a global traps never"),
            WastExecute::Wat(mut module) => match self.bear(&module.encode()?)? {
                Ok(Born::Alive(_)) => bail!("the module was born, and should have trapped: {message}"),
                Ok(Born::Failed(found)) => {
                    let expected = fault(message)?.to_string();
                    ensure!(found == expected, "expected {expected}, got {found}");
                    self.tally.count("trapped at birth");
                    Ok(())
                }
                Err(_) => Ok(()),
            },
        }
    }

    fn faults(&mut self, invoke: &WastInvoke<'_>, message: &str, what: &'static str) -> Result<()> {
        match self.call(invoke)? {
            None => Ok(()),
            Some(Ok(results)) => bail!("`{}` returned {results:?}, and should not: {message}", invoke.name),
            Some(Err(found)) => {
                let expected = fault(message)?;
                ensure!(found == expected, "expected {expected}, got {found}");
                self.tally.count(what);
                Ok(())
            }
        }
    }

    /// Calls an export; `None` if its module is no vat.
    fn call(&mut self, invoke: &WastInvoke<'_>) -> Result<Option<Result<Vec<CallValue>, VatFault>>> {
        let slot = self.slot(invoke.module.map(|id| id.name()))?;
        match &mut self.slots[slot] {
            Slot::Absent(reason) => {
                self.tally.skip(reason);
                Ok(None)
            }
            Slot::Alive(subject) => {
                let arguments: Option<Vec<CallValue>> = invoke.args.iter().map(values::argument).collect();
                let arguments = arguments.context("an argument that no accepted module takes")?;
                subject.call(&self.host, invoke.name, &arguments).map(Some)
            }
        }
    }

    /// What only a refused module can do.
    fn skip_on_absent(&mut self, exec: &WastExecute<'_>, what: &str) -> Result<()> {
        let WastExecute::Invoke(invoke) = exec else { bail!("only a call can end in {what}") };
        let slot = self.slot(invoke.module.map(|id| id.name()))?;
        match &self.slots[slot] {
            Slot::Alive(_) => bail!("an accepted module cannot end in {what}"),
            Slot::Absent(reason) => self.tally.skip(reason),
        }
        Ok(())
    }

    fn slot(&self, name: Option<&str>) -> Result<usize> {
        match name {
            Some(name) => {
                self.names.get(name).copied().with_context(|| format!("no module is called {name}"))
            }
            None => self.slots.len().checked_sub(1).context("there is no module yet"),
        }
    }

    fn finish(mut self) -> (Tally, Vec<String>) {
        (0..self.slots.len()).for_each(|slot| self.retire(slot));
        (self.tally, self.failures)
    }
}

/// Our fault for what the specification's interpreter says.
fn fault(message: &str) -> Result<VatFault> {
    Ok(VatFault::Trap(match message {
        "call stack exhausted" => return Ok(VatFault::StackOverflow),
        "unreachable" => TrapKind::Unreachable,
        "integer divide by zero" => TrapKind::DivisionByZero,
        "integer overflow" => TrapKind::IntegerOverflow,
        "invalid conversion to integer" => TrapKind::BadConversion,
        "out of bounds memory access" => TrapKind::OutOfBoundsMemory,
        "out of bounds table access" => TrapKind::OutOfBoundsTable,
        "indirect call type mismatch" => TrapKind::BadSignature,
        _ if message.starts_with("undefined element") => TrapKind::OutOfBoundsTable,
        _ if message.starts_with("uninitialized element") => TrapKind::IndirectCallToNull,
        _ => bail!("no fault of ours stands for `{message}`"),
    }))
}
