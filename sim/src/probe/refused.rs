//! Probes to a port where nobody listens: the datagram goes there, an ICMP error comes back.
//!
//! The errors are made and understood by the two kernels: RFC 792 "destination unreachable" code 3, RFC 4443 section
//! 3.1 code 4. A packet socket at the receiver notes that the datagram has arrived.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::ErrorKind::ConnectionRefused;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::packet::PacketSocket;
use super::receipts::Receipts;
use super::round::{Attempt, Place};
use super::socket::udp_socket;

/// How long to wait for the error before asking again.
const AGAIN: Duration = Duration::from_millis(250);
/// The number of UDP in an IP header.
const UDP: u8 = 17;

/// Notes the datagrams to `port` that arrive at `at`, until `tasks` ends.
pub(super) fn listen(at: &Place, port: u16, receipts: &Receipts, tasks: &mut JoinSet<()>) -> Result<()> {
    let socket = at.namespace.run(|| PacketSocket::open(&at.interface))??;
    let (own, receipts) = (at.mac, receipts.clone());
    tasks.spawn(async move {
        while let Ok(frame) = socket.receive().await {
            let datagram = datagram(&frame).filter(|(to, _)| *to == port && frame.starts_with(&own.0));
            if let Some(nonce) = datagram.and_then(|(_, data)| data.first_chunk()) {
                receipts.receive(*nonce);
            }
        }
    });
    Ok(())
}

/// The destination port and the data of a UDP datagram in one piece, in an IP packet without options.
fn datagram(frame: &[u8]) -> Option<(u16, &[u8])> {
    let (ether_type, packet) = frame.get(12..)?.split_first_chunk()?;
    let (protocol, header) = match u16::from_be_bytes(*ether_type) {
        0x0800 => (*packet.get(9)?, 20),
        0x86dd => (*packet.get(6)?, 40),
        _ => return None,
    };
    let datagram = packet.get(header..).filter(|_| protocol == UDP)?;
    let port = datagram.get(2..)?.first_chunk()?;
    Some((u16::from_be_bytes(*port), datagram.get(8..)?))
}

/// Sends a datagram until the error comes back.
pub(super) async fn send(attempt: &mut Attempt, port: u16) -> Result<()> {
    let socket = attempt.from.namespace.run(|| udp_socket(&attempt.from, 0))??;
    socket.connect(SocketAddr::new(attempt.to.address()?, port)).await?;
    let nonce = attempt.receipts.issue(&attempt.probe);
    let is_refusal = |error: std::io::Error| error.kind() == ConnectionRefused;
    loop {
        let again = Instant::now() + AGAIN;
        // Whichever call comes next is told of the error. Others are a neighbour that has not answered.
        let sent = socket.send(&nonce).await;
        attempt.sent();
        let received = timeout_at(again, socket.recv(&mut [0])).await;
        if sent.is_err_and(is_refusal) || received.is_ok_and(|received| received.is_err_and(is_refusal)) {
            return Ok(());
        }
        sleep_until(again).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;
    use policy_core::frame::{FrameSpec, Payload, Transport};
    use policy_core::model::Mac;
    use test_case::test_case;

    #[test_case("10.0.0.1", "10.0.0.2"; "ip4")]
    #[test_case("fd00::1", "fd00::2"; "ip6")]
    fn a_datagram_is_found_behind_either_header(source: &str, destination: &str) {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let frame = |transport| {
            let payload =
                Payload::Ip { source: address(source), destination: address(destination), transport };
            let mut frame = FrameSpec { source: Mac([2; 6]), destination: Mac([4; 6]), payload }.bytes();
            frame.extend(b"data");
            frame
        };
        let udp = frame(Transport::Udp { source_port: 1, destination_port: 9 });
        assert_eq!(datagram(&udp), Some((9, &b"data"[..])));
        assert_eq!(datagram(&frame(Transport::Sctp { source_port: 1, destination_port: 9 })), None);
    }
}
