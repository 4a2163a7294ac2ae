//! Ends: attachments as people name them.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::{Attachment, NamespacedName, Pod};
use crate::spec::syntax::{is_dns_label, is_dns_name};
use crate::world::World;

/// One attachment of a pod.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct End {
    /// The pod.
    pub pod: NamespacedName,
    /// Which of the pod's attachments, from 0.
    pub attachment: usize,
}

impl End {
    /// The pod and the attachment; `None` when there is no such thing.
    pub fn find<'w>(&self, world: &'w World) -> Option<(&'w Pod, &'w Attachment)> {
        let pod = world.pod(&self.pod)?;
        Some((pod, pod.attachments.get(self.attachment)?))
    }

    /// `namespace/pod@interface`, the form that [`EndSpec`] reads.
    pub fn label(&self, world: &World) -> String {
        let interface = self.find(world).map_or("", |(_, attachment)| &*attachment.interface);
        if interface.is_empty() { format!("{}", self.pod) } else { format!("{}@{interface}", self.pod) }
    }
}

/// An end as it is asked for: an address, or `namespace/pod`, with `@interface` where the pod has several.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndSpec {
    /// Whoever has this address.
    Address(IpAddr),
    /// A pod.
    Pod {
        /// Its name.
        pod: NamespacedName,
        /// The interface inside it.
        interface: Option<Arc<str>>,
    },
}

/// A text that names no end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("neither an address nor a pod, written namespace/pod or namespace/pod@interface")]
pub struct EndSpecError;

impl FromStr for EndSpec {
    type Err = EndSpecError;

    fn from_str(text: &str) -> Result<Self, EndSpecError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        let (name, interface) =
            text.split_once('@').map_or((text, None), |(name, interface)| (name, Some(interface)));
        // Without a default namespace, a name alone is refused.
        let pod = NamespacedName::parse(name, "")
            .filter(|pod| is_dns_label(&pod.namespace) && is_dns_name(&pod.name))
            .ok_or(EndSpecError)?;
        match interface {
            Some("") => Err(EndSpecError),
            _ => Ok(Self::Pod { pod, interface: interface.map(Into::into) }),
        }
    }
}

impl fmt::Display for EndSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Pod { pod, interface: None } => write!(f, "{pod}"),
            Self::Pod { pod, interface: Some(interface) } => write!(f, "{pod}@{interface}"),
        }
    }
}

/// Why two ends cannot be brought together.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// An end that is an address was given a second one.
    #[error("{0} is an address already: --from-address and --to-address are for pods")]
    AddressTwice(IpAddr),
    /// More than one pair of attachments fits.
    #[error("{ends} meet in more than one place: {choices}; choose with --network or @interface")]
    Ambiguous {
        /// The ends as asked for.
        ends: String,
        /// The pairs that fit, as text.
        choices: String,
    },
    /// The ends have no address of one family.
    #[error(
        "{ends} have no addresses of one family{family}: say which they use with --from-address and --to-address"
    )]
    NoAddress {
        /// The ends as asked for.
        ends: String,
        /// What is needed, when only one family will do.
        family: &'static str,
    },
    /// The pod has no attachment that fits.
    #[error("pod {pod} has no attachment{which}: {known}")]
    NoAttachment {
        /// The pod.
        pod: NamespacedName,
        /// What was asked for, as the end of a phrase.
        which: String,
        /// What there is.
        known: String,
    },
    /// No attachment is on the network.
    #[error("no pod is attached to network {network}; there are attachments to: {known}")]
    NoOneThere {
        /// The network.
        network: NamespacedName,
        /// The networks that somebody is attached to.
        known: String,
    },
    /// Neither end is a pod.
    #[error("{ends} are both addresses: one end must be a pod")]
    NoPod {
        /// The ends as asked for.
        ends: String,
    },
    /// The pods are on no common network.
    #[error("{ends} share no network: {from} and {to}")]
    NothingShared {
        /// The ends as asked for.
        ends: String,
        /// The networks of one, as text.
        from: String,
        /// Those of the other.
        to: String,
    },
    /// Another attachment of the same node has the same MAC on the same bridge.
    #[error(
        "{0} shares its mac with another attachment on its node and bridge: whose policies judge it is open"
    )]
    Shadowed(String),
    /// There is no such pod.
    #[error("there is no pod {pod}{alike}")]
    UnknownPod {
        /// The name.
        pod: NamespacedName,
        /// Pods that may have been meant, as the end of a sentence.
        alike: String,
    },
}

/// All attachments to `network`, by pod and position.
pub fn ends_on(world: &World, network: &NamespacedName) -> Result<Vec<End>, PairError> {
    let ends = |pod: &Pod| {
        let on_network = pod.attachments.iter().enumerate().filter(|(_, entry)| entry.network == *network);
        let pod = pod.id.clone();
        on_network.map(move |(attachment, _)| End { pod: pod.clone(), attachment }).collect::<Vec<_>>()
    };
    let found: Vec<End> = world.pods().flat_map(ends).collect();
    if found.is_empty() {
        let known = world.pods().flat_map(|pod| &pod.attachments).map(|entry| &entry.network);
        return Err(PairError::NoOneThere { network: network.clone(), known: listed(known) });
    }
    Ok(found)
}

/// The attachments of a pod that fit.
pub(super) fn ends_of(
    world: &World,
    pod: &NamespacedName,
    interface: Option<&str>,
    network: Option<&NamespacedName>,
) -> Result<Vec<End>, PairError> {
    let Some(found) = world.pod(pod) else {
        let same_name = world.pods().map(|other| &other.id).filter(|other| other.name == pod.name);
        let alike = listed(same_name);
        let alike = if alike == NOTHING { String::new() } else { format!("; there is {alike}") };
        return Err(PairError::UnknownPod { pod: pod.clone(), alike });
    };
    let fits = |entry: &Attachment| {
        interface.is_none_or(|interface| *entry.interface == *interface)
            && network.is_none_or(|network| entry.network == *network)
    };
    let all = found.attachments.iter().enumerate().filter(|(_, entry)| fits(entry));
    let ends: Vec<End> = all.map(|(attachment, _)| End { pod: pod.clone(), attachment }).collect();
    if ends.is_empty() {
        let on = network.map(|network| format!(" to network {network}")).unwrap_or_default();
        let at = interface.map(|interface| format!(" at {interface}")).unwrap_or_default();
        let known = if found.attachments.is_empty() {
            "its network status lists none that counts".into()
        } else {
            format!("it has {}", described(found))
        };
        return Err(PairError::NoAttachment { pod: pod.clone(), which: format!("{on}{at}"), known });
    }
    Ok(ends)
}

/// What stands for an empty list.
const NOTHING: &str = "none";

/// Names with commas between them, each once.
pub(super) fn listed<T: fmt::Display + Ord>(names: impl Iterator<Item = T>) -> String {
    let unique: alloc::collections::BTreeSet<T> = names.collect();
    let texts: Vec<String> = unique.iter().map(|name| format!("{name}")).collect();
    if texts.is_empty() { NOTHING.into() } else { texts.join(", ") }
}

/// A pod's attachments as text.
fn described(pod: &Pod) -> String {
    listed(pod.attachments.iter().map(|entry| format!("{} at {}", entry.network, entry.interface)))
}
