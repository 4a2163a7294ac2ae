//! Reading peers.

use alloc::sync::Arc;

use crate::model::{NamespaceScope, Peer, Selector};

use super::block::block;
use super::selector::selector;
use super::{Field, LabelSelector, Path, PeerSpec, Problems};

/// Reads a peer of a policy in `namespace`; `None` when it is not usable and therefore matches nothing.
pub(super) fn peer(
    spec: &PeerSpec,
    namespace: &Arc<str>,
    at: &Path<'_>,
    problems: &mut Problems,
) -> Option<Peer> {
    if !spec.unknown.none(at, problems) {
        return None;
    }
    let selects = !spec.pod_selector.is_absent() || !spec.namespace_selector.is_absent();
    if !spec.ip_block.is_absent() && selects {
        problems.add(at, "ipBlock cannot stand beside podSelector or namespaceSelector");
        return None;
    }
    if selects {
        return pods(spec, namespace, at, problems);
    }
    let at_block = at.field("ipBlock");
    match &spec.ip_block {
        Field::Given(spec) => block(spec, &at_block, problems).map(Peer::Block),
        Field::Wrong(reason) => {
            problems.add(&at_block, reason.as_str());
            None
        }
        Field::Absent => {
            problems.add(at, "names neither ipBlock nor podSelector nor namespaceSelector");
            None
        }
    }
}

/// Reads a peer of selectors.
fn pods(spec: &PeerSpec, namespace: &Arc<str>, at: &Path<'_>, problems: &mut Problems) -> Option<Peer> {
    let pods = whole(&spec.pod_selector, &at.field("podSelector"), problems);
    let namespaces = if spec.namespace_selector.is_absent() {
        Some(NamespaceScope::Named(namespace.clone()))
    } else {
        whole(&spec.namespace_selector, &at.field("namespaceSelector"), problems)
            .map(NamespaceScope::Matching)
    };
    Some(Peer::Pods { namespaces: namespaces?, pods: pods? })
}

/// A selector that is readable as a whole; absent selects everything.
fn whole(field: &Field<LabelSelector>, at: &Path<'_>, problems: &mut Problems) -> Option<Selector> {
    match field {
        Field::Absent => Some(Selector::default()),
        Field::Given(spec) => {
            let read = selector(spec, at, problems);
            read.whole.then_some(read.selector)
        }
        Field::Wrong(reason) => {
            problems.add(at, reason.as_str());
            None
        }
    }
}
