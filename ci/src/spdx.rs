//! Licence expressions (SPDX 2.3, annex D) as cargo manifests use them, judged against a list of allowed licences.
//!
//! Old manifests write `MIT/Apache-2.0` for what is now `MIT OR Apache-2.0`; both are read.

use alloc::collections::BTreeSet;

use anyhow::{Result, bail};

/// Whether `expression` can be satisfied with the `allowed` licences alone.
///
/// A licence with an exception (`Apache-2.0 WITH LLVM-exception`) must be allowed as a whole.
///
/// # Errors
/// The expression is malformed.
pub(crate) fn is_satisfied(expression: &str, allowed: &BTreeSet<String>) -> Result<bool> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut reader = Reader { expression, words: spaced.split_whitespace().peekable(), allowed };
    let satisfied = reader.alternatives()?;
    match reader.words.next() {
        None => Ok(satisfied),
        Some(word) => bail!("licence expression `{expression}` has an unexpected `{word}`"),
    }
}

struct Reader<'a, W: Iterator<Item = &'a str>> {
    expression: &'a str,
    words: core::iter::Peekable<W>,
    allowed: &'a BTreeSet<String>,
}

impl<'a, W: Iterator<Item = &'a str>> Reader<'a, W> {
    /// `OR` binds weakest.
    fn alternatives(&mut self) -> Result<bool> {
        let mut satisfied = self.conjunction()?;
        while self.words.next_if_eq(&"OR").is_some() {
            satisfied |= self.conjunction()?;
        }
        Ok(satisfied)
    }

    fn conjunction(&mut self) -> Result<bool> {
        let mut satisfied = self.licence()?;
        while self.words.next_if_eq(&"AND").is_some() {
            satisfied &= self.licence()?;
        }
        Ok(satisfied)
    }

    fn licence(&mut self) -> Result<bool> {
        match self.words.next() {
            Some("(") => {
                let satisfied = self.alternatives()?;
                if self.words.next() != Some(")") {
                    bail!("licence expression `{}` lacks a `)`", self.expression);
                }
                Ok(satisfied)
            }
            None | Some(")" | "AND" | "OR" | "WITH") => {
                bail!("licence expression `{}` lacks a licence", self.expression)
            }
            Some(name) => {
                let Some(_) = self.words.next_if_eq(&"WITH") else { return Ok(self.allowed.contains(name)) };
                let Some(exception) = self.words.next() else {
                    bail!("licence expression `{}` lacks an exception after `WITH`", self.expression);
                };
                Ok(self.allowed.contains(&format!("{name} WITH {exception}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use test_case::test_case;

    use super::is_satisfied;

    fn judge(expression: &str) -> anyhow::Result<bool> {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"];
        is_satisfied(expression, &allowed.map(str::to_owned).into_iter().collect::<BTreeSet<_>>())
    }

    #[test_case("MIT" => true)]
    #[test_case("GPL-3.0-or-later" => false)]
    #[test_case("GPL-3.0-only OR MIT" => true; "one alternative is enough")]
    #[test_case("MIT/Apache-2.0" => true; "a slash is an alternative")]
    #[test_case("GPL-2.0/LGPL-2.1" => false; "no alternative is allowed")]
    #[test_case("(MIT OR Apache-2.0) AND Unicode-3.0" => true; "all parts are allowed")]
    #[test_case("(MIT OR Apache-2.0) AND GPL-3.0-only" => false; "one part is refused")]
    #[test_case("MIT OR Apache-2.0 AND GPL-3.0-only" => true; "and binds stronger than or")]
    #[test_case("Apache-2.0 WITH LLVM-exception" => true; "a known exception")]
    #[test_case("MIT WITH LLVM-exception" => false; "an exception that is not listed")]
    fn verdict(expression: &str) -> bool {
        judge(expression).expect("the expression is well-formed")
    }

    #[test_case("" => "licence expression `` lacks a licence"; "empty")]
    #[test_case("MIT OR" => "licence expression `MIT OR` lacks a licence"; "nothing after or")]
    #[test_case("(MIT" => "licence expression `(MIT` lacks a `)`"; "an open bracket")]
    #[test_case("MIT)" => "licence expression `MIT)` has an unexpected `)`"; "a closing bracket")]
    #[test_case("MIT Apache-2.0" => "licence expression `MIT Apache-2.0` has an unexpected `Apache-2.0`"; "no operator")]
    #[test_case("MIT WITH" => "licence expression `MIT WITH` lacks an exception after `WITH`"; "no exception")]
    fn malformed(expression: &str) -> String {
        judge(expression).expect_err("the expression is malformed").to_string()
    }
}
