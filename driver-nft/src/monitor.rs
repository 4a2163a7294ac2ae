//! What other programs do to nftables, as the kernel announces it.

use alloc::collections::BTreeSet;
use core::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;
use policy_core::ruleset::TABLE;

use crate::error::NftError;
use crate::guarded::{Announced, Heard};
use crate::socket::{NetlinkSocket, Received};
use crate::touch::Touch;
use crate::uapi::{
    NFNL_SUBSYS_NFTABLES, NFNLGRP_NFTABLES, NFPROTO_BRIDGE, NFT_MSG_NEWGEN, NFTA_GEN_ID, NFTA_GEN_PROC_NAME,
    NFTA_GEN_PROC_PID, NFTA_TABLE_NAME,
};
use crate::wire::{Message, WireError, messages};

/// Listens for commits to nftables in one network namespace.
pub struct Monitor {
    socket: NetlinkSocket,
    /// Netlink ports whose commits are our own.
    own_ports: BTreeSet<u32>,
    /// What the messages since the last commit say about our table.
    touch: Touch,
    /// Commits that were received and not yet handed out, oldest last.
    ready: Vec<Notice>,
}

/// Something that the kernel announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A transaction was committed.
    Commit(Commit),
    /// Announcements were lost: anything may have happened.
    Overrun,
}

impl Notice {
    /// Whether our table may have been changed by somebody else: the core's `Input::Tampered`.
    pub fn is_tampering(&self) -> bool {
        match self {
            Self::Commit(commit) => !commit.ours && !commit.touch.is_empty(),
            Self::Overrun => true,
        }
    }
}

/// A committed transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// The generation of the ruleset that it made.
    pub generation: u32,
    /// The writer's process id (of its thread, in the initial pid namespace).
    pub pid: u32,
    /// The writer's name, at most 15 bytes; empty when the kernel does not know it.
    pub program: String,
    /// Whether it came from this program's own kernel handle.
    pub ours: bool,
    /// What it changed in the table `bridge mnp-nft-bridge`; of what is ours, nothing is said.
    pub touch: Touch,
}

impl Monitor {
    /// Starts to listen in the network namespace of the calling thread. Commits from `own_ports` count as our own.
    pub(crate) fn open(own_ports: impl IntoIterator<Item = u32>) -> Result<Self, NftError> {
        let socket = NetlinkSocket::open(NETLINK_NETFILTER, &[NFNLGRP_NFTABLES])?;
        Ok(Self {
            socket,
            own_ports: own_ports.into_iter().collect(),
            touch: Touch::default(),
            ready: Vec::new(),
        })
    }

    /// The next announcement, waiting for it at most `timeout` (`None`: for ever). `Ok(None)` when the time is up or
    /// a signal came.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Notice>, NftError> {
        loop {
            if let Some(notice) = self.ready.pop() {
                return Ok(Some(notice));
            }
            match self.socket.receive(timeout)? {
                Received::Nothing => return Ok(None),
                Received::Overrun => {
                    self.touch = Touch::default();
                    return Ok(Some(Notice::Overrun));
                }
                Received::Datagram(datagram) => {
                    for message in messages(datagram) {
                        self.ready.extend(read(&message?, &mut self.touch, &self.own_ports)?);
                    }
                    self.ready.reverse();
                }
            }
        }
    }

    /// What was announced until now.
    pub(crate) fn announced(&mut self) -> Result<Announced, NftError> {
        let mut announced = Announced::default();
        while let Some(notice) = self.next(Some(Duration::ZERO))? {
            match notice {
                Notice::Commit(Commit { generation, ours, touch, .. }) => {
                    let touch = if ours { Touch::default() } else { touch };
                    announced.commits.push(Heard { generation, touch });
                }
                Notice::Overrun => announced.lost = true,
            }
        }
        Ok(announced)
    }
}

/// Reads one announcement: each object's change comes by itself, the new generation closes the commit.
fn read(
    message: &Message<'_>,
    touch: &mut Touch,
    own_ports: &BTreeSet<u32>,
) -> Result<Option<Notice>, WireError> {
    if message.kind >> 8 != NFNL_SUBSYS_NFTABLES {
        return Ok(None);
    }
    let (family, attributes) = message.body()?;
    if message.kind != NFT_MSG_NEWGEN {
        // Every kind of object names its table in the attribute of type 1.
        let about_us = family == NFPROTO_BRIDGE
            && attributes.text(NFTA_TABLE_NAME).is_some_and(|name| name == TABLE)
            && !own_ports.contains(&message.port);
        if about_us {
            touch.take(message.kind, &attributes);
        }
        return Ok(None);
    }
    Ok(Some(Notice::Commit(Commit {
        generation: attributes.number(NFTA_GEN_ID).unwrap_or(0),
        pid: attributes.number(NFTA_GEN_PROC_PID).unwrap_or(0),
        program: attributes.text(NFTA_GEN_PROC_NAME).unwrap_or_default(),
        ours: own_ports.contains(&message.port),
        touch: core::mem::take(touch),
    })))
}
