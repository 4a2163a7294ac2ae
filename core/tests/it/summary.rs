//! What the beginning of a frame tells.

use policy_core::frame::{FrameSpec, Payload, Summary, Transport};
use test_case::test_case;

use crate::build::mac;

/// What is read of a frame's first `bytes` bytes behind the Ethernet header, and of all of it.
fn summary(payload: Payload, bytes: usize) -> Summary {
    let frame = FrameSpec { source: mac(1), destination: mac(2), payload }.bytes();
    let (header, rest) = frame.split_at(14);
    let ether_type = u16::from_be_bytes([header[12], header[13]]);
    Summary::read(ether_type, &rest[..rest.len().min(bytes)])
}

fn ip(source: &str, destination: &str, transport: Transport) -> Payload {
    Payload::Ip { source: source.parse().unwrap(), destination: destination.parse().unwrap(), transport }
}

const TCP: Transport = Transport::Tcp { source_port: 4000, destination_port: 80, flags: 2 };
const PING: Transport = Transport::Echo { request: true, id: 7 };

#[test_case("10.0.0.1", "10.0.0.2", TCP, 6, Some((4000, 80)), None; "tcp over ip4")]
#[test_case("fd00::1", "fd00::2", TCP, 6, Some((4000, 80)), None; "tcp over ip6")]
#[test_case("10.0.0.1", "10.0.0.2", Transport::Udp { source_port: 1, destination_port: 2 }, 17, Some((1, 2)), None; "udp")]
#[test_case("10.0.0.1", "10.0.0.2", Transport::Sctp { source_port: 1, destination_port: 2 }, 132, Some((1, 2)), None; "sctp")]
#[test_case("10.0.0.1", "10.0.0.2", PING, 1, None, Some((8, 0)); "ping over ip4")]
#[test_case("fd00::1", "fd00::2", PING, 58, None, Some((128, 0)); "ping over ip6")]
#[test_case("10.0.0.1", "10.0.0.2", Transport::Other(47), 47, None, None; "another protocol")]
fn packets_are_read(
    from: &str,
    to: &str,
    transport: Transport,
    protocol: u8,
    ports: Option<(u16, u16)>,
    icmp: Option<(u8, u8)>,
) {
    let read = summary(ip(from, to, transport), usize::MAX);
    assert_eq!((read.source, read.destination), (from.parse().ok(), to.parse().ok()));
    assert_eq!((read.protocol, read.ports, read.icmp, read.arp), (Some(protocol), ports, icmp, None));
}

#[test_case(24, Some(80); "ports are there")]
#[test_case(23, None; "a port is cut off")]
fn packet_that_is_cut_off_is_read_as_far_as_it_goes(bytes: usize, port: Option<u16>) {
    let read = summary(ip("10.0.0.1", "10.0.0.2", TCP), bytes);
    assert_eq!(read.source, "10.0.0.1".parse().ok());
    assert_eq!(read.ports.map(|(_, to)| to), port);
}

#[test]
fn every_length_of_every_frame_is_read() {
    let arp = Payload::Arp {
        operation: 1,
        sender_mac: mac(1),
        sender_ip: [10, 0, 0, 1].into(),
        target_mac: mac(0),
        target_ip: [10, 0, 0, 2].into(),
    };
    let payloads = [ip("10.0.0.1", "10.0.0.2", TCP), ip("fd00::1", "fd00::2", PING), arp];
    for payload in payloads {
        let whole = summary(payload.clone(), usize::MAX);
        for bytes in 0..100 {
            let part = summary(payload.clone(), bytes);
            // What is read of a part is never something else.
            assert!(part.source.is_none() || part.source == whole.source);
            assert!(part.ports.is_none() || part.ports == whole.ports);
            assert!(part.icmp.is_none() || part.icmp == whole.icmp);
            assert!(part.arp.is_none() || part.arp == whole.arp);
        }
    }
}

#[test]
fn arp_says_who_asks_for_whom() {
    let payload = Payload::Arp {
        operation: 2,
        sender_mac: mac(1),
        sender_ip: [10, 0, 0, 1].into(),
        target_mac: mac(2),
        target_ip: [10, 0, 0, 2].into(),
    };
    let read = summary(payload, usize::MAX);
    assert_eq!((read.arp, read.protocol), (Some(2), None));
    assert_eq!((read.source, read.destination), ("10.0.0.1".parse().ok(), "10.0.0.2".parse().ok()));
}

#[test]
fn tag_is_looked_behind_and_another_one_is_not() {
    let packet = [0, 30, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    let read = Summary::read(0x8100, &packet);
    assert_eq!((read.ether_type, read.arp), (0x0806, Some(1)));
    assert_eq!(Summary::read(0x8100, &[0, 30, 0x81, 0]).ether_type, 0x8100);
    assert_eq!(Summary::read(0x8100, &[0]), Summary { ether_type: 0x8100, ..Summary::default() });
}

#[test]
fn later_fragment_has_a_protocol_and_no_ports() {
    let frame = FrameSpec { source: mac(1), destination: mac(2), payload: ip("10.0.0.1", "10.0.0.2", TCP) };
    let mut packet = frame.bytes().split_off(14);
    packet[7] = 1;
    let read = Summary::read(0x0800, &packet);
    assert_eq!((read.protocol, read.ports), (Some(6), None));
    // Over IPv6, with a header for the fragment: offset 8, more to come.
    let frame = FrameSpec { payload: ip("fd00::1", "fd00::2", TCP), ..frame };
    let mut packet = frame.bytes().split_off(14);
    packet[6] = 44;
    for (offset, ports) in [(8, None), (0, Some((4000, 80)))] {
        let mut fragment = packet.clone();
        fragment.splice(40..40, [6, 0, 0, offset | 1, 0, 0, 0, 7]);
        let read = Summary::read(0x86dd, &fragment);
        assert_eq!((read.protocol, read.ports), (Some(6), ports));
    }
}
