//! The agent as it runs on a node: the compiler, a kernel, and the watcher of the node's links.

use core::time::Duration;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use driver_nft::{Links, Monitor};
use policy_core::model::{BridgePort, Kind, Mac, Object};
use policy_core::{Config, Input, Kernel};

use super::Played;
use super::wiring::Node;
use crate::agent::Agent;
use crate::layout::Version;

/// How long the kernel may take to report something; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running agent.
pub(super) struct NodeAgent<K> {
    /// The compiler and its kernel.
    pub(super) agent: Agent<K>,
    watcher: Links,
    listed: bool,
}

impl<K: Kernel> NodeAgent<K> {
    /// Starts an agent of `version` with `config` in the network namespace that this thread is in.
    pub(super) fn start(config: Config, kernel: K, version: Version) -> Result<Self> {
        let watcher = Links::open().context("cannot watch the node's links")?;
        Ok(Self { agent: Agent::new(config, kernel, version), watcher, listed: false })
    }

    /// Passes on what the kernel says about ports until the agent knows those of `node`, and no others. The first time
    /// they are listed.
    pub(super) fn follow_ports(&mut self, played: &mut Played, node: &Node) -> Result<()> {
        if !self.listed {
            let ports = self.watcher.dump().context("cannot list the node's ports")?;
            let objects = ports.into_iter().map(Object::Port).collect();
            played.tell(&mut self.agent, Input::Relist { kind: Kind::Port, objects })?;
            self.listed = true;
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.knows(node) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let known: Vec<&BridgePort> = self.agent.ports().collect();
                bail!("the link watcher did not report all ports within {PATIENCE:?}, only {known:?}");
            }
            self.pass_on(played, left)?;
        }
        Ok(())
    }

    /// Whether the agent has listed the ports and hears of changes.
    pub(super) const fn has_listed(&self) -> bool {
        self.listed
    }

    /// Waits at most `patience` for the watcher, and tells the agent what it reports. Whether it reported anything.
    pub(super) fn pass_on(&mut self, played: &mut Played, patience: Duration) -> Result<bool> {
        let events = self.watcher.next(Some(patience)).context("cannot watch the node's links")?;
        let any = !events.is_empty();
        for event in events {
            played.tell(&mut self.agent, event.into())?;
        }
        Ok(any)
    }

    fn knows(&self, node: &Node) -> bool {
        // A station that has sent with the MAC of another is where the bridge expects that one.
        let has_learned = |bridge: &str, mac: &Mac| {
            self.agent.ports().any(|port| &*port.bridge == bridge && port.stations.contains(mac))
        };
        let as_wired = |port: &BridgePort| {
            let wanted = node.ports().find(|wanted| wanted.index == port.index);
            wanted.is_some_and(|wanted| {
                wanted.bridge == port.bridge
                    && wanted.far_mac == port.far_mac
                    && wanted.far_name == port.far_name
                    && wanted.name == port.name
                    && wanted.stations.iter().all(|mac| has_learned(&port.bridge, mac))
            })
        };
        self.agent.ports().all(as_wired) && self.agent.ports().count() == node.ports().count()
    }
}

/// Waits until the kernel announces that somebody else has changed the table.
pub(super) fn notice_tampering(monitor: &mut Monitor) -> Result<()> {
    loop {
        let notice = monitor.next(Some(PATIENCE)).context("cannot listen to changes of the tables")?;
        let notice = notice.context("the kernel did not announce somebody else's change of the table")?;
        if notice.is_tampering() {
            return Ok(());
        }
    }
}
