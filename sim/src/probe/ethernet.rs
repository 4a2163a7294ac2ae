//! Probes straight over Ethernet: a frame that is neither IP nor ARP, to the far end's address.
//!
//! Nothing makes one such frame the answer to another, so the probe is one frame, and open means that it arrived; the
//! other way is a probe of its own.

use core::time::Duration;

use anyhow::Result;
use policy_core::model::Mac;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::packet::PacketSocket;
use super::receipts::{Nonce, Receipts};
use super::round::{Attempt, Place};

/// How long to wait for the frame to arrive before sending it again.
const AGAIN: Duration = Duration::from_millis(250);
/// The least length of an Ethernet frame without its check sequence, in bytes: IEEE 802.3 section 3.2.8.
const SHORTEST: usize = 60;

/// What a frame of a probe says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Message {
    destination: Mac,
    ether_type: u16,
    nonce: Nonce,
}

impl Message {
    fn bytes(self, source: Mac) -> Vec<u8> {
        let mut frame = Vec::with_capacity(SHORTEST);
        frame.extend(self.destination.0);
        frame.extend(source.0);
        frame.extend(self.ether_type.to_be_bytes());
        frame.extend(self.nonce);
        frame.resize(SHORTEST, 0);
        frame
    }

    fn read(frame: &[u8]) -> Option<Self> {
        let destination = Mac(*frame.first_chunk()?);
        let ether_type = u16::from_be_bytes(*frame.get(12..)?.first_chunk()?);
        Some(Self { destination, ether_type, nonce: *frame.get(14..)?.first_chunk()? })
    }
}

/// Notes frames of type `ether_type` that are for `at`, until `tasks` ends.
pub(super) fn listen(
    at: &Place,
    ether_type: u16,
    receipts: &Receipts,
    tasks: &mut JoinSet<()>,
) -> Result<()> {
    let socket = at.namespace.run(|| PacketSocket::open(&at.interface))??;
    let (own, receipts) = (at.mac, receipts.clone());
    tasks.spawn(async move {
        while let Ok(frame) = socket.receive().await {
            let message = Message::read(&frame);
            let message =
                message.filter(|message| (message.destination, message.ether_type) == (own, ether_type));
            if let Some(Message { nonce, .. }) = message {
                receipts.receive(nonce);
            }
        }
    });
    Ok(())
}

/// Sends a frame of type `ether_type` until it has arrived.
pub(super) async fn send(attempt: &mut Attempt, ether_type: u16) -> Result<()> {
    let from = &attempt.from;
    let socket = from.namespace.run(|| PacketSocket::open(&from.interface))??;
    let nonce = attempt.receipts.issue(&attempt.probe);
    let frame = Message { destination: attempt.to.mac, ether_type, nonce }.bytes(from.mac);
    loop {
        let again = Instant::now() + AGAIN;
        socket.send(&frame).await?;
        attempt.sent();
        if timeout_at(again, attempt.receipts.arrival(nonce)).await.is_ok() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let message =
            Message { destination: Mac([2, 0, 0, 0, 0, 1]), ether_type: 0x88b5, nonce: *b"a number" };
        let frame = message.bytes(Mac([2, 0, 0, 0, 0, 2]));
        assert_eq!((Message::read(&frame), frame.len()), (Some(message), 60));
        assert_eq!(Message::read(&frame[..20]), None, "cut");
    }
}
