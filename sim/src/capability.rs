//! What a kernel may or may not be able to do, found out by trying.
//!
//! Lists of modules and versions say little: a module may be built in, loadable or forbidden. So every capability that a
//! scenario requires is used once, in a network namespace of its own.

use alloc::collections::BTreeSet;
use core::fmt;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::links;
use crate::netns::Namespace;
use crate::programs;

/// Something that distribution kernels can do and others cannot.
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
            Self::Vlan => "vlan",
        })
    }
}

/// A namespace to try things in.
pub struct Trial {
    namespace: Namespace,
}

impl Trial {
    /// A namespace in which the plainest table can be made, so that a refusal of another means that table.
    pub async fn new() -> Result<Self> {
        let trial = Self { namespace: Namespace::create("trial").await? };
        ensure!(trial.accepts("accept")?, "the kernel refuses even a bridge table without a condition");
        Ok(trial)
    }

    /// Whether the kernel is capable of `capability`.
    pub async fn shows(&self, capability: Capability) -> Result<bool> {
        match capability {
            Capability::BridgeConntrack => self.accepts("ct state established accept"),
            Capability::Ibrname => self.accepts("meta ibrname \"br0\" accept"),
            Capability::Reject => self.accepts("reject"),
            Capability::Sctp => self.namespace.run(has_sctp),
            Capability::Vlan => links::can_filter_vlans(&self.namespace).await,
        }
    }

    /// Takes the namespace away.
    pub fn end(self) -> Result<()> {
        self.namespace.remove()
    }

    /// Whether the kernel takes a table with this rule. It is made and deleted in two transactions, because `nft
    /// --check` asks the kernel less.
    fn accepts(&self, rule: &str) -> Result<bool> {
        let hook = "type filter hook prerouting priority 0;";
        let table = format!("table bridge trial {{ chain c {{ {hook} {rule}; }}; }}\n");
        let made = self.nft(&table)?;
        if made {
            ensure!(self.nft("delete table bridge trial\n")?, "a table that was made cannot be deleted");
        }
        Ok(made)
    }

    fn nft(&self, commands: &str) -> Result<bool> {
        let nft = programs::find(programs::NFT).context("nft is not installed any more")?;
        let child = self.namespace.run(|| {
            Command::new(nft)
                .args(["-f", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        })?;
        let mut child = child.context("cannot start nft")?;
        let mut input = child.stdin.take().context("nft has an input")?;
        input.write_all(commands.as_bytes()).context("nft does not read its input")?;
        drop(input);
        Ok(child.wait().context("cannot wait for nft")?.success())
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
