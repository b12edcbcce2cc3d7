//! Signed statements: "this heap root follows from this transcript".
//!
//! A statement is a text, and its canonical form is the only one that is read. The first eight lines, each ended by one
//! line feed, are what is signed:
//!
//! ```text
//!   vat-statement 1
//!   vat alice
//!   incarnation 0
//!   position 42                 deliveries before it are claimed
//!   transcript <64 hex>         hash of these deliveries' entries
//!   root <64 hex>               heap root after them
//!   module <64 hex>             BLAKE3 of the code
//!   rules 3                     version of the engine's rules
//!   signer ed25519:<64 hex>     public key
//!   signature <128 hex>         ed25519 over the lines before `signer`
//! ```
//!
//! The *transcript hash* does not depend on how a host cuts its transcripts into spans: it runs over all entries from position 0,
//! `h(0) = SHA-256("start of vat transcript")`, `h(n+1) = SHA-256(h(n) ‖ SHA-256(entry n))`, all as 32 bytes. It costs one pass over
//! the entries (the speed of SHA-256). A host that has only the newer entries goes on from an *anchor*: the hash at a
//! position, kept when the entries before it were pruned, or named by a trusted statement when the vat was imported.
//!
//! Deliberately not here: who is to be trusted, which a [`TrustList`] says; and randomness, so keys are made of bytes that the
//! caller brings. What was not committed is claimed like everything else; commit before a statement leaves the host.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use sha2::{Digest as _, Sha256};
use vat_storage::{Position, VatRow};

use crate::anchor::transcript_hash;
use crate::era::Era;
use crate::error::Error;
use crate::moment::root_of;
use crate::name::VatName;
use crate::options::KeptOptions;
use crate::page_in::{check_alive, kept_options};
use crate::rerun::Rerun;
use crate::warehouse::Warehouse;

const HEADER: &str = "vat-statement 1";
const KEY_PREFIX: &str = "ed25519:";

/// Hash of a vat's entries from position 0 on, independent of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TranscriptHash(pub [u8; 32]);

impl TranscriptHash {
    /// The hash of no entries.
    #[must_use]
    pub fn seed() -> TranscriptHash {
        TranscriptHash(Sha256::digest(b"start of vat transcript").into())
    }

    /// The hash with `entry` added.
    #[must_use]
    pub fn extended(self, entry: &[u8]) -> TranscriptHash {
        let mut hasher = Sha256::new_with_prefix(self.0);
        hasher.update(Sha256::digest(entry));
        TranscriptHash(hasher.finalize().into())
    }
}

/// A private key.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public())
    }
}

impl SigningKey {
    /// Of 32 random bytes.
    #[must_use]
    pub fn of(secret: &[u8; 32]) -> SigningKey {
        SigningKey(ed25519_dalek::SigningKey::from_bytes(secret))
    }

    /// From the text of a key file: 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`StatementError::Key`].
    pub fn parse(text: &str) -> Result<SigningKey, StatementError> {
        Ok(SigningKey::of(&unhex(text.trim()).ok_or(StatementError::Key)?))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }
}

/// A public key, written `ed25519:<64 hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KEY_PREFIX}{}", hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = StatementError;

    fn from_str(text: &str) -> Result<PublicKey, StatementError> {
        let bytes = text.strip_prefix(KEY_PREFIX).and_then(unhex).ok_or(StatementError::Key)?;
        VerifyingKey::from_bytes(&bytes).map_err(|_| StatementError::Key)?;
        Ok(PublicKey(bytes))
    }
}

/// Whose statements are believed: names and keys, one `name ed25519:<64 hex>` a line; `#` begins a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustList(BTreeMap<PublicKey, String>);

impl TrustList {
    /// The name of a trusted signer.
    #[must_use]
    pub fn name_of(&self, key: &PublicKey) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

impl FromStr for TrustList {
    type Err = StatementError;

    fn from_str(text: &str) -> Result<TrustList, StatementError> {
        let mut list = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let entry = line.split_once(char::is_whitespace);
            let entry = entry.and_then(|(name, key)| Some((key.trim().parse().ok()?, name.to_owned())));
            let (key, name) = entry.ok_or(StatementError::TrustLine { number })?;
            list.insert(key, name);
        }
        Ok(TrustList(list))
    }
}

/// What is claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Of which vat.
    pub vat: VatName,
    /// Of which incarnation of its code.
    pub incarnation: u32,
    /// After the deliveries before this position.
    pub position: u64,
    /// Hash of these deliveries' entries.
    pub transcript: TranscriptHash,
    /// The heap root.
    pub root: [u8; 32],
    /// BLAKE3 of the code.
    pub module: [u8; 32],
    /// The version of the engine's rules.
    pub rules: u32,
}

impl Claim {
    /// The bytes that are signed.
    #[must_use]
    pub fn signed_text(&self) -> String {
        let Claim { vat, incarnation, position, transcript, root, module, rules } = self;
        format!(
            "{HEADER}\nvat {vat}\nincarnation {incarnation}\nposition {position}\ntranscript {}\nroot {}\nmodule {}\nrules {rules}\n",
            hex(&transcript.0),
            hex(root),
            hex(module),
        )
    }

    /// Signs it.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> Statement {
        let signature = key.0.sign(self.signed_text().as_bytes()).to_bytes();
        Statement { claim: self, signer: key.public(), signature }
    }

    /// The claim with everything that the vat's row can say put right, and the incarnation that it is about (the living one, if
    /// there is none of that number).
    pub(crate) fn as_lived(&self, row: &VatRow, kept: &KeptOptions) -> Result<(Era, Claim), Error> {
        let deliveries = row.next_position.0;
        if self.position > deliveries {
            let vat = row.name.clone();
            return Err(Error::NoSuchPosition { vat, position: self.position, deliveries });
        }
        let eras = Era::all(row, kept, deliveries);
        let claimed = eras.iter().find(|era| era.incarnation == self.incarnation);
        let era = *claimed.or(eras.last()).expect("a vat has an incarnation");
        let position = self.position.clamp(era.from, era.to);
        let (incarnation, module, rules) = (era.incarnation, era.module.0, kept.rules);
        Ok((era, Claim { incarnation, position, module, rules, ..self.clone() }))
    }

    /// The first field in which another claim differs.
    pub(crate) fn difference(&self, found: &Claim) -> Option<ClaimDifference> {
        let (claimed, found) = (self.signed_text(), found.signed_text());
        let (claimed, found) = claimed.lines().zip(found.lines()).find(|(a, b)| a != b)?;
        Some(ClaimDifference { claimed: claimed.to_owned(), found: found.to_owned() })
    }
}

/// The first way in which a claim is not so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimDifference {
    /// The line of the statement.
    pub claimed: String,
    /// As it should be.
    pub found: String,
}

/// A claim with a signature. Not checked until [`Statement::verify`] says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What is claimed.
    pub claim: Claim,
    /// Who claims it.
    pub signer: PublicKey,
    signature: [u8; 64],
}

impl Statement {
    /// Whether the signature is the signer's.
    ///
    /// # Errors
    /// [`StatementError::Signature`].
    pub fn verify(&self) -> Result<(), StatementError> {
        let key = VerifyingKey::from_bytes(&self.signer.0).map_err(|_| StatementError::Key)?;
        let signature = Signature::from_bytes(&self.signature);
        key.verify_strict(self.claim.signed_text().as_bytes(), &signature)
            .map_err(|_| StatementError::Signature { signer: self.signer })
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (signer, signature) = (self.signer, hex(&self.signature));
        writeln!(f, "{}signer {signer}\nsignature {signature}", self.claim.signed_text())
    }
}

impl FromStr for Statement {
    type Err = StatementError;

    /// Reads the canonical form, and no other.
    fn from_str(text: &str) -> Result<Statement, StatementError> {
        let fields: Vec<&str> =
            text.lines().skip(1).map(|line| line.split_once(' ').map_or("", |(_, value)| value)).collect();
        let statement = Statement::of_fields(&fields).ok_or(StatementError::Form)?;
        // Whatever a line is called, and however a number is written: only what we would write ourselves is right.
        if statement.to_string() == text { Ok(statement) } else { Err(StatementError::Form) }
    }
}

impl Statement {
    fn of_fields(fields: &[&str]) -> Option<Statement> {
        let [vat, incarnation, position, transcript, root, module, rules, signer, signature] = fields else {
            return None;
        };
        let claim = Claim {
            vat: vat.parse().ok()?,
            incarnation: incarnation.parse().ok()?,
            position: position.parse().ok()?,
            transcript: TranscriptHash(unhex(transcript)?),
            root: unhex(root)?,
            module: unhex(module)?,
            rules: rules.parse().ok()?,
        };
        Some(Statement { claim, signer: signer.parse().ok()?, signature: unhex(signature)? })
    }
}

/// Why a key, a trust list or a statement is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// The text is not a statement in its canonical form.
    #[error("this is not a statement, or not in the form in which `vats attest` writes it")]
    Form,
    /// The signature is not the signer's.
    #[error("the signature is not one of {signer} over this statement: it was forged or changed")]
    Signature {
        /// Who is said to have signed.
        signer: PublicKey,
    },
    /// Not a key.
    #[error("this is not an ed25519 key: `vats key` makes one")]
    Key,
    /// A line of a trust list.
    #[error("line {number} of the trust list is not `name ed25519:<64 hexadecimal digits>`")]
    TrustLine {
        /// Which, from 1.
        number: usize,
    },
}

impl Warehouse {
    /// Says what the vat is now, to be signed: see the [module](self).
    ///
    /// # Errors
    /// If the vat cannot be brought into memory; [`Error::PastUnknown`] if entries are missing and
    /// nothing vouches for what they were.
    pub fn claim(&self, name: &VatName) -> Result<Claim, Error> {
        let mut lease = self.provide_blocking(name)?;
        lease.with_resident(|inner, vat, resident| {
            let row = inner.storage.vat(vat)?;
            Ok(Claim {
                vat: name.clone(),
                incarnation: resident.incarnation,
                position: resident.next,
                transcript: transcript_hash(&inner.storage, vat, resident.next)?,
                root: root_of(&mut resident.instance).0,
                module: row.module.0,
                rules: resident.kept.rules,
            })
        })
    }

    /// Replays the vat as far as a statement goes and compares what follows with what it claims. Changes nothing. `None`
    /// means that the claim holds.
    ///
    /// # Errors
    /// If there is no such vat, or its transcript does not reach so far or has holes.
    pub fn check_claim(&self, claim: &Claim) -> Result<Option<ClaimDifference>, Error> {
        let inner = &self.inner;
        let row = self.vat(&claim.vat)?;
        check_alive(&row)?;
        let kept = kept_options(&row)?;
        let (era, mut found) = claim.as_lived(&row, &kept)?;
        if let Some(difference) = claim.difference(&found) {
            return Ok(Some(difference)); // Of another incarnation or code: nothing can be replayed for it.
        }
        found.transcript = transcript_hash(&inner.storage, row.id, claim.position)?;
        let mut rerun = Rerun::new(inner, &row.name, era.module, era.incarnation, kept)?;
        for recorded in inner.storage.entries(row.id, Position(era.from), Position(claim.position)) {
            let (position, entry) = recorded?;
            rerun.step(position.0, entry)?;
        }
        found.root = rerun.root().0;
        Ok(claim.difference(&found))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly `N` bytes of lower-case hexadecimal.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let bytes: Vec<u8> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
            _ => None,
        })
        .collect::<Option<_>>()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        Claim {
            vat: "alice".parse().unwrap(),
            incarnation: 0,
            position: 42,
            transcript: TranscriptHash::seed().extended(b"foo").extended(b"bar"),
            root: [1; 32],
            module: [2; 32],
            rules: 3,
        }
    }

    #[test]
    fn a_statement_reads_back_and_verifies() {
        let statement = claim().sign(&SigningKey::of(&[7; 32]));
        let text = statement.to_string();
        assert_eq!(text.parse::<Statement>().unwrap(), statement);
        assert_eq!(statement.verify(), Ok(()));
        // The bytes are a format: this changes only with the version in the first line.
        let (transcript, root, module) = (hex(&claim().transcript.0), "01".repeat(32), "02".repeat(32));
        let golden = format!(
            "vat-statement 1\nvat alice\nincarnation 0\nposition 42\ntranscript {transcript}\nroot {root}\nmodule {module}\nrules 3\n"
        );
        assert_eq!(claim().signed_text(), golden);
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let text = claim().sign(&SigningKey::of(&[7; 32])).to_string();
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'1' { b'2' } else { b'1' };
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let refused = changed.parse::<Statement>().and_then(|statement| statement.verify()).is_err();
            assert!(refused, "byte {index} changed: {changed}");
            assert!(text[..index].parse::<Statement>().is_err(), "cut at {index}");
        }
    }

    #[test]
    fn trust_lists_name_the_line_that_is_wrong() {
        let key = SigningKey::of(&[7; 32]).public();
        let list: TrustList = format!("# us\n\nbob {key} # our own\n").parse().unwrap();
        assert_eq!(list.name_of(&key), Some("bob"));
        assert_eq!(list.name_of(&SigningKey::of(&[8; 32]).public()), None);
        for bad in ["bob", "bob ed25519:00", "bob rsa:00"] {
            let text = format!("# us\n{bad}\n");
            assert_eq!(text.parse::<TrustList>(), Err(StatementError::TrustLine { number: 2 }), "{bad}");
        }
    }
}
