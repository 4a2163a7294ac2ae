//! `matrix`: who reaches whom.

use test_case::test_case;

use crate::program::{at, list, run, run_with, text};

#[test]
fn the_table_shows_each_pair() {
    let wanted = "\
tcp/5432 on shop/data: rows send, columns receive
                          1       2       3       4
1 operators/monitor       -    open    open    open
2 shop/api             open       -    open    open
3 shop/db              open    open       -    open
4 shop/web             open    open  closed       -
";
    assert_eq!(run("matrix -f shop --network shop/data --port tcp/5432").answer(), wanted);
}

#[test_case("tcp/5432"; "a named port")]
#[test_case("tcp/5433"; "another port")]
#[test_case("icmp"; "ping")]
#[test_case("arp"; "arp")]
fn each_cell_is_what_explain_says(service: &str) {
    let matrix = run(&format!("matrix -f shop --network shop/data --port {service} --output json")).json();
    assert_eq!([text(&matrix, "/network"), text(&matrix, "/service")], ["shop/data", service]);
    let pairs = list(&matrix, "/pairs");
    assert_eq!(pairs.len(), 12);
    for pair in pairs {
        let (from, to) = (text(pair, "/from"), text(pair, "/to"));
        let words = format!(
            "explain -f shop --from {from} --to {to} --port {service} --network shop/data --output json"
        );
        let answer = run(&words).json();
        let explained = list(&answer, "/flows")
            .iter()
            .map(|flow| (text(flow, "/from/address"), text(flow, "/to/address"), at(flow, "/allowed")));
        let shown = list(pair, "/flows").iter();
        let shown = shown.map(|flow| (text(flow, "/from"), text(flow, "/to"), at(flow, "/allowed")));
        assert!(shown.eq(explained), "{pair}\n{answer}");
    }
}

#[test]
fn a_cell_names_the_only_family_that_is_open() {
    let policy = r#"{"apiVersion": "k8s.cni.cncf.io/v1beta1", "kind": "MultiNetworkPolicy",
        "metadata": {"name": "six", "namespace": "shop", "annotations": {"k8s.v1.cni.cncf.io/policy-for": "data"}},
        "spec": {"podSelector": {"matchLabels": {"app": "api"}}, "ingress": [{"from": [{"ipBlock": {"cidr": "fd10::/16"}}]}]}}"#;
    let table = run_with(policy, "matrix -f shop -f - --network shop/data --port udp/9").answer();
    assert!(table.contains("\n1 operators/monitor       -    ipv6    open    open\n"), "{table}");
    assert!(table.contains("\n4 shop/web             open  closed  closed       -\n"), "{table}");
}

#[test]
fn a_network_that_nobody_is_on_is_an_error() {
    let wanted = "no pod is attached to network shop/lan; there are attachments to: shop/backup, shop/data";
    assert_eq!(run("matrix -f shop --network shop/lan --port icmp").error(), wanted);
}

#[test]
fn an_unmanaged_network_is_open_and_says_why() {
    let network = r#"{"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "data", "namespace": "shop"}, "spec": {"config": "{\"type\": \"macvlan\"}"}}"#;
    let ran = run_with(network, "matrix -f shop -f - --network shop/data --port tcp/1");
    assert!(!ran.stdout.contains("closed"), "{}", ran.stdout);
    assert!(ran.stderr.contains("note: network shop/data is not managed"), "{}", ran.stderr);
    assert_eq!(ran.status, 0);
}
