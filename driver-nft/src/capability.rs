//! What a kernel may or may not be able to do beyond plain rules, found out by trying.
//!
//! Versions and lists of modules say little: a module may be built in, loadable or forbidden. Each capability is used
//! once, in a scratch table that is created and deleted within one transaction, so that no packet ever meets it and
//! nothing is left behind, whenever this program ends. The one trial that takes several transactions has a table that
//! the kernel deletes with the socket (`NFT_TABLE_F_OWNER`, since Linux 5.12).

use core::fmt;
use core::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use crate::error::NftError;
use crate::layout;
use crate::socket::{Answer, NetlinkSocket, Received, read_answer};
use crate::uapi::{
    NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES, NFPROTO_BRIDGE, NFPROTO_UNSPEC,
    NFT_CT_ZONE, NFT_DATA_VERDICT, NFT_DYNSET_OP_UPDATE, NFT_GOTO, NFT_LIMIT_PKTS, NFT_META_BRI_IIFNAME,
    NFT_META_IIF, NFT_MSG_DELCHAIN, NFT_MSG_DELSETELEM, NFT_MSG_DELTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE,
    NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM, NFT_MSG_NEWTABLE, NFT_REG_1, NFT_REJECT_ICMPX_PORT_UNREACH,
    NFT_REJECT_ICMPX_UNREACH, NFT_SET_EVAL, NFT_SET_MAP, NFT_SET_TIMEOUT, NFT_TABLE_F_OWNER, NFTA_CHAIN_NAME,
    NFTA_CHAIN_TABLE, NFTA_CT_DREG, NFTA_CT_KEY, NFTA_CT_SREG, NFTA_DATA_VALUE, NFTA_DATA_VERDICT,
    NFTA_DYNSET_OP, NFTA_DYNSET_SET_NAME, NFTA_DYNSET_SREG_KEY, NFTA_EXPR_DATA, NFTA_EXPR_NAME,
    NFTA_LIMIT_RATE, NFTA_LIMIT_TYPE, NFTA_LIMIT_UNIT, NFTA_LIST_ELEM, NFTA_LOG_GROUP, NFTA_META_DREG,
    NFTA_META_KEY, NFTA_REJECT_ICMP_CODE, NFTA_REJECT_TYPE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS,
    NFTA_RULE_TABLE, NFTA_SET_DATA_LEN, NFTA_SET_DATA_TYPE, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_KEY,
    NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_FLAGS,
    NFTA_SET_ID, NFTA_SET_KEY_LEN, NFTA_SET_KEY_TYPE, NFTA_SET_NAME, NFTA_SET_TABLE, NFTA_SET_TIMEOUT,
    NFTA_TABLE_FLAGS, NFTA_TABLE_NAME, NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE, NLM_F_ACK, NLM_F_CREATE,
    NLM_F_EXCL, NLM_F_REQUEST, NLMSG_ERROR,
};
use crate::wire::{Header, Writer, messages, nfgen};

/// Whether the kernel can do something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// It refuses, with this error.
    Missing(Errno),
    /// It can.
    Present,
}

impl Support {
    /// Whether the kernel can.
    pub const fn is_present(self) -> bool {
        matches!(self, Self::Present)
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(errno) => write!(f, "missing: {}", errno.desc().to_lowercase()),
            Self::Present => f.write_str("present"),
        }
    }
}

/// Something that some kernels can do and others cannot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Capability {
    /// Connection tracking in the bridge family (`NF_CONNTRACK_BRIDGE`, since Linux 5.3), with zones
    /// (`NF_CONNTRACK_ZONES`).
    BridgeConntrack,
    /// Deletion of a chain in the transaction that deletes the last map element which leads to it; EBUSY where a map
    /// keeps its hold until the commit is over.
    ChainDeletion,
    /// Sets to which rules add elements, with timeouts (`NFT_SET_EVAL`).
    DynamicSets,
    /// Telling a listener of frames, a limited number of them (`NFT_LOG`, `NETFILTER_NETLINK_LOG`, `NFT_LIMIT`).
    FrameLog,
    /// The bridge's name as a match (`NFT_BRIDGE_META`).
    Ibrname,
    /// Refusing instead of dropping (`NFT_BRIDGE_REJECT`).
    Reject,
}

impl Capability {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::BridgeConntrack,
        Self::ChainDeletion,
        Self::DynamicSets,
        Self::FrameLog,
        Self::Ibrname,
        Self::Reject,
    ];

    /// Its name, for people and scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BridgeConntrack => "bridge-conntrack",
            Self::ChainDeletion => "chain-deletion",
            Self::DynamicSets => "dynamic-sets",
            Self::FrameLog => "frame-log",
            Self::Ibrname => "ibrname",
            Self::Reject => "reject",
        }
    }

    /// What it is, in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::BridgeConntrack => "connection tracking in the bridge family",
            Self::ChainDeletion => "deleting a chain together with the last map element that leads to it",
            Self::DynamicSets => "sets that rules add elements to",
            Self::FrameLog => "telling of frames, a limited number of them",
            Self::Ibrname => "the bridge's name as a match",
            Self::Reject => "refusing instead of dropping",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the kernel can do, in one network namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities([Support; Capability::ALL.len()]);

impl Capabilities {
    /// Tries each capability in the network namespace that the calling thread is in.
    ///
    /// # Errors
    /// The kernel refuses even an empty table: for want of privilege, or of `nf_tables`.
    pub fn probe() -> Result<Self, NftError> {
        let mut trial = Trial::open()?;
        trial.plainest()?;
        let mut found = [Support::Present; Capability::ALL.len()];
        for (support, capability) in found.iter_mut().zip(Capability::ALL) {
            *support = match capability {
                Capability::BridgeConntrack => trial.expressions(|w| {
                    expression(w, "ct", |w| {
                        w.number(NFTA_CT_KEY, NFT_CT_ZONE);
                        w.number(NFTA_CT_DREG, NFT_REG_1);
                    });
                    expression(w, "ct", |w| {
                        w.number(NFTA_CT_KEY, NFT_CT_ZONE);
                        w.number(NFTA_CT_SREG, NFT_REG_1);
                    });
                }),
                Capability::ChainDeletion => trial.chain_deletion(),
                Capability::DynamicSets => trial.dynamic_set(),
                Capability::FrameLog => trial.expressions(|w| {
                    expression(w, "limit", |w| {
                        w.attribute(NFTA_LIMIT_RATE, &1_u64.to_be_bytes());
                        w.attribute(NFTA_LIMIT_UNIT, &1_u64.to_be_bytes());
                        w.number(NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
                    });
                    expression(w, "log", |w| w.attribute(NFTA_LOG_GROUP, &0_u16.to_be_bytes()));
                }),
                Capability::Ibrname => trial.expressions(|w| {
                    expression(w, "meta", |w| {
                        w.number(NFTA_META_KEY, NFT_META_BRI_IIFNAME);
                        w.number(NFTA_META_DREG, NFT_REG_1);
                    });
                }),
                Capability::Reject => trial.expressions(|w| {
                    expression(w, "reject", |w| {
                        w.number(NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
                        w.attribute(NFTA_REJECT_ICMP_CODE, &[NFT_REJECT_ICMPX_PORT_UNREACH]);
                    });
                }),
            }?;
        }
        Ok(Self(found))
    }

    /// What was found by `support`.
    #[cfg(test)]
    pub(crate) fn found(support: impl Fn(Capability) -> Support) -> Self {
        Self(Capability::ALL.map(support))
    }

    /// Whether the kernel is capable of `capability`.
    pub fn of(&self, capability: Capability) -> Support {
        let found = self.iter().find(|(candidate, _)| *candidate == capability);
        found.map_or(Support::Missing(Errno::ENOTSUP), |(_, support)| support)
    }

    /// Each capability with what was found.
    pub fn iter(&self) -> impl Iterator<Item = (Capability, Support)> {
        Capability::ALL.into_iter().zip(self.0)
    }
}

impl fmt::Display for Capabilities {
    /// One line for each capability.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (capability, support) in self.iter() {
            writeln!(f, "{:<17} {support} ({})", capability.name(), capability.describe())?;
        }
        Ok(())
    }
}

const CHAIN: &str = "trial";
const SET: &str = "trial";

/// Where things are tried.
struct Trial {
    socket: NetlinkSocket,
    /// A name that nobody else uses: it carries the number of our socket, which is unique in the network namespace.
    table: String,
}

/// One transaction.
#[derive(Default)]
struct Batch {
    messages: Vec<(u16, u16, Vec<u8>)>,
}

impl Batch {
    /// Appends a message.
    fn add(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Writer)) {
        let mut writer = Writer::default();
        body(&mut writer);
        self.messages.push((kind, flags, writer.into_bytes()));
    }
}

impl Trial {
    fn open() -> Result<Self, NftError> {
        let socket = NetlinkSocket::open(NETLINK_NETFILTER, &[])?;
        let table = format!("mnp-nft-bridge-trial-{}", socket.port());
        Ok(Self { socket, table })
    }

    /// A table with an empty chain: whoever refuses that refuses everything.
    fn plainest(&mut self) -> Result<(), NftError> {
        let batch = self.transient(|_, _| {});
        match self.commit(&batch)? {
            None => Ok(()),
            Some(errno) => {
                Err(NftError::Request { request: "an empty scratch table", errno, hint: String::new() })
            }
        }
    }

    /// A rule.
    fn expressions(&mut self, expressions: impl FnOnce(&mut Writer)) -> Result<Support, NftError> {
        let batch = self.transient(|batch, table| {
            batch.add(NFT_MSG_NEWRULE, NLM_F_CREATE, |w| rule(w, table, expressions));
        });
        Ok(support(self.commit(&batch)?))
    }

    /// A rule that puts the input port into a set for a second.
    fn dynamic_set(&mut self) -> Result<Support, NftError> {
        let batch = self.transient(|batch, table| {
            batch.add(NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL, |w| {
                set(w, table, NFT_SET_EVAL | NFT_SET_TIMEOUT);
                w.attribute(NFTA_SET_TIMEOUT, &1000_u64.to_be_bytes());
            });
            batch.add(NFT_MSG_NEWRULE, NLM_F_CREATE, |w| {
                rule(w, table, |w| {
                    expression(w, "meta", |w| {
                        w.number(NFTA_META_KEY, NFT_META_IIF);
                        w.number(NFTA_META_DREG, NFT_REG_1);
                    });
                    expression(w, "dynset", |w| {
                        w.number(NFTA_DYNSET_SREG_KEY, NFT_REG_1);
                        w.number(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
                        w.text(NFTA_DYNSET_SET_NAME, SET);
                    });
                });
            });
        });
        Ok(support(self.commit(&batch)?))
    }

    /// A map that leads to a chain in one transaction; the element and the chain go in another.
    fn chain_deletion(&mut self) -> Result<Support, NftError> {
        let table = self.table.clone();
        let mut batch = Batch::default();
        make_table(&mut batch, &table, NFT_TABLE_F_OWNER);
        batch.add(NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL, |w| {
            set(w, &table, NFT_SET_MAP);
            w.number(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
            w.number(NFTA_SET_DATA_LEN, 0);
        });
        batch.add(NFT_MSG_NEWSETELEM, NLM_F_CREATE, |w| element(w, &table));
        if let Some(errno) = self.commit(&batch)? {
            return Ok(Support::Missing(errno));
        }
        let mut batch = Batch::default();
        batch.add(NFT_MSG_DELSETELEM, 0, |w| element(w, &table));
        batch.add(NFT_MSG_DELCHAIN, 0, |w| {
            w.text(NFTA_CHAIN_TABLE, &table);
            w.text(NFTA_CHAIN_NAME, CHAIN);
        });
        let found = support(self.commit(&batch)?);
        let mut batch = Batch::default();
        batch.add(NFT_MSG_DELTABLE, 0, |w| w.text(NFTA_TABLE_NAME, &table));
        match self.commit(&batch)? {
            None => Ok(found),
            Some(errno) => {
                let request = "to delete a scratch table (it goes with this program)";
                Err(NftError::Request { request, errno, hint: String::new() })
            }
        }
    }

    /// A transaction that makes a table with a chain, does more, and deletes the table again.
    fn transient(&self, more: impl FnOnce(&mut Batch, &str)) -> Batch {
        let mut batch = Batch::default();
        make_table(&mut batch, &self.table, 0);
        more(&mut batch, &self.table);
        batch.add(NFT_MSG_DELTABLE, 0, |w| w.text(NFTA_TABLE_NAME, &self.table));
        batch
    }

    /// Sends a transaction: `None` when it was committed, else the first error.
    fn commit(&mut self, batch: &Batch) -> Result<Option<Errno>, NftError> {
        let count = u32::try_from(batch.messages.len()).unwrap_or(u32::MAX);
        let first = self.socket.take_sequences(count.saturating_add(2));
        self.socket.send(&written(batch, first))?;
        let acknowledging = first.wrapping_add(count);
        let mut acknowledged = false;
        let mut refusal: Option<Answer> = None;
        while let Received::Datagram(datagram) = self.socket.receive(Some(Duration::ZERO))? {
            for message in messages(datagram) {
                let message = message?;
                if message.kind != NLMSG_ERROR {
                    continue;
                }
                let answer = read_answer(&message);
                if answer.errno.is_none() {
                    acknowledged |= answer.sequence == acknowledging;
                } else if refusal.is_none() {
                    refusal = Some(answer);
                }
            }
        }
        match refusal.map(|answer| (answer.errno, answer.hint)) {
            Some((Some(errno @ (Errno::EPERM | Errno::EACCES)), hint)) => {
                Err(NftError::Request { request: "a scratch table", errno, hint })
            }
            Some((errno, _)) => Ok(errno),
            None if acknowledged => Ok(None),
            None => Err(NftError::Unanswered { request: "a trial" }),
        }
    }
}

/// The messages of a batch in their frame; the last one asks for an answer.
fn written(batch: &Batch, first: u32) -> Vec<u8> {
    let mut writer = Writer::default();
    let mut sequence = first;
    let mut take = || {
        let taken = sequence;
        sequence = sequence.wrapping_add(1);
        taken
    };
    let frame = nfgen(NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES);
    let header = |kind, flags, sequence| Header { kind, flags: NLM_F_REQUEST | flags, sequence };
    writer.plain_message(header(NFNL_MSG_BATCH_BEGIN, 0, take()), &frame, |_| {});
    for (at, (kind, flags, body)) in batch.messages.iter().enumerate() {
        let last = at + 1 == batch.messages.len();
        let flags = flags | if last { NLM_F_ACK } else { 0 };
        let fixed = [&nfgen(NFPROTO_BRIDGE, 0)[..], body].concat();
        writer.plain_message(header(*kind, flags, take()), &fixed, |_| {});
    }
    writer.plain_message(header(NFNL_MSG_BATCH_END, 0, take()), &frame, |_| {});
    writer.into_bytes()
}

const fn support(refusal: Option<Errno>) -> Support {
    match refusal {
        None => Support::Present,
        Some(errno) => Support::Missing(errno),
    }
}

/// A table with a chain that no hook leads to.
fn make_table(batch: &mut Batch, table: &str, flags: u32) {
    batch.add(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, |w| {
        w.text(NFTA_TABLE_NAME, table);
        w.number(NFTA_TABLE_FLAGS, flags);
    });
    batch.add(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, |w| {
        w.text(NFTA_CHAIN_TABLE, table);
        w.text(NFTA_CHAIN_NAME, CHAIN);
    });
}

/// A rule's attributes.
fn rule(w: &mut Writer, table: &str, expressions: impl FnOnce(&mut Writer)) {
    w.text(NFTA_RULE_TABLE, table);
    w.text(NFTA_RULE_CHAIN, CHAIN);
    w.group(NFTA_RULE_EXPRESSIONS, expressions);
}

fn expression(w: &mut Writer, name: &str, attributes: impl FnOnce(&mut Writer)) {
    w.group(NFTA_LIST_ELEM, |w| {
        w.text(NFTA_EXPR_NAME, name);
        w.group(NFTA_EXPR_DATA, attributes);
    });
}

/// The attributes of a set of interface indexes.
fn set(w: &mut Writer, table: &str, flags: u32) {
    let kind = layout::type_number(policy_core::ruleset::KeyType::Index).unwrap_or_default();
    w.text(NFTA_SET_TABLE, table);
    w.text(NFTA_SET_NAME, SET);
    w.number(NFTA_SET_FLAGS, flags);
    w.number(NFTA_SET_KEY_TYPE, kind);
    w.number(NFTA_SET_KEY_LEN, 4);
    w.number(NFTA_SET_ID, 1);
}

/// The attributes of the map's only element, which leads to the chain.
fn element(w: &mut Writer, table: &str) {
    w.text(NFTA_SET_ELEM_LIST_TABLE, table);
    w.text(NFTA_SET_ELEM_LIST_SET, SET);
    w.group(NFTA_SET_ELEM_LIST_ELEMENTS, |w| {
        w.group(NFTA_LIST_ELEM, |w| {
            w.group(NFTA_SET_ELEM_KEY, |w| w.attribute(NFTA_DATA_VALUE, &1_u32.to_ne_bytes()));
            w.group(NFTA_SET_ELEM_DATA, |w| {
                w.group(NFTA_DATA_VERDICT, |w| {
                    w.number(NFTA_VERDICT_CODE, NFT_GOTO);
                    w.text(NFTA_VERDICT_CHAIN, CHAIN);
                });
            });
        });
    });
}
