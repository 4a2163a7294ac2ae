//! The real agent on a real kernel, for as long as wanted: objects change, pods come and go, others use nft, and the agent is
//! killed again and again. What is allowed must go on without a loss, what is denied must never arrive, and in the end
//! everything must be as in the beginning.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt::Write as _;
use core::time::Duration;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};
use driver_nft::StateWish;
use policy_core::ruleset::TABLE;
use serde_json::Value;

use super::agent::Keeper;
use super::deed::{Choice, Deed};
use super::denied::Denied;
use super::{Course, Flows, script};
use crate::arm::NetnsArm;
use crate::inside::ability;
use crate::isolate;
use crate::netns::Namespace;
use crate::programs::{listed, nft, objects};
use crate::scenario::Scenario;
use crate::stage::{Stage, stages};

/// How long anything may take on an ordinary machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two deeds, at most.
const PAUSE_MS: u64 = 60;
/// How long nobody is there when an agent was killed, at most.
const AWAY_MS: u64 = 300;
/// The pod that comes and goes.
const GUESTS: u64 = 40;
/// Pods of other nodes that come and go together.
const PEERS: u64 = 500;
/// Chains of a burst.
const BURST: u32 = 40_000;
/// How much larger than after its first start the agent may be in the end, in KiB: its allocator keeps the pages in which
/// hundreds of peers once were.
const GROWTH_MAX: u64 = 10 * 1024;

/// How long, from which seed, and with which program.
#[derive(Clone, Debug)]
pub struct Endurance {
    /// How long.
    pub duration: Duration,
    /// How many things happen, if the time is not up before.
    pub deeds: u64,
    /// Which choices are made.
    pub seed: u64,
    /// The agent.
    pub agent: PathBuf,
    /// Another version of it, if the two are to take turns.
    pub other: Option<PathBuf>,
    /// What follows connections.
    pub state: StateWish,
    /// How many times slower than an ordinary one the machine is.
    pub slowness: u32,
}

impl Endurance {
    /// Plays it in namespaces of its own, and tells what happened. `host` is the mount namespace of the host.
    pub fn run(&self, host: &str, out: &mut dyn Write) -> Result<bool> {
        let _parent = isolate::settle_in(host)?;
        let patience = PATIENCE * self.slowness;
        let mut node = Node::new(self, patience)?;
        let complaints = node.endure(self, out)?;
        for complaint in &complaints {
            writeln!(out, "{complaint}")?;
        }
        writeln!(out, "{} complaints", complaints.len())?;
        Ok(complaints.is_empty())
    }
}

/// The scenario: the world of the flows, then guests that come and go while the harness' own agent is away, and its return.
fn scenario() -> String {
    let mut text = script::world();
    text.push_str("steps:\n- {name: away, agent: stop, expect: {}}\n");
    for number in 0..GUESTS {
        let guest = guest(number, "    ");
        let _infallible = write!(text, "- name: 'guest {number}'\n  expect: {{}}\n  apply:\n{guest}");
        let target = format!("{{kind: Pod, namespace: shop, name: guest-{number}}}");
        let _infallible = writeln!(text, "- {{name: 'no guest {number}', delete: [{target}], expect: {{}}}}");
    }
    text.push_str("- {name: back, agent: start, expect: {}}\n");
    text
}

fn guest(number: u64, indent: &str) -> String {
    let last = 100 + number;
    script::pod(&format!("guest-{number}"), &format!("10.10.0.{last}"), &format!("fd10::{last}"), indent)
}

/// A node that is put to the test.
struct Node {
    course: Course,
    stages: Vec<Stage>,
    keeper: Keeper,
    namespace: Arc<Namespace>,
    manifests: PathBuf,
    choice: Choice,
    tally: BTreeMap<Deed, u64>,
}

impl Node {
    fn new(wanted: &Endurance, patience: Duration) -> Result<Self> {
        let file = Path::new("endurance");
        let text = scenario();
        let scenario = Scenario::parse(file, &text)?;
        let mut stages = stages(file, &scenario)?;
        let mut arm = NetnsArm::new(scenario.configs(ability(wanted.state)?), wanted.slowness)?;
        for stage in stages.drain(..2) {
            arm.change(&stage)?;
        }
        // In memory, where changes are announced, and in these namespaces only.
        let manifests = PathBuf::from("/run/manifests");
        fs::create_dir(&manifests).with_context(|| format!("cannot make {}", manifests.display()))?;
        let world: Value = serde_saphyr::from_str(&text).context("the scenario is no YAML")?;
        let items = world.get("objects").context("the scenario has no objects")?;
        write(
            &manifests,
            "world",
            &serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string(),
        )?;
        let namespace = arm.node_namespace("node-1")?;
        let arguments = ["run", "--node", "node-1", "--log", "json", "--start-within", "0", "--state"];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        arguments.push(wanted.state.to_string());
        arguments.extend(["--manifests".to_owned(), manifests.display().to_string()]);
        let programs = [&wanted.agent].into_iter().chain(&wanted.other).cloned().collect();
        let keeper = Keeper::start(programs, arguments, Arc::clone(&namespace), patience)?;
        Ok(Self {
            course: Course { arm, patience },
            stages,
            keeper,
            namespace,
            manifests,
            choice: Choice(wanted.seed),
            tally: BTreeMap::new(),
        })
    }

    fn endure(&mut self, wanted: &Endurance, out: &mut dyn Write) -> Result<Vec<String>> {
        let before = self.keeper.size()?;
        let began_with = self.objects_of_the_kernel()?;
        let mut flows = self.course.begin()?;
        let denied = self.course.deny(&flows)?;
        let begun = Instant::now();
        let complaints = self
            .go_on(wanted, &flows, &denied)
            .and_then(|complaints| Ok([complaints, flows.finish(self.course.patience)?].concat()))
            .map(|complaints| complaints.into_iter().chain(denied.complaint()).collect::<Vec<_>>())
            .and_then(|complaints| Ok([complaints, self.leave(before, &began_with)?].concat()));
        // Also of what ended early it is told how far it came.
        self.tell(begun.elapsed(), &flows, &denied, out)?;
        complaints
    }

    /// One deed after the other, until the time is up or something is wrong.
    fn go_on(&mut self, wanted: &Endurance, flows: &Flows, denied: &Denied) -> Result<Vec<String>> {
        let begun = Instant::now();
        let mut complaints = Vec::new();
        let mut left = wanted.deeds;
        while left > 0 && begun.elapsed() < wanted.duration && complaints.is_empty() {
            left -= 1;
            let deed = self.choice.deed();
            self.carry_out(deed).with_context(|| deed.name())?;
            *self.tally.entry(deed).or_default() += 1;
            self.keeper.look()?;
            if let Err(silent) = flows.lines.wait_for_more(self.course.patience) {
                complaints.push(format!("after {}: {silent:#}", deed.name()));
            }
            if denied.arrived() > 0 {
                complaints.push(format!(
                    "after {}: {} denied packets arrived",
                    deed.name(),
                    denied.arrived()
                ));
            }
            thread::park_timeout(Duration::from_millis(self.choice.below(PAUSE_MS)));
        }
        Ok(complaints)
    }

    fn tell(&self, took: Duration, flows: &Flows, denied: &Denied, out: &mut dyn Write) -> Result<()> {
        for (deed, times) in &self.tally {
            writeln!(out, "{times:>10}  {}", deed.name())?;
        }
        writeln!(
            out,
            "{:>10}  chains and sets of the table, before and after",
            self.objects_of_the_kernel()?.len()
        )?;
        writeln!(out, "{:>10}  commits of the agents", self.keeper.commits)?;
        writeln!(out, "{:>10}  times one version of the agent took over from another", self.keeper.upgrades)?;
        writeln!(out, "in {:.1} minutes: {denied}; allowed: {}", took.as_secs_f64() / 60.0, flows.lines)?;
        Ok(())
    }

    fn carry_out(&mut self, deed: Deed) -> Result<()> {
        match deed {
            Deed::Burst => self.burst(),
            Deed::Guest => self.guest(),
            Deed::Kill => {
                self.keeper.kill()?;
                thread::park_timeout(Duration::from_millis(self.choice.below(AWAY_MS)));
                self.keeper.start_again()
            }
            Deed::Meddle => {
                let number = self.choice.below(5);
                self.nft(&format!("add chain bridge mnp-nft-bridge mine-{number}"))
            }
            Deed::OtherTable => {
                let times = self.times(deed);
                let verb = if times.is_multiple_of(2) { "add" } else { "delete" };
                self.nft(&format!("{verb} table bridge other-{}", times / 2))
            }
            Deed::Peers if self.times(deed).is_multiple_of(2) => {
                write(&self.manifests, "peers", &remote_pods())
            }
            Deed::Peers => self.remove("peers"),
            Deed::Policy => self.policy(),
            Deed::Relabel => self.relabel(),
        }
    }

    /// How often this has happened already.
    fn times(&self, deed: Deed) -> u64 {
        self.tally.get(&deed).copied().unwrap_or_default()
    }

    /// The guests come and go one after the other.
    fn guest(&mut self) -> Result<()> {
        let times = self.times(Deed::Guest) % (2 * GUESTS);
        let stage = self.stages.get(usize::try_from(times)?).context("every guest has two stages")?;
        self.course.arm.change(stage)?;
        if times.is_multiple_of(2) {
            write(&self.manifests, "guest", &guest(times / 2, ""))
        } else {
            self.remove("guest")
        }
    }

    fn relabel(&self) -> Result<()> {
        let mood = if self.times(Deed::Relabel).is_multiple_of(2) { "moody" } else { "calm" };
        write(&self.manifests, "moody", &remote_pod("moody", "10.10.0.99", "fd10::99", mood))
    }

    fn policy(&self) -> Result<()> {
        let times = self.times(Deed::Policy);
        let name = format!("extra-{}", times % 4);
        match times / 4 % 3 {
            0 => write(&self.manifests, &name, &script::policy(&name, "first", [Some("server"); 2], "")),
            1 => write(&self.manifests, &name, &script::policy(&name, "server", [Some("guest-1"); 2], "")),
            _ => self.remove(&name),
        }
    }

    fn burst(&self) -> Result<()> {
        let mut script = String::from("add table bridge burst\n");
        for number in 0..BURST {
            let _infallible = writeln!(script, "add chain bridge burst chain-{number}-{:0>80}", "");
        }
        let file = "/run/burst";
        fs::write(file, script).context("cannot write the burst")?;
        self.nft(&format!("-f {file}"))?;
        fs::remove_file(file).context("cannot remove the burst")?;
        self.nft("delete table bridge burst")
    }

    fn nft(&self, command: &str) -> Result<()> {
        nft(&self.namespace, &command.split(' ').collect::<Vec<_>>()).map(drop)
    }

    fn remove(&self, name: &str) -> Result<()> {
        let file = self.manifests.join(format!("{name}.yaml"));
        if file.exists() {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
        } else {
            Ok(())
        }
    }

    /// The names of the chains and sets of our table, and how many rules each chain has.
    fn objects_of_the_kernel(&self) -> Result<BTreeMap<String, usize>> {
        let listing = listed(&self.namespace, &["table", "bridge", TABLE])?;
        let objects = objects(&listing)?;
        let mut counts = BTreeMap::new();
        for (kind, key) in [("chain", "name"), ("set", "name"), ("map", "name"), ("rule", "chain")] {
            let of_kind = objects.iter().filter_map(|object| object.get(kind)?.get(key)?.as_str());
            for name in of_kind {
                *counts.entry(name.to_owned()).or_default() += usize::from(kind == "rule");
            }
        }
        Ok(counts)
    }

    /// Everything goes that has come; what remains is compared with the beginning.
    fn leave(&mut self, before: (u64, usize), began_with: &BTreeMap<String, usize>) -> Result<Vec<String>> {
        if !self.times(Deed::Guest).is_multiple_of(2) {
            self.guest()?;
        }
        for name in ["moody", "peers", "extra-0", "extra-1", "extra-2", "extra-3"] {
            self.remove(name)?;
        }
        self.keeper.look()?;
        let grown = self.keeper.size()?;
        self.keeper.start_anew(self.course.patience)?;
        let mut complaints = core::mem::take(&mut self.keeper.errors);
        let after = self.keeper.size()?;
        for (resident, files) in [grown, after] {
            if resident > before.0 + GROWTH_MAX || files > before.1 + 2 {
                complaints.push(format!(
                    "the agent has {resident} KiB and {files} files, and began with {} and {}",
                    before.0, before.1
                ));
            }
        }
        let ends_with = self.objects_of_the_kernel()?;
        let differing = |one: &BTreeMap<String, usize>, other: &BTreeMap<String, usize>| -> Vec<String> {
            let names = one.iter().filter(|(name, rules)| other.get(*name) != Some(rules));
            names.map(|(name, rules)| format!("{name} ({rules} rules)")).collect()
        };
        if ends_with != *began_with {
            let (gone, new) = (differing(began_with, &ends_with), differing(&ends_with, began_with));
            complaints.push(format!("the table is not as in the beginning; gone: {gone:?}, new: {new:?}"));
        }
        self.keeper.kill()?;
        // The harness' own agent finds nothing to do: what the others left is what compilation from scratch wants.
        let back = self.stages.pop().context("the last stage")?;
        let played = self.course.arm.change(&back)?;
        complaints.extend(played.complaints);
        if !played.commits.is_empty() {
            complaints.push(format!("what was left is not what is wanted: {:?}", played.commits));
        }
        Ok(complaints)
    }
}

/// Writes a manifest at once, so that nobody reads half of it.
fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    let (part, file) = (directory.join(format!(".{name}.part")), directory.join(format!("{name}.yaml")));
    // Entries of a list in a scenario are documents here.
    let documents: Vec<&str> = text.lines().map(|line| line.trim_start_matches("- ")).collect();
    fs::write(&part, documents.join("\n---\n"))
        .with_context(|| format!("cannot write {}", part.display()))?;
    fs::rename(&part, &file).with_context(|| format!("cannot write {}", file.display()))
}

/// A pod of another node; `watcher` admits those whose label `app` is `moody`.
fn remote_pod(name: &str, ip4: &str, ip6: &str, app: &str) -> String {
    let text = script::pod(name, ip4, ip6, "");
    text.replace("node-1", "node-2").replace(&format!("app: {name}"), &format!("app: {app}"))
}

/// Pods of another node, all of which `watcher` admits.
fn remote_pods() -> String {
    let pod = |number: u64| {
        let (high, low) = (1 + number / 250, 1 + number % 250);
        let (ip4, ip6) = (format!("10.10.{high}.{low}"), format!("fd10::{high}:{low}"));
        remote_pod(&format!("peer-{number}"), &ip4, &ip6, "moody")
    };
    (0..PEERS).map(pod).collect()
}
