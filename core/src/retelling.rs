//! A world told again: events from which another world comes to know what this one knows.
//!
//! A world remembers more than the latest version of every object: which bridge a network was before its definition went, the
//! first MACs of a port's far end, and which port was seen first with a machine's MAC. So these are told as they once happened.

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::input::Input;
use crate::model::{
    BridgePort, Kind, Mac, Namespace, NamespacedName, Network, NetworkConfig, Object, ObjectId,
};
use crate::world::World;

impl World {
    /// Events that make a new world the same as this one, and list every kind once.
    pub(crate) fn retold(&self) -> Vec<Input> {
        let namespaces = self.namespaces().map(|(name, labels)| {
            Object::Namespace(Namespace {
                name: Arc::clone(name),
                labels: labels.clone(),
                log: self.log_wish(name),
            })
        });
        let mut inputs = Vec::new();
        list(&mut inputs, Kind::Namespace, namespaces.collect());
        // As they were when their bridges were last known: that is kept while pods are attached.
        let known = self.networks_as_kept().map(|(id, config, bridge)| {
            let was = bridge.cloned().map(NetworkConfig::Bridge);
            (id, was.or_else(|| config.cloned()), config)
        });
        let known: Vec<(&NamespacedName, Option<NetworkConfig>, Option<&NetworkConfig>)> = known.collect();
        let network =
            |id: &NamespacedName, config: NetworkConfig| Object::Network(Network { id: id.clone(), config });
        let first = known.iter().filter_map(|(id, was, _)| Some(network(id, was.clone()?)));
        list(&mut inputs, Kind::Network, first.collect());
        list(&mut inputs, Kind::Pod, self.pods().cloned().map(Object::Pod).collect());
        for (id, was, config) in &known {
            match config {
                None if was.is_some() => inputs.push(Input::Remove(ObjectId::Network((*id).clone()))),
                Some(config) if was.as_ref() != Some(*config) => {
                    inputs.push(Input::Upsert(network(id, (*config).clone())));
                }
                None | Some(_) => {}
            }
        }
        list(&mut inputs, Kind::Policy, self.policies().cloned().map(Object::Policy).collect());
        self.retell_ports(&mut inputs);
        inputs
    }

    fn retell_ports(&self, inputs: &mut Vec<Input>) {
        let seen = |port: &BridgePort, far_mac, stations| {
            Input::Upsert(Object::Port(BridgePort { far_mac, stations, ..port.clone() }))
        };
        for port in self.ports() {
            for mac in self.far_macs(port.index) {
                inputs.push(seen(port, Some(*mac), BTreeSet::new()));
            }
        }
        let claims = self.ports().flat_map(|port| {
            self.stations().claims(port.index).map(move |(mac, number)| (number, (port, mac)))
        });
        let in_order: BTreeMap<u64, (&BridgePort, Mac)> = claims.collect();
        for (port, mac) in in_order.into_values() {
            inputs.push(seen(port, port.far_mac, BTreeSet::from([mac])));
        }
        list(inputs, Kind::Port, self.ports().cloned().map(Object::Port).collect());
    }
}

fn list(inputs: &mut Vec<Input>, kind: Kind, objects: Vec<Object>) {
    inputs.push(Input::Relist { kind, objects });
}
