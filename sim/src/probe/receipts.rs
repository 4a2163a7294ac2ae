//! Who received what: shared by the sockets that send and those that answer.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Probe;

/// What a probe carries that is not sent by a program: a number that no other probe of the round has.
pub(super) type Nonce = [u8; 8];

/// The memory of a round.
#[derive(Clone, Default)]
pub(super) struct Receipts {
    memory: Arc<Mutex<Memory>>,
    /// Something has been received.
    news: Arc<Notify>,
}

#[derive(Default)]
struct Memory {
    next: u64,
    nonces: BTreeMap<Probe, BTreeSet<Nonce>>,
    sources: BTreeMap<Probe, Vec<SocketAddr>>,
    received: BTreeSet<Nonce>,
}

impl Receipts {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new number for `probe`.
    pub(super) fn issue(&self, probe: &Probe) -> Nonce {
        let mut memory = self.memory();
        memory.next += 1;
        let nonce = memory.next.to_be_bytes();
        memory.nonces.entry(probe.clone()).or_default().insert(nonce);
        nonce
    }

    /// A connection of `probe` begins at `source`.
    pub(super) fn send_from(&self, probe: &Probe, source: SocketAddr) {
        self.memory().sources.entry(probe.clone()).or_default().push(source);
    }

    /// A receiver has seen `nonce`.
    pub(super) fn receive(&self, nonce: Nonce) {
        self.memory().received.insert(nonce);
        self.news.notify_waiters();
    }

    /// Ends when a receiver has seen `nonce`.
    pub(super) async fn arrival(&self, nonce: Nonce) {
        loop {
            // Before looking, so that what is received in between wakes it.
            let news = self.news.notified();
            if self.memory().received.contains(&nonce) {
                return;
            }
            news.await;
        }
    }

    /// Whether the receiver has seen anything of `probe`.
    pub(super) fn arrived(&self, probe: &Probe) -> bool {
        let memory = self.memory();
        memory.nonces.get(probe).is_some_and(|nonces| !nonces.is_disjoint(&memory.received))
    }

    /// Where connections of `probe` have begun.
    pub(super) fn sent_from(&self, probe: &Probe) -> Vec<SocketAddr> {
        self.memory().sources.get(probe).cloned().unwrap_or_default()
    }
}

/// What a receiver answers to `nonce`: every bit turned, so that an echo by anybody else is no answer.
pub(super) fn answer(nonce: Nonce) -> Nonce {
    nonce.map(|byte| !byte)
}
