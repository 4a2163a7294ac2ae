//! The way of a frame: which hooks of which node's table it passes, between two stations. Pure.
//!
//! Egress is judged where a frame enters a bridge (prerouting, by the port it came in by), ingress where it leaves one
//! (forward, by both ports), also where the node itself is the sender (output). Between two nodes it leaves by an uplink
//! and comes in by another: both tables judge it.

use alloc::collections::BTreeMap;

use policy_core::ruleset::{Hook, Ruleset};

use crate::plan::{Position, Station, StationId};

/// What a node's kernel holds, and where everybody is on its bridges.
pub struct NodeView<'a> {
    /// The agent's table.
    pub ruleset: &'a Ruleset,
    /// The port index of each station.
    pub ports: BTreeMap<StationId, u32>,
    /// The port index of each bridge's uplink to the other nodes.
    pub uplinks: BTreeMap<String, u32>,
}

/// A hook of a node that a frame passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crossing<'a> {
    /// The node.
    pub node: &'a str,
    /// The hook.
    pub hook: Hook,
    /// The port that the frame came in by.
    pub input: Option<u32>,
    /// The port that it leaves by.
    pub output: Option<u32>,
}

/// The hooks that a frame passes on its way; `None` when an end of it is nowhere.
pub fn crossings<'a>(
    nodes: &BTreeMap<String, NodeView<'_>>,
    from: &'a Station,
    to: &'a Station,
) -> Option<Vec<Crossing<'a>>> {
    // The node itself is behind no port.
    let port = |station: &Station| match station.position {
        Position::Behind { .. } | Position::Node => Some(None),
        Position::Port => nodes.get(&station.node)?.ports.get(&station.id).copied().map(Some),
    };
    let uplink = |station: &Station| nodes.get(&station.node)?.uplinks.get(&station.bridge).copied();
    let mut crossings = Vec::new();
    if from.node == to.node {
        hop(&mut crossings, &from.node, port(from)?, port(to)?);
    } else {
        hop(&mut crossings, &from.node, port(from)?, Some(uplink(from)?));
        hop(&mut crossings, &to.node, Some(uplink(to)?), port(to)?);
    }
    Some(crossings)
}

/// From one port of a node to another, where no port stands for the node itself: what it sends passes the output hook
/// only, what it gets the input hook after prerouting.
fn hop<'a>(crossings: &mut Vec<Crossing<'a>>, node: &'a str, input: Option<u32>, output: Option<u32>) {
    if input.is_some() {
        crossings.push(Crossing { node, hook: Hook::Prerouting, input, output: None });
    }
    if output.is_some() {
        let hook = if input.is_some() { Hook::Forward } else { Hook::Output };
        crossings.push(Crossing { node, hook, input, output });
    } else {
        crossings.push(Crossing { node, hook: Hook::Input, input, output });
    }
}
