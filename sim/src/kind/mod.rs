//! A scenario for a cluster of real pods: what is applied and deleted, and what is probed, as JSON. Pure.
//!
//! There nobody writes a status: the one in a scenario becomes the request by which Multus attaches the pod, so that it
//! writes the same one. Machines that are no pods are left out. What only the harness can do (cut wires, send crafted
//! frames, stop agents) cannot be played.

mod objects;

use alloc::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result};
use policy_core::model::ObjectId;
use serde::Serialize;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterError, Written};
use crate::options::AgentOptions;
use crate::plan::StationId;
use crate::probe::ProbeKind;
use crate::scenario::{Scenario, Wanted};
use crate::stage::{Change, Event, Stage, stages};
use objects::Pods;

/// The image of the pods: it is known to listen on TCP and UDP ports and to connect to them, and has `ping` and `arping`.
pub const IMAGE: &str = "registry.k8s.io/e2e-test-images/agnhost:2.53";

/// A scenario as it is played with real pods.
#[derive(Debug, Serialize)]
pub struct Script {
    description: String,
    /// The nodes by the names that pods select them with.
    nodes: Vec<String>,
    /// The bridges: those of one name on several nodes are to be joined.
    bridges: BTreeSet<String>,
    /// Every namespace that there is at some time.
    namespaces: BTreeSet<String>,
    stages: Vec<Scene>,
}

/// The start, or a step.
#[derive(Debug, Serialize)]
struct Scene {
    name: String,
    /// What is deleted first.
    delete: Vec<Named>,
    /// What is applied then, in this order.
    apply: Vec<Value>,
    /// The pods that have to run.
    pods: BTreeSet<String>,
    probes: Vec<Question>,
}

#[derive(Debug, Serialize)]
struct Named {
    kind: String,
    namespace: Option<String>,
    name: String,
}

/// A probe.
#[derive(Debug, Serialize)]
struct Question {
    /// `namespace/pod` of who asks.
    from: String,
    interface: String,
    /// `namespace/pod` of who is asked.
    to: String,
    address: String,
    /// `icmp`, `arp`, `tcp` or `udp`.
    via: &'static str,
    port: Option<u16>,
    open: bool,
}

/// Prints the script of the scenario in `file`; whether it has one.
pub fn print(file: &Path, image: &str, out: &mut impl Write) -> Result<bool> {
    let scenario = Scenario::read(file)?;
    let stages = stages(file, &scenario)?;
    match Script::of(&scenario, &stages, image) {
        Ok(script) => {
            serde_json::to_writer(&mut *out, &script).context("cannot write the script")?;
            writeln!(out)?;
            Ok(true)
        }
        Err(reason) => {
            writeln!(out, "{}: not with real pods: {reason}", file.display())?;
            Ok(false)
        }
    }
}

impl Script {
    /// The script of a scenario with these stages.
    ///
    /// # Errors
    /// Why real pods cannot play it, as the end of a sentence.
    pub fn of(scenario: &Scenario, stages: &[Stage], image: &str) -> Result<Self, String> {
        playable(scenario)?;
        let mut pods = Pods::new(scenario, stages, image);
        let mut cluster = Cluster::default();
        let mut scenes = Vec::new();
        for stage in stages {
            let (written, gone) = changes(&mut cluster, stage).map_err(|error| error.to_string())?;
            let apply = pods.applicable(&written, &gone)?;
            let delete = gone.iter().map(named).collect();
            let probes = questions(stage)?;
            scenes.push(Scene { name: stage.name.clone(), delete, apply, pods: pods.running(), probes });
        }
        if scenes.iter().all(|scene| scene.probes.is_empty()) {
            return Err("it has no probes between pods".to_owned());
        }
        let all = || stages.iter().flat_map(|stage| stage.stations.values());
        Ok(Self {
            description: scenario.description.clone(),
            nodes: scenario.nodes.clone(),
            bridges: all().map(|station| station.bridge.clone()).collect(),
            namespaces: pods.namespaces(),
            stages: scenes,
        })
    }
}

/// Says what of a scenario real pods cannot do.
fn playable(scenario: &Scenario) -> Result<(), String> {
    let refuse = |is_there: bool, what: &str| if is_there { Err(what.to_owned()) } else { Ok(()) };
    refuse(!scenario.disk.is_empty(), "it has files on the nodes' disks")?;
    refuse(!scenario.vms.is_empty(), "it has virtual machines")?;
    refuse(!scenario.requires.is_empty(), "it requires what not every cluster has")?;
    refuse(scenario.options != AgentOptions::default(), "its agents are told something")?;
    let steps = &scenario.steps;
    refuse(steps.iter().any(|step| !step.wire.is_empty()), "wires change")?;
    refuse(steps.iter().any(|step| step.tamper.is_some()), "somebody changes the table")?;
    refuse(steps.iter().any(|step| step.agent.is_some()), "an agent starts or ends")?;
    let mut expects = core::iter::once(&scenario.expect).chain(steps.iter().map(|step| &step.expect));
    refuse(expects.any(|expect| !expect.frames.is_empty()), "it sends crafted frames")
}

/// What a stage writes, and what it deletes.
fn changes(cluster: &mut Cluster, stage: &Stage) -> Result<(Vec<Written>, Vec<ObjectId>), ClusterError> {
    let (mut written, mut gone) = (Vec::new(), Vec::new());
    for event in &stage.events {
        let Event::Write(change) = event else { continue };
        match change {
            Change::Apply { manifest, .. } => written.extend(cluster.apply(manifest)?),
            Change::Delete(id) => {
                cluster.delete(id)?;
                gone.push(id.clone());
            }
            Change::Patch { object, patch, .. } => written.push(cluster.patch(object, patch)?),
        }
    }
    Ok((written, gone))
}

fn named(id: &ObjectId) -> Named {
    let (kind, namespace, name) = objects::parts(id);
    Named { kind: kind.to_owned(), namespace: namespace.map(str::to_owned), name: name.to_owned() }
}

/// The probes between pods of a stage.
fn questions(stage: &Stage) -> Result<Vec<Question>, String> {
    let mut questions = Vec::new();
    let stations: &BTreeMap<StationId, _> = &stage.stations;
    let is_pod = |id: &StationId| id.owner.contains('/');
    for (probe, wanted) in stage.wanted.iter().filter(|(probe, _)| is_pod(&probe.from) && is_pod(&probe.to)) {
        let (via, port) = match probe.kind {
            ProbeKind::Icmp => ("icmp", None),
            ProbeKind::Arp => ("arp", None),
            ProbeKind::Tcp(port) => ("tcp", Some(port)),
            ProbeKind::Udp(port) => ("udp", Some(port)),
            kind @ (ProbeKind::Ether(_)
            | ProbeKind::IcmpError(_)
            | ProbeKind::Sctp(_)
            | ProbeKind::UdpBig(_)) => {
                return Err(format!("it probes with {kind}"));
            }
        };
        let address = stations.get(&probe.to).and_then(|station| station.address(probe.family));
        let address = address.ok_or_else(|| format!("{} has no address", probe.to))?;
        let is_link_local =
            matches!(address, core::net::IpAddr::V6(address) if address.is_unicast_link_local());
        let zone = if is_link_local { format!("%{}", probe.from.interface) } else { String::new() };
        questions.push(Question {
            from: probe.from.owner.clone(),
            interface: probe.from.interface.clone(),
            to: probe.to.owner.clone(),
            address: format!("{address}{zone}"),
            via,
            port,
            open: *wanted == Wanted::Open,
        });
    }
    Ok(questions)
}
