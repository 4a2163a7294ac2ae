//! Quarantine: what is not known to be somebody's, or to be open, passes nothing.
//!
//! A new pod's port is on its bridge before anybody hears of it, so quarantine is what happens to a frame when no element
//! names its port, not an element for it. The bridges under quarantine are listed by name, and so are the uplinks, which are
//! open without an owner. Which bridge a frame is on cannot be asked of every kernel: elsewhere no bridge is listed, and
//! all known ports of bridges that are not under quarantine are open too.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::skeleton::{chain, rule};
use crate::config::Config;
use crate::model::{BridgePort, Direction};
use crate::ruleset::{
    Chain, ChainName, Datum, Expr, Field, InterfaceName, Key, KeyType, Ruleset, Set, SetName, SetSpec,
    Verdict,
};
use crate::world::World;

/// The set of ports that pass frames without an owner.
pub(crate) fn open_ports() -> SetName {
    SetName::new("open-ports")
}

/// The set of bridges under quarantine, where the kernel can say which one a frame is on.
pub(crate) fn closed_bridges() -> SetName {
    SetName::new("closed-bridges")
}

/// The element for a bridge in that set.
pub(crate) fn bridge_key(bridge: &str) -> Key {
    Key::One(Datum::InterfaceName(InterfaceName::new(bridge)))
}

/// The chain that drops the frames of ports under quarantine, and returns for everything else.
pub(crate) fn quarantine_chain(direction: Direction) -> ChainName {
    ChainName::new(format!("quarantine-{direction}"))
}

/// The content of that chain. As long as no bridge is under quarantine it does nothing.
pub(crate) fn quarantine(direction: Direction, config: &Config, active: bool) -> Chain {
    let (bridge, port) = match direction {
        Direction::Egress => (Field::InputBridge, Field::InputPort),
        Direction::Ingress => (Field::OutputBridge, Field::OutputPort),
    };
    let on_closed = config.bridge_names.are_known().then(|| Expr::within([bridge], closed_bridges()));
    let closed = Expr::Lookup { fields: vec![port], set: open_ports(), negated: true };
    let exprs = on_closed.into_iter().chain([closed, Expr::Counter, Expr::Verdict(Verdict::Drop)]);
    let dropped = rule(exprs.collect());
    chain(None, active.then_some(dropped).into_iter().collect::<Vec<_>>())
}

/// Adds the fixed parts, if the configuration asks for quarantine.
pub(crate) fn add_quarantine(ruleset: &mut Ruleset, config: &Config) {
    if config.quarantine {
        let spec = SetSpec { key: vec![KeyType::Index], ..SetSpec::default() };
        ruleset.sets.insert(open_ports(), Set::empty(spec));
        if config.bridge_names.are_known() {
            let spec = SetSpec { key: vec![KeyType::InterfaceName], ..SetSpec::default() };
            ruleset.sets.insert(closed_bridges(), Set::empty(spec));
        }
        for direction in Direction::ALL {
            ruleset.chains.insert(quarantine_chain(direction), quarantine(direction, config, false));
        }
    }
}

/// The bridges of the managed networks that some policy names.
pub(crate) fn quarantined_bridges(world: &World) -> BTreeSet<Arc<str>> {
    let networks = world.policies().flat_map(|policy| &policy.networks);
    networks.filter_map(|network| world.bridge(network)).map(|bridge| bridge.bridge.clone()).collect()
}

/// Whether a port is listed as one that passes frames without an owner; `quarantined` is whether its bridge is under
/// quarantine.
pub(crate) fn is_open(port: &BridgePort, config: &Config, quarantined: bool) -> bool {
    let of_open_bridge = !quarantined && !config.bridge_names.are_known();
    of_open_bridge || port.leads_to_a_network(&config.uplinks)
}
