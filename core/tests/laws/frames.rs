//! Random frames between the ends of a random world, and what a ruleset does with them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::oracle::Oracle;
use crate::source::Source;
use crate::worlds;
use policy_core::eval::{Decision, Flows, Passage, PortBridge, evaluate};
use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::{Attachment, Mac, Object};
use policy_core::ruleset::{Hook, Ruleset};

fn transport(source: &mut Source<'_>) -> Transport {
    let (source_port, destination_port) = (*source.pick(&worlds::PORTS), *source.pick(&worlds::PORTS));
    match source.below(12) {
        0..=3 => Transport::Tcp { source_port, destination_port, flags: 2 },
        4..=6 => Transport::Udp { source_port, destination_port },
        7..=8 => Transport::Sctp { source_port, destination_port },
        9 => Transport::Echo { request: true, id: 7 },
        10 => Transport::Icmp { kind: *source.pick(&[3, 11]), code: 0, rest: vec![0; 20] },
        _ => Transport::Other(*source.pick(&[47, 50, 89, 112])),
    }
}

/// One end of a frame: a MAC and addresses, mostly those of an attachment that exists.
fn end(source: &mut Source<'_>, objects: &[Object]) -> (Mac, Vec<IpAddr>) {
    let attachments: Vec<&Attachment> = objects
        .iter()
        .filter_map(|object| if let Object::Pod(pod) = object { Some(&pod.attachments) } else { None })
        .flatten()
        .collect();
    if attachments.is_empty() || source.chance(1, 5) {
        return (worlds::mac(source), vec![worlds::address(source), worlds::address(source)]);
    }
    let attachment = *source.pick(&attachments);
    let mac = attachment.mac.unwrap_or_else(|| worlds::mac(source));
    let mut addresses = attachment.addresses.clone();
    addresses.push(if source.chance(1, 2) { mac.link_local().into() } else { worlds::address(source) });
    (mac, addresses)
}

/// A random frame between two ends.
pub(crate) fn frame(source: &mut Source<'_>, objects: &[Object]) -> FrameSpec {
    let (sender, sender_addresses) = end(source, objects);
    let (receiver, receiver_addresses) = end(source, objects);
    let from = *source.pick(&sender_addresses);
    let to = receiver_addresses.iter().copied().find(|to| to.is_ipv4() == from.is_ipv4());
    let group = source.chance(1, 8);
    let discovery = source.chance(1, 3);
    let (payload, group) = match (source.below(16), to) {
        (0, _) | (_, None) if !discovery => {
            let ether_type = *source.pick(&[0x88cc, 0x1234, 0x8847]);
            (Payload::Other { ether_type, bytes: vec![0; 46] }, group)
        }
        (_, Some(IpAddr::V6(to))) if discovery => neighbour_discovery(source, sender, from, to),
        _ if discovery => arp(source, (sender, &sender_addresses), &receiver_addresses),
        (_, to) => {
            let destination = to.unwrap_or(from);
            (Payload::Ip { source: from, destination, transport: transport(source) }, group)
        }
    };
    let destination = if group { Mac([0x33, 0x33, 0xff, 0, 0, 1]) } else { receiver };
    FrameSpec { source: sender, destination, payload }
}

/// An ARP packet, and whether it is for everybody.
fn arp(source: &mut Source<'_>, sender: (Mac, &[IpAddr]), receiver: &[IpAddr]) -> (Payload, bool) {
    let ip4 = |source: &mut Source<'_>, addresses: &[IpAddr]| {
        let listed = addresses
            .iter()
            .find_map(|address| if let IpAddr::V4(address) = address { Some(*address) } else { None });
        listed.unwrap_or_else(|| *source.pick(&[Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)]))
    };
    let sender_ip = if source.chance(1, 6) { Ipv4Addr::UNSPECIFIED } else { ip4(source, sender.1) };
    let target_ip = if source.chance(1, 6) { sender_ip } else { ip4(source, receiver) };
    let operation = if source.chance(2, 3) { 1 } else { 2 };
    let sender_mac = if source.chance(1, 6) { worlds::mac(source) } else { sender.0 };
    let payload = Payload::Arp { operation, sender_mac, sender_ip, target_mac: Mac([0; 6]), target_ip };
    (payload, source.chance(1, 2))
}

/// A message of neighbour discovery or listener discovery, and whether it is for everybody.
fn neighbour_discovery(source: &mut Source<'_>, sender: Mac, from: IpAddr, to: Ipv6Addr) -> (Payload, bool) {
    let kind = *source.pick(&[131, 132, 133, 134, 135, 135, 135, 135, 136, 136, 136, 137, 143]);
    let group = source.chance(1, 2);
    let solicited =
        Ipv6Addr::from_bits(0xff02_0000_0000_0000_0000_0001_ff00_0000 | to.to_bits() & 0x00ff_ffff);
    let destination = match (group, kind) {
        (true, 135) => solicited,
        (true, _) => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        (false, _) => to,
    };
    let target = match from {
        IpAddr::V6(from) if source.chance(1, 2) => from,
        IpAddr::V4(_) | IpAddr::V6(_) => to,
    };
    let from = match from {
        IpAddr::V6(from) if !source.chance(1, 6) => from,
        IpAddr::V4(_) | IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED,
    };
    let mut rest: Vec<u8> = [0; 4].into_iter().chain(target.octets()).collect();
    if source.chance(1, 2) {
        let option = *source.pick(&[1, 2, 14]);
        let address = if source.chance(1, 2) { sender } else { worlds::mac(source) };
        rest.extend([option, 1].into_iter().chain(address.0));
    }
    let transport = Transport::Icmp { kind, code: 0, rest };
    (Payload::Ip { source: from.into(), destination: destination.into(), transport }, group)
}

/// What the compiled ruleset does with a frame.
pub(crate) fn evaluated(
    oracle: &Oracle<'_>,
    ruleset: &Ruleset,
    from: Option<u32>,
    to: u32,
    bytes: &[u8],
) -> (bool, bool) {
    let passes = |hook, input, output: Option<u32>| {
        // A frame may cross from any port to any other here, so each hook is asked about the bridge of the port it judges.
        let port = output.or(input).and_then(|index| oracle.port(index));
        let bridge = port.map(|port| PortBridge { name: &port.bridge, vlan: 1 });
        let passage = Passage { hook, input, output, bridge, frame: bytes };
        evaluate(ruleset, &mut Flows::default(), &passage) == Decision::Accept
    };
    match from {
        Some(from) => {
            (passes(Hook::Prerouting, Some(from), None), passes(Hook::Forward, Some(from), Some(to)))
        }
        None => (true, passes(Hook::Output, None, Some(to))),
    }
}
