//! Why a frame passes or does not, in terms of policies, rules, peers and ports.
//!
//! The verdict itself is the ruleset's: a [`Bench`] compiles the world for the nodes of both ends and evaluates the frame
//! there. [`trace`] finds the reasons by reading the policies; that it always comes to the same verdict is a law that the
//! tests hold, so an explanation cannot contradict the datapath.
//!
//! [`conversations`] goes from what people say (two ends and a service) to the frames that are judged, and [`Places`] from a
//! parsed policy back to the field paths of the text.

mod bench;
mod conversation;
mod ends;
mod exempt;
mod guard;
mod judge;
mod neighbours;
mod places;
#[cfg(test)]
mod tests;
mod view;

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::model::{Direction, NamespacedName, Requirement};

pub use bench::Bench;
pub use conversation::{Conversation, Question, Service, ServiceError, Side, between, conversations};
pub use ends::{End, EndSpec, EndSpecError, PairError, ends_on};
pub use exempt::Exempt;
pub use guard::Breach;
pub use judge::trace;
pub use places::Places;

/// What the policies of one end say about a frame in one direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The direction, seen from that end.
    pub direction: Direction,
    /// Whether and by whom the end is judged.
    pub standing: Standing,
    /// Policies of the pod's namespace that have no say about the frame, and why not.
    pub passed_over: Vec<(NamespacedName, PassedOver)>,
}

impl Trace {
    /// Whether the frame passes.
    pub fn passes(&self) -> bool {
        match &self.standing {
            Standing::Free | Standing::Unenforced(_) => true,
            Standing::Guarded(_) | Standing::Quarantined => false,
            Standing::Isolated { exempt, policies } => {
                exempt.is_some() || policies.iter().any(PolicyTrace::allows)
            }
        }
    }
}

/// Whether and by whom an end is judged in one direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// No policy isolates it: everything passes.
    Free,
    /// The guard of its network drops the frame, whatever the policies say.
    Guarded(Breach),
    /// Only what some policy allows passes.
    Isolated {
        /// Why the frame passes whatever the policies say, if it does.
        exempt: Option<Exempt>,
        /// The policies that isolate the end in the direction. For ARP and neighbour discovery that the rules of either
        /// direction may admit, also those that isolate it in the other one; a policy for both comes up twice.
        policies: Vec<PolicyTrace>,
    },
    /// Nothing passes: nobody can be known to own its port, and such ports are under quarantine on its bridge.
    Quarantined,
    /// Nothing can be enforced there.
    Unenforced(Unenforced),
}

/// Why nothing is enforced at an attachment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unenforced {
    /// Its status lists no MAC, so no bridge port can be found for it.
    NoMac,
    /// There is no definition of its network.
    NoNetwork,
    /// Its network's main plugin is this one, not a bridge.
    OtherPlugin(Arc<str>),
    /// Its network's configuration cannot be read, for this reason.
    Unreadable(Arc<str>),
}

/// Why a policy of the pod's namespace does not isolate an end in a direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PassedOver {
    /// It is not for the attachment's network.
    Network,
    /// The pod's labels do not meet this requirement of its `podSelector`.
    Labels(Requirement),
    /// It isolates the other direction only.
    OtherDirection,
}

/// What one policy says with its rules for one direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyTrace {
    /// The policy.
    pub policy: NamespacedName,
    /// The direction that the rules are for: the trace's own, or the other one (see [`Standing::Isolated`]).
    pub direction: Direction,
    /// Its rules for the direction.
    pub rules: Vec<RuleTrace>,
}

impl PolicyTrace {
    /// Whether one of its rules allows the frame.
    pub fn allows(&self) -> bool {
        self.rules.iter().any(RuleTrace::allows)
    }
}

/// What one rule says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleTrace {
    /// Its index among the policy's usable rules for the direction ([`Places::rule`] finds its path).
    pub rule: usize,
    /// Its peers; a single one without an index where the rule is for everyone.
    pub peers: Vec<PeerTrace>,
}

impl RuleTrace {
    /// Whether the other end is one of the peers, and the frame goes to a port that is allowed to it.
    pub fn allows(&self) -> bool {
        self.peers.iter().any(PeerTrace::allows)
    }
}

/// What one peer of a rule says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerTrace {
    /// Its index among the rule's usable peers; `None` where the rule is for everyone.
    pub peer: Option<usize>,
    /// Whether the other end is this peer.
    pub fit: PeerFit,
    /// The rule's ports as they apply to this peer; empty when the other end is not this peer.
    pub ports: Vec<PortTrace>,
}

impl PeerTrace {
    /// Whether peer and port fit.
    pub fn allows(&self) -> bool {
        self.fit.fits() && self.ports.iter().any(|port| port.fit.fits())
    }
}

/// Whether the other end is a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerFit {
    /// It is everyone.
    Everyone,
    /// The address is in the block, but in this exception.
    Excepted(IpAddr, IpNet),
    /// The address is in the block.
    InBlock(IpAddr),
    /// The block has IPv6 addresses, and the frame is half of the check by which neighbours keep each other's entries. It
    /// uses link-local addresses, so whose it is cannot be told.
    NeighbourCheck,
    /// The peer is a block, and the frame carries no IP address.
    NoAddress,
    /// No known attachment is the other end.
    Nobody,
    /// These attachments are the other end, but none of them is meant: each with why not.
    NotMeant(Vec<(End, NotMeant)>),
    /// The address is outside the block.
    OutsideBlock(IpAddr),
    /// The other end is this attachment of a selected pod.
    Selected(End, Identity),
    /// This solicited-node address is that of an address in the block.
    SoughtInBlock(Ipv6Addr),
}

impl PeerFit {
    /// Whether it is.
    pub const fn fits(&self) -> bool {
        matches!(
            self,
            Self::Everyone
                | Self::InBlock(_)
                | Self::NeighbourCheck
                | Self::Selected(..)
                | Self::SoughtInBlock(_)
        )
    }
}

/// Why an attachment is none of those that a selector peer stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotMeant {
    /// The labels of its namespace do not meet this requirement.
    NamespaceLabels(Requirement),
    /// Its pod is not in the policy's namespace.
    NotInNamespace,
    /// It is on a network that the policy is not for.
    Network(NamespacedName),
    /// The labels of its pod do not meet this requirement.
    PodLabels(Requirement),
    /// Nothing is known of its namespace, so no selector of namespaces matches it.
    UnknownNamespace,
}

/// What an attachment is known by in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Identity {
    /// An address that its status lists.
    Address,
    /// The link-local address of its MAC.
    LinkLocal,
    /// Its MAC.
    Mac,
    /// The solicited-node address of one of its addresses: RFC 4291 section 2.7.1.
    Sought,
    /// Nothing: its status lists no addresses, so whoever looks for an address may look for it.
    Unlisted,
}

/// What one port entry of a rule says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortTrace {
    /// Its index among the rule's usable entries; `None` where the rule is for every port, or ports do not matter.
    pub port: Option<usize>,
    /// Whether the frame goes there.
    pub fit: PortFit,
}

/// Whether a frame goes to a port of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortFit {
    /// The rule is for every protocol and port.
    Any,
    /// It does.
    Fits,
    /// The name stands for these ports of the receiver (none: it has no port of that name), and the frame goes to another.
    NamedOtherwise(BTreeSet<u16>),
    /// It goes to another port.
    OtherNumber,
    /// It is of another protocol.
    OtherProtocol,
    /// Ports do not matter: the frame is ARP or neighbour discovery, which comes before any of them.
    Unasked,
}

impl PortFit {
    /// Whether it does.
    pub const fn fits(&self) -> bool {
        matches!(self, Self::Any | Self::Fits | Self::Unasked)
    }
}
