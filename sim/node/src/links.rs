//! The node's bridge ports, and what the agent has been told of them. As with the real ones, an announcement only says where to
//! look: what is passed on is the port as it is then.

use alloc::collections::{BTreeMap, BTreeSet};

use policy_core::model::{BridgePort, Kind, Object, ObjectId};

use crate::api::Heard;
use crate::coverage::Coverage;

/// The ports.
#[derive(Debug, Default)]
pub(crate) struct Links {
    ports: BTreeMap<u32, BridgePort>,
    reported: BTreeMap<u32, BridgePort>,
    dirty: BTreeSet<u32>,
    /// Everything must be listed: at the start, and when announcements were lost.
    unlisted: bool,
}

impl Links {
    pub(crate) fn now(&self) -> impl Iterator<Item = &BridgePort> {
        self.ports.values()
    }

    pub(crate) fn opened(&mut self) {
        (self.unlisted, self.dirty) = (true, BTreeSet::new());
        self.reported.clear();
    }

    pub(crate) fn seen(&mut self, port: BridgePort, coverage: &mut Coverage) {
        // Names are unique: whoever had this one is gone.
        let same = self.ports.values().find(|other| other.name == port.name && other.index != port.index);
        if let Some(other) = same.map(|other| other.index) {
            self.gone(other, coverage);
        }
        let class = match self.ports.get(&port.index) {
            Some(old) if *old == port => return,
            Some(old) if old.name != port.name && old.far_mac == port.far_mac => "links: port renamed",
            Some(old) if old.name != port.name => "links: index reused before it was heard of",
            Some(_) => "links: port changed",
            None if self.reported.contains_key(&port.index) => "links: index reused before it was heard of",
            None => "links: port appeared",
        };
        coverage.saw(class);
        self.dirty.insert(port.index);
        self.ports.insert(port.index, port);
    }

    pub(crate) fn gone(&mut self, index: u32, coverage: &mut Coverage) {
        if self.ports.remove(&index).is_some() {
            coverage.saw("links: port vanished");
            self.dirty.insert(index);
        }
    }

    pub(crate) fn lose_notices(&mut self, coverage: &mut Coverage) {
        coverage.saw("links: announcements lost");
        self.unlisted = true;
    }

    /// What is passed on.
    pub(crate) fn deliver(&mut self) -> Vec<Heard> {
        let dirty = core::mem::take(&mut self.dirty);
        if core::mem::take(&mut self.unlisted) {
            self.reported = self.ports.clone();
            let objects = self.ports.values().cloned().map(Object::Port).collect();
            return vec![Heard::List(Kind::Port, objects)];
        }
        let mut heard = Vec::new();
        for index in dirty {
            match self.ports.get(&index) {
                Some(port) if self.reported.get(&index) != Some(port) => {
                    self.reported.insert(index, port.clone());
                    heard.push(Heard::Seen(Object::Port(port.clone())));
                }
                Some(_) => {}
                None => {
                    if self.reported.remove(&index).is_some() {
                        heard.push(Heard::Gone(ObjectId::Port(index)));
                    }
                }
            }
        }
        heard
    }
}
