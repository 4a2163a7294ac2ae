//! Crafted frames: what no honest program sends, or not when a test needs it.
//!
//! A frame goes out by a packet socket of one station, and packet sockets of all the others look whether it arrives. Each
//! carries a mark somewhere where nobody minds it, so that no other frame is taken for it.

mod build;
mod discovery;
mod fields;
mod format;

use alloc::collections::BTreeSet;
use core::net::IpAddr;

use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::Mac;

pub use build::craft;
pub use format::{FrameClaim, FrameKind, Overrides};

use crate::plan::{Station, StationId};

/// The least length of an Ethernet frame without its check sequence, in bytes: IEEE 802.3 section 3.2.8.
const SHORTEST: usize = 60;
/// The Ethernet type of a VLAN tag: IEEE 802.1Q section 9.6.
const TAGGED: u16 = 0x8100;
/// Multicast Listener Report, version 2: RFC 3810 section 5.2.
const LISTENER_REPORT: u8 = 143;

/// A number that no other frame of a scenario's stage carries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mark(u16);

impl Mark {
    /// The mark of the announcements that tell bridges where everybody is.
    const ANNOUNCEMENT: Self = Self(u16::MAX);
    /// How many frames can have a port of their own.
    const PORTS: u16 = 10_000;

    /// The mark of the frame with this number, up to as many as there are ports for.
    fn new(number: usize) -> Option<Self> {
        u16::try_from(number).ok().filter(|number| *number < Self::PORTS).map(Self)
    }

    /// As bytes: a word that real programs do not send, and the number.
    fn bytes(self) -> [u8; 6] {
        let [high, low] = self.0.to_be_bytes();
        [b'm', b'a', b'r', b'k', high, low]
    }

    /// As an option of neighbour discovery: RFC 4727 section 5.1.3 leaves 253 to experiments, and receivers must ignore
    /// options that they do not know (RFC 4861 section 4.6).
    fn option(self) -> Vec<u8> {
        [&[253, 1][..], &self.bytes()].concat()
    }

    /// As a port that a client might have.
    const fn port(self) -> u16 {
        50_000 + self.0 % Self::PORTS
    }
}

/// A frame that a station sends by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crafted {
    /// What a report calls it.
    pub name: String,
    /// Who sends it.
    pub from: StationId,
    /// What it says.
    pub spec: FrameSpec,
    /// The outer VLAN tag, which kernels take off and keep beside the frame.
    pub tag: Option<u16>,
    /// What tells it from all others.
    pub mark: Mark,
    /// All stations at which it is to arrive.
    pub reaches: BTreeSet<StationId>,
}

impl Crafted {
    /// The frame as it goes out.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.heard();
        if let Some(tag) = self.tag {
            bytes.splice(12..12, [TAGGED.to_be_bytes(), tag.to_be_bytes()].concat());
        }
        bytes
    }

    /// The frame as packet sockets show it: without its outer tag (`skb_vlan_untag`, net/core/skbuff.c).
    pub fn heard(&self) -> Vec<u8> {
        bytes(&self.spec, self.mark)
    }
}

/// A frame by which a bridge learns where `station` is, and which always passes its port: duplicate address detection for
/// the address that follows from its MAC.
pub fn announcement(station: &Station) -> Vec<u8> {
    let (source, own) = (station.mac, station.mac.link_local());
    let spec = discovery::detection(source, own, Mark::ANNOUNCEMENT);
    bytes(&spec, Mark::ANNOUNCEMENT)
}

/// Adds what a [`FrameSpec`] cannot say: the mark behind an ARP packet, the header before a listener report.
fn bytes(spec: &FrameSpec, mark: Mark) -> Vec<u8> {
    let mut bytes = spec.bytes();
    if matches!(spec.payload, Payload::Arp { .. }) {
        bytes.extend(mark.bytes());
        bytes.resize(SHORTEST, 0);
    }
    if let Payload::Ip { source: IpAddr::V6(_), transport: Transport::Icmp { kind, .. }, .. } = &spec.payload
        && *kind == LISTENER_REPORT
    {
        alert_routers(&mut bytes);
    }
    bytes
}

/// Inserts the hop-by-hop header with the router alert that listener reports have: RFC 2711, RFC 3810 section 5.
fn alert_routers(bytes: &mut Vec<u8>) {
    const IP: usize = 14;
    let length = bytes.get(IP + 4..).and_then(|rest| rest.first_chunk()).copied().map(u16::from_be_bytes);
    let length = length.unwrap_or_default().saturating_add(8);
    let next = bytes.get(IP + 6).copied().unwrap_or_default();
    bytes.splice(IP + 4..IP + 7, [length.to_be_bytes().as_slice(), &[0]].concat());
    bytes.splice(IP + 40..IP + 40, [next, 0, 5, 2, 0, 0, 1, 0]);
}

/// Whether a frame is for a group: the lowest bit of the first byte (IEEE 802 section 8.2.2).
pub const fn is_for_a_group(destination: Mac) -> bool {
    let [first, ..] = destination.0;
    first & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Expect;
    use alloc::collections::BTreeMap;
    use ipnet::IpNet;
    use policy_core::eval::{Decision, Flows, Passage, evaluate};
    use policy_core::ruleset::{
        BaseChain, Chain, ChainName, ChainSpec, Datum, Expr, Field, Hook, Rule, Ruleset, Verdict,
    };
    use test_case::test_case;

    fn station(owner: &str, last: u8) -> (StationId, Station) {
        let id = StationId { owner: owner.to_owned(), interface: "net1".to_owned() };
        let address = |text: String| text.parse::<IpNet>().expect("an address");
        let station = Station {
            id: id.clone(),
            node: "node-1".to_owned(),
            bridge: "br-0".to_owned(),
            mac: Mac([2, 0, 0, 0, 0, last]),
            addresses: vec![address(format!("10.0.0.{last}/24")), address(format!("fd00::{last}/64"))],
            tagging: crate::tagging::Tagging::default(),
            position: crate::plan::Position::Port,
            routes: Vec::new(),
            wire: crate::plan::Wire::default(),
        };
        (id, station)
    }

    /// What the frame of `claim` says, as bytes.
    fn bytes_of(claim: &str) -> Vec<u8> {
        let expect: Expect =
            serde_saphyr::from_str(&format!("frames: [{{{claim}, reaches: []}}]")).expect("the test's YAML");
        let stations = BTreeMap::from([station("one", 1), station("two", 2)]);
        let crafted = craft(&expect.frames, &stations).expect("a good claim");
        crafted.first().expect("one frame").bytes()
    }

    /// Whether a rule for `value` in `field` finds the frame, as the kernel would look.
    fn shows(frame: &[u8], field: Field, value: Datum) -> bool {
        let base = Some(BaseChain { hook: Hook::Forward, priority: 0, drop_by_default: false });
        let exprs = vec![Expr::is(field, value), Expr::Verdict(Verdict::Drop)];
        let rule = Rule { exprs, comment: String::new() };
        let chain = Chain { spec: ChainSpec { base, comment: String::new() }, rules: vec![rule] };
        let ruleset = Ruleset { chains: [(ChainName::new("c"), chain)].into(), ..Ruleset::default() };
        let passage = Passage { hook: Hook::Forward, input: Some(1), output: Some(2), bridge: None, frame };
        evaluate(&ruleset, &mut Flows::default(), &passage) == Decision::Drop
    }

    #[test_case("from: one, send: dad", 135; "dad")]
    #[test_case("from: one, send: neighbour-solicitation, to: two", 135; "solicitation")]
    #[test_case("from: one, send: neighbour-advertisement", 136; "advertisement")]
    #[test_case("from: one, send: router-solicitation", 133; "router solicitation")]
    #[test_case("from: one, send: router-advertisement", 134; "router advertisement")]
    #[test_case("from: one, send: mld-report", 143; "listener report behind a router alert")]
    #[test_case("from: one, send: too-big, to: two, family: ipv6, with: {about: one}", 2; "too big")]
    fn the_kernel_finds_the_type_of_a_message(claim: &str, kind: u8) {
        assert!(shows(&bytes_of(claim), Field::Icmp6Type, Datum::Byte(kind)), "{claim}");
    }

    #[test]
    fn what_is_overridden_is_what_goes_out() {
        let spoofed = "from: one, send: arp-request, to: two, with: {source-mac: two, sender-ip: 10.0.0.9}";
        let frame = bytes_of(spoofed);
        assert!(frame.starts_with(&[0xff; 6]) && frame.get(6..12) == Some(&[2, 0, 0, 0, 0, 2]));
        // The sender's own hardware address, the address that it claims: RFC 826.
        assert_eq!(frame.get(22..32), Some(&[2, 0, 0, 0, 0, 1, 10, 0, 0, 9][..]));
        assert_eq!(frame.len(), SHORTEST);
    }

    #[test]
    fn a_solicitation_is_for_the_group_of_its_target() {
        let frame = bytes_of("from: one, send: neighbour-solicitation, to: two");
        assert_eq!(frame.get(..6), Some(&[0x33, 0x33, 0xff, 0, 0, 2][..]));
        let group = "ff02::1:ff00:2".parse().expect("an address");
        assert!(shows(&frame, Field::Ip6Destination, Datum::Ip6(group)));
    }
}
