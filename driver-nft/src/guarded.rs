//! How commits are guarded against other writers: pure, on top of single requests.
//!
//! The kernel's generation id counts the commits of all tables, so it alone would refuse too much; what the kernel announces
//! about commits tells which table they touched. Both together make "only if nobody else changed our table since it was
//! last read". [`NftKernel`](crate::NftKernel) puts sockets below this, a simulation a model of the kernel.

use nix::errno::Errno;
use policy_core::ruleset::{Ruleset, Touched};
use policy_core::{Kernel, Observation, Transaction};

use crate::apart::apart;
use crate::error::NftError;
use crate::touch::Touch;

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

    /// Reads the parts of the table that `touch` names, request by request; `None` when they were seen to change meanwhile.
    fn list_touched(&mut self, touch: &Touch) -> Result<Option<Touched>, NftError>;
}

/// What announcements said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Announced {
    /// The commits, in order: those to other tables and our own as well.
    pub commits: Vec<Heard>,
    /// Announcements were lost: anything may have happened.
    pub lost: bool,
}

/// A commit that was announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// The generation of the ruleset that it made.
    pub generation: u32,
    /// What somebody else touched in our table; nothing, when it was our own.
    pub touch: Touch,
}

/// Commits each transaction only if nobody else changed the table since it was last read or written.
#[derive(Debug)]
pub struct Guarded<R> {
    pub(crate) requests: R,
    /// Whether somebody else changed the table since it was last read or written.
    tampered: bool,
    /// What somebody else touched since the table was last read.
    touch: Touch,
    /// The generation up to which every commit was announced or is part of what was read.
    heard: Option<u32>,
    /// Whether what is deleted waits for a transaction of its own.
    deletes_apart: bool,
}

impl<R: Requests> Guarded<R> {
    /// A guard in front of `requests`.
    pub const fn new(requests: R) -> Self {
        Self { requests, tampered: false, touch: Touch::ALL, heard: None, deletes_apart: false }
    }

    /// Deletes chains and sets in a transaction of their own from now on, for kernels that lack
    /// [`Capability::ChainDeletion`](crate::Capability::ChainDeletion).
    pub const fn delete_apart(&mut self) {
        self.deletes_apart = true;
    }

    fn apply_all(&mut self, transaction: &Transaction) -> Result<(), NftError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let generation = self.requests.generation()?;
            self.listen()?;
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

    /// Takes in what was announced.
    fn listen(&mut self) -> Result<(), NftError> {
        let announced = self.requests.announced()?;
        if self.hear(announced) {
            self.lost();
        }
        Ok(())
    }

    /// Anything may have happened to the table.
    fn lost(&mut self) {
        (self.tampered, self.touch) = (true, Touch::ALL);
    }

    /// Takes in announcements; whether some were lost.
    fn hear(&mut self, announced: Announced) -> bool {
        for Heard { generation, touch } in announced.commits {
            self.tampered |= !touch.is_empty();
            self.touch.merge(touch);
            match self.heard {
                Some(heard) if generation == next(heard) => self.heard = Some(generation),
                // One that is part of what was read.
                Some(heard) if heard.wrapping_sub(generation) < u32::MAX / 2 => {}
                Some(_) | None => {
                    // Between this one and the last there was another.
                    self.touch = Touch::ALL;
                    self.heard = Some(generation);
                }
            }
        }
        announced.lost
    }

    /// Reads what was announced about our own commit on top of `generation`. A large one overruns the buffer; the
    /// count of commits then tells whether somebody else's was among what was lost.
    fn take_own_announcements(&mut self, generation: u32) -> Result<(), NftError> {
        let complete = self.heard == Some(generation);
        let announced = self.requests.announced()?;
        // A commit counts a moment before it is announced, so what we committed on top of may be somebody else's work.
        if self.hear(announced) {
            let now = self.requests.generation()?;
            if now != generation && now != next(generation) {
                self.lost();
            } else if complete {
                self.heard = Some(now);
            }
        }
        Ok(())
    }

    /// One attempt to read what was touched; `None` when it is not known what was, or changes meanwhile.
    fn read_touched(&mut self) -> Result<Option<Touched>, NftError> {
        let generation = self.requests.generation()?;
        self.listen()?;
        if self.touch.all || self.heard != Some(generation) {
            return Ok(None);
        }
        let touched = self.requests.list_touched(&self.touch)?;
        Ok(if self.requests.generation()? == generation { touched } else { None })
    }
}

/// The generation behind this one: the kernel counts from 1 again when the number overflows (`nf_tables_commit`).
const fn next(generation: u32) -> u32 {
    match generation.wrapping_add(1) {
        0 => 1,
        next => next,
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
                (self.touch, self.heard) = (Touch::default(), Some(generation));
                return Ok(ruleset);
            }
        }
        Err(NftError::Unsettled { attempts: LISTING_ATTEMPTS_MAX })
    }

    fn observe_touched(&mut self) -> Result<Observation, NftError> {
        if let Some(touched) = self.read_touched()? {
            (self.tampered, self.touch) = (false, Touch::default());
            return Ok(Observation::Touched(touched));
        }
        self.observe().map(Observation::Whole)
    }
}
