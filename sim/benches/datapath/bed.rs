//! The bridge that is measured: a client, a server, and a crowd of ports that say nothing.

use core::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result};
use policy_core::model::Mac;
use sim::links;
use sim::netns::Namespace;
use sim::plan::{Position, Station, StationId, Wire};
use sim::tagging::Tagging;

/// The bridge's name.
pub(crate) const BRIDGE: &str = "br0";

/// A pod on the bridge.
pub(crate) struct Member {
    /// What it is for the harness.
    pub(crate) station: Station,
    /// Its port's index on the node.
    pub(crate) port: u32,
}

/// The node and everything on its bridge.
pub(crate) struct Bed {
    /// The node's namespace.
    pub(crate) node: Namespace,
    /// The namespace of the pod that sends.
    pub(crate) client: Namespace,
    /// The namespace of the pod that receives.
    pub(crate) server: Namespace,
    /// The client, the server, then the crowd.
    pub(crate) members: Vec<Member>,
    /// Where all of the crowd are.
    _crowd: Namespace,
}

/// The client's place among the members.
pub(crate) const CLIENT: usize = 0;
/// The server's place among the members.
pub(crate) const SERVER: usize = 1;

impl Bed {
    /// Makes the namespaces, the bridge and a veth pair for everyone.
    pub(crate) async fn build(crowd: usize) -> Result<Self> {
        let node = Namespace::create("node").await?;
        let client = Namespace::create("client").await?;
        let server = Namespace::create("server").await?;
        let together = Namespace::create("crowd").await?;
        let mut members = Vec::new();
        for number in 0..crowd + 2 {
            let pod = match number {
                CLIENT => &client,
                SERVER => &server,
                _ => &together,
            };
            let station = station(number)?;
            let port = links::attach(&node, pod, &station).await?;
            members.push(Member { station, port });
        }
        Ok(Self { node, client, server, members, _crowd: together })
    }
}

/// The address of a member.
pub(crate) fn address(number: usize) -> Result<Ipv4Addr> {
    let offset = u32::try_from(number).context("too many members")?;
    Ok(Ipv4Addr::from_bits(Ipv4Addr::new(10, 99, 0, 1).to_bits() + offset))
}

fn station(number: usize) -> Result<Station> {
    let [_, second, third, fourth] = address(number)?.octets();
    // The crowd shares one namespace and says nothing, so only the pair has addresses.
    let speaks = number == CLIENT || number == SERVER;
    let address = ipnet::IpNet::new(IpAddr::V4(address(number)?), 16)?;
    Ok(Station {
        id: StationId { owner: format!("bench/pod-{number}"), interface: format!("net{number}") },
        node: "node".to_owned(),
        bridge: BRIDGE.to_owned(),
        mac: Mac([2, 0, 0, second, third, fourth]),
        addresses: if speaks { vec![address] } else { Vec::new() },
        tagging: Tagging::default(),
        position: Position::Port,
        routes: Vec::new(),
        wire: Wire::default(),
    })
}
