//! The verdict: the world compiled for the nodes of both ends, and frames judged there.
//!
//! There is no kernel here, so each attachment gets a port of its own invention, on which it is found as on a real node. A
//! pod that is bound to no node is judged as if it ran alone on one.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::conversation::{Conversation, Side};
use super::ends::{End, PairError};
use crate::compile::{Ownership, compile, locals};
use crate::config::Config;
use crate::eval::{Decision, Flows, Passage, PortBridge, evaluate};
use crate::frame::FrameSpec;
use crate::model::{BridgePort, Direction, Kind, Object, Pod, PortKind};
use crate::ruleset::{Hook, Ruleset};
use crate::world::World;

/// A port that is nobody's: the uplink, or the port of an attachment that cannot be found.
const NOBODY: u32 = 1;
/// The first port of an attachment.
const FIRST: u32 = 100;

/// A world with a port for every attachment that can have one, and the rulesets of its nodes as they are asked for.
#[derive(Debug)]
pub struct Bench {
    world: World,
    config: Config,
    ports: BTreeMap<End, u32>,
    nodes: BTreeMap<Arc<str>, Node>,
}

/// What one node's kernel would hold.
#[derive(Debug)]
struct Node {
    ruleset: Ruleset,
    /// The attachments of this node that another one shadows.
    shadowed: BTreeSet<End>,
}

impl Bench {
    /// A bench for `world`. The settings count for every node; the node that they name does not.
    pub fn new(world: &World, config: &Config) -> Self {
        let mut world = world.clone();
        for port in world.ids(Kind::Port) {
            world.remove(&port);
        }
        let unbound: Vec<Pod> = world.pods().filter(|pod| pod.node.is_none()).cloned().collect();
        for pod in unbound {
            // No node has a name with a slash.
            let node = Some(format!("unbound/{}", pod.id).into());
            world.upsert(Object::Pod(Pod { node, ..pod }));
        }
        let mut ports = BTreeMap::new();
        let mut all = Vec::from([uplink()]);
        for (index, (end, mut port)) in (FIRST..).zip(ports_of(&world)) {
            port.index = index;
            ports.insert(end, index);
            all.push(port);
        }
        for port in all {
            world.upsert(Object::Port(port));
        }
        Self { world, config: config.clone(), ports, nodes: BTreeMap::new() }
    }

    /// Whether the first frame of a conversation leaves its sender; `None` when the sender is no pod.
    pub fn egress(&mut self, conversation: &Conversation) -> Option<bool> {
        let end = conversation.from.end.as_ref()?;
        Some(self.passes(end, Direction::Egress, &conversation.frame))
    }

    /// Whether the first frame of a conversation reaches its receiver; `None` when the receiver is no pod.
    pub fn ingress(&mut self, conversation: &Conversation) -> Option<bool> {
        let end = conversation.to.end.as_ref()?;
        Some(self.passes(end, Direction::Ingress, &conversation.frame))
    }

    /// Whether the first frame of a conversation goes all the way.
    pub fn allows(&mut self, conversation: &Conversation) -> bool {
        self.egress(conversation) != Some(false) && self.ingress(conversation) != Some(false)
    }

    /// Whether the ruleset of the end's node lets `frame` pass at the end, in `direction`.
    pub fn passes(&mut self, end: &End, direction: Direction, frame: &FrameSpec) -> bool {
        let port = self.ports.get(end).copied().unwrap_or(NOBODY);
        let name = self.world.port(port).map(|port| port.bridge.clone());
        let Some(node) = self.node(end) else { return true };
        let bytes = frame.bytes();
        let (hook, input, output) = match direction {
            Direction::Egress => (Hook::Prerouting, port, None),
            Direction::Ingress => (Hook::Forward, NOBODY, Some(port)),
        };
        // No rule asks for the VLAN of the port: without connections, zones make no difference.
        let bridge = name.as_ref().map(|name| PortBridge { name, vlan: 1 });
        let passage = Passage { hook, input: Some(input), output, bridge, frame: &bytes };
        evaluate(&node.ruleset, &mut Flows::default(), &passage) == Decision::Accept
    }

    /// Whether another attachment of the same node has the end's MAC on the same bridge, so that the end's port is taken
    /// for the other's.
    pub fn is_shadowed(&mut self, end: &End) -> bool {
        self.node(end).is_some_and(|node| node.shadowed.contains(end))
    }

    /// Refuses a conversation whose verdict would be another attachment's.
    pub fn distinct(&mut self, conversation: &Conversation) -> Result<(), PairError> {
        for Side { end, .. } in [&conversation.from, &conversation.to] {
            if let Some(end) = end.as_ref().filter(|end| self.is_shadowed(end)) {
                return Err(PairError::Shadowed(end.label(&self.world)));
            }
        }
        Ok(())
    }

    /// The node that an end is on.
    fn node(&mut self, end: &End) -> Option<&Node> {
        let (pod, _) = end.find(&self.world)?;
        let name = pod.node.clone()?;
        let Self { world, config, ports, nodes } = self;
        let node = nodes.entry(name).or_insert_with_key(|name| {
            let config = Config { node: name.clone(), ..config.clone() };
            Node { ruleset: compile(world, &config), shadowed: shadowed(world, &config, ports) }
        });
        Some(node)
    }
}

/// The port that is nobody's.
fn uplink() -> BridgePort {
    BridgePort {
        index: NOBODY,
        name: "".into(),
        bridge: "".into(),
        far_mac: None,
        far_name: None,
        kind: PortKind::Uplink,
        stations: BTreeSet::new(),
    }
}

/// A port for each attachment that can have one; that of an attachment without a MAC has no owner. The indexes are still
/// to be given.
fn ports_of(world: &World) -> Vec<(End, BridgePort)> {
    let mut ports = Vec::new();
    for pod in world.pods() {
        for (attachment, entry) in pod.attachments.iter().enumerate() {
            let Some(bridge) = world.bridge(&entry.network) else { continue };
            let port = BridgePort {
                index: 0,
                name: "".into(),
                bridge: bridge.bridge.clone(),
                far_mac: entry.mac,
                far_name: Some(entry.interface.clone()),
                kind: PortKind::Veth,
                stations: BTreeSet::new(),
            };
            ports.push((End { pod: pod.id.clone(), attachment }, port));
        }
    }
    ports
}

/// The attachments of the configured node whose ports are taken for another's.
fn shadowed(world: &World, config: &Config, ports: &BTreeMap<End, u32>) -> BTreeSet<End> {
    let mut ownership = Ownership::default();
    let mut ids = Vec::new();
    for local in world.pods().flat_map(|pod| locals(world, config, pod)) {
        ownership.add_attachment(&local);
        let index = local.pod.attachments.iter().position(|entry| core::ptr::eq(entry, local.attachment));
        let end = index.map(|attachment| End { pod: local.pod.id.clone(), attachment });
        ids.extend(end.map(|end| (end, local.id)));
    }
    for port in world.ports() {
        ownership.add_port(port, world.far_macs(port.index));
    }
    let all = world.ports().map(|port| port.index).collect();
    let owners = ownership.owners(world, &all);
    let is_shadowed = |(end, id): &(End, _)| {
        let owner = ports.get(end).and_then(|index| owners.get(index));
        owner.is_some_and(|owner| *owner != id)
    };
    ids.into_iter().filter(is_shadowed).map(|(end, _)| end).collect()
}
