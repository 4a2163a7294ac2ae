//! What the core is told once, at the start.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::Guard;

/// Settings of one agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    /// The name of the node whose pods are enforced.
    pub node: Arc<str>,
    /// Whether ICMP always passes, whatever the rules say.
    pub accept_icmp: bool,
    /// Whether ICMPv6 always passes, whatever the rules say.
    pub accept_icmp6: bool,
    /// The guard of networks that do not ask for one themselves.
    pub guard: Option<Guard>,
    /// Whether a port without a known owner passes nothing, on bridges of networks that some policy names.
    pub quarantine: bool,
    /// Names of ports that lead to a network, whatever kind of device they are: never under quarantine.
    pub uplinks: BTreeSet<Arc<str>>,
    /// Whether the kernel can say which bridge a frame is on: then quarantine needs no list of all other ports.
    pub bridge_names: BridgeNames,
    /// What follows connections.
    pub state: StateEngine,
    /// How frames are logged where policies ask for it; `None` where the kernel cannot.
    #[serde(default)]
    pub log: Option<LogSettings>,
}

/// How frames are logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct LogSettings {
    /// The number by which the kernel finds who listens (`NFULA_CFG`, `uapi/linux/netfilter/nfnetlink_log.h`).
    pub group: u16,
    /// How many frames per second each place that logs may log in the long run; at least 1.
    pub rate: u32,
}

impl LogSettings {
    /// How many frames a place that logs may log at once: those of two seconds.
    pub const fn burst(self) -> u32 {
        self.rate.saturating_mul(2)
    }
}

impl Default for LogSettings {
    /// Group 1977, 10 frames per second.
    fn default() -> Self {
        Self { group: 1977, rate: 10 }
    }
}

/// Whether the kernel can say which bridge a frame is on (`NFT_BRIDGE_META`), which not every one can.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum BridgeNames {
    /// It can.
    Known,
    /// It cannot, or nobody knows whether it can.
    #[default]
    Unknown,
}

impl BridgeNames {
    /// What is known where the kernel can, or cannot.
    pub const fn of(can: bool) -> Self {
        if can { Self::Known } else { Self::Unknown }
    }

    /// Whether the kernel can.
    pub const fn are_known(self) -> bool {
        matches!(self, Self::Known)
    }
}

/// What follows connections, so that replies pass. Both mean the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum StateEngine {
    /// The kernel's connection tracking in the bridge family, which not every kernel has.
    Conntrack,
    /// Dynamic sets.
    #[default]
    Sets,
}

impl Config {
    /// The defaults, for `node`.
    pub fn new(node: impl Into<Arc<str>>) -> Self {
        Self {
            node: node.into(),
            accept_icmp: false,
            accept_icmp6: false,
            guard: None,
            quarantine: false,
            uplinks: BTreeSet::new(),
            bridge_names: BridgeNames::default(),
            state: StateEngine::default(),
            log: Some(LogSettings::default()),
        }
    }
}
