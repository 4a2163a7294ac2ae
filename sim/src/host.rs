//! Machines that are no pods: on a port of a bridge, the node itself, or behind the node, which routes to them. Pure.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::plan::{Position, Route, Station, StationId, Wire};
use crate::scenario::{Host, HostPlace, parse_address};
use crate::tagging::Tagging;

/// The stations of `hosts`; `nodes` are the nodes that are built.
pub fn stations(hosts: &[Host], nodes: &[String]) -> Result<BTreeMap<StationId, Station>, String> {
    let mut stations = BTreeMap::new();
    let mut names = BTreeSet::new();
    for host in hosts {
        let station = station(host, nodes)?;
        if !names.insert(&host.name) {
            return Err(format!("{} is named twice", host.name));
        }
        stations.insert(station.id.clone(), station);
    }
    // Routes follow from who else is there.
    let all = stations.clone();
    for station in stations.values_mut() {
        settle(station, &all)?;
    }
    Ok(stations)
}

/// The routes of a station at a port: through the node to everyone behind it.
pub fn routes(station: &Station, hosts: &BTreeMap<StationId, Station>) -> Vec<Route> {
    let behind = hosts.values().filter(|host| host.bridge == station.bridge);
    let behind = behind.filter(|host| matches!(host.position, Position::Behind { .. }));
    let mut routes = Vec::new();
    for host in behind {
        let Some(node) = node_of(host, hosts) else { continue };
        for to in &host.addresses {
            let via = node.addresses.iter().map(IpNet::addr).find(|via| via.is_ipv4() == to.addr().is_ipv4());
            let on_link = |via: &IpAddr| station.addresses.iter().any(|own| own.contains(via));
            routes.extend(via.filter(on_link).map(|via| Route { to: to.trunc(), via }));
        }
    }
    routes
}

/// The node itself, as a station on the bridge of `host`.
fn node_of<'a>(host: &Station, hosts: &'a BTreeMap<StationId, Station>) -> Option<&'a Station> {
    hosts.values().find(|other| {
        other.position == Position::Node && (&other.node, &other.bridge) == (&host.node, &host.bridge)
    })
}

/// Fills in what depends on the other hosts.
fn settle(station: &mut Station, hosts: &BTreeMap<StationId, Station>) -> Result<(), String> {
    match &station.position {
        Position::Port => station.routes = routes(station, hosts),
        Position::Node => {}
        Position::Behind { .. } => {
            let Some(node) = node_of(station, hosts) else {
                let (host, node, bridge) = (&station.id.owner, &station.node, &station.bridge);
                return Err(format!(
                    "{host}: no host is `at: node` on bridge {bridge} of {node} and routes to it"
                ));
            };
            let near: Vec<IpNet> = station.addresses.iter().map(near_side).collect();
            station.routes = near.iter().map(default_route).collect();
            station.position = Position::Behind { router: node.mac, near };
        }
    }
    Ok(())
}

/// The node's address on the wire to a host with this address: the first one of its network that is free.
fn near_side(address: &IpNet) -> IpNet {
    let first = address.hosts().find(|host| *host != address.network() && *host != address.addr());
    IpNet::new_assert(first.unwrap_or_else(|| address.addr()), address.prefix_len())
}

fn default_route(via: &IpNet) -> Route {
    let anywhere: IpAddr = match via {
        IpNet::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpNet::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    Route { to: IpNet::new_assert(anywhere, 0), via: via.addr() }
}

/// The station of one host, but for what depends on others.
fn station(host: &Host, nodes: &[String]) -> Result<Station, String> {
    let owner = host.name.clone();
    if owner.is_empty() || owner.contains(['/', '@', '*', '.']) {
        return Err(format!("host name {owner:?} must be a plain name without / @ * ."));
    }
    if host.vlan.is_some_and(|vlan| !(1..=4094).contains(&vlan)) {
        return Err(format!("host {owner}: vlan must be from 1 to 4094"));
    }
    if host.vlan.is_some() && host.at != HostPlace::Port {
        return Err(format!("host {owner}: only a host at a port can be in a VLAN"));
    }
    let node = host.node.as_ref().or_else(|| nodes.first());
    let node = node.filter(|node| nodes.contains(node));
    let node = node
        .ok_or_else(|| format!("{owner}: there is no node {:?}", host.node.as_deref().unwrap_or_default()))?;
    let mac = host.mac.parse().map_err(|error| format!("host {owner}: mac: {:?}: {error}", host.mac))?;
    let addresses: Result<Vec<IpNet>, String> = host
        .addresses
        .iter()
        .map(|text| parse_address(text).map_err(|reason| format!("host {owner}: addresses: {reason}")))
        .collect();
    let (position, interface) = match host.at {
        HostPlace::Port => (Position::Port, StationId::HOST_INTERFACE),
        HostPlace::Node => (Position::Node, host.bridge.as_str()),
        HostPlace::BehindNode => (Position::Behind { router: mac, near: Vec::new() }, "eth0"),
    };
    Ok(Station {
        id: StationId { owner, interface: interface.to_owned() },
        node: node.clone(),
        bridge: host.bridge.clone(),
        mac,
        addresses: addresses?,
        tagging: host.vlan.map_or_else(Tagging::default, Tagging::access),
        position,
        routes: Vec::new(),
        wire: Wire::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    /// The node on two bridges, and a server behind it.
    const HOSTS: &str = r#"
- {name: gateway, at: node, bridge: br-0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1, "fd10::1"]}
- {name: server, at: behind-node, bridge: br-0, mac: "02:00:00:00:00:02", addresses: [192.0.2.1/28, "2001:db8::9"]}
- {name: printer, bridge: br-0, mac: "02:00:00:00:00:03", addresses: [10.0.0.3]}
"#;

    fn placed(text: &str) -> Result<BTreeMap<String, Station>, String> {
        let hosts: Vec<Host> = serde_saphyr::from_str(text).expect("the test's YAML");
        let stations = stations(&hosts, &["node-1".to_owned()])?;
        Ok(stations.into_values().map(|station| (station.id.owner.clone(), station)).collect())
    }

    fn shown(routes: &[Route]) -> Vec<String> {
        routes.iter().map(|Route { to, via }| format!("{to} via {via}")).collect()
    }

    #[test]
    fn what_is_behind_a_node_is_reached_through_it() {
        let stations = placed(HOSTS).expect("good hosts");
        let server = stations.get("server").expect("the server");
        assert_eq!(shown(&server.routes), ["0.0.0.0/0 via 192.0.2.2", "::/0 via 2001:db8::1"]);
        let router = stations.get("gateway").expect("the node").mac;
        let near = ["192.0.2.2/28", "2001:db8::1/64"].map(|text| text.parse().expect("an address"));
        assert_eq!(server.position, Position::Behind { router, near: near.to_vec() });
        // It has no address of the other family, so the node is not on its link there.
        let printer = stations.get("printer").expect("the printer");
        assert_eq!(shown(&printer.routes), ["192.0.2.0/28 via 10.0.0.1"]);
    }

    #[test_case("at: node", "at: port" => "server: no host is `at: node` on bridge br-0 of node-1 and routes to it"; "nobody routes")]
    #[test_case("name: printer", "name: server" => "server is named twice"; "two of one name")]
    #[test_case("at: node,", "at: node, vlan: 7," => "host gateway: only a host at a port can be in a VLAN"; "the node in a VLAN")]
    #[test_case("name: printer,", "name: printer, node: node-9," => "printer: there is no node \"node-9\""; "a node that is not built")]
    fn hosts_that_cannot_be_built_are_refused(what: &str, by: &str) -> String {
        placed(&HOSTS.replace(what, by)).expect_err("a bad host")
    }
}
