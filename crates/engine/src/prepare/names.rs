//! Function names for messages: from the name section where there is one, else the index.

use std::collections::BTreeMap;

use wasmparser::{KnownCustom, Name, Parser, Payload};

/// Longest part of a name that is shown; mangled names can have kilobytes.
const NAME_CHARS_MAX: usize = 120;

/// What is known of a module's function names.
#[derive(Debug, Default)]
pub(crate) struct FunctionNames(BTreeMap<u32, String>);

impl FunctionNames {
    /// Reads the name section. A broken one is as good as none: names are for messages only.
    pub(crate) fn read(bytes: &[u8]) -> FunctionNames {
        let mut names = FunctionNames::default();
        for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
            if let Payload::CustomSection(section) = payload
                && let KnownCustom::Name(reader) = section.as_known()
            {
                for name in reader.into_iter().map_while(Result::ok) {
                    if let Name::Function(map) = name {
                        names.0.extend(
                            map.into_iter().map_while(Result::ok).map(|n| (n.index, n.name.to_owned())),
                        );
                    }
                }
            }
        }
        names
    }

    /// How a message calls function `index`.
    pub(crate) fn display(&self, index: u32) -> String {
        match self.0.get(&index) {
            Some(name) => format!("{index} `{}`", name.chars().take(NAME_CHARS_MAX).collect::<String>()),
            None => format!("{index}"),
        }
    }
}
