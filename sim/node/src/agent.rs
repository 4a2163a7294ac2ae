//! The agent of the node: the real core in the real loop with the real guard of commits, fed from an inbox.

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::rc::Rc;
use core::cell::RefCell;

use driver_nft::{Guarded, NftError};
use policy_core::journal::{Notes, Start};
use policy_core::model::{Kind, Object, ObjectId};
use policy_core::ruleset::Ruleset;
use policy_core::{Attendant, Config, Input, Kernel, Observation, Outcome, Time, Transaction};

use crate::api::Heard;
use crate::layout::{Seen, Version};
use crate::nft::{Handle, Nft};

/// A deliberate mistake, to see that it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// What the kernel refuses is taken for done.
    BelieveRefused,
    /// Commits are not guarded against other writers: announcements are not read.
    Careless,
    /// Lost announcements are not taken for a change.
    ForgetLost,
    /// What is no longer in a list is not taken for gone.
    ForgetMissing,
    /// The kernel does half of what it refuses.
    Halves,
    /// What the API server keeps is taken for listed before it has been.
    Hasty,
    /// Of what somebody else touched, the first chain is overlooked.
    Overlook,
}

/// An agent that runs.
pub(crate) struct Agent {
    attendant: Attendant<Option<Notes>>,
    kernel: Seen<Mistaken>,
    inbox: VecDeque<(Input, Option<Heard>)>,
    pub(crate) config: Config,
    /// What the agent has been told, kept by other means than its own.
    pub(crate) told: BTreeMap<ObjectId, Object>,
    pub(crate) listed: BTreeSet<Kind>,
    bug: Option<Bug>,
}

impl Agent {
    pub(crate) fn start(
        nft: &Rc<RefCell<Nft>>,
        config: &Config,
        by: Version,
        apart: bool,
        bug: Option<Bug>,
    ) -> Self {
        nft.borrow_mut().opened();
        let mut guarded = Guarded::new(Handle(Rc::clone(nft)));
        if apart {
            guarded.delete_apart();
        }
        let kernel = Seen { kernel: Mistaken { guarded, nft: Rc::clone(nft), bug }, by };
        let mut agent = Self {
            attendant: Attendant::new(config, None),
            kernel,
            inbox: VecDeque::new(),
            config: config.clone(),
            told: BTreeMap::new(),
            listed: BTreeSet::new(),
            bug,
        };
        if bug == Some(Bug::Hasty) {
            let nothing = |kind| (Input::Relist { kind, objects: Vec::new() }, None);
            agent.inbox.extend(Kind::OF_THE_CLUSTER.map(nothing));
        }
        agent
    }

    /// Keeps a journal from now on.
    pub(crate) fn note(&mut self) {
        *self.attendant.witness() = Some(Notes::new(Start::new(env!("CARGO_PKG_VERSION"), &self.config)));
    }

    /// What was noted.
    pub(crate) fn notes(&mut self) -> Vec<policy_core::journal::Entry> {
        self.attendant.witness().as_mut().map(Notes::take).unwrap_or_default()
    }

    pub(crate) const fn core(&self) -> &policy_core::Compiler {
        self.attendant.compiler()
    }

    /// What its knowledge demands, as the kernel is to hold it.
    pub(crate) fn wanted(&self) -> Cow<'_, Ruleset> {
        let wanted = self.core().desired();
        match self.kernel.by {
            Version::This => Cow::Borrowed(wanted),
            version @ Version::Other => Cow::Owned(version.view(wanted.clone())),
        }
    }

    /// A source passes something on.
    pub(crate) fn hear(&mut self, heard: Heard) {
        let input = match heard.clone() {
            Heard::Gone(id) => Input::Remove(id),
            Heard::List(kind, objects)
                if self.bug == Some(Bug::ForgetMissing) && self.listed.contains(&kind) =>
            {
                self.inbox.extend(objects.into_iter().map(|object| (Input::Upsert(object), None)));
                Input::Tick
            }
            Heard::List(kind, objects) => Input::Relist { kind, objects },
            Heard::Seen(object) => Input::Upsert(object),
        };
        self.inbox.push_back((input, Some(heard)));
    }

    /// The thread that listens to announcements hears what there is.
    pub(crate) fn hear_notices(&mut self, nft: &mut Nft) {
        let ears = core::mem::take(&mut nft.monitor);
        if ears.foreign || (ears.lost && self.bug != Some(Bug::ForgetLost)) {
            self.inbox.push_back((Input::Tampered, None));
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.inbox.is_empty() && self.core().is_settled()
    }

    /// Serves one request of the core, if it has one.
    pub(crate) fn serve(&mut self) -> Option<Outcome<NftError>> {
        let nft = Rc::clone(&self.kernel.kernel.nft);
        self.attendant.serve(&mut self.kernel, || nft.borrow().now)
    }

    /// Takes in everything that has come, or the time, if it is due; whether there was anything.
    pub(crate) fn listen(&mut self, now: Time) -> bool {
        if self.inbox.is_empty() {
            let due = self.core().poll_timeout().is_some_and(|(at, _)| at <= now);
            if due {
                self.attendant.tell(Input::Tick, now);
            }
            return due;
        }
        for (input, heard) in core::mem::take(&mut self.inbox) {
            match heard {
                Some(Heard::Gone(id)) => drop(self.told.remove(&id)),
                Some(Heard::List(kind, objects)) => {
                    self.told.retain(|id, _| id.kind() != kind);
                    self.told.extend(objects.into_iter().map(|object| (object.id(), object)));
                    self.listed.insert(kind);
                }
                Some(Heard::Seen(object)) => drop(self.told.insert(object.id(), object)),
                None => {}
            }
            self.attendant.tell(input, now);
        }
        true
    }
}

/// The guarded kernel, or one with a mistake.
struct Mistaken {
    guarded: Guarded<Handle>,
    nft: Rc<RefCell<Nft>>,
    bug: Option<Bug>,
}

impl Kernel for Mistaken {
    type Error = NftError;

    fn apply(&mut self, transaction: &Transaction) -> Result<(), NftError> {
        if self.bug == Some(Bug::Careless) {
            let mut nft = self.nft.borrow_mut();
            nft.deafen();
        }
        let answer = self.guarded.apply(transaction);
        if self.bug == Some(Bug::BelieveRefused) { Ok(()) } else { answer }
    }

    fn observe(&mut self) -> Result<Ruleset, NftError> {
        self.guarded.observe()
    }

    fn observe_touched(&mut self) -> Result<Observation, NftError> {
        let mut seen = self.guarded.observe_touched();
        if let (Some(Bug::Overlook), Ok(Observation::Touched(touched))) = (self.bug, &mut seen) {
            touched.chains.pop_first();
        }
        seen
    }
}
