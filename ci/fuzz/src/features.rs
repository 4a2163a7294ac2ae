//! What an input showed: words about behaviour, without what varies from input to input.

use alloc::collections::BTreeSet;
use core::fmt::Display;

/// The most features that one input is credited with.
const FEATURES_MAX: usize = 512;
/// The longest feature, in bytes.
const FEATURE_BYTES_MAX: usize = 160;

/// The features of one input.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Features(BTreeSet<String>);

impl Features {
    /// Notes that something happened, described by `text`: its shape counts.
    pub fn saw(&mut self, text: impl Display) {
        if self.0.len() < FEATURES_MAX {
            self.0.insert(shape(&text.to_string()));
        }
    }

    /// Notes how many of something there were, in powers of two.
    pub fn counted(&mut self, what: &str, count: usize) {
        let strokes = count.checked_ilog2().map_or(0, |log| log + 1);
        self.saw(format_args!("{what} {}", "|".repeat(usize::try_from(strokes).unwrap_or_default())));
    }

    /// Takes in what another part of the same input showed.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The features.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// The text without quotations (between `"` or backticks), names with a `/` or `@`, and digits.
fn shape(text: &str) -> String {
    let mut unquoted = String::new();
    let mut quote = None;
    let mut escaped = false;
    for c in text.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None => {
                unquoted.push(c);
                quote = matches!(c, '"' | '`').then_some(c);
            }
        }
    }
    let mut shape = String::new();
    let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '(' | ')');
    for word in unquoted.split_inclusive(ends) {
        if word.contains(['/', '@']) {
            shape.push('@');
        } else {
            shape.extend(word.chars().filter(|c| !c.is_ascii_digit() && !c.is_control()));
        }
        if shape.len() > FEATURE_BYTES_MAX {
            shape.truncate(shape.floor_char_boundary(FEATURE_BYTES_MAX));
            break;
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::{Features, shape};

    #[test_case("spec.ingress[12].from[3]: \"10.0.0.0/33\": prefix length over 32", "spec.ingress[].from[]: \": prefix length over "; "a complaint")]
    #[test_case("ip saddr @peers/abc-ip4 accept", "ip saddr @accept"; "a rule")]
    #[test_case("\"a \\\" b\" and `c`", "\" and `"; "an escaped quotation mark")]
    #[test_case("\"open", "\""; "an open quotation")]
    fn shape_is_what_does_not_vary(text: &str, wanted: &str) {
        assert_eq!(shape(text), wanted);
    }

    #[test]
    fn counts_are_told_apart_by_powers_of_two() {
        let counted = |count| {
            let mut features = Features::default();
            features.counted("peers", count);
            features
        };
        assert_eq!(counted(5), counted(7));
        assert_ne!(counted(7), counted(8));
        assert_ne!(counted(0), counted(1));
    }

    #[test]
    fn one_input_cannot_fill_the_memory_with_features() {
        let mut features = Features::default();
        for number in 0..2_000_u32 {
            let letters: String = number.to_string().bytes().map(|digit| char::from(digit + 49)).collect();
            features.saw(format_args!("{letters}{}", "é".repeat(500)));
        }
        assert_eq!(features.iter().count(), super::FEATURES_MAX);
        assert!(features.iter().all(|feature| feature.len() <= super::FEATURE_BYTES_MAX));
    }
}
