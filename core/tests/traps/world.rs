//! A small cluster on two bridges, policies from their text, and frames at every hook.

use std::collections::BTreeSet;
use std::net::IpAddr;

use policy_core::eval::{Decision, Flows, Passage, evaluate};
use policy_core::frame::{FrameSpec, Payload, Transport};
use policy_core::model::{
    Attachment, BridgeNetwork, BridgePort, Kind, Labels, Mac, Namespace, NamespacedName, Network,
    NetworkConfig, Object, Pod, PortKind,
};
use policy_core::ruleset::{Hook, Ruleset};
use policy_core::spec::parse;
use policy_core::{Compiler, Config, Input, Output, Time};

pub(crate) const SERVER: u8 = 11;
pub(crate) const CLIENT: u8 = 12;
pub(crate) const STRANGER: u8 = 13;
/// A pod on the other bridge with the server's MAC and addresses.
pub(crate) const TWIN: u8 = 21;

pub(crate) fn mac(number: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, number])
}

pub(crate) fn ip4(number: u8) -> IpAddr {
    [10, 0, 0, number].into()
}

pub(crate) fn ip6(number: u8) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, number.into()])
}

pub(crate) fn name(name: &str) -> NamespacedName {
    NamespacedName::new("shop", name)
}

fn network(id: &str, bridge: &str) -> Object {
    let bridge = BridgeNetwork { bridge: bridge.into(), vlan: None, dhcp: false, guard: None };
    Object::Network(Network { id: name(id), config: NetworkConfig::Bridge(bridge) })
}

/// A pod on `network` whose MAC and addresses are those of `number`.
pub(crate) fn pod(app: &str, node: &str, network: &str, number: u8) -> Pod {
    let attachment = Attachment {
        network: name(network),
        interface: "net1".into(),
        mac: Some(mac(number)),
        addresses: vec![ip4(number), ip6(number)],
    };
    Pod {
        id: name(app),
        labels: [("app", app)].into_iter().collect(),
        node: Some(node.into()),
        attachments: vec![attachment],
        ports: Vec::new(),
    }
}

/// The port that a pod's wire ends at.
pub(crate) fn port(index: u8, bridge: &str, far_mac: Mac) -> BridgePort {
    BridgePort {
        index: index.into(),
        name: format!("veth{index}").into(),
        bridge: bridge.into(),
        far_mac: Some(far_mac),
        far_name: Some("net1".into()),
        kind: PortKind::Veth,
        stations: BTreeSet::new(),
    }
}

/// A policy of `shop` for the network `data`, from the text of its spec.
pub(crate) fn policy(id: &str, spec: &str) -> Object {
    let spec = serde_json::from_str(spec).unwrap();
    let policy = parse(name(id), Some("data"), &spec);
    assert_eq!(policy.problems, []);
    Object::Policy(policy)
}

pub(crate) fn cluster() -> Vec<Object> {
    vec![
        Object::Namespace(Namespace { name: "shop".into(), labels: Labels::default() }),
        network("data", "br0"),
        network("blue", "br1"),
        Object::Pod(pod("server", "here", "data", SERVER)),
        Object::Pod(pod("client", "here", "data", CLIENT)),
        Object::Pod(pod("stranger", "here", "data", STRANGER)),
        Object::Pod(pod("twin", "here", "blue", SERVER)),
        Object::Port(port(SERVER, "br0", mac(SERVER))),
        Object::Port(port(CLIENT, "br0", mac(CLIENT))),
        Object::Port(port(STRANGER, "br0", mac(STRANGER))),
        Object::Port(port(TWIN, "br1", mac(SERVER))),
    ]
}

/// A core that knows these objects, and has committed what they demand.
pub(crate) fn settled(objects: &[Object]) -> Compiler {
    let mut compiler = Compiler::new(&Config::new("here"));
    for kind in Kind::ALL {
        let objects = objects.iter().filter(|object| object.id().kind() == kind).cloned().collect();
        compiler.handle_input(Input::Relist { kind, objects }, Time::default());
    }
    while let Some(output) = compiler.poll_output() {
        match output {
            Output::Observe => compiler.handle_input(Input::Observed(Ruleset::default()), Time::default()),
            Output::Apply(transaction) => {
                compiler.handle_input(Input::Applied(transaction.generation), Time::default());
            }
            Output::Report(_) => {}
            other @ (Output::ObserveTouched | _) => panic!("the core asks for something new: {other:?}"),
        }
    }
    assert!(compiler.is_settled());
    compiler
}

/// What `objects` besides the cluster lead to.
pub(crate) fn ruleset(objects: impl IntoIterator<Item = Object>) -> Ruleset {
    settled(&cluster().into_iter().chain(objects).collect::<Vec<_>>()).desired().clone()
}

/// A frame from `from` to `to` (their MACs).
pub(crate) fn frame(from: Mac, to: Mac, payload: Payload) -> Vec<u8> {
    FrameSpec { source: from, destination: to, payload }.bytes()
}

pub(crate) fn ip(source: IpAddr, destination: IpAddr, transport: Transport) -> Payload {
    Payload::Ip { source, destination, transport }
}

pub(crate) const TCP_80: Transport = Transport::Tcp { source_port: 40_000, destination_port: 80, flags: 2 };

/// Whether a frame passes a hook; ports by number, 0 for none.
pub(crate) fn passes(table: &Ruleset, hook: Hook, from: u8, to: u8, frame: &[u8]) -> bool {
    let port = |number: u8| (number > 0).then_some(u32::from(number));
    let passage = Passage { hook, input: port(from), output: port(to), bridge: None, frame };
    evaluate(table, &mut Flows::default(), &passage) == Decision::Accept
}

/// Whether a frame passes from one port to another, as a bridge carries it.
pub(crate) fn crosses(table: &Ruleset, from: u8, to: u8, frame: &[u8]) -> bool {
    passes(table, Hook::Prerouting, from, 0, frame) && passes(table, Hook::Forward, from, to, frame)
}
