//! A made-up cluster of any size, the same at every run: shared by benchmarks and by the tests that count operations.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use policy_core::model::{
    Attachment, Block, BridgeNetwork, BridgePort, Kind, Labels, Mac, Namespace, NamespaceScope,
    NamespacedName, Network, NetworkConfig, Object, Operator, Peer, Peers, Pod, Policy, PolicyRule, PortKind,
    PortMatch, PortNumbers, Ports, Protocol, Requirement, Selector,
};
use policy_core::{Compiler, Config, Input, Time};

/// How large the cluster is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Pods of the node under test.
    pub(crate) local_pods: usize,
    /// All pods.
    pub(crate) pods: usize,
    /// Namespaces; pods and policies are spread over them.
    pub(crate) namespaces: usize,
    /// Policies.
    pub(crate) policies: usize,
}

/// The node under test.
pub(crate) const NODE: &str = "node-0";

/// How many values the label `app` has.
const APPS: usize = 20;

fn network() -> NamespacedName {
    NamespacedName::new("infra", "lan")
}

fn namespace(number: usize) -> Arc<str> {
    format!("tenant-{number}").into()
}

fn mac(number: usize) -> Mac {
    let [.., high, middle, low] = u64::try_from(number).unwrap().to_be_bytes();
    Mac([2, 0, 0, high, middle, low])
}

/// A pod; the first `local_pods` run on the node under test.
pub(crate) fn pod(size: Size, number: usize, app: usize) -> Pod {
    let local = number < size.local_pods;
    let node = if local { NODE.into() } else { format!("node-{}", 1 + number % 100) };
    let address = 0x0a00_0000 + u32::try_from(number).unwrap() + 1;
    Pod {
        id: NamespacedName::new(namespace(number % size.namespaces), format!("pod-{number}")),
        labels: Labels::from_iter([
            ("app", format!("app-{app}")),
            ("tier", format!("tier-{}", number % 3)),
            ("pod-template-hash", format!("{}", number / 10)),
            ("team", format!("team-{}", number % 7)),
        ]),
        node: Some(node.into()),
        attachments: vec![Attachment {
            network: network(),
            interface: "net1".into(),
            mac: Some(mac(number)),
            addresses: vec![IpAddr::V4(Ipv4Addr::from_bits(address))],
        }],
        ports: Vec::new(),
    }
}

fn equals(key: &str, value: String) -> Selector {
    let operator = Operator::In([Arc::from(value)].into());
    Selector::new([Requirement { key: key.into(), operator }])
}

/// A policy: one app of a namespace takes TCP from another app there, from a team anywhere, and from a block.
fn policy(size: Size, number: usize) -> Policy {
    let own = namespace(number % size.namespaces);
    let app = number / size.namespaces % APPS;
    let neighbours = Peer::Pods {
        namespaces: NamespaceScope::Named(own.clone()),
        pods: equals("app", format!("app-{}", (app + 1) % APPS)),
    };
    let team = Peer::Pods {
        namespaces: NamespaceScope::Matching(equals("zone", format!("zone-{}", number % 4))),
        pods: equals("team", format!("team-{}", number % 7)),
    };
    let third = u8::try_from(number % 200).unwrap();
    let block = Peer::Block(Block::new(format!("192.168.{third}.0/24").parse().unwrap(), []));
    let ports =
        Ports::Listed(vec![PortMatch { protocol: Protocol::Tcp, numbers: PortNumbers::Range(80, 80) }]);
    Policy {
        id: NamespacedName::new(own, format!("policy-{number}")),
        networks: vec![network()],
        selector: equals("app", format!("app-{app}")),
        ingress: Some(vec![PolicyRule { peers: Peers::Listed(vec![neighbours, team, block]), ports }]),
        egress: None,
        log: None,
        problems: Vec::new(),
    }
}

/// Every object of the cluster, by kind.
pub(crate) fn objects(size: Size) -> Vec<(Kind, Vec<Object>)> {
    let bridge = BridgeNetwork { bridge: "br0".into(), vlan: None, dhcp: false, guard: None };
    let networks = vec![Object::Network(Network { id: network(), config: NetworkConfig::Bridge(bridge) })];
    let namespaces = (0..size.namespaces).map(|number| {
        let labels = Labels::from_iter([("zone", format!("zone-{}", number % 40))]);
        Object::Namespace(Namespace { name: namespace(number), labels, log: None })
    });
    let pods = (0..size.pods).map(|number| Object::Pod(pod(size, number, number / size.namespaces % APPS)));
    let ports = (0..size.local_pods).map(|number| {
        let index = u32::try_from(100 + number).unwrap();
        Object::Port(BridgePort {
            index,
            name: format!("veth{index}").into(),
            bridge: "br0".into(),
            far_mac: Some(mac(number)),
            far_name: Some("net1".into()),
            kind: PortKind::Veth,
            stations: [].into(),
        })
    });
    vec![
        (Kind::Network, networks),
        (Kind::Namespace, namespaces.collect()),
        (Kind::Pod, pods.collect()),
        (Kind::Policy, (0..size.policies).map(|number| Object::Policy(policy(size, number))).collect()),
        (Kind::Port, ports.collect()),
    ]
}

/// A compiler that has been told of the whole cluster.
pub(crate) fn informed(size: Size) -> Compiler {
    let mut compiler = Compiler::new(&Config::new(NODE));
    for (kind, objects) in objects(size) {
        compiler.handle_input(Input::Relist { kind, objects }, Time::default());
    }
    compiler
}
