//! The agent as it runs on a node: the compiler, the netlink driver, the link watcher, and the listener for other
//! people's changes.

use alloc::collections::BTreeMap;
use core::time::Duration;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use driver_nft::{Links, Monitor, NftKernel};
use policy_core::Input;
use policy_core::model::{BridgePort, Kind, Object};

use super::Played;
use crate::agent::Agent;
use crate::netns::Namespace;
use crate::plan::StationId;

/// How long the kernel may take to report something; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running agent.
pub(super) struct NodeAgent {
    /// The compiler and its kernel.
    pub(super) agent: Agent<NftKernel>,
    watcher: Links,
    monitor: Monitor,
    listed: bool,
}

impl NodeAgent {
    /// Starts the agent of `node` in its namespace.
    pub(super) fn start(node: &str, namespace: &Namespace) -> Result<Self> {
        namespace.run(|| {
            let kernel = NftKernel::open().context("cannot open the nftables driver")?;
            let monitor = kernel.monitor().context("cannot listen to changes of the tables")?;
            let watcher = Links::open().context("cannot watch the node's links")?;
            Ok(Self { agent: Agent::new(node, kernel), watcher, monitor, listed: false })
        })?
    }

    /// Passes on what the kernel says about ports until the agent knows those of `wires`, and no others. The first time
    /// they are listed.
    pub(super) fn follow_ports(
        &mut self,
        played: &mut Played,
        wires: &BTreeMap<StationId, BridgePort>,
    ) -> Result<()> {
        if !self.listed {
            let ports = self.watcher.dump().context("cannot list the node's ports")?;
            let objects = ports.into_iter().map(Object::Port).collect();
            played.tell(&mut self.agent, Input::Relist { kind: Kind::Port, objects })?;
            self.listed = true;
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.knows(wires) {
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

    /// Waits until the kernel announces that somebody else has changed the table, and tells the agent.
    pub(super) fn notice_tampering(&mut self, played: &mut Played) -> Result<()> {
        loop {
            let notice =
                self.monitor.next(Some(PATIENCE)).context("cannot listen to changes of the tables")?;
            let notice = notice.context("the kernel did not announce somebody else's change of the table")?;
            if notice.is_tampering() {
                return played.tell(&mut self.agent, Input::Tampered);
            }
        }
    }

    fn knows(&self, wires: &BTreeMap<StationId, BridgePort>) -> bool {
        let as_wired = |port: &BridgePort| {
            let wanted = wires.values().find(|wanted| wanted.index == port.index);
            wanted.is_some_and(|wanted| {
                wanted.bridge == port.bridge
                    && wanted.far_mac == port.far_mac
                    && wanted.far_name == port.far_name
            })
        };
        self.agent.ports().all(as_wired) && self.agent.ports().count() == wires.len()
    }
}
