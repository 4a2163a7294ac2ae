//! `explain`: verdicts and reasons.

use serde_json::{Value, json};
use test_case::test_case;

use crate::program::{at, list, run, text};

#[test]
fn a_denial_names_the_policy_the_rule_and_the_peer() {
    let answer = run("explain -f shop --from shop/web --to shop/db --port tcp/5432").answer();
    let wanted = "\
tcp/5432 from shop/web@net1 (10.10.0.13 on shop/data) to shop/db@net1 (10.10.0.11 on shop/data): denied
  egress: denied, it is isolated, and no policy allows this
    policy shop/web (shop/policies/list.json:18:5) does not allow it
      spec.egress[0] does not allow it
        - spec.egress[0].to[0], addresses 10.10.0.0/24 except 10.10.0.11/32: 10.10.0.11 is taken out by except 10.10.0.11/32
    policy shop/db does not apply: the pod does not meet app=db of its podSelector
  ingress: denied, it is isolated, and no policy allows this
    policy shop/db (shop/policies/db.yaml:1:1) does not allow it
      spec.ingress[0] does not allow it
        - spec.ingress[0].from[0], pods app=api in namespace shop: pod shop/web does not meet app=api
      spec.ingress[1] does not allow it
        - spec.ingress[1].from[0], all pods in namespaces team=operators: namespace shop does not meet team=operators
    policy shop/web does not apply: the pod does not meet app=web of its podSelector
";
    assert_eq!(answer, wanted);
}

#[test]
fn the_json_form_is_stable() {
    let words = "explain -f shop --from shop/api@net1 --to shop/db --port tcp/5432 --to-address 10.10.0.11";
    let party = |pod: &str, address: &str| json!({"pod": pod, "interface": "net1", "network": "shop/data", "address": address});
    let passed_over = |policy: &str, label: &str| {
        let reason = format!("the pod does not meet {label} of its podSelector");
        json!({"policy": policy, "because": "labels", "reason": reason})
    };
    let first_rule = json!({
        "path": "spec.ingress[0]",
        "place": "shop/policies/db.yaml:11:7",
        "allows": true,
        "peers": [{
            "path": "spec.ingress[0].from[0]",
            "peer": "pods app=api in namespace shop",
            "fits": true,
            "because": "selected",
            "reason": "covers pod shop/api, known by its address",
            "ports": [{
                "path": "spec.ingress[0].ports[0]",
                "port": "tcp port \"sql\"",
                "fits": true,
                "because": "fits",
                "reason": "covers it",
            }],
        }],
    });
    let second_rule = json!({
        "path": "spec.ingress[1]",
        "place": "shop/policies/db.yaml:14:7",
        "allows": false,
        "peers": [{
            "path": "spec.ingress[1].from[0]",
            "peer": "all pods in namespaces team=operators",
            "fits": false,
            "because": "namespace-labels",
            "reason": "namespace shop does not meet team=operators",
            "ports": [],
        }],
    });
    let wanted = json!({
        "service": "tcp/5432",
        "flows": [{
            "from": party("shop/api", "10.10.0.12"),
            "to": party("shop/db", "10.10.0.11"),
            "allowed": true,
            "egress": {
                "allowed": true,
                "standing": "free",
                "reason": "no policy isolates it",
                "policies": [],
                "passed_over": [passed_over("shop/db", "app=db"), passed_over("shop/web", "app=web")],
            },
            "ingress": {
                "allowed": true,
                "standing": "isolated",
                "reason": "a policy allows it",
                "policies": [{
                    "policy": "shop/db",
                    "place": "shop/policies/db.yaml:1:1",
                    "allows": true,
                    "rules": [first_rule, second_rule],
                    "problems": [],
                }],
                "passed_over": [passed_over("shop/web", "app=web")],
            },
        }],
    });
    assert_eq!(run(&format!("{words} --output json")).json(), wanted);
}

/// For each flow the addresses, the verdict, and the words that say why: of the peers, then of the ports.
fn outline(answer: &Value) -> String {
    let flows = list(answer, "/flows").iter().map(|flow| {
        let verdict = if at(flow, "/allowed") == true { "reaches" } else { "misses" };
        let (from, to) = (text(flow, "/from/address"), text(flow, "/to/address"));
        let [egress, ingress] = ["/egress", "/ingress"].map(|direction| because(at(flow, direction)));
        format!("{from} {verdict} {to} | {egress} | {ingress}")
    });
    flows.collect::<Vec<_>>().join("\n")
}

fn because(view: &Value) -> String {
    if view.is_null() {
        return "stranger".to_owned();
    }
    let mut words = vec![text(view, "/standing").to_owned()];
    let rules = list(view, "/policies").iter().flat_map(|policy| list(policy, "/rules"));
    for peer in rules.flat_map(|rule| list(rule, "/peers")) {
        words.push(text(peer, "/because").to_owned());
        words.extend(list(peer, "/ports").iter().map(|port| format!(":{}", text(port, "/because"))));
    }
    words.join(" ")
}

#[test_case("shop/api@net1", "shop/db@net1", "tcp/5433",
    "10.10.0.12 misses 10.10.0.11 | free | isolated selected :named-otherwise namespace-labels\n\
     fd10::12 misses fd10::11 | free | isolated selected :named-otherwise namespace-labels"; "another port than the name's")]
#[test_case("shop/api@net1", "fd10::11", "icmp",
    "fd10::12 misses fd10::11 | free | isolated selected :other-protocol namespace-labels"; "ping needs a rule without ports")]
#[test_case("operators/monitor", "10.10.0.11", "udp/53",
    "10.10.0.15 reaches 10.10.0.11 | free | isolated not-in-namespace selected :any"; "a rule without ports")]
#[test_case("shop/web", "10.10.0.200", "udp/53", "10.10.0.13 reaches 10.10.0.200 | isolated in-block :any | stranger"; "a stranger in the block")]
#[test_case("shop/web", "10.20.0.1", "udp/53", "10.10.0.13 misses 10.20.0.1 | isolated outside-block | stranger"; "a stranger outside the block")]
#[test_case("192.0.2.7", "shop/db@net1", "sctp/7", "192.0.2.7 misses 10.10.0.11 | stranger | isolated nobody nobody"; "from a stranger")]
#[test_case("shop/api@net2", "shop/db@net2", "icmp", "fe80::aff:fe0b:c reaches fe80::aff:fe0b:b | free | free"; "no address management")]
#[test_case("shop/web", "shop/db", "arp", "10.10.0.13 misses 10.10.0.11 | isolated excepted | isolated pod-labels namespace-labels"; "arp for somebody who is no peer")]
#[test_case("shop/api@net1", "shop/db@net1", "arp",
    "10.10.0.12 reaches 10.10.0.11 | free | isolated selected :unasked namespace-labels"; "arp for a peer whatever the ports")]
#[test_case("shop/web", "10.10.0.200", "arp", "10.10.0.13 reaches 10.10.0.200 | isolated in-block :any | stranger"; "arp for an address of a block")]
fn verdicts(from: &str, to: &str, port: &str, wanted: &str) {
    let answer = run(&format!("explain -f shop --from {from} --to {to} --port {port} --output json")).json();
    assert_eq!(outline(&answer), wanted);
}

#[test]
fn settings_of_the_agent_change_the_verdict() {
    let words = "explain -f shop --from shop/web --to shop/db --port icmp --output json";
    let addresses = "10.10.0.13 misses 10.10.0.11";
    let strict = outline(&run(words).json());
    assert!(strict.starts_with(addresses), "{strict}");
    let lenient = outline(&run(&format!("{words} --accept-icmp")).json());
    assert_eq!(lenient, "10.10.0.13 reaches 10.10.0.11 | exempt | exempt");
}

#[test_case("--from shop/nobody --to shop/db --port icmp", "there is no pod shop/nobody"; "unknown pod")]
#[test_case("--from shop/monitor --to shop/db --port icmp", "there is no pod shop/monitor; there is operators/monitor"; "another namespace")]
#[test_case("--from shop/api --to shop/db --port icmp",
    "shop/api and shop/db meet in more than one place: shop/api@net1 with shop/db@net1 on shop/data, shop/api@net2 \
     with shop/db@net2 on shop/backup; choose with --network or @interface"; "ambiguous network")]
#[test_case("--from shop/web@net7 --to shop/db --port icmp", "pod shop/web has no attachment at net7: it has shop/data at net1"; "unknown interface")]
#[test_case("--from shop/web --to shop/db --port icmp --network shop/backup",
    "pod shop/web has no attachment to network shop/backup: it has shop/data at net1"; "not on the network")]
#[test_case("--from shop/web --to shop/db@net2 --port icmp",
    "shop/web and shop/db@net2 share no network: shop/web is on shop/data and shop/db@net2 is on shop/backup"; "nothing shared")]
#[test_case("--from 10.0.0.1 --to 10.0.0.2 --port icmp", "10.0.0.1 and 10.0.0.2 are both addresses: one end must be a pod"; "no pod")]
#[test_case("--from shop/api@net2 --to shop/db@net2 --port arp",
    "shop/api@net2 and shop/db@net2 have no addresses of one family (ARP is IPv4's): say which they use with \
     --from-address and --to-address"; "arp without IPv4")]
#[test_case("--from shop/web --to fd10::99 --port icmp --network shop/data --from-address 10.10.0.13",
    "shop/web and fd10::99 have no addresses of one family: say which they use with --from-address and --to-address"; "two families")]
fn what_cannot_be_answered_is_said_in_one_sentence(question: &str, wanted: &str) {
    assert_eq!(run(&format!("explain -f shop {question}")).error(), wanted);
}

#[test_case("--from web --to shop/db --port icmp", "neither an address nor a pod"; "pod without namespace")]
#[test_case("--from shop/web --to shop/db --port tcp/0", "not one of arp, icmp, tcp/PORT"; "port 0")]
#[test_case("--from shop/web --to shop/db --port http", "not one of arp, icmp, tcp/PORT"; "no service")]
#[test_case("--from shop/web --to shop/db --port icmp --network data", "not a name, written namespace/name"; "network without namespace")]
fn wrong_arguments_are_refused(question: &str, wanted: &str) {
    let ran = run(&format!("explain -f shop {question}"));
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains(wanted), "{}", ran.stderr);
}
