//! Which bridge port belongs to which local attachment.
//!
//! A port is anchored by what the pod cannot choose: the other end of its veth pair. Only where no attachment has the
//! far end's MAC (a VM bridged inside its pod) does the bridge's forwarding database name the port; it is never asked
//! about a port or an attachment that the far end already decides, because any pod can put a MAC there by sending.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use super::enforcement::{AttachmentId, Local};
use crate::model::{BridgePort, Mac};

/// Local attachments and ports by MAC.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Ownership {
    attachments: BTreeMap<Mac, BTreeMap<AttachmentId, Arc<str>>>,
    by_far_end: BTreeMap<Mac, BTreeMap<u32, Arc<str>>>,
    by_station: BTreeMap<Mac, BTreeSet<u32>>,
}

impl Ownership {
    /// Takes in a local attachment.
    pub(crate) fn add_attachment(&mut self, local: &Local<'_>) {
        if let Some(mac) = local.attachment.mac {
            let of_mac = self.attachments.entry(mac).or_default();
            of_mac.insert(local.id.clone(), local.bridge.bridge.clone());
        }
    }

    /// Forgets a local attachment.
    pub(crate) fn remove_attachment(&mut self, id: &AttachmentId, mac: Option<Mac>) {
        if let Some(mac) = mac
            && let Some(of_mac) = self.attachments.get_mut(&mac)
        {
            of_mac.remove(id);
            if of_mac.is_empty() {
                self.attachments.remove(&mac);
            }
        }
    }

    /// Takes in a port.
    pub(crate) fn add_port(&mut self, port: &BridgePort) {
        if let Some(mac) = port.far_mac {
            self.by_far_end.entry(mac).or_default().insert(port.index, port.bridge.clone());
        }
        for mac in &port.stations {
            self.by_station.entry(*mac).or_default().insert(port.index);
        }
    }

    /// Forgets a port.
    pub(crate) fn remove_port(&mut self, port: &BridgePort) {
        if let Some(mac) = port.far_mac
            && let Some(ports) = self.by_far_end.get_mut(&mac)
        {
            ports.remove(&port.index);
            if ports.is_empty() {
                self.by_far_end.remove(&mac);
            }
        }
        for mac in &port.stations {
            if let Some(ports) = self.by_station.get_mut(mac) {
                ports.remove(&port.index);
                if ports.is_empty() {
                    self.by_station.remove(mac);
                }
            }
        }
    }

    /// The ports whose owner can change when something about `mac` does.
    pub(crate) fn ports_with(&self, mac: Mac) -> BTreeSet<u32> {
        let far = self.by_far_end.get(&mac).into_iter().flat_map(BTreeMap::keys);
        far.chain(self.by_station.get(&mac).into_iter().flatten()).copied().collect()
    }

    /// The attachment that owns `port`, if one is known to.
    pub(crate) fn owner(&self, port: &BridgePort) -> Option<&AttachmentId> {
        if let Some(mac) = port.far_mac
            && let Some(owner) = self.candidate(mac, port)
        {
            return Some(owner);
        }
        let mut of_stations = port.stations.iter().filter(|mac| !self.is_far_end(**mac, port));
        of_stations.find_map(|mac| self.candidate(*mac, port))
    }

    /// Of the attachments with `mac` on the port's bridge, the one whose interface has the far end's name, or the first.
    fn candidate(&self, mac: Mac, port: &BridgePort) -> Option<&AttachmentId> {
        let of_mac = self.attachments.get(&mac)?;
        let on_bridge = || of_mac.iter().filter(|(_, bridge)| **bridge == port.bridge).map(|(id, _)| id);
        on_bridge().find(|id| Some(&id.interface) == port.far_name.as_ref()).or_else(|| on_bridge().next())
    }

    /// Whether some port of the same bridge has `mac` at its far end.
    fn is_far_end(&self, mac: Mac, port: &BridgePort) -> bool {
        self.by_far_end.get(&mac).is_some_and(|ports| ports.values().any(|bridge| *bridge == port.bridge))
    }
}
