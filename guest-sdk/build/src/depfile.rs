//! Reads the `.d` files that cargo leaves beside what it builds: which files went into it.
//!
//! The format is Make's: `output: input input …`, one line, a space within a name written `\ `. Only sources
//! on this machine are listed, not what came from a registry; the lock file stands for those.

use std::path::PathBuf;

/// The inputs that a dependency file names.
pub(crate) fn inputs(text: &str) -> Vec<PathBuf> {
    text.lines()
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(_output, inputs)| names(inputs))
        .collect()
}

fn names(inputs: &str) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut characters = inputs.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&' ') => name.extend(characters.next()),
            ' ' => names.extend(finished(&mut name)),
            other => name.push(other),
        }
    }
    names.extend(finished(&mut name));
    names
}

fn finished(name: &mut String) -> Option<PathBuf> {
    (!name.is_empty()).then(|| PathBuf::from(std::mem::take(name)))
}

#[cfg(test)]
mod tests {
    use super::inputs;
    use std::path::PathBuf;

    #[test]
    fn names_are_split_at_spaces_that_are_not_escaped() {
        let cases: [(&str, &[&str]); 4] = [
            ("/t/a.wasm: /w/a.rs /w/b.rs", &["/w/a.rs", "/w/b.rs"]),
            ("/t/a.wasm: /with\\ space/a.rs  /w/b.rs\n", &["/with space/a.rs", "/w/b.rs"]),
            ("/t/a.wasm: C:\\w\\a.rs", &["C:\\w\\a.rs"]),
            ("/t/a.wasm:", &[]),
        ];
        for (text, expected) in cases {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(inputs(text), expected, "{text}");
        }
    }
}
