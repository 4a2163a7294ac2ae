//! Incremental updates of the conntrack zones: only the bridges of networks can change them.

use super::Index;
use crate::compile::{Zones, zone_bridge};
use crate::config::StateEngine;
use crate::world::World;

impl Index {
    /// Brings zones up to date after the bridges of networks have changed.
    pub(super) fn refresh_zones(&mut self, world: &World) {
        if self.config.state != StateEngine::Conntrack {
            return;
        }
        let zones = Zones::of(world);
        if zones == self.zones {
            return;
        }
        let before = core::mem::replace(&mut self.zones, zones);
        for (key, name) in before.without(&self.zones) {
            self.desired.remove_element(&zone_bridge(), key);
            self.desired.remove_chain(name);
        }
        for (name, chain) in self.zones.chains() {
            self.desired.put_chain(name, chain);
        }
        for (key, verdict) in self.zones.elements() {
            self.desired.put_element(&zone_bridge(), key, verdict);
        }
    }
}
