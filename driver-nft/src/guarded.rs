//! How commits are guarded against other writers: pure, on top of single requests.
//!
//! The kernel's generation id counts the commits of all tables, so it alone would refuse too much; what the kernel announces
//! about commits tells which table they touched. Both together make "only if nobody else changed our table since it was
//! last read". [`NftKernel`](crate::NftKernel) puts sockets below this, a simulation a model of the kernel.

use nix::errno::Errno;
use policy_core::ruleset::Ruleset;
use policy_core::{Kernel, Transaction};

use crate::apart::apart;
use crate::error::NftError;

/// How often a commit is tried again because some other table changed at the same moment.
const COMMIT_ATTEMPTS_MAX: u32 = 16;
/// How often a listing is tried again because some ruleset changed at the same moment.
const LISTING_ATTEMPTS_MAX: u32 = 50;

/// Single requests to the nftables of one network namespace.
pub trait Requests {
    /// The number of the ruleset's current generation: every commit, to whatever table, makes a new one.
    fn generation(&mut self) -> Result<u32, NftError>;

    /// What was announced about our table since the last time this was asked.
    fn announced(&mut self) -> Result<Announced, NftError>;

    /// Commits all of `transaction` if the ruleset still has `generation`, or nothing; ERESTART when it has another.
    fn commit_at(&mut self, transaction: &Transaction, generation: u32) -> Result<(), NftError>;

    /// Reads the table, request by request; `None` when it was seen to change meanwhile.
    fn list(&mut self) -> Result<Option<Ruleset>, NftError>;
}

/// What announcements said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Announced {
    /// Somebody else changed our table.
    pub foreign: bool,
    /// Announcements were lost: anything may have happened.
    pub lost: bool,
}

/// Commits each transaction only if nobody else changed the table since it was last read or written.
#[derive(Debug)]
pub struct Guarded<R> {
    pub(crate) requests: R,
    /// Whether somebody else changed the table since it was last read or written.
    tampered: bool,
    /// Whether what is deleted waits for a transaction of its own.
    deletes_apart: bool,
}

impl<R: Requests> Guarded<R> {
    /// A guard in front of `requests`.
    pub const fn new(requests: R) -> Self {
        Self { requests, tampered: false, deletes_apart: false }
    }

    /// Deletes chains and sets in a transaction of their own from now on, for kernels that lack
    /// [`Capability::ChainDeletion`](crate::Capability::ChainDeletion).
    pub const fn delete_apart(&mut self) {
        self.deletes_apart = true;
    }

    fn apply_all(&mut self, transaction: &Transaction) -> Result<(), NftError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let generation = self.requests.generation()?;
            let Announced { foreign, lost } = self.requests.announced()?;
            self.tampered |= foreign || lost;
            if core::mem::take(&mut self.tampered) {
                return Err(NftError::Overtaken);
            }
            match self.requests.commit_at(transaction, generation) {
                Err(error) if error.errno() == Some(Errno::ERESTART) => {}
                result => {
                    self.take_own_announcements(generation)?;
                    return result;
                }
            }
        }
        Err(NftError::Overtaken)
    }

    /// Reads what was announced about our own commit on top of `generation`. A large one overruns the buffer; the
    /// count of commits then tells whether somebody else's was among what was lost.
    fn take_own_announcements(&mut self, generation: u32) -> Result<(), NftError> {
        let Announced { foreign, lost } = self.requests.announced()?;
        // A commit counts a moment before it is announced, so what we committed on top of may be somebody else's work.
        self.tampered |= foreign;
        if lost {
            // The kernel counts from 1 again when the number overflows (`nf_tables_commit`).
            let ours = generation.wrapping_add(1).max(1);
            let now = self.requests.generation()?;
            self.tampered |= now != generation && now != ours;
        }
        Ok(())
    }
}

impl<R: Requests> Kernel for Guarded<R> {
    type Error = NftError;

    fn apply(&mut self, transaction: &Transaction) -> Result<(), NftError> {
        if !self.deletes_apart {
            return self.apply_all(transaction);
        }
        let Some([changes, deletions]) = apart(transaction) else { return self.apply_all(transaction) };
        self.apply_all(&changes)?;
        self.apply_all(&deletions)
    }

    fn observe(&mut self) -> Result<Ruleset, NftError> {
        for _ in 0..LISTING_ATTEMPTS_MAX {
            let generation = self.requests.generation()?;
            // What was announced until now is part of what is listed below.
            self.requests.announced()?;
            self.tampered = false;
            if let Some(ruleset) = self.requests.list()?
                && self.requests.generation()? == generation
            {
                return Ok(ruleset);
            }
        }
        Err(NftError::Unsettled { attempts: LISTING_ATTEMPTS_MAX })
    }
}
