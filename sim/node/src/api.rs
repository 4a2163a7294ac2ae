//! The API server and the agent's watches: one log of changes, and for each kind how far it has been passed on.

use alloc::collections::BTreeMap;

use policy_core::Time;
use policy_core::model::{Kind, Object, ObjectId};

use crate::coverage::Coverage;

/// A minute without news is a silence.
const SILENCE_S: u64 = 60;

/// A change, with its resource version.
#[derive(Clone, Debug)]
struct Change {
    version: usize,
    at: Time,
    kind: Kind,
    id: ObjectId,
    /// The object as it is since; `None` when it is gone.
    object: Option<Object>,
}

/// What a watch passes on.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Gone(ObjectId),
    List(Kind, Vec<Object>),
    Seen(Object),
}

/// One watch.
#[derive(Clone, Debug, Default)]
struct Watch {
    /// Up to where it has been passed on; `None` when it needs a list.
    at: Option<usize>,
    broken: bool,
    /// How many events the cache is behind that the next list comes from.
    stale: usize,
    last: Option<Heard>,
}

/// The server.
#[derive(Debug, Default)]
pub(crate) struct Api {
    log: Vec<Change>,
    objects: BTreeMap<ObjectId, Object>,
    /// Older changes than this one are forgotten.
    floor: usize,
    watches: BTreeMap<Kind, Watch>,
    /// The newest version that any watch has passed on.
    newest: usize,
}

impl Api {
    pub(crate) fn put(&mut self, object: Object, now: Time) {
        let id = object.id();
        if self.objects.get(&id) != Some(&object) {
            self.objects.insert(id.clone(), object.clone());
            self.change(id, Some(object), now);
        }
    }

    pub(crate) fn delete(&mut self, id: &ObjectId, now: Time) {
        if self.objects.remove(id).is_some() {
            self.change(id.clone(), None, now);
        }
    }

    fn change(&mut self, id: ObjectId, object: Option<Object>, at: Time) {
        let version = self.log.len() + 1;
        self.log.push(Change { version, at, kind: id.kind(), id, object });
    }

    /// What there is.
    pub(crate) const fn now(&self) -> &BTreeMap<ObjectId, Object> {
        &self.objects
    }

    fn as_of(&self, version: usize) -> BTreeMap<ObjectId, &Object> {
        let mut objects = BTreeMap::new();
        for change in self.log.iter().take(version) {
            match &change.object {
                Some(object) => objects.insert(change.id.clone(), object),
                None => objects.remove(&change.id),
            };
        }
        objects
    }

    /// A new agent has passed nothing on.
    pub(crate) fn opened(&mut self) {
        self.watches = Kind::OF_THE_CLUSTER.map(|kind| (kind, Watch::default())).into();
    }

    pub(crate) fn compact(&mut self) {
        self.floor = self.log.len();
    }

    pub(crate) fn disconnect(&mut self, kind: Kind) {
        self.watch(kind).broken = true;
    }

    pub(crate) fn stale(&mut self, kind: Kind, behind: usize) {
        self.watch(kind).stale = behind;
    }

    pub(crate) fn bookmark(&mut self, kind: Kind, coverage: &mut Coverage) {
        let newest = self.log.len();
        if self.pending(kind).next().is_none()
            && let Some(at) = &mut self.watch(kind).at
        {
            *at = newest;
            coverage.saw("api: bookmark");
        }
    }

    pub(crate) fn repeat(&mut self, kind: Kind, coverage: &mut Coverage) -> Option<Heard> {
        let last = self.watch(kind).last.clone();
        if last.is_some() {
            coverage.saw("api: event twice");
        }
        last
    }

    /// Everything is connected, and every cache is up to date.
    pub(crate) fn calm(&mut self) {
        for watch in self.watches.values_mut() {
            watch.stale = 0;
        }
    }

    fn watch(&mut self, kind: Kind) -> &mut Watch {
        self.watches.entry(kind).or_default()
    }

    fn pending(&self, kind: Kind) -> impl Iterator<Item = &Change> {
        let at = self.watches.get(&kind).and_then(|watch| watch.at).unwrap_or(0);
        self.log.get(at..).unwrap_or_default().iter().filter(move |change| change.kind == kind)
    }

    /// Whether a watch has nothing more to say.
    pub(crate) fn is_quiet(&self, kind: Kind) -> bool {
        let listed = self.watches.get(&kind).is_some_and(|watch| watch.at.is_some() && !watch.broken);
        listed && self.pending(kind).next().is_none()
    }

    /// What the watch of a kind passes on next: a list, or at most so many events.
    pub(crate) fn deliver(
        &mut self,
        kind: Kind,
        count: usize,
        now: Time,
        coverage: &mut Coverage,
    ) -> Vec<Heard> {
        let floor = self.floor;
        let watch = self.watch(kind);
        if core::mem::take(&mut watch.broken) && watch.at.is_some() {
            if watch.at < Some(floor) {
                coverage.saw("api: history forgotten (410)");
                watch.at = None;
            } else {
                coverage.saw("api: watch broken and resumed");
            }
        }
        let heard = if watch.at.is_none() {
            self.list(kind, coverage)
        } else {
            self.events(kind, count, now, coverage)
        };
        if let Some(last) = heard.last() {
            // A list cannot come twice by mistake.
            self.watch(kind).last = Some(last.clone()).filter(|last| !matches!(last, Heard::List(..)));
        }
        heard
    }

    fn list(&mut self, kind: Kind, coverage: &mut Coverage) -> Vec<Heard> {
        let behind = core::mem::take(&mut self.watch(kind).stale);
        let version = self.log.len().saturating_sub(behind);
        if behind > 0 {
            coverage.saw("api: list from a cache that is behind");
        }
        let objects = self.as_of(version).into_values().filter(|object| object.id().kind() == kind);
        let objects = objects.cloned().collect();
        self.watch(kind).at = Some(version);
        self.newest = self.newest.max(version);
        vec![Heard::List(kind, objects)]
    }

    fn events(&mut self, kind: Kind, count: usize, now: Time, coverage: &mut Coverage) -> Vec<Heard> {
        let changes: Vec<Change> = self.pending(kind).take(count).cloned().collect();
        let Some(last) = changes.last() else { return Vec::new() };
        self.watch(kind).at = Some(last.version);
        for change in &changes {
            if change.version < self.newest {
                coverage.saw("api: event of another kind overtakes");
            }
            if now.0.saturating_sub(change.at.0).as_secs() > SILENCE_S {
                coverage.saw("api: silence of a minute");
            }
        }
        self.newest = self.newest.max(last.version);
        let heard = |change: Change| match change.object {
            Some(object) => Heard::Seen(object),
            None => Heard::Gone(change.id),
        };
        changes.into_iter().map(heard).collect()
    }
}
