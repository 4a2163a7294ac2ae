//! A netlink socket: send, receive, and nothing about what is sent.

use core::time::Duration;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, setsockopt, sockopt};

use crate::error::NftError;
use crate::uapi::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS,
};
use crate::wire::{Attributes, Header, MESSAGE_HEADER, Message, Writer, messages, padded, word};

/// The kernel fills at most 32768 bytes per datagram when it lists (`netlink_recvmsg`, `net/netlink/af_netlink.c`).
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// The receive buffer that is asked for, in bytes: the answers to one batch, or the notifications of one.
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// A socket of one netlink protocol, bound to a port of its own.
pub(crate) struct NetlinkSocket {
    socket: Socket,
    port: u32,
    /// The number of the next message.
    sequence: u32,
    send_buffer: usize,
    buffer: Vec<u8>,
}

/// What was received at once: one or several messages.
pub(crate) enum Received<'a> {
    Datagram(&'a [u8]),
    /// Nothing came in time.
    Nothing,
    /// The receive buffer was full; messages are lost (ENOBUFS).
    Overrun,
}

/// A negative answer, or the positive one that was asked for.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The sequence number of the message that is answered.
    pub(crate) sequence: u32,
    /// `None` for success.
    pub(crate) errno: Option<Errno>,
    /// What the kernel says about it.
    pub(crate) hint: String,
    /// Where in the message the attribute is that the kernel objects to, in bytes from its start.
    pub(crate) offset: Option<usize>,
}

/// A listing as received.
#[derive(Default)]
pub(crate) struct Dump {
    /// The messages, one after the other.
    pub(crate) bytes: Vec<u8>,
    /// Whether what is listed changed meanwhile, so that the listing may be inconsistent.
    pub(crate) interrupted: bool,
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> NftError {
    // Every error of a socket comes from the system; one without a number would be the library's own.
    move |error| NftError::Socket { action, errno: error.raw_os_error().map_or(Errno::EIO, Errno::from_raw) }
}

impl NetlinkSocket {
    /// Opens a socket in the network namespace of the calling thread and joins `groups`.
    pub(crate) fn open(protocol: isize, groups: &[u32]) -> Result<Self, NftError> {
        let mut socket = Socket::new(protocol).map_err(failed("open"))?;
        let address = socket.bind_auto().map_err(failed("bind"))?;
        socket.set_ext_ack(true).map_err(failed("configure"))?;
        socket.set_cap_ack(true).map_err(failed("configure"))?;
        // Without the privilege to force it, the system's limit must do.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)
                .map_err(|errno| failed("configure")(errno.into()))?;
        }
        for group in groups {
            socket.add_membership(*group).map_err(failed("subscribe"))?;
        }
        socket.set_non_blocking(true).map_err(failed("configure"))?;
        Ok(Self { socket, port: address.port_number(), sequence: 1, send_buffer: 0, buffer: Vec::new() })
    }

    /// Opens a socket that also hears what happens in every other namespace that this one has a number for
    /// (`NETLINK_LISTEN_ALL_NSID`, `linux/netlink.h`); `None` without the privilege that takes (`CAP_NET_BROADCAST`).
    pub(crate) fn open_for_all_namespaces(protocol: isize, groups: &[u32]) -> Result<Option<Self>, NftError> {
        let netlink = Self::open(protocol, groups)?;
        match netlink.socket.set_listen_all_namespaces(true).map_err(failed("configure")) {
            Ok(()) => Ok(Some(netlink)),
            Err(error) if error.errno() == Some(Errno::EPERM) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The socket's netlink port.
    pub(crate) const fn port(&self) -> u32 {
        self.port
    }

    /// Numbers for the next `count` messages: the first of them.
    pub(crate) const fn take_sequences(&mut self, count: u32) -> u32 {
        let first = self.sequence;
        self.sequence = first.wrapping_add(count);
        first
    }

    /// Sends one request; its number.
    pub(crate) fn request(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        body: impl FnOnce(&mut Writer),
    ) -> Result<u32, NftError> {
        let sequence = self.take_sequences(1);
        let mut writer = Writer::default();
        writer.plain_message(Header { kind, flags: NLM_F_REQUEST | flags, sequence }, fixed, body);
        self.send(&writer.into_bytes())?;
        Ok(sequence)
    }

    /// Asks for one thing: the answer's messages.
    pub(crate) fn fetch(
        &mut self,
        kind: u16,
        fixed: &[u8],
        what: &'static str,
        body: impl FnOnce(&mut Writer),
    ) -> Result<Dump, NftError> {
        let sequence = self.request(kind, NLM_F_ACK, fixed, body)?;
        self.receive_dump(sequence, what)
    }

    /// Asks for a listing.
    pub(crate) fn list(
        &mut self,
        kind: u16,
        fixed: &[u8],
        what: &'static str,
        body: impl FnOnce(&mut Writer),
    ) -> Result<Dump, NftError> {
        let sequence = self.request(kind, NLM_F_DUMP, fixed, body)?;
        self.receive_dump(sequence, what)
    }

    /// Sends messages to the kernel as one datagram. nfnetlink and rtnetlink work them off before this returns.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), NftError> {
        self.grow_send_buffer(bytes.len())?;
        loop {
            match self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error().map(Errno::from_raw) == Some(Errno::EMSGSIZE) => {
                    return Err(NftError::TooLarge { bytes: bytes.len() });
                }
                Err(error) => return Err(failed("send to")(error)),
            }
        }
    }

    /// A datagram longer than the send buffer is refused (EMSGSIZE, `netlink_sendmsg`).
    fn grow_send_buffer(&mut self, bytes: usize) -> Result<(), NftError> {
        const FLOOR: usize = 1024 * 1024;
        if bytes < self.send_buffer {
            return Ok(());
        }
        let wanted = bytes.saturating_mul(2).max(FLOOR);
        if setsockopt(&self.socket, sockopt::SndBufForce, &wanted).is_err() {
            setsockopt(&self.socket, sockopt::SndBuf, &wanted)
                .map_err(|errno| failed("configure")(errno.into()))?;
        }
        self.send_buffer = wanted;
        Ok(())
    }

    /// Receives one datagram, waiting for it at most `timeout` (`None`: for ever).
    pub(crate) fn receive(&mut self, timeout: Option<Duration>) -> Result<Received<'_>, NftError> {
        if timeout != Some(Duration::ZERO) {
            wait_for([&*self], timeout)?;
        }
        self.buffer.clear();
        self.buffer.reserve(DATAGRAM_BYTES_MAX);
        loop {
            match self.socket.recv(&mut self.buffer, MsgFlags::MSG_TRUNC.bits()) {
                Ok(length) if length > self.buffer.len() => {
                    // Longer than the buffer: the rest is gone.
                    return Ok(Received::Overrun);
                }
                Ok(_) => return Ok(Received::Datagram(&self.buffer)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::Nothing),
                Err(error) if error.raw_os_error().map(Errno::from_raw) == Some(Errno::ENOBUFS) => {
                    return Ok(Received::Overrun);
                }
                Err(error) => return Err(failed("receive from")(error)),
            }
        }
    }

    /// Receives the listing that the request numbered `sequence` asks for.
    fn receive_dump(&mut self, sequence: u32, request: &'static str) -> Result<Dump, NftError> {
        let mut dump = Dump::default();
        loop {
            let datagram = match self.receive(Some(Duration::ZERO))? {
                Received::Datagram(datagram) => datagram,
                Received::Nothing | Received::Overrun => return Err(NftError::Unanswered { request }),
            };
            let (mut done, mut ours) = (false, false);
            for message in messages(datagram) {
                let message = message?;
                if message.sequence != sequence {
                    continue;
                }
                ours = true;
                dump.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE => {
                        check(request, done_errno(&message), String::new())?;
                        done = true;
                    }
                    NLMSG_ERROR => {
                        let answer = read_answer(&message);
                        check(request, answer.errno, answer.hint)?;
                        done = true;
                    }
                    _ => {}
                }
            }
            // What is left of an earlier request that failed half-way is not part of this answer.
            if ours {
                dump.bytes.extend_from_slice(datagram);
            }
            if done {
                return Ok(dump);
            }
        }
    }
}

/// Waits until one of `sockets` has something to receive, the time is up (`None`: never), or a signal comes.
pub(crate) fn wait_for<const N: usize>(
    sockets: [&NetlinkSocket; N],
    timeout: Option<Duration>,
) -> Result<(), NftError> {
    let limit = timeout.map_or(PollTimeout::NONE, |timeout| {
        // Rounded up, so that a short wait is not a busy loop; a very long one ends early, which does no harm.
        let ms = timeout.as_micros().div_ceil(1000);
        PollTimeout::from(u16::try_from(ms).unwrap_or(u16::MAX))
    });
    let mut polled = sockets.map(|socket| PollFd::new(socket.socket.as_fd(), PollFlags::POLLIN));
    match poll(&mut polled, limit) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(NftError::Socket { action: "wait for", errno }),
    }
}

fn check(request: &'static str, errno: Option<Errno>, hint: String) -> Result<(), NftError> {
    errno.map_or(Ok(()), |errno| Err(NftError::Request { request, errno, hint }))
}

/// The error that ended a listing (`netlink_dump_done`).
fn done_errno(message: &Message<'_>) -> Option<Errno> {
    word(message.payload, 0).and_then(negative)
}

/// The error number that netlink sends as its negative.
fn negative(number: u32) -> Option<Errno> {
    let number = i32::from_ne_bytes(number.to_ne_bytes());
    (number != 0).then(|| Errno::from_raw(number.saturating_neg()))
}

/// Reads an `NLMSG_ERROR` message (`struct nlmsgerr`, `linux/netlink.h`), which also carries success.
pub(crate) fn read_answer(message: &Message<'_>) -> Answer {
    let errno = match word(message.payload, 0) {
        Some(number) => negative(number),
        None => Some(Errno::EPROTO),
    };
    // The header of the message that is answered follows, and the whole message unless that was declined.
    let original = word(message.payload, 4).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let shown = if message.flags & NLM_F_CAPPED != 0 { MESSAGE_HEADER } else { padded(original) };
    let attributes = (message.flags & NLM_F_ACK_TLVS != 0)
        .then(|| message.payload.get(4 + shown..))
        .flatten()
        .and_then(|bytes| Attributes::read(bytes).ok())
        .unwrap_or_default();
    let offset = attributes.native(NLMSGERR_ATTR_OFFS).and_then(|offset| usize::try_from(offset).ok());
    let hint = attributes.text(NLMSGERR_ATTR_MSG).unwrap_or_default();
    Answer { sequence: message.sequence, errno, hint, offset }
}
