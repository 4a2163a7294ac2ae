//! Policies, parsed: only what can be enforced is left, everything else has become a [`Problem`].

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{NamespacedName, Selector};

/// A direction of traffic, seen from the selected pod.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Direction {
    /// From the pod.
    Egress,
    /// To the pod.
    Ingress,
}

impl Direction {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::Egress, Self::Ingress];

    /// The other one.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::Egress => Self::Ingress,
            Self::Ingress => Self::Egress,
        }
    }

    /// What it is called.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A transport protocol that a port entry can name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Protocol {
    /// SCTP.
    Sctp,
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 3] = [Self::Sctp, Self::Tcp, Self::Udp];

    /// The protocol's number in an IP header (IANA "Assigned Internet Protocol Numbers").
    pub const fn number(self) -> u8 {
        match self {
            Self::Sctp => 132,
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sctp => "sctp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Which frames are told of, one by one (annotation `mnp-nft-bridge.io/log`). The later variant includes the earlier one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum LogWish {
    /// Those that are denied.
    Drop,
    /// Those that are denied, and those that begin a flow which is allowed.
    All,
}

/// A `MultiNetworkPolicy`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub id: NamespacedName,
    /// The networks of its `policy-for` annotation, sorted, without repetition.
    pub networks: Vec<NamespacedName>,
    /// Which pods of its namespace it selects.
    pub selector: Selector,
    /// Its ingress rules; `None` when it does not isolate ingress.
    pub ingress: Option<Vec<PolicyRule>>,
    /// Its egress rules; `None` when it does not isolate egress.
    pub egress: Option<Vec<PolicyRule>>,
    /// Which frames of the pods that it isolates are logged, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogWish>,
    /// What in the object could not be used.
    pub problems: Vec<Problem>,
}

impl Policy {
    /// The rules for `direction`; `None` when the policy does not isolate it.
    pub fn rules(&self, direction: Direction) -> Option<&[PolicyRule]> {
        match direction {
            Direction::Egress => self.egress.as_deref(),
            Direction::Ingress => self.ingress.as_deref(),
        }
    }
}

/// One rule: what it allows from or to whom.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct PolicyRule {
    /// The other side.
    pub peers: Peers,
    /// Protocols and ports at the receiving side.
    pub ports: Ports,
}

/// The other side of a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Peers {
    /// Everyone, inside the cluster and outside.
    Any,
    /// Only these; an empty list is nobody (its entries were unusable).
    Listed(Vec<Peer>),
}

/// One peer of a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Peer {
    /// Addresses, whoever carries them.
    Block(Block),
    /// The attachments of pods.
    Pods {
        /// The pods' namespaces.
        namespaces: NamespaceScope,
        /// The pods in them.
        pods: Selector,
    },
}

/// The namespaces that a peer's pods are looked for in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum NamespaceScope {
    /// This one (the policy's own).
    Named(Arc<str>),
    /// Those whose labels match.
    Matching(Selector),
}

/// An address block: a prefix without some prefixes inside it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Block {
    cidr: IpNet,
    except: Vec<IpNet>,
}

impl Block {
    /// `cidr` minus `except`; host bits are masked off. An exception of the other family or outside the prefix
    /// takes nothing away.
    pub fn new(cidr: IpNet, except: impl IntoIterator<Item = IpNet>) -> Self {
        let cidr = cidr.trunc();
        let mut except: Vec<IpNet> =
            except.into_iter().map(|net| net.trunc()).filter(|net| cidr.contains(net)).collect();
        except.sort_unstable();
        except.dedup();
        Self { cidr, except }
    }

    /// The prefix.
    pub const fn cidr(&self) -> IpNet {
        self.cidr
    }

    /// What is taken out of it, sorted.
    pub fn except(&self) -> &[IpNet] {
        &self.except
    }

    /// Whether `address` is in the block.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.cidr.contains(&address) && !self.except.iter().any(|net| net.contains(&address))
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cidr)?;
        for (at, net) in self.except.iter().enumerate() {
            write!(f, "{}{net}", if at == 0 { " except " } else { "," })?;
        }
        Ok(())
    }
}

/// The protocols and ports of a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Ports {
    /// Every protocol and port, ICMP and non-IP payloads included.
    Any,
    /// Only these; an empty list is none (its entries were unusable).
    Listed(Vec<PortMatch>),
}

/// One port entry of a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct PortMatch {
    /// The protocol.
    pub protocol: Protocol,
    /// Its ports.
    pub numbers: PortNumbers,
}

/// The ports of a port entry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum PortNumbers {
    /// All ports of the protocol.
    All,
    /// The container ports of this name, resolved on the pod that receives the traffic.
    Named(Arc<str>),
    /// From the first to the second, both included, 1 to 65535.
    Range(u16, u16),
}

/// Something in an object that cannot be used, and where.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct Problem {
    /// The field's path, such as `spec.ingress[1].from[0].ipBlock.cidr`.
    pub path: String,
    /// What is wrong with it; quotes the value where there is one.
    pub reason: String,
}
