//! Whole rulesets as text, to be read in review like prose: `tests/golden/*.nft`.
//!
//! Each is what a small cluster's policies become. `cargo ci bless` writes the files anew when they are meant to
//! change. A file `A.then-B.nft` is the transaction that leads on from the table of `A.nft`. That nft loads them all is a
//! test of the driver, where nft is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use policy_core::model::{
    Attachment, BridgeNetwork, BridgePort, ContainerPort, Guard, Kind, LogWish, Namespace, NamespacedName,
    Network, NetworkConfig, Object, ObjectId, Pod, PortKind, Protocol,
};
use policy_core::ruleset::{Ruleset, TABLE};
use policy_core::spec::parse;
use policy_core::{Compiler, Config, Input, Kernel, Outcome, SinkFault, Time, Transaction, pump};

use crate::build::mac;

fn pod(name: &str, app: &str, number: u8, addresses: &[&str]) -> Pod {
    let attachment = Attachment {
        network: NamespacedName::new("shop", "data"),
        interface: "net1".into(),
        mac: Some(mac(number)),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    };
    Pod {
        id: NamespacedName::new("shop", name),
        labels: [("app", app)].into_iter().collect(),
        node: Some("here".into()),
        attachments: vec![attachment],
        ports: vec![ContainerPort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }],
    }
}

/// The bridge port of a pod's wire, by the pod's number.
fn port(number: u8) -> Object {
    Object::Port(BridgePort {
        index: u32::from(number),
        name: format!("veth{number}").into(),
        bridge: "br-data".into(),
        far_mac: Some(mac(number)),
        far_name: Some("net1".into()),
        kind: PortKind::Veth,
        stations: BTreeSet::new(),
    })
}

/// A namespace with a network, a server here, a client here and a client elsewhere.
pub(crate) fn cluster() -> Vec<Object> {
    let labels = [("kubernetes.io/metadata.name", "shop")].into_iter().collect();
    let bridge = BridgeNetwork { bridge: "br-data".into(), vlan: None, dhcp: false, guard: None };
    let config = NetworkConfig::Bridge(bridge);
    let elsewhere = Pod { node: Some("there".into()), ..pod("far", "client", 13, &["10.0.0.13"]) };
    vec![
        Object::Namespace(Namespace { name: "shop".into(), labels, log: None }),
        Object::Network(Network { id: NamespacedName::new("shop", "data"), config }),
        Object::Pod(pod("server", "server", 11, &["10.0.0.11", "fd00::11"])),
        Object::Pod(pod("near", "client", 12, &["10.0.0.12", "fd00::12"])),
        Object::Pod(elsewhere),
        port(11),
        port(12),
    ]
}

/// A policy of the namespace `shop` from the text of its spec.
pub(crate) fn policy(name: &str, spec: &str) -> Object {
    let spec = serde_json::from_str(spec).unwrap();
    let policy = parse(NamespacedName::new("shop", name), Some("data"), &spec);
    assert_eq!(policy.problems, [], "the policies of these clusters are in order");
    Object::Policy(policy)
}

/// The same policy, which wants a log.
pub(crate) fn logged(mut policy: Object, wish: LogWish) -> Object {
    if let Object::Policy(policy) = &mut policy {
        policy.log = Some(wish);
    }
    policy
}

/// The namespace `shop`, which wants a log.
pub(crate) fn logged_namespace(wish: LogWish) -> Object {
    let labels = [("kubernetes.io/metadata.name", "shop")].into_iter().collect();
    Object::Namespace(Namespace { name: "shop".into(), labels, log: Some(wish) })
}

/// A kernel that is a value.
#[derive(Default)]
pub(crate) struct Table(Ruleset);

#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Refusal(policy_core::ruleset::ApplyError);

impl From<Refusal> for SinkFault {
    fn from(_: Refusal) -> Self {
        Self::Other
    }
}

impl Kernel for Table {
    type Error = Refusal;

    fn apply(&mut self, transaction: &Transaction) -> Result<(), Refusal> {
        self.0.apply(transaction).map_err(Refusal)
    }

    fn observe(&mut self) -> Result<Ruleset, Refusal> {
        Ok(self.0.clone())
    }
}

/// A core that knows these objects, and the table that it made.
pub(crate) fn settled(objects: Vec<Object>) -> (Compiler, Table) {
    let mut compiler = Compiler::new(&Config::new("here"));
    let mut by_kind: BTreeMap<Kind, Vec<Object>> = Kind::ALL.map(|kind| (kind, Vec::new())).into();
    for object in objects {
        by_kind.get_mut(&object.id().kind()).unwrap().push(object);
    }
    for (kind, objects) in by_kind {
        compiler.handle_input(Input::Relist { kind, objects }, Time::default());
    }
    let mut table = Table::default();
    pump(&mut compiler, &mut table, Time::default());
    assert!(compiler.is_settled());
    (compiler, table)
}

/// The table's text for these objects.
fn table(objects: Vec<Object>) -> String {
    settled(objects).1.0.to_string()
}

/// The text of the one transaction that these changes lead to.
fn transaction(objects: Vec<Object>, changes: impl IntoIterator<Item = Input>) -> String {
    let (mut compiler, mut table) = settled(objects);
    for change in changes {
        compiler.handle_input(change, Time::default());
    }
    let outcomes = pump(&mut compiler, &mut table, Time::default());
    let [Outcome::Committed(transaction)] = &outcomes[..] else { panic!("{} outcomes", outcomes.len()) };
    transaction.to_string()
}

/// The text of the one transaction that these new objects lead to.
fn then(objects: Vec<Object>, new: impl IntoIterator<Item = Object>) -> String {
    transaction(objects, new.into_iter().map(Input::Upsert))
}

pub(crate) const FROM_CLIENTS: &str = r#"{"podSelector": {"matchLabels": {"app": "server"}},
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": 80}]}]}"#;
pub(crate) const ISOLATE: &str = r#"{"podSelector": {"matchLabels": {"app": "server"}}}"#;
pub(crate) const BLOCKS: &str = r#"{"podSelector": {}, "policyTypes": ["Egress"],
    "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                       {"ipBlock": {"cidr": "fd00::/16", "except": ["fd00:1::/32"]}}],
                "ports": [{"protocol": "UDP", "port": 5000, "endPort": 5010}, {"protocol": "SCTP"}]}]}"#;
const NAMED: &str = r#"{"podSelector": {}, "policyTypes": ["Ingress", "Egress"],
    "ingress": [{"ports": [{"port": "http"}]}],
    "egress": [{"to": [{"namespaceSelector": {}}], "ports": [{"port": "http"}]}]}"#;
const EVERYONE: &str = r#"{"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["client"]}]},
    "ingress": [{}]}"#;

fn from_clients() -> Vec<Object> {
    cluster().into_iter().chain([policy("from-clients", FROM_CLIENTS)]).collect()
}

/// A network without address management: peers are known by their MAC only, and the wires are not known yet.
fn without_addresses() -> Vec<Object> {
    let mut objects = from_clients();
    objects.retain(|object| object.id().kind() != Kind::Port);
    for object in &mut objects {
        if let Object::Pod(pod) = object {
            pod.attachments.iter_mut().for_each(|attachment| attachment.addresses.clear());
        }
    }
    objects
}

/// The same on a network whose ports are guarded.
fn guarded() -> Vec<Object> {
    let mut objects = from_clients();
    for object in &mut objects {
        if let Object::Network(Network { config: NetworkConfig::Bridge(bridge), .. }) = object {
            bridge.guard = Some(Guard::MacIp);
        }
    }
    objects
}

/// Every golden: its name, and what its text must be.
fn goldens() -> BTreeMap<&'static str, String> {
    let relabelled = Object::Pod(pod("near", "stranger", 12, &["10.0.0.12", "fd00::12"]));
    let one_more = pod("more", "client", 14, &["10.0.0.14", "fd00::14"]);
    let gone = Input::Remove(ObjectId::Policy(NamespacedName::new("shop", "from-clients")));
    [
        ("nobody-isolated", table(cluster())),
        ("from-clients", table(from_clients())),
        ("from-clients.then-relabelled", then(from_clients(), [relabelled])),
        ("from-clients.then-deleted", transaction(from_clients(), [gone])),
        (
            "from-clients.then-log-drop",
            then(from_clients(), [logged(policy("from-clients", FROM_CLIENTS), LogWish::Drop)]),
        ),
        ("from-clients.then-log-all", then(from_clients(), [logged_namespace(LogWish::All)])),
        (
            "nobody-isolated.then-log-egress",
            then(cluster(), [logged(policy("blocks", BLOCKS), LogWish::Drop)]),
        ),
        ("guarded", table(guarded())),
        ("guarded.then-one-more", then(guarded(), [Object::Pod(one_more), port(14)])),
        ("without-addresses", table(without_addresses())),
        ("nobody-isolated.then-blocks", then(cluster(), [policy("blocks", BLOCKS)])),
        ("nobody-isolated.then-named-ports", then(cluster(), [policy("named", NAMED)])),
        (
            "nobody-isolated.then-union",
            then(cluster(), [policy("isolate", ISOLATE), policy("everyone", EVERYONE)]),
        ),
    ]
    .into()
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The files of the directory: name without extension, and text.
fn files() -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().strip_suffix(".nft");
        (name.expect("only .nft files are here").to_owned(), std::fs::read_to_string(&path).unwrap())
    };
    entries.map(named).collect()
}

#[test]
fn rulesets_are_those_that_were_reviewed() {
    let goldens = goldens();
    if std::env::var_os("BLESS").is_some() {
        for name in files().keys().filter(|name| !goldens.contains_key(name.as_str())) {
            std::fs::remove_file(directory().join(format!("{name}.nft"))).unwrap();
        }
        for (name, text) in &goldens {
            std::fs::write(directory().join(format!("{name}.nft")), text).unwrap();
        }
    }
    let files = files();
    assert!(files.keys().eq(goldens.keys()), "files {:?}, goldens {:?}", files.keys(), goldens.keys());
    for (name, wanted) in &goldens {
        let held = &files[*name];
        let differs = held.lines().zip(wanted.lines()).position(|(held, wanted)| held != wanted);
        let at = differs.unwrap_or(held.lines().count().min(wanted.lines().count()));
        assert!(
            held == wanted,
            "tests/golden/{name}.nft differs from line {} on: there {:?}, now {:?}; if that is meant, run `cargo ci bless`",
            at + 1,
            held.lines().nth(at),
            wanted.lines().nth(at)
        );
    }
}

#[test]
fn golden_texts_are_of_our_table_only() {
    for (name, text) in goldens() {
        let tables = text.lines().filter(|line| line.contains("table ") && !line.contains(TABLE)).count();
        assert_eq!(tables, 0, "{name}");
        assert!(text.contains(TABLE), "{name}");
    }
}
