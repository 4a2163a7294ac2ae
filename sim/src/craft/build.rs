//! From what a scenario writes to the frame that is meant. Pure.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::Mac;
use serde_saphyr::Spanned;

use super::fields::Fields;
use super::format::{FrameClaim, FrameKind};
use super::{Crafted, Mark, TAGGED, bytes};
use crate::claim::called;
use crate::plan::{Station, StationId};
use crate::probe::Family;
use crate::scenario::Place;

/// How large packets on a link may be that is too narrow for one, in bytes.
const NARROW: u16 = 1280;

/// The frames that `claims` describe, in their order.
pub fn craft(
    claims: &[Spanned<FrameClaim>],
    stations: &BTreeMap<StationId, Station>,
) -> Result<Vec<Crafted>, (Place, String)> {
    let mut crafted = Vec::new();
    let mut names = BTreeMap::new();
    for (claim, number) in claims.iter().zip(0..) {
        let wrong = |reason| (Place::from(claim), reason);
        let mark = Mark::new(number).ok_or_else(|| wrong("there are too many frames".to_owned()))?;
        let frame = one(claim, mark, stations).map_err(wrong)?;
        if let Some(same) = names.insert(frame.heard(), frame.name.clone()) {
            return Err(wrong(format!("it cannot be told from {same}")));
        }
        crafted.push(frame);
    }
    Ok(crafted)
}

fn one(
    claim: &Spanned<FrameClaim>,
    mark: Mark,
    stations: &BTreeMap<StationId, Station>,
) -> Result<Crafted, String> {
    let mut fields = Fields::of(&claim.value, stations)?;
    let from = fields.from;
    let mut spec = fields.spec(claim.value.send, mark)?;
    let [outer, inner] = fields.tags()?;
    fields.end()?;
    if let Some(inner) = inner {
        spec = behind_a_tag(&spec, mark, inner);
    }
    let others = |id: &StationId| {
        stations.get(id).is_some_and(|station| station.id != from.id && station.can_craft_beside(from))
    };
    let mut reaches = BTreeSet::new();
    for name in &claim.value.reaches.0 {
        let ends = called(stations, name).map_err(|reason| format!("reaches: {reason}"))?;
        let ends: Vec<StationId> = ends.into_iter().filter(others).collect();
        if ends.is_empty() {
            return Err(format!("reaches: {name:?} is not beside the sender on its bridge"));
        }
        reaches.extend(ends);
    }
    let name = format!("the frame from {} at line {}", from.id, claim.referenced.line());
    Ok(Crafted { name, from: from.id.clone(), spec, tag: outer, mark, reaches })
}

/// The frame with an inner tag: behind the outer one it is for nobody an IP packet or ARP.
fn behind_a_tag(spec: &FrameSpec, mark: Mark, tag: u16) -> FrameSpec {
    let frame = bytes(spec, mark);
    let rest = frame.get(12..).unwrap_or_default();
    let payload = Payload::Other { ether_type: TAGGED, bytes: [&tag.to_be_bytes(), rest].concat() };
    FrameSpec { source: spec.source, destination: spec.destination, payload }
}

impl Fields<'_> {
    fn spec(&mut self, kind: FrameKind, mark: Mark) -> Result<FrameSpec, String> {
        let own = self.from.address(Family::Ipv4);
        match kind {
            FrameKind::ArpAnnouncement => self.arp(1, own, own, None),
            FrameKind::ArpProbe => self.arp(1, Some(Ipv4Addr::UNSPECIFIED.into()), own, None),
            FrameKind::ArpReply => self.arp(2, own, self.to()?.address(Family::Ipv4), Some(self.to()?.mac)),
            FrameKind::ArpRequest => {
                let receiver = self.is_unicast().then_some(self.to()?.mac);
                self.arp(1, own, self.to()?.address(Family::Ipv4), receiver)
            }
            FrameKind::Dad => self.dad(mark),
            FrameKind::DhcpClient => self.dhcp_client(),
            FrameKind::DhcpServer => self.dhcp_server(),
            FrameKind::EchoRequest => {
                let kind = if self.family == Family::Ipv4 { 8 } else { 128 };
                let rest = [&[0, 7, 0, 1][..], &mark.bytes()].concat();
                self.packet(Transport::Icmp { kind, code: 0, rest })
            }
            FrameKind::Ether => {
                let mut bytes = mark.bytes().to_vec();
                bytes.resize(46, 0);
                let payload = Payload::Other { ether_type: self.ether_type(), bytes };
                let to = self.receiver().map_or(Mac([0xff; 6]), |to| to.mac);
                Ok(FrameSpec { source: self.source_mac()?, destination: self.destination_mac(to)?, payload })
            }
            FrameKind::MldReport => self.listener_report(mark),
            FrameKind::NeighbourAdvertisement => self.advertisement(mark),
            FrameKind::NeighbourSolicitation => self.solicitation(mark),
            FrameKind::RouterAdvertisement => self.router_advertisement(mark),
            FrameKind::RouterSolicitation => self.router_solicitation(mark),
            FrameKind::Tcp => {
                let (source_port, destination_port) = self.ports(mark.port(), 80);
                self.packet(Transport::Tcp { source_port, destination_port, flags: 2 })
            }
            FrameKind::TooBig => self.too_big(mark),
            FrameKind::Udp => {
                let (source_port, destination_port) = self.ports(mark.port(), 53);
                self.packet(Transport::Udp { source_port, destination_port })
            }
        }
    }

    /// An ARP packet to `receiver`, or to everybody.
    fn arp(
        &mut self,
        operation: u16,
        sender_ip: Option<IpAddr>,
        target_ip: Option<IpAddr>,
        receiver: Option<Mac>,
    ) -> Result<FrameSpec, String> {
        let payload = Payload::Arp {
            operation,
            sender_mac: self.sender_mac()?,
            sender_ip: self.sender_ip(sender_ip)?,
            target_mac: receiver.filter(|_| operation == 2).unwrap_or(Mac([0; 6])),
            target_ip: self.arp_target(target_ip)?,
        };
        let destination = self.destination_mac(receiver.unwrap_or(Mac([0xff; 6])))?;
        Ok(FrameSpec { source: self.source_mac()?, destination, payload })
    }

    /// An IP packet from the sender to `to`, or to everybody.
    fn packet(&mut self, transport: Transport) -> Result<FrameSpec, String> {
        let (family, own) = (self.family, self.from.address(self.family));
        let (mac, ip) = match self.receiver() {
            Some(to) => (to.mac, to.address(family)),
            None => (Mac([0xff; 6]), Some(Ipv4Addr::BROADCAST.into())),
        };
        self.between(own, (mac, ip), family, transport)
    }

    fn between(
        &mut self,
        own: Option<IpAddr>,
        (mac, ip): (Mac, Option<IpAddr>),
        family: Family,
        transport: Transport,
    ) -> Result<FrameSpec, String> {
        let source = self.source_ip(family, own)?;
        let payload = Payload::Ip { source, destination: self.destination_ip(family, ip)?, transport };
        Ok(FrameSpec { source: self.source_mac()?, destination: self.destination_mac(mac)?, payload })
    }

    /// Ports of RFC 2131 section 4.1 and RFC 8415 section 7.2, groups of RFC 8415 section 7.1.
    fn dhcp_client(&mut self) -> Result<FrameSpec, String> {
        if self.family == Family::Ipv4 {
            let (own, all) = (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into());
            let (source_port, destination_port) = self.ports(68, 67);
            let message = Transport::Udp { source_port, destination_port };
            return self.between(Some(own), (Mac([0xff; 6]), Some(all)), Family::Ipv4, message);
        }
        let agents = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
        let (source_port, destination_port) = self.ports(546, 547);
        let message = Transport::Udp { source_port, destination_port };
        let own = self.from.mac.link_local().into();
        let whom = (Mac([0x33, 0x33, 0, 1, 0, 2]), Some(agents.into()));
        self.between(Some(own), whom, Family::Ipv6, message)
    }

    fn dhcp_server(&mut self) -> Result<FrameSpec, String> {
        let to = self.to()?;
        if self.family == Family::Ipv4 {
            let (source_port, destination_port) = self.ports(67, 68);
            let message = Transport::Udp { source_port, destination_port };
            let own = self.from.address(Family::Ipv4);
            let whom = (to.mac, to.address(Family::Ipv4).or(Some(Ipv4Addr::BROADCAST.into())));
            return self.between(own, whom, Family::Ipv4, message);
        }
        let (source_port, destination_port) = self.ports(547, 546);
        let message = Transport::Udp { source_port, destination_port };
        let (own, whom) = (self.from.mac.link_local().into(), to.mac.link_local().into());
        self.between(Some(own), (to.mac, Some(whom)), Family::Ipv6, message)
    }

    /// The error says how large packets may be: RFC 1191 section 4, RFC 4443 section 3.2.
    fn too_big(&mut self, mark: Mark) -> Result<FrameSpec, String> {
        let (to, about) = (self.to()?, self.about()?);
        let source = to.address(self.family).ok_or_else(|| format!("to: {} has no such address", to.id))?;
        let (source_port, destination_port) = self.ports(mark.port(), 53);
        let datagram = Transport::Udp { source_port, destination_port };
        let nobody = Mac([0; 6]);
        let payload = Payload::Ip { source, destination: about, transport: datagram };
        let packet = FrameSpec { source: nobody, destination: nobody, payload }.bytes();
        let [high, low] = NARROW.to_be_bytes();
        let (kind, code) = if self.family == Family::Ipv4 { (3, 4) } else { (2, 0) };
        let packet = packet.get(14..).unwrap_or_default();
        let rest = [&[0, 0, high, low][..], packet, &mark.bytes()].concat();
        self.packet(Transport::Icmp { kind, code, rest })
    }
}
