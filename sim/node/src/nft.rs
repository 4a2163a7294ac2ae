//! The kernel's nftables: the model's semantics of a transaction, the driver's requests, and all that can go wrong with them.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::rc::Rc;
use core::cell::RefCell;
use core::mem;

use driver_nft::{Announced, Heard, NftError, Requests, Touch};
use nix::errno::Errno;
use policy_core::ruleset::{
    ApplyError, BaseChain, Chain, ChainName, ChainSpec, Datum, Dirty, Expr, Hook, Key, Op, Rule, Ruleset,
    SetName, Touched, Verdict,
};
use policy_core::{Compiler, Config, Scope, Time, Transaction};

use crate::coverage::Coverage;
use crate::step::{Foreign, Notice, Request, Trouble};

/// What has been announced to the agent's own thread and not yet taken.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Ears {
    /// Somebody else's commits to our table.
    pub(crate) foreign: bool,
    /// Something was lost.
    pub(crate) lost: bool,
}

/// The nftables of the node, and its clock.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(crate) struct Nft {
    pub(crate) table: Ruleset,
    pub(crate) now: Time,
    pub(crate) generation: u32,
    /// The table before and behind the commits of the transaction that is being served.
    pub(crate) commit: Option<(Ruleset, Ruleset)>,
    /// The listener of the agent's handle.
    handle: Announced,
    /// The listener of the agent's own thread.
    pub(crate) monitor: Ears,
    /// Foreign commits that are not announced yet.
    late: Vec<Heard>,
    /// Whether somebody else changed the table since it was last read, and that will be announced late or never.
    pub(crate) hidden: bool,
    /// Whether somebody else changed the table since it was last read, and that will never be announced.
    pub(crate) silent: bool,
    /// Whether somebody else changed the table since it was last right.
    pub(crate) foreign: bool,
    troubles: VecDeque<(Request, Trouble)>,
    /// The agent dies at the so many-th moment from now.
    dies_in: Option<u32>,
    pub(crate) dead: bool,
    pub(crate) coverage: Coverage,
    /// What the other version of the agent would write when it knows nothing.
    layouts: Vec<Ruleset>,
    /// Whether a chain cannot be deleted by the commit that takes the last map element which leads to it.
    pub(crate) keeps_chains: bool,
    /// A deliberate mistake: what is refused is done by half.
    pub(crate) halves: bool,
}

impl Nft {
    pub(crate) fn new(versions: &[Config]) -> Self {
        let layouts = versions.iter().map(|config| Compiler::new(config).desired().clone()).collect();
        Self {
            table: Ruleset::default(),
            now: Time::default(),
            generation: 1,
            commit: None,
            handle: Announced::default(),
            monitor: Ears::default(),
            late: Vec::new(),
            hidden: false,
            silent: false,
            foreign: false,
            troubles: VecDeque::new(),
            dies_in: None,
            dead: false,
            coverage: Coverage::default(),
            layouts,
            keeps_chains: false,
            halves: false,
        }
    }

    /// Whether `transaction` deletes a chain to which an element of a map leads until then.
    fn takes_a_chain_too_early(&self, transaction: &Transaction) -> bool {
        let elements = self.table.sets.values().flat_map(|set| set.elements.values().flatten());
        let targets: BTreeSet<&ChainName> = elements.filter_map(Verdict::target).collect();
        transaction.scope == Scope::Change
            && transaction.ops.iter().any(|op| matches!(op, Op::DelChain(name) if targets.contains(name)))
    }

    /// A new agent opens its sockets.
    pub(crate) fn opened(&mut self) {
        (self.handle, self.monitor) = (Announced::default(), Ears::default());
        (self.dead, self.dies_in) = (false, None);
    }

    /// What was announced to the agent's handle is forgotten.
    pub(crate) fn deafen(&mut self) {
        self.handle = Announced::default();
    }

    pub(crate) fn expect(&mut self, request: Request, trouble: Trouble) {
        self.troubles.push_back((request, trouble));
    }

    pub(crate) fn dies_in(&mut self, moments: u32) {
        self.dies_in = Some(moments);
    }

    /// No more faults; what was late is announced.
    pub(crate) fn calm(&mut self) {
        self.troubles.clear();
        self.dies_in = None;
        self.announce_late();
    }

    pub(crate) fn announce_late(&mut self) {
        self.monitor.foreign |= !self.late.is_empty();
        self.handle.commits.append(&mut self.late);
    }

    /// Too many announcements, of whatever commits.
    pub(crate) fn lose_notices(&mut self) {
        self.coverage.saw("notices: lost (ENOBUFS)");
        self.handle = Announced { lost: true, commits: Vec::new() };
        self.monitor = Ears { lost: true, foreign: false };
        self.late.clear();
    }

    /// Somebody else commits.
    pub(crate) fn foreign(&mut self, change: Foreign, notice: Notice) {
        self.generation = self.generation.wrapping_add(1).max(1);
        if change == Foreign::OtherTable {
            self.coverage.saw("foreign: another table changed");
            if notice == Notice::Lost {
                self.lose_notices();
            } else {
                self.announce(Touch::default());
            }
            return;
        }
        let before = self.table.clone();
        let class = self.change(change);
        self.coverage.saw(class);
        let touch = touch(&before, &self.table);
        if touch.is_empty() {
            self.announce(touch);
            return;
        }
        self.foreign = true;
        match notice {
            Notice::Now => {
                self.announce(touch);
                self.monitor.foreign = true;
            }
            Notice::Late => {
                self.coverage.saw("notices: late");
                self.late.push(Heard { generation: self.generation, touch });
                self.hidden = true;
            }
            Notice::Lost => self.lose_notices(),
            Notice::Silent => {
                self.coverage.saw("notices: never sent");
                (self.silent, self.hidden) = (true, true);
            }
        }
    }

    /// The agent's handle is told of the commit that has made this generation.
    fn announce(&mut self, touch: Touch) {
        self.handle.commits.push(Heard { generation: self.generation, touch });
    }

    fn change(&mut self, change: Foreign) -> &'static str {
        let table = &mut self.table;
        match change {
            Foreign::Add(place) => add(table, place),
            Foreign::Alter(place) => {
                let mut rules: Vec<&mut Rule> =
                    table.chains.values_mut().flat_map(|chain| &mut chain.rules).collect();
                let count = rules.len().max(1);
                if let Some(rule) = rules.get_mut(place % count) {
                    rule.exprs = vec![Expr::Verdict(Verdict::Accept)];
                }
                "foreign: rule changed under its comment"
            }
            Foreign::DropElement(place) => {
                let filled = table.sets.values_mut().filter(|set| !set.elements.is_empty());
                let mut filled: Vec<_> = filled.collect();
                let count = filled.len().max(1);
                if let Some(set) = filled.get_mut(place % count) {
                    let key = set.elements.keys().nth(place / 256 % set.elements.len()).cloned();
                    key.map(|key| set.elements.remove(&key));
                }
                "foreign: element dropped"
            }
            Foreign::Flush(place) => {
                let count = table.chains.len().max(1);
                if let Some(chain) = table.chains.values_mut().nth(place % count) {
                    chain.rules.clear();
                }
                "foreign: chain emptied"
            }
            Foreign::Half => {
                for chain in table.chains.values_mut().step_by(2) {
                    chain.rules.clear();
                }
                for set in table.sets.values_mut() {
                    let gone: Vec<Key> = set.elements.keys().step_by(2).cloned().collect();
                    set.elements.retain(|key, _| !gone.contains(key));
                }
                "foreign: half of the table gone"
            }
            Foreign::OtherLayout => {
                // Of the two versions, the one whose table this is not.
                let other = self.layouts.iter().find(|layout| layout.chains.keys().ne(table.chains.keys()));
                *table = other.or(self.layouts.last()).cloned().unwrap_or_default();
                "foreign: table of another layout"
            }
            Foreign::OtherTable => "foreign: another table changed",
            Foreign::Table => {
                *table = Ruleset::default();
                "foreign: table deleted"
            }
        }
    }

    /// Whether the agent dies at this moment, or has died before.
    fn dies(&mut self) -> bool {
        match &mut self.dies_in {
            Some(1) => (self.dead, self.dies_in) = (true, None),
            Some(moments) => *moments -= 1,
            None => {}
        }
        self.dead
    }

    /// What is about to go wrong with a request: a foreign commit and slowness happen by themselves.
    fn trouble(&mut self, request: Request) -> Option<Trouble> {
        let at = self.troubles.iter().position(|(asked, _)| *asked == request)?;
        let (_, trouble) = self.troubles.remove(at)?;
        match trouble {
            Trouble::Foreign(change, notice) => {
                self.foreign(change, notice);
                let class = match request {
                    Request::List => "foreign: commit in the middle of a list",
                    Request::Announced | Request::Commit | Request::Generation => {
                        "foreign: commit just before ours (ERESTART)"
                    }
                };
                self.coverage.saw(class);
            }
            Trouble::Slow(time) => {
                self.now = self.now.plus(time);
                if request == Request::Commit {
                    self.coverage.saw("kernel: slow commit");
                }
            }
            Trouble::Errno(errno) => self.coverage.refused(request, errno),
            Trouble::AnswerLost => {}
        }
        Some(trouble)
    }
}

/// What somebody has touched who made `now` of `before`, as the kernel announces it.
fn touch(before: &Ruleset, now: &Ruleset) -> Touch {
    if now.chains.is_empty() && !before.chains.is_empty() {
        return Touch::ALL;
    }
    let dirty = Dirty::between(before, now);
    Touch { all: false, chains: dirty.chains, sets: dirty.sets.into_keys().collect() }
}

fn add(table: &mut Ruleset, place: usize) -> &'static str {
    let base = BaseChain { hook: Hook::Prerouting, priority: -400, drop_by_default: true };
    let count = table.sets.len().max(1);
    let set = table.sets.values_mut().nth(place % count);
    if let Some(set) = set
        && place.is_multiple_of(2)
        && set.spec.key.len() == 1
        && !set.spec.interval
        && set.spec.dynamic.is_none()
    {
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        let verdict = set.spec.verdict_map.then_some(Verdict::Drop);
        let key = Datum::Index(number);
        if set.spec.key.iter().all(|kind| key.is_a(*kind)) {
            set.elements.insert(Key::One(key), verdict);
            return "foreign: something added";
        }
    }
    let spec = ChainSpec { base: Some(base), comment: String::new() };
    let name = ChainName::new(format!("foreign-{}", place % 4));
    table.chains.insert(name, Chain { spec, rules: Vec::new() });
    "foreign: something added"
}

fn error(errno: Errno) -> NftError {
    NftError::Request { request: "something", errno, hint: String::new() }
}

/// What the kernel says where the model refuses.
fn errno(refusal: &ApplyError) -> Errno {
    match refusal {
        ApplyError::ChainExists(_) | ApplyError::ElementExists(..) | ApplyError::SetExists(_) => {
            Errno::EEXIST
        }
        ApplyError::ChainMissing(_) | ApplyError::ElementMissing(..) | ApplyError::SetMissing(_) => {
            Errno::ENOENT
        }
        ApplyError::ChainBusy(_) | ApplyError::SetBusy(_) => Errno::EBUSY,
        ApplyError::ElementMisfit(..) | _ => Errno::EINVAL,
    }
}

/// The agent's handle.
#[derive(Clone, Debug)]
pub(crate) struct Handle(pub(crate) Rc<RefCell<Nft>>);

impl Handle {
    /// Carries out a request, unless the agent dies before it, or something goes wrong.
    fn request<T>(
        &self,
        request: Request,
        carry_out: impl FnOnce(&mut Nft) -> Result<T, NftError>,
    ) -> Result<T, NftError> {
        let mut nft = self.0.borrow_mut();
        if nft.dies() {
            return Err(error(Errno::EINTR));
        }
        let trouble = nft.trouble(request);
        if let Some(Trouble::Errno(errno)) = trouble {
            return Err(error(errno));
        }
        let answer = carry_out(&mut nft);
        if nft.dies() {
            if request == Request::Commit && answer.is_ok() {
                nft.coverage.saw("agent: killed with a commit done and unheard of");
            }
            return Err(error(Errno::EINTR));
        }
        if trouble == Some(Trouble::AnswerLost) && answer.is_ok() {
            nft.coverage.saw("kernel: answer to a commit lost");
            return Err(NftError::Unanswered { request: "a transaction" });
        }
        answer
    }
}

impl Requests for Handle {
    fn generation(&mut self) -> Result<u32, NftError> {
        self.request(Request::Generation, |nft| Ok(nft.generation))
    }

    fn announced(&mut self) -> Result<Announced, NftError> {
        self.request(Request::Announced, |nft| Ok(mem::take(&mut nft.handle)))
    }

    fn commit_at(&mut self, transaction: &Transaction, generation: u32) -> Result<(), NftError> {
        {
            // What is refused before it is tried must change nothing either.
            let mut nft = self.0.borrow_mut();
            if nft.commit.is_none() {
                nft.commit = Some((nft.table.clone(), nft.table.clone()));
            }
        }
        let answer = self.commit(transaction, generation);
        let mut nft = self.0.borrow_mut();
        if answer.is_err() && nft.halves && !nft.dead {
            let ops = transaction.ops.iter().take(transaction.ops.len() / 2).cloned().collect();
            drop(nft.table.apply(&Transaction { ops, ..*transaction }));
        }
        answer
    }

    fn list(&mut self) -> Result<Option<Ruleset>, NftError> {
        self.request(Request::List, |nft| {
            (nft.hidden, nft.silent) = (false, false);
            Ok(Some(nft.table.clone()))
        })
    }

    fn list_touched(&mut self, touch: &Touch) -> Result<Option<Touched>, NftError> {
        self.request(Request::List, |nft| {
            nft.coverage.saw("agent: read only what was touched");
            let table = &nft.table;
            let chain = |name: &ChainName| (name.clone(), table.chains.get(name).cloned());
            let set = |name: &SetName| (name.clone(), table.sets.get(name).cloned());
            let (chains, sets) = (&touch.chains, &touch.sets);
            Ok(Some(Touched {
                chains: chains.iter().map(chain).collect(),
                sets: sets.iter().map(set).collect(),
            }))
        })
    }
}

impl Handle {
    fn commit(&self, transaction: &Transaction, generation: u32) -> Result<(), NftError> {
        self.request(Request::Commit, |nft| {
            if nft.generation != generation {
                return Err(error(Errno::ERESTART));
            }
            if nft.keeps_chains && nft.takes_a_chain_too_early(transaction) {
                return Err(error(Errno::EBUSY));
            }
            let before = nft.commit.take().map_or_else(|| nft.table.clone(), |(before, _)| before);
            let applied = nft.table.apply(transaction);
            nft.commit = Some((before, nft.table.clone()));
            if let Err(refusal) = applied {
                return Err(error(errno(&refusal)));
            }
            nft.generation = nft.generation.wrapping_add(1).max(1);
            nft.announce(Touch::default());
            Ok(())
        })
    }
}
