//! Built frames against the standards: lengths, numbers and checksums, summed here a second time.

use std::net::IpAddr;

use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::Mac;
use test_case::test_case;

use crate::build::mac;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A packet between two addresses of one family.
pub(crate) fn packet(ip6: bool, transport: Transport) -> Vec<u8> {
    let (source, destination) = if ip6 { ("fd00::1", "fd00::2") } else { ("10.0.0.1", "10.0.0.2") };
    let payload = Payload::Ip { source: address(source), destination: address(destination), transport };
    FrameSpec { source: mac(1), destination: mac(2), payload }.bytes()
}

/// The Internet checksum's sum: all ones over a range that holds its own checksum (RFC 1071).
fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u64::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// The pseudo-header of `protocol` over the transport bytes: RFC 9293 section 3.1, RFC 8200 section 8.1.
fn pseudo(frame: &[u8], ip6: bool, protocol: u8, bytes: usize) -> Vec<u8> {
    let addresses = if ip6 { &frame[22..54] } else { &frame[26..34] };
    let length = u32::try_from(bytes).unwrap().to_be_bytes();
    [addresses, &length, &[0, 0, 0, protocol]].concat()
}

const TCP: Transport = Transport::Tcp { source_port: 40_000, destination_port: 80, flags: 2 };
const UDP: Transport = Transport::Udp { source_port: 40_000, destination_port: 53 };
const PING: Transport = Transport::Echo { request: true, id: 0xbeef };

fn unreachable() -> Transport {
    Transport::Icmp { kind: 3, code: 1, rest: vec![1, 2, 3] }
}

#[test_case(false, TCP, 6; "tcp over version 4")]
#[test_case(true, TCP, 6; "tcp over version 6")]
#[test_case(false, UDP, 17; "udp over version 4")]
#[test_case(true, UDP, 17; "udp over version 6")]
#[test_case(true, PING, 58; "ping over version 6")]
#[test_case(true, unreachable(), 58; "an odd number of bytes over version 6")]
fn transport_checksum_covers_the_addresses(ip6: bool, transport: Transport, protocol: u8) {
    let frame = packet(ip6, transport);
    let transport = &frame[if ip6 { 54 } else { 34 }..];
    assert_eq!(frame[if ip6 { 20 } else { 23 }], protocol);
    assert_eq!(sum(&[&pseudo(&frame, ip6, protocol, transport.len()), transport]), 0xffff);
}

#[test_case(PING; "ping")]
#[test_case(unreachable(); "an error")]
fn icmp_checksum_covers_the_message_alone(transport: Transport) {
    let frame = packet(false, transport);
    assert_eq!(frame[23], 1);
    assert_eq!(sum(&[&frame[34..]]), 0xffff);
}

#[test_case(TCP, 20; "tcp")]
#[test_case(UDP, 8; "udp")]
#[test_case(Transport::Sctp { source_port: 1, destination_port: 2 }, 12; "sctp")]
#[test_case(Transport::Other(47), 8; "another protocol")]
#[test_case(PING, 8; "ping")]
fn lengths_and_the_header_checksum_hold(transport: Transport, bytes: u8) {
    let frame = packet(false, transport.clone());
    assert_eq!(frame[12..14], [0x08, 0x00]);
    assert_eq!(frame[14..18], [0x45, 0, 0, 20 + bytes]);
    assert_eq!(frame.len(), 14 + 20 + usize::from(bytes));
    assert_eq!(sum(&[&frame[14..34]]), 0xffff);
    let frame = packet(true, transport);
    assert_eq!(frame[12..14], [0x86, 0xdd]);
    assert_eq!(frame[14..20], [0x60, 0, 0, 0, 0, bytes]);
    assert_eq!(frame[21], 255, "neighbour discovery demands this hop limit");
    assert_eq!(frame.len(), 14 + 40 + usize::from(bytes));
}

#[test_case(false, true, 8; "request of version 4")]
#[test_case(false, false, 0; "reply of version 4")]
#[test_case(true, true, 128; "request of version 6")]
#[test_case(true, false, 129; "reply of version 6")]
fn ping_has_its_type_and_identifier(ip6: bool, request: bool, kind: u8) {
    let frame = packet(ip6, Transport::Echo { request, id: 0xbeef });
    let message = &frame[if ip6 { 54 } else { 34 }..];
    assert_eq!((message[0], message[1], &message[4..6]), (kind, 0, &[0xbe, 0xef][..]));
}

#[test]
fn arp_is_laid_out_as_rfc_826_says() {
    let payload = Payload::Arp {
        operation: 1,
        sender_mac: mac(1),
        sender_ip: [10, 0, 0, 1].into(),
        target_mac: Mac([0; 6]),
        target_ip: [10, 0, 0, 2].into(),
    };
    let frame = FrameSpec { source: mac(1), destination: Mac([0xff; 6]), payload }.bytes();
    let wanted = [
        &[0xff; 6][..],
        &[2, 0, 0, 0, 0, 1],
        &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1],
        &[2, 0, 0, 0, 0, 1, 10, 0, 0, 1],
        &[0, 0, 0, 0, 0, 0, 10, 0, 0, 2],
    ];
    assert_eq!(frame, wanted.concat());
}

#[test]
fn another_payload_follows_its_ethernet_type() {
    let payload = Payload::Other { ether_type: 0x88cc, bytes: vec![1, 2] };
    let frame = FrameSpec { source: mac(1), destination: mac(2), payload }.bytes();
    assert_eq!(frame[12..], [0x88, 0xcc, 1, 2]);
}

/// Nobody can say what a packet between two families is, so the frame ends where it would begin.
#[test_case("10.0.0.1", "fd00::1"; "from version 4 to 6")]
#[test_case("fd00::1", "10.0.0.1"; "from version 6 to 4")]
fn no_packet_goes_from_one_family_to_the_other(from: &str, to: &str) {
    let payload = Payload::Ip { source: address(from), destination: address(to), transport: TCP };
    let frame = FrameSpec { source: mac(1), destination: mac(2), payload }.bytes();
    assert_eq!(frame.len(), 12);
}
