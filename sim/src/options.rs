//! What the agents of a scenario are told when they start.

use alloc::collections::BTreeSet;

use policy_core::model::Guard;
use policy_core::{BridgeNames, Config, StateEngine};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::plan::{StationId, port_name};
use crate::scenario::Scenario;

/// The flags of the agents; every one of them has the same.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AgentOptions {
    /// `--accept-icmp`: ICMP always passes.
    #[serde(default)]
    pub accept_icmp: bool,
    /// `--accept-icmpv6`: ICMPv6 always passes.
    #[serde(default)]
    pub accept_icmpv6: bool,
    /// `--guard`: the guard of networks that do not ask for one themselves.
    #[serde(default)]
    pub guard: Option<GuardOption>,
    /// `--unknown-ports`: what becomes of ports whose owner is not known.
    #[serde(default)]
    pub unknown_ports: UnknownPorts,
    /// `--uplink`: the hosts whose ports lead to a network, so that they are never unknown.
    #[serde(default)]
    pub uplinks: BTreeSet<String>,
}

/// What a port may send: see [`Guard`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GuardOption {
    /// By its own MAC only.
    Mac,
    /// By its own MAC and from its own addresses only.
    MacIp,
}

/// What becomes of ports whose owner is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownPorts {
    /// Everything passes them.
    #[default]
    Accept,
    /// Nothing passes them, on bridges of networks that some policy names.
    Drop,
}

/// What agents make use of, where the kernel has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ability {
    /// What follows connections.
    pub state: StateEngine,
    /// Whether it says which bridge a frame is on.
    pub bridge_names: BridgeNames,
    /// Whether it tells of frames where policies want that.
    pub frame_log: bool,
}

impl Ability {
    /// What a kernel has that is good for `state`, where there is none to ask: connections are followed per bridge.
    pub const fn good_for(state: StateEngine) -> Self {
        let bridge_names = BridgeNames::of(matches!(state, StateEngine::Conntrack));
        Self { state, bridge_names, frame_log: true }
    }
}

impl Scenario {
    /// The settings of the agent of each node, on kernels like this.
    pub fn configs(&self, ability: Ability) -> Vec<Config> {
        let Ability { state, bridge_names, frame_log } = ability;
        let config = |node: &String| {
            let plain = self.config(node);
            Config { state, bridge_names, log: plain.log.filter(|_| frame_log), ..plain }
        };
        self.nodes.iter().map(config).collect()
    }

    fn config(&self, node: &str) -> Config {
        let options = &self.options;
        let guard = options.guard.map(|guard| match guard {
            GuardOption::Mac => Guard::Mac,
            GuardOption::MacIp => Guard::MacIp,
        });
        let uplinks = options.uplinks.iter().map(|host| port_name(&StationId::of_host(host)).into());
        Config {
            accept_icmp: options.accept_icmp,
            accept_icmp6: options.accept_icmpv6,
            guard,
            quarantine: options.unknown_ports == UnknownPorts::Drop,
            uplinks: uplinks.collect(),
            ..Config::new(node)
        }
    }

    /// The same settings as the flags of `mnp-nft-bridge run`.
    pub fn flags(&self) -> Vec<String> {
        let AgentOptions { accept_icmp, accept_icmpv6, guard, unknown_ports, uplinks } = &self.options;
        let mut flags = Vec::new();
        flags.extend(accept_icmp.then(|| "--accept-icmp".to_owned()));
        flags.extend(accept_icmpv6.then(|| "--accept-icmpv6".to_owned()));
        flags.extend(guard.map(|guard| match guard {
            GuardOption::Mac => "--guard=mac".to_owned(),
            GuardOption::MacIp => "--guard=mac-ip".to_owned(),
        }));
        flags.extend((*unknown_ports == UnknownPorts::Drop).then(|| "--unknown-ports=drop".to_owned()));
        flags.extend(uplinks.iter().map(|host| format!("--uplink={}", port_name(&StationId::of_host(host)))));
        flags
    }

    /// Only hosts can be uplinks.
    pub(crate) fn check_options(&self) -> Result<(), String> {
        let is_host = |name: &&String| self.hosts.iter().any(|host| host.name == **name);
        match self.options.uplinks.iter().find(|name| !is_host(name)) {
            Some(name) => Err(format!("uplinks: there is no host {name:?}")),
            None => Ok(()),
        }
    }
}
