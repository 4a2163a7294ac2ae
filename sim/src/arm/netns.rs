//! The netns arm: real bridges and wires, the real driver, real packets. It joins with `driver-nft`'s kernel and link
//! watcher.

use anyhow::{Result, bail};

use super::{Arm, Played};
use crate::stage::Stage;

/// Plays stages with packets. Must live in a network namespace of its own.
pub struct NetnsArm(core::convert::Infallible);

impl NetnsArm {
    /// A node without bridges.
    pub fn new(_node: &str) -> Result<Self> {
        bail!("the netns arm waits for the netlink driver: use --arm model")
    }

    /// The names of all namespaces, for `ip netns exec`.
    pub const fn namespaces(&self) -> Vec<&str> {
        match self.0 {}
    }
}

impl Arm for NetnsArm {
    fn play(&mut self, _stage: &Stage) -> Result<Played> {
        match self.0 {}
    }
}
