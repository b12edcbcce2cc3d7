//! `vats key`, `vats attest`, `vats check`: signed statements about what a vat is.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;
use vat_warehouse::attest::{SigningKey, Statement};

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
    if args.replay
        && let Some(difference) = context.open()?.check_claim(claim)?
    {
        bail!("the statement is not so: it says `{}`, the replay `{}`", difference.claimed, difference.found);
    }
    let how = if args.replay { "signed and replayed" } else { "signed" };
    let text = format!("{how}: vat {} at position {}, by {signer}", claim.vat, claim.position);
    let json = || json!({ "vat": claim.vat.as_str(), "position": claim.position, "signer": signer, "replayed": args.replay });
    Ok(context.out.result(text, json)?)
}
