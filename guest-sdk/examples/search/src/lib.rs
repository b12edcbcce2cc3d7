//! A full-text index: documents are sent to it, and it answers which of them are about some words.
//!
//! It shows that a vat is not a toy: a well-known crate from the registry compiled in, tens of mebibytes of
//! ordinary Rust collections in the heap, and not a line about saving them.
//!
//! ```text
//!   add("moby", "Call me Ishmael…")          tokenize ─► words ─► postings
//!   query("whale ship", 10)                  postings: { "whale": { moby: 1226, … }, "ship": { … }, … }
//!     → [{"id":"moby","score":…}, …]
//! ```
//!
//! Ranking is BM25, in integers (thousandths): the order of the answers must not hang on how a sum of floats
//! was rounded. Documents with equal scores come in the order of their ids.

use regex::Regex;
use serde::Serialize;
use std::collections::BTreeMap;
use vat_sdk::{Result, ensure, vat};

/// The longest word that is indexed, in bytes. Longer ones are hardly words.
const WORD_BYTES_MAX: usize = 64;

/// The most hits of one query.
const HITS_MAX: usize = 100;

/// A document within the index. Ids of documents are long; there are millions of postings.
type Number = u32;

/// What is known about a document.
#[derive(Debug)]
struct Document {
    id: String,
    /// How many words it has.
    words: u64,
}

/// Which documents hold which words.
struct Index {
    words: Regex,
    documents: BTreeMap<Number, Document>,
    numbers: BTreeMap<String, Number>,
    next_number: Number,
    /// For each word, the documents that hold it, and how often each does.
    postings: BTreeMap<String, BTreeMap<Number, u32>>,
    /// The words of all documents together.
    length: u64,
}

/// A document that matches a query.
#[derive(Debug, Serialize)]
struct Hit {
    id: String,
    /// In thousandths; comparable within one answer.
    score: u64,
}

#[derive(Debug, Serialize)]
struct Statistics {
    documents: usize,
    words: usize,
    postings: usize,
}

#[vat]
impl Index {
    fn start() -> Result<Self> {
        Ok(Index {
            // Letters and digits of any script, with apostrophes inside.
            words: Regex::new(r"\w+(?:['’]\w+)*")?,
            documents: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next_number: 0,
            postings: BTreeMap::new(),
            length: 0,
        })
    }

    /// Adds a document, or replaces the one of this id. Answers how many words it has.
    fn add(&mut self, id: String, text: &str) -> Result<u64> {
        ensure!(!id.is_empty(), "a document needs an id");
        self.remove(&id);
        let number = self.next_number;
        self.next_number += 1;
        let mut count = 0;
        for word in tokens(&self.words, text) {
            *self.postings.entry(word).or_default().entry(number).or_default() += 1;
            count += 1;
        }
        self.length += count;
        self.numbers.insert(id.clone(), number);
        self.documents.insert(number, Document { id, words: count });
        Ok(count)
    }

    /// Forgets a document; answers whether there was one.
    fn remove(&mut self, id: &str) -> bool {
        let Some(number) = self.numbers.remove(id) else { return false };
        // Finding its words again costs a pass over the index, and saves keeping every text.
        self.postings.retain(|_word, documents| {
            documents.remove(&number);
            !documents.is_empty()
        });
        let document = self.documents.remove(&number);
        self.length -= document.map_or(0, |document| document.words);
        true
    }

    /// Answers the documents that are most about these words, the best first.
    fn query(&self, words: &str, limit: Option<usize>) -> Vec<Hit> {
        let mut scores: BTreeMap<Number, u64> = BTreeMap::new();
        for word in tokens(&self.words, words) {
            let Some(documents) = self.postings.get(&word) else { continue };
            let rarity = self.rarity(documents.len());
            for (number, occurrences) in documents {
                *scores.entry(*number).or_default() += rarity * self.weight(*number, *occurrences) / 1_000;
            }
        }
        let mut hits: Vec<Hit> = scores
            .into_iter()
            .filter_map(|(number, score)| Some(Hit { id: self.documents.get(&number)?.id.clone(), score }))
            .collect();
        hits.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
        hits.truncate(limit.unwrap_or(10).min(HITS_MAX));
        hits
    }

    /// Answers how large the index is.
    fn statistics(&self) -> Statistics {
        Statistics {
            documents: self.documents.len(),
            words: self.postings.len(),
            postings: self.postings.values().map(BTreeMap::len).sum(),
        }
    }
}

impl Index {
    /// How much a word tells that stands in `documents` documents, in thousandths: log₂(1 + all / documents).
    fn rarity(&self, documents: usize) -> u64 {
        let (all, documents) = (self.documents.len() as u64, documents.max(1) as u64);
        log2_thousandths(1_000 + 1_000 * all / documents)
    }

    /// BM25's saturation, in thousandths, with k = 1.2 and b = 0.75: the tenth occurrence counts less than
    /// the second, and the same count more in a short text.
    fn weight(&self, number: Number, occurrences: u32) -> u64 {
        let words = self.documents.get(&number).map_or(0, |document| document.words);
        let mean = (self.length / (self.documents.len() as u64).max(1)).max(1);
        let occurrences = u64::from(occurrences) * 1_000;
        let damping = 300 + 900 * words / mean;
        occurrences * 2_200 / (occurrences + damping)
    }
}

/// log₂ of a number of thousandths, at least 1000, in thousandths; linear between powers of two.
fn log2_thousandths(thousandths: u64) -> u64 {
    let whole = (thousandths / 1_000).max(1).ilog2();
    let power = 1_000u64 << whole;
    u64::from(whole) * 1_000 + (thousandths.max(power) - power) * 1_000 / power
}

fn tokens<'a>(words: &'a Regex, text: &'a str) -> impl Iterator<Item = String> + 'a {
    let words = words.find_iter(text).map(|word| word.as_str());
    words.filter(|word| word.len() <= WORD_BYTES_MAX).map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::{Index, log2_thousandths};

    fn ids(index: &Index, query: &str) -> Vec<String> {
        index.query(query, None).into_iter().map(|hit| hit.id).collect()
    }

    #[test]
    fn what_is_rare_and_frequent_in_a_short_text_ranks_first() {
        let mut index = Index::start().unwrap();
        index.add("once".to_owned(), "a whale and the sea and the sea and the sea").unwrap();
        index.add("twice".to_owned(), "Whale! the WHALE and the sea").unwrap();
        index.add("never".to_owned(), "the sea").unwrap();
        assert_eq!(ids(&index, "whale"), ["twice", "once"]);
        assert_eq!(ids(&index, "sea whale"), ["twice", "once", "never"]);
        assert_eq!(ids(&index, "ship"), [""; 0]);
    }

    #[test]
    fn a_document_is_replaced_and_removed_whole() {
        let mut index = Index::start().unwrap();
        assert_eq!(index.add("x".to_owned(), "one two two").unwrap(), 3);
        assert_eq!(index.add("x".to_owned(), "three").unwrap(), 1);
        assert_eq!(ids(&index, "two"), [""; 0]);
        assert_eq!(ids(&index, "three"), ["x"]);
        assert!(index.remove("x"));
        assert!(!index.remove("x"));
        assert!(index.postings.is_empty());
        assert_eq!(index.length, 0);
    }

    #[test]
    fn words_are_those_of_any_script() {
        let mut index = Index::start().unwrap();
        assert_eq!(index.add("x".to_owned(), "Don't stop, Müller: 東京 24/7").unwrap(), 6);
        for word in ["don't", "DON'T", "müller", "MÜLLER", "東京", "24"] {
            assert_eq!(ids(&index, word), ["x"], "{word}");
        }
    }

    #[test]
    fn the_logarithm_is_exact_at_powers_of_two_and_grows() {
        for (thousandths, expected) in
            [(1_000, 0), (2_000, 1_000), (3_000, 1_500), (4_000, 2_000), (1_024_000, 10_000)]
        {
            assert_eq!(log2_thousandths(thousandths), expected);
        }
    }
}
