//! Sets and maps.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Datum, KeyType, Verdict};

/// The elements of a set (`None`) or of a verdict map (`Some`).
pub type Elements = BTreeMap<Key, Option<Verdict>>;

/// A set or map.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Set {
    /// What it is, apart from its elements.
    pub spec: SetSpec,
    /// Its elements; always empty for a dynamic set, whose elements belong to the packet path.
    #[serde(with = "elements_as_list")]
    pub elements: Elements,
}

impl Set {
    /// A set without elements.
    pub const fn empty(spec: SetSpec) -> Self {
        Self { spec, elements: Elements::new() }
    }
}

/// What a set is, apart from its elements.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetSpec {
    /// The parts of its key; at most 5, because nft packs their types into 5 times 6 bits
    /// (`TYPE_BITS`, nftables `datatype.h`).
    pub key: Vec<KeyType>,
    /// Whether each element carries a verdict.
    pub verdict_map: bool,
    /// Whether elements are ranges.
    pub interval: bool,
    /// Set when rules add elements: how many and for how long.
    pub dynamic: Option<Dynamic>,
    /// For people: at most [`super::COMMENT_BYTES_MAX`] bytes.
    pub comment: String,
}

/// The limits of a set that rules add elements to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dynamic {
    /// The most elements it may hold.
    pub size: u32,
    /// How long an element stays after its last update, unless the rule says otherwise. Whole seconds.
    pub timeout: Duration,
}

/// The key of an element.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Key {
    /// Several values, one for each part of the set's key.
    Concat(Box<[Datum]>),
    /// One value.
    One(Datum),
    /// A range, both ends included.
    Range(Datum, Datum),
}

impl Key {
    /// The exact key of `values`: one, or a concatenation.
    pub fn of(values: &[Datum]) -> Self {
        match values {
            [value] => Self::One(*value),
            _ => Self::Concat(values.into()),
        }
    }

    /// Whether an element with this key stands for `values`.
    pub fn covers(&self, values: &[Datum]) -> bool {
        match (self, values) {
            (Self::Concat(parts), _) => **parts == *values,
            (Self::One(key), [value]) => key == value,
            (Self::Range(low, high), [value]) => low <= value && value <= high,
            (Self::One(_) | Self::Range(..), _) => false,
        }
    }
}

impl Set {
    /// The element that stands for `values`, if any.
    pub fn find(&self, values: &[Datum]) -> Option<(&Key, &Option<Verdict>)> {
        if self.spec.interval {
            let [value] = values else { return None };
            let before = self.elements.range(..=Key::Range(*value, Datum::MAX)).next_back();
            return before.filter(|(key, _)| key.covers(values));
        }
        self.elements.get_key_value(&Key::of(values))
    }
}

/// JSON objects have texts for keys, so elements are written as a list of pairs.
pub(super) mod elements_as_list {
    use alloc::vec::Vec;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Elements, Key, Verdict};

    pub(in super::super) fn serialize<S: Serializer>(
        elements: &Elements,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(elements)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Elements, D::Error> {
        Ok(Vec::<(Key, Option<Verdict>)>::deserialize(deserializer)?.into_iter().collect())
    }
}
