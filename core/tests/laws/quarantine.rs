//! The oracle on quarantine: which ports pass nothing, from the contract's words.

use std::sync::Arc;

use policy_core::model::{BridgePort, NetworkConfig, Object, PortKind};

use crate::oracle::Oracle;

impl Oracle<'_> {
    /// Whether nothing passes a port, because nobody is known to own it.
    pub(crate) fn is_quarantined(&self, index: u32) -> bool {
        if !self.config.quarantine {
            return false;
        }
        let bridges: Vec<Arc<str>> = self.objects.iter().filter_map(|object| self.named(object)).collect();
        match self.port(index) {
            Some(port) => {
                !self.is_owned(port) && bridges.contains(&port.bridge) && !self.leads_to_a_network(port)
            }
            // Which bridge a port is on that nobody has reported only some kernels can tell; here it is on none.
            None => !bridges.is_empty() && !self.config.bridge_names.are_known(),
        }
    }

    /// The bridge of a managed network that some policy names.
    fn named(&self, network: &Object) -> Option<Arc<str>> {
        let Object::Network(network) = network else { return None };
        let NetworkConfig::Bridge(bridge) = &network.config else { return None };
        let mut policies = self.objects.iter().filter_map(|object| match object {
            Object::Policy(policy) => Some(policy),
            Object::Namespace(_) | Object::Network(_) | Object::Pod(_) | Object::Port(_) => None,
        });
        policies.any(|policy| policy.networks.contains(&network.id)).then(|| bridge.bridge.clone())
    }

    pub(crate) fn leads_to_a_network(&self, port: &BridgePort) -> bool {
        port.kind == PortKind::Uplink || self.config.uplinks.contains(&port.name)
    }
}
