//! The loop: takes messages, feeds the core, serves it with the kernel, and says what happened.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use anyhow::Result;
use policy_core::ruleset::LAYOUT;
use policy_core::{Attendant, Compiler, Config, Generation, Input, Kernel, Outcome, SinkFault, Time};
use tracing::{debug, error, info};

use super::feedback::Feedback;
use super::journal::Journal;
use super::metrics::Snapshot;
use super::{Content, Health, Message};

/// How many messages are taken in at most before the kernel is served: a flood of events must not keep it waiting.
const BATCH: usize = 4_096;

/// How often in a row a change may be overtaken before that counts as refused: with the core's growing pauses, for 1.2 s.
const OVERTAKEN_MAX: u32 = 6;

/// The core, its kernel, and what they are told.
pub(crate) struct Enforcer<K> {
    attendant: Attendant<Option<Journal>>,
    kernel: K,
    inbox: Receiver<Message>,
    started: Instant,
    /// When the oldest event was heard of that the kernel has not been served with.
    oldest: Option<Instant>,
    health: Health,
    /// Whether the kernel's table was read yet.
    has_looked: bool,
    /// How often in a row somebody else was faster than a change, or the kernel had no time for it.
    overtaken: u32,
    feedback: Feedback,
}

impl<K: Kernel> Enforcer<K> {
    /// An enforcer that knows nothing yet.
    pub(crate) fn new(
        config: &Config,
        kernel: K,
        inbox: Receiver<Message>,
        feedback: Feedback,
        journal: Option<Journal>,
    ) -> Self {
        Self {
            attendant: Attendant::new(config, journal),
            kernel,
            inbox,
            started: Instant::now(),
            oldest: None,
            health: Health::default(),
            has_looked: false,
            overtaken: 0,
            feedback,
        }
    }

    /// Works until it is asked to stop.
    ///
    /// # Errors
    /// A source of events has failed.
    pub(crate) fn work(mut self) -> Result<()> {
        loop {
            self.serve();
            let Some(first) = self.wait() else { return Ok(()) };
            let more: Vec<Message> = self.inbox.try_iter().take(BATCH).collect();
            self.oldest.get_or_insert(first.at);
            for message in [first].into_iter().chain(more) {
                // Whoever asked something may have given up.
                match message.content {
                    Content::Failed(error) => return Err(error),
                    Content::Health(answer) => drop(answer.try_send(self.health)),
                    Content::Input(input) => self.take(input),
                    Content::Look(answer) => drop(answer.try_send(self.snapshot())),
                    Content::Problems(object, problems) => self.feedback.problems(object, problems),
                    Content::Stop => return Ok(()),
                    Content::Whose(question) => question.answer(self.compiler()),
                }
            }
        }
    }

    fn take(&mut self, input: Input) {
        match &input {
            Input::Remove(object) => self.feedback.forget(object),
            Input::Relist { kind, objects } => self.feedback.listed(*kind, objects),
            Input::Tampered => self.feedback.tampered(),
            Input::Applied(_)
            | Input::Observed(_)
            | Input::Refused { .. }
            | Input::Tick
            | Input::Unobservable
            | Input::Upsert(_)
            | _ => {}
        }
        self.attendant.tell(input, self.now());
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::of(self.compiler(), self.health);
        self.feedback.complete(&mut snapshot);
        snapshot
    }

    const fn compiler(&self) -> &Compiler {
        self.attendant.compiler()
    }

    fn now(&self) -> Time {
        Time(self.started.elapsed())
    }

    /// The next message; one that time has passed, when the core waits for that. None when nobody can send any more.
    fn wait(&self) -> Option<Message> {
        let tick = || Message { at: Instant::now(), content: Content::Input(Input::Tick) };
        let Some((at, _)) = self.compiler().poll_timeout() else { return self.inbox.recv().ok() };
        match self.inbox.recv_timeout(at.0.saturating_sub(self.started.elapsed())) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => Some(tick()),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn refused(&mut self, Generation(generation): Generation, reason: K::Error) {
        let shown = reason.to_string();
        let fault: SinkFault = reason.into();
        if fault == SinkFault::Busy && self.overtaken < OVERTAKEN_MAX {
            self.overtaken += 1;
            info!(generation, reason = %shown, "somebody else was faster than a change; it is tried again");
            return;
        }
        error!(generation, reason = %shown, "the kernel has refused a change; it is tried again");
        self.feedback.refused();
        self.health.refused = true;
    }

    /// The kernel's table was read.
    fn looked(&mut self) {
        debug!("the kernel's table was read");
        let (table, first) = (self.compiler().applied(), !self.has_looked);
        if first && !table.chains.is_empty() && table.layout() != Some(LAYOUT) {
            let found = table.layout().map_or_else(|| "unknown".to_owned(), |layout| layout.to_string());
            let (chains, sets) = (table.chains.len(), table.sets.len());
            info!(
                found,
                ours = LAYOUT,
                chains,
                sets,
                "the table has another layout; it is changed in one transaction"
            );
        }
        self.has_looked = true;
    }

    /// Serves the core until it wants nothing more.
    fn serve(&mut self) {
        let started = self.started;
        while let Some(outcome) = self.attendant.serve(&mut self.kernel, || Time(started.elapsed())) {
            match outcome {
                Outcome::Observed => self.looked(),
                Outcome::Committed(transaction) => {
                    let (generation, ops) = (transaction.generation.0, transaction.ops.len());
                    let waited = self.oldest.take().map(|heard| heard.elapsed());
                    let waited_us = waited.map_or(0, |waited| waited.as_micros());
                    info!(generation, ops, waited_us, "the kernel has committed a change");
                    self.feedback.committed(ops, waited);
                    (self.health.refused, self.overtaken) = (false, 0);
                }
                Outcome::Refused(transaction, reason) => self.refused(transaction.generation, reason),
                Outcome::Reported(report) => self.feedback.problems(report.object, report.problems),
                Outcome::Unobservable(reason) => {
                    error!(%reason, "the kernel's table cannot be read; it is tried again");
                }
                other => error!(?other, "something unknown has happened"),
            }
        }
        let settled = self.compiler().is_settled();
        if settled && !self.health.synced {
            self.health.synced = true;
            let world = self.compiler().world();
            info!(
                pods = world.pods().count(),
                policies = world.policies().count(),
                ports = world.ports().count(),
                chains = self.compiler().applied().chains.len(),
                "everything is known, and the kernel enforces it"
            );
        }
        if settled {
            // What was heard of changed nothing.
            self.oldest = None;
        }
        self.renew_journal();
        debug!(settled, "served");
    }
}

impl<K> Enforcer<K> {
    /// Lets the journal go on in a new file, if that is due.
    fn renew_journal(&mut self) {
        if let Some(mut journal) = self.attendant.witness().take() {
            journal.renew(self.attendant.compiler());
            *self.attendant.witness() = Some(journal);
        }
    }
}
