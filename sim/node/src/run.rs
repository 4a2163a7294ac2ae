//! One run: steps happen one after the other, and after each it is seen whether anything is judged by what nobody wanted.
//!
//! The kernel may hold three things: what it held before, what the agent's knowledge demands when it commits, and what
//! somebody else made of that until the agent can know of it. When nothing is under way and nobody else has interfered in
//! secret, it holds what the knowledge demands. At the end, without faults, the knowledge is the truth within bounded time.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::time::Duration;

use policy_core::journal::Entry;
use policy_core::model::{Kind, Object, ObjectId};
use policy_core::ruleset::diff;
use policy_core::{Compiler, Config, Input, Outcome, Time, compile};

use crate::agent::{Agent, Bug};
use crate::api::{Api, Heard};
use crate::coverage::Coverage;
use crate::frames::{evaluated, frame};
use crate::invariant::{Found, committed, difference, does, from_scratch, knows, refused, settled};
use crate::layout::Version;
use crate::links::Links;
use crate::nft::Nft;
use crate::oracle::Oracle;
use crate::source::{Source, random_bytes};
use crate::step::{Foreign, Notice, Scene, Step};

/// The longest that it may take, without faults, until everything is as it should be.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same where only the audit can find out that something was changed (`AUDIT_EVERY` of the core, ten minutes).
const PATIENCE_FOR_AUDIT: Duration = Duration::from_secs(630);
/// Frames that are judged at the end of a run.
const FRAMES: usize = 12;

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// After how many steps; more than there are, when the faults had stopped already.
    pub step: usize,
    /// What it is.
    pub text: String,
}

/// How a run is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// A deliberate mistake.
    pub bug: Option<Bug>,
    /// Whether everything is noted down.
    pub journal: bool,
}

/// A run.
pub(crate) struct Run<'a> {
    scene: &'a Scene,
    manner: Manner,
    nft: Rc<RefCell<Nft>>,
    api: Api,
    links: Links,
    agent: Option<Agent>,
    version: usize,
    journal: Vec<Entry>,
    /// The generation at which an agent with nothing left to do was looked at.
    looked_at: Option<u32>,
}

/// Runs `steps` and then lets the faults stop; what happened, and the journal if one was wanted.
pub fn run(scene: &Scene, steps: &[Step], manner: Manner) -> (Coverage, Vec<Entry>, Result<(), Violation>) {
    let mut run = Run::new(scene, manner);
    let mut found = Ok(());
    for (number, step) in steps.iter().enumerate() {
        found = run.step(step).map_err(|text| Violation { step: number + 1, text });
        if found.is_err() {
            break;
        }
    }
    if found.is_ok() {
        found = run.finish(steps).map_err(|text| Violation { step: steps.len() + 1, text });
    }
    run.kill();
    let mut coverage = core::mem::take(&mut run.nft.borrow_mut().coverage);
    coverage.runs += 1;
    coverage.steps += u64::try_from(steps.len()).unwrap_or(u64::MAX);
    (coverage, run.journal, found)
}

impl<'a> Run<'a> {
    fn new(scene: &'a Scene, manner: Manner) -> Self {
        let mut nft = Nft::new(&scene.versions);
        nft.halves = manner.bug == Some(Bug::Halves);
        nft.keeps_chains = scene.apart;
        let nft = Rc::new(RefCell::new(nft));
        let (api, links, journal) = (Api::default(), Links::default(), Vec::new());
        let mut run =
            Self { scene, manner, nft, api, links, agent: None, version: 0, journal, looked_at: None };
        run.start(false);
        run
    }

    fn saw(&self, class: &'static str) {
        self.nft.borrow_mut().coverage.saw(class);
    }

    fn now(&self) -> Time {
        self.nft.borrow().now
    }

    fn config(&self) -> &'a Config {
        self.scene.versions.get(self.version).unwrap_or(&self.scene.versions[0])
    }

    /// How the version that runs, or ran last, lays its table out.
    const fn layout(&self) -> Version {
        if self.version == 1 && self.scene.laid_out_anew { Version::Other } else { Version::This }
    }

    fn start(&mut self, other_version: bool) {
        if self.agent.is_some() {
            return;
        }
        if other_version {
            self.version = 1 - self.version;
            self.saw("agent: started as another version");
            if self.scene.laid_out_anew {
                self.saw("agent: started as one of another layout");
            }
        }
        if self.nft.borrow().foreign {
            self.saw("agent: started on a foreign table");
        }
        self.api.opened();
        self.links.opened();
        let mut agent =
            Agent::start(&self.nft, self.config(), self.layout(), self.scene.apart, self.manner.bug);
        if self.manner.journal {
            agent.note();
        }
        self.agent = Some(agent);
        self.looked_at = None;
    }

    fn kill(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            self.journal.extend(agent.notes());
        }
    }

    fn hear(&mut self, heard: impl IntoIterator<Item = Heard>) {
        if let Some(agent) = &mut self.agent {
            heard.into_iter().for_each(|heard| agent.hear(heard));
        }
    }

    fn step(&mut self, step: &Step) -> Found {
        let nft = Rc::clone(&self.nft);
        let now = self.now();
        match step {
            Step::Bookmark(kind) => self.api.bookmark(*kind, &mut nft.borrow_mut().coverage),
            Step::Break(kind) => self.api.disconnect(*kind),
            Step::CatchUp => self.catch_up(),
            Step::Compact => self.api.compact(),
            Step::Delete(id) => self.api.delete(id, now),
            Step::Deliver(kind, count) => self.deliver(*kind, *count),
            Step::Foreign(change, notice) => nft.borrow_mut().foreign(*change, *notice),
            Step::Hear => self.hear_notices(),
            Step::Kill => {
                if self.agent.is_some() {
                    self.saw("agent: killed between two requests");
                }
                self.kill();
            }
            Step::KillWithin(moments) => nft.borrow_mut().dies_in(*moments),
            Step::NoticesLost => nft.borrow_mut().lose_notices(),
            Step::PortGone(index) => self.links.gone(*index, &mut nft.borrow_mut().coverage),
            Step::PortSeen(port) => self.links.seen(port.clone(), &mut nft.borrow_mut().coverage),
            Step::Ports => self.deliver_ports(),
            Step::PortsLost => self.links.lose_notices(&mut nft.borrow_mut().coverage),
            Step::Put(object) => self.api.put(object.clone(), now),
            Step::Repeat(kind) => {
                let heard = self.api.repeat(*kind, &mut nft.borrow_mut().coverage);
                self.hear(heard);
            }
            Step::Stale(kind, behind) => self.api.stale(*kind, *behind),
            Step::Start(other_version) => self.start(*other_version),
            Step::Trouble(request, trouble) => nft.borrow_mut().expect(*request, *trouble),
            Step::Turns(turns) => {
                for _ in 0..*turns {
                    self.turn()?;
                }
            }
            Step::Wait(time) => {
                let mut nft = nft.borrow_mut();
                nft.now = now.plus(*time);
                nft.announce_late();
            }
        }
        Ok(())
    }

    fn deliver(&mut self, kind: Kind, count: usize) {
        if self.agent.is_some() {
            let now = self.now();
            let heard = self.api.deliver(kind, count, now, &mut self.nft.borrow_mut().coverage);
            self.hear(heard);
        }
    }

    fn catch_up(&mut self) {
        for kind in Kind::OF_THE_CLUSTER {
            while self.agent.is_some() && !self.api.is_quiet(kind) {
                self.deliver(kind, usize::MAX);
            }
        }
        self.deliver_ports();
    }

    fn deliver_ports(&mut self) {
        if self.agent.is_some() {
            let heard = self.links.deliver();
            self.hear(heard);
        }
    }

    fn hear_notices(&mut self) {
        if let Some(agent) = &mut self.agent {
            agent.hear_notices(&mut self.nft.borrow_mut());
        }
    }

    /// The agent does one thing; whether it did.
    fn turn(&mut self) -> Result<bool, String> {
        let Some(agent) = &mut self.agent else { return Ok(false) };
        let nft = Rc::clone(&self.nft);
        nft.borrow_mut().commit = None;
        let foreign_before = nft.borrow().foreign;
        let outcome = agent.serve();
        if nft.borrow().dead {
            self.saw("agent: killed while it serves");
            return self.after_death().map(|()| true);
        }
        let Some(outcome) = outcome else {
            let now = nft.borrow().now;
            let heard = agent.listen(now);
            // Where nothing has happened since the last look, nothing has changed.
            let looked_at = (!heard).then_some(nft.borrow().generation);
            if self.looked_at != looked_at || looked_at.is_none() {
                settled(agent, &nft.borrow())?;
            }
            self.looked_at = looked_at;
            return Ok(heard);
        };
        self.looked_at = None;
        match outcome {
            Outcome::Committed(transaction) => committed(agent, &mut nft.borrow_mut(), &transaction)?,
            Outcome::Refused(transaction, error) => {
                let interfered = foreign_before || nft.borrow().foreign;
                refused(agent, &nft.borrow(), &transaction, &error, interfered)?;
            }
            Outcome::Observed | Outcome::Reported(_) | Outcome::Unobservable(_) => {}
            other => return Err(format!("an outcome that nobody here knows: {other:?}")),
        }
        Ok(true)
    }

    /// The agent died in the middle of something: the kernel holds what it held, or what was wanted.
    fn after_death(&mut self) -> Found {
        let nft = Rc::clone(&self.nft);
        let nft = nft.borrow();
        if let Some(agent) = &self.agent
            && let Some((before, behind)) = &nft.commit
            && !nft.foreign
            && behind != before
            && !does(behind, &agent.wanted())
        {
            let wanted = &agent.wanted();
            return Err(format!(
                "the agent died and left neither what was before nor what it wanted; to what it wanted:\n{}",
                difference(behind, wanted)
            ));
        }
        self.kill();
        Ok(())
    }

    /// The faults stop: within bounded time, everything is as it should be; then another agent takes over.
    fn finish(&mut self, steps: &[Step]) -> Found {
        self.calm_down();
        self.come_to_rest("when the faults had stopped")?;
        self.compare_knowledge()?;
        if self.scene.plain {
            self.compare_with_truth("the agent has followed all changes, but")?;
        }
        self.adopt(steps)?;
        self.ask_about_frames(steps)
    }

    fn calm_down(&mut self) {
        self.nft.borrow_mut().calm();
        self.api.calm();
        self.start(false);
    }

    fn come_to_rest(&mut self, when: &str) -> Found {
        let nft = Rc::clone(&self.nft);
        let patience = if nft.borrow().silent { PATIENCE_FOR_AUDIT } else { PATIENCE };
        let limit = self.now().plus(patience);
        loop {
            self.start(false);
            self.catch_up();
            self.hear_notices();
            while self.turn()? {}
            let Some(agent) = &self.agent else { continue };
            if agent.is_idle() && !nft.borrow().silent {
                return Ok(());
            }
            let Some((at, _)) = agent.core().poll_timeout() else {
                return Err(format!("{when}, the agent waits for something that nobody will tell it"));
            };
            if at > limit {
                return Err(format!("{when}, the agent did not come to rest within {patience:?}"));
            }
            let mut nft = nft.borrow_mut();
            nft.now = nft.now.max(at);
        }
    }

    /// The objects that there are.
    fn truth(&self) -> BTreeMap<ObjectId, Object> {
        let ports = self.links.now().cloned().map(Object::Port);
        let ports = ports.map(|port| (port.id(), port));
        self.api.now().clone().into_iter().chain(ports).collect()
    }

    fn compare_knowledge(&self) -> Found {
        let Some(agent) = &self.agent else { return Err("there is no agent".to_owned()) };
        if agent.told != self.truth() {
            return Err("the agent has not been told the truth: the simulation itself is wrong".to_owned());
        }
        knows(agent)?;
        from_scratch(agent, &mut self.nft.borrow_mut())
    }

    /// What the kernel holds follows from what there is, whatever was before.
    fn compare_with_truth(&self, when: &str) -> Found {
        let mut fresh = Compiler::new(self.config());
        let truth = self.truth();
        for kind in Kind::ALL {
            let objects = truth.values().filter(|object| object.id().kind() == kind).cloned().collect();
            fresh.handle_input(Input::Relist { kind, objects }, Time::default());
        }
        let wanted = self.layout().view(compile(fresh.world(), self.config()));
        let nft = self.nft.borrow();
        if nft.table == wanted {
            return Ok(());
        }
        Err(format!("{when} what there is demands something else:\n{}", difference(&nft.table, &wanted)))
    }

    /// An agent ends, others interfere, and another agent starts: one commit that changes only what differs.
    fn adopt(&mut self, steps: &[Step]) -> Found {
        self.kill();
        let number = steps.len();
        for step in steps.iter().filter(|step| matches!(step, Step::Foreign(..))).take(number % 3) {
            if let Step::Foreign(change, _) = step {
                self.nft.borrow_mut().foreign(*change, Notice::Now);
            }
        }
        if number.is_multiple_of(5) {
            self.nft.borrow_mut().foreign(Foreign::OtherLayout, Notice::Now);
        }
        self.start(number.is_multiple_of(2));
        let before = self.nft.borrow().table.clone();
        let commits = self.nft.borrow().coverage.commits;
        self.come_to_rest("after a start without faults")?;
        self.compare_knowledge()?;
        self.compare_with_truth("an agent has started anew, but")?;
        let nft = self.nft.borrow();
        let (_, ops) = diff(&before, &nft.table);
        let commits = nft.coverage.commits - commits;
        if commits != u64::from(!ops.is_empty()) {
            return Err(format!(
                "a start without faults took {commits} commits for {} operations",
                ops.len()
            ));
        }
        drop(nft);
        if ops.is_empty() {
            self.saw("agent: started on a table that is already right");
        }
        Ok(())
    }

    /// The independent reading of the policies says the same about frames as what the kernel holds.
    fn ask_about_frames(&self, steps: &[Step]) -> Found {
        let objects: Vec<Object> = self.truth().into_values().collect();
        let oracle = Oracle { objects: &objects, config: self.config() };
        if oracle.is_ambiguous() {
            return Ok(());
        }
        let ports: Vec<u32> = oracle.ports().map(|port| port.index).chain([99]).collect();
        let bytes = random_bytes(u64::try_from(steps.len()).unwrap_or(0), 64 * FRAMES);
        let mut source = Source::new(&bytes);
        let mut nft = self.nft.borrow_mut();
        for _ in 0..FRAMES {
            let spec = frame(&mut source, &objects);
            let from = source.maybe(7, 8, |source| *source.pick(&ports));
            let to = *source.pick(&ports);
            let (out, into) = evaluated(&oracle, &nft.table, from, to, &spec.bytes());
            let may_leave = from.is_none_or(|from| oracle.egress(from, &spec).passes);
            let may_enter = oracle.ingress(from, to, &spec).passes;
            if (out, into) != (may_leave, may_enter) {
                return Err(format!(
                    "a frame from {from:?} to {to} may leave: {may_leave}, may enter: {may_enter}, but the kernel says {out}, \
                     {into}: {spec:?}"
                ));
            }
            nft.coverage.frames += 1;
        }
        Ok(())
    }
}
