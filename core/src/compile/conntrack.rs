//! What the table has besides when the kernel's conntrack follows connections: zones, and the frames that go up to the
//! node, whose replies conntrack on the bridge never sees.

use alloc::vec;
use core::time::Duration;

use super::skeleton::{PRIORITY, accept, base, chain, dispatch, rule};
use super::tracking;
use super::zones::zone_bridge;
use crate::ruleset::{ChainName, Dynamic, Expr, Field, Hook, KeyType, Ruleset, Set, SetName, SetSpec};

/// Before conntrack's own priority on the prerouting hook, which is -200 (`NF_IP_PRI_CONNTRACK`,
/// `uapi/linux/netfilter_ipv4.h`).
const RAW_PRIORITY: i32 = -300;

/// How long the node is remembered to have sent from a MAC. It answers whoever asks for it, so nobody can send to it
/// without having heard of it first.
const NODE_MAC: Duration = Duration::from_hours(24);
/// The most MACs of the node.
const NODE_MACS_MAX: u32 = 4096;

/// The map from a port to what records the frames that it sends up to the node.
pub(crate) fn node_port() -> SetName {
    SetName::new("node-port")
}

/// The map from a source MAC, likewise.
pub(crate) fn node_mac() -> SetName {
    SetName::new("node-mac")
}

/// The MACs that the node itself sends from.
fn node_macs() -> SetName {
    SetName::new("node-macs")
}

/// Adds the sets and base chains.
pub(crate) fn add(ruleset: &mut Ruleset) {
    for (name, key) in
        [(node_port(), KeyType::Index), (node_mac(), KeyType::Mac), (zone_bridge(), KeyType::InterfaceName)]
    {
        let spec = SetSpec { key: vec![key], verdict_map: true, ..SetSpec::default() };
        ruleset.sets.insert(name, Set::empty(spec));
    }
    let dynamic = Some(Dynamic { size: NODE_MACS_MAX, timeout: NODE_MAC });
    let spec = SetSpec { key: vec![KeyType::Mac], dynamic, ..SetSpec::default() };
    ruleset.sets.insert(node_macs(), Set::empty(spec));

    // What goes up to the node keeps the zone of the IP layer, which goes on with the same connection: in another zone,
    // the answers to what it masquerades or forwards would not be known to it.
    let to_node = Expr::within(vec![Field::EtherDestination], node_macs());
    let zones = vec![accept(vec![to_node]), dispatch(Field::InputBridge, zone_bridge())];
    ruleset.chains.insert(ChainName::new("zones"), chain(Some(base(Hook::Prerouting, RAW_PRIORITY)), zones));

    let input = vec![dispatch(Field::InputPort, node_port()), dispatch(Field::EtherSource, node_mac())];
    ruleset.chains.insert(ChainName::new("input"), chain(Some(base(Hook::Input, PRIORITY)), input));
    if let Some(output) = ruleset.chains.get_mut(&ChainName::new("output")) {
        let from = vec![Field::EtherSource];
        let learn = Expr::Update { fields: from, set: node_macs(), timeout: NODE_MAC };
        output.rules.insert(0, rule(vec![learn]));
    }
    tracking::add_node_chain(ruleset);
}
