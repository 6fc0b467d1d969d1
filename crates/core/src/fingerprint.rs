//! What a thing holds as one number.

use crate::Real;
use serde::{Deserialize, Serialize};
use std::fmt;
use xxhash_rust::xxh3::Xxh3;

/// Equal for equal things and, in practice, for those alone: XXH3 with 128 bits.
///
/// Its text, which is what files keep, names the hash: `xxh3:` and 32 hexadecimal digits.
///
/// ```
/// use backcast_core::{Fingerprint, Fingerprinter};
///
/// let of = |words: [&str; 2]| {
///     let mut all = Fingerprinter::default();
///     words.iter().for_each(|word| all.bytes(word.as_bytes()));
///     all.finish()
/// };
/// assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
/// let text = of(["ab", "c"]).to_string();
/// assert!(text.starts_with("xxh3:"));
/// assert_eq!(text.parse::<Fingerprint>()?, of(["ab", "c"]));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Fingerprint(u128);

/// The name of the hash: another hash gets another.
const NAME: &str = "xxh3:";

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix(NAME).filter(|digits| digits.len() == 32);
        let number = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
        number.map(Self).ok_or("a fingerprint is `xxh3:` and 32 hexadecimal digits")
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Takes in what a thing holds, part by part, for a [`Fingerprint`].
#[derive(Clone, Default)]
pub struct Fingerprinter(Xxh3);

impl Fingerprinter {
    /// Takes in bytes. Their number goes first, so that neighbours cannot trade them.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        self.0.update(bytes);
    }

    /// Takes in one word.
    pub fn word(&mut self, word: u64) {
        self.0.update(&word.to_le_bytes());
    }

    /// Takes in every bit of some numbers, and how many they are.
    pub fn numbers(&mut self, numbers: &[Real]) {
        const MANY: usize = 256;
        const WIDTH: usize = size_of::<Real>();
        self.word(numbers.len() as u64);
        let mut bytes = [0; MANY * WIDTH];
        for many in numbers.chunks(MANY) {
            let bytes = &mut bytes[..many.len() * WIDTH];
            bytes.chunks_exact_mut(WIDTH).zip(many).for_each(|(to, x)| to.copy_from_slice(&x.to_le_bytes()));
            self.0.update(bytes);
        }
    }

    /// The fingerprint of all so far.
    pub fn finish(&self) -> Fingerprint {
        Fingerprint(self.0.digest128())
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fingerprinter").field(&self.finish()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published hash of nothing (`XXH128` with seed 0), and that it is the library's whatever comes in how many parts.
    #[test]
    fn it_is_xxh3() {
        assert_eq!(Fingerprinter::default().finish().to_string(), "xxh3:99aa06d3014798d86001c324468d497f");
        let numbers: Vec<Real> = (0..1000).map(|i| i as Real * 0.37 - 50.0).collect();
        let mut parts = Fingerprinter::default();
        parts.numbers(&numbers);
        let whole: Vec<u8> =
            1000u64.to_le_bytes().into_iter().chain(numbers.iter().flat_map(|x| x.to_le_bytes())).collect();
        assert_eq!(parts.finish().0, xxhash_rust::xxh3::xxh3_128(&whole));
    }

    #[test]
    fn every_bit_counts() {
        let of = |numbers: &[Real]| {
            let mut all = Fingerprinter::default();
            all.numbers(numbers);
            all.finish()
        };
        assert_ne!(of(&[0.0, 1.0]), of(&[-0.0, 1.0]));
        assert_ne!(of(&[0.0, 1.0]), of(&[0.0, 1.0, 0.0]));
        for (text, sound) in [
            ("xxh3:99aa06d3014798d86001c324468d497f", true),
            ("99aa06d3014798d86001c324468d497f", false),
            ("xxh3:99aa", false),
            ("fnv1a64:0123456789abcdef", false),
        ] {
            assert_eq!(text.parse::<Fingerprint>().is_ok(), sound, "{text}");
        }
    }
}
