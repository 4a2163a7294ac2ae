//! Finding the selectors that may match given labels, without trying them all.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use crate::model::{Labels, Operator, Selector};

/// Selectors by a label that they insist on. Each is filed under one of its conditions, so a look-up costs as much as the
/// labels and the candidates, not as much as the selectors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LabelIndex<T> {
    by_value: BTreeMap<Arc<str>, BTreeMap<Arc<str>, BTreeSet<T>>>,
    by_key: BTreeMap<Arc<str>, BTreeSet<T>>,
    /// Selectors that insist on nothing: empty ones, and those with only `NotIn` and `DoesNotExist`.
    rest: BTreeSet<T>,
}

impl<T> Default for LabelIndex<T> {
    fn default() -> Self {
        Self { by_value: BTreeMap::new(), by_key: BTreeMap::new(), rest: BTreeSet::new() }
    }
}

/// Where a selector is filed.
enum Place<'a> {
    Key(&'a Arc<str>),
    Rest,
    Values(&'a Arc<str>, &'a BTreeSet<Arc<str>>),
}

impl<'a> Place<'a> {
    /// The most selective place: the fewest values, else a key, else none.
    fn of(selector: &'a Selector) -> Self {
        let mut place = Self::Rest;
        for requirement in selector.requirements() {
            match (&requirement.operator, &place) {
                (Operator::In(values), Self::Values(_, fewest)) if fewest.len() <= values.len() => {}
                (Operator::In(values), _) => place = Self::Values(&requirement.key, values),
                (Operator::Exists, Self::Rest) => place = Self::Key(&requirement.key),
                (Operator::DoesNotExist | Operator::Exists | Operator::NotIn(_), _) => {}
            }
        }
        place
    }
}

impl<T: Ord + Clone> LabelIndex<T> {
    /// Files `item` under `selector`.
    pub(crate) fn insert(&mut self, selector: &Selector, item: &T) {
        match Place::of(selector) {
            Place::Key(key) => {
                self.by_key.entry(key.clone()).or_default().insert(item.clone());
            }
            Place::Rest => {
                self.rest.insert(item.clone());
            }
            Place::Values(key, values) => {
                let of_key = self.by_value.entry(key.clone()).or_default();
                for value in values {
                    of_key.entry(value.clone()).or_default().insert(item.clone());
                }
            }
        }
    }

    /// Takes `item` out again; `selector` is the one it was filed under.
    pub(crate) fn remove(&mut self, selector: &Selector, item: &T) {
        match Place::of(selector) {
            Place::Key(key) => remove_from(&mut self.by_key, key, item),
            Place::Rest => {
                self.rest.remove(item);
            }
            Place::Values(key, values) => {
                let Some(of_key) = self.by_value.get_mut(key) else { return };
                for value in values {
                    remove_from(of_key, value, item);
                }
                if of_key.is_empty() {
                    self.by_value.remove(key);
                }
            }
        }
    }

    /// Whether nothing is filed.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_value.is_empty() && self.by_key.is_empty() && self.rest.is_empty()
    }

    /// The items whose selector may match `labels`: every one that does, and some that do not.
    pub(crate) fn candidates(&self, labels: &Labels) -> impl Iterator<Item = &T> {
        let with_label = labels.iter().flat_map(|(key, value)| {
            let of_value = self.by_value.get(key).and_then(|values| values.get(value));
            of_value.into_iter().chain(self.by_key.get(key)).flatten()
        });
        with_label.chain(&self.rest)
    }
}

fn remove_from<T: Ord>(map: &mut BTreeMap<Arc<str>, BTreeSet<T>>, key: &Arc<str>, item: &T) {
    if let Some(items) = map.get_mut(key) {
        items.remove(item);
        if items.is_empty() {
            map.remove(key);
        }
    }
}
