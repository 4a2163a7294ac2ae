//! How much fits: each limit that `deploy/README.md` states is tried on the running kernel.

#[allow(
    dead_code,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::unwrap_used,
    reason = "of the benchmarks"
)]
#[path = "../../../core/benches/cluster/mod.rs"]
mod cluster;

use cluster::{NODE, Size, informed, objects};

use driver_nft::NftKernel;
use policy_core::model::{
    Attachment, Block, Kind, NamespaceScope, NamespacedName, Network, NetworkConfig, Object, Peer, Peers,
    Pod, Policy, PolicyRule, Ports, Selector,
};
use policy_core::ruleset::{Dynamic, KeyType, Op, Ruleset, SetSpec, TABLE};
use policy_core::{Compiler, Config, Input, Kernel as _, Outcome, Time, pump};

use crate::netns::{change, in_new_namespace, nft};
use crate::sample::set;

/// Brings what `compiler` wants to the kernel, and reads it back.
fn enforced(compiler: &mut Compiler) -> Ruleset {
    let mut kernel = NftKernel::open().unwrap();
    let outcomes = pump(compiler, &mut kernel, Time::default());
    for outcome in &outcomes {
        assert!(matches!(outcome, Outcome::Committed(_) | Outcome::Reported(_)), "{outcome:?}");
    }
    assert!(compiler.is_settled());
    kernel.observe().unwrap()
}

fn counts(ruleset: &Ruleset) -> String {
    let rules: usize = ruleset.chains.values().map(|chain| chain.rules.len()).sum();
    let elements: usize = ruleset.sets.values().map(|set| set.elements.len()).sum();
    format!(
        "{} chains, {rules} rules, {} sets, {elements} elements",
        ruleset.chains.len(),
        ruleset.sets.len()
    )
}

#[test]
fn a_thousand_local_pods_under_ten_thousand_policies_are_enforced() {
    let size = Size { local_pods: 1_000, pods: 11_000, namespaces: 100, policies: 10_000 };
    in_new_namespace(|| {
        let mut compiler = informed(size);
        let held = enforced(&mut compiler);
        assert!(held == *compiler.desired(), "the kernel holds something else: {}", counts(&held));
        assert_eq!(compiler.local_attachments(), 1_000);
        println!("{}", counts(&held));
    });
}

/// A cluster with one local pod, which is selected by one policy with these peers.
pub(crate) fn with_one_policy(pods: usize, peers: &[Peer]) -> Compiler {
    let size = Size { local_pods: 1, pods, namespaces: 1, policies: 1 };
    let mut compiler = Compiler::new(&Config::new(NODE));
    for (kind, mut objects) in objects(size) {
        if let (Kind::Policy, [Object::Policy(policy)]) = (kind, &mut *objects) {
            policy.selector = Selector::default();
            let peers = Peers::Listed(peers.to_vec());
            policy.ingress = Some(vec![PolicyRule { peers, ports: Ports::Any }]);
        }
        compiler.handle_input(Input::Relist { kind, objects }, Time::default());
    }
    compiler
}

fn most_elements(ruleset: &Ruleset) -> usize {
    ruleset.sets.values().map(|set| set.elements.len()).max().unwrap_or(0)
}

#[test]
fn a_hundred_thousand_peers_are_one_set() {
    in_new_namespace(|| {
        let everybody = Peer::Pods {
            namespaces: NamespaceScope::Matching(Selector::default()),
            pods: Selector::default(),
        };
        let mut compiler = with_one_policy(100_001, &[everybody]);
        let held = enforced(&mut compiler);
        assert!(held == *compiler.desired(), "the kernel holds something else: {}", counts(&held));
        assert!(most_elements(&held) >= 100_000, "{}", counts(&held));
    });
}

#[test]
fn ten_thousand_blocks_of_one_policy_are_one_set() {
    in_new_namespace(|| {
        let block = |number: u32| {
            let address = core::net::Ipv4Addr::from_bits(0x0a00_0000 + number * 512);
            Peer::Block(Block::new(format!("{address}/24").parse().unwrap(), []))
        };
        let mut compiler = with_one_policy(1, &(0..10_000).map(block).collect::<Vec<_>>());
        let held = enforced(&mut compiler);
        assert!(held == *compiler.desired(), "the kernel holds something else: {}", counts(&held));
        assert!(most_elements(&held) >= 10_000, "{}", counts(&held));
    });
}

#[test]
fn names_of_maximal_length_are_enforced_and_told_apart() {
    // RFC 1123: a namespace has at most 63 bytes, all other names 253.
    let namespace = "n".repeat(63);
    let name = |last: char| format!("{}{last}", "x".repeat(252));
    let network = NamespacedName::new(namespace.as_str(), name('n'));
    in_new_namespace(|| {
        let mut compiler = Compiler::new(&Config::new(NODE));
        for (kind, mut objects) in objects(Size { local_pods: 2, pods: 2, namespaces: 1, policies: 0 }) {
            match kind {
                Kind::Network => {
                    let Some(Object::Network(Network { config: NetworkConfig::Bridge(bridge), .. })) =
                        objects.pop()
                    else {
                        panic!("the made-up cluster has one network")
                    };
                    let config = NetworkConfig::Bridge(bridge);
                    objects = vec![Object::Network(Network { id: network.clone(), config })];
                }
                Kind::Pod => {
                    for (object, last) in objects.iter_mut().zip(['a', 'b']) {
                        let Object::Pod(Pod { id, attachments, .. }) = object else { panic!("a pod") };
                        *id = NamespacedName::new(namespace.as_str(), name(last));
                        for Attachment { network: named, .. } in attachments {
                            *named = network.clone();
                        }
                    }
                }
                Kind::Policy => {
                    let policy = |last: char| {
                        Object::Policy(Policy {
                            id: NamespacedName::new(namespace.as_str(), name(last)),
                            networks: vec![network.clone()],
                            selector: Selector::default(),
                            ingress: Some(Vec::new()),
                            egress: None,
                            log: None,
                            problems: Vec::new(),
                        })
                    };
                    objects = vec![policy('p'), policy('q')];
                }
                Kind::Namespace | Kind::Port => {}
            }
            compiler.handle_input(Input::Relist { kind, objects }, Time::default());
        }
        let held = enforced(&mut compiler);
        assert!(held == *compiler.desired(), "{held}");
        assert_eq!(compiler.local_attachments(), 2);
        let named: Vec<&str> = held
            .chains
            .keys()
            .map(policy_core::ruleset::ChainName::as_str)
            .filter(|name| name.len() > 100)
            .collect();
        assert!(named.len() >= 2, "names are shortened, and still tell what they are of: {named:?}");
        nft(&["-c", "-f", "-"], &held.to_string());
    });
}

/// What becomes of the packets, `sim flows` tries.
#[test]
fn a_full_dynamic_set_takes_no_more() {
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        let dynamic = Some(Dynamic { size: 2, timeout: core::time::Duration::from_mins(1) });
        let spec = SetSpec { key: vec![KeyType::Index], dynamic, ..SetSpec::default() };
        kernel.apply(&change([Op::AddSet(set("flows"), spec)])).unwrap();
        nft(&["add", "element", "bridge", TABLE, "flows", "{ 1, 2 }"], "");
        let refused = std::process::Command::new("nft")
            .args(["add", "element", "bridge", TABLE, "flows", "{ 3 }"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("Too many open files in system"), "{said}");
    });
}
