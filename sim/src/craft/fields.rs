//! The fields of a crafted frame: what its claim overrides, and what an honest sender would write.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy_core::model::Mac;

use super::format::{FrameClaim, Overrides};
use crate::claim::called;
use crate::plan::{Station, StationId};
use crate::probe::Family;

/// The values for the fields of one frame. Each override is taken out when it is used, so that what is left means nothing.
pub(super) struct Fields<'a> {
    stations: BTreeMap<StationId, &'a Station>,
    with: Overrides,
    /// Who sends.
    pub(super) from: &'a Station,
    to: Option<&'a Station>,
    /// Over which family, where a kind leaves the choice.
    pub(super) family: Family,
}

impl<'a> Fields<'a> {
    /// The values for `claim`, among the stations of its sender's bridge.
    pub(super) fn of(claim: &FrameClaim, stations: &'a BTreeMap<StationId, Station>) -> Result<Self, String> {
        let senders = called(stations, &claim.from).map_err(|reason| format!("from: {reason}"))?;
        let [from] = senders.as_slice() else {
            return Err(format!(
                "from: {:?} has several interfaces: write {:?}@INTERFACE",
                claim.from, claim.from
            ));
        };
        let from = stations.get(from).ok_or_else(|| format!("from: {from} is nowhere"))?;
        let near = stations.iter().filter(|(_, station)| station.can_craft_beside(from));
        let stations: BTreeMap<StationId, &Station> =
            near.map(|(id, station)| (id.clone(), station)).collect();
        let family = claim.family.unwrap_or(Family::Ipv4);
        let mut fields = Self { stations, with: claim.with.clone(), from, to: None, family };
        if let Some(to) = &claim.to {
            fields.to = Some(fields.station(to).map_err(|reason| format!("to: {reason}"))?);
        }
        Ok(fields)
    }

    /// Nothing may be overridden that the frame does not have.
    pub(super) fn end(self) -> Result<(), String> {
        match self.with.names().as_slice() {
            [] => Ok(()),
            left => Err(format!("with: a frame of this kind has no {}", left.join(", "))),
        }
    }

    /// The only station of that name on the bridge.
    fn station(&self, name: &str) -> Result<&'a Station, String> {
        match called(&self.stations, name)?.as_slice() {
            [id] => self.stations.get(id).copied().ok_or_else(|| format!("{id} is nowhere")),
            _ => Err(format!("{name:?} may be each of several stations")),
        }
    }

    /// Whom the frame is for.
    pub(super) fn to(&self) -> Result<&'a Station, String> {
        self.to.ok_or_else(|| "a frame of this kind needs `to`".to_owned())
    }

    /// Whom the frame is for, if anybody in particular.
    pub(super) const fn receiver(&self) -> Option<&'a Station> {
        self.to
    }

    fn mac(&self, name: &str, text: Option<String>, default: Mac) -> Result<Mac, String> {
        let Some(text) = text else { return Ok(default) };
        if text == "broadcast" {
            return Ok(Mac([0xff; 6]));
        }
        match text.parse() {
            Ok(mac) => Ok(mac),
            Err(_) => self
                .station(&text)
                .map(|station| station.mac)
                .map_err(|reason| format!("with: {name}: {reason}")),
        }
    }

    /// The source in the Ethernet header: the sender's own, unless overridden.
    pub(super) fn source_mac(&mut self) -> Result<Mac, String> {
        let text = self.with.source_mac.take();
        self.mac("source-mac", text, self.from.mac)
    }

    /// The destination in the Ethernet header.
    pub(super) fn destination_mac(&mut self, default: Mac) -> Result<Mac, String> {
        let text = self.with.destination_mac.take();
        self.mac("destination-mac", text, default)
    }

    /// Who the frame says has sent it, or has an address.
    pub(super) fn sender_mac(&mut self) -> Result<Mac, String> {
        let text = self.with.sender_mac.take();
        self.mac("sender-mac", text, self.from.mac)
    }

    /// Whether a question goes to one instead of a group.
    pub(super) const fn is_unicast(&mut self) -> bool {
        core::mem::replace(&mut self.with.unicast, false)
    }

    fn ip(
        &self,
        name: &str,
        text: Option<String>,
        family: Family,
        default: Option<IpAddr>,
    ) -> Result<IpAddr, String> {
        let found = match text {
            None => default.ok_or_else(|| format!("with: {name}: the station has no address of {family}")),
            Some(text) => text.parse().or_else(|_| {
                let address = self.station(&text).map(|station| station.address(family));
                let none = || format!("with: {name}: {text:?} has no address of {family}");
                address.map_err(|reason| format!("with: {name}: {reason}"))?.ok_or_else(none)
            }),
        }?;
        if found.is_ipv4() == (family == Family::Ipv4) {
            Ok(found)
        } else {
            Err(format!("with: {name}: {found} is not of {family}"))
        }
    }

    fn ip4(&self, name: &str, text: Option<String>, default: Option<IpAddr>) -> Result<Ipv4Addr, String> {
        match self.ip(name, text, Family::Ipv4, default)? {
            IpAddr::V4(address) => Ok(address),
            IpAddr::V6(address) => Err(format!("with: {name}: {address} is not of {}", Family::Ipv4)),
        }
    }

    /// The sender's address in ARP.
    pub(super) fn sender_ip(&mut self, default: Option<IpAddr>) -> Result<Ipv4Addr, String> {
        let text = self.with.sender_ip.take();
        self.ip4("sender-ip", text, default)
    }

    /// The target's address in ARP.
    pub(super) fn arp_target(&mut self, default: Option<IpAddr>) -> Result<Ipv4Addr, String> {
        let text = self.with.target_ip.take();
        self.ip4("target-ip", text, default)
    }

    /// The target's address in neighbour discovery.
    pub(super) fn target(&mut self, default: Option<IpAddr>) -> Result<Ipv6Addr, String> {
        let text = self.with.target_ip.take();
        match self.ip("target-ip", text, Family::Ipv6, default)? {
            IpAddr::V6(address) => Ok(address),
            IpAddr::V4(address) => Err(format!("with: target-ip: {address} is not of {}", Family::Ipv6)),
        }
    }

    /// The source in the IP header.
    pub(super) fn source_ip(&mut self, family: Family, default: Option<IpAddr>) -> Result<IpAddr, String> {
        let text = self.with.source_ip.take();
        self.ip("source-ip", text, family, default)
    }

    /// The destination in the IP header.
    pub(super) fn destination_ip(
        &mut self,
        family: Family,
        default: Option<IpAddr>,
    ) -> Result<IpAddr, String> {
        let text = self.with.destination_ip.take();
        self.ip("destination-ip", text, family, default)
    }

    /// Whom a datagram was sent to.
    pub(super) fn about(&mut self) -> Result<IpAddr, String> {
        let text = self.with.about.take();
        self.ip("about", text, self.family, None)
    }

    /// The ports, from source to destination.
    pub(super) fn ports(&mut self, source: u16, destination: u16) -> (u16, u16) {
        let own = self.with.source_port.take();
        (own.unwrap_or(source), self.with.destination_port.take().unwrap_or(destination))
    }

    /// The VLAN tags, the outer one first.
    pub(super) fn tags(&mut self) -> Result<[Option<u16>; 2], String> {
        let tags = core::mem::take(&mut self.with.tags);
        if tags.iter().any(|tag| !(1..=4094).contains(tag)) {
            return Err("with: tags: VLANs are from 1 to 4094".to_owned());
        }
        match *tags.as_slice() {
            [] => Ok([None, None]),
            [outer] => Ok([Some(outer), None]),
            [outer, inner] => Ok([Some(outer), Some(inner)]),
            _ => Err("with: tags: at most two".to_owned()),
        }
    }

    /// The type of an Ethernet frame.
    pub(super) fn ether_type(&mut self) -> u16 {
        self.with.ether_type.take().unwrap_or(0x88b5)
    }
}
