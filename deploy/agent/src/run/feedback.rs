//! What people and programs are told of what happens: the log, the metrics, and Events.

use alloc::collections::BTreeSet;
use core::time::Duration;

use driver_kube::announce::Outcome;
use driver_kube::events::Told;
use policy_core::model::{Kind, Object, ObjectId, Problem};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tracing::{info, warn};

use super::metrics::{Metrics, Snapshot};

/// Where news go.
#[derive(Debug)]
pub(crate) struct Feedback {
    metrics: Metrics,
    /// To whoever writes Events; none without an API server.
    events: Option<Sender<Told>>,
    /// The objects that have problems.
    troubled: BTreeSet<ObjectId>,
}

impl Feedback {
    /// Nothing has happened yet.
    pub(crate) const fn new(metrics: Metrics, events: Option<Sender<Told>>) -> Self {
        Self { metrics, events, troubled: BTreeSet::new() }
    }

    /// The kernel has committed a change; `waited` is the time since its oldest event.
    pub(crate) fn committed(&self, operations: usize, waited: Option<Duration>) {
        self.metrics.committed(operations, waited);
    }

    /// The kernel has refused a change.
    pub(crate) fn refused(&self) {
        self.metrics.refused();
    }

    /// Another program has changed the table.
    pub(crate) fn tampered(&self) {
        self.metrics.tampered();
    }

    /// All problems of an object; none means that earlier ones are solved.
    pub(crate) fn problems(&mut self, object: ObjectId, problems: Vec<Problem>) {
        if problems.is_empty() {
            info!(%object, "earlier problems are solved");
            self.troubled.remove(&object);
        } else {
            self.troubled.insert(object.clone());
        }
        for problem in &problems {
            warn!(%object, path = %problem.path, reason = %problem.reason, "this cannot be enforced");
        }
        let Some(events) = &self.events else { return };
        // Whoever writes Events may be slow: enforcement does not wait for them.
        match events.try_send(Told { object, problems }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.metrics.event(Outcome::Overflowed),
            Err(TrySendError::Closed(_)) => self.events = None,
        }
    }

    /// Adds to a snapshot what is known here.
    pub(crate) fn complete(&self, snapshot: &mut Snapshot) {
        for object in &self.troubled {
            *snapshot.troubled.entry(object.kind().word()).or_default() += 1;
        }
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&mut self, object: &ObjectId) {
        self.troubled.remove(object);
    }

    /// Forgets what is no longer in the list of its kind.
    pub(crate) fn listed(&mut self, kind: Kind, objects: &[Object]) {
        if self.troubled.iter().any(|object| object.kind() == kind) {
            let listed: BTreeSet<ObjectId> = objects.iter().map(Object::id).collect();
            self.troubled.retain(|object| object.kind() != kind || listed.contains(object));
        }
    }
}

#[cfg(test)]
mod tests {
    use policy_core::Config;
    use policy_core::model::{Kind, NamespacedName, Object, ObjectId, Pod, Problem};

    use super::Feedback;
    use crate::run::Health;
    use crate::run::metrics::{Metrics, Snapshot};

    fn pod(name: &str) -> Object {
        Object::Pod(Pod {
            id: NamespacedName::new("shop", name),
            labels: [("app", "web")].into_iter().collect(),
            node: None,
            attachments: Vec::new(),
            ports: Vec::new(),
        })
    }

    fn troubled(feedback: &Feedback) -> usize {
        let compiler = policy_core::Compiler::new(&Config::new("node-1"));
        let mut snapshot = Snapshot::of(&compiler, Health::default());
        feedback.complete(&mut snapshot);
        snapshot.troubled.values().sum()
    }

    #[test]
    fn an_object_with_problems_that_vanishes_while_nobody_watches_is_forgotten() {
        let mut feedback = Feedback::new(Metrics::default(), None);
        let problem = || Problem { path: "metadata".into(), reason: "wrong".into() };
        for object in [pod("one"), pod("other")] {
            feedback.problems(object.id(), vec![problem()]);
        }
        let policy = ObjectId::Policy(NamespacedName::new("shop", "web"));
        feedback.problems(policy, vec![problem()]);
        assert_eq!(troubled(&feedback), 3);
        feedback.listed(Kind::Pod, &[pod("other")]);
        assert_eq!(troubled(&feedback), 2);
    }
}
