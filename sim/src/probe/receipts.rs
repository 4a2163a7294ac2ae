//! Who received what: shared by the sockets that send and those that answer.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Probe;

/// What a TCP or UDP probe carries: a number that no other probe of the round has.
pub(super) type Nonce = [u8; 8];

/// The memory of a round.
#[derive(Clone, Default)]
pub(super) struct Receipts(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    next: u64,
    nonces: BTreeMap<Probe, BTreeSet<Nonce>>,
    sources: BTreeMap<Probe, Vec<SocketAddr>>,
    received: BTreeSet<Nonce>,
}

impl Receipts {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new number for `probe`, sent from `source`.
    pub(super) fn issue(&self, probe: &Probe, source: SocketAddr) -> Nonce {
        let mut memory = self.memory();
        memory.next += 1;
        let nonce = memory.next.to_be_bytes();
        memory.nonces.entry(probe.clone()).or_default().insert(nonce);
        memory.sources.entry(probe.clone()).or_default().push(source);
        nonce
    }

    /// A receiver has seen `nonce`.
    pub(super) fn receive(&self, nonce: Nonce) {
        self.memory().received.insert(nonce);
    }

    /// Whether the receiver has seen anything of `probe`.
    pub(super) fn arrived(&self, probe: &Probe) -> bool {
        let memory = self.memory();
        memory.nonces.get(probe).is_some_and(|nonces| !nonces.is_disjoint(&memory.received))
    }

    /// Where `probe` was sent from.
    pub(super) fn sent_from(&self, probe: &Probe) -> Vec<SocketAddr> {
        self.memory().sources.get(probe).cloned().unwrap_or_default()
    }
}

/// What a receiver answers to `nonce`: every bit turned, so that an echo by anybody else is no answer.
pub(super) fn answer(nonce: Nonce) -> Nonce {
    nonce.map(|byte| !byte)
}
