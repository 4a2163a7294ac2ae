//! Netlink's framing: messages made of attributes, some of which hold attributes.
//!
//! Layout from `linux/netlink.h` (`struct nlmsghdr`, `struct nlattr`) and `linux/netfilter/nfnetlink.h`
//! (`struct nfgenmsg`): headers in the machine's byte order, nftables' numbers in the network's, everything padded to
//! four bytes.

use crate::uapi::{NLA_F_NESTED, NLA_TYPE_MASK};

/// `NLMSG_HDRLEN`: the length of `struct nlmsghdr`, in bytes.
pub(crate) const MESSAGE_HEADER: usize = 16;
/// The length of `struct nfgenmsg`, in bytes.
pub(crate) const FAMILY_HEADER: usize = 4;
/// `NLA_HDRLEN`: the length of `struct nlattr`, in bytes.
pub(crate) const ATTRIBUTE_HEADER: usize = 4;

/// What does not belong to a message's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// `nlmsg_flags`.
    pub(crate) flags: u16,
    /// `nlmsg_seq`.
    pub(crate) sequence: u32,
}

/// The fixed part of nfnetlink's messages (`struct nfgenmsg`): the protocol family, and in the frame messages of a
/// batch the subsystem.
pub(crate) const fn nfgen(family: u8, resource: u16) -> [u8; FAMILY_HEADER] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// Writes messages one behind the other.
#[derive(Default, Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    overflow: bool,
}

impl Writer {
    /// How much is written, in bytes.
    pub(crate) const fn position(&self) -> usize {
        self.bytes.len()
    }

    /// Everything that is written.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether an attribute was longer than its 16-bit length can say; what is written is of no use then.
    pub(crate) const fn overflowed(&self) -> bool {
        self.overflow
    }

    /// One message: header, fixed part, attributes.
    pub(crate) fn message<E>(
        &mut self,
        header: Header,
        fixed: &[u8],
        body: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&header.kind.to_ne_bytes());
        self.bytes.extend_from_slice(&header.flags.to_ne_bytes());
        self.bytes.extend_from_slice(&header.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        body(self)?;
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.patch(start, &length.to_ne_bytes());
        Ok(())
    }

    /// [`Self::message`] with a body that cannot fail.
    pub(crate) fn plain_message(&mut self, header: Header, fixed: &[u8], body: impl FnOnce(&mut Self)) {
        let Ok(()) = self.message(header, fixed, |w| {
            body(w);
            Ok::<(), core::convert::Infallible>(())
        });
    }

    /// An attribute of plain bytes.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
    }

    /// An attribute with a 32-bit number in network byte order.
    pub(crate) fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// An attribute with a 32-bit number in the machine's byte order, as rtnetlink takes it.
    pub(crate) fn native(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// An attribute with a text and its terminator.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    /// An attribute that holds attributes.
    pub(crate) fn nested<E>(
        &mut self,
        kind: u16,
        body: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.open(kind | NLA_F_NESTED);
        body(self)?;
        self.close(start);
        Ok(())
    }

    /// [`Self::nested`] with a body that cannot fail.
    pub(crate) fn group(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NLA_F_NESTED);
        body(self);
        self.close(start);
    }

    /// Sets `flags` on the message that starts at `position`, in addition to its own.
    pub(crate) fn add_flags(&mut self, position: usize, flags: u16) {
        let at = position + 6;
        let old = self.bytes.get(at..at + 2).and_then(|bytes| bytes.first_chunk()).copied();
        let flags = old.map_or(flags, u16::from_ne_bytes) | flags;
        self.patch(at, &flags.to_ne_bytes());
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        self.bytes.resize(start + padded(length), 0);
        let length = u16::try_from(length).unwrap_or_else(|_too_long| {
            self.overflow = true;
            0
        });
        self.patch(start, &length.to_ne_bytes());
    }

    fn patch(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

/// `length` rounded up to four bytes (`NLMSG_ALIGN`, `NLA_ALIGN`).
pub(crate) const fn padded(length: usize) -> usize {
    length.div_ceil(4).saturating_mul(4)
}

/// Bytes that are not what netlink's framing demands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// A message's length does not fit what is there.
    #[error("netlink message at byte {offset} is cut short")]
    Message {
        /// Where the message starts.
        offset: usize,
    },
    /// An attribute's length does not fit what is there.
    #[error("netlink attribute at byte {offset} of its container is cut short")]
    Attribute {
        /// Where the attribute starts within the bytes that hold it.
        offset: usize,
    },
}

/// A message as it was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// `nlmsg_flags`.
    pub(crate) flags: u16,
    /// `nlmsg_seq`.
    pub(crate) sequence: u32,
    /// `nlmsg_pid`: the netlink port that caused the message.
    pub(crate) port: u32,
    /// What follows the header.
    pub(crate) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// `nfgen_family`, and the attributes behind the family header.
    pub(crate) fn body(&self) -> Result<(u8, Attributes<'a>), WireError> {
        let (fixed, attributes) = self.split::<FAMILY_HEADER>()?;
        let [family, ..] = *fixed;
        Ok((family, attributes))
    }

    /// The fixed part of `N` bytes, and the attributes behind it.
    pub(crate) fn split<const N: usize>(&self) -> Result<(&'a [u8; N], Attributes<'a>), WireError> {
        let (fixed, rest) = self.payload.split_first_chunk().ok_or(WireError::Message { offset: 0 })?;
        Ok((fixed, Attributes::read(rest)?))
    }
}

/// The messages in `bytes`, one after the other; ends after the first error.
pub(crate) fn messages(bytes: &[u8]) -> impl Iterator<Item = Result<Message<'_>, WireError>> {
    let mut offset = 0;
    core::iter::from_fn(move || {
        let rest = bytes.get(offset..).filter(|rest| !rest.is_empty())?;
        let Some((message, length)) = read_message(rest) else {
            let error = WireError::Message { offset };
            offset = bytes.len();
            return Some(Err(error));
        };
        offset = offset.saturating_add(padded(length));
        Some(Ok(message))
    })
}

fn read_message(bytes: &[u8]) -> Option<(Message<'_>, usize)> {
    let length = usize::try_from(word(bytes, 0)?).ok()?;
    let message = Message {
        kind: u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?),
        flags: u16::from_ne_bytes(*bytes.get(6..)?.first_chunk()?),
        sequence: word(bytes, 8)?,
        port: word(bytes, 12)?,
        payload: bytes.get(MESSAGE_HEADER..length)?,
    };
    Some((message, length))
}

/// The 32-bit number in the machine's byte order at `offset`.
pub(crate) fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The attributes in `bytes`, in order.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), WireError>> {
    let mut offset = 0;
    core::iter::from_fn(move || {
        let rest = bytes.get(offset..).filter(|rest| !rest.is_empty())?;
        let Some((kind, value)) = read_attribute(rest) else {
            let error = WireError::Attribute { offset };
            offset = bytes.len();
            return Some(Err(error));
        };
        offset = offset.saturating_add(padded(ATTRIBUTE_HEADER + value.len()));
        Some(Ok((kind, value)))
    })
}

fn read_attribute(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let length = u16::from_ne_bytes(*bytes.first_chunk()?);
    let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
    Some((kind & NLA_TYPE_MASK, bytes.get(ATTRIBUTE_HEADER..usize::from(length))?))
}

/// Attributes by type; of several of one type, the last counts, as in the kernel (`nla_parse`).
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Reads `bytes` as attributes. They are looked for where they lie: there are few in one place.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        attributes(bytes).try_for_each(|attribute| attribute.map(drop)).map(|()| Self(bytes))
    }

    /// An attribute's bytes.
    pub(crate) fn bytes(&self, kind: u16) -> Option<&'a [u8]> {
        attributes(self.0).map_while(Result::ok).filter(|(of, _)| *of == kind).last().map(|(_, value)| value)
    }

    /// An attribute's 32-bit number.
    pub(crate) fn number(&self, kind: u16) -> Option<u32> {
        self.bytes(kind)?.first_chunk().copied().map(u32::from_be_bytes)
    }

    /// An attribute's 32-bit number in the machine's byte order, as rtnetlink sends it.
    pub(crate) fn native(&self, kind: u16) -> Option<u32> {
        word(self.bytes(kind)?, 0)
    }

    /// An attribute's 64-bit number.
    pub(crate) fn long(&self, kind: u16) -> Option<u64> {
        self.bytes(kind)?.first_chunk().copied().map(u64::from_be_bytes)
    }

    /// An attribute's text, without its terminator; what is not UTF-8 is replaced.
    pub(crate) fn text(&self, kind: u16) -> Option<String> {
        let bytes = self.bytes(kind)?;
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// The attributes inside an attribute; none when it is missing.
    pub(crate) fn nested(&self, kind: u16) -> Result<Self, WireError> {
        self.bytes(kind).map_or_else(|| Ok(Self::default()), Self::read)
    }
}
