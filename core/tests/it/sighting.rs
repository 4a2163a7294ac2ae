//! Whose the frames are that the kernel tells of, from the words of the rules that the core itself has written.

use policy_core::model::{
    BridgeNetwork, Direction, Guard, LogWish, NamespacedName, Network, NetworkConfig, Object,
};
use policy_core::ruleset::Expr;
use policy_core::{Action, Compiler, Sighted, Sighting};
use test_case::test_case;

use crate::build::mac;
use crate::golden::{BLOCKS, FROM_CLIENTS, ISOLATE, cluster, logged, logged_namespace, policy, settled};

/// The words of all rules that tell, each once, those of drops first.
fn words(compiler: &Compiler) -> Vec<String> {
    let rules = compiler.applied().chains.values().flat_map(|chain| &chain.rules);
    let told = rules
        .flat_map(|rule| &rule.exprs)
        .filter_map(|expr| if let Expr::Log { prefix, .. } = expr { Some(prefix.clone()) } else { None });
    let mut words: Vec<String> = told.collect();
    words.sort_by_key(|words| (!words.starts_with("drop "), words.clone()));
    words.dedup();
    words
}

fn with(more: impl IntoIterator<Item = Object>) -> Compiler {
    settled(cluster().into_iter().chain(more).collect()).0
}

/// From the near client (port 12) to the server (port 11).
fn to_server(prefix: &str) -> Sighting<'_> {
    Sighting {
        prefix,
        input: Some(12),
        output: Some(11),
        macs: Some((mac(12), mac(11))),
        source: Some([10, 0, 0, 12].into()),
        destination: Some([10, 0, 0, 11].into()),
    }
}

fn one(compiler: &Compiler, sighting: Sighting<'_>) -> Option<Sighted> {
    let mut sighted = compiler.sighted(&[sighting]);
    assert_eq!(sighted.len(), 1);
    sighted.remove(0)
}

fn shop(name: &str) -> NamespacedName {
    NamespacedName::new("shop", name)
}

/// What stands for whom: action, direction, pod, policies, peer.
type Told = (Action, Direction, NamespacedName, Vec<NamespacedName>, Option<NamespacedName>);

fn told(sighted: Option<Sighted>) -> Option<Told> {
    let Sighted { action, judged, policies, peer } = sighted?;
    assert_eq!((&*judged.interface, judged.network), ("net1", shop("data")));
    Some((action, judged.direction, judged.pod, policies, peer))
}

#[test]
fn denied_frame_is_its_pods_and_all_policies_that_isolate_it_are_named() {
    let compiler =
        with([logged(policy("from-clients", FROM_CLIENTS), LogWish::Drop), policy("isolate", ISOLATE)]);
    let [words] = &words(&compiler)[..] else { panic!("{:?}", words(&compiler)) };
    let wanted = (
        Action::Drop,
        Direction::Ingress,
        shop("server"),
        vec![shop("from-clients"), shop("isolate")],
        Some(shop("near")),
    );
    assert_eq!(told(one(&compiler, to_server(words))), Some(wanted.clone()));
    // Neither the port nor anything else is needed: the words name the pod.
    let bare = Sighting { output: None, input: None, macs: None, ..to_server(words) };
    assert_eq!(told(one(&compiler, bare)), Some(wanted.clone()));
    // A port that is somebody else's by now does not make the frame somebody else's.
    let elsewhere = Sighting { output: Some(12), ..to_server(words) };
    assert_eq!(told(one(&compiler, elsewhere)), Some(wanted));
}

#[test]
fn allowed_frame_is_its_ports_and_only_the_policy_that_allows_it_is_named() {
    let compiler = with([
        policy("from-clients", FROM_CLIENTS),
        policy("isolate", ISOLATE),
        logged_namespace(LogWish::All),
    ]);
    let all = words(&compiler);
    let words =
        all.iter().find(|words| words.ends_with("shop/from-clients")).expect("it may allow something");
    let wanted =
        (Action::Allow, Direction::Ingress, shop("server"), vec![shop("from-clients")], Some(shop("near")));
    assert_eq!(told(one(&compiler, to_server(words))), Some(wanted.clone()));
    // While the port is not known, the pod's MAC says whose it is.
    let without_port = Sighting { output: None, ..to_server(words) };
    assert_eq!(told(one(&compiler, without_port)), Some(wanted));
    let nobody = Sighting { output: None, macs: None, ..to_server(words) };
    assert_eq!(one(&compiler, nobody), None);
}

#[test]
fn frame_that_a_pod_sends_is_told_of_with_whom_it_is_for() {
    let compiler = with([logged(policy("blocks", BLOCKS), LogWish::Drop)]);
    let all = words(&compiler);
    let words = all.iter().find(|words| words.contains("/near/")).expect("every pod is isolated");
    let far = Sighting {
        prefix: words,
        input: Some(12),
        output: None,
        macs: Some((mac(12), mac(13))),
        source: Some([10, 0, 0, 12].into()),
        destination: Some([10, 0, 0, 13].into()),
    };
    let wanted = (Action::Drop, Direction::Egress, shop("near"), vec![shop("blocks")], Some(shop("far")));
    assert_eq!(told(one(&compiler, far)), Some(wanted));
}

#[test_case(Some("10.0.0.12"), true => Some("near".to_owned()); "by its address")]
#[test_case(Some("fe80::ff:fe00:c"), true => Some("near".to_owned()); "by its link local address")]
#[test_case(None, true => Some("near".to_owned()); "by its mac where there is no address")]
#[test_case(Some("192.0.2.1"), true => Some("near".to_owned()); "by its mac where the address is nobodys")]
#[test_case(Some("192.0.2.1"), false => None; "not at all")]
fn pod_at_the_other_end_is_known(source: Option<&str>, with_macs: bool) -> Option<String> {
    let compiler = with([logged(policy("isolate", ISOLATE), LogWish::Drop)]);
    let [words] = &words(&compiler)[..] else { panic!("{:?}", words(&compiler)) };
    let macs = with_macs.then_some((mac(12), mac(11)));
    let source = source.map(|source| source.parse().unwrap());
    let sighted = one(&compiler, Sighting { macs, source, ..to_server(words) });
    sighted.expect("it is the server's").peer.map(|peer| peer.name.to_string())
}

#[test_case("br-other", None => None; "another bridge")]
#[test_case("br-data", Some(7) => None; "another vlan of the bridge")]
#[test_case("br-data", None => Some(shop("near")); "the same bridge by another name and otherwise guarded")]
fn address_is_a_pods_on_the_same_bridge_only(bridge: &str, vlan: Option<u16>) -> Option<NamespacedName> {
    let mut objects = cluster();
    let other = BridgeNetwork { bridge: bridge.into(), vlan, dhcp: false, guard: Some(Guard::Mac) };
    objects.push(Object::Network(Network { id: shop("other"), config: NetworkConfig::Bridge(other) }));
    for object in &mut objects {
        if let Object::Pod(pod) = object
            && &*pod.id.name == "near"
        {
            pod.attachments[0].network = shop("other");
        }
    }
    objects.push(logged(policy("isolate", ISOLATE), LogWish::Drop));
    let (compiler, _) = settled(objects);
    let [words] = &words(&compiler)[..] else { panic!("{:?}", words(&compiler)) };
    one(&compiler, to_server(words)).expect("it is the server's").peer
}

#[test_case(""; "nothing")]
#[test_case("drop "; "no place")]
#[test_case("drop in/"; "no hash")]
#[test_case("drop in/jtq4huytnxie7rit"; "a hash that does not end")]
#[test_case("drop in/aaaaaaaaaaaaaaaa-shop/server/net1"; "the hash of nobody")]
#[test_case("drop up/jtq4huytnxie7rit-shop/server/net1"; "another direction")]
#[test_case("allow in/jtq4huytnxie7rit-shop/server/net1"; "a pods hash where a policys should be")]
#[test_case("accept in/jtq4huytnxie7rit-shop/server/net1"; "another word")]
#[test_case("drop out/jtq4huytnxie7rit-shop/server/net1"; "a direction that is not isolated")]
#[test_case("dröp in/é-"; "other letters")]
fn words_of_nobody_are_nobodys(words: &str) {
    let compiler = with([logged(policy("isolate", ISOLATE), LogWish::All)]);
    assert_eq!(one(&compiler, to_server(words)), None);
}

#[test]
fn words_fit_the_kernel_however_long_the_names_are() {
    let mut objects = cluster();
    let long = "a".repeat(253);
    for object in &mut objects {
        if let Object::Pod(pod) = object
            && &*pod.id.name == "server"
        {
            pod.id.name = long.as_str().into();
        }
    }
    objects.extend([logged(policy(&long, FROM_CLIENTS), LogWish::All)]);
    let (compiler, _) = settled(objects);
    let all = words(&compiler);
    assert!(all.len() == 2 && all.iter().all(|words| words.len() == 127), "{all:?}");
    for words in &all {
        let sighted = one(&compiler, to_server(words)).expect("the hash says whose it is");
        assert_eq!(sighted.judged.pod, shop(&long));
        assert_eq!(sighted.policies, [shop(&long)]);
    }
}

/// The strongest wish of all policies that isolate a pod in a direction, and of their namespace, counts.
#[test_case([None, None], None => (0, 0); "nobody asks")]
#[test_case([Some(LogWish::Drop), None], None => (1, 0); "one policy asks for drops")]
#[test_case([None, Some(LogWish::All)], None => (1, 2); "one policy asks for all")]
#[test_case([Some(LogWish::Drop), Some(LogWish::All)], None => (1, 2); "the stronger policy counts")]
#[test_case([None, None], Some(LogWish::Drop) => (1, 0); "the namespace asks")]
#[test_case([Some(LogWish::Drop), None], Some(LogWish::All) => (1, 2); "the namespace asks for more")]
#[test_case([None, Some(LogWish::All)], Some(LogWish::Drop) => (1, 2); "the namespace asks for less")]
fn strongest_wish_counts(policies: [Option<LogWish>; 2], namespace: Option<LogWish>) -> (usize, usize) {
    let named = [policy("one", FROM_CLIENTS), policy("two", ISOLATE)].into_iter().zip(policies);
    let wishing = named.map(|(policy, wish)| match wish {
        Some(wish) => logged(policy, wish),
        None => policy,
    });
    let compiler = with(wishing.chain(namespace.map(logged_namespace)));
    let all = words(&compiler);
    let drops = all.iter().filter(|words| words.starts_with("drop ")).count();
    (drops, all.len() - drops)
}

#[test]
fn wish_of_a_policy_that_isolates_another_direction_or_another_pod_counts_for_nothing() {
    let clients = ISOLATE.replace("server", "client");
    for other in [policy("blocks", BLOCKS), policy("clients", &clients)] {
        let compiler = with([policy("isolate", ISOLATE), logged(other, LogWish::All)]);
        let of_server = words(&compiler);
        assert!(!of_server.is_empty());
        assert!(!of_server.iter().any(|words| words.starts_with("drop in/") && words.contains("/server/")));
    }
}

#[test]
fn frame_of_a_pod_that_is_gone_is_nobodys() {
    let objects = cluster().into_iter().chain([logged(policy("isolate", ISOLATE), LogWish::Drop)]);
    let (mut compiler, _) = settled(objects.collect());
    let [words] = &words(&compiler)[..] else { panic!("{:?}", words(&compiler)) };
    let server = policy_core::model::ObjectId::Pod(shop("server"));
    compiler.handle_input(policy_core::Input::Remove(server), policy_core::Time::default());
    assert_eq!(one(&compiler, to_server(words)), None);
}
