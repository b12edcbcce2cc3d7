//! The command line: every subcommand, its arguments, and the help that people read.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use serde_json::Value;
use vat_warehouse::{Retention, VatName, limits};

/// Hosts vats: isolated, deterministic programs in WebAssembly, kept in memory only while they are in use.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_long_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
A first session:
  vats init
  vats install counter counter.wasm
  vats create alice counter --args '{\"start\":7}'
  vats send alice add '[5]'
  vats transcript alice
  vats replay

Exit code: 0 done; 1 failed, rejected, or something differs; 2 the command line is wrong.";

/// What every subcommand takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where the vats are kept. Without it: $VATS_DATA, else $XDG_DATA_HOME/vats, else ~/.local/share/vats
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
    /// Print one JSON value, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log more to stderr (-vv for everything)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Log only errors to stderr, and print no notes and no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a data directory for vats; one that is there already stays as it is
    Init,
    /// Check and compile a WebAssembly module, so that vats can be made of it
    Install(Install),
    /// Make a vat of a module, and deliver its `startVat`
    Create(Create),
    /// Send a message to a vat, and print what it answers
    #[command(long_about = SEND_HELP)]
    Send(Send),
    /// List the vats
    List(List),
    /// Show what there is to know about a vat
    Show(Vat),
    /// Save a vat's heap as a snapshot, so that its next use replays nothing
    Evict(Vat),
    /// Make a vat that goes on from where another is: the same heap without copying it, and a shared past
    Fork(Fork),
    /// Replace a vat's code by another module: its storage stays, its heap begins anew
    #[command(long_about = UPGRADE_HELP)]
    Upgrade(Upgrade),
    /// Print 32 bytes that name a vat's heap, globals and module, whatever its history
    Root(Vat),
    /// Print what a vat was told, what it asked, and how that ended
    Transcript(Transcript),
    /// Show the spans of a vat's transcript: how long, how large, compressed or pruned, under which hash
    Spans(Vat),
    /// Delete what the retention level does not keep of transcripts: entries that only an older state would need
    Prune(Prune),
    /// Put entries of transcripts back that were pruned or are damaged, from an archive that has them
    Restore(Restore),
    /// Show or set when vats are snapshotted: after so many deliveries, or so that no page-in replays for longer than some time
    Policy(Policy),
    /// Replay vats from birth beside their stored state, and compare syscalls, outcomes, computrons and heap bytes
    Replay(Replay),
    /// Let a quarantined vat take deliveries again, once its replay goes as recorded
    Release(Release),
    /// Look at a vat as it was after one of its deliveries, or ask it something; nothing of it is kept
    At(At),
    /// Find the first delivery at which a replay differs from the record or from the stored heap roots
    Bisect(Vat),
    /// Show which pages, globals and storage keys differ between a vat after one delivery and after another
    Diff(Diff),
    /// Turn transcripts into snapshots, so that the next use of each vat replays nothing
    #[command(long_about = CONVERT_HELP)]
    Convert(Convert),
    /// Count what the data directory holds
    Stats,
    /// Read all heap images and records at rest, and compare them with their hashes and sums
    Scrub(Scrub),
    /// Give disk space back that no snapshot needs any more, and compress transcripts
    Compact,
    /// Write vats into an archive: a directory, or `-` for a stream; interrupted, run it again
    Export(Export),
    /// Make a new data directory of an archive, or add its vats to one, verifying everything
    Import(Import),
    /// Make a key for signing statements, and print its public half
    Key(Key),
    /// Print a signed statement of what a vat is now
    Attest(Attest),
    /// Check the signature of a statement, and, by a replay or an archive, what it says
    Check(Check),
    /// End a vat for ever, and delete what it left
    Terminate(Terminate),
    /// Host thousands of example vats with a crash in the middle, and prove that nobody could tell
    Demo(Demo),
    /// Kill this program again and again while it hosts vats, and prove that nothing committed is ever lost
    Torture(Torture),
    /// The life that `torture` kills
    #[command(hide = true)]
    TortureLife(TortureLife),
    /// Host vats for a while with everything that can happen to them, and end with a verdict
    Soak(Soak),
    /// Measure what hosting vats of a module costs here: time, memory, disk
    #[command(long_about = BENCH_HELP)]
    Bench(Bench),
    /// Print completions for a shell
    Completions(Completions),
}

const SEND_HELP: &str = "\
Send a message to a vat's root object, and print what the vat resolves the message's result to.

Arguments and answer are plain JSON; the vat sees them as smallcaps. A rejection, and a delivery that faults, print one line to \
stderr, with exit code 1. A faulted delivery is recorded, but what it changed is undone.

There is no kernel in this version: what the vat sends to other vats is recorded and carried nowhere, and a promise \
that it resolves in a later delivery shows only in the transcript.";

const CONVERT_HELP: &str = "\
Turn transcripts into snapshots, so that the next use of each vat replays nothing.

Vats without a snapshot, or with one that is behind, are replayed, several at the same time: first those that are named, then those \
with the most to replay. What is done is kept at once: after an interruption, run it again, and it goes on.";

const UPGRADE_HELP: &str = "\
Replace a vat's code by another installed module, and deliver `startVat` to it.

What the vat keeps in vat storage stays; its heap begins anew. If the new code's start faults, nothing happened: the vat goes on \
with its old code and its old state.";

/// `vats install`
#[derive(Debug, Args)]
pub(crate) struct Install {
    /// The module's name
    pub(crate) name: String,
    /// A binary (.wasm) or text (.wat) module
    pub(crate) file: PathBuf,
}

/// `vats create`
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The new vat's name
    pub(crate) vat: VatName,
    /// The name of an installed module
    pub(crate) module: String,
    /// The vat's parameters; undefined if left out
    #[arg(long, value_name = "JSON", value_parser = parse_json, allow_hyphen_values = true)]
    pub(crate) args: Option<Value>,
    /// Limit of its memory, in pages of 64 KiB
    #[arg(long, value_name = "N", default_value_t = limits::MEMORY_PAGES_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::MEMORY_PAGES_MAX)))]
    pub(crate) memory_pages: u32,
    /// Computrons that one delivery may use
    #[arg(long, value_name = "N", default_value_t = limits::COMPUTRONS_PER_DELIVERY_DEFAULT,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) computrons: u64,
}

/// `vats upgrade`
#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// The vat
    pub(crate) vat: VatName,
    /// The name of an installed module
    pub(crate) module: String,
    /// The vat's new parameters; undefined if left out
    #[arg(long, value_name = "JSON", value_parser = parse_json, allow_hyphen_values = true)]
    pub(crate) args: Option<Value>,
}

/// `vats send`
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The vat
    pub(crate) vat: VatName,
    /// The method
    pub(crate) method: String,
    /// The arguments, a JSON array such as '[1,"two"]'
    #[arg(default_value = "[]", value_parser = parse_array)]
    pub(crate) args: Arguments,
}

/// The arguments of a message.
#[derive(Debug, Clone)]
pub(crate) struct Arguments(pub(crate) Vec<Value>);

/// `vats fork`
#[derive(Debug, Args)]
pub(crate) struct Fork {
    /// The vat to go on from
    pub(crate) vat: VatName,
    /// The new vat's name
    pub(crate) new: VatName,
}

/// `vats export`
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// A directory that is empty, does not exist, or has an interrupted export to be completed; or `-` for standard output
    #[arg(value_name = "DIR|-")]
    pub(crate) to: PathBuf,
    /// The vats; all if none is named
    #[arg(value_name = "VAT")]
    pub(crate) vats: Vec<VatName>,
    /// How much of the past: operational, replay, archival or debug
    #[arg(long, value_name = "LEVEL", default_value = "replay")]
    pub(crate) retention: Retention,
    /// Take each vat's newest snapshot along, also where the level does not need it
    #[arg(long)]
    pub(crate) snapshots: bool,
    /// Sign a statement about each snapshot with this key
    #[arg(long, value_name = "KEYFILE")]
    pub(crate) sign: Option<PathBuf>,
}

/// `vats import`
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The archive's directory, or `-` for standard input
    #[arg(value_name = "DIR|-")]
    pub(crate) from: PathBuf,
    /// Add the vats to the data directory that is there: all of them, or none
    #[arg(long)]
    pub(crate) add: bool,
    /// Signers whose snapshots need no replay: a file of `name ed25519:HEX` lines
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
}

/// `vats key`
#[derive(Debug, Args)]
pub(crate) struct Key {
    /// The file for the private key, which must not exist
    pub(crate) file: PathBuf,
}

/// `vats attest`
#[derive(Debug, Args)]
pub(crate) struct Attest {
    /// The vat
    pub(crate) vat: VatName,
    /// The private key
    #[arg(long, value_name = "KEYFILE")]
    pub(crate) key: PathBuf,
}

/// `vats check`
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The statement's file
    pub(crate) statement: PathBuf,
    /// Replay the vat of this data directory, or of the archive, and compare
    #[arg(long)]
    pub(crate) replay: bool,
    /// Compare with this archive; no data directory is needed
    #[arg(long, value_name = "DIR")]
    pub(crate) archive: Option<PathBuf>,
    /// Accept only signers of this list
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
}

/// `vats list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Show the terminated vats too
    #[arg(long)]
    pub(crate) all: bool,
}

/// A subcommand about one vat.
#[derive(Debug, Args)]
pub(crate) struct Vat {
    /// The vat
    pub(crate) vat: VatName,
}

/// `vats transcript`
#[derive(Debug, Args)]
pub(crate) struct Transcript {
    /// The vat
    pub(crate) vat: VatName,
    /// Begin with the delivery at this position
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) from: u64,
    /// Print this many deliveries at most
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

/// `vats prune`
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// The vats; all if none is named
    #[arg(value_name = "VAT")]
    pub(crate) vats: Vec<VatName>,
    /// Keep to this level from now on: operational (what a restart needs), replay (the current incarnation), archival (all),
    /// or debug (all, and all snapshots)
    #[arg(long, value_name = "LEVEL")]
    pub(crate) retention: Option<Retention>,
    /// Delete what this archive has and the vats do not need to start, whatever the level, after comparing it; keep the archive
    #[arg(long, value_name = "DIR", conflicts_with = "retention")]
    pub(crate) archive: Option<PathBuf>,
}

/// `vats restore`
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The archive's directory
    #[arg(value_name = "DIR")]
    pub(crate) archive: PathBuf,
    /// The vats; all that are in the archive and here if none is named
    #[arg(value_name = "VAT")]
    pub(crate) vats: Vec<VatName>,
}

/// `vats policy`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("setting").multiple(false))]
pub(crate) struct Policy {
    /// Snapshot so that bringing a vat back replays for at most this many milliseconds, by the speed measured now
    #[arg(long, value_name = "N", group = "setting")]
    pub(crate) max_replay_ms: Option<NonZeroU64>,
    /// Snapshot after every so many deliveries, and at every eviction
    #[arg(long, value_name = "N", group = "setting")]
    pub(crate) every: Option<NonZeroU64>,
    /// Measure the speed again, for the bound in milliseconds that is set
    #[arg(long, group = "setting")]
    pub(crate) measure: bool,
    /// Keep no setting: every 200 deliveries
    #[arg(long, group = "setting")]
    pub(crate) default: bool,
}

/// `vats replay`
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The vats; all if none is named
    #[arg(value_name = "VAT")]
    pub(crate) vats: Vec<VatName>,
    /// Replay this many vats at the same time; as many as there are processors if left out
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
}

/// `vats scrub`
#[derive(Debug, Args)]
pub(crate) struct Scrub {
    /// First mend rows of which one byte changed, by their sums, and restore vat storage from transcripts
    #[arg(long)]
    pub(crate) repair: bool,
}

/// `vats release`
#[derive(Debug, Args)]
pub(crate) struct Release {
    /// The vat
    pub(crate) vat: VatName,
    /// Do not replay it first
    #[arg(long)]
    pub(crate) force: bool,
}

/// `vats at`
#[derive(Debug, Args)]
pub(crate) struct At {
    /// The vat
    pub(crate) vat: VatName,
    /// The delivery after which to look, as `vats transcript` numbers them
    pub(crate) position: u64,
    /// Send this message to it as it was then, and print what it answers
    #[arg(long, value_name = "METHOD")]
    pub(crate) send: Option<String>,
    /// The arguments, a JSON array such as '[1,"two"]'
    #[arg(default_value = "[]", value_parser = parse_array, requires = "send")]
    pub(crate) args: Arguments,
    /// Write its heap to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) dump: Option<PathBuf>,
    /// Show its storage
    #[arg(long, conflicts_with = "send")]
    pub(crate) keys: bool,
}

/// `vats diff`
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The vat
    pub(crate) vat: VatName,
    /// A delivery
    pub(crate) a: u64,
    /// Another delivery
    pub(crate) b: u64,
}

/// `vats convert`
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// Vats to begin with, in this order
    #[arg(long, value_name = "VAT,…", value_delimiter = ',')]
    pub(crate) first: Vec<VatName>,
    /// Replay this many vats at the same time; as many as there are processors if left out
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
}

/// `vats terminate`
#[derive(Debug, Args)]
pub(crate) struct Terminate {
    /// The vat
    pub(crate) vat: VatName,
    /// Why, for `vats list --all`
    #[arg(long, value_name = "TEXT", default_value = "terminated by hand")]
    pub(crate) reason: String,
}

/// `vats demo`
///
/// The data directory of the other subcommands is left alone: without --data a temporary one is used, and removed at the end.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Vats to host
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) vats: u64,
    /// Vats kept in memory at the same time
    #[arg(long, value_name = "N", default_value = "100")]
    pub(crate) online: NonZeroUsize,
    /// Messages to deliver
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub(crate) messages: u64,
    /// What the vats, the messages and their order follow from
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Vats to replay from birth and compare at the end: a number, or `all`
    #[arg(long, value_name = "N|all", default_value = "200", value_parser = parse_sample)]
    pub(crate) verify: Sample,
}

/// How many vats are verified.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sample {
    /// This many, spread over the popular and the unpopular.
    Count(u64),
    /// Every one.
    All,
}

/// `vats torture`
///
/// The data directory of the other subcommands is left alone: without --data a temporary one is used, and removed at the end.
#[derive(Debug, Args)]
pub(crate) struct Torture {
    /// How often to kill
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) kills: u64,
    /// Vats to host
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) vats: u64,
    /// What the messages, and when to kill, follow from; how far a life gets until then is the machine's affair
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// `vats torture-life`
#[derive(Debug, Args)]
pub(crate) struct TortureLife {
    /// As `torture` has it
    #[arg(long)]
    pub(crate) vats: u64,
    /// As `torture` has it
    #[arg(long)]
    pub(crate) seed: u64,
    /// Which life it is
    #[arg(long)]
    pub(crate) life: u64,
}

/// `vats soak`
///
/// The data directory of the other subcommands is left alone: without --data a temporary one is used, and removed at the end.
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// How long, in minutes
    #[arg(long, value_name = "M", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    pub(crate) minutes: u64,
    /// Vats to host, forks not counted
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) vats: u64,
    /// Vats kept in memory at the same time
    #[arg(long, value_name = "N", default_value = "50")]
    pub(crate) online: NonZeroUsize,
    /// What the vats, the messages and their order follow from
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
}

const BENCH_HELP: &str = "\
Measure what hosting vats of a module costs on this machine: compiling it, loading compiled code, making a vat, bringing one back into memory, \
delivering to it, making that durable, evicting it, replaying it, and the memory and disk that a vat takes; then messages a second when only \
a part of the vats fits into memory.

The module is a file, or the name of one that is installed. All of it is done by the warehouse itself, in a temporary directory; no vat of yours is \
touched. Without --message each delivery is a garbage collection, which every vat understands, and many do nothing for. \
Build with --release, or the figures are of no use.";

/// `vats bench`
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// A binary (.wasm) or text (.wat) module, or the name of an installed one
    pub(crate) module: PathBuf,
    /// The message to deliver: a method, and its arguments as a JSON array such as '[5]'
    #[arg(long, num_args = 1..=2, value_names = ["METHOD", "ARGS"], allow_hyphen_values = true)]
    pub(crate) message: Option<Vec<String>>,
    /// Parameters of the vats; undefined if left out
    #[arg(long, value_name = "JSON", value_parser = parse_json, allow_hyphen_values = true)]
    pub(crate) args: Option<Value>,
    /// About how long it may take
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// Write a page with plots to this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// `vats completions`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))
}

/// A method and its arguments, as `--message` has them.
pub(crate) fn message(words: &[String]) -> Result<(String, Vec<Value>), String> {
    match words {
        [method] => Ok((method.clone(), Vec::new())),
        [method, arguments] => Ok((method.clone(), parse_array(arguments)?.0)),
        _ => Err("a message is a method and its arguments".to_owned()),
    }
}

fn parse_array(text: &str) -> Result<Arguments, String> {
    match parse_json(text)? {
        Value::Array(values) => Ok(Arguments(values)),
        _ => Err("the arguments must be a JSON array such as '[1,\"two\"]'".to_owned()),
    }
}

fn parse_sample(text: &str) -> Result<Sample, String> {
    match text {
        "all" => Ok(Sample::All),
        number => number.parse().map(Sample::Count).map_err(|_| "give a number of vats, or `all`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_accepts_the_declarations() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
