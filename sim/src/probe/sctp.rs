//! SCTP probes: the first two packets of an association, RFC 9260 section 5.1, over raw IP sockets.
//!
//! Kernels without SCTP can send and hear them, and resolve the addresses like those of any other packet. There is no
//! third packet: the association does not come about.

use core::net::SocketAddr;
use core::time::Duration;

use anyhow::Result;
use crc::{CRC_32_ISCSI, Crc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::receipts::{Nonce, Receipts, answer};
use super::round::{Attempt, Place};
use super::socket::{sctp_socket, udp_socket};

/// How long to wait for an answer before asking again.
const AGAIN: Duration = Duration::from_millis(250);
/// The longest packet that is read, in bytes.
const LONGEST: usize = 2048;
/// The checksum of SCTP packets: RFC 9260 appendix A.
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Which of the two packets it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// INIT, RFC 9260 section 3.3.2.
    Init,
    /// INIT ACK, RFC 9260 section 3.3.3.
    InitAck,
}

impl Kind {
    const fn chunk_type(self) -> u8 {
        match self {
            Self::Init => 1,
            Self::InitAck => 2,
        }
    }

    /// The type of the parameter that carries the nonce: one that must be skipped in silence (RFC 9260 section 3.2.1),
    /// and the state cookie.
    const fn parameter_type(self) -> u16 {
        match self {
            Self::Init => 0xbffe,
            Self::InitAck => 7,
        }
    }
}

/// A packet with one chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Packet {
    source_port: u16,
    destination_port: u16,
    /// The tag that the receiver knows itself by: RFC 9260 section 8.5.
    verification_tag: u32,
    kind: Kind,
    /// The tag that the sender will know itself by.
    tag: u32,
    nonce: Nonce,
}

impl Packet {
    fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(44);
        bytes.extend(self.source_port.to_be_bytes());
        bytes.extend(self.destination_port.to_be_bytes());
        bytes.extend(self.verification_tag.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend([self.kind.chunk_type(), 0, 0, 32]);
        bytes.extend(self.tag.to_be_bytes());
        // The receiver's window of 64 KiB, one stream each way, the first sequence number.
        bytes.extend([0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
        bytes.extend(self.kind.parameter_type().to_be_bytes());
        bytes.extend([0, 12]);
        bytes.extend(self.nonce);
        // The only number of the protocol that goes out with its low byte first.
        let checksum = CRC32C.checksum(&bytes).to_le_bytes();
        bytes.splice(8..12, checksum);
        bytes
    }

    /// Reads what [`Self::bytes`] has written.
    fn read(bytes: &[u8]) -> Option<Self> {
        let u16_at = |at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let u32_at = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let kind = [Kind::Init, Kind::InitAck];
        let packet = Self {
            source_port: u16_at(0)?,
            destination_port: u16_at(2)?,
            verification_tag: u32_at(4)?,
            kind: kind.into_iter().find(|kind| bytes.get(12) == Some(&kind.chunk_type()))?,
            tag: u32_at(16)?,
            nonce: *bytes.get(36..)?.first_chunk()?,
        };
        (packet.bytes() == bytes).then_some(packet)
    }
}

/// What a raw socket hands over of an IPv4 packet begins with the IP header, of an IPv6 packet behind it: raw(7),
/// ipv6(7).
fn transport(packet: &[u8], from: SocketAddr) -> Option<&[u8]> {
    match from {
        SocketAddr::V4(_) => packet.get(usize::from(packet.first()? & 0x0f) * 4..),
        SocketAddr::V6(_) => Some(packet),
    }
}

/// Answers SCTP probes to `port` until `tasks` ends.
pub(super) fn listen(at: &Place, port: u16, receipts: &Receipts, tasks: &mut JoinSet<()>) -> Result<()> {
    let socket = at.namespace.run(|| sctp_socket(at))??;
    let receipts = receipts.clone();
    tasks.spawn(async move {
        let mut bytes = vec![0; LONGEST];
        loop {
            // An error belongs to an answer sent earlier; the socket goes on.
            let Ok((length, sender)) = socket.recv_from(&mut bytes).await else { continue };
            let packet = bytes.get(..length).and_then(|bytes| transport(bytes, sender));
            let init = packet
                .and_then(Packet::read)
                .filter(|packet| (packet.kind, packet.destination_port) == (Kind::Init, port));
            let Some(init) = init else { continue };
            receipts.receive(init.nonce);
            let reply = Packet {
                source_port: init.destination_port,
                destination_port: init.source_port,
                verification_tag: init.tag,
                kind: Kind::InitAck,
                tag: !init.tag,
                nonce: answer(init.nonce),
            };
            drop(socket.send_to(&reply.bytes(), sender).await);
        }
    });
    Ok(())
}

/// Sends an INIT until it is acknowledged.
pub(super) async fn send(attempt: &mut Attempt, port: u16) -> Result<()> {
    let from = &attempt.from;
    let socket = from.namespace.run(|| sctp_socket(from))??;
    // The kernel gives every UDP socket of an address another port: these numbers are free.
    let reservation = from.namespace.run(|| udp_socket(from, 0))??;
    let nonce = attempt.receipts.issue(&attempt.probe);
    let init = Packet {
        source_port: reservation.local_addr()?.port(),
        destination_port: port,
        verification_tag: 0,
        kind: Kind::Init,
        tag: u32::from(port) << 16 | 1,
        nonce,
    };
    let is_answer = |packet: Packet| {
        packet.kind == Kind::InitAck
            && (packet.source_port, packet.destination_port) == (init.destination_port, init.source_port)
            && (packet.verification_tag, packet.nonce) == (init.tag, answer(nonce))
    };
    let to = SocketAddr::new(attempt.to.address()?, 0);
    let mut bytes = vec![0; LONGEST];
    loop {
        let again = Instant::now() + AGAIN;
        // An error is a failed neighbour discovery for an earlier packet: the next one may pass.
        drop(socket.send_to(&init.bytes(), to).await);
        attempt.sent();
        while let Ok(received) = timeout_at(again, socket.recv_from(&mut bytes)).await {
            let Ok((length, sender)) = received else { continue };
            let packet = bytes.get(..length).and_then(|bytes| transport(bytes, sender));
            if packet.and_then(Packet::read).is_some_and(is_answer) {
                return Ok(());
            }
        }
        sleep_until(again).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> Packet {
        Packet {
            source_port: 40_000,
            destination_port: 3868,
            verification_tag: 0,
            kind: Kind::Init,
            tag: 7,
            nonce: *b"a number",
        }
    }

    #[test]
    fn a_packet_is_read_as_it_was_written() {
        let ack = Packet { kind: Kind::InitAck, verification_tag: 7, ..packet() };
        for packet in [packet(), ack] {
            assert_eq!(Packet::read(&packet.bytes()), Some(packet));
        }
    }

    #[test]
    fn a_packet_with_a_wrong_checksum_is_none() {
        let mut bytes = packet().bytes();
        *bytes.last_mut().expect("it has bytes") ^= 1;
        assert_eq!(Packet::read(&bytes), None);
    }

    /// The check value of the checksum's definition, low byte first: RFC 3720 appendix B.4 has the same for 32 zeros.
    #[test]
    fn the_checksum_is_crc32c() {
        assert_eq!(CRC32C.checksum(&[0; 32]).to_le_bytes(), [0xaa, 0x36, 0x91, 0x8a]);
    }

    #[test]
    fn the_header_of_ip4_is_skipped() {
        let from4 = SocketAddr::from(([10, 0, 0, 1], 0));
        let ip4 = [&[0x46; 24][..], b"sctp"].concat();
        assert_eq!(transport(&ip4, from4), Some(&b"sctp"[..]));
        assert_eq!(transport(b"sctp", "[fd00::1]:0".parse().expect("an address")), Some(&b"sctp"[..]));
    }
}
