//! Rules.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ChainName, Datum, Field, SetName};

/// A rule: its expressions run from left to right, and the first that does not hold ends it.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// The expressions.
    pub exprs: Vec<Expr>,
    /// For people: at most [`super::COMMENT_BYTES_MAX`] bytes.
    pub comment: String,
}

/// One expression of a rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Expr {
    /// Holds when `field & mask` equals `value` (differs from it when `negated`).
    Compare {
        /// What is read from the frame.
        field: Field,
        /// The bits that count; all when `None`. Only for fields of one or two bytes.
        mask: Option<u16>,
        /// Whether equality is asked for, or its opposite.
        negated: bool,
        /// What it is compared with.
        value: Datum,
    },
    /// Counts packets and bytes.
    Counter,
    /// Holds when the packet goes this way in its connection; not when it belongs to none (`ct direction`).
    Direction(Heading),
    /// Looks the fields up in a verdict map and does what the element says; does not hold when there is none.
    Dispatch {
        /// The parts of the key.
        fields: Vec<Field>,
        /// The map.
        map: SetName,
    },
    /// Something the kernel holds that this program never writes; makes a rule differ from every wanted one.
    Foreign(String),
    /// Holds as long as it is not asked more often than this (`limit`): a token bucket of this rule's own.
    Limit {
        /// How often per second, in the long run; at least 1.
        rate: u32,
        /// How often at once; at least 1.
        burst: u32,
    },
    /// Tells whoever listens about the frame (`log group`), and always holds.
    Log {
        /// The number by which the kernel finds who listens.
        group: u16,
        /// What is told besides: at most [`super::LOG_PREFIX_BYTES_MAX`] bytes.
        prefix: String,
        /// How many bytes of the frame are told, from its network header on.
        snaplen: u32,
    },
    /// Holds when the fields are in the set (are not, when `negated`).
    Lookup {
        /// The parts of the key.
        fields: Vec<Field>,
        /// The set.
        set: SetName,
        /// Whether absence is asked for.
        negated: bool,
    },
    /// Holds when the field is within the range, both ends included.
    Range {
        /// What is read from the frame.
        field: Field,
        /// The lower end.
        low: Datum,
        /// The upper end.
        high: Datum,
    },
    /// Puts a packet that connection tracking has not seen yet into this zone, where its connection is looked for (`ct
    /// zone set`). Zone 0 is that of everything else, the IP layer included.
    SetZone(u16),
    /// Holds when connection tracking says this about the packet (`ct state`).
    State(ConnectionState),
    /// Adds the fields to a dynamic set, or renews them there; does not hold when the set is full.
    Update {
        /// The parts of the key.
        fields: Vec<Field>,
        /// The dynamic set.
        set: SetName,
        /// How long the element stays from now on. Whole seconds.
        timeout: Duration,
    },
    /// Ends the rule.
    Verdict(Verdict),
}

/// What connection tracking says about a packet (`enum ip_conntrack_info`, `linux/netfilter/nf_conntrack_common.h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum ConnectionState {
    /// It belongs to a connection that has been answered, the answer included.
    Established,
    /// It is an error message about a packet of a connection, or begins one that another has announced.
    Related,
}

/// Which way a packet goes in its connection (`enum ip_conntrack_dir`, `linux/netfilter/nf_conntrack_tuple_common.h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Heading {
    /// As its first packet.
    Original,
    /// Against its first packet.
    Reply,
}

impl Expr {
    /// `field` equals `value`.
    pub const fn is(field: Field, value: Datum) -> Self {
        Self::Compare { field, mask: None, negated: false, value }
    }

    /// `field` differs from `value`.
    pub const fn is_not(field: Field, value: Datum) -> Self {
        Self::Compare { field, mask: None, negated: true, value }
    }

    /// `fields` are an element of `set`.
    pub fn within(fields: impl Into<Vec<Field>>, set: SetName) -> Self {
        Self::Lookup { fields: fields.into(), set, negated: false }
    }
}

/// What happens to the frame.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// It passes this hook.
    Accept,
    /// It is gone.
    Drop,
    /// Another chain decides; at its end the base chain's policy does.
    Goto(ChainName),
    /// Another chain decides; at its end the next rule does.
    Jump(ChainName),
    /// Back to the rule behind the jump.
    Return,
}

impl Verdict {
    /// The chain that the verdict leads to.
    pub const fn target(&self) -> Option<&ChainName> {
        match self {
            Self::Accept | Self::Drop | Self::Return => None,
            Self::Goto(chain) | Self::Jump(chain) => Some(chain),
        }
    }
}
