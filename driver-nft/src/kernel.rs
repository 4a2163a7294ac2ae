//! The kernel's nftables behind core's one seam.

use alloc::collections::BTreeMap;
use core::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;
use policy_core::ruleset::{ChainName, Ruleset, SetName, TABLE, Touched};
use policy_core::{Kernel, Observation, Transaction};

use crate::decode::{self, Counted};
use crate::encode::{Batch, Origin, brief, encode, encode_removal};
use crate::error::NftError;
use crate::guarded::{Announced, Guarded, Requests};
use crate::monitor::Monitor;
use crate::socket::{Answer, Dump, NetlinkSocket, Received, read_answer};
use crate::touch::Touch;
use crate::uapi::{
    NFPROTO_BRIDGE, NFPROTO_UNSPEC, NFT_MSG_GETCHAIN, NFT_MSG_GETGEN, NFT_MSG_GETRULE, NFT_MSG_GETSET,
    NFT_MSG_GETSETELEM, NFT_MSG_GETTABLE, NFT_MSG_NEWGEN, NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE, NFTA_GEN_ID,
    NFTA_RULE_CHAIN, NFTA_RULE_TABLE, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_TABLE,
    NFTA_TABLE_NAME, NLMSG_ERROR,
};
use crate::wire::{Writer, messages, nfgen};

/// The nftables of one network namespace; reads and writes the table `bridge mnp-nft-bridge` and no other.
///
/// Each transaction is committed only if nobody else changed the table since it was last observed or written. The
/// kernel's generation id counts the commits of all tables, so the handle listens to what the kernel announces about
/// them: a commit to another table does not stand in the way, one to ours is [`NftError::Overtaken`].
pub struct NftKernel(Guarded<Sockets>);

impl NftKernel {
    /// Opens the nftables of the network namespace that the calling thread is in; the handle stays with that namespace.
    pub fn open() -> Result<Self, NftError> {
        let socket = NetlinkSocket::open(NETLINK_NETFILTER, &[])?;
        let announcements = Monitor::open([socket.port()])?;
        Ok(Self(Guarded::new(Sockets { socket, announcements })))
    }

    /// Deletes chains and sets in a transaction of their own from now on, for kernels that lack
    /// [`Capability::ChainDeletion`](crate::Capability::ChainDeletion).
    pub const fn delete_apart(&mut self) {
        self.0.delete_apart();
    }

    /// A listener for changes to the table that this handle did not make, for a thread of its own. It listens in the
    /// calling thread's network namespace.
    pub fn monitor(&self) -> Result<Monitor, NftError> {
        Monitor::open([self.0.requests.socket.port()])
    }

    /// Deletes the table with everything in it; nothing happens when there is none.
    pub fn remove_table(&mut self) -> Result<(), NftError> {
        let sockets = &mut self.0.requests;
        let batch = encode_removal(sockets.socket.take_sequences(0));
        sockets.commit(&batch, None)
    }

    /// What the counters in each chain have counted since its rules were last written; nothing when there is no table.
    pub fn counted(&mut self) -> Result<BTreeMap<ChainName, Counted>, NftError> {
        let dump =
            self.0.requests.dump(NFT_MSG_GETRULE, "a list of rules", |w| w.text(NFTA_RULE_TABLE, TABLE));
        match dump {
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(BTreeMap::new()),
            dump => Ok(decode::counted(&dump?.bytes)?),
        }
    }

    /// The number of the ruleset's current generation: every commit in this network namespace makes a new one.
    pub fn generation(&mut self) -> Result<u32, NftError> {
        self.0.requests.generation()
    }

    /// Commits `transaction` if the ruleset still has `generation`; otherwise the kernel says ERESTART.
    pub fn apply_at(&mut self, transaction: &Transaction, generation: u32) -> Result<(), NftError> {
        self.0.requests.commit_at(transaction, generation)
    }
}

/// The sockets of a handle: one for requests, one for what is announced.
struct Sockets {
    socket: NetlinkSocket,
    announcements: Monitor,
}

impl Requests for Sockets {
    fn generation(&mut self) -> Result<u32, NftError> {
        let request = "the number of the ruleset's generation";
        let answer = self.socket.fetch(NFT_MSG_GETGEN, &nfgen(NFPROTO_UNSPEC, 0), request, |_| {})?;
        for message in messages(&answer.bytes) {
            let message = message?;
            if message.kind == NFT_MSG_NEWGEN
                && let Some(generation) = message.body()?.1.number(NFTA_GEN_ID)
            {
                return Ok(generation);
            }
        }
        Err(NftError::Unanswered { request })
    }

    fn announced(&mut self) -> Result<Announced, NftError> {
        self.announcements.announced()
    }

    fn commit_at(&mut self, transaction: &Transaction, generation: u32) -> Result<(), NftError> {
        let batch = encode(transaction, Some(generation), self.socket.take_sequences(0))?;
        self.commit(&batch, Some(transaction))
    }

    fn list(&mut self) -> Result<Option<Ruleset>, NftError> {
        match self.listing()? {
            Some(listing) => Ok(Some(decode::ruleset(&listing)?)),
            None => Ok(None),
        }
    }

    fn list_touched(&mut self, touch: &Touch) -> Result<Option<Touched>, NftError> {
        match self.listing_touched(touch)? {
            Some(listing) => Ok(Some(decode::touched(&listing, touch)?)),
            None => Ok(None),
        }
    }
}

impl Sockets {
    /// Sends a batch and reads what the kernel says to it.
    fn commit(&mut self, batch: &Batch, transaction: Option<&Transaction>) -> Result<(), NftError> {
        self.socket.take_sequences(u32::try_from(batch.messages()).unwrap_or(u32::MAX));
        self.socket.send(batch.bytes())?;
        let mut refusal: Option<(Origin, Answer)> = None;
        let mut acknowledged = false;
        loop {
            let datagram = match self.socket.receive(Some(Duration::ZERO))? {
                Received::Nothing => break,
                // Too many errors for the buffer; those in it are still to come.
                Received::Overrun => continue,
                Received::Datagram(datagram) => datagram,
            };
            for message in messages(datagram) {
                let message = message?;
                let Some(origin) = batch.origin(message.sequence).filter(|_| message.kind == NLMSG_ERROR)
                else {
                    continue;
                };
                let answer = read_answer(&message);
                if answer.errno.is_none() {
                    acknowledged |= answer.sequence == batch.answering_sequence();
                } else if refusal.is_none() {
                    // The kernel goes on after the first error; the later ones may follow from it.
                    refusal = Some((origin, answer));
                }
            }
        }
        match refusal {
            Some((origin, answer)) => Err(refused(batch, origin, answer, transaction)),
            None if acknowledged => Ok(()),
            None => Err(NftError::Unanswered { request: "a transaction" }),
        }
    }

    fn dump(
        &mut self,
        kind: u16,
        what: &'static str,
        body: impl FnOnce(&mut Writer),
    ) -> Result<Dump, NftError> {
        self.socket.list(kind, &nfgen(NFPROTO_BRIDGE, 0), what, body)
    }

    /// One attempt to list the table; `None` when something changed meanwhile.
    fn listing(&mut self) -> Result<Option<Vec<u8>>, NftError> {
        let mut listing = match self.table() {
            Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(Some(Vec::new())),
            result => result?,
        };
        let sets = self.dump(NFT_MSG_GETSET, "a list of sets", |w| w.text(NFTA_SET_TABLE, TABLE))?;
        let names = decode::set_names(&sets.bytes)?;
        let mut interrupted = listing.interrupted;
        for dump in [
            Ok(sets),
            self.dump(NFT_MSG_GETCHAIN, "a list of chains", |_| {}),
            self.dump(NFT_MSG_GETRULE, "a list of rules", |w| w.text(NFTA_RULE_TABLE, TABLE)),
        ] {
            let dump = dump?;
            interrupted |= dump.interrupted;
            listing.bytes.extend_from_slice(&dump.bytes);
        }
        if !self.add_elements(names, &mut listing)? || interrupted {
            return Ok(None);
        }
        Ok(Some(listing.bytes))
    }

    /// One attempt to list what was touched; `None` when something changed meanwhile.
    fn listing_touched(&mut self, touch: &Touch) -> Result<Option<Vec<u8>>, NftError> {
        // What a rule looks up is read by the types of the set.
        let mut listing = match self.dump(NFT_MSG_GETSET, "a list of sets", |w| w.text(NFTA_SET_TABLE, TABLE))
        {
            Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(None),
            result => result?,
        };
        let filled = decode::set_names(&listing.bytes)?.into_iter().filter(|name| touch.sets.contains(name));
        let filled: Vec<SetName> = filled.collect();
        for name in &touch.chains {
            match self.chain(name) {
                Err(error) if error.errno() == Some(Errno::ENOENT) => {}
                dumps => {
                    for dump in dumps? {
                        listing.interrupted |= dump.interrupted;
                        listing.bytes.extend_from_slice(&dump.bytes);
                    }
                }
            }
        }
        let interrupted = listing.interrupted;
        if !self.add_elements(filled, &mut listing)? || interrupted {
            return Ok(None);
        }
        Ok(Some(listing.bytes))
    }

    /// Adds the elements of these sets to what is listed; whether nothing changed meanwhile.
    fn add_elements(&mut self, names: Vec<SetName>, listing: &mut Dump) -> Result<bool, NftError> {
        for name in names {
            match self.elements(&name) {
                // The set went away meanwhile.
                Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(false),
                dump => {
                    let dump = dump?;
                    listing.bytes.extend_from_slice(&dump.bytes);
                    if dump.interrupted {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// A chain, and its rules.
    fn chain(&mut self, chain: &ChainName) -> Result<[Dump; 2], NftError> {
        let itself = self.socket.fetch(NFT_MSG_GETCHAIN, &nfgen(NFPROTO_BRIDGE, 0), "a chain", |w| {
            w.text(NFTA_CHAIN_TABLE, TABLE);
            w.text(NFTA_CHAIN_NAME, chain.as_str());
        })?;
        let rules = self.dump(NFT_MSG_GETRULE, "a list of a chain's rules", |w| {
            w.text(NFTA_RULE_TABLE, TABLE);
            w.text(NFTA_RULE_CHAIN, chain.as_str());
        })?;
        Ok([itself, rules])
    }

    fn table(&mut self) -> Result<Dump, NftError> {
        self.socket.fetch(NFT_MSG_GETTABLE, &nfgen(NFPROTO_BRIDGE, 0), "the table", |w| {
            w.text(NFTA_TABLE_NAME, TABLE);
        })
    }

    fn elements(&mut self, set: &SetName) -> Result<Dump, NftError> {
        self.dump(NFT_MSG_GETSETELEM, "a list of elements", |w| {
            w.text(NFTA_SET_ELEM_LIST_TABLE, TABLE);
            w.text(NFTA_SET_ELEM_LIST_SET, set.as_str());
        })
    }
}

/// The error for the kernel's refusal of one message of `batch`.
fn refused(batch: &Batch, origin: Origin, answer: Answer, transaction: Option<&Transaction>) -> NftError {
    let Answer { sequence, errno, hint, offset } = answer;
    let errno = errno.unwrap_or(Errno::EPROTO);
    let request = match origin {
        Origin::Frame => "the transaction as a whole",
        // A lack of memory and what becomes of the commit are answered to the message behind the frame, whatever failed
        // (`nfnetlink_rcv_batch`, `net/netfilter/nfnetlink.c`).
        Origin::Table => "the table, or the transaction as a whole",
        Origin::Op(op_index) => {
            let op = transaction.and_then(|transaction| transaction.ops.get(op_index));
            let element = op.zip(offset).and_then(|(op, offset)| batch.element(op, sequence, offset));
            return NftError::Refused {
                op_index,
                op: op.map(brief).unwrap_or_default(),
                element,
                errno,
                hint,
            };
        }
    };
    NftError::Request { request, errno, hint }
}

impl Kernel for NftKernel {
    type Error = NftError;

    fn apply(&mut self, transaction: &Transaction) -> Result<(), NftError> {
        self.0.apply(transaction)
    }

    fn observe(&mut self) -> Result<Ruleset, NftError> {
        self.0.observe()
    }

    fn observe_touched(&mut self) -> Result<Observation, NftError> {
        self.0.observe_touched()
    }
}
