//! A batch that is ready to be sent, and the way back from an answer to what it is about.

use policy_core::ruleset::Op;

use super::set;
use crate::uapi::NFTA_SET_ELEM_LIST_ELEMENTS;
use crate::wire::{ATTRIBUTE_HEADER, FAMILY_HEADER, MESSAGE_HEADER, attributes, padded, word};

/// What a message of a batch was written for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The frame around the messages: the kernel answers here when it refuses the batch as a whole.
    Frame,
    /// The table itself.
    Table,
    /// The operation with this index.
    Op(usize),
}

/// A message of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) origin: Origin,
    /// Where it starts, in bytes from the batch's start.
    pub(super) start: usize,
}

/// One transaction as bytes to send.
#[derive(Clone, Debug)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    /// The number of the first message.
    pub(super) first: u32,
    pub(super) messages: Vec<Entry>,
}

impl Batch {
    /// The messages.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many messages there are, the frame included.
    pub const fn messages(&self) -> usize {
        self.messages.len()
    }

    /// What the message with this sequence number was written for; `None` when it is not of this batch.
    pub fn origin(&self, sequence: u32) -> Option<Origin> {
        self.messages.get(self.index(sequence)?).map(|entry| entry.origin)
    }

    /// The sequence number of the message that asks for an answer: the last one that is not the frame's.
    pub fn answering_sequence(&self) -> u32 {
        let behind = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        self.first.wrapping_add(behind).wrapping_sub(2)
    }

    fn index(&self, sequence: u32) -> Option<usize> {
        usize::try_from(sequence.wrapping_sub(self.first)).ok()
    }

    /// The text of the element of `op` that the kernel points at: the one at `offset` bytes from the start of the
    /// message with this sequence number. `None` when it points at nothing of the kind.
    pub(crate) fn element(&self, op: &Op, sequence: u32, offset: usize) -> Option<String> {
        let (Op::AddElements(_, elements) | Op::DelElements(_, elements)) = op else { return None };
        let last = self.index(sequence)?;
        let entry = *self.messages.get(last)?;
        // An operation's messages follow each other.
        let first = self.messages.get(..last)?.iter().rposition(|other| other.origin != entry.origin)? + 1;
        let mut before = 0;
        for message in self.messages.get(first..last)? {
            before += self.elements_of(*message)?.len();
        }
        let position = entry.start + offset;
        let within = self.elements_of(entry)?.into_iter().position(|start| start == position)?;
        set::element_text(elements, before + within)
    }

    /// Where the elements of a message start, in bytes from the batch's start.
    fn elements_of(&self, message: Entry) -> Option<Vec<usize>> {
        let length = word(&self.bytes, message.start).and_then(|length| usize::try_from(length).ok())?;
        let body = message.start + MESSAGE_HEADER + FAMILY_HEADER;
        let fields = self.children(body, message.start + length)?;
        let (start, length, _) =
            fields.into_iter().find(|(_, _, kind)| *kind == NFTA_SET_ELEM_LIST_ELEMENTS)?;
        let value = start + ATTRIBUTE_HEADER;
        Some(self.children(value, value + length)?.into_iter().map(|(start, _, _)| start).collect())
    }

    /// The attributes between two places: where each starts, the length of its value, and its type.
    fn children(&self, start: usize, end: usize) -> Option<Vec<(usize, usize, u16)>> {
        let mut at = start;
        let mut children = Vec::new();
        for attribute in attributes(self.bytes.get(start..end)?) {
            let (kind, value) = attribute.ok()?;
            children.push((at, value.len(), kind));
            at += padded(ATTRIBUTE_HEADER + value.len());
        }
        Some(children)
    }
}
