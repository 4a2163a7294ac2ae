//! Which bridge port belongs to which local attachment.
//!
//! A port is anchored by what the pod cannot choose: the MAC that the other end of its veth pair had first, of those that
//! an attachment has. Only where no attachment has any of them (a VM bridged inside its pod) does the bridge's forwarding database name the port; it is never asked
//! about a port or an attachment that the far end already decides, because any pod can put a MAC there by sending. For the
//! same reason the first port that it named for a MAC keeps that, and a port that has an owner takes no other MAC.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::enforcement::{AttachmentId, Local};
use crate::model::{BridgePort, Mac};
use crate::world::World;

/// Local attachments and ports by MAC.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Ownership {
    attachments: BTreeMap<Mac, BTreeMap<AttachmentId, Arc<str>>>,
    by_far_end: BTreeMap<Mac, BTreeMap<u32, Arc<str>>>,
    /// The MACs of each port's far end, the first one first.
    far_ends: BTreeMap<u32, Vec<Mac>>,
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

    /// Takes in a port whose far end has had the MACs `far_macs`, the first one first.
    pub(crate) fn add_port(&mut self, port: &BridgePort, far_macs: &[Mac]) {
        for mac in far_macs {
            self.by_far_end.entry(*mac).or_default().insert(port.index, port.bridge.clone());
        }
        self.far_ends.insert(port.index, far_macs.to_vec());
    }

    /// Forgets a port.
    pub(crate) fn remove_port(&mut self, port: &BridgePort) {
        for mac in self.far_ends.remove(&port.index).unwrap_or_default() {
            if let Some(ports) = self.by_far_end.get_mut(&mac) {
                ports.remove(&port.index);
                if ports.is_empty() {
                    self.by_far_end.remove(&mac);
                }
            }
        }
    }

    /// The ports whose owner can change when something about `mac` does.
    pub(crate) fn ports_with(&self, world: &World, mac: Mac) -> BTreeSet<u32> {
        let far = self.by_far_end.get(&mac).into_iter().flat_map(BTreeMap::keys).copied();
        far.chain(world.stations().claimants(mac)).collect()
    }

    /// The MACs that a port's far end has had.
    pub(crate) fn far_ends(&self, index: u32) -> impl Iterator<Item = Mac> {
        self.far_ends.get(&index).into_iter().flatten().copied()
    }

    /// The attachments that own `ports`, where they are known. As ports contend for stations, all that contend with one of
    /// them must be among them: see [`Self::contenders`].
    pub(crate) fn owners(&self, world: &World, ports: &BTreeSet<u32>) -> BTreeMap<u32, &AttachmentId> {
        let mut owners = BTreeMap::new();
        let mut claims = Vec::new();
        for port in ports.iter().filter_map(|index| world.port(*index)) {
            if let Some(owner) = self.far_ends(port.index).find_map(|mac| self.candidate(mac, port)) {
                owners.insert(port.index, owner);
            } else {
                let of_port = world.stations().claims(port.index);
                claims.extend(of_port.map(|(mac, number)| (number, mac, port)));
            }
        }
        claims.sort_unstable_by_key(|(number, ..)| *number);
        let mut taken = BTreeSet::new();
        for (_, mac, port) in claims {
            let is_decided = owners.contains_key(&port.index) || taken.contains(&(&port.bridge, mac));
            if is_decided || self.is_far_end(mac, port) {
                continue;
            }
            if let Some(owner) = self.candidate(mac, port) {
                taken.insert((&port.bridge, mac));
                owners.insert(port.index, owner);
            }
        }
        owners
    }

    /// `ports`, and all that share a claim to a station with one of them, over any number of others.
    pub(crate) fn contenders(world: &World, ports: BTreeSet<u32>) -> BTreeSet<u32> {
        let mut to_visit: Vec<u32> = ports.iter().copied().collect();
        let mut found = ports;
        let mut macs = BTreeSet::new();
        while let Some(index) = to_visit.pop() {
            for (mac, _) in world.stations().claims(index) {
                if macs.insert(mac) {
                    let new = world.stations().claimants(mac).filter(|other| found.insert(*other));
                    to_visit.extend(new);
                }
            }
        }
        found
    }

    /// Of the attachments with `mac` on the port's bridge, the one whose interface has the far end's name, or the first.
    fn candidate(&self, mac: Mac, port: &BridgePort) -> Option<&AttachmentId> {
        let of_mac = self.attachments.get(&mac)?;
        let on_bridge = || of_mac.iter().filter(|(_, bridge)| **bridge == port.bridge).map(|(id, _)| id);
        on_bridge().find(|id| Some(&id.interface) == port.far_name.as_ref()).or_else(|| on_bridge().next())
    }

    /// Whether some port of the same bridge has, or had, `mac` at its far end.
    fn is_far_end(&self, mac: Mac, port: &BridgePort) -> bool {
        self.by_far_end.get(&mac).is_some_and(|ports| ports.values().any(|bridge| *bridge == port.bridge))
    }
}
