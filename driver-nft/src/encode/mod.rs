//! A transaction as one batch of netlink messages: pure, no socket.
//!
//! The messages carry the bytecode that nft itself generates from the transaction's text form, with two differences
//! that its listing does not show: adjacent comparisons stay apart where nft merges them into one load, and nothing
//! is implied (a rule that reads an IPv4 field says so itself, as every rule of the compiler does).

mod batch;
mod expr;
mod set;

use policy_core::ruleset::{
    BaseChain, COMMENT_BYTES_MAX, ChainName, ChainSpec, Hook, LOG_PREFIX_BYTES_MAX, NAME_BYTES_MAX, Op, Rule,
    SetName, TABLE,
};
use policy_core::{Scope, Transaction};

use crate::uapi::{
    NF_ACCEPT, NF_BR_FORWARD, NF_BR_LOCAL_IN, NF_BR_LOCAL_OUT, NF_BR_POST_ROUTING, NF_BR_PRE_ROUTING,
    NF_DROP, NFNL_BATCH_GENID, NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES,
    NFPROTO_BRIDGE, NFPROTO_UNSPEC, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE, NFT_MSG_DELTABLE, NFT_MSG_NEWCHAIN,
    NFT_MSG_NEWRULE, NFT_MSG_NEWTABLE, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE,
    NFTA_CHAIN_TYPE, NFTA_CHAIN_USERDATA, NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_RULE_CHAIN,
    NFTA_RULE_EXPRESSIONS, NFTA_RULE_TABLE, NFTA_RULE_USERDATA, NFTA_TABLE_FLAGS, NFTA_TABLE_NAME, NLM_F_ACK,
    NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_NONREC, NLM_F_REQUEST,
};
use crate::userdata;
use crate::wire::{Header, Writer, nfgen};
pub use batch::{Batch, Origin};

/// A transaction that cannot be written down for the kernel.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("operation {op_index} ({op}) has no kernel encoding: {reason}")]
pub struct EncodeError {
    /// Index of the operation within the transaction.
    pub op_index: usize,
    /// The operation's text, shortened.
    pub op: String,
    /// What stands in the way.
    #[source]
    pub reason: Unencodable,
}

/// Why an operation has no kernel encoding.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unencodable {
    /// A comment is longer than nft reads back, or holds a terminator.
    #[error("comment of {0} bytes is longer than {COMMENT_BYTES_MAX} bytes or holds a null byte")]
    Comment(usize),
    /// An element's key or verdict is not of the shape that its set has.
    #[error("element {0} does not fit the set")]
    Element(String),
    /// An expression that this program never writes.
    #[error("expression of another program: {0}")]
    Foreign(String),
    /// A limit that the kernel would read as another one.
    #[error("a limit of {rate} packets per second, {burst} at once: neither may be 0")]
    Limit {
        /// Packets per second.
        rate: u32,
        /// Packets at once.
        burst: u32,
    },
    /// A prefix that is empty, longer than the kernel keeps, or holds a terminator; or nothing of the frame is told.
    #[error(
        "a log with prefix {prefix:?} (1 to {LOG_PREFIX_BYTES_MAX} bytes) of {snaplen} bytes of the frame"
    )]
    Log {
        /// The prefix.
        prefix: String,
        /// How many bytes of the frame.
        snaplen: u32,
    },
    /// A mask on a field of more than two bytes, or one that is longer than its field.
    #[error("a mask on {0} that does not fit it")]
    Mask(&'static str),
    /// A set's comment and key take more bytes together than the kernel keeps beside a set (`NFT_USERDATA_MAXLEN`,
    /// `linux/netfilter/nf_tables.h`).
    #[error("a comment that makes {0} bytes with what nft notes about the key, more than the kernel's 256")]
    Description(usize),
    /// A key needs more registers than the kernel has.
    #[error("a key longer than the kernel's 64 bytes of registers")]
    Registers,
    /// A key with no parts, more than five, or several parts in a set of ranges.
    #[error("a key of {0} parts is not possible in such a set")]
    KeyParts(usize),
    /// A range over a number that the kernel keeps in the machine's byte order.
    #[error("a range of {0}, whose values are not kept in order")]
    Unordered(String),
    /// A name is empty, longer than the kernel allows, or holds a terminator.
    #[error("name {0:?} is empty, longer than {NAME_BYTES_MAX} bytes or holds a null byte")]
    Name(String),
    /// A rule is longer than a netlink attribute can be.
    #[error("a rule longer than the 65535 bytes of a netlink attribute")]
    TooLong,
    /// A key type that this program never uses.
    #[error("key type {0} of another program")]
    UnknownKey(u32),
    /// A value of another type than the field that it is compared with.
    #[error("value {value} is not one of {field}")]
    Value {
        /// The field.
        field: &'static str,
        /// The value.
        value: String,
    },
}

/// Writes `transaction` as a batch that the kernel takes only while its ruleset has `generation` (any, when `None`).
/// Messages are numbered from `first_sequence`.
pub fn encode(
    transaction: &Transaction,
    generation: Option<u32>,
    first_sequence: u32,
) -> Result<Batch, EncodeError> {
    let mut encoder = Encoder::new(generation, first_sequence);
    encoder.table(NFT_MSG_NEWTABLE, NLM_F_CREATE);
    if transaction.scope == Scope::Replace {
        encoder.table(NFT_MSG_DELTABLE, 0);
        encoder.table(NFT_MSG_NEWTABLE, NLM_F_CREATE);
    }
    for (op_index, op) in transaction.ops.iter().enumerate() {
        encoder.origin = Origin::Op(op_index);
        encoder.op(op).map_err(|reason| EncodeError { op_index, op: brief(op), reason })?;
    }
    Ok(encoder.finish())
}

/// A batch that deletes the table, whether it exists or not.
pub fn encode_removal(first_sequence: u32) -> Batch {
    let mut encoder = Encoder::new(None, first_sequence);
    encoder.table(NFT_MSG_NEWTABLE, NLM_F_CREATE);
    encoder.table(NFT_MSG_DELTABLE, 0);
    encoder.finish()
}

/// The first line of an operation's text, short enough for a message.
pub(crate) fn brief(op: &Op) -> String {
    const CHARS_MAX: usize = 160;
    /// Keeps the text short without ever writing out an operation of thousands of elements.
    struct Brief(String);
    impl core::fmt::Write for Brief {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            for c in text.chars() {
                if c == '\n' || self.0.chars().count() >= CHARS_MAX {
                    return Err(core::fmt::Error);
                }
                self.0.push(c);
            }
            Ok(())
        }
    }
    let mut text = Brief(String::new());
    let cut = core::fmt::write(&mut text, format_args!("{op}")).is_err();
    let whole = text.0.trim_end().trim_end_matches('{').trim_end().to_owned();
    if cut && text.0.chars().count() >= CHARS_MAX { whole + " ..." } else { whole }
}

/// The batch so far.
struct Encoder {
    writer: Writer,
    first: u32,
    /// What the next messages are written for.
    origin: Origin,
    messages: Vec<batch::Entry>,
    /// Numbers the sets of this batch, as the kernel demands (`NFTA_SET_ID`).
    sets: u32,
}

impl Encoder {
    fn new(generation: Option<u32>, first: u32) -> Self {
        let mut encoder =
            Self { writer: Writer::default(), first, origin: Origin::Frame, messages: Vec::new(), sets: 0 };
        encoder.frame(NFNL_MSG_BATCH_BEGIN, generation);
        encoder.origin = Origin::Table;
        encoder
    }

    fn finish(mut self) -> Batch {
        if let Some(last) = self.messages.last() {
            self.writer.add_flags(last.start, NLM_F_ACK);
        }
        self.origin = Origin::Frame;
        self.frame(NFNL_MSG_BATCH_END, None);
        Batch { bytes: self.writer.into_bytes(), first: self.first, messages: self.messages }
    }

    fn frame(&mut self, kind: u16, generation: Option<u32>) {
        let header = Header { kind, flags: NLM_F_REQUEST, sequence: self.sequence() };
        self.writer.plain_message(header, &nfgen(NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES), |w| {
            if let Some(generation) = generation {
                w.number(NFNL_BATCH_GENID, generation);
            }
        });
    }

    /// The number of the message that is written next.
    fn sequence(&mut self) -> u32 {
        let taken = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        self.messages.push(batch::Entry { origin: self.origin, start: self.writer.position() });
        self.first.wrapping_add(taken)
    }

    fn message(
        &mut self,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Writer) -> Result<(), Unencodable>,
    ) -> Result<(), Unencodable> {
        let header = Header { kind, flags: NLM_F_REQUEST | flags, sequence: self.sequence() };
        self.writer.message(header, &nfgen(NFPROTO_BRIDGE, 0), body)?;
        if self.writer.overflowed() { Err(Unencodable::TooLong) } else { Ok(()) }
    }

    fn table(&mut self, kind: u16, flags: u16) {
        let header = Header { kind, flags: NLM_F_REQUEST | flags, sequence: self.sequence() };
        self.writer.plain_message(header, &nfgen(NFPROTO_BRIDGE, 0), |w| {
            w.text(NFTA_TABLE_NAME, TABLE);
            if kind == NFT_MSG_NEWTABLE {
                // No flags: also wakes a table up that somebody has put to sleep (`NFT_TABLE_F_DORMANT`).
                w.number(NFTA_TABLE_FLAGS, 0);
            }
        });
    }

    fn op(&mut self, op: &Op) -> Result<(), Unencodable> {
        match op {
            Op::AddChain(name, spec) => self.add_chain(name, spec),
            Op::AddSet(name, spec) => set::add(self, name, spec),
            Op::AddElements(name, elements) => set::add_elements(self, name, elements),
            Op::DelChain(name) => self.delete_chain(name),
            Op::DelElements(name, elements) => set::delete_elements(self, name, elements),
            Op::DelSet(name) => set::delete(self, name),
            Op::SetRules(name, rules) => self.set_rules(name, rules),
        }
    }

    fn add_chain(&mut self, name: &ChainName, spec: &ChainSpec) -> Result<(), Unencodable> {
        self.message(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, |w| {
            w.text(NFTA_CHAIN_TABLE, TABLE);
            w.text(NFTA_CHAIN_NAME, chain_name(name)?);
            if let Some(base) = spec.base {
                w.text(NFTA_CHAIN_TYPE, "filter");
                w.number(NFTA_CHAIN_POLICY, if base.drop_by_default { NF_DROP } else { NF_ACCEPT });
                hook(w, base);
            }
            comment(w, NFTA_CHAIN_USERDATA, &spec.comment)
        })
    }

    /// Not recursive, so that the kernel refuses to delete a chain that still has rules (EBUSY).
    fn delete_chain(&mut self, name: &ChainName) -> Result<(), Unencodable> {
        self.message(NFT_MSG_DELCHAIN, NLM_F_NONREC, |w| {
            w.text(NFTA_CHAIN_TABLE, TABLE);
            w.text(NFTA_CHAIN_NAME, chain_name(name)?);
            Ok(())
        })
    }

    fn set_rules(&mut self, name: &ChainName, rules: &[Rule]) -> Result<(), Unencodable> {
        self.message(NFT_MSG_DELRULE, 0, |w| {
            w.text(NFTA_RULE_TABLE, TABLE);
            w.text(NFTA_RULE_CHAIN, chain_name(name)?);
            Ok(())
        })?;
        for rule in rules {
            self.message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |w| {
                w.text(NFTA_RULE_TABLE, TABLE);
                w.text(NFTA_RULE_CHAIN, chain_name(name)?);
                w.nested(NFTA_RULE_EXPRESSIONS, |w| {
                    rule.exprs.iter().try_for_each(|expr| expr::write(w, expr))
                })?;
                comment(w, NFTA_RULE_USERDATA, &rule.comment)
            })?;
        }
        Ok(())
    }
}

fn hook(w: &mut Writer, base: BaseChain) {
    let number = match base.hook {
        Hook::Prerouting => NF_BR_PRE_ROUTING,
        Hook::Input => NF_BR_LOCAL_IN,
        Hook::Forward => NF_BR_FORWARD,
        Hook::Output => NF_BR_LOCAL_OUT,
        Hook::Postrouting => NF_BR_POST_ROUTING,
    };
    w.group(NFTA_CHAIN_HOOK, |w| {
        w.number(NFTA_HOOK_HOOKNUM, number);
        w.attribute(NFTA_HOOK_PRIORITY, &base.priority.to_be_bytes());
    });
}

fn comment(w: &mut Writer, attribute: u16, text: &str) -> Result<(), Unencodable> {
    check_comment(text)?;
    if let Some(bytes) = userdata::comment(text) {
        w.attribute(attribute, &bytes);
    }
    Ok(())
}

fn check_comment(text: &str) -> Result<(), Unencodable> {
    if text.len() > COMMENT_BYTES_MAX || text.contains('\0') {
        return Err(Unencodable::Comment(text.len()));
    }
    Ok(())
}

fn name(text: &str) -> Result<&str, Unencodable> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains('\0') {
        return Err(Unencodable::Name(text.to_owned()));
    }
    Ok(text)
}

fn chain_name(chain: &ChainName) -> Result<&str, Unencodable> {
    name(chain.as_str())
}

fn set_name(set: &SetName) -> Result<&str, Unencodable> {
    name(set.as_str())
}
