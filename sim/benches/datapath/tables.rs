//! The tables that are compared: none, ours at several sizes, and a linear list of jumps.

use core::fmt;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use driver_nft::NftKernel;
use policy_core::model::{
    Attachment, BridgeNetwork, Kind, Labels, Namespace, NamespaceScope, NamespacedName, Network,
    NetworkConfig, Object, Operator, Peer, Peers, Pod, Policy, PolicyRule, PortMatch, PortNumbers, Ports,
    Protocol, Requirement, Selector,
};
use policy_core::{Compiler, Config, Input, Time, pump};
use sim::programs;

use crate::bed::{BRIDGE, Bed, CLIENT, Member, SERVER, address};
use crate::load::{TCP_PORT, UDP_PORT};

const NODE: &str = "node";
/// The sizes of our table: local pods under policy.
const SIZES: [usize; 3] = [1, 100, 1_000];
/// The size of the linear list, and of our table when the measured pair is not selected.
const MOST: usize = 1_000;

/// What the node's nftables hold while packets are measured.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// Nothing.
    Bare,
    /// Ours, with so many pods under policy, none of the measured pair among them.
    Bystander(usize),
    /// Ours, with so many pods under policy, the receiving one among them.
    Ours(usize),
    /// One jump and one drop per pod and direction, as a list, the receiving pod in its middle.
    Linear(usize),
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare => f.write_str("no table"),
            Self::Bystander(pods) => write!(f, "{pods} pods, pair not selected"),
            Self::Ours(pods) => write!(f, "{pods} {}", if *pods == 1 { "pod" } else { "pods" }),
            Self::Linear(pods) => write!(f, "{pods} pods, linear list"),
        }
    }
}

impl Table {
    /// All of them, the bare bridge first.
    pub(crate) fn all() -> Vec<Self> {
        let ours = SIZES.map(Self::Ours);
        [Self::Bare].into_iter().chain(ours).chain([Self::Bystander(MOST), Self::Linear(MOST)]).collect()
    }

    /// Loads it.
    pub(crate) fn put(&self, bed: &Bed) -> Result<()> {
        match self {
            Self::Bare => Ok(()),
            Self::Bystander(pods) => put_ours(bed, *pods, false),
            Self::Ours(pods) => put_ours(bed, *pods, true),
            Self::Linear(pods) => nft(bed, &linear(bed, &chosen(bed, *pods, true))),
        }
    }

    /// Takes it away again.
    pub(crate) fn remove(&self, bed: &Bed) -> Result<()> {
        match self {
            Self::Bare => Ok(()),
            Self::Bystander(_) | Self::Ours(_) => {
                Ok(bed.node.run(|| NftKernel::open()?.remove_table())??)
            }
            Self::Linear(_) => nft(bed, "delete table bridge linear"),
        }
    }
}

/// So many members, the receiving one in their middle or not at all. Never the sending one.
fn chosen(bed: &Bed, pods: usize, receiver: bool) -> Vec<(usize, &Member)> {
    let mut members = bed.members.iter().enumerate().filter(|(number, _)| ![CLIENT, SERVER].contains(number));
    let crowd = if receiver { pods.saturating_sub(1) } else { pods };
    let mut chosen: Vec<_> = members.by_ref().take(crowd / 2).collect();
    chosen.extend(bed.members.get(SERVER).filter(|_| receiver).map(|server| (SERVER, server)));
    chosen.extend(members.take(crowd - crowd / 2));
    chosen
}

/// Our table, from objects as an agent would see them.
fn put_ours(bed: &Bed, pods: usize, receiver: bool) -> Result<()> {
    let mut compiler = Compiler::new(&Config::new(NODE));
    for (kind, objects) in objects(bed, &chosen(bed, pods, receiver))? {
        compiler.handle_input(Input::Relist { kind, objects }, Time::default());
    }
    let mut kernel = bed.node.run(NftKernel::open)??;
    let outcomes = pump(&mut compiler, &mut kernel, Time::default());
    ensure!(compiler.is_settled(), "the kernel did not take the table: {outcomes:?}");
    let chains = compiler.desired().chains.len();
    ensure!(chains > pods, "{pods} pods under policy cannot have only {chains} chains");
    Ok(())
}

/// The pods under policy and the pair, and one policy that isolates the former and lets the pair talk.
fn objects(bed: &Bed, chosen: &[(usize, &Member)]) -> Result<Vec<(Kind, Vec<Object>)>> {
    let network = NamespacedName::new("bench", "lan");
    let bridge = BridgeNetwork { bridge: BRIDGE.into(), vlan: None, dhcp: false, guard: None };
    let definition = Network { id: network.clone(), config: NetworkConfig::Bridge(bridge) };
    let mut pods = Vec::new();
    let mut ports = Vec::new();
    for (number, member) in bed.members.iter().enumerate() {
        let role = match number {
            CLIENT => "client",
            _ if chosen.iter().any(|(isolated, _)| *isolated == number) => "isolated",
            _ => "free",
        };
        let attachment = Attachment {
            network: network.clone(),
            interface: member.station.id.interface.as_str().into(),
            mac: Some(member.station.mac),
            addresses: vec![address(number)?.into()],
        };
        pods.push(Object::Pod(Pod {
            id: NamespacedName::new("bench", format!("pod-{number}")),
            labels: Labels::from_iter([("role", role)]),
            node: Some(NODE.into()),
            attachments: vec![attachment],
            ports: Vec::new(),
        }));
        ports.push(Object::Port(member.station.port(member.port)));
    }
    Ok(vec![
        (Kind::Network, vec![Object::Network(definition)]),
        (
            Kind::Namespace,
            vec![Object::Namespace(Namespace { name: "bench".into(), labels: Labels::default(), log: None })],
        ),
        (Kind::Pod, pods),
        (Kind::Policy, policies(&network).into_iter().map(Object::Policy).collect()),
        (Kind::Port, ports),
    ])
}

/// One policy for ports, one for ping; both isolate both directions.
fn policies(network: &NamespacedName) -> [Policy; 2] {
    let client = Peers::Listed(vec![Peer::Pods {
        namespaces: NamespaceScope::Named("bench".into()),
        pods: role("client"),
    }]);
    let port = |protocol, port| PortMatch { protocol, numbers: PortNumbers::Range(port, port) };
    let measured = [port(Protocol::Tcp, TCP_PORT), port(Protocol::Udp, UDP_PORT)].into();
    [("ports", Ports::Listed(measured)), ("ping", Ports::Any)].map(|(name, ports)| Policy {
        id: NamespacedName::new("bench", name),
        networks: vec![network.clone()],
        selector: role("isolated"),
        ingress: Some(vec![PolicyRule { peers: client.clone(), ports }]),
        egress: Some(Vec::new()),
        log: None,
        problems: Vec::new(),
    })
}

fn role(role: &str) -> Selector {
    Selector::new([Requirement { key: "role".into(), operator: Operator::In([role.into()].into()) }])
}

/// A list as the reference product writes one: every frame is compared with one pod after the other, by MAC.
fn linear(bed: &Bed, pods: &[(usize, &Member)]) -> String {
    let client = bed.members.get(CLIENT).map(|member| member.station.mac.to_string()).unwrap_or_default();
    let chains = pods.iter().map(|(number, _)| {
        format!(
            "chain in-{number} {{ ether saddr {client} accept; }}\n\
             chain out-{number} {{ ether daddr {client} accept; }}\n"
        )
    });
    let list = pods.iter().map(|(number, member)| {
        let mac = member.station.mac;
        format!(
            "ether daddr {mac} jump in-{number}\nether daddr {mac} drop\n\
             ether saddr {mac} jump out-{number}\nether saddr {mac} drop\n"
        )
    });
    let (chains, list): (String, String) = (chains.collect(), list.collect());
    format!(
        "table bridge linear {{\n{chains}chain prerouting {{\n\
         type filter hook prerouting priority -200; policy accept;\n{list}}}\n}}\n"
    )
}

/// Gives `text` to nft in the node's namespace.
fn nft(bed: &Bed, text: &str) -> Result<()> {
    let program = programs::find(programs::NFT).context("nft is not installed")?;
    let command =
        || Command::new(program).args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = bed.node.run(command)?.context("cannot start nft")?;
    let mut input = child.stdin.take().context("nft has no input")?;
    input.write_all(text.as_bytes())?;
    drop(input);
    let ended = child.wait_with_output()?;
    if !ended.status.success() {
        bail!("nft: {}", String::from_utf8_lossy(&ended.stderr));
    }
    Ok(())
}
