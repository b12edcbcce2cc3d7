//! What surrounds the process is nothing to a vat: environment, locale, the place of the stack, processors, limits, how much is
//! logged and how often somebody asks for figures. Addresses, hash seeds and process ids differ between any two runs.

use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::Vats;

/// A vat with a state everywhere, which grows.
const STATE: &str = include_str!("../../../../tests/vats/state.wat");
const MESSAGES: usize = 6;

/// A way of running the program.
struct Surroundings {
    name: &'static str,
    /// What a shell does before.
    before: &'static str,
    environment: &'static [(&'static str, &'static str)],
    /// How much it says.
    arguments: &'static [&'static str],
    /// Whether figures are asked for between any two commands.
    is_measured: bool,
}

const PLAIN: Surroundings =
    Surroundings { name: "plain", before: "", environment: &[], arguments: &["--quiet"], is_measured: false };

const OTHERS: [Surroundings; 4] = [
    Surroundings { name: "everything logged and measured", arguments: &["-vvv"], is_measured: true, ..PLAIN },
    Surroundings {
        name: "another locale, time zone and home",
        environment: &[
            ("LC_ALL", "tr_TR.UTF-8"),
            ("LANG", "ar_EG"),
            ("TZ", "Asia/Kathmandu"),
            ("HOME", "/nowhere"),
        ],
        ..PLAIN
    },
    Surroundings {
        name: "a large environment and a small stack",
        before: "ulimit -s 1024; ulimit -n 64; export FILLING=\"$(head -c 100000 /dev/zero | tr '\\0' x)\";",
        ..PLAIN
    },
    Surroundings {
        name: "one processor and no randomness of addresses, where that can be had",
        before: "if taskset 1 setarch -R true 2>/dev/null; then set -- taskset 1 setarch -R \"$@\"; \
                 elif taskset 1 true 2>/dev/null; then set -- taskset 1 \"$@\"; fi;",
        environment: &[("RAYON_NUM_THREADS", "1"), ("TOKIO_WORKER_THREADS", "1")],
        ..PLAIN
    },
];

impl Surroundings {
    fn output(&self, vats: &Vats, args: &[&str]) -> Output {
        let whole = vats.command();
        let mut command = Command::new("sh");
        command.env_clear().current_dir(whole.get_current_dir().unwrap());
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.envs(self.environment.iter().copied());
        command.args(["-c", &format!("{} exec \"$@\"", self.before), "sh"]).arg(whole.get_program());
        let output = command.args(args).args(self.arguments).output().expect("there is a shell");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {args:?}: {error}", self.name);
        output
    }

    fn json(&self, vats: &Vats, args: &[&str]) -> Value {
        let output = self.output(vats, &[args, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).expect("one JSON value")
    }

    /// A vat that was sent messages here, and evicted after each: its transcript without the times, its heap root, what a replay says.
    fn life(&self) -> (Vats, Vec<Value>) {
        let vats = Vats::with_alice(STATE);
        for n in 0..MESSAGES {
            self.output(&vats, &["send", "alice", "step", &format!("[{n}]")]);
            if self.is_measured {
                self.json(&vats, &["stats"]);
            }
        }
        let mut transcript = self.json(&vats, &["transcript", "alice"]);
        transcript.as_array_mut().unwrap().iter_mut().for_each(without_time);
        let root = self.json(&vats, &["root", "alice"]);
        let replay = self.json(&vats, &["replay", "alice"]);
        (vats, vec![transcript, root, replay])
    }
}

/// The clock is recorded, and differs; that is what it is recorded for.
fn without_time(entry: &mut Value) {
    let entry = entry.as_object_mut().expect("an entry is an object");
    assert!(entry.remove("t").is_some(), "{entry:?}");
}

#[test]
fn what_surrounds_the_process_is_nothing_to_a_vat() {
    let (_vats, plain) = PLAIN.life();
    for other in OTHERS {
        let (vats, lived) = other.life();
        assert_eq!(lived, plain, "{}", other.name);
        // What one process recorded, others replay: with the recorded times, so that all of it can be compared.
        for replaying in OTHERS {
            let replay = replaying.json(&vats, &["replay", "alice"]);
            assert_eq!(
                replay["verdict"], "identical",
                "lived in {}, replayed in {}",
                other.name, replaying.name
            );
        }
    }
}
