//! Reading label selectors.
//!
//! Rules: `LabelSelectorAsSelector` of `k8s.io/apimachinery/pkg/apis/meta/v1` and `NewRequirement` of
//! `k8s.io/apimachinery/pkg/labels`.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::model::{Operator, Requirement, Selector};

use super::path::quoted;
use super::syntax::{is_label_key, is_label_value};
use super::{Field, LabelSelector, LabelSelectorRequirement, List, Path, Problems};

/// A selector as far as it can be read.
pub(super) struct ReadSelector {
    /// The readable requirements.
    pub(super) selector: Selector,
    /// Whether that is all of them. The rest may have excluded anything, so what the whole selector would select
    /// is unknown.
    pub(super) whole: bool,
}

/// Reads `spec`, written at `at`.
pub(super) fn selector(spec: &LabelSelector, at: &Path<'_>, problems: &mut Problems) -> ReadSelector {
    let mut requirements = Vec::new();
    let labels = match_labels(spec, at, problems, &mut requirements);
    let expressions = match_expressions(spec, at, problems, &mut requirements);
    let known = spec.unknown.none(at, problems);
    ReadSelector { selector: Selector::new(requirements), whole: labels && expressions && known }
}

/// Whether every entry of `matchLabels` is readable.
fn match_labels(
    spec: &LabelSelector,
    at: &Path<'_>,
    problems: &mut Problems,
    requirements: &mut Vec<Requirement>,
) -> bool {
    let at = at.field("matchLabels");
    let labels = match &spec.match_labels {
        Field::Absent => return true,
        Field::Given(labels) => labels,
        Field::Wrong(reason) => {
            problems.add(&at, reason.as_str());
            return false;
        }
    };
    let mut whole = true;
    for (key, value) in labels {
        let at = at.key(key);
        match value.required().and_then(|value| equals(key, value)) {
            Ok(requirement) => requirements.push(requirement),
            Err(reason) => {
                problems.add(&at, reason);
                whole = false;
            }
        }
    }
    whole
}

/// The requirement that the label `key` is `value`.
fn equals(key: &str, value: &str) -> Result<Requirement, String> {
    let values = [checked_value(value)?].into();
    Ok(Requirement { key: checked_key(key)?, operator: Operator::In(values) })
}

/// Whether every entry of `matchExpressions` is readable.
fn match_expressions(
    spec: &LabelSelector,
    at: &Path<'_>,
    problems: &mut Problems,
    requirements: &mut Vec<Requirement>,
) -> bool {
    let at = at.field("matchExpressions");
    let expressions = match &spec.match_expressions {
        Field::Absent => return true,
        Field::Given(expressions) => expressions,
        Field::Wrong(reason) => {
            problems.add(&at, reason.as_str());
            return false;
        }
    };
    let mut whole = true;
    for (index, expression) in expressions.iter().enumerate() {
        let at = at.index(index);
        let read = match expression {
            Field::Given(expression) => requirement(expression, &at, problems),
            Field::Absent => {
                problems.add(&at, "null is not a requirement");
                None
            }
            Field::Wrong(reason) => {
                problems.add(&at, reason.as_str());
                None
            }
        };
        whole &= read.is_some();
        requirements.extend(read);
    }
    whole
}

/// Reads one entry of `matchExpressions`.
fn requirement(
    spec: &LabelSelectorRequirement,
    at: &Path<'_>,
    problems: &mut Problems,
) -> Option<Requirement> {
    let known = spec.unknown.none(at, problems);
    let key = spec.key.required().and_then(|key| checked_key(key));
    let key = key.map_err(|reason| problems.add(&at.field("key"), reason)).ok();
    let values = values(&spec.values, &at.field("values"), problems);
    let name = spec.operator.required().map_err(|reason| problems.add(&at.field("operator"), reason)).ok()?;
    let values = values?;
    let operator = match (name.as_str(), values.is_empty()) {
        ("In", false) => Ok(Operator::In(values)),
        ("NotIn", false) => Ok(Operator::NotIn(values)),
        ("Exists", true) => Ok(Operator::Exists),
        ("DoesNotExist", true) => Ok(Operator::DoesNotExist),
        ("In" | "NotIn", true) => Err(("values", format!("{name} needs at least one value"))),
        ("Exists" | "DoesNotExist", false) => Err(("values", format!("{name} takes no values"))),
        (other, _) => {
            Err(("operator", format!("{}: not one of In, NotIn, Exists, DoesNotExist", quoted(other))))
        }
    };
    let operator = operator.map_err(|(field, reason)| problems.add(&at.field(field), reason)).ok()?;
    known.then_some(Requirement { key: key?, operator })
}

/// The values of a requirement; `None` when one of them cannot be a label's value.
fn values(list: &List<String>, at: &Path<'_>, problems: &mut Problems) -> Option<BTreeSet<Arc<str>>> {
    let list = match list {
        Field::Absent => return Some(BTreeSet::new()),
        Field::Given(list) => list,
        Field::Wrong(reason) => {
            problems.add(at, reason.as_str());
            return None;
        }
    };
    let mut values = BTreeSet::new();
    let mut whole = true;
    for (index, value) in list.iter().enumerate() {
        match value.required().and_then(|value| checked_value(value)) {
            Ok(value) => {
                values.insert(value);
            }
            Err(reason) => {
                problems.add(&at.index(index), reason);
                whole = false;
            }
        }
    }
    whole.then_some(values)
}

fn checked_key(key: &str) -> Result<Arc<str>, String> {
    if is_label_key(key) { Ok(key.into()) } else { Err(format!("{}: not a label key", quoted(key))) }
}

fn checked_value(value: &str) -> Result<Arc<str>, String> {
    if is_label_value(value) {
        Ok(value.into())
    } else {
        Err(format!("{}: not a label value", quoted(value)))
    }
}
