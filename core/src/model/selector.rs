//! Labels and label selectors.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// An object's labels, sorted by key.
///
/// A boxed slice instead of a map: a large cluster holds hundreds of thousands of these, each small.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Arc<str>, Arc<str>>", into = "BTreeMap<Arc<str>, Arc<str>>")]
pub struct Labels(Box<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Arc<str>> {
        let at = self.0.binary_search_by(|(candidate, _)| (**candidate).cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// All labels, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The same labels with every text replaced by `share(text)`: equal texts can then share memory.
    pub(crate) fn shared(&self, mut share: impl FnMut(&Arc<str>) -> Arc<str>) -> Self {
        Self(self.0.iter().map(|(key, value)| (share(key), share(value))).collect())
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for Labels {
    /// Labels from pairs; a later pair replaces an earlier one with the same key.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let map: BTreeMap<Arc<str>, Arc<str>> =
            pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        map.into()
    }
}

impl From<BTreeMap<Arc<str>, Arc<str>>> for Labels {
    fn from(map: BTreeMap<Arc<str>, Arc<str>>) -> Self {
        Self(map.into_iter().collect())
    }
}

impl From<Labels> for BTreeMap<Arc<str>, Arc<str>> {
    fn from(labels: Labels) -> Self {
        labels.0.into_iter().collect()
    }
}

/// What one requirement asks of the value under its key.
///
/// Source: `LabelSelectorRequirement.operator` of `k8s.io/apimachinery/pkg/apis/meta/v1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Operator {
    /// The key is absent.
    DoesNotExist,
    /// The key is there.
    Exists,
    /// The key is there with one of these values.
    In(BTreeSet<Arc<str>>),
    /// The key is absent, or its value is none of these.
    NotIn(BTreeSet<Arc<str>>),
}

/// One condition of a selector.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Requirement {
    /// The label's key.
    pub key: Arc<str>,
    /// What is asked of its value.
    pub operator: Operator,
}

impl Requirement {
    /// Whether `labels` meet this condition.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::DoesNotExist => value.is_none(),
            Operator::Exists => value.is_some(),
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
        }
    }
}

/// A label selector in canonical form: conditions sorted and without repetition, `matchLabels` as `In` with one
/// value. Two selectors written differently but alike in this form are one selector, and share their sets.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Selector(Vec<Requirement>);

impl Selector {
    /// A selector of all `requirements`; none selects everything.
    pub fn new(requirements: impl IntoIterator<Item = Requirement>) -> Self {
        let unique: BTreeSet<Requirement> = requirements.into_iter().collect();
        Self(unique.into_iter().collect())
    }

    /// Whether `labels` meet every condition.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }

    /// The conditions, sorted.
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }
}

impl core::fmt::Display for Selector {
    /// The form `kubectl --selector` reads: `app=web,tier in (a,b),!old`; `all` for the empty selector.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("all");
        }
        for (at, Requirement { key, operator }) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match operator {
                Operator::DoesNotExist => write!(f, "!{key}")?,
                Operator::Exists => f.write_str(key)?,
                Operator::In(values) if values.len() == 1 => {
                    write!(f, "{key}={}", values.first().map_or("", |value| value))?;
                }
                Operator::In(values) => write!(f, "{key} in ({})", Joined(values))?,
                Operator::NotIn(values) => write!(f, "{key} notin ({})", Joined(values))?,
            }
        }
        Ok(())
    }
}

/// Values with commas between them.
struct Joined<'a>(&'a BTreeSet<Arc<str>>);

impl core::fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (at, value) in self.0.iter().enumerate() {
            write!(f, "{}{value}", if at > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}
