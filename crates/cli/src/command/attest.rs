//! `vats key`, `vats attest`, `vats check`: signed statements about what a vat is.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;
use vat_warehouse::archive::{Archive, CheckedClaim, RootSource};
use vat_warehouse::attest::{Claim, ClaimDifference, SigningKey, Statement};
use vat_warehouse::{Warehouse, WarehouseConfig};

use super::archive::{read_key, read_trust};
use crate::args::{Attest, Check, Key};
use crate::context::Context;

/// Makes a private key that only its owner can read. This is where randomness comes from; below the command there is none.
pub(super) fn key(context: &Context, args: &Key) -> Result<()> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| anyhow!("the system gives no randomness: {error}"))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = |path: &Path| -> std::io::Result<()> {
        let mut file = options.open(path)?;
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(file, "{hex}")?;
        file.sync_all()
    };
    write(&args.file).with_context(|| format!("cannot write the key {}", args.file.display()))?;
    let public = SigningKey::of(&secret).public();
    Ok(context.out.result(public, || json!({ "public": public.to_string() }))?)
}

pub(super) fn attest(context: &Context, args: &Attest) -> Result<()> {
    let key = read_key(&args.key)?;
    let statement = context.open()?.claim(&args.vat)?.sign(&key);
    let text = statement.to_string();
    Ok(context.out.result(text.trim_end(), || json!({ "statement": text }))?)
}

pub(super) fn check(context: &Context, args: &Check) -> Result<()> {
    let path = &args.statement;
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read the statement {}", path.display()))?;
    let statement: Statement = text.parse()?;
    statement.verify()?;
    let signer = match &args.trust {
        None => statement.signer.to_string(),
        Some(list) => match read_trust(list)?.name_of(&statement.signer) {
            Some(name) => name.to_owned(),
            None => bail!("the signature is good, but {} is not in the trust list", statement.signer),
        },
    };
    let claim = &statement.claim;
    let (found, against) = match &args.archive {
        Some(archive) => (against_archive(archive, claim, args.replay)?, "archive"),
        None if args.replay => (replayed(context, claim)?, "replay"),
        None => (CheckedClaim { difference: None, root_compared: false }, ""),
    };
    if let Some(ClaimDifference { claimed, found }) = found.difference {
        bail!("the statement is not so: it says `{claimed}`, the {against} `{found}`");
    }
    let how = match (&args.archive, args.replay) {
        (None, false) => "signed",
        (None, true) => "signed and replayed",
        (Some(_), true) => "signed, and as the replayed archive has it",
        (Some(_), false) => "signed, and as the archive has it",
    };
    let text = format!("{how}: vat {} at position {}, by {signer}", claim.vat, claim.position);
    let json = || {
        json!({ "vat": claim.vat.as_str(), "position": claim.position, "signer": signer, "replayed": args.replay,
                "archive": args.archive.is_some(), "root_compared": found.root_compared })
    };
    context.out.result(text, json)?;
    if args.archive.is_some() && !found.root_compared {
        context.out.note("the archive has no snapshot at that position: the heap root was not compared; --replay does that");
    }
    Ok(())
}

fn replayed(context: &Context, claim: &Claim) -> Result<CheckedClaim> {
    let difference = context.open()?.check_claim(claim)?;
    Ok(CheckedClaim { difference, root_compared: true })
}

/// Compares with an archive; what a replay needs of a data directory is made for the moment.
fn against_archive(archive: &Path, claim: &Claim, replay: bool) -> Result<CheckedClaim> {
    let archive = Archive::open(archive)?;
    if !replay {
        return Ok(archive.check_claim(claim, RootSource::Snapshot)?);
    }
    let dir = tempfile::tempdir().context("cannot make a temporary directory for the replay")?;
    let scratch = Warehouse::open(dir.path(), WarehouseConfig::default())?;
    Ok(archive.check_claim(claim, RootSource::Replay(&scratch))?)
}
