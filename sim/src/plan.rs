//! Who stands on which bridge: from manifests to stations. Pure.
//!
//! A station is one end of a wire: an attachment of a local pod, or a host that is no pod. A network that was known
//! once stays known, because the wires of its pods stay when its definition is deleted.

use alloc::collections::BTreeMap;
use core::fmt;
use core::net::IpAddr;

use ipnet::IpNet;
use policy_core::model::{
    Attachment, BridgePort, Mac, NamespacedName, Network, NetworkConfig, Pod, PortKind,
};
use policy_core::ruleset::fingerprint;
use serde_json::Value;

use crate::probe::{Family, ProbeKind};
use crate::scenario::with_default_prefix;
use crate::tagging::Tagging;

/// Names a station: its pod (`namespace/name`) or host (`name`), and the interface there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct StationId {
    /// The pod or host.
    pub owner: String,
    /// The interface's name inside it.
    pub interface: String,
}

impl StationId {
    /// The interface by which a host is on a bridge port.
    pub const HOST_INTERFACE: &'static str = "eth0";

    /// The station of a host on a bridge port.
    pub fn of_host(host: &str) -> Self {
        Self { owner: host.to_owned(), interface: Self::HOST_INTERFACE.to_owned() }
    }
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
    /// How it is connected.
    pub position: Position,
    /// Its routes, beside those to its own networks.
    pub routes: Vec<Route>,
    /// What else is to be said of its wire.
    pub wire: Wire,
}

/// What is not usual about a wire.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Wire {
    /// The name that somebody has given to the port.
    pub port: Option<String>,
    /// The station is a virtual machine, and the wire leads to a bridge inside its pod.
    pub guest: Option<Guest>,
    /// The network that a pod is attached to by it.
    pub network: Option<NamespacedName>,
}

/// A virtual machine inside a pod: it has the attachment's MAC, the wire's end has another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guest {
    /// Whether the node's bridge has learned behind which port the machine is; if not, the port learns nothing.
    pub is_learned: bool,
}

/// How a station is connected to its bridge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Position {
    /// It is behind the node, which routes between it and the bridge.
    Behind {
        /// The node's Ethernet address on the bridge: that of all its frames there.
        router: Mac,
        /// The node's addresses on the wire to it.
        near: Vec<IpNet>,
    },
    /// It is the node itself: its addresses are on the bridge.
    Node,
    /// By a wire to a bridge port.
    Port,
}

/// A route through a neighbour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Where to.
    pub to: IpNet,
    /// The neighbour.
    pub via: IpAddr,
}

impl Station {
    /// Its address of `family`, if any: the first one. Without any address, on a network without address management,
    /// it is the link-local address that the interface gives itself.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        if self.addresses.is_empty() && family == Family::Ipv6 {
            return Some(self.mac.link_local().into());
        }
        let fits = |address: &IpAddr| match family {
            Family::Ethernet => false,
            Family::Ipv4 => address.is_ipv4(),
            Family::Ipv6 => address.is_ipv6(),
        };
        self.addresses.iter().map(IpNet::addr).find(fits)
    }

    /// Whether it can be probed over `family`.
    pub fn speaks(&self, family: Family) -> bool {
        family == Family::Ethernet || self.address(family).is_some()
    }

    /// The interface that has its addresses: that of the wire, or the device for its tag on that.
    pub fn interface(&self) -> String {
        let wire = &self.id.interface;
        self.tagging.tag().map_or_else(|| wire.clone(), |tag| format!("{wire}.{tag}"))
    }

    /// Whether frames between it and `other` stay in one VLAN of one bridge, or of bridges of one name on several nodes,
    /// which are joined.
    pub fn shares_a_segment(&self, other: &Self) -> bool {
        let place = |station: &Self| (station.bridge.clone(), station.tagging.vlan());
        place(self) == place(other)
    }

    /// Whether a probe of this kind, over `family`, gets from it to `other` through a bridge where nothing forbids it.
    pub fn shares_a_way(&self, other: &Self, kind: ProbeKind, family: Family) -> bool {
        let routed = |host: &Self, station: &Self| {
            let to = host.address(family);
            let leads_there = |to| station.routes.iter().any(|route| route.to.contains(&to));
            kind.is_routable() && to.is_some_and(leads_there)
        };
        let ways = match (&self.position, &other.position) {
            (Position::Behind { .. }, Position::Port) => routed(self, other),
            (Position::Port, Position::Behind { .. }) => routed(other, self),
            (Position::Behind { .. }, _) | (_, Position::Behind { .. }) => false,
            (Position::Node | Position::Port, Position::Node | Position::Port) => {
                self.speaks(family) && other.speaks(family)
            }
        };
        ways && self.shares_a_segment(other)
    }

    /// Whether both it and `other` are behind ports of one bridge, and so can send and hear crafted frames.
    pub fn can_craft_beside(&self, other: &Self) -> bool {
        let wired = |station: &Self| station.position == Position::Port;
        wired(self) && wired(other) && self.shares_a_segment(other)
    }

    /// The Ethernet address of its frames on the bridge.
    pub const fn mac_on_bridge(&self) -> Mac {
        match self.position {
            Position::Behind { router, .. } => router,
            Position::Node | Position::Port => self.mac,
        }
    }

    /// The name of its network namespace.
    pub fn namespace(&self) -> String {
        match self.position {
            Position::Node => namespace_of_node(&self.node),
            Position::Port if self.wire.guest.is_some() => {
                format!("{}.guest", namespace_of(&self.id.owner))
            }
            Position::Behind { .. } | Position::Port => namespace_of(&self.id.owner),
        }
    }

    /// The name of the bridge port on the node.
    pub fn port_name(&self) -> String {
        self.wire.port.clone().unwrap_or_else(|| port_name(&self.id))
    }

    /// The Ethernet address of the far end of its wire.
    pub fn far_mac(&self) -> Mac {
        if self.wire.guest.is_some() { invented_mac(&self.id) } else { self.mac }
    }

    /// The port as the node's kernel would report it under `index`.
    pub fn port(&self, index: u32) -> BridgePort {
        BridgePort {
            index,
            name: self.port_name().into(),
            bridge: self.bridge.as_str().into(),
            far_mac: Some(self.far_mac()),
            far_name: Some(self.id.interface.as_str().into()),
            kind: PortKind::Veth,
            stations: self
                .wire
                .guest
                .filter(|guest| guest.is_learned)
                .map(|_| self.mac)
                .into_iter()
                .collect(),
        }
    }
}

/// The wire of a bridge to the other nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uplink {
    /// The bridge, here and there.
    pub bridge: String,
    /// The port on the node.
    pub port_name: String,
    /// The Ethernet address of the far end.
    pub far_mac: Mac,
    /// The name of the far end.
    pub far_name: String,
}

/// The uplink of `bridge` on `node`.
pub fn uplink(node: &str, bridge: &str) -> Uplink {
    let far_end = StationId { owner: node.to_owned(), interface: bridge.to_owned() };
    Uplink {
        bridge: bridge.to_owned(),
        port_name: device_name("up", &far_end),
        far_mac: invented_mac(&far_end),
        far_name: device_name("down", &far_end),
    }
}

impl Uplink {
    /// The port as the node's kernel would report it under `index`.
    pub fn port(&self, index: u32) -> BridgePort {
        BridgePort {
            index,
            name: self.port_name.as_str().into(),
            bridge: self.bridge.as_str().into(),
            far_mac: Some(self.far_mac),
            far_name: Some(self.far_name.as_str().into()),
            kind: PortKind::Uplink,
            stations: alloc::collections::BTreeSet::new(),
        }
    }
}

/// The name of a device that belongs to `id`: at most 15 bytes (`IFNAMSIZ`, `uapi/linux/if.h`), five of them `prefix`.
pub(crate) fn device_name(prefix: &str, id: &StationId) -> String {
    format!("{prefix}{}", fingerprint(&id.to_string()).get(..10).unwrap_or_default())
}

/// The name of a station's bridge port on the node.
pub fn port_name(id: &StationId) -> String {
    device_name("veth", id)
}

/// The name of the network namespace of a pod or host.
pub fn namespace_of(owner: &str) -> String {
    owner.replace('/', ".")
}

/// The name of the network namespace of a node.
pub fn namespace_of_node(node: &str) -> String {
    format!("node:{node}")
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
    /// Learns a network; the text `config` says which subnets its address management uses.
    pub fn learn(&mut self, network: &Network, config: &str) {
        if let NetworkConfig::Bridge(bridge) = &network.config {
            let plugins = plugins(config);
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
        Ok(Station {
            id,
            node: node.to_owned(),
            bridge: self.bridge.clone(),
            mac,
            addresses,
            tagging,
            position: Position::Port,
            routes: Vec::new(),
            wire: Wire { network: Some(attachment.network.clone()), ..Wire::default() },
        })
    }

    fn with_prefix(&self, address: IpAddr) -> IpNet {
        let subnet = self.subnets.iter().find(|subnet| subnet.contains(&address));
        let sized = subnet.and_then(|subnet| IpNet::new(address, subnet.prefix_len()).ok());
        sized.unwrap_or_else(|| with_default_prefix(address))
    }
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
fn plugins(config: &str) -> Vec<Value> {
    let Ok(config) = serde_json::from_str::<Value>(config) else { return Vec::new() };
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
    use test_case::test_case;

    fn name() -> NamespacedName {
        NamespacedName::new("shop", "data")
    }

    fn segments(vlan: Option<u16>, config: &str) -> Segments {
        let bridge = BridgeNetwork { bridge: "br-data".into(), vlan, dhcp: false, guard: None };
        let network = Network { id: name(), config: NetworkConfig::Bridge(bridge) };
        let mut segments = Segments::default();
        segments.learn(&network, config);
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
