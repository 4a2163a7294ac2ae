//! A small cluster in which hostile objects are enforced: what they become must stay within the kernel's limits, must not
//! cost more than they are long, and must be gone when they are.

use alloc::collections::BTreeSet;

use policy_core::model::{
    Attachment, BridgeNetwork, BridgePort, Kind, Mac, Namespace, NamespacedName, Network, NetworkConfig,
    Object, Peers, Pod, Policy, PolicyRule, PortKind, Ports, Selector,
};
use policy_core::ruleset::{ApplyError, COMMENT_BYTES_MAX, ChainName, NAME_BYTES_MAX, Ruleset, SetName};
use policy_core::spec::PROBLEMS_MAX;
use policy_core::{Compiler, Config, Input, Kernel, Outcome, SinkFault, Time, Transaction, compile, pump};

use crate::features::Features;

/// The longest complaint, in bytes: paths and reasons quote hostile text by its beginning.
pub(crate) const COMPLAINT_BYTES_MAX: usize = 2_000;

/// The most problems of one report: those of the object's text, and one for each network that nothing is enforced on.
const REPORT_MAX: usize = 2 * (PROBLEMS_MAX + 1);

/// Elements, rules and chains that an object may become, for each byte that it is long. A peer of four bytes may stand
/// for every pod of the cluster, and there are a few here; a rule is at most two families by three protocols.
const GROWTH_MAX: usize = 32;

/// A kernel that is a value.
#[derive(Default)]
pub(crate) struct Table(pub(crate) Ruleset);

/// What the value refuses: nothing, if the core is right.
#[derive(Clone, Debug)]
pub(crate) struct Refusal(ApplyError);

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

impl core::error::Error for Refusal {}

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

pub(crate) fn config() -> Config {
    Config::new("here")
}

/// The network that hostile policies may name.
fn network() -> Network {
    let bridge = BridgeNetwork { bridge: "br0".into(), vlan: None, dhcp: false, guard: None };
    Network { id: NamespacedName::new("shop", "data"), config: NetworkConfig::Bridge(bridge) }
}

/// Two pods of `shop`, one here and one elsewhere, both behind `number`.
fn pods(number: u8) -> [Object; 2] {
    [(number, "here"), (number + 100, "there")].map(|(number, node)| {
        let attachment = Attachment {
            network: network().id,
            interface: "net1".into(),
            mac: Some(Mac([2, 0, 0, 0, 0, number])),
            addresses: vec![
                [10, 0, 0, number].into(),
                format!("fd00::{number}").parse().unwrap_or([0; 16].into()),
            ],
        };
        Object::Pod(Pod {
            id: NamespacedName::new("shop", format!("web-{number}")),
            labels: [("app", "web")].into_iter().collect(),
            node: Some(node.into()),
            attachments: vec![attachment],
            ports: Vec::new(),
        })
    })
}

/// A policy of another tenant, which hostile objects must not disturb.
fn bystander() -> Policy {
    let rule = PolicyRule { peers: Peers::Any, ports: Ports::Any };
    Policy {
        id: NamespacedName::new("shop", "bystander"),
        networks: vec![network().id],
        selector: Selector::default(),
        ingress: Some(vec![rule]),
        egress: None,
        log: None,
        problems: Vec::new(),
    }
}

fn port(number: u8) -> Object {
    Object::Port(BridgePort {
        index: number.into(),
        name: format!("veth{number}").into(),
        bridge: "br0".into(),
        far_mac: Some(Mac([2, 0, 0, 0, 0, number])),
        far_name: Some("net1".into()),
        kind: PortKind::Veth,
        stations: BTreeSet::new(),
    })
}

/// The objects of the small cluster.
fn cluster() -> Vec<Object> {
    let labels = [("kubernetes.io/metadata.name", "shop")].into_iter().collect();
    let namespace = Object::Namespace(Namespace { name: "shop".into(), labels, log: None });
    let mut objects = vec![namespace, Object::Network(network()), Object::Policy(bystander()), port(11)];
    objects.extend(pods(11));
    objects.extend(pods(12));
    objects
}

/// A compiler that knows the small cluster and waits for the kernel's table.
pub(crate) fn informed() -> Compiler {
    let mut compiler = Compiler::new(&config());
    for kind in Kind::ALL {
        let objects = cluster().into_iter().filter(|object| object.id().kind() == kind).collect();
        compiler.handle_input(Input::Relist { kind, objects }, Time::default());
    }
    compiler
}

/// Enforces objects that were read from `bytes` bytes, then removes them again.
pub(crate) fn enforce(objects: Vec<Object>, bytes: usize) -> Features {
    let mut features = Features::default();
    let (mut compiler, mut table) = (informed(), Table::default());
    serve(&mut compiler, &mut table, &mut features);
    let before = table.0.clone();
    let ids: Vec<_> = objects.iter().map(Object::id).collect();
    for object in objects {
        compiler.handle_input(Input::Upsert(object), Time::default());
    }
    serve(&mut compiler, &mut table, &mut features);
    assert_eq!(compiler.desired(), &compile(compiler.world(), &config()), "step by step is not from scratch");
    check(&table.0, size(&before) + GROWTH_MAX * bytes * (ids.len() + cluster().len()));
    describe(&table.0, &before, &mut features);
    for id in &ids {
        compiler.handle_input(Input::Remove(id.clone()), Time::default());
    }
    // Some of them may have taken the place of the cluster's own.
    for object in cluster() {
        compiler.handle_input(Input::Upsert(object), Time::default());
    }
    serve(&mut compiler, &mut table, &mut features);
    assert_eq!(table.0, before, "something is left behind of {ids:?}");
    features
}

/// Serves the compiler; whatever it asks for must be possible.
pub(crate) fn serve(compiler: &mut Compiler, table: &mut Table, features: &mut Features) {
    for outcome in pump(compiler, table, Time::default()) {
        match outcome {
            Outcome::Committed(transaction) => features.counted("operations", transaction.ops.len()),
            Outcome::Reported(report) => {
                let count = report.problems.len();
                assert!(count <= REPORT_MAX, "{count} problems of {}", report.object);
                for problem in report.problems {
                    let problem = problem.to_string();
                    assert!(problem.len() <= COMPLAINT_BYTES_MAX, "a complaint of {} bytes", problem.len());
                    features.saw(problem);
                }
            }
            Outcome::Refused(transaction, refusal) => panic!("{refusal}\n{transaction}"),
            Outcome::Unobservable(refusal) => panic!("the table has no reason to hide: {refusal}"),
            Outcome::Observed => {}
            _ => panic!("an outcome that nobody here knows"),
        }
    }
    assert!(compiler.is_settled(), "the core does not come to rest");
    assert_eq!(&table.0, compiler.desired());
}

/// How much a ruleset holds.
fn size(ruleset: &Ruleset) -> usize {
    let rules: usize = ruleset.chains.values().map(|chain| 1 + chain.rules.len()).sum();
    rules + ruleset.sets.values().map(|set| 1 + set.elements.len()).sum::<usize>()
}

/// Holds a ruleset to what the kernel and nft take, and to `most` rules and elements.
fn check(ruleset: &Ruleset, most: usize) {
    let size = size(ruleset);
    assert!(size <= most, "{size} rules and elements, at most {most} are in order");
    let chains = ruleset.chains.keys().map(ChainName::as_str);
    for name in chains.chain(ruleset.sets.keys().map(SetName::as_str)) {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
        assert!((1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(known), "the name {name:?}");
    }
    let rules = ruleset.chains.values().flat_map(|chain| &chain.rules).map(|rule| &rule.comment);
    let chains = ruleset.chains.values().map(|chain| &chain.spec.comment);
    for comment in rules.chain(chains).chain(ruleset.sets.values().map(|set| &set.spec.comment)) {
        let printable = |c: char| (c.is_ascii_graphic() || c == ' ') && c != '"';
        assert!(
            comment.len() <= COMMENT_BYTES_MAX && comment.chars().all(printable),
            "the comment {comment:?}"
        );
    }
}

/// The shapes of what is new in a ruleset.
fn describe(ruleset: &Ruleset, before: &Ruleset, features: &mut Features) {
    for (name, set) in ruleset.sets.iter().filter(|(name, set)| before.sets.get(name) != Some(set)) {
        features.counted(&format!("elements of {:?}", set.spec.key), set.elements.len());
        features.saw(name.as_str().split('/').next().unwrap_or_default());
    }
    for (_, chain) in ruleset.chains.iter().filter(|(name, chain)| before.chains.get(name) != Some(chain)) {
        features.counted("rules", chain.rules.len());
        for rule in &chain.rules {
            features.saw(rule);
        }
    }
}
