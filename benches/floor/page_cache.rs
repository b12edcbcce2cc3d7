//! Making a file's pages cold.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{Advice, fadvise};

/// Writes a file's pages to disk, or those of all files in a directory: dirty ones cannot be dropped.
pub(crate) fn sync_file(path: &Path) -> Result<()> {
    each(path, |file| Ok(file.sync_all()?))
}

/// Drops a file's pages from the page cache, or those of all files in a directory. Mapped pages stay.
pub(crate) fn drop_cached(path: &Path) -> Result<()> {
    each(path, |file| Ok(fadvise(file, 0, None, Advice::DontNeed)?))
}

fn each(path: &Path, act: impl Fn(&File) -> Result<()>) -> Result<()> {
    let named = |path: &Path| File::open(path).with_context(|| format!("cannot open {}", path.display()));
    if !path.is_dir() {
        return act(&named(path)?);
    }
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_file() {
            act(&named(&path)?)?;
        }
    }
    Ok(())
}
