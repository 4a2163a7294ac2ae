//! Groups: the peers behind one selector as set elements, shared by every rule that names the same peers.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloc::{format, vec};
use core::net::{IpAddr, Ipv6Addr};

use crate::model::{Attachment, Block, Labels, NamespacedName, Pod, Protocol, Selector};
use crate::ruleset::{Datum, Key, KeyType, SetName, SetSpec, comment, fingerprint};

/// Which peers a group stands for. Equal keys are one group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct GroupKey {
    /// The networks whose attachments count, sorted.
    pub(crate) networks: Arc<[NamespacedName]>,
    /// The namespaces of the pods.
    pub(crate) scope: Scope,
    /// The pods in them.
    pub(crate) pods: Selector,
    /// For named ports: only peers that have the port, and each with its number.
    pub(crate) port: Option<(Protocol, Arc<str>)>,
    /// Only addresses in one of these blocks; empty for no such condition.
    pub(crate) within: Vec<Block>,
}

/// The namespaces that a group's pods are in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Scope {
    /// Every namespace, known or not.
    All,
    /// Known namespaces whose labels match.
    Matching(Selector),
    /// This one.
    Named(Arc<str>),
}

impl Scope {
    /// Whether the namespace is in scope; `labels` are its own, `None` when it is not known.
    pub(crate) fn contains(&self, namespace: &str, labels: Option<&Labels>) -> bool {
        match self {
            Self::All => true,
            Self::Matching(selector) => labels.is_some_and(|labels| selector.matches(labels)),
            Self::Named(name) => **name == *namespace,
        }
    }
}

/// One of the sets of a group. Only those that some rule looks up exist.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Part {
    /// MACs of attachments without addresses: they stand for whatever address the frame carries.
    AnyIp,
    /// IPv4 addresses.
    Ip4,
    /// IPv6 addresses.
    Ip6,
    /// MACs of all attachments, for frames that carry no address of theirs.
    Mac,
    /// `arp` and `ip6` while some attachment lists no addresses: whoever looks for it must be let ask.
    Seek,
    /// The solicited-node multicast addresses of all IPv6 addresses (RFC 4291 section 2.7.1).
    Solicited,
}

impl GroupKey {
    /// What all sets of the group have in common in their names.
    pub(crate) fn stem(&self) -> String {
        let kind = if self.port.is_some() { "named" } else { "peers" };
        format!("{kind}/{}", fingerprint(&format!("{self:?}")))
    }

    /// The specification of one of its sets.
    pub(crate) fn spec(&self, part: Part) -> SetSpec {
        let mut key = vec![match part {
            Part::AnyIp | Part::Mac => KeyType::Mac,
            Part::Ip4 => KeyType::Ip4,
            Part::Ip6 | Part::Solicited => KeyType::Ip6,
            Part::Seek => KeyType::EtherType,
        }];
        if self.port.is_some() {
            key.push(KeyType::Port);
        }
        SetSpec { key, comment: comment(&self.describe()), ..SetSpec::default() }
    }

    /// The group in words.
    fn describe(&self) -> String {
        let namespaces = match &self.scope {
            Scope::All => "any namespace".into(),
            Scope::Matching(selector) => format!("namespaces {selector}"),
            Scope::Named(name) => format!("namespace {name}"),
        };
        let networks = self.networks.iter().map(|network| format!(" {network}"));
        let port = self.port.iter().map(|(protocol, name)| format!(", {protocol} port {name}"));
        let blocks = self.within.iter().map(|block| format!(", within {block}"));
        let text = format!("pods {} in {namespaces} on", self.pods);
        [text].into_iter().chain(networks).chain(port).chain(blocks).collect()
    }

    /// The elements that `pod` contributes, given that the group covers it. An element may come up more than once.
    pub(crate) fn elements(&self, pod: &Pod) -> Vec<(Part, Key)> {
        let mut elements = Vec::new();
        for attachment in &pod.attachments {
            if self.networks.binary_search(&attachment.network).is_ok() {
                match &self.port {
                    None => self.plain(attachment, &mut elements),
                    Some((protocol, name)) => {
                        for port in
                            pod.ports.iter().filter(|port| port.protocol == *protocol && port.name == *name)
                        {
                            self.with_port(attachment, port.port, &mut elements);
                        }
                    }
                }
            }
        }
        elements
    }

    fn plain(&self, attachment: &Attachment, elements: &mut Vec<(Part, Key)>) {
        for (part, address) in self.addresses(attachment) {
            elements.push((part, Key::One(address)));
            if let Datum::Ip6(address) = address {
                elements.push((Part::Solicited, Key::One(Datum::Ip6(solicited(address)))));
            }
        }
        if attachment.addresses.is_empty() {
            elements.extend([Datum::ARP, Datum::IP6].map(|kind| (Part::Seek, Key::One(kind))));
        }
        if let Some(mac) = attachment.mac {
            elements.push((Part::Mac, Key::One(Datum::Mac(mac))));
            if attachment.addresses.is_empty() {
                elements.push((Part::AnyIp, Key::One(Datum::Mac(mac))));
            }
        }
    }

    fn with_port(&self, attachment: &Attachment, port: u16, elements: &mut Vec<(Part, Key)>) {
        let key = |datum| Key::of(&[datum, Datum::Port(port)]);
        elements.extend(self.addresses(attachment).map(|(part, address)| (part, key(address))));
        if let (Some(mac), true, true) =
            (attachment.mac, attachment.addresses.is_empty(), self.within.is_empty())
        {
            elements.push((Part::AnyIp, key(Datum::Mac(mac))));
        }
    }

    /// The addresses of an attachment that count: those that its status lists, and the link-local one of its MAC.
    fn addresses(&self, attachment: &Attachment) -> impl Iterator<Item = (Part, Datum)> {
        let link_local = attachment.mac.map(|mac| IpAddr::V6(mac.link_local()));
        let all = attachment.addresses.iter().copied().chain(link_local);
        let counts = |address: &IpAddr| {
            self.within.is_empty() || self.within.iter().any(|block| block.contains(*address))
        };
        all.filter(counts).map(|address| match address {
            IpAddr::V4(address) => (Part::Ip4, Datum::Ip4(address)),
            IpAddr::V6(address) => (Part::Ip6, Datum::Ip6(address)),
        })
    }
}

/// The multicast address to which a host with `address` listens for neighbour solicitations: RFC 4291 section 2.7.1.
pub(crate) fn solicited(address: Ipv6Addr) -> Ipv6Addr {
    const PREFIX: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    Ipv6Addr::from_bits(PREFIX | (address.to_bits() & 0x00ff_ffff))
}

/// The name of one set of a group.
pub(crate) fn set_name(stem: &str, part: Part) -> SetName {
    let part = match part {
        Part::AnyIp => "anyip",
        Part::Ip4 => "ip4",
        Part::Ip6 => "ip6",
        Part::Mac => "mac",
        Part::Seek => "seek",
        Part::Solicited => "solicited",
    };
    SetName::new(format!("{stem}-{part}"))
}
