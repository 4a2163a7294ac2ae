//! More flows than a dynamic set holds, begun by packets.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io::Write;
use std::net::UdpSocket;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use policy_core::StateEngine;
use policy_core::ruleset::TABLE;
use serde_json::Value;

use super::line::Ends;
use super::{Course, script};
use crate::netns::Namespace;
use crate::probe::Family;
use crate::programs::{listed, objects};

/// The sets in which both ends' chains note UDP flows over IPv4 from the client to the server.
const SETS: [&str; 2] = ["started-udp-ip4", "admitted-udp-ip4"];
/// The ports that are sent from; with [`RECEIVERS`], more pairs than a set has elements.
const SENDERS: u16 = 320;
/// The ports that are sent to, from this one on.
const RECEIVERS: core::ops::Range<u16> = 20_000..20_210;
/// The port of a flow that begins when the sets are full.
const PORT: u16 = 5401;

impl Course {
    /// Fills the sets of flows: the flows that are in them lose nothing, what nobody allows stays out, and what is allowed
    /// still gets through, though nobody notes it any more.
    pub(super) fn crowd(&self, engine: StateEngine, out: &mut dyn Write) -> Result<Vec<String>> {
        if engine == StateEngine::Conntrack {
            writeln!(
                out,
                "the kernel's connection tracking follows the flows: no set of the table can be full"
            )?;
            return Ok(Vec::new());
        }
        let mut flows = self.begin()?;
        let denied = self.deny(&flows)?;
        let ends = self.ends([script::CLIENT, script::SERVER], Family::Ipv4)?;
        let begun = fill(&ends)?;
        let node = self.arm.node_namespace("node-1")?;
        for set in SETS {
            let (held, size) = filled(&node, set)?;
            ensure!(
                held == size,
                "{set} holds {held} of {size} elements after {begun} flows: it is not full"
            );
        }
        flows.lines.wait_for_more(self.patience).context("after the sets of flows were full")?;
        let mut complaints = Vec::new();
        if !arrives(&ends, self.patience)? {
            complaints.push("full sets: what is allowed does not arrive any more".to_owned());
        }
        complaints.extend(flows.finish(self.patience)?);
        complaints.extend(denied.complaint());
        writeln!(out, "{begun} UDP flows, more than the sets take: {}; {denied}", flows.lines)?;
        Ok(complaints)
    }
}

/// Sends one datagram from each of many ports to each of many; says how many.
fn fill(ends: &Ends) -> Result<u32> {
    let mut begun = 0;
    for _ in 0..SENDERS {
        let socket =
            ends.from.run(|| UdpSocket::bind(SocketAddr::new(ends.source, 0)))?.context("cannot bind")?;
        for port in RECEIVERS {
            // The answer "nobody listens" to an earlier one comes back as an error of a later one.
            drop(socket.send_to(b"one of many", SocketAddr::new(ends.destination, port)));
            begun += 1;
        }
    }
    Ok(begun)
}

/// How many elements a set has, and how many it can have.
fn filled(node: &Namespace, set: &str) -> Result<(usize, usize)> {
    let listing = listed(node, &["set", "bridge", TABLE, set])?;
    let set = objects(&listing)?.iter().find_map(|object| object.get("set")).context("nft lists no set")?;
    let held = set.get("elem").and_then(Value::as_array).map_or(0, Vec::len);
    let size = set.get("size").and_then(Value::as_u64).context("the set has no size")?;
    Ok((held, usize::try_from(size)?))
}

/// Whether a datagram of a new flow arrives.
fn arrives(ends: &Ends, patience: Duration) -> Result<bool> {
    let bound = |place: &Namespace, address: IpAddr, port| {
        place.run(|| UdpSocket::bind(SocketAddr::new(address, port)))?.context("cannot bind")
    };
    let server = bound(&ends.to, ends.destination, PORT)?;
    let client = bound(&ends.from, ends.source, 0)?;
    let deadline = Instant::now() + patience;
    client.send_to(b"one more", server.local_addr()?).context("cannot send")?;
    server.set_read_timeout(Some(deadline.saturating_duration_since(Instant::now())))?;
    Ok(server.recv_from(&mut [0; 16]).is_ok())
}
