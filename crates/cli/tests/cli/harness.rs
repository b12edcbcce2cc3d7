//! Runs the binary in a directory of its own, and writes down what was seen:
//!
//! ```text
//!   $ vats send alice add '[5]'
//!   12                               stdout
//!   ! error: …                       stderr
//!   = 1                              the exit code, unless it is 0
//! ```
//!
//! What differs from run to run, or with every new compiler of ours, is replaced: the directory by `DIR`, times, hashes and
//! computrons.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use expect_test::Expect;
use tempfile::TempDir;

/// A data directory, and what was seen in it so far.
#[derive(Debug)]
pub struct Vats {
    dir: TempDir,
    seen: String,
}

impl Vats {
    /// An empty directory, with no store in it.
    pub fn nowhere() -> Vats {
        Vats { dir: tempfile::tempdir().unwrap(), seen: String::new() }
    }

    /// A directory after `vats init`.
    pub fn ready() -> Vats {
        let vats = Vats::nowhere();
        assert!(vats.output(&["init"]).status.success());
        vats
    }

    /// A directory with a vat `alice`, made of the text.
    pub fn with_alice(wat: &str) -> Vats {
        Vats::with_alice_limited(wat, &[])
    }

    /// The same, with options for `create`.
    pub fn with_alice_limited(wat: &str, options: &[&str]) -> Vats {
        let vats = Vats::ready();
        vats.file("alice.wat", wat);
        for command in
            [&["install", "program", "alice.wat"][..], &[&["create", "alice", "program"], options].concat()]
        {
            let output = vats.output(command);
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        vats
    }

    /// Another directory with the same content.
    pub fn copied(&self) -> Vats {
        let copy = Vats::nowhere();
        copy_dir(self.dir.path(), copy.dir.path());
        copy
    }

    /// Puts a file into the directory in which commands run.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.dir.path().join(name), contents).unwrap();
    }

    /// Reads a file of the directory in which commands run.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).unwrap()
    }

    /// Where the vats are.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Runs a command and writes down what was seen.
    pub fn run(&mut self, args: &[&str]) -> &mut Vats {
        let output = self.output(args);
        let shown: Vec<String> = args.iter().map(|arg| quoted(arg)).collect();
        let _ = writeln!(self.seen, "$ vats {}", shown.join(" "));
        self.seen.push_str(&self.settled(&output.stdout));
        for line in self.settled(&output.stderr).lines().filter(|line| !is_diagnosis(line)) {
            let _ = writeln!(self.seen, "! {line}");
        }
        match output.status.code() {
            Some(0) => {}
            code => {
                let _ =
                    writeln!(self.seen, "= {}", code.map_or("a signal".to_owned(), |code| code.to_string()));
            }
        }
        self
    }

    /// Compares what was seen.
    pub fn saw(&self, expected: Expect) {
        expected.assert_eq(&self.seen);
    }

    /// Runs a command that must succeed and reads the JSON that it prints.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = self.output(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON value")
    }

    /// Runs a command.
    pub fn output(&self, args: &[&str]) -> Output {
        self.command().args(args).output().expect("the binary runs")
    }

    /// The binary, in an environment that says nothing else.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vats"));
        command.current_dir(self.dir.path()).env_clear();
        command.env("VATS_DATA", self.data()).env("TMPDIR", self.dir.path());
        command
    }

    fn settled(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8(bytes.to_vec()).expect("all output is UTF-8");
        let mut settled = String::new();
        for line in text.replace(self.dir.path().to_str().unwrap(), "DIR").lines() {
            // What is in memory is the system's affair (its pages, how many it maps at once).
            let line = if line.starts_with("in memory") { "in memory     MEASURED" } else { line };
            let words: Vec<String> = line.split(' ').map(settled_word).collect();
            settled.push_str(words.join(" ").trim_end());
            settled.push('\n');
        }
        // The number stands before its unit.
        let mut words: Vec<&str> = settled.split(' ').collect();
        for index in 1..words.len() {
            if words[index].starts_with("computrons,") {
                words[index - 1] = "N";
            }
        }
        words.join(" ")
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

/// What the engine says about a fault is for the vat's author, and changes with the engine.
fn is_diagnosis(line: &str) -> bool {
    line.contains("the delivery faulted: ")
}

fn quoted(arg: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if !arg.is_empty() && arg.chars().all(is_plain) { arg.to_owned() } else { format!("'{arg}'") }
}

fn settled_word(word: &str) -> String {
    let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_hash = core.len() == 64 && core.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_time = core.len() == 20
        && core
            .split_once('.')
            .is_some_and(|(s, ns)| s.len() == 10 && s.parse::<u64>().is_ok() && ns.len() == 9);
    match (is_hash, is_time) {
        (true, _) => word.replace(core, "HASH"),
        (_, true) => word.replace(core, "TIME"),
        _ => word.to_owned(),
    }
}
