//! The oracle on the guard: what a port with an owner may send with, from the contract's words.

use std::net::{IpAddr, Ipv6Addr};

use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::{Guard, Mac};

use crate::oracle::{Oracle, eui64};

impl Oracle<'_> {
    /// What the guard has against a frame that came in by `port`, if anything.
    pub(crate) fn breach(&self, port: u32, frame: &FrameSpec) -> Option<&'static str> {
        let owners = self.owners(self.port(port)?);
        let (_, attachment) = owners.first()?;
        let guard = self.bridge(attachment)?.guard.or(self.config.guard)?;
        let mac = attachment.mac?;
        if frame.source != mac {
            return Some("guard: mac");
        }
        let own: Vec<IpAddr> = attachment.addresses.iter().copied().chain([eui64(mac).into()]).collect();
        // Of an attachment without known addresses, none can be called foreign.
        let addresses = guard == Guard::MacIp && !attachment.addresses.is_empty();
        let foreign = |address: IpAddr| addresses && !own.contains(&address);
        match &frame.payload {
            Payload::Arp { operation, sender_mac, sender_ip, .. } => {
                let probe = *operation == 1 && sender_ip.is_unspecified();
                let breach = *sender_mac != mac || !probe && foreign((*sender_ip).into());
                breach.then_some("guard: arp sender")
            }
            Payload::Ip { source: IpAddr::V4(source), transport, .. } => {
                let client = Transport::Udp { source_port: 68, destination_port: 67 };
                let asks = source.is_unspecified() && *transport == client;
                (!asks && foreign((*source).into())).then_some("guard: address")
            }
            Payload::Ip { source: IpAddr::V6(source), transport, .. } => {
                if let Transport::Icmp { kind, rest, .. } = transport
                    && let Some(breach) = neighbourly(*kind, rest, mac, foreign)
                {
                    return Some(breach);
                }
                let early = source.is_unspecified()
                    && matches!(transport, Transport::Icmp { kind: 131 | 132 | 133 | 135 | 143, .. });
                (!early && foreign((*source).into())).then_some("guard: address")
            }
            Payload::Other { .. } => None,
        }
    }
}

/// What is wrong inside a message of neighbour discovery; `rest` is what follows its checksum.
fn neighbourly(kind: u8, rest: &[u8], mac: Mac, foreign: impl Fn(IpAddr) -> bool) -> Option<&'static str> {
    let option = rest.get(20).copied();
    let address = rest.get(22..28);
    let told = match kind {
        134 => return Some("guard: router advertisement"),
        135 => Some(1),
        136 => Some(2),
        _ => None,
    };
    let lies = told.is_some() && option == told && address != Some(&mac.0[..]);
    let target = rest.get(4..20).map(|bytes| Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap()));
    let speaks_for_another = kind == 136 && target.is_some_and(|target| foreign(target.into()));
    (lies || speaks_for_another).then_some("guard: nd")
}
