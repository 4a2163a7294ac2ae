//! The netns arm: real bridges and wires, the real driver, real packets.
//!
//! The node is a network namespace with its bridges; every pod and host is one, with a veth pair to a port. The
//! compiler, the netlink driver and the link watcher are those of the agent.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::time::Duration;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use driver_nft::{Links, NftKernel};
use policy_core::Input;
use policy_core::model::{BridgePort, Kind, Object};
use tokio::runtime::Runtime;

use super::{Arm, Played};
use crate::agent::Agent;
use crate::links;
use crate::listing::Scratch;
use crate::netns::Namespace;
use crate::plan::{Station, StationId, namespace_of};
use crate::probe::{Field, round};
use crate::stage::{Event, Stage};
use crate::walk::Bridge;

/// How long the kernel may take to report a port; it takes milliseconds.
const PORT_PATIENCE: Duration = Duration::from_secs(10);

/// Plays stages with packets. Must live in a network namespace of its own.
pub struct NetnsArm {
    runtime: Runtime,
    node: Namespace,
    pods: BTreeMap<String, Arc<Namespace>>,
    wires: BTreeMap<StationId, BridgePort>,
    agent: Agent<NftKernel>,
    watcher: Links,
    scratch: Scratch,
    listed: bool,
}

impl NetnsArm {
    /// A node without bridges.
    pub fn new(node: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let namespace = runtime.block_on(Namespace::create(&format!("node:{node}")))?;
        let (kernel, watcher) = namespace.run(|| (NftKernel::open(), Links::open()))?;
        let agent = Agent::new(node, kernel.context("cannot open the nftables driver")?);
        let watcher = watcher.context("cannot watch the node's links")?;
        let scratch = Scratch::new(runtime.block_on(Namespace::create("scratch"))?);
        let (pods, wires) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { runtime, node: namespace, pods, wires, agent, watcher, scratch, listed: false })
    }

    /// The names of all namespaces, for `ip netns exec`.
    pub fn namespaces(&self) -> Vec<&str> {
        let pods = self.pods.keys().map(String::as_str);
        core::iter::once(self.node.name()).chain(pods).collect()
    }

    fn attach(&mut self, station: &Station) -> Result<()> {
        let name = station.namespace();
        if !self.pods.contains_key(&name) {
            let namespace = self.runtime.block_on(Namespace::create(&name))?;
            self.pods.insert(name.clone(), Arc::new(namespace));
        }
        let pod = self.pods.get(&name).context("the namespace was just made")?;
        let port = self.runtime.block_on(links::attach(&self.node, pod, station))?;
        self.wires.insert(station.id.clone(), station.port(port));
        Ok(())
    }

    /// Cuts a wire; with its last wire a pod's namespace goes too.
    fn detach(&mut self, station: &Station) -> Result<()> {
        self.runtime.block_on(links::detach(&self.node, station))?;
        self.wires.remove(&station.id);
        let owner = &station.id.owner;
        if !self.wires.keys().any(|id| id.owner == *owner) {
            let namespace = self.pods.remove(&namespace_of(owner));
            let namespace = namespace.and_then(Arc::into_inner).context("the namespace is still in use")?;
            namespace.remove()?;
        }
        Ok(())
    }

    /// The first list of the node's ports.
    fn list_ports(&mut self, played: &mut Played) -> Result<()> {
        let ports = self.watcher.dump().context("cannot list the node's ports")?;
        let objects = ports.into_iter().map(Object::Port).collect();
        played.tell(&mut self.agent, Input::Relist { kind: Kind::Port, objects })?;
        self.listed = true;
        self.follow_ports(played)
    }

    /// Passes on what the watcher reports until the agent knows the ports that are there, and no others.
    fn follow_ports(&mut self, played: &mut Played) -> Result<()> {
        let deadline = Instant::now() + PORT_PATIENCE;
        while !self.knows_ports() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let known: Vec<&BridgePort> = self.agent.ports().collect();
                bail!("the link watcher did not report all ports within {PORT_PATIENCE:?}, only {known:?}");
            }
            self.pass_on(played, left)?;
        }
        Ok(())
    }

    /// Waits at most `patience` for the watcher, and tells the agent what it reports. Whether it reported anything.
    fn pass_on(&mut self, played: &mut Played, patience: Duration) -> Result<bool> {
        let events = self.watcher.next(Some(patience)).context("cannot watch the node's links")?;
        let any = !events.is_empty();
        for event in events {
            played.tell(&mut self.agent, event.into())?;
        }
        Ok(any)
    }

    fn knows_ports(&self) -> bool {
        let as_wired = |port: &BridgePort| {
            let wanted = self.wires.values().find(|wanted| wanted.index == port.index);
            wanted.is_some_and(|wanted| {
                wanted.bridge == port.bridge
                    && wanted.far_mac == port.far_mac
                    && wanted.far_name == port.far_name
            })
        };
        self.agent.ports().all(as_wired) && self.agent.ports().count() == self.wires.len()
    }

    /// What the kernel really holds, against what it should.
    fn check(&mut self, played: &mut Played) -> Result<()> {
        let observed = self.agent.observed()?;
        let settled = self.agent.settled()?;
        if observed != *settled {
            played.complaints.push(format!("the kernel's table, read back, is another one:\n{observed}"));
        }
        let text = settled.to_string();
        let ports = self.wires.values().map(|port| (port.name.to_string(), port.index)).collect();
        let complaints = self.runtime.block_on(self.scratch.compare(&self.node, &text, &ports))?;
        played.complaints.extend(complaints);
        played.nft = text;
        Ok(())
    }
}

impl Arm for NetnsArm {
    fn play(&mut self, stage: &Stage) -> Result<Played> {
        let mut played = Played::default();
        for event in &stage.events {
            match event {
                Event::Attach(station) => self.attach(station)?,
                Event::Detach(station) => self.detach(station)?,
                Event::Tell(input) => played.tell(&mut self.agent, input.clone())?,
            }
            if self.listed {
                self.follow_ports(&mut played)?;
            }
        }
        if !self.listed {
            self.list_ports(&mut played)?;
        }
        // Whatever bridges have learned meanwhile.
        while self.pass_on(&mut played, Duration::ZERO)? {}
        played.reports.sort();
        self.check(&mut played)?;
        let ruleset = self.agent.settled()?;
        let ports = self.wires.iter().map(|(id, port)| (id.clone(), port.index)).collect();
        let bridge = Bridge { ruleset, stations: &stage.stations, ports: &ports };
        played.predicted = Some(bridge.outcomes(stage.wanted.keys()));
        let field = Field { stations: &stage.stations, namespaces: &self.pods };
        played.outcomes = self.runtime.block_on(round(&field, &stage.wanted))?;
        Ok(played)
    }
}
