//! Frames that rules tell of: what the kernel sends to whoever listens to a log group (`nfnetlink_log`).
//!
//! One socket hears one group, and one group is heard by one socket: a second listener is refused. What comes faster than
//! it is read is lost, and the kernel says so.

use core::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;
use policy_core::model::Mac;

use crate::error::NftError;
use crate::socket::{NetlinkSocket, Received};
use crate::uapi::{
    AF_UNSPEC, NFULA_CFG_CMD, NFULA_CFG_MODE, NFULA_CFG_TIMEOUT, NFULA_HWHEADER, NFULA_IFINDEX_PHYSINDEV,
    NFULA_IFINDEX_PHYSOUTDEV, NFULA_L2HDR, NFULA_PACKET_HDR, NFULA_PAYLOAD, NFULA_PREFIX, NFULA_TIMESTAMP,
    NFULNL_CFG_CMD_BIND, NFULNL_COPY_PACKET, NFULNL_MSG_CONFIG, NFULNL_MSG_PACKET,
};
use crate::wire::{Attributes, WireError, messages, nfgen};

/// How long the kernel may keep a frame back to send several at once, in hundredths of a second.
const GATHER_CENTISECONDS: u32 = 10;

/// Listens to one log group of a network namespace.
pub struct FrameLog {
    socket: NetlinkSocket,
}

/// What was heard at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// Frames, in order.
    Frames(Vec<LoggedFrame>),
    /// Frames came faster than they were read; some are lost.
    Lost,
    /// Nothing in time, or a signal came.
    Nothing,
}

/// A frame that a rule told of.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct LoggedFrame {
    /// The words of the rule.
    pub prefix: String,
    /// Index of the bridge port it came in by; none for the node's own.
    pub input: Option<u32>,
    /// Index of the bridge port it was about to leave by, where that was known.
    pub output: Option<u32>,
    /// Its Ethernet source and destination.
    pub macs: Option<(Mac, Mac)>,
    /// The Ethernet type of what follows.
    pub ether_type: u16,
    /// The frame from its network header on, as much as the rule tells.
    pub payload: Vec<u8>,
    /// When it was received, since 1970; only of some frames.
    pub received: Option<Duration>,
}

impl FrameLog {
    /// Listens to `group` in the network namespace of the calling thread; of each frame, `bytes_max` bytes from the network
    /// header on are told at most.
    ///
    /// # Errors
    /// Somebody else listens to the group, or the privilege is missing (both EPERM, `nfulnl_recv_config`).
    pub fn open(group: u16, bytes_max: u32) -> Result<Self, NftError> {
        let mut socket = NetlinkSocket::open(NETLINK_NETFILTER, &[])?;
        let mut mode = Vec::from(bytes_max.to_be_bytes());
        // The mode, and a byte of padding: `struct nfulnl_msg_config_mode`.
        mode.extend([NFULNL_COPY_PACKET, 0]);
        socket.fetch(NFULNL_MSG_CONFIG, &nfgen(AF_UNSPEC, group), "to listen to a log group", |w| {
            w.attribute(NFULA_CFG_CMD, &[NFULNL_CFG_CMD_BIND]);
            w.attribute(NFULA_CFG_MODE, &mode);
            w.number(NFULA_CFG_TIMEOUT, GATHER_CENTISECONDS);
        })?;
        Ok(Self { socket })
    }

    /// What the kernel tells next, waiting for it at most `timeout` (`None`: for ever).
    ///
    /// # Errors
    /// The socket fails, or what came over it is not netlink.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Told, NftError> {
        Ok(match self.socket.receive(timeout)? {
            Received::Datagram(datagram) => Told::Frames(logged_frames(datagram)?),
            Received::Nothing => Told::Nothing,
            Received::Overrun => Told::Lost,
        })
    }
}

/// The frames that a datagram of the kernel tells of. Messages about other things are passed over.
///
/// # Errors
/// It is not what the kernel writes.
pub fn logged_frames(datagram: &[u8]) -> Result<Vec<LoggedFrame>, WireError> {
    let mut frames = Vec::new();
    for message in messages(datagram) {
        let message = message?;
        if message.kind == NFULNL_MSG_PACKET {
            let (_, attributes) = message.body()?;
            frames.push(frame(&attributes));
        }
    }
    Ok(frames)
}

/// `__build_packet_message`, `net/netfilter/nfnetlink_log.c`.
fn frame(attributes: &Attributes<'_>) -> LoggedFrame {
    // `struct nfulnl_msg_packet_hdr`: the protocol, the hook, padding.
    let ether_type = attributes.bytes(NFULA_PACKET_HDR).and_then(|header| header.first_chunk().copied());
    // The first one is there for the node's own frames, too; older kernels have only the second.
    let header = attributes.bytes(NFULA_L2HDR).or_else(|| attributes.bytes(NFULA_HWHEADER));
    let header = header.unwrap_or_default();
    let mac = |at: usize| Some(Mac(*header.get(at..)?.first_chunk()?));
    LoggedFrame {
        prefix: attributes.text(NFULA_PREFIX).unwrap_or_default(),
        input: attributes.number(NFULA_IFINDEX_PHYSINDEV),
        output: attributes.number(NFULA_IFINDEX_PHYSOUTDEV),
        macs: mac(6).zip(mac(0)),
        ether_type: ether_type.map_or(0, u16::from_be_bytes),
        payload: attributes.bytes(NFULA_PAYLOAD).unwrap_or_default().to_vec(),
        received: received(attributes.bytes(NFULA_TIMESTAMP).unwrap_or_default()),
    }
}

/// `struct nfulnl_msg_packet_timestamp`: seconds and microseconds since 1970.
fn received(bytes: &[u8]) -> Option<Duration> {
    let (seconds, rest) = bytes.split_first_chunk()?;
    let micros = u64::from_be_bytes(*rest.first_chunk()?);
    Duration::from_secs(u64::from_be_bytes(*seconds)).checked_add(Duration::from_micros(micros))
}
