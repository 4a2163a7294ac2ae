//! Where in an object something is written, and the list of what is wrong there.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use crate::model::Problem;

/// A field's path, such as `spec.ingress[1].from[0].ipBlock.cidr`.
///
/// A chain of borrowed steps: reading 10,000 peers builds no text for those that are in order.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// A field of the object itself.
    pub const fn root(field: &'a str) -> Self {
        Self { parent: None, step: Step::Field(field) }
    }

    /// A field of what is here: `.field`.
    pub const fn field(&'a self, field: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Field(field) }
    }

    /// An entry of the list here, from 0: `[3]`.
    pub const fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    /// A value of the map here: `[key]`.
    pub const fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            fmt::Display::fmt(parent, f)?;
        }
        match self.step {
            Step::Field(field) if self.parent.is_none() => f.write_str(field),
            Step::Field(field) => {
                f.write_str(".")?;
                write_name(field, f)
            }
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => {
                f.write_str("[")?;
                write_name(key, f)?;
                f.write_str("]")
            }
        }
    }
}

/// Writes the name of a field or key, which may be anybody's text: shortened, control characters escaped.
fn write_name(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in shortened(name).chars() {
        if c.is_control() {
            write!(f, "{}", c.escape_default())?;
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

/// How many problems of one object are listed; the rest is counted.
pub const PROBLEMS_MAX: usize = 64;

/// The problems of one object, bounded: a hostile object must not fill the memory with its own mistakes.
#[derive(Debug, Default)]
pub struct Problems {
    listed: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    /// Notes that what is written at `path` cannot be used, and why.
    pub fn add(&mut self, path: &Path<'_>, reason: impl Into<String>) {
        if self.listed.len() < PROBLEMS_MAX {
            self.listed.push(Problem { path: path.to_string(), reason: reason.into() });
        } else {
            self.omitted += 1;
        }
    }

    /// The problems in the order in which they were found; when there were too many, the last one counts the rest.
    pub fn into_list(mut self) -> Vec<Problem> {
        if let Some(last) = self.listed.last().filter(|_| self.omitted > 0) {
            let reason = format!("{} more problems after this one are not listed", self.omitted);
            self.listed.push(Problem { path: last.path.clone(), reason });
        }
        self.listed
    }
}

/// The longest quotation of a value in a reason, in bytes.
const QUOTE_MAX: usize = 120;

/// The beginning of `text`, at most 120 bytes: reasons quote what anybody may have written.
pub fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(QUOTE_MAX)).unwrap_or(text)
}

/// `text` between quotation marks, unprintable characters escaped, shortened when long.
pub fn quoted(text: &str) -> String {
    let short = shortened(text);
    if short.len() == text.len() { format!("{text:?}") } else { format!("{short:?}...") }
}
