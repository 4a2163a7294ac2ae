//! Which bridges are under quarantine, kept up to date network by network.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use crate::model::NamespacedName;
use crate::world::World;

/// The networks that policies name, and the bridges behind them.
#[derive(Clone, Default, Debug)]
pub(crate) struct Quarantine {
    networks: BTreeMap<NamespacedName, Named>,
    /// How many named networks each bridge stands for.
    bridges: BTreeMap<Arc<str>, usize>,
}

/// A network that some policy names.
#[derive(Clone, Default, Debug)]
struct Named {
    policies: usize,
    /// Its bridge, while it is managed.
    bridge: Option<Arc<str>>,
}

impl Quarantine {
    /// Whether a bridge is under quarantine.
    pub(crate) fn covers(&self, bridge: &str) -> bool {
        self.bridges.contains_key(bridge)
    }

    /// Whether any bridge is.
    pub(crate) fn is_active(&self) -> bool {
        !self.bridges.is_empty()
    }

    /// A policy named the `old` networks and now names the `new` ones. Returns the bridges that came under quarantine or
    /// left it.
    pub(crate) fn policy_changed(
        &mut self,
        world: &World,
        old: &[NamespacedName],
        new: &[NamespacedName],
    ) -> BTreeSet<Arc<str>> {
        let mut changed = BTreeSet::new();
        for network in new {
            self.networks.entry(network.clone()).or_default().policies += 1;
            self.look_again(world, network, &mut changed);
        }
        for network in old {
            if let Some(named) = self.networks.get_mut(network) {
                named.policies -= 1;
            }
            self.look_again(world, network, &mut changed);
        }
        changed
    }

    /// A network may stand for another bridge than before.
    pub(crate) fn network_changed(&mut self, world: &World, network: &NamespacedName) -> BTreeSet<Arc<str>> {
        let mut changed = BTreeSet::new();
        self.look_again(world, network, &mut changed);
        changed
    }

    fn look_again(&mut self, world: &World, network: &NamespacedName, changed: &mut BTreeSet<Arc<str>>) {
        let Some(named) = self.networks.get_mut(network) else { return };
        let is_named = named.policies > 0;
        let bridge = world.bridge(network).filter(|_| is_named).map(|bridge| bridge.bridge.clone());
        let before = core::mem::replace(&mut named.bridge, bridge.clone());
        if !is_named {
            self.networks.remove(network);
        }
        if before == bridge {
            return;
        }
        if let Some(bridge) = bridge {
            let users = self.bridges.entry(bridge.clone()).or_default();
            *users += 1;
            if *users == 1 {
                changed.insert(bridge);
            }
        }
        if let Some(bridge) = before
            && let Some(users) = self.bridges.get_mut(&bridge)
        {
            *users -= 1;
            if *users == 0 {
                self.bridges.remove(&bridge);
                changed.insert(bridge);
            }
        }
    }
}
