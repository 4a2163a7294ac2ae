//! Which port of a bridge was seen first with an attachment's MAC.
//!
//! A bridge's forwarding database follows whoever sends last, so what it says now proves little; whom it named first is
//! remembered. Remembered are only MACs of local attachments, at ports that are there and can be a pod's.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::Config;
use crate::model::{Attachment, BridgePort, Mac, Pod};

/// Claims of ports to MACs, in the order of their first sighting.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Stations {
    node: Arc<str>,
    uplinks: BTreeSet<Arc<str>>,
    /// How many attachments of the node's pods have each MAC.
    attachments: BTreeMap<Mac, usize>,
    claims: BTreeMap<u32, Claims>,
    claimants: BTreeMap<Mac, BTreeSet<u32>>,
    /// How many claims there have been.
    count: u64,
}

/// What one port was seen with since it is a port of `bridge`, each MAC with the number of the claim.
#[derive(Clone, PartialEq, Debug)]
struct Claims {
    bridge: Arc<str>,
    numbers: BTreeMap<Mac, u64>,
}

impl Stations {
    /// Nothing seen yet on the node of `config`.
    pub(crate) fn new(config: &Config) -> Self {
        Self { node: config.node.clone(), uplinks: config.uplinks.clone(), ..Self::default() }
    }

    /// The MACs that a port claims; the one with the lowest number first came first, of all ports.
    pub(crate) fn claims(&self, index: u32) -> impl Iterator<Item = (Mac, u64)> {
        let claims = self.claims.get(&index).into_iter().flat_map(|claims| &claims.numbers);
        claims.map(|(mac, number)| (*mac, *number))
    }

    /// The ports that claim a MAC, on any bridge.
    pub(crate) fn claimants(&self, mac: Mac) -> impl Iterator<Item = u32> {
        self.claimants.get(&mac).into_iter().flatten().copied()
    }

    /// A port was heard of, or heard of again. Returns the ports whose claims changed or met one that did.
    pub(crate) fn port_seen(
        &mut self,
        port: &BridgePort,
        ports: &BTreeMap<u32, BridgePort>,
    ) -> BTreeSet<u32> {
        let mut near = BTreeSet::new();
        let can_claim = self.can_claim(port);
        let moved = self.claims.get(&port.index).is_some_and(|claims| claims.bridge != port.bridge);
        if moved || !can_claim {
            near = self.port_gone(port.index, ports);
        }
        if can_claim {
            for mac in &port.stations {
                if self.attachments.contains_key(mac) {
                    self.claim(*mac, port);
                }
            }
        }
        near.extend(self.near(port.index));
        near
    }

    /// A port is gone, or cannot claim anything any more: its MACs are free. Whoever was seen with one of them later keeps
    /// that claim only if the bridge still says so. Returns the ports whose claims changed or met one that did.
    pub(crate) fn port_gone(&mut self, index: u32, ports: &BTreeMap<u32, BridgePort>) -> BTreeSet<u32> {
        let near = self.near(index);
        let Some(gone) = self.claims.remove(&index) else { return near };
        for (mac, number) in gone.numbers {
            self.drop_claimant(mac, index);
            let later: Vec<u32> =
                self.claimants(mac).filter(|other| self.is_later(*other, mac, number)).collect();
            for other in later {
                let is_current = ports.get(&other).is_some_and(|port| port.stations.contains(&mac));
                if !is_current && self.claims.get(&other).is_some_and(|claims| claims.bridge == gone.bridge) {
                    self.drop_claim(mac, other);
                }
            }
        }
        near
    }

    /// A pod was `old` before and is `new` now.
    pub(crate) fn pod_changed(
        &mut self,
        old: Option<&Pod>,
        new: Option<&Pod>,
        ports: &BTreeMap<u32, BridgePort>,
    ) {
        for mac in self.macs(new) {
            let users = self.attachments.entry(mac).or_default();
            *users += 1;
            if *users > 1 {
                continue;
            }
            for port in ports.values().filter(|port| port.stations.contains(&mac)) {
                if self.can_claim(port) {
                    self.claim(mac, port);
                }
            }
        }
        for mac in self.macs(old) {
            let Some(users) = self.attachments.get_mut(&mac) else { continue };
            *users -= 1;
            if *users == 0 {
                self.attachments.remove(&mac);
                let claimants: Vec<u32> = self.claimants(mac).collect();
                for index in claimants {
                    self.drop_claim(mac, index);
                }
            }
        }
    }

    /// Whether a pod can be behind a port. Behind an uplink, a virtual machine that moves between nodes is seen with the MAC
    /// that it brings along or leaves with.
    fn can_claim(&self, port: &BridgePort) -> bool {
        !port.leads_to_a_network(&self.uplinks)
    }

    /// The MACs of a pod's attachments, if it is a pod of this node.
    fn macs(&self, pod: Option<&Pod>) -> Vec<Mac> {
        let local = pod.filter(|pod| pod.node.as_ref() == Some(&self.node));
        let attachments = local.into_iter().flat_map(|pod| &pod.attachments);
        attachments.filter_map(|attachment: &Attachment| attachment.mac).collect()
    }

    /// The port, and all that claim a MAC that it claims.
    fn near(&self, index: u32) -> BTreeSet<u32> {
        self.claims(index).flat_map(|(mac, _)| self.claimants(mac)).chain([index]).collect()
    }

    fn is_later(&self, index: u32, mac: Mac, number: u64) -> bool {
        let claims = self.claims.get(&index);
        claims.and_then(|claims| claims.numbers.get(&mac)).is_some_and(|other| *other > number)
    }

    fn claim(&mut self, mac: Mac, port: &BridgePort) {
        let new = || Claims { bridge: port.bridge.clone(), numbers: BTreeMap::new() };
        let claims = self.claims.entry(port.index).or_insert_with(new);
        if let alloc::collections::btree_map::Entry::Vacant(claim) = claims.numbers.entry(mac) {
            self.count += 1;
            claim.insert(self.count);
            self.claimants.entry(mac).or_default().insert(port.index);
        }
    }

    fn drop_claim(&mut self, mac: Mac, index: u32) {
        if let Some(claims) = self.claims.get_mut(&index) {
            claims.numbers.remove(&mac);
            if claims.numbers.is_empty() {
                self.claims.remove(&index);
            }
        }
        self.drop_claimant(mac, index);
    }

    fn drop_claimant(&mut self, mac: Mac, index: u32) {
        if let Some(claimants) = self.claimants.get_mut(&mac) {
            claimants.remove(&index);
            if claimants.is_empty() {
                self.claimants.remove(&mac);
            }
        }
    }
}
