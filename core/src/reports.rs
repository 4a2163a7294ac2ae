//! What people are told: each object's problems, once per change.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use crate::model::{NamespacedName, NetworkConfig, ObjectId, Policy, Problem};
use crate::output::Report;
use crate::spec::{PROBLEMS_MAX, quoted};
use crate::world::World;

/// The annotation that names a policy's networks.
const POLICY_FOR: &str = "metadata.annotations[k8s.v1.cni.cncf.io/policy-for]";

/// The problems last reported, and which policies a network concerns.
#[derive(Clone, Default, Debug)]
pub(crate) struct Reports {
    last: BTreeMap<NamespacedName, Vec<Problem>>,
    by_network: BTreeMap<NamespacedName, BTreeSet<NamespacedName>>,
    /// Until every network has been heard of once, one that is not known may exist all the same.
    networks_listed: bool,
}

impl Reports {
    /// A policy was `old` before: what is to be said about it now, if that is new.
    pub(crate) fn policy_changed(
        &mut self,
        world: &World,
        id: &NamespacedName,
        old: Option<&Policy>,
    ) -> Option<Report> {
        for network in old.into_iter().flat_map(|policy| &policy.networks) {
            if let Some(policies) = self.by_network.get_mut(network) {
                policies.remove(id);
                if policies.is_empty() {
                    self.by_network.remove(network);
                }
            }
        }
        let Some(policy) = world.policy(id) else {
            self.last.remove(id);
            return None;
        };
        for network in &policy.networks {
            self.by_network.entry(network.clone()).or_default().insert(id.clone());
        }
        self.report(world, policy)
    }

    /// A network has changed: what is to be said about the policies that name it.
    pub(crate) fn network_changed(&mut self, world: &World, network: &NamespacedName) -> Vec<Report> {
        let policies = self.by_network.get(network).cloned().unwrap_or_default();
        policies.iter().filter_map(|id| self.report(world, world.policy(id)?)).collect()
    }

    /// Every network has been heard of: what is to be said about policies that name others.
    pub(crate) fn networks_listed(&mut self, world: &World) -> Vec<Report> {
        if self.networks_listed {
            return Vec::new();
        }
        self.networks_listed = true;
        let policies: BTreeSet<NamespacedName> = self.by_network.values().flatten().cloned().collect();
        policies.iter().filter_map(|id| self.report(world, world.policy(id)?)).collect()
    }

    fn report(&mut self, world: &World, policy: &Policy) -> Option<Report> {
        let mut problems = policy.problems.clone();
        let heard = |network: &&NamespacedName| self.networks_listed || world.network(network).is_some();
        let heard = policy.networks.iter().filter(heard);
        let mut unenforced = heard.filter_map(|network| unenforced(world, network));
        problems.extend(unenforced.by_ref().take(PROBLEMS_MAX));
        let more = unenforced.count();
        if more > 0 {
            let reason = format!("{more} more networks are not enforced and not listed");
            problems.push(Problem { path: POLICY_FOR.into(), reason });
        }
        let last = self.last.get(&policy.id).map_or(&[][..], Vec::as_slice);
        if last == problems {
            return None;
        }
        self.last.insert(policy.id.clone(), problems.clone());
        Some(Report { object: ObjectId::Policy(policy.id.clone()), problems })
    }
}

/// Why nothing, or only what was known before, is enforced on a network.
fn unenforced(world: &World, network: &NamespacedName) -> Option<Problem> {
    let kept = if world.bridge(network).is_some() { "; its pods stay enforced as last known" } else { "" };
    let reason = match world.network(network) {
        Some(NetworkConfig::Bridge(_)) => return None,
        Some(NetworkConfig::Other { plugin }) => {
            let plugin = quoted(plugin);
            format!("network {network}: its plugin {plugin} is not a bridge, so nothing is enforced there")
        }
        Some(NetworkConfig::Unreadable { reason }) => {
            format!("network {network}: its configuration is unreadable: {reason}{kept}")
        }
        None => format!("network {network} does not exist{kept}"),
    };
    Some(Problem { path: POLICY_FOR.into(), reason })
}
