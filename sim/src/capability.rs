//! What a kernel may or may not be able to do, found out by trying.
//!
//! Lists of modules and versions say little: a module may be built in, loadable or forbidden. So every capability that a
//! scenario requires is used once, in a network namespace of its own. What concerns tables the driver finds out, as it
//! does for the agent.

use alloc::collections::BTreeSet;
use core::fmt;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use driver_nft::Capabilities;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::links;
use crate::netns::Namespace;

/// Something that not every place can do where scenarios are played: distribution kernels can, others cannot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Connection tracking in the bridge family (`NF_CONNTRACK_BRIDGE`).
    BridgeConntrack,
    /// The bridge's name as a match (`NFT_BRIDGE_META`).
    Ibrname,
    /// Refusing instead of dropping in the bridge family (`NFT_BRIDGE_REJECT`).
    Reject,
    /// The transport protocol SCTP (`IP_SCTP`).
    Sctp,
    /// Objects as somebody wrote them: an API server refuses or prunes what does not fit its schema, so this is what files
    /// have and clusters do not.
    Unvalidated,
    /// Bridges that filter VLANs, and devices for tagged frames (`BRIDGE_VLAN_FILTERING`, `VLAN_8021Q`).
    Vlan,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BridgeConntrack => "bridge-conntrack",
            Self::Ibrname => "ibrname",
            Self::Reject => "reject",
            Self::Sctp => "sctp",
            Self::Unvalidated => "unvalidated",
            Self::Vlan => "vlan",
        })
    }
}

/// A namespace to try things in.
pub struct Trial {
    namespace: Namespace,
    /// What the driver finds out for the agent.
    of_tables: Capabilities,
}

impl Trial {
    /// A namespace in which tables can be made.
    pub async fn new() -> Result<Self> {
        let namespace = Namespace::create("trial").await?;
        let of_tables = namespace.run(Capabilities::probe)?.context("cannot try tables")?;
        Ok(Self { namespace, of_tables })
    }

    /// Whether the kernel is capable of `capability`.
    pub async fn shows(&self, capability: Capability) -> Result<bool> {
        match capability {
            Capability::BridgeConntrack => Ok(self.has(driver_nft::Capability::BridgeConntrack)),
            Capability::Ibrname => Ok(self.has(driver_nft::Capability::Ibrname)),
            Capability::Reject => Ok(self.has(driver_nft::Capability::Reject)),
            Capability::Sctp => self.namespace.run(has_sctp),
            // No kernel looks at objects.
            Capability::Unvalidated => Ok(true),
            Capability::Vlan => links::can_filter_vlans(&self.namespace).await,
        }
    }

    fn has(&self, capability: driver_nft::Capability) -> bool {
        self.of_tables.of(capability).is_present()
    }

    /// Takes the namespace away.
    pub fn end(self) -> Result<()> {
        self.namespace.remove()
    }
}

/// Whether a socket for SCTP can be opened in the namespace that this thread is in.
fn has_sctp() -> bool {
    let opened =
        socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, Some(SockProtocol::Sctp));
    opened.is_ok()
}

/// Which of `required` the kernel is not capable of. Must be called in namespaces of our own.
pub async fn missing(required: &BTreeSet<Capability>) -> Result<BTreeSet<Capability>> {
    let mut missing = BTreeSet::new();
    let trial = Trial::new().await?;
    for capability in required {
        let shown = trial.shows(*capability).await;
        if !shown.with_context(|| format!("cannot find out about {capability}"))? {
            missing.insert(*capability);
        }
    }
    trial.end()?;
    Ok(missing)
}

/// The end of a sentence: `needs bridge-conntrack, vlan`.
pub fn needs(missing: &BTreeSet<Capability>) -> String {
    let names: Vec<String> = missing.iter().map(Capability::to_string).collect();
    format!("needs {}", names.join(", "))
}
