//! Who stands on which bridge: from manifests to stations. Pure.
//!
//! A station is one end of a wire: an attachment of a local pod, or a host that is no pod. A network that was known
//! once stays known, because the wires of its pods stay when its definition is deleted.

use alloc::collections::BTreeMap;
use core::fmt;
use core::net::IpAddr;

use ipnet::IpNet;
use policy_core::model::{Attachment, BridgePort, Mac, NamespacedName, Network, NetworkConfig, Pod};
use policy_core::ruleset::fingerprint;
use serde_json::Value;

use crate::probe::Family;
use crate::scenario::{Host, parse_address, with_default_prefix};
use crate::tagging::Tagging;

/// Names a station: its pod (`namespace/name`) or host (`name`), and the interface there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct StationId {
    /// The pod or host.
    pub owner: String,
    /// The interface's name inside it.
    pub interface: String,
}

impl fmt::Display for StationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.owner, self.interface)
    }
}

/// One end of a wire, the other end of which is a bridge port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Station {
    /// Its name.
    pub id: StationId,
    /// The node it is on.
    pub node: String,
    /// The bridge on that node.
    pub bridge: String,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Its VLANs.
    pub tagging: Tagging,
}

impl Station {
    /// Its address of `family`, if any: the first one. Without any address, on a network without address management,
    /// it is the link-local address that the interface gives itself.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        if self.addresses.is_empty() && family == Family::Ipv6 {
            return Some(self.mac.link_local().into());
        }
        let fits = |address: &IpAddr| address.is_ipv4() == (family == Family::Ipv4);
        self.addresses.iter().map(IpNet::addr).find(fits)
    }

    /// The interface that has its addresses: that of the wire, or the device for its tag on that.
    pub fn interface(&self) -> String {
        let wire = &self.id.interface;
        self.tagging.tag().map_or_else(|| wire.clone(), |tag| format!("{wire}.{tag}"))
    }

    /// Whether frames between it and `other` stay on one bridge and in one VLAN.
    pub fn shares_a_segment(&self, other: &Self) -> bool {
        let place = |station: &Self| (station.node.clone(), station.bridge.clone(), station.tagging.vlan());
        place(self) == place(other)
    }

    /// The name of its network namespace.
    pub fn namespace(&self) -> String {
        namespace_of(&self.id.owner)
    }

    /// The name of the bridge port on the node: at most 15 bytes (`IFNAMSIZ`, `uapi/linux/if.h`).
    pub fn port_name(&self) -> String {
        format!("veth{}", fingerprint(&self.id.to_string()).get(..10).unwrap_or_default())
    }

    /// The port as the node's kernel would report it under `index`.
    pub fn port(&self, index: u32) -> BridgePort {
        BridgePort {
            index,
            name: self.port_name().into(),
            bridge: self.bridge.as_str().into(),
            far_mac: Some(self.mac),
            far_name: Some(self.id.interface.as_str().into()),
            stations: alloc::collections::BTreeSet::new(),
        }
    }
}

/// The name of the network namespace of a pod or host.
pub fn namespace_of(owner: &str) -> String {
    owner.replace('/', ".")
}

/// What is needed of a network to attach to it.
#[derive(Clone, Debug)]
struct Segment {
    bridge: String,
    tagging: Result<Tagging, String>,
    subnets: Vec<IpNet>,
}

/// Every network that was ever known.
#[derive(Clone, Default, Debug)]
pub struct Segments(BTreeMap<NamespacedName, Segment>);

impl Segments {
    /// Learns a network; `manifest` says which subnets its address management uses.
    pub fn learn(&mut self, network: &Network, manifest: &Value) {
        if let NetworkConfig::Bridge(bridge) = &network.config {
            let plugins = plugins(manifest);
            // The first plugin of a list is the one that connects.
            let tagging = Tagging::of(bridge.vlan, plugins.first().unwrap_or(&Value::Null));
            let subnets = subnets(&plugins);
            let segment = Segment { bridge: bridge.bridge.to_string(), tagging, subnets };
            self.0.insert(network.id.clone(), segment);
        }
    }

    /// The stations of `pod` on `node`.
    pub fn stations(&self, pod: &Pod, node: &str) -> Result<Vec<Station>, String> {
        let wired = pod.attachments.iter().enumerate();
        let stations = wired.filter_map(|(at, attachment)| {
            let segment = self.0.get(&attachment.network)?;
            Some(segment.station(pod, at, attachment, node))
        });
        stations.collect()
    }
}

impl Segment {
    fn station(&self, pod: &Pod, at: usize, attachment: &Attachment, node: &str) -> Result<Station, String> {
        let tagging = self.tagging.clone().map_err(|reason| format!("{}: {reason}", attachment.network))?;
        let interface = match &*attachment.interface {
            "" => format!("net{}", at + 1),
            name => name.to_owned(),
        };
        let id = StationId { owner: pod.id.to_string(), interface };
        let mac = attachment.mac.unwrap_or_else(|| invented_mac(&id));
        let addresses = attachment.addresses.iter().map(|address| self.with_prefix(*address)).collect();
        Ok(Station { id, node: node.to_owned(), bridge: self.bridge.clone(), mac, addresses, tagging })
    }

    fn with_prefix(&self, address: IpAddr) -> IpNet {
        let subnet = self.subnets.iter().find(|subnet| subnet.contains(&address));
        let sized = subnet.and_then(|subnet| IpNet::new(address, subnet.prefix_len()).ok());
        sized.unwrap_or_else(|| with_default_prefix(address))
    }
}

/// The station of a host.
pub fn host_station(host: &Host, default_node: &str) -> Result<Station, String> {
    let owner = host.name.clone();
    if owner.is_empty() || owner.contains(['/', '@', '*', '.']) {
        return Err(format!("host name {owner:?} must be a plain name without / @ * ."));
    }
    if host.vlan.is_some_and(|vlan| !(1..=4094).contains(&vlan)) {
        return Err(format!("host {owner}: vlan must be from 1 to 4094"));
    }
    let mac = host.mac.parse().map_err(|error| format!("host {owner}: mac: {:?}: {error}", host.mac))?;
    let addresses: Result<Vec<IpNet>, String> = host
        .addresses
        .iter()
        .map(|text| parse_address(text).map_err(|reason| format!("host {owner}: addresses: {reason}")))
        .collect();
    Ok(Station {
        id: StationId { owner, interface: "eth0".to_owned() },
        node: host.node.clone().unwrap_or_else(|| default_node.to_owned()),
        bridge: host.bridge.clone(),
        mac,
        addresses: addresses?,
        tagging: host.vlan.map_or_else(Tagging::default, Tagging::access),
    })
}

/// A locally administered address that is always the same for the same station.
fn invented_mac(id: &StationId) -> Mac {
    let digits = fingerprint(&id.to_string());
    let mut bytes = [0x02, 0, 0, 0, 0, 0];
    for (byte, digit) in bytes.iter_mut().skip(1).zip(digits.bytes()) {
        *byte = digit;
    }
    Mac(bytes)
}

/// The configurations of a network's plugins: of a single one, or of a list.
fn plugins(manifest: &Value) -> Vec<Value> {
    let text = manifest.pointer("/spec/config").and_then(Value::as_str).unwrap_or_default();
    let Ok(config) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    config.get("plugins").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![config])
}

/// The subnets that a network's plugins hand out: `ipam.subnet`, `ipam.ranges[][].subnet` (host-local) and
/// `ipam.addresses[].address` (static).
fn subnets(plugins: &[Value]) -> Vec<IpNet> {
    let mut found = Vec::new();
    for ipam in plugins.iter().filter_map(|plugin| plugin.get("ipam")) {
        found.extend(ipam.get("subnet").cloned());
        let ranges = ipam.get("ranges").and_then(Value::as_array).into_iter().flatten();
        let ranges = ranges.filter_map(Value::as_array).flatten();
        found.extend(ranges.filter_map(|range| range.get("subnet").cloned()));
        let addresses = ipam.get("addresses").and_then(Value::as_array).into_iter().flatten();
        found.extend(addresses.filter_map(|entry| entry.get("address").cloned()));
    }
    found
        .iter()
        .filter_map(Value::as_str)
        .filter_map(|text| text.parse().ok())
        .map(|net: IpNet| net.trunc())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy_core::model::{BridgeNetwork, Labels};
    use serde_json::json;
    use test_case::test_case;

    fn name() -> NamespacedName {
        NamespacedName::new("shop", "data")
    }

    fn segments(vlan: Option<u16>, config: &str) -> Segments {
        let bridge = BridgeNetwork { bridge: "br-data".into(), vlan, dhcp: false, guard: None };
        let network = Network { id: name(), config: NetworkConfig::Bridge(bridge) };
        let mut segments = Segments::default();
        segments.learn(&network, &json!({ "spec": { "config": config } }));
        segments
    }

    fn pod(mac: Option<Mac>, addresses: &[&str]) -> Pod {
        let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        let attachment = Attachment { network: name(), interface: "".into(), mac, addresses };
        Pod {
            id: NamespacedName::new("shop", "web"),
            labels: Labels::default(),
            node: None,
            attachments: vec![attachment],
            ports: Vec::new(),
        }
    }

    fn only(segments: &Segments, pod: &Pod) -> Station {
        segments.stations(pod, "node-1").expect("it can be built").remove(0)
    }

    #[test_case(r#"{"ipam": {"subnet": "10.10.0.0/16"}}"# => "10.10.1.2/16"; "subnet")]
    #[test_case(r#"{"ipam": {"ranges": [[{"subnet": "10.9.0.0/16"}], [{"subnet": "10.10.0.0/20"}]]}}"# => "10.10.1.2/20"; "ranges")]
    #[test_case(r#"{"plugins": [{"ipam": {"addresses": [{"address": "10.10.1.2/26"}]}}]}"# => "10.10.1.2/26"; "address in a list of plugins")]
    #[test_case(r#"{"ipam": {"subnet": "10.11.0.0/16"}}"# => "10.10.1.2/24"; "another subnet")]
    #[test_case("not JSON" => "10.10.1.2/24"; "no configuration")]
    fn the_prefix_length_is_that_of_the_networks_address_management(config: &str) -> String {
        only(&segments(None, config), &pod(None, &["10.10.1.2"])).addresses[0].to_string()
    }

    #[test]
    fn what_the_status_leaves_out_is_always_made_up_alike() {
        let segments = segments(None, "");
        let station = only(&segments, &pod(None, &[]));
        assert_eq!(station.id.to_string(), "shop/web@net1");
        assert_eq!(station.mac.0[0], 0x02, "locally administered, and not for a group");
        assert_eq!(station, only(&segments, &pod(None, &[])));
        assert_eq!(station.address(Family::Ipv6), Some(station.mac.link_local().into()));
        assert_eq!(station.address(Family::Ipv4), None);
    }

    #[test]
    fn a_port_has_a_name_that_the_kernel_takes() {
        let station = only(&segments(None, ""), &pod(None, &[]));
        assert!(station.port_name().len() <= 15, "{}", station.port_name());
    }

    #[test]
    fn a_station_on_a_trunk_sends_by_a_device_for_its_tag() {
        let access = only(&segments(Some(7), ""), &pod(None, &[]));
        assert_eq!(access.interface(), access.id.interface);
        let trunk = only(&segments(None, r#"{"vlanTrunk": [{"id": 7}]}"#), &pod(None, &[]));
        assert_eq!(trunk.interface(), format!("{}.7", trunk.id.interface));
        assert!(trunk.shares_a_segment(&access));
        assert!(!trunk.shares_a_segment(&only(&segments(None, ""), &pod(None, &[]))));
    }

    #[test]
    fn a_bad_trunk_is_refused_by_the_name_of_its_network() {
        let bad = segments(None, r#"{"vlanTrunk": [{"id": 0}]}"#);
        let error = bad.stations(&pod(None, &[]), "node-1").expect_err("no such VLAN");
        assert!(error.starts_with("shop/data: vlanTrunk[0]: "), "{error}");
    }

    #[test]
    fn a_network_that_nobody_knows_has_no_wires() {
        let stations = Segments::default().stations(&pod(None, &[]), "node-1").expect("nothing is built");
        assert_eq!(stations, Vec::new());
    }
}
