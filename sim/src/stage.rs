//! From a scenario to stages: everything that can be known without sending a packet. Pure.
//!
//! All mistakes of a scenario file are found here, before anything is built.

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use std::path::Path;

use driver_kube::identify;
use policy_core::Input;
use policy_core::model::{Kind, Object, ObjectId};
use serde_json::json;
use serde_saphyr::Spanned;

use crate::capability::Capability;
use crate::claim::Crowd;
use crate::cluster::{Cluster, ClusterError, Written};
use crate::plan::{Segments, Station, StationId, host_station};
use crate::probe::Probe;
use crate::scenario::{
    AgentChange, AgentOrder, Expect, Patch, Place, Relabel, Scenario, ScenarioError, Step, Tampering, Target,
    Wanted,
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
    /// The problems that must be reported, sorted.
    pub reports_wanted: Vec<String>,
    /// The problems that were found while manifests were read, sorted.
    pub reports_read: Vec<String>,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// The agent starts or ends.
    Agent(AgentChange),
    /// A wire is connected.
    Attach(Station),
    /// A wire is cut.
    Detach(Station),
    /// Somebody changes the agent's table.
    Tamper(Tampering),
    /// The agent's watch sees something.
    Tell(Input),
}

/// All stages of a scenario: the start first.
pub fn stages(file: &Path, scenario: &Scenario) -> Result<Vec<Stage>, ScenarioError> {
    let mut stager = Stager::new(file, scenario)?;
    let mut stages = vec![stager.start(scenario)?];
    for step in &scenario.steps {
        stages.push(stager.step(step)?);
    }
    Ok(stages)
}

/// The state that stages are derived from.
struct Stager<'a> {
    file: &'a Path,
    node: String,
    scenario: &'a Scenario,
    cluster: Cluster,
    segments: Segments,
    hosts: BTreeMap<StationId, Station>,
    objects: BTreeMap<ObjectId, Object>,
    agent_runs: bool,
    stations: BTreeMap<StationId, Station>,
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
        let [node] = scenario.nodes.as_slice() else {
            let reason =
                format!("nodes: {} are named, but exactly one can be built yet", scenario.nodes.len());
            return Err(wrong(reason));
        };
        let mut hosts = BTreeMap::new();
        for host in &scenario.hosts {
            let station = host_station(host, node).map_err(|reason| wrong(format!("hosts: {reason}")))?;
            if station.node != *node {
                return Err(wrong(format!("hosts: {}: there is no node {:?}", host.name, station.node)));
            }
            if hosts.insert(station.id.clone(), station).is_some() {
                return Err(wrong(format!("hosts: {} is named twice", host.name)));
            }
        }
        Ok(Self {
            file,
            node: node.clone(),
            scenario,
            cluster: Cluster::default(),
            segments: Segments::default(),
            hosts,
            objects: BTreeMap::new(),
            agent_runs: true,
            stations: BTreeMap::new(),
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
            }
        }
        self.rewire(&mut draft).map_err(|reason| self.somewhere(reason))?;
        self.list_everything(&mut draft);
        self.finish("the start", draft, &scenario.expect, scenario.reports.as_deref())
    }

    fn step(&mut self, step: &Step) -> Result<Stage, ScenarioError> {
        let mut draft = Draft::default();
        for manifest in &step.apply {
            let written =
                self.cluster.apply(&manifest.value).map_err(|error| self.wrong(manifest, &error))?;
            for written in written {
                self.upsert(&mut draft, written).map_err(|reason| self.wrong(manifest, &reason))?;
            }
        }
        for target in &step.delete {
            let Target { kind, namespace, name } = &target.value;
            let deleted = identify(kind, namespace.as_deref(), name).map_err(ClusterError::from);
            let deleted = deleted.and_then(|id| self.cluster.delete(&id).map(|()| id));
            let id = deleted.map_err(|error| self.wrong(target, &error))?;
            self.objects.remove(&id);
            self.rewire(&mut draft).map_err(|reason| self.wrong(target, &reason))?;
            self.tell(&mut draft, Input::Remove(id));
        }
        for patch in &step.patch {
            let Patch { kind, namespace, name, merge } = &patch.value;
            let id = identify(kind, namespace.as_deref(), name).map_err(ClusterError::from);
            let written = id.and_then(|id| self.cluster.patch(&id, &json!(merge)));
            let written = written.map_err(|error| self.wrong(patch, &error))?;
            self.upsert(&mut draft, written).map_err(|reason| self.wrong(patch, &reason))?;
        }
        for label in &step.label {
            let Relabel { kind, namespace, name, labels } = &label.value;
            let id = identify(kind, namespace.as_deref(), name).map_err(ClusterError::from);
            let written = id.and_then(|id| self.cluster.label(&id, labels));
            let written = written.map_err(|error| self.wrong(label, &error))?;
            self.upsert(&mut draft, written).map_err(|reason| self.wrong(label, &reason))?;
        }
        draft.events.extend(step.tamper.map(Event::Tamper));
        if let Some(order) = step.agent {
            let ordered = self.order(&mut draft, order);
            ordered.map_err(|reason| self.somewhere(format!("{}: {reason}", step.name)))?;
        }
        self.finish(&step.name, draft, &step.expect, step.reports.as_deref())
    }

    fn somewhere(&self, reason: String) -> ScenarioError {
        ScenarioError { file: self.file.to_owned(), place: Place::default(), reason }
    }

    /// Keeps what wires depend on, and what the manifest's reader complained about. A policy's problems are part of
    /// it: the agent reports those.
    fn remember(&mut self, draft: &mut Draft, written: &Written) {
        let Written { id, manifest, converted } = written;
        self.objects.insert(id.clone(), converted.object.clone());
        match &converted.object {
            Object::Network(network) => self.segments.learn(network, manifest),
            Object::Policy(_) => return,
            Object::Namespace(_) | Object::Pod(_) | Object::Port(_) => {}
        }
        draft.problems.extend(converted.problems.iter().map(|problem| format!("{id}: {problem}")));
    }

    /// A pod's wire is connected before its status is written: the agent hears of it afterwards.
    fn upsert(&mut self, draft: &mut Draft, written: Written) -> Result<(), String> {
        self.remember(draft, &written);
        self.rewire(draft)?;
        self.tell(draft, Input::Upsert(written.converted.object));
        Ok(())
    }

    /// An agent that is stopped hears nothing.
    fn tell(&self, draft: &mut Draft, input: Input) {
        if self.agent_runs {
            draft.events.push(Event::Tell(input));
        }
    }

    /// What an agent does first: it lists every kind of object.
    fn list_everything(&self, draft: &mut Draft) {
        for kind in [Kind::Namespace, Kind::Network, Kind::Pod, Kind::Policy] {
            let objects =
                self.objects.values().filter(|object| object.id().kind() == kind).cloned().collect();
            self.tell(draft, Input::Relist { kind, objects });
        }
    }

    /// Ends or starts the agent.
    fn order(&mut self, draft: &mut Draft, order: AgentOrder) -> Result<(), String> {
        let stops = matches!(order, AgentOrder::Restart | AgentOrder::Stop);
        if stops != self.agent_runs {
            let state = if self.agent_runs { "runs already" } else { "does not run" };
            return Err(format!("agent: {order:?}: it {state}").to_lowercase());
        }
        if stops {
            self.agent_runs = false;
            draft.events.push(Event::Agent(AgentChange::Stop));
        }
        if matches!(order, AgentOrder::Restart | AgentOrder::Start) {
            self.agent_runs = true;
            draft.events.push(Event::Agent(AgentChange::Start));
            self.list_everything(draft);
        }
        Ok(())
    }

    /// Cuts and connects wires until they are as the pods' network status says.
    fn rewire(&mut self, draft: &mut Draft) -> Result<(), String> {
        let pods = self
            .objects
            .values()
            .filter_map(|object| if let Object::Pod(pod) = object { Some(pod) } else { None });
        let mut stations = self.hosts.clone();
        for pod in pods.filter(|pod| pod.node.as_deref() == Some(&self.node)) {
            let own = self.segments.stations(pod, &self.node)?;
            stations.extend(own.into_iter().map(|station| (station.id.clone(), station)));
        }
        let vlans = stations.values().find(|station| !station.tagging.is_plain());
        if let Some(station) = vlans.filter(|_| !self.scenario.requires.contains(&Capability::Vlan)) {
            return Err(format!("{} is in a VLAN, so the scenario needs `requires: [vlan]`", station.id));
        }
        let gone = self.stations.values().filter(|station| stations.get(&station.id) != Some(station));
        draft.events.extend(gone.cloned().map(Event::Detach));
        let new = stations.values().filter(|station| self.stations.get(&station.id) != Some(station));
        draft.events.extend(new.cloned().map(Event::Attach));
        self.stations = stations;
        Ok(())
    }

    fn finish(
        &self,
        name: &str,
        draft: Draft,
        expect: &Expect,
        reports: Option<&[String]>,
    ) -> Result<Stage, ScenarioError> {
        let crowd = Crowd::new(&self.stations, &self.scenario.probes);
        let wanted = crowd.wanted(expect).map_err(|(place, reason)| ScenarioError {
            file: self.file.to_owned(),
            place,
            reason: format!("{name}: {reason}"),
        })?;
        let mut reports_wanted = reports.unwrap_or_default().to_vec();
        reports_wanted.sort();
        Ok(Stage {
            name: name.to_owned(),
            events: draft.events,
            stations: self.stations.clone(),
            wanted,
            reports_wanted,
            reports_read: draft.problems.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pods on one bridge, one of them on another node, and two steps.
    const SCENARIO: &str = r#"
description: a test
objects:
  - {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
  - apiVersion: k8s.cni.cncf.io/v1
    kind: NetworkAttachmentDefinition
    metadata: {name: data, namespace: shop}
    spec: {config: '{"type": "bridge", "bridge": "br0"}'}
  - &far
    apiVersion: v1
    kind: Pod
    metadata:
      name: far
      namespace: shop
      annotations: {k8s.v1.cni.cncf.io/network-status: '[{"name": "shop/data", "ips": ["10.0.0.1"]}]'}
    spec: {nodeName: node-2}
steps:
  - name: a pod appears
    apply:
      - apiVersion: v1
        kind: Pod
        metadata:
          name: near
          namespace: shop
          annotations: {k8s.v1.cni.cncf.io/network-status: '[{"name": "shop/data", "ips": ["10.0.0.2"]}]'}
        spec: {nodeName: node-1}
    expect: {}
  - name: its network is deleted
    delete: [{kind: NetworkAttachmentDefinition, namespace: shop, name: data}]
    agent: stop
    expect: {}
  - name: it is deleted
    delete: [{kind: Pod, namespace: shop, name: near}]
    expect: {}
"#;

    /// What happens in each stage, shortened.
    fn events(text: &str) -> Result<Vec<Vec<String>>, ScenarioError> {
        let file = Path::new("test.yaml");
        let scenario = Scenario::parse(file, text)?;
        let short = |event: &Event| match event {
            Event::Agent(change) => format!("agent {change:?}"),
            Event::Attach(station) => format!("attach {}", station.id),
            Event::Detach(station) => format!("detach {}", station.id),
            Event::Tamper(tampering) => format!("tamper {tampering:?}"),
            Event::Tell(Input::Relist { kind, objects }) => format!("list {} {kind:?}", objects.len()),
            Event::Tell(Input::Upsert(object)) => format!("upsert {}", object.id()),
            Event::Tell(Input::Remove(id)) => format!("remove {id}"),
            Event::Tell(other) => format!("{other:?}"),
        };
        let stages = stages(file, &scenario)?;
        Ok(stages.iter().map(|stage| stage.events.iter().map(short).collect()).collect())
    }

    #[test]
    fn wires_come_before_the_status_and_stay_without_their_network() {
        let events = events(SCENARIO).expect("a good scenario");
        let wanted: [&[&str]; 4] = [
            &["list 1 Namespace", "list 1 Network", "list 1 Pod", "list 0 Policy"],
            &["attach shop/near@net1", "upsert pod shop/near"],
            &["remove network shop/data", "agent Stop"],
            // An agent that is stopped hears nothing.
            &["detach shop/near@net1"],
        ];
        assert_eq!(events, wanted);
    }

    #[test]
    fn an_agent_that_runs_cannot_be_started() {
        let text = SCENARIO.replace("agent: stop", "agent: start");
        let error = events(&text).expect_err("it runs");
        assert_eq!(error.to_string(), "test.yaml: its network is deleted: agent: start: it runs already");
    }
}
