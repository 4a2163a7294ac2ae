//! From a scenario to stages: everything that can be known without sending a packet. Pure.
//!
//! All mistakes of a scenario file are found here, before anything is built.

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use std::path::Path;

use driver_kube::identify;
use policy_core::Input;
use policy_core::model::{Direction, Kind, Object, ObjectId, Pod};
use serde_json::{Value, json};
use serde_saphyr::Spanned;

use crate::capability::Capability;
use crate::claim::{Crowd, short_name, unlistened};
use crate::cluster::{Cluster, ClusterError, Written, relabelled};
use crate::craft::{Crafted, craft};
use crate::disk::ConfigDirectory;
use crate::free::free;
use crate::host;
use crate::plan::{Segments, Station, StationId};
use crate::probe::Probe;
use crate::rewire::{Wires, settle_guests};
use crate::scenario::{
    AgentChange, AgentOrder, Expect, Patch, Place, Relabel, Scenario, ScenarioError, Step, Succession,
    Tampering, Target, Wanted,
};

/// The start of a scenario or one of its steps, ready to be carried out.
#[derive(Clone, Debug)]
pub struct Stage {
    /// `the start`, or the step's name.
    pub name: String,
    /// What happens, in this order.
    pub events: Vec<Event>,
    /// Who stands where afterwards.
    pub stations: BTreeMap<StationId, Station>,
    /// Every probe of the stage, and whether it is to be answered.
    pub wanted: BTreeMap<Probe, Wanted>,
    /// The frames that are sent after the probes, in this order.
    pub frames: Vec<Crafted>,
    /// The stations that nobody isolates in these directions: not a frame that they send or get may be dropped.
    pub free: BTreeSet<(StationId, Direction)>,
    /// The problems that must be reported, sorted.
    pub reports_wanted: Vec<String>,
    /// The problems that were found while manifests were read, sorted.
    pub reports_read: Vec<String>,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// The agent of a node starts or ends.
    Agent {
        /// The node.
        node: String,
        /// Which of the two.
        change: AgentChange,
    },
    /// The status of a pod is written, because its wires are connected.
    Announce(ObjectId),
    /// A wire is connected.
    Attach(Station),
    /// A wire is cut.
    Detach(Station),
    /// A wire changes, or what is at its end.
    Rewire {
        /// How it was.
        before: Box<Station>,
        /// How it is.
        after: Box<Station>,
    },
    /// Somebody changes the table of a node's agent.
    Tamper {
        /// The node.
        node: String,
        /// What is done to it.
        tampering: Tampering,
    },
    /// The watch of a node's agent sees something.
    Tell {
        /// The node.
        node: String,
        /// What it sees.
        input: Input,
    },
    /// Somebody writes to the API server.
    Write(Change),
}

/// What somebody writes to the API server; what the agents see of it is an event of its own.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object is created, or replaced when it is there.
    Apply {
        /// The object.
        manifest: Value,
        /// Of a network: the text of its CNI configuration, wherever that lies.
        config: String,
    },
    /// An object is deleted.
    Delete(ObjectId),
    /// A JSON merge patch.
    Patch {
        /// The object.
        object: ObjectId,
        /// The patch.
        patch: Value,
        /// What the configuration of a network is afterwards.
        config: String,
    },
}

/// All stages of a scenario: the start first.
pub fn stages(file: &Path, scenario: &Scenario) -> Result<Vec<Stage>, ScenarioError> {
    let mut stager = Stager::new(file, scenario)?;
    let mut stages = vec![stager.start(scenario)?];
    for step in &scenario.steps {
        stages.push(stager.step(step)?);
    }
    stager.every_vm_was_there()?;
    Ok(stages)
}

/// That an object is written as a whole.
fn applied(written: &Written) -> Change {
    Change::Apply { manifest: written.manifest.clone(), config: written.config.clone() }
}

/// That an object is changed by this patch.
fn patched(written: &Written, patch: Value) -> Change {
    Change::Patch { object: written.id.clone(), patch, config: written.config.clone() }
}

/// The state that stages are derived from.
struct Stager<'a> {
    file: &'a Path,
    scenario: &'a Scenario,
    cluster: Cluster,
    segments: Segments,
    hosts: BTreeMap<StationId, Station>,
    objects: BTreeMap<ObjectId, Object>,
    /// Pods that are connected although no status says so yet.
    wired: BTreeMap<ObjectId, Pod>,
    /// The nodes, and whether their agents run.
    agents: BTreeMap<String, bool>,
    wires: Wires,
    /// Those of the scenario's VMs that have been connected.
    vms_seen: BTreeSet<String>,
}

/// What a stage collects while its changes are made.
#[derive(Default)]
struct Draft {
    events: Vec<Event>,
    problems: BTreeSet<String>,
}

impl<'a> Stager<'a> {
    fn new(file: &'a Path, scenario: &'a Scenario) -> Result<Self, ScenarioError> {
        let wrong = |reason: String| ScenarioError { file: file.to_owned(), place: Place::default(), reason };
        if scenario.nodes.is_empty() {
            return Err(wrong("nodes: at least one is needed".to_owned()));
        }
        let mut agents = BTreeMap::new();
        for node in &scenario.nodes {
            if agents.insert(node.clone(), true).is_some() {
                return Err(wrong(format!("nodes: {node} is named twice")));
            }
        }
        if agents.len() > 1 && scenario.requires.contains(&Capability::Vlan) {
            return Err(wrong("nodes: several nodes cannot have VLANs yet".to_owned()));
        }
        scenario.check_options().map_err(|reason| wrong(format!("options: {reason}")))?;
        unlistened(&scenario.probes).map_err(|reason| wrong(format!("probes: {reason}")))?;
        let cluster = match scenario.disk.as_slice() {
            [] => Cluster::default(),
            files => {
                Cluster::with(ConfigDirectory::with(files).map_err(|error| wrong(format!("disk: {error}")))?)
            }
        };
        let hosts = host::stations(&scenario.hosts, &scenario.nodes);
        let hosts = hosts.map_err(|reason| wrong(format!("hosts: {reason}")))?;
        Ok(Self {
            file,
            scenario,
            cluster,
            segments: Segments::default(),
            hosts,
            objects: BTreeMap::new(),
            wired: BTreeMap::new(),
            agents,
            wires: Wires::default(),
            vms_seen: BTreeSet::new(),
        })
    }

    fn wrong<T>(&self, at: &Spanned<T>, reason: &dyn fmt::Display) -> ScenarioError {
        ScenarioError { file: self.file.to_owned(), place: at.into(), reason: reason.to_string() }
    }

    /// Hosts and pods are there first, then the agent lists every kind of object once.
    fn start(&mut self, scenario: &Scenario) -> Result<Stage, ScenarioError> {
        let mut draft = Draft::default();
        for manifest in &scenario.objects {
            let written =
                self.cluster.apply(&manifest.value).map_err(|error| self.wrong(manifest, &error))?;
            for written in written {
                self.remember(&mut draft, &written);
                draft.events.push(Event::Write(applied(&written)));
            }
        }
        self.rewire(&mut draft).map_err(|reason| self.somewhere(reason))?;
        let pods = self.objects.keys().filter(|id| id.kind() == Kind::Pod);
        draft.events.extend(pods.cloned().map(Event::Announce));
        for node in self.agents.keys() {
            self.list_everything(node, &mut draft);
        }
        self.finish("the start", draft, &scenario.expect, scenario.reports.as_deref())
    }

    fn step(&mut self, step: &Step) -> Result<Stage, ScenarioError> {
        let mut draft = Draft::default();
        for manifest in &step.apply {
            let written =
                self.cluster.apply(&manifest.value).map_err(|error| self.wrong(manifest, &error))?;
            for written in written {
                let change = applied(&written);
                self.upsert(&mut draft, written, change).map_err(|reason| self.wrong(manifest, &reason))?;
            }
        }
        for target in &step.delete {
            let Target { kind, namespace, name } = &target.value;
            let deleted = identify(kind, namespace.as_deref(), name).map_err(ClusterError::from);
            let deleted = deleted.and_then(|id| self.cluster.delete(&id).map(|()| id));
            let id = deleted.map_err(|error| self.wrong(target, &error))?;
            self.objects.remove(&id);
            self.rewire(&mut draft).map_err(|reason| self.wrong(target, &reason))?;
            draft.events.push(Event::Write(Change::Delete(id.clone())));
            self.tell(&mut draft, &Input::Remove(id));
        }
        for patch in &step.patch {
            let Patch { kind, namespace, name, merge } = &patch.value;
            let id = identify(kind, namespace.as_deref(), name).map_err(ClusterError::from);
            let merge = json!(merge);
            let written = id.and_then(|id| self.cluster.patch(&id, &merge));
            let written = written.map_err(|error| self.wrong(patch, &error))?;
            let change = patched(&written, merge);
            self.upsert(&mut draft, written, change).map_err(|reason| self.wrong(patch, &reason))?;
        }
        for label in &step.label {
            let Relabel { kind, namespace, name, labels } = &label.value;
            let id = identify(kind, namespace.as_deref(), name).map_err(ClusterError::from);
            let written = id.and_then(|id| self.cluster.label(&id, labels));
            let written = written.map_err(|error| self.wrong(label, &error))?;
            let change = patched(&written, relabelled(labels));
            self.upsert(&mut draft, written, change).map_err(|reason| self.wrong(label, &reason))?;
        }
        for change in &step.wire {
            let event = self.wires.change(&change.value);
            draft.events.push(event.map_err(|reason| self.wrong(change, &reason))?);
        }
        let of_step = |reason: String| self.somewhere(format!("{}: {reason}", step.name));
        let nodes = self.nodes_of(step).map_err(of_step)?;
        if let Some(tampering) = step.tamper {
            draft.events.extend(nodes.iter().cloned().map(|node| Event::Tamper { node, tampering }));
        }
        if let Some(order) = step.agent {
            for node in &nodes {
                let ordered = self.order(&mut draft, node, order);
                ordered.map_err(|reason| self.somewhere(format!("{}: {reason}", step.name)))?;
            }
        }
        self.finish(&step.name, draft, &step.expect, step.reports.as_deref())
    }

    /// The nodes that a step's `tamper` and `agent` are about.
    fn nodes_of(&self, step: &Step) -> Result<Vec<String>, String> {
        match &step.node {
            None => Ok(self.agents.keys().cloned().collect()),
            Some(node) if !self.agents.contains_key(node) => Err(format!("there is no node {node:?}")),
            Some(_) if step.tamper.is_none() && step.agent.is_none() => {
                Err("node: neither tamper nor agent says what happens there".to_owned())
            }
            Some(node) => Ok(vec![node.clone()]),
        }
    }

    fn somewhere(&self, reason: String) -> ScenarioError {
        ScenarioError { file: self.file.to_owned(), place: Place::default(), reason }
    }

    /// Keeps what wires depend on, and what the manifest's reader complained about. A policy's problems are part of
    /// it: the agent reports those.
    fn remember(&mut self, draft: &mut Draft, written: &Written) {
        let Written { id, converted, config, wired, .. } = written;
        self.objects.insert(id.clone(), converted.object.clone());
        match wired {
            Some(pod) => drop(self.wired.insert(id.clone(), pod.clone())),
            None => drop(self.wired.remove(id)),
        }
        match &converted.object {
            Object::Network(network) => self.segments.learn(network, config),
            Object::Policy(_) => return,
            Object::Namespace(_) | Object::Pod(_) | Object::Port(_) => {}
        }
        draft.problems.extend(converted.problems.iter().map(|problem| format!("{id}: {problem}")));
    }

    /// A pod's wire is connected before its status is written: the agent hears of it afterwards.
    fn upsert(&mut self, draft: &mut Draft, written: Written, change: Change) -> Result<(), String> {
        self.remember(draft, &written);
        draft.events.push(Event::Write(change));
        self.rewire(draft)?;
        if written.id.kind() == Kind::Pod {
            draft.events.push(Event::Announce(written.id));
        }
        self.tell(draft, &Input::Upsert(written.converted.object));
        Ok(())
    }

    /// Tells every agent; one that is stopped hears nothing.
    fn tell(&self, draft: &mut Draft, input: &Input) {
        let running = self.agents.iter().filter(|(_, runs)| **runs);
        draft
            .events
            .extend(running.map(|(node, _)| Event::Tell { node: node.clone(), input: input.clone() }));
    }

    /// What an agent does first: it lists every kind of object.
    fn list_everything(&self, node: &str, draft: &mut Draft) {
        for kind in Kind::OF_THE_CLUSTER {
            let objects =
                self.objects.values().filter(|object| object.id().kind() == kind).cloned().collect();
            let input = Input::Relist { kind, objects };
            draft.events.push(Event::Tell { node: node.to_owned(), input });
        }
    }

    /// Ends or starts the agent of `node`.
    fn order(&mut self, draft: &mut Draft, node: &str, order: AgentOrder) -> Result<(), String> {
        let stops = matches!(order, AgentOrder::Restart | AgentOrder::Stop | AgentOrder::Upgrade);
        let starts = !matches!(order, AgentOrder::Stop);
        let runs = self.agents.insert(node.to_owned(), starts) == Some(true);
        if stops != runs {
            let state = if runs { "runs already" } else { "does not run" };
            return Err(format!("agent: {order:?}: it {state}").to_lowercase());
        }
        let agent = |change| Event::Agent { node: node.to_owned(), change };
        if stops {
            draft.events.push(agent(AgentChange::Stop));
        }
        if starts {
            let upgraded = order == AgentOrder::Upgrade;
            let succession = if upgraded { Succession::Other } else { Succession::Same };
            draft.events.push(agent(AgentChange::Start(succession)));
            self.list_everything(node, draft);
        }
        Ok(())
    }

    /// Cuts and connects wires until they are as the pods' network status says.
    fn rewire(&mut self, draft: &mut Draft) -> Result<(), String> {
        let pods = self.objects.iter().filter_map(|(id, object)| match object {
            Object::Pod(pod) => Some(self.wired.get(id).unwrap_or(pod)),
            Object::Namespace(_) | Object::Network(_) | Object::Policy(_) | Object::Port(_) => None,
        });
        let mut stations = self.hosts.clone();
        for pod in pods {
            let Some(node) = pod.node.as_deref().filter(|node| self.agents.contains_key(*node)) else {
                continue;
            };
            for mut station in self.segments.stations(pod, node)? {
                station.routes = host::routes(&station, &self.hosts);
                stations.insert(station.id.clone(), station);
            }
        }
        let vlans = stations.values().find(|station| !station.tagging.is_plain());
        if let Some(station) = vlans.filter(|_| !self.scenario.requires.contains(&Capability::Vlan)) {
            return Err(format!("{} is in a VLAN, so the scenario needs `requires: [vlan]`", station.id));
        }
        settle_guests(&mut stations, &self.scenario.vms)?;
        let guests = stations.values().filter(|station| station.wire.guest.is_some());
        let owners: BTreeSet<&str> = guests.map(|station| station.id.owner.as_str()).collect();
        let names = owners.into_iter().flat_map(|owner| [owner.to_owned(), short_name(owner).to_owned()]);
        self.vms_seen.extend(names);
        draft.events.extend(self.wires.follow(stations));
        Ok(())
    }

    /// A VM that is no pod's was misspelt.
    fn every_vm_was_there(&self) -> Result<(), ScenarioError> {
        match self.scenario.vms.iter().find(|vm| !self.vms_seen.contains(&vm.pod)) {
            None => Ok(()),
            Some(vm) => Err(self.somewhere(format!("vms: there is no pod {:?} on a bridge", vm.pod))),
        }
    }

    fn finish(
        &self,
        name: &str,
        draft: Draft,
        expect: &Expect,
        reports: Option<&[String]>,
    ) -> Result<Stage, ScenarioError> {
        let crowd = Crowd::new(self.wires.stations(), &self.scenario.probes);
        let wrong = |(place, reason): (Place, String)| ScenarioError {
            file: self.file.to_owned(),
            place,
            reason: format!("{name}: {reason}"),
        };
        let wanted = crowd.wanted(expect).map_err(wrong)?;
        let frames = craft(&expect.frames, self.wires.stations()).map_err(wrong)?;
        let mut reports_wanted = reports.unwrap_or_default().to_vec();
        reports_wanted.sort();
        Ok(Stage {
            name: name.to_owned(),
            events: draft.events,
            stations: self.wires.stations().clone(),
            wanted,
            frames,
            free: free(self.scenario, &self.agents, &self.objects, self.wires.stations()),
            reports_wanted,
            reports_read: draft.problems.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests;
