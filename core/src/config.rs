//! What the core is told once, at the start.

use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

/// Settings of one agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    /// The name of the node whose pods are enforced.
    pub node: Arc<str>,
    /// Whether ICMP always passes, whatever the rules say.
    pub accept_icmp: bool,
    /// Whether ICMPv6 always passes, whatever the rules say.
    pub accept_icmp6: bool,
}

impl Config {
    /// The defaults, for `node`.
    pub fn new(node: impl Into<Arc<str>>) -> Self {
        Self { node: node.into(), accept_icmp: false, accept_icmp6: false }
    }
}
