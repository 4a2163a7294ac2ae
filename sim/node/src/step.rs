//! What happens in a run: a list of steps, each of which can happen to any state, so that any part of the list is a run too.

use core::time::Duration;

use nix::errno::Errno;
use policy_core::model::{
    BridgeNetwork, BridgePort, Kind, Mac, Network, NetworkConfig, Object, ObjectId, Pod, PortKind,
};
use policy_core::{BridgeNames, Config, StateEngine};

use crate::source::Source;
use crate::worlds;

/// One thing that happens.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// The watch of a kind hears nothing new, but how far it is.
    Bookmark(Kind),
    /// The connection of a watch breaks.
    Break(Kind),
    /// Every watch passes on all that there is, and the ports are heard of.
    CatchUp,
    /// The API server forgets its history.
    Compact,
    /// An object is deleted.
    Delete(ObjectId),
    /// The watch of a kind passes on so many events, or a list if it needs one.
    Deliver(Kind, usize),
    /// Somebody else changes the ruleset.
    Foreign(Foreign, Notice),
    /// The agent hears of changes to the table.
    Hear,
    /// The agent is killed, between two things that it does.
    Kill,
    /// The agent is killed in the middle of what it does next with the kernel: at this one of the moments between requests.
    KillWithin(u32),
    /// Announcements about the tables are lost, because there were too many.
    NoticesLost,
    /// A port is gone.
    PortGone(u32),
    /// A port is new or has changed.
    PortSeen(BridgePort),
    /// The agent hears of changes of ports.
    Ports,
    /// Announcements about ports are lost.
    PortsLost,
    /// An object is created or changed.
    Put(Object),
    /// The watch of a kind passes on its last event again.
    Repeat(Kind),
    /// The next list of a kind comes from a cache that is so many events behind.
    Stale(Kind, usize),
    /// The agent is started, if there is none, with the settings of one of its versions.
    Start(bool),
    /// Something is about to go wrong with a request to the kernel.
    Trouble(Request, Trouble),
    /// The agent does so many things.
    Turns(u32),
    /// Time passes.
    Wait(Duration),
}

/// What somebody else does; the numbers choose a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Foreign {
    /// Adds a chain that drops everything, or an element.
    Add(usize),
    /// Changes a rule, and leaves its comment.
    Alter(usize),
    /// Deletes an element.
    DropElement(usize),
    /// Deletes the rules of a chain.
    Flush(usize),
    /// Deletes every second element, and the rules of every second chain.
    Half,
    /// Puts in place the table of another version of the agent, with nothing in it.
    OtherLayout,
    /// Changes another table.
    OtherTable,
    /// Deletes the table.
    Table,
}

/// How a foreign change is announced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Notice {
    /// After the commit counts already, at some later time.
    Late,
    /// It is lost, and that is said.
    Lost,
    /// With the commit.
    Now,
    /// Never.
    Silent,
}

/// A request to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Request {
    /// What was announced.
    Announced,
    /// A commit.
    Commit,
    /// The number of the generation.
    Generation,
    /// A list.
    List,
}

impl Request {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Announced, Self::Commit, Self::Generation, Self::List];
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The request is carried out, but the answer is lost.
    AnswerLost,
    /// The kernel says no.
    Errno(Errno),
    /// Somebody else is faster, or changes something in the middle.
    Foreign(Foreign, Notice),
    /// It takes so long.
    Slow(Duration),
}

/// What the kernel says no with. ENOENT is what they answer truthfully where there is no table; where it would be a
/// lie, it is left out.
pub const ERRNOS: [Errno; 20] = [
    Errno::EACCES,
    Errno::EAGAIN,
    Errno::EBUSY,
    Errno::EEXIST,
    Errno::EINTR,
    Errno::EINVAL,
    Errno::EIO,
    Errno::ELOOP,
    Errno::EMFILE,
    Errno::EMSGSIZE,
    Errno::ENFILE,
    Errno::ENOBUFS,
    Errno::ENOENT,
    Errno::ENOMEM,
    Errno::ENOSPC,
    Errno::EOPNOTSUPP,
    Errno::EOVERFLOW,
    Errno::EPERM,
    Errno::ERANGE,
    Errno::ERESTART,
];

/// What kind of run it is.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Scene {
    /// The settings of the agent's two versions.
    pub versions: [Config; 2],
    /// Whether the second version lays its table out in another way.
    pub laid_out_anew: bool,
    /// Nothing happens whose effect depends on what was before: what is enforced then follows from what is.
    pub plain: bool,
    /// The kernel cannot delete chains in the commit that takes the last reference to them.
    pub apart: bool,
    /// Whether changes may never be announced.
    pub silent: bool,
}

impl Scene {
    /// A random one.
    pub(crate) fn draw(source: &mut Source<'_>) -> Self {
        let engines = [StateEngine::Conntrack, StateEngine::Sets];
        let config = |source: &mut Source<'_>| Config {
            accept_icmp: source.chance(1, 8),
            accept_icmp6: source.chance(1, 8),
            guard: source.maybe(1, 10, worlds::guard),
            quarantine: source.chance(1, 4),
            bridge_names: BridgeNames::of(source.chance(1, 2)),
            state: *source.pick(&engines),
            ..Config::new(worlds::NODE)
        };
        let versions = [config(source), config(source)];
        let (laid_out_anew, plain) = (source.chance(1, 2), source.chance(1, 2));
        Self { versions, laid_out_anew, plain, apart: source.chance(1, 4), silent: source.chance(1, 8) }
    }

    /// How a run begins: with a cluster that is there already, and an agent that has heard of it.
    pub(crate) fn beginning(&self, source: &mut Source<'_>) -> Vec<Step> {
        let mut steps: Vec<Step> = (0..12).map(|_| Step::Put(self.object(source))).collect();
        steps.extend((0..4).map(|_| Step::PortSeen(self.port(source))));
        steps.extend([Step::CatchUp, Step::Turns(4)]);
        steps
    }

    /// A random step.
    pub(crate) fn step(&self, source: &mut Source<'_>) -> Step {
        match source.below(128) {
            0..=19 => Step::Put(self.object(source)),
            20..=23 => self.deletion(source),
            24..=31 => Step::PortSeen(self.port(source)),
            32..=33 => Step::PortGone(port_index(source)),
            34..=45 => Step::Deliver(watched(source), 1 + source.below(4)),
            46..=51 => Step::Ports,
            52..=60 => Step::CatchUp,
            61..=67 => Step::Hear,
            68..=70 => Step::Foreign(foreign(source), self.notice(source)),
            71..=75 => self.trouble(source),
            76..=79 => Step::Start(source.chance(1, 4)),
            80..=83 => Step::Wait(Duration::from_millis(u64::from(source.byte()) * 20)),
            84..=86 => Step::Wait(Duration::from_secs(u64::from(source.byte()))),
            87 => Step::Break(watched(source)),
            88..=89 => source.pick(&[Step::Compact, Step::NoticesLost, Step::PortsLost]).clone(),
            90 => Step::Repeat(watched(source)),
            91 => Step::Stale(watched(source), 1 + source.below(8)),
            92 => Step::Bookmark(watched(source)),
            93 if source.chance(1, 2) => Step::Kill,
            93 => Step::KillWithin(1 + u32::from(source.byte()) % 12),
            _ => Step::Turns(1 + u32::from(source.byte()) % 6),
        }
    }

    fn deletion(&self, source: &mut Source<'_>) -> Step {
        let id = worlds::id(source);
        match id.kind() {
            Kind::Port => Step::PortGone(port_index(source)),
            // A network that goes is remembered while pods are attached.
            Kind::Network if self.plain => Step::Deliver(Kind::Network, 1),
            Kind::Namespace | Kind::Network | Kind::Pod | Kind::Policy => Step::Delete(id),
        }
    }

    fn trouble(&self, source: &mut Source<'_>) -> Step {
        let request = *source.pick(&Request::ALL);
        let trouble = match source.below(12) {
            0..=6 => Trouble::Errno(*source.pick(&ERRNOS)),
            7..=9 => Trouble::Foreign(foreign(source), self.notice(source)),
            10 => Trouble::Slow(Duration::from_millis(u64::from(source.byte()) * 40)),
            _ => return Step::Trouble(Request::Commit, Trouble::AnswerLost),
        };
        Step::Trouble(request, trouble)
    }

    fn notice(&self, source: &mut Source<'_>) -> Notice {
        match source.below(8) {
            0..=3 => Notice::Now,
            4..=5 => Notice::Lost,
            6 if self.silent => Notice::Silent,
            _ => Notice::Late,
        }
    }

    /// A random object of those that the API server keeps.
    pub(crate) fn object(&self, source: &mut Source<'_>) -> Object {
        let kind = watched(source);
        match worlds::object(source, kind) {
            Object::Pod(pod) => Object::Pod(self.pod(pod, source)),
            Object::Network(network) if self.plain => Object::Network(bridged(network)),
            other @ (Object::Namespace(_) | Object::Network(_) | Object::Policy(_) | Object::Port(_)) => {
                other
            }
        }
    }

    /// A pod most of whose MACs are nobody else's: a world full of doubles says little about policies.
    fn pod(&self, mut pod: Pod, source: &mut Source<'_>) -> Pod {
        for (ordinal, attachment) in pod.attachments.iter_mut().enumerate() {
            if attachment.mac.is_some() && (self.plain || source.chance(7, 8)) {
                attachment.mac = Some(own_mac(&pod.id.namespace, &pod.id.name, ordinal));
            }
        }
        pod
    }

    /// A random port, mostly one that leads to a pod.
    fn port(&self, source: &mut Source<'_>) -> BridgePort {
        let index = port_index(source);
        if !self.plain && source.chance(1, 3) {
            return BridgePort { index, ..worlds::port(source) };
        }
        let namespace = *source.pick(&worlds::NAMESPACES);
        let pod = *source.pick(&["a", "b", "c", "d"]);
        let ordinal = source.below(2);
        let stations = if self.plain { Vec::new() } else { source.several(0, 1, worlds::mac) };
        BridgePort {
            index,
            // Each device has a name of its own, also where it has the index of an earlier one.
            name: format!("veth-{namespace}-{pod}-{ordinal}").into(),
            bridge: (*source.pick(&["br0", "br1"])).into(),
            far_mac: Some(own_mac(namespace, pod, ordinal)),
            far_name: Some((*source.pick(&["net1", "net2"])).into()),
            kind: PortKind::Veth,
            stations: stations.into_iter().collect(),
        }
    }
}

fn bridged(network: Network) -> Network {
    let config = match network.config {
        NetworkConfig::Bridge(bridge) => bridge,
        NetworkConfig::Other { .. } | NetworkConfig::Unreadable { .. } => {
            BridgeNetwork { bridge: "br0".into(), vlan: None, dhcp: false, guard: None }
        }
    };
    Network { config: NetworkConfig::Bridge(config), ..network }
}

fn own_mac(namespace: &str, pod: &str, ordinal: usize) -> Mac {
    let byte = |text: &str| text.bytes().next().unwrap_or(0);
    Mac([2, 0, 1, byte(namespace), byte(pod), u8::try_from(ordinal).unwrap_or(u8::MAX)])
}

fn port_index(source: &mut Source<'_>) -> u32 {
    1 + u32::from(source.byte()) % 6
}

/// A kind that the API server keeps; those that matter most more often.
fn watched(source: &mut Source<'_>) -> Kind {
    *source.pick(&[
        Kind::Pod,
        Kind::Pod,
        Kind::Pod,
        Kind::Policy,
        Kind::Policy,
        Kind::Policy,
        Kind::Network,
        Kind::Network,
        Kind::Namespace,
    ])
}

fn foreign(source: &mut Source<'_>) -> Foreign {
    let place = usize::from(source.byte()) * 256 + usize::from(source.byte());
    match source.below(12) {
        0..=1 => Foreign::Add(place),
        2..=3 => Foreign::Alter(place),
        4..=5 => Foreign::DropElement(place),
        6 => Foreign::Flush(place),
        7 => Foreign::Half,
        8 => Foreign::OtherLayout,
        9 => Foreign::Table,
        _ => Foreign::OtherTable,
    }
}
