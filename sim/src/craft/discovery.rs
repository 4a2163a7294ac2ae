//! Frames of neighbour discovery, RFC 4861, and of multicast listeners, RFC 3810.

use core::net::{IpAddr, Ipv6Addr};

use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::Mac;

use super::fields::Fields;
use super::{LISTENER_REPORT, Mark};
use crate::probe::Family;

/// Types of ICMPv6 messages.
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Options: the link-layer address of the source, and of the target.
const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;
/// Groups: all nodes, all routers, all that listen to listener reports.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const ALL_REPORTS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// The group in which the owner of `address` listens for solicitations: RFC 4291 section 2.7.1.
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    const PREFIX: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    Ipv6Addr::from_bits(PREFIX | (address.to_bits() & 0x00ff_ffff))
}

/// The Ethernet address of a group: RFC 2464 section 7.
fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// An option that holds a link-layer address: RFC 4861 section 4.6.1.
fn address_option(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1][..], &mac.0].concat()
}

/// A message as a frame.
fn message(ends: [(Mac, IpAddr); 2], kind: u8, rest: &[&[u8]]) -> FrameSpec {
    let [(source, source_ip), (destination, destination_ip)] = ends;
    let transport = Transport::Icmp { kind, code: 0, rest: rest.concat() };
    let payload = Payload::Ip { source: source_ip, destination: destination_ip, transport };
    FrameSpec { source, destination, payload }
}

/// Duplicate address detection for `own`.
pub(super) fn detection(source: Mac, own: Ipv6Addr, mark: Mark) -> FrameSpec {
    let group = solicited_node(own);
    let ends = [(source, Ipv6Addr::UNSPECIFIED.into()), (group_mac(group), group.into())];
    message(ends, SOLICITATION, &[&[0; 4], &own.octets(), &mark.option()])
}

impl Fields<'_> {
    /// The ends of a message: its sender's `own` address, and a group or, of `to`, its own.
    fn ends(&mut self, own: Option<IpAddr>, default: (Mac, IpAddr)) -> Result<[(Mac, IpAddr); 2], String> {
        let (mac, ip) = default;
        let source = (self.source_mac()?, self.source_ip(Family::Ipv6, own)?);
        Ok([source, (self.destination_mac(mac)?, self.destination_ip(Family::Ipv6, Some(ip))?)])
    }

    /// A message from the link-local address to a group.
    fn group_ends(&mut self, group: Ipv6Addr) -> Result<[(Mac, IpAddr); 2], String> {
        self.ends(Some(self.from.mac.link_local().into()), (group_mac(group), group.into()))
    }

    pub(super) fn dad(&mut self, mark: Mark) -> Result<FrameSpec, String> {
        let own = self.target(self.from.address(Family::Ipv6))?;
        let spec = detection(self.source_mac()?, own, mark);
        Ok(FrameSpec { destination: self.destination_mac(spec.destination)?, ..spec })
    }

    pub(super) fn solicitation(&mut self, mark: Mark) -> Result<FrameSpec, String> {
        let to = self.to()?;
        let target = self.target(to.address(Family::Ipv6))?;
        let group = solicited_node(target);
        let unicast = self.is_unicast();
        let whom = if unicast { (to.mac, target.into()) } else { (group_mac(group), group.into()) };
        let ends = self.ends(self.from.address(Family::Ipv6), whom)?;
        let option = address_option(SOURCE_ADDRESS, self.sender_mac()?);
        Ok(message(ends, SOLICITATION, &[&[0; 4], &target.octets(), &option, &mark.option()]))
    }

    pub(super) fn advertisement(&mut self, mark: Mark) -> Result<FrameSpec, String> {
        let own = self.from.address(Family::Ipv6);
        let (flags, whom) = match self.receiver() {
            // Solicited and override: RFC 4861 section 4.4.
            Some(to) => {
                let address = to.address(Family::Ipv6);
                (0x60, (to.mac, address.ok_or_else(|| format!("to: {} has no address of IPv6", to.id))?))
            }
            None => (0x20, (group_mac(ALL_NODES), ALL_NODES.into())),
        };
        let target = self.target(own)?;
        let ends = self.ends(own, whom)?;
        let option = address_option(TARGET_ADDRESS, self.sender_mac()?);
        Ok(message(ends, ADVERTISEMENT, &[&[flags, 0, 0, 0], &target.octets(), &option, &mark.option()]))
    }

    pub(super) fn router_solicitation(&mut self, mark: Mark) -> Result<FrameSpec, String> {
        let ends = self.group_ends(ALL_ROUTERS)?;
        Ok(message(ends, ROUTER_SOLICITATION, &[&[0; 4], &mark.option()]))
    }

    /// A router that is one for no time at all, so that nobody's routes change.
    pub(super) fn router_advertisement(&mut self, mark: Mark) -> Result<FrameSpec, String> {
        let ends = self.group_ends(ALL_NODES)?;
        Ok(message(ends, ROUTER_ADVERTISEMENT, &[&[0; 12], &mark.option()]))
    }

    /// The station listens to its own solicited-node group: one record, "change to exclude" nobody (RFC 3810 section
    /// 5.2.12). What follows the records is ignored (section 5.2.11).
    pub(super) fn listener_report(&mut self, mark: Mark) -> Result<FrameSpec, String> {
        let ends = self.group_ends(ALL_REPORTS)?;
        let group = solicited_node(self.from.mac.link_local());
        let record = [&[4, 0, 0, 0][..], &group.octets()].concat();
        Ok(message(ends, LISTENER_REPORT, &[&[0, 0, 0, 1], &record, &mark.bytes()]))
    }
}
