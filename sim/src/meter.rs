//! Frames of stations that no policy isolates, counted before and after the agent's table: it must not drop one.
//!
//! A table of our own counts, at every hook, what each port sends and gets: once before the agent's chains, and once after
//! them. It is there while a round of probes is, and gone when anybody compares tables.

use alloc::collections::BTreeMap;

use anyhow::{Context as _, Result};
use policy_core::model::Direction;
use serde_json::Value;

use crate::netns::Namespace;
use crate::programs::{listed, nft, objects};

/// The name of the table.
const METER: &str = "sim-meter";

/// The agent's chains are at -200 (`NF_BR_PRI_FILTER_BRIDGED`, `uapi/linux/netfilter_bridge.h`). What is counted before
/// them is listed before what is counted after them, so that frames on their way meanwhile are never missed.
const TABLE: &str = "table bridge sim-meter {
  set egress-before { type iface_index; size 1024; flags dynamic; }
  set ingress-before { type iface_index; size 1024; flags dynamic; }
  set egress-after { type iface_index; size 1024; flags dynamic; }
  set ingress-after { type iface_index; size 1024; flags dynamic; }
  chain enter-before { type filter hook prerouting priority -300; update @egress-before { iif counter }; }
  chain enter-after { type filter hook prerouting priority -100; update @egress-after { iif counter }; }
  chain forward-before { type filter hook forward priority -300; update @ingress-before { oif counter }; }
  chain forward-after { type filter hook forward priority -100; update @ingress-after { oif counter }; }
  chain output-before { type filter hook output priority -300; update @ingress-before { oif counter }; }
  chain output-after { type filter hook output priority -100; update @ingress-after { oif counter }; }
}
";

/// Begins to count on a node.
pub fn begin(node: &Namespace) -> Result<()> {
    // `/run` is the scenario's own.
    let file = "/run/meter.nft";
    std::fs::write(file, TABLE).with_context(|| format!("cannot write {file}"))?;
    nft(node, &["-f", file]).map(drop)
}

/// What was counted on a node: the frames before and after the agent's table.
#[derive(Debug, Default)]
pub struct Counted(BTreeMap<(Direction, String), [u64; 2]>);

/// Ends counting on a node.
pub fn end(node: &Namespace) -> Result<Counted> {
    let listing = listed(node, &["table", "bridge", METER])?;
    nft(node, &["delete", "table", "bridge", METER])?;
    Counted::read(&listing)
}

impl Counted {
    /// How many of the frames that a port has sent (egress) or got (ingress) the agent's table has dropped; `None` when
    /// there were no frames.
    pub fn dropped(&self, direction: Direction, port: &str) -> Option<u64> {
        let [before, after] = self.0.get(&(direction, port.to_owned()))?;
        Some(before.saturating_sub(*after))
    }

    fn read(listing: &Value) -> Result<Self> {
        let mut counted = Self::default();
        for set in objects(listing)?.iter().filter_map(|object| object.get("set")) {
            let (direction, at) = match set.get("name").and_then(Value::as_str) {
                Some("egress-before") => (Direction::Egress, 0),
                Some("egress-after") => (Direction::Egress, 1),
                Some("ingress-before") => (Direction::Ingress, 0),
                Some("ingress-after") => (Direction::Ingress, 1),
                _ => continue,
            };
            for element in set.get("elem").and_then(Value::as_array).into_iter().flatten() {
                let port = element.pointer("/elem/val").and_then(Value::as_str);
                let packets = element.pointer("/elem/counter/packets").and_then(Value::as_u64);
                let (Some(port), Some(packets)) = (port, packets) else { continue };
                let counts = counted.0.entry((direction, port.to_owned())).or_default();
                if let Some(count) = counts.get_mut(at) {
                    *count = packets;
                }
            }
        }
        Ok(counted)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_counted_again_was_dropped() {
        let set = |name: &str, packets: u64| {
            let element = json!({"elem": {"val": "veth1", "counter": {"packets": packets, "bytes": 1}}});
            json!({"set": {"name": name, "elem": [element]}})
        };
        let listing = json!({"nftables": [
            set("egress-before", 9), set("egress-after", 7), set("ingress-before", 3), set("ingress-after", 4),
        ]});
        let counted = Counted::read(&listing).expect("a listing");
        assert_eq!(counted.dropped(Direction::Egress, "veth1"), Some(2));
        assert_eq!(counted.dropped(Direction::Ingress, "veth1"), Some(0), "one came while it was listed");
        assert_eq!(counted.dropped(Direction::Ingress, "veth2"), None);
    }
}
