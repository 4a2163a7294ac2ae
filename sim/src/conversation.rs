//! The frames of a probe that succeeds, as the model sends them.

use core::net::IpAddr;

use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::Mac;

use crate::probe::ProbeKind;

/// The client's port in the model; any unprivileged one would do.
const CLIENT_PORT: u16 = 40_001;
/// The low byte of the flags of a TCP segment: RFC 9293 section 3.1.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;
/// The length of an Ethernet header, in bytes.
const ETHERNET: usize = 14;

/// One end of a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    /// Its Ethernet address.
    pub(crate) mac: Mac,
    /// Its address of the probe's family, where that has any.
    pub(crate) address: Option<IpAddr>,
}

/// Which way a frame goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// From the receiver of the probe to its sender.
    Back,
    /// From the sender of the probe to its receiver.
    There,
}

/// The frames of a probe that succeeds, in order; `None` when an end has no address of the probe's family.
pub(crate) fn frames(kind: ProbeKind, from: End, to: End) -> Option<Vec<(Way, Vec<u8>)>> {
    let mut frames = Vec::new();
    for (way, payload) in conversation(kind, from, to)? {
        let (source, receiver) = match way {
            Way::Back => (to.mac, from.mac),
            Way::There => (from.mac, to.mac),
        };
        let request = matches!(payload, Payload::Arp { operation: 1, .. });
        let destination = if request { Mac([0xff; 6]) } else { receiver };
        let frame = FrameSpec { source, destination, payload }.bytes();
        if matches!(kind, ProbeKind::UdpBig(_)) {
            frames.extend(in_fragments(&frame)?.map(|fragment| (way, fragment)));
        } else {
            frames.push((way, frame));
        }
    }
    Some(frames)
}

/// The payloads of the frames of a probe that succeeds, in order.
fn conversation(kind: ProbeKind, from: End, to: End) -> Option<Vec<(Way, Payload)>> {
    match kind {
        ProbeKind::Arp => {
            let (Some(IpAddr::V4(sender_ip)), Some(IpAddr::V4(target_ip))) = (from.address, to.address)
            else {
                return None;
            };
            let (sender_mac, target_mac) = (from.mac, to.mac);
            let request =
                Payload::Arp { operation: 1, sender_mac, sender_ip, target_mac: Mac([0; 6]), target_ip };
            let reply = Payload::Arp {
                operation: 2,
                sender_mac: target_mac,
                sender_ip: target_ip,
                target_mac: sender_mac,
                target_ip: sender_ip,
            };
            Some(vec![(Way::There, request), (Way::Back, reply)])
        }
        ProbeKind::Ether(ether_type) => {
            let payload = Payload::Other { ether_type, bytes: vec![0; 46] };
            Some(vec![(Way::There, payload)])
        }
        ProbeKind::Icmp
        | ProbeKind::IcmpError(_)
        | ProbeKind::Sctp(_)
        | ProbeKind::Tcp(_)
        | ProbeKind::Udp(_)
        | ProbeKind::UdpBig(_) => {
            let (here, there) = (from.address?, to.address?);
            let payload = |(way, transport)| {
                let (source, destination) = match way {
                    Way::Back => (there, here),
                    Way::There => (here, there),
                };
                (way, Payload::Ip { source, destination, transport })
            };
            Some(packets(kind, here, there).into_iter().map(payload).collect())
        }
    }
}

/// What the packets of a probe over IP carry, in order.
fn packets(kind: ProbeKind, here: IpAddr, there: IpAddr) -> Vec<(Way, Transport)> {
    match kind {
        ProbeKind::Arp | ProbeKind::Ether(_) => Vec::new(),
        ProbeKind::Icmp => {
            let echo = |request| Transport::Echo { request, id: 7 };
            vec![(Way::There, echo(true)), (Way::Back, echo(false))]
        }
        ProbeKind::IcmpError(port) => {
            let question = Transport::Udp { source_port: CLIENT_PORT, destination_port: port };
            let refusal = port_unreachable(here, there, question.clone());
            vec![(Way::There, question), (Way::Back, refusal)]
        }
        ProbeKind::Sctp(port) => vec![
            (Way::There, Transport::Sctp { source_port: CLIENT_PORT, destination_port: port }),
            (Way::Back, Transport::Sctp { source_port: port, destination_port: CLIENT_PORT }),
        ],
        ProbeKind::Tcp(port) => {
            let there = |flags| {
                (Way::There, Transport::Tcp { source_port: CLIENT_PORT, destination_port: port, flags })
            };
            let back = |flags| {
                (Way::Back, Transport::Tcp { source_port: port, destination_port: CLIENT_PORT, flags })
            };
            vec![there(SYN), back(SYN | ACK), there(ACK), there(PSH | ACK), back(PSH | ACK)]
        }
        ProbeKind::Udp(port) | ProbeKind::UdpBig(port) => vec![
            (Way::There, Transport::Udp { source_port: CLIENT_PORT, destination_port: port }),
            (Way::Back, Transport::Udp { source_port: port, destination_port: CLIENT_PORT }),
        ],
    }
}

/// The ICMP error about a packet from `here` to a port of `there` where nobody listens: RFC 792 type 3 code 3, RFC 4443
/// type 1 code 4, each with four bytes of nothing and the packet.
fn port_unreachable(here: IpAddr, there: IpAddr, transport: Transport) -> Transport {
    let payload = Payload::Ip { source: here, destination: there, transport };
    let nobody = Mac([0; 6]);
    let packet = FrameSpec { source: nobody, destination: nobody, payload }.bytes();
    let rest = [0; 4].iter().chain(packet.iter().skip(ETHERNET)).copied().collect();
    let (kind, code) = if here.is_ipv4() { (3, 3) } else { (1, 4) };
    Transport::Icmp { kind, code, rest }
}

/// The two fragments into which a sender cuts a datagram when it carries more than one packet holds: one with the
/// transport's header, one behind it, both of a few bytes only.
fn in_fragments(frame: &[u8]) -> Option<[Vec<u8>; 2]> {
    /// Where the second fragment begins, in units of eight bytes.
    const OFFSET: u16 = 1;
    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
    let cut = |more: bool, offset: u16| {
        let mut fragment = ethernet.to_vec();
        fragment.extend(packet);
        if packet.first()? >> 4 == 4 {
            // RFC 791 section 3.1: the flag MF, and the offset.
            let flags = (u16::from(more) << 13) | offset;
            fragment.splice(ETHERNET + 6..ETHERNET + 8, flags.to_be_bytes());
        } else {
            // RFC 8200 section 4.5: a header of its own, the offset in its upper 13 bits.
            let next = *packet.get(6)?;
            let [high, low] = ((offset << 3) | u16::from(more)).to_be_bytes();
            fragment.splice(ETHERNET + 40..ETHERNET + 40, [next, 0, high, low, 0, 0, 0, 7]);
            let length = u16::try_from(packet.len().checked_sub(40)? + 8).ok()?;
            fragment.splice(ETHERNET + 4..ETHERNET + 6, length.to_be_bytes());
            fragment.splice(ETHERNET + 6..ETHERNET + 7, [44]);
        }
        Some(fragment)
    };
    Some([cut(true, 0)?, cut(false, OFFSET)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy_core::eval::{Decision, Flows, Passage, evaluate};
    use policy_core::ruleset::{
        BaseChain, Chain, ChainName, ChainSpec, Datum, Expr, Field, Hook, Rule, Ruleset, Verdict,
    };
    use test_case::test_case;

    /// Whether each frame of a conversation would be stopped by a rule for `value` in `field`.
    fn stopped(kind: ProbeKind, [here, there]: [&str; 2], field: Field, value: Datum) -> Vec<bool> {
        let base = Some(BaseChain { hook: Hook::Forward, priority: -200, drop_by_default: false });
        let rule = Rule {
            exprs: vec![Expr::is(field, value), Expr::Verdict(Verdict::Drop)],
            comment: String::new(),
        };
        let chain = Chain { spec: ChainSpec { base, comment: String::new() }, rules: vec![rule] };
        let ruleset = Ruleset { chains: [(ChainName::new("c"), chain)].into(), ..Ruleset::default() };
        let end = |text: &str| End { mac: Mac([2; 6]), address: text.parse().ok() };
        let frames = frames(kind, end(here), end(there)).expect("both have addresses");
        let dropped = frames.iter().map(|(_, frame)| {
            let passage =
                Passage { hook: Hook::Forward, input: Some(1), output: Some(2), bridge: None, frame };
            evaluate(&ruleset, &mut Flows::default(), &passage) == Decision::Drop
        });
        dropped.collect()
    }

    #[test_case(["10.0.0.1", "10.0.0.2"]; "ip4")]
    #[test_case(["fd00::1", "fd00::2"]; "ip6")]
    fn only_first_fragments_show_ports(ends: [&str; 2]) {
        let kind = ProbeKind::UdpBig(53);
        let by_port = stopped(kind, ends, Field::DestinationPort, Datum::Port(53));
        assert_eq!(by_port, [true, false, false, false]);
        assert_eq!(stopped(kind, ends, Field::TransportProtocol, Datum::Protocol(17)), [true; 4]);
    }

    #[test_case(["10.0.0.1", "10.0.0.2"], 1; "ip4")]
    #[test_case(["fd00::1", "fd00::2"], 58; "ip6")]
    fn the_error_about_a_datagram_is_another_protocol(ends: [&str; 2], icmp: u8) {
        let kind = ProbeKind::IcmpError(9);
        assert_eq!(stopped(kind, ends, Field::DestinationPort, Datum::Port(9)), [true, false]);
        assert_eq!(stopped(kind, ends, Field::TransportProtocol, Datum::Protocol(icmp)), [false, true]);
    }
}
