//! One field of foreign JSON: absent, of its type, or wrong; and the fields that nobody knows.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::any::Any;
use super::path::shortened;
use super::{Path, Problems};

/// A field as written. Reading one never fails on a wrong type, so that a mistake costs the smallest unit it is in.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub enum Field<T> {
    /// Not there, or `null` (which Kubernetes' own decoding treats alike).
    #[default]
    Absent,
    /// There, and of its type.
    Given(T),
    /// There, but of another type: what was found and what is expected.
    Wrong(String),
}

impl<T> Field<T> {
    /// Whether nothing is written here.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value, when it is of its type.
    pub const fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Wrong(_) => None,
        }
    }

    /// The value of a field that must be there, or why there is none.
    pub(super) fn required(&self) -> Result<&T, String> {
        match self {
            Self::Given(value) => Ok(value),
            Self::Absent => Err(String::from("missing")),
            Self::Wrong(reason) => Err(reason.clone()),
        }
    }
}

/// A list as written, each entry by itself.
pub type List<T> = Field<Vec<Field<T>>>;

impl<'de, T: DeserializeOwned> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Any::deserialize(deserializer)?;
        if matches!(value, Any::Null) {
            return Ok(Self::Absent);
        }
        Ok(T::deserialize(value)
            .map_or_else(|error| Self::Wrong(shortened(&error.to_string()).to_string()), Self::Given))
    }
}

/// The names of an object's fields that the API does not have.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Unknown(BTreeSet<String>);

impl Unknown {
    /// Reports each, and says whether there is none. A field that is not known may narrow what its object matches,
    /// so an object that has one must not be used to allow anything.
    pub(super) fn none(&self, at: &Path<'_>, problems: &mut Problems) -> bool {
        for name in &self.0 {
            problems.add(&at.field(name), "unknown field");
        }
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Unknown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UnknownVisitor)
    }
}

struct UnknownVisitor;

impl<'de> Visitor<'de> for UnknownVisitor {
    type Value = Unknown;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unknown, A::Error> {
        let mut names = BTreeSet::new();
        while let Some((name, IgnoredAny)) = entries.next_entry()? {
            names.insert(name);
        }
        Ok(Unknown(names))
    }
}
