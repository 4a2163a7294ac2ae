//! The state machine: inputs in, transactions out.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::compile::Judged;
use crate::config::Config;
use crate::index::Index;
use crate::input::{Input, SinkFault};
use crate::model::{Kind, Object, ObjectId};
use crate::output::{Generation, Output, Transaction};
use crate::reports::Reports;
use crate::ruleset::{ChainName, Dirty, Ruleset, Touched, diff_within};
use crate::time::Time;
use crate::world::{Previous, World};

/// The first wait after a refusal; each further one doubles it.
const RETRY_MIN: Duration = Duration::from_millis(20);
/// The longest wait after refusals.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How often the kernel's table is read back although nothing seems to have happened to it.
const AUDIT_EVERY: Duration = Duration::from_mins(10);

/// Why the core wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Wake {
    /// To read the kernel's table back.
    Audit,
    /// To try again after a refusal.
    Retry,
}

/// Where the conversation with the kernel stands.
#[derive(Clone, Debug)]
enum Conversation {
    /// Nothing is under way.
    Idle,
    /// `Output::Observe` or `ObserveTouched` was given; `Input::Observed` or `ObservedTouched` is due. When `suspect`, the table was changed meanwhile, and the answer
    /// may be older than that. When `whole`, only the whole table is an answer.
    Observing { suspect: bool, whole: bool },
    /// A transaction was given; `Applied` or `Refused` is due. When `suspect`, the table was changed meanwhile.
    Applying { transaction: Transaction, suspect: bool },
    /// A transaction was refused; the table is read back at this time.
    Waiting(Time),
}

/// The core of the agent.
///
/// > Feed one input, then take outputs until there is none, then feed the next.
///
/// Nothing is asked of the kernel before every kind of object has been listed once and the kernel's table has been
/// read. After that, each change leads to at most one transaction in flight; changes that come in meanwhile wait and
/// become one transaction together.
#[derive(Debug)]
pub struct Compiler {
    world: World,
    index: Index,
    applied: Ruleset,
    unlisted: BTreeSet<Kind>,
    conversation: Conversation,
    refusals: u32,
    audit_at: Time,
    generation: Generation,
    reports: Reports,
    outputs: VecDeque<Output>,
}

impl Compiler {
    /// A core that knows nothing yet; its first output is a request to observe the kernel.
    pub fn new(config: &Config) -> Self {
        Self {
            world: World::new(config),
            index: Index::new(config),
            applied: Ruleset::default(),
            unlisted: Kind::ALL.into(),
            conversation: Conversation::Observing { suspect: false, whole: true },
            refusals: 0,
            audit_at: Time::default().plus(AUDIT_EVERY),
            generation: Generation(0),
            reports: Reports::default(),
            outputs: VecDeque::from([Output::Observe]),
        }
    }

    /// A core that knows nothing yet, and whose first transaction is the one after `generation`.
    pub(crate) fn continued(config: &Config, generation: Generation) -> Self {
        Self { generation, ..Self::new(config) }
    }

    /// The last transaction and when the table was read last, if nothing is under way and no trouble is remembered: then all
    /// else that the core knows is its world and what the kernel has acknowledged.
    pub(crate) fn rest(&self) -> Option<(Generation, Time)> {
        let at_rest = self.is_settled() && self.refusals == 0 && self.outputs.is_empty();
        let observed_at = Time(self.audit_at.0.saturating_sub(AUDIT_EVERY));
        at_rest.then_some((self.generation, observed_at))
    }

    /// Takes in one event.
    pub fn handle_input(&mut self, input: Input, now: Time) {
        match input {
            Input::Applied(generation) => self.committed(generation),
            Input::Observed(ruleset) => self.observed(ruleset, now),
            Input::ObservedTouched(touched) => self.observed_touched(touched),
            Input::Refused { generation, fault } => self.refused(generation, fault, now),
            Input::Relist { kind, objects } => self.relist(kind, objects),
            Input::Remove(id) => self.remove(&id),
            Input::Tampered => self.tampered(),
            Input::Tick => self.tick(now),
            Input::Unobservable => self.unobservable(now),
            Input::Upsert(object) => self.upsert(object),
        }
    }

    /// The next request, if there is one.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front().or_else(|| self.next_transaction().map(Output::Apply))
    }

    /// When `Input::Tick` is wanted next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, Wake)> {
        match self.conversation {
            Conversation::Idle => Some((self.audit_at, Wake::Audit)),
            Conversation::Observing { .. } | Conversation::Applying { .. } => None,
            Conversation::Waiting(until) => Some((until, Wake::Retry)),
        }
    }

    /// What is known.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What follows from the world.
    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    /// What the world demands.
    pub fn desired(&self) -> &Ruleset {
        &self.index.desired.ruleset
    }

    /// What the kernel has acknowledged.
    pub fn applied(&self) -> &Ruleset {
        &self.applied
    }

    /// How many attachments of local pods there are to managed networks.
    pub fn local_attachments(&self) -> usize {
        self.index.attachments.len()
    }

    /// The chains that judge the frames of isolated attachments, and whose those are. What these chains count, they drop.
    pub fn judged(&self) -> impl Iterator<Item = (&ChainName, Judged)> {
        let attachments = self.index.attachments.iter();
        attachments.flat_map(|(id, enforced)| {
            enforced.enforcement.chains.keys().map(|chain| (chain, id.judged(chain)))
        })
    }

    /// Whether every kind of object has been listed once.
    pub fn is_synced(&self) -> bool {
        self.unlisted.is_empty()
    }

    /// Whether the kernel has acknowledged all that the world demands.
    pub fn is_settled(&self) -> bool {
        self.is_synced()
            && self.index.desired.dirty.is_empty()
            && matches!(self.conversation, Conversation::Idle)
    }

    fn upsert(&mut self, object: Object) {
        let id = object.id();
        let previous = self.world.upsert(object);
        self.follow(&id, &previous);
    }

    fn remove(&mut self, id: &ObjectId) {
        let previous = self.world.remove(id);
        self.follow(id, &previous);
    }

    fn relist(&mut self, kind: Kind, objects: Vec<Object>) {
        // Where a list names an object twice, the later entry is the newer one.
        let named = objects.into_iter().map(|object| (object.id(), object));
        let listed: BTreeMap<ObjectId, Object> = named.filter(|(id, _)| id.kind() == kind).collect();
        for id in self.world.ids(kind) {
            if !listed.contains_key(&id) {
                self.remove(&id);
            }
        }
        for object in listed.into_values() {
            self.upsert(object);
        }
        self.unlisted.remove(&kind);
        if kind == Kind::Network {
            let told = self.reports.networks_listed(&self.world);
            self.outputs.extend(told.into_iter().map(Output::Report));
        }
    }

    /// Brings everything that follows from the world up to date after one object has changed.
    fn follow(&mut self, id: &ObjectId, previous: &Previous) {
        let Self { world, index, reports, outputs, .. } = self;
        match (id, previous) {
            (ObjectId::Namespace(name), Previous::Namespace(old, wished)) => {
                index.namespace_changed(world, name, old.as_ref(), *wished);
            }
            (ObjectId::Network(network), Previous::Network(old)) => {
                if world.bridge(network) != old.as_ref() {
                    index.network_changed(world, network);
                }
                outputs.extend(reports.network_changed(world, network).into_iter().map(Output::Report));
            }
            (ObjectId::Pod(pod), Previous::Pod(old, forgotten)) => {
                index.pod_changed(world, pod, old.as_ref(), forgotten);
                for network in forgotten {
                    let told = reports.network_changed(world, network);
                    outputs.extend(told.into_iter().map(Output::Report));
                }
            }
            (ObjectId::Policy(policy), Previous::Policy(old)) => {
                index.policy_changed(world, policy, old.as_ref());
                outputs.extend(reports.policy_changed(world, policy, old.as_ref()).map(Output::Report));
            }
            (ObjectId::Port(port), Previous::Port(old, near)) => {
                index.port_changed(world, *port, old.as_ref(), near);
            }
            (
                ObjectId::Namespace(_)
                | ObjectId::Network(_)
                | ObjectId::Pod(_)
                | ObjectId::Policy(_)
                | ObjectId::Port(_),
                _,
            ) => {
                unreachable!("the world answers with the kind it was asked about")
            }
        }
    }

    /// The transaction that leads from what the kernel has to what it should have.
    fn next_transaction(&mut self) -> Option<Transaction> {
        if !self.is_synced() || !matches!(self.conversation, Conversation::Idle) {
            return None;
        }
        let dirty = core::mem::take(&mut self.index.desired.dirty);
        let (scope, ops) = diff_within(&self.applied, &self.index.desired.ruleset, &dirty);
        if ops.is_empty() {
            return None;
        }
        self.generation = Generation(self.generation.0 + 1);
        let transaction = Transaction { generation: self.generation, scope, ops };
        self.conversation = Conversation::Applying { transaction: transaction.clone(), suspect: false };
        Some(transaction)
    }

    fn committed(&mut self, generation: Generation) {
        let Some((transaction, suspect)) = self.answered(generation) else { return };
        let outcome = self.applied.take_in(&transaction);
        assert!(outcome.is_ok(), "the kernel took a transaction that the model refuses: {outcome:?}");
        self.refusals = 0;
        if suspect {
            self.observe_touched();
        }
    }

    /// Ends the transaction in flight, if it is the one of `generation`.
    fn answered(&mut self, generation: Generation) -> Option<(Transaction, bool)> {
        let Conversation::Applying { transaction, suspect } = &mut self.conversation else { return None };
        if transaction.generation != generation {
            return None;
        }
        let ops = core::mem::take(&mut transaction.ops);
        let answered = (Transaction { ops, ..*transaction }, *suspect);
        self.conversation = Conversation::Idle;
        Some(answered)
    }

    fn refused(&mut self, generation: Generation, fault: SinkFault, now: Time) {
        if self.answered(generation).is_none() {
            return;
        }
        if fault == SinkFault::Busy && self.refusals == 0 {
            self.refusals = 1;
            self.observe();
        } else {
            self.wait(now);
        }
    }

    fn observed(&mut self, ruleset: Ruleset, now: Time) {
        let Conversation::Observing { suspect, .. } = self.conversation else { return };
        if suspect {
            self.observe();
            return;
        }
        self.conversation = Conversation::Idle;
        self.audit_at = now.plus(AUDIT_EVERY);
        self.applied = ruleset;
        self.index.desired.dirty = Dirty::between(&self.applied, &self.index.desired.ruleset);
        if self.index.desired.dirty.is_empty() {
            // A commit whose answer was lost, or somebody else did the same: either way the trouble is over.
            self.refusals = 0;
        }
    }

    /// Only what was touched is known anew: the audit comes when it was to come.
    fn observed_touched(&mut self, touched: Touched) {
        let Conversation::Observing { suspect, whole: false } = self.conversation else { return };
        self.conversation = Conversation::Idle;
        let desired = &mut self.index.desired;
        desired.dirty.merge(touched.bring_into(&mut self.applied, &desired.ruleset));
        if suspect {
            self.observe_touched();
        }
    }

    fn unobservable(&mut self, now: Time) {
        if matches!(self.conversation, Conversation::Observing { .. }) {
            self.wait(now);
        }
    }

    /// Leaves the kernel alone for a while; longer each time in a row.
    fn wait(&mut self, now: Time) {
        let wait = RETRY_MIN.saturating_mul(1 << self.refusals.min(16)).min(RETRY_MAX);
        self.refusals = self.refusals.saturating_add(1);
        self.conversation = Conversation::Waiting(now.plus(wait));
    }

    fn tampered(&mut self) {
        match &mut self.conversation {
            Conversation::Idle => self.observe_touched(),
            Conversation::Applying { suspect, .. } | Conversation::Observing { suspect, .. } => {
                *suspect = true;
            }
            // The table is read when the wait is over.
            Conversation::Waiting(_) => {}
        }
    }

    fn tick(&mut self, now: Time) {
        let due = self.poll_timeout().is_some_and(|(at, _)| now >= at);
        if due {
            self.observe();
        }
    }

    fn observe(&mut self) {
        self.conversation = Conversation::Observing { suspect: false, whole: true };
        self.outputs.push_back(Output::Observe);
    }

    /// What is in the table is known but for what somebody else has touched.
    fn observe_touched(&mut self) {
        self.conversation = Conversation::Observing { suspect: false, whole: false };
        self.outputs.push_back(Output::ObserveTouched);
    }
}
