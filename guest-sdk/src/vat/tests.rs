//! Deliveries into vats that `#[vat]` made, on this crate's own small host.

use crate::native::Fake;
use crate::{Promise, Remote, Result, Settled, bail, vat};
use serde::Deserialize;
use vat_abi::{Allocator, CapData, Delivery, Message, Resolution, Syscall, Vref};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    first: u64,
    broken: bool,
}

struct Teller {
    number: u64,
    heard: Vec<String>,
}

#[vat]
impl Teller {
    fn start(config: Config) -> Result<Self> {
        if config.broken {
            bail!("broken by request");
        }
        Ok(Teller { number: config.first, heard: Vec::new() })
    }

    fn add(&mut self, by: u64, twice: Option<bool>) -> u64 {
        self.number += if twice == Some(true) { 2 * by } else { by };
        self.number
    }

    #[vat(name = "shoutBack")]
    fn shout_back(&self, text: &str, _tail: &[u8]) -> Result<String> {
        if text.is_empty() {
            bail!("nothing to shout");
        }
        Ok(text.to_uppercase())
    }

    fn forget(&mut self) {
        self.number = 0;
    }

    fn ask(&mut self, whom: Remote, what: String) -> Result<()> {
        whom.send_only("note", &())?;
        whom.send("say", &(what,))?.subscribe()
    }

    fn heard(&self) -> Vec<String> {
        self.heard.clone()
    }

    #[vat(settled)]
    fn settled_by_another(&mut self, promise: Promise, outcome: Settled) {
        let text = outcome.value::<String>().unwrap_or_else(|error| error.to_string());
        self.heard.push(format!("{}: {text}", promise.vref()));
    }

    fn not_a_method() -> u64 {
        7
    }
}

fn start(body: &str) -> i32 {
    Fake::deliver::<Teller>(&Delivery::StartVat(CapData::data(body))).0
}

fn send_to(target: Vref, body: &str, slots: Vec<Vref>) -> Vec<Syscall> {
    let methargs = CapData { body: body.to_owned(), slots };
    let message = Message { methargs, result: Some(Vref::promise(Allocator::Kernel, 60)) };
    let (status, syscalls) = Fake::deliver::<Teller>(&Delivery::Message { target, message });
    assert_eq!(status, 0);
    syscalls
}

/// Sends a message to the root; returns `(rejected, body)` of the answer, the last syscall.
fn send(body: &str) -> (bool, String) {
    answer(send_to(Vref::root(), body, Vec::new()))
}

fn answer(mut syscalls: Vec<Syscall>) -> (bool, String) {
    let Some(Syscall::Resolve(mut resolutions)) = syscalls.pop() else {
        panic!("no resolve in {syscalls:?}")
    };
    let resolution = resolutions.pop().unwrap();
    assert_eq!(resolution.promise.as_str(), "p-60");
    (resolution.rejected, resolution.data.body)
}

fn fulfilled(body: &str) -> (bool, String) {
    (false, body.to_owned())
}

#[test]
fn a_method_gets_its_arguments_and_its_answer_resolves_the_promise() {
    assert_eq!(start("#{\"first\":5}"), 0);
    assert_eq!(send("#[\"add\",[2]]"), fulfilled("#7"));
    assert_eq!(send("#[\"add\",[\"+2\",true]]"), fulfilled("#11"));
    assert_eq!(send("#[\"add\",[1,\"#undefined\"]]"), fulfilled("#12"));
    assert_eq!(send("#[\"shoutBack\",[\"hi\",[1,2]]]"), fulfilled("#\"HI\""));
    assert_eq!(send("#[\"forget\",[]]"), fulfilled("#\"#undefined\""));
    assert_eq!(send("#[\"add\",[0]]"), fulfilled("#0"));
    assert_eq!(Teller::not_a_method(), 7);
}

#[test]
fn what_a_caller_gets_wrong_is_rejected_and_nothing_else() {
    assert_eq!(start("#\"#undefined\""), 0);
    let cases = [
        ("#[\"add\",[]]", "TypeError", "add(by): the argument is missing"),
        ("#[\"add\",[\"x\"]]", "TypeError", "add(by): invalid type: string"),
        ("#[\"add\",[1,2]]", "TypeError", "add(twice): invalid type: integer"),
        ("#[\"add\",[1,true,3]]", "TypeError", "add: 3 arguments for 2 parameters"),
        ("#[\"shoutBack\",[\"\",[]]]", "Error", "nothing to shout"),
        ("#[\"shout_back\",[\"hi\",[]]]", "TypeError", "no method"),
        ("#[\"not_a_method\",[]]", "TypeError", "there are: add, shoutBack, forget, ask, heard"),
        ("#[\"start\",[]]", "TypeError", "no method"),
        ("#[\"settled_by_another\",[]]", "TypeError", "no method"),
        ("#[\"%asyncIterator\",[]]", "TypeError", "a method's name"),
        ("#[\"add\"]", "TypeError", "a method's name"),
        ("#\"add\"", "TypeError", "a method's name"),
        ("no smallcaps", "TypeError", "not smallcaps"),
    ];
    for (body, name, message) in cases {
        let (rejected, answer) = send(body);
        assert!(rejected, "{body} was not rejected");
        let error: crate::Error = crate::marshal::from_capdata(&CapData::data(answer)).unwrap();
        assert_eq!(error.name(), name, "{body}: {error}");
        assert!(error.message().contains(message), "{body}: {error}");
    }
    assert_eq!(send("#[\"add\",[0]]"), fulfilled("#0"), "no rejected message changed anything");
}

#[test]
fn objects_other_than_the_root_do_not_exist() {
    assert_eq!(start("#{}"), 0);
    let (rejected, body) = answer(send_to(Vref::object(Allocator::Vat, 5), "#[\"add\",[1]]", Vec::new()));
    assert!(rejected && body.contains("no object o+5"), "{body}");
}

#[test]
fn nobody_is_told_when_nobody_waits() {
    assert_eq!(start("#{}"), 0);
    for body in ["#[\"add\",[1]]", "#[\"nonsense\",[]]"] {
        let message = Message { methargs: CapData::data(body), result: None };
        let delivery = Delivery::Message { target: Vref::root(), message };
        assert_eq!(Fake::deliver::<Teller>(&delivery), (0, Vec::new()));
    }
}

#[test]
fn a_vat_that_cannot_start_fails_with_the_reason() {
    assert_eq!(start("#{\"broken\":true}"), 1);
    assert_eq!(Fake::take_failure().unwrap(), "the vat cannot start: Error: broken by request");
    assert_eq!(start("#{\"first\":\"x\"}"), 1);
    assert!(Fake::take_failure().unwrap().contains("start(config): invalid type: string"));
    assert_eq!(Fake::deliver::<Teller>(&Delivery::BringOutYourDead).0, 1);
    assert_eq!(Fake::take_failure().unwrap(), "a delivery arrived before startVat");
}

#[test]
fn messages_to_others_and_their_answers() {
    assert_eq!(start("#{}"), 0);
    let other: Vref = "o-52".parse().unwrap();
    let syscalls = send_to(Vref::root(), "#[\"ask\",[\"$0.Alleged: other\",\"!-hi\"]]", vec![other.clone()]);
    let promise: Vref = "p+5".parse().unwrap();
    let sent = |body: &str, result| Syscall::Send {
        target: other.clone(),
        message: Message { methargs: CapData::data(body), result },
    };
    assert_eq!(
        syscalls[..3],
        [
            sent("#[\"note\",[]]", None),
            sent("#[\"say\",[\"!-hi\"]]", Some(promise.clone())),
            Syscall::Subscribe(promise.clone())
        ]
    );
    let fulfilled = Resolution::fulfilled(promise.clone(), CapData::data("#\"ok\""));
    let failed = Resolution::rejected(promise.clone(), crate::Error::new("no").to_capdata());
    let odd = Resolution::rejected(promise, CapData::data("#{\"a\":[1]}"));
    assert_eq!(Fake::deliver::<Teller>(&Delivery::Notify(vec![fulfilled, failed, odd])), (0, Vec::new()));
    let expected = "#[\"p+5: ok\",\"p+5: Error: no\",\"p+5: Error: rejected with #{\\\"a\\\":[1]}\"]";
    assert_eq!(send("#[\"heard\",[]]"), (false, expected.to_owned()));
}

#[test]
fn a_vat_without_start_begins_with_its_default() {
    #[derive(Default)]
    struct Silent;
    #[vat]
    impl Silent {}
    let delivery = Delivery::StartVat(CapData::data("#{\"ignored\":true}"));
    assert_eq!(Fake::deliver::<Silent>(&delivery), (0, Vec::new()));
    assert_eq!(Fake::deliver::<Silent>(&Delivery::StopVat(CapData::undefined())), (0, Vec::new()));
}
