//! What a policy's text means, rule by rule: sections 1 to 3 of the contract as far as reading decides them.
//!
//! Each table row is a spec as written and what must come of it: the policy in a short notation, and the exact
//! problems.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use test_case::test_case;

use super::*;
use crate::model::{
    LogWish, NamespaceScope, NamespacedName, Peer, Peers, Policy, PolicyRule, PortNumbers, Ports,
};

/// Reads `spec` (JSON) as the spec of the policy `shop/web`, for the network `shop/data`.
fn read(spec: &str) -> Policy {
    let spec: Field<PolicySpec> = serde_json::from_str(spec).expect("the test's JSON");
    parse(NamespacedName::new("shop", "web"), Some("data"), &spec)
}

/// The peers of a rule: `any`, or each peer, or `nobody`.
fn peers_of(rule: &PolicyRule) -> String {
    let Peers::Listed(peers) = &rule.peers else { return "any".into() };
    let each = peers.iter().map(|peer| match peer {
        Peer::Block(block) => block.to_string(),
        Peer::Pods { namespaces: NamespaceScope::Named(name), pods } => format!("{pods} of {name}"),
        Peer::Pods { namespaces: NamespaceScope::Matching(of), pods } => format!("{pods} of ns {of}"),
    });
    let text = each.collect::<Vec<_>>().join(" | ");
    if text.is_empty() { "nobody".into() } else { text }
}

/// The ports of a rule: `any`, or each entry, or `none`.
fn ports_of(rule: &PolicyRule) -> String {
    let Ports::Listed(ports) = &rule.ports else { return "any".into() };
    let each = ports.iter().map(|port| match &port.numbers {
        PortNumbers::All => port.protocol.to_string(),
        PortNumbers::Named(name) => format!("{}/{name}", port.protocol),
        PortNumbers::Range(first, last) if first == last => format!("{}/{first}", port.protocol),
        PortNumbers::Range(first, last) => format!("{}/{first}-{last}", port.protocol),
    });
    let text = each.collect::<Vec<_>>().join(" | ");
    if text.is_empty() { "none".into() } else { text }
}

/// A direction's rules: `open` when it is not isolated, `shut` when nothing is allowed.
fn rules_of(rules: Option<&[PolicyRule]>) -> String {
    let Some(rules) = rules else { return "open".into() };
    let each = rules.iter().map(|rule| format!("{} on {}", peers_of(rule), ports_of(rule)));
    let text = each.collect::<Vec<_>>().join("; ");
    if text.is_empty() { "shut".into() } else { text }
}

fn problems_of(policy: &Policy) -> Vec<String> {
    policy.problems.iter().map(ToString::to_string).collect()
}

#[test_case(r"{}", "shut", "open"; "absent types isolate ingress")]
#[test_case(r"null", "shut", "open"; "an absent spec selects every pod and isolates ingress")]
#[test_case(r#"{"policyTypes":null}"#, "shut", "open"; "null types are absent")]
#[test_case(r#"{"policyTypes":[]}"#, "shut", "open"; "empty types are absent")]
#[test_case(r#"{"egress":[]}"#, "shut", "open"; "an empty egress list does not imply egress")]
#[test_case(r#"{"egress":[{}]}"#, "shut", "any on any"; "an egress rule implies egress")]
#[test_case(r#"{"egress":[{}],"policyTypes":[]}"#, "shut", "any on any"; "empty types are filled in like absent ones")]
#[test_case(r#"{"policyTypes":["Ingress"],"egress":[{}]}"#, "shut", "open"; "an explicit list is taken as it is")]
#[test_case(r#"{"policyTypes":["Egress"],"ingress":[{}]}"#, "open", "shut"; "egress alone leaves ingress open")]
#[test_case(r#"{"policyTypes":["Egress","Ingress","Egress"]}"#, "shut", "shut"; "both, in any order and number")]
#[test_case(r#"{"ingress":[{}]}"#, "any on any", "open"; "an empty rule allows everything")]
#[test_case(r#"{"ingress":[{"from":null,"ports":null}]}"#, "any on any", "open"; "null lists in a rule are absent")]
#[test_case(r#"{"ingress":[{"from":[],"ports":[]}]}"#, "any on any", "open"; "empty lists in a rule are absent")]
fn directions_follow_the_types(spec: &str, ingress: &str, egress: &str) {
    let policy = read(spec);
    assert_eq!((rules_of(policy.ingress.as_deref()), problems_of(&policy)), (ingress.into(), Vec::new()));
    assert_eq!(rules_of(policy.egress.as_deref()), egress);
    assert_eq!(policy.selector.to_string(), "all");
}

#[test_case(r#"["ingress"]"#, "shut", "any on any", r#"spec.policyTypes[0]: "ingress": not one of Ingress, Egress"#; "lower case is no type and counts as absent")]
#[test_case(r#"["Egress","Both"]"#, "open", "any on any", r#"spec.policyTypes[1]: "Both": not one of Ingress, Egress"#; "an unknown type beside a known one is ignored")]
#[test_case("[null]", "shut", "any on any", "spec.policyTypes[0]: missing"; "a null type counts as absent")]
#[test_case("[7]", "shut", "any on any", "spec.policyTypes[0]: invalid type: integer `7`, expected a string"; "a number counts as absent")]
#[test_case(r#""Ingress""#, "shut", "any on any", r#"spec.policyTypes: invalid type: string "Ingress", expected a sequence"#; "a text instead of a list isolates both ways")]
fn unusable_types_are_named(types: &str, ingress: &str, egress: &str, problem: &str) {
    let policy = read(&format!(r#"{{"policyTypes":{types},"egress":[{{}}]}}"#));
    assert_eq!(problems_of(&policy), [problem]);
    assert_eq!(rules_of(policy.ingress.as_deref()), ingress);
    assert_eq!(rules_of(policy.egress.as_deref()), egress);
}

#[test]
fn types_of_the_wrong_type_isolate_egress_without_any_egress_rule() {
    let policy = read(r#"{"policyTypes":"Egress"}"#);
    assert_eq!(
        (rules_of(policy.ingress.as_deref()), rules_of(policy.egress.as_deref())),
        ("shut".into(), "shut".into())
    );
}

#[test_case("data", &["shop/data"], &[]; "a bare name is of the policy's namespace")]
#[test_case("infra/data", &["infra/data"], &[]; "a full name")]
#[test_case(" infra/b ,\tdata, infra/a", &["infra/a", "infra/b", "shop/data"], &[]; "a list with blanks, sorted")]
#[test_case("data,shop/data", &["shop/data"], &[]; "one network named twice")]
#[test_case("net.v1-2", &["shop/net.v1-2"], &[]; "a dotted name")]
#[test_case("a/b/c,data", &["shop/data"], &[r#"[0]: "a/b/c": not a network's name or namespace/name"#]; "two slashes")]
#[test_case("data,/x,y/", &["shop/data"], &[r#"[1]: "/x": not a network's name or namespace/name"#, r#"[2]: "y/": not a network's name or namespace/name"#]; "empty halves")]
#[test_case("data,", &["shop/data"], &[r#"[1]: "": not a network's name or namespace/name"#]; "a comma at the end")]
#[test_case("Data,data@eth1,data", &["shop/data"], &[r#"[0]: "Data": not a network's name or namespace/name"#, r#"[1]: "data@eth1": not a network's name or namespace/name"#]; "names that no object can have")]
#[test_case("x y", &[], &[r#"[0]: "x y": not a network's name or namespace/name"#, ": names no usable network: the policy applies to none"]; "one bad item is none at all")]
#[test_case("", &[], &[": missing or empty: the policy applies to no network"]; "empty")]
#[test_case(" \t ", &[], &[": missing or empty: the policy applies to no network"]; "blank")]
fn networks_come_from_the_annotation(text: &str, networks: &[&str], problems: &[&str]) {
    let policy = parse(NamespacedName::new("shop", "web"), Some(text), &Field::Absent);
    assert_eq!(policy.networks.iter().map(ToString::to_string).collect::<Vec<_>>(), networks);
    let path = "metadata.annotations[k8s.v1.cni.cncf.io/policy-for]";
    let wanted: Vec<String> = problems.iter().map(|problem| format!("{path}{problem}")).collect();
    assert_eq!(problems_of(&policy), wanted);
}

#[test]
fn a_missing_annotation_is_named() {
    let policy = parse(NamespacedName::new("shop", "web"), None, &Field::Absent);
    assert!(policy.networks.is_empty());
    assert_eq!(policy.problems.len(), 1);
}

#[test_case("{}", "all"; "empty selects all")]
#[test_case("null", "all"; "null selects all")]
#[test_case(r#"{"matchLabels":null,"matchExpressions":null}"#, "all"; "null parts are absent")]
#[test_case(r#"{"matchLabels":{"app":"web","tier":""}}"#, "app=web,tier="; "labels, also an empty value")]
#[test_case(r#"{"matchExpressions":[{"key":"a.b/c","operator":"In","values":["y","x","x"]}]}"#, "a.b/c in (x,y)"; "in")]
#[test_case(r#"{"matchExpressions":[{"key":"a","operator":"NotIn","values":["x"]}]}"#, "a notin (x)"; "not in")]
#[test_case(r#"{"matchExpressions":[{"key":"a","operator":"Exists"},{"key":"b","operator":"DoesNotExist","values":[]}]}"#, "a,!b"; "presence")]
#[test_case(r#"{"matchLabels":{"a":"x"},"matchExpressions":[{"key":"a","operator":"In","values":["x"]}]}"#, "a=x"; "the same condition in two forms")]
fn pod_selectors_are_read(selector: &str, wanted: &str) {
    let policy = read(&format!(r#"{{"podSelector":{selector},"ingress":[{{}}]}}"#));
    assert_eq!(policy.selector.to_string(), wanted);
    assert_eq!(rules_of(policy.ingress.as_deref()), "any on any");
    assert_eq!(problems_of(&policy), [""; 0]);
}

/// Bad selectors: what is readable of them, and the problem below the selector's path.
#[test_case(r#"{"matchLabels":{"app":"web"},"matchExpressions":[{"key":"a","operator":"in","values":["x"]}]}"#, "app=web", r#".matchExpressions[0].operator: "in": not one of In, NotIn, Exists, DoesNotExist"#; "operator in lower case")]
#[test_case(r#"{"matchExpressions":[{"key":"a","operator":"Gt","values":["1"]},{"key":"b","operator":"Exists"}]}"#, "b", r#".matchExpressions[0].operator: "Gt": not one of In, NotIn, Exists, DoesNotExist"#; "operator of another selector")]
#[test_case(r#"{"matchExpressions":[{"key":"a","operator":"In"}]}"#, "all", ".matchExpressions[0].values: In needs at least one value"; "in without values")]
#[test_case(r#"{"matchExpressions":[{"key":"a","operator":"NotIn","values":[]}]}"#, "all", ".matchExpressions[0].values: NotIn needs at least one value"; "not in without values")]
#[test_case(r#"{"matchExpressions":[{"key":"a","operator":"Exists","values":["x"]}]}"#, "all", ".matchExpressions[0].values: Exists takes no values"; "exists with values")]
#[test_case(r#"{"matchExpressions":[{"key":"a","operator":"DoesNotExist","values":["x"]}]}"#, "all", ".matchExpressions[0].values: DoesNotExist takes no values"; "does not exist with values")]
#[test_case(r#"{"matchExpressions":[{"key":"a"}]}"#, "all", ".matchExpressions[0].operator: missing"; "no operator")]
#[test_case(r#"{"matchExpressions":[{"operator":"Exists"}]}"#, "all", ".matchExpressions[0].key: missing"; "no key")]
#[test_case(r#"{"matchExpressions":[{"key":"-a","operator":"Exists"}]}"#, "all", r#".matchExpressions[0].key: "-a": not a label key"#; "key syntax")]
#[test_case(r#"{"matchExpressions":[{"key":"a","operator":"In","values":["x y"]}]}"#, "all", r#".matchExpressions[0].values[0]: "x y": not a label value"#; "value syntax")]
#[test_case(r#"{"matchExpressions":[{"key":"a","operator":"In","values":["x",1]}]}"#, "all", ".matchExpressions[0].values[1]: invalid type: integer `1`, expected a string"; "value type")]
#[test_case(r#"{"matchExpressions":[{"key":"a","operator":"In","values":"x"}]}"#, "all", r#".matchExpressions[0].values: invalid type: string "x", expected a sequence"#; "values type")]
#[test_case(r#"{"matchExpressions":[{"key":"a","operator":"Exists","value":"x"}]}"#, "all", ".matchExpressions[0].value: unknown field"; "a field that is not known")]
#[test_case(r#"{"matchExpressions":[null,{"key":"b","operator":"Exists"}]}"#, "b", ".matchExpressions[0]: null is not a requirement"; "null requirement")]
#[test_case(r#"{"matchExpressions":["a",{"key":"b","operator":"Exists"}]}"#, "b", r#".matchExpressions[0]: invalid type: string "a", expected an object"#; "requirement type")]
#[test_case(r#"{"matchExpressions":{"key":"a"},"matchLabels":{"b":"x"}}"#, "b=x", ".matchExpressions: invalid type: map, expected a sequence"; "requirements type")]
#[test_case(r#"{"matchLabels":{"a":"x","b":1}}"#, "a=x", ".matchLabels[b]: invalid type: integer `1`, expected a string"; "label type")]
#[test_case(r#"{"matchLabels":{"a":"x","b":null}}"#, "a=x", ".matchLabels[b]: missing"; "label without value")]
#[test_case(r#"{"matchLabels":{"a":"x","b/":"y"}}"#, "a=x", r#".matchLabels[b/]: "b/": not a label key"#; "label key syntax")]
#[test_case(r#"{"matchLabels":{"a":"x","b":"_"}}"#, "a=x", r#".matchLabels[b]: "_": not a label value"#; "label value syntax")]
#[test_case(r#"{"matchLabels":["a"]}"#, "all", ".matchLabels: invalid type: sequence, expected a map"; "labels type")]
#[test_case(r#"{"matchLabel":{"a":"x"}}"#, "all", ".matchLabel: unknown field"; "a misspelt part")]
#[test_case(r#""app=web""#, "all", r#": invalid type: string "app=web", expected an object"#; "no selector at all")]
fn an_unreadable_requirement_isolates_by_the_rest_and_allows_nothing(bad: &str, rest: &str, problem: &str) {
    let policy = read(&format!(r#"{{"podSelector":{bad},"ingress":[{{}}],"egress":[{{}}]}}"#));
    assert_eq!(policy.selector.to_string(), rest);
    assert_eq!(policy.ingress, Some(Vec::new()));
    assert_eq!(policy.egress, Some(Vec::new()));
    assert_eq!(problems_of(&policy), [format!("spec.podSelector{problem}")]);

    for field in ["podSelector", "namespaceSelector"] {
        let good = r#"{"podSelector":{"matchLabels":{"ok":"yes"}}}"#;
        let policy = read(&format!(r#"{{"ingress":[{{"from":[{{"{field}":{bad}}},{good}]}}]}}"#));
        assert_eq!(rules_of(policy.ingress.as_deref()), "ok=yes of shop on any", "{field}");
        assert_eq!(problems_of(&policy), [format!("spec.ingress[0].from[0].{field}{problem}")]);
    }
}

#[test_case(r#"{"podSelector":{}}"#, "all of shop"; "pods of the policy's namespace")]
#[test_case(r#"{"podSelector":{"matchLabels":{"a":"x"}}}"#, "a=x of shop"; "labelled pods of the policy's namespace")]
#[test_case(r#"{"namespaceSelector":{"matchLabels":{"n":"y"}}}"#, "all of ns n=y"; "all pods of labelled namespaces")]
#[test_case(r#"{"namespaceSelector":{}}"#, "all of ns all"; "all pods of all namespaces")]
#[test_case(r#"{"podSelector":null,"namespaceSelector":{}}"#, "all of ns all"; "a null selector is absent")]
#[test_case(r#"{"podSelector":{"matchLabels":{"a":"x"}},"namespaceSelector":{"matchLabels":{"n":"y"}}}"#, "a=x of ns n=y"; "both must hold")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/8"}}"#, "10.0.0.0/8"; "a block")]
#[test_case(r#"{"ipBlock":{"cidr":"10.1.2.3/8"},"podSelector":null}"#, "10.0.0.0/8"; "host bits are masked off")]
#[test_case(r#"{"ipBlock":{"cidr":"0.0.0.0/0","except":null}}"#, "0.0.0.0/0"; "everything of one family")]
#[test_case(r#"{"ipBlock":{"cidr":"2001:DB8::1/64","except":["2001:db8::8/125"]}}"#, "2001:db8::/64 except 2001:db8::8/125"; "version 6 with an exception")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.9.9.9/16","10.1.0.0/16","10.9.0.0/16"]}}"#, "10.0.0.0/8 except 10.1.0.0/16,10.9.0.0/16"; "exceptions are masked and sorted")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.7/32"}}"#, "10.0.0.7/32"; "one address")]
fn peers_are_read(peer: &str, wanted: &str) {
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        let policy = read(&format!(r#"{{"{rules}":[{{"{peers}":[{peer}]}}]}}"#));
        let read = if rules == "ingress" { &policy.ingress } else { &policy.egress };
        assert_eq!(rules_of(read.as_deref()), format!("{wanted} on any"));
        assert_eq!(problems_of(&policy), [""; 0]);
    }
}

#[test_case("{}", ": names neither ipBlock nor podSelector nor namespaceSelector"; "an empty peer")]
#[test_case("null", ": null is not a peer"; "null")]
#[test_case("[]", ": invalid type: sequence, expected an object"; "a list")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/8"},"podSelector":{}}"#, ": ipBlock cannot stand beside podSelector or namespaceSelector"; "a block with a selector")]
#[test_case(r#"{"ipBlock":"10.0.0.0/8","namespaceSelector":{}}"#, ": ipBlock cannot stand beside podSelector or namespaceSelector"; "an unreadable block with a selector")]
#[test_case(r#"{"podSelector":{},"serviceAccountSelector":{}}"#, ".serviceAccountSelector: unknown field"; "a restriction that is not known")]
#[test_case(r#"{"ipBlock":"10.0.0.0/8"}"#, r#".ipBlock: invalid type: string "10.0.0.0/8", expected an object"#; "block type")]
#[test_case(r#"{"ipBlock":{}}"#, ".ipBlock.cidr: missing"; "no prefix")]
#[test_case(r#"{"ipBlock":{"cidr":10}}"#, ".ipBlock.cidr: invalid type: integer `10`, expected a string"; "prefix type")]
#[test_case(r#"{"ipBlock":{"cidr":""}}"#, r#".ipBlock.cidr: "": no prefix length"#; "empty prefix")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.1"}}"#, r#".ipBlock.cidr: "10.0.0.1": no prefix length"#; "bare address")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/33"}}"#, r#".ipBlock.cidr: "10.0.0.0/33": prefix length over 32"#; "too long for version 4")]
#[test_case(r#"{"ipBlock":{"cidr":"fd00::/129"}}"#, r#".ipBlock.cidr: "fd00::/129": prefix length over 128"#; "too long for version 6")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/999"}}"#, r#".ipBlock.cidr: "10.0.0.0/999": prefix length over 32"#; "more than a byte")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/08"}}"#, r#".ipBlock.cidr: "10.0.0.0/08": prefix length is not a number"#; "leading zero in the length")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/+8"}}"#, r#".ipBlock.cidr: "10.0.0.0/+8": prefix length is not a number"#; "sign in the length")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/"}}"#, r#".ipBlock.cidr: "10.0.0.0/": prefix length is not a number"#; "no length")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/8/9"}}"#, r#".ipBlock.cidr: "10.0.0.0/8/9": prefix length is not a number"#; "two lengths")]
#[test_case(r#"{"ipBlock":{"cidr":"010.0.0.0/8"}}"#, r#".ipBlock.cidr: "010.0.0.0/8": not an address"#; "leading zero in the address")]
#[test_case(r#"{"ipBlock":{"cidr":" 10.0.0.0/8"}}"#, r#".ipBlock.cidr: " 10.0.0.0/8": not an address"#; "a blank")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0/16"}}"#, r#".ipBlock.cidr: "10.0/16": not an address"#; "short form")]
#[test_case(r#"{"ipBlock":{"cidr":"fe80::%eth0/64"}}"#, r#".ipBlock.cidr: "fe80::%eth0/64": not an address"#; "an address zone")]
#[test_case(r#"{"ipBlock":{"cidr":"::ffff:10.0.0.0/104"}}"#, r#".ipBlock.cidr: "::ffff:10.0.0.0/104": an IPv4 address inside IPv6; write it as IPv4"#; "version 4 inside version 6")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/8","except":["11.0.0.0/16"]}}"#, r#".ipBlock.except[0]: "11.0.0.0/16": not inside 10.0.0.0/8"#; "exception outside")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.0.0.0/7"]}}"#, r#".ipBlock.except[0]: "10.0.0.0/7": not inside 10.0.0.0/8"#; "exception wider than the block")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.0.0.1/8"]}}"#, r#".ipBlock.except[0]: "10.0.0.1/8": takes out all of 10.0.0.0/8"#; "exception equal to the block")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/8","except":["fd00::/16"]}}"#, r#".ipBlock.except[0]: "fd00::/16": not inside 10.0.0.0/8"#; "exception of the other family")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16","10.2.0.0"]}}"#, r#".ipBlock.except[1]: "10.2.0.0": no prefix length"#; "one bad exception of two")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/8","except":[null]}}"#, ".ipBlock.except[0]: missing"; "null exception")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/8","except":"10.1.0.0/16"}}"#, r#".ipBlock.except: invalid type: string "10.1.0.0/16", expected a sequence"#; "exceptions type")]
#[test_case(r#"{"ipBlock":{"cidr":"10.0.0.0/8","exept":["10.1.0.0/16"]}}"#, ".ipBlock.exept: unknown field"; "misspelt exceptions")]
fn an_unusable_peer_matches_nothing_and_the_others_stand(bad: &str, problem: &str) {
    let good = r#"{"podSelector":{"matchLabels":{"ok":"yes"}}}"#;
    let policy = read(&format!(r#"{{"ingress":[{{"from":[{good},{bad}]}},{{"from":[{bad}]}}]}}"#));
    assert_eq!(rules_of(policy.ingress.as_deref()), "ok=yes of shop on any; nobody on any");
    let wanted = ["spec.ingress[0].from[1]", "spec.ingress[1].from[0]"].map(|at| format!("{at}{problem}"));
    assert_eq!(problems_of(&policy), wanted);
}

#[test_case("{}", "tcp"; "an empty entry is all of TCP")]
#[test_case(r#"{"protocol":"UDP"}"#, "udp"; "a protocol alone")]
#[test_case(r#"{"protocol":"SCTP","port":7}"#, "sctp/7"; "sctp")]
#[test_case(r#"{"protocol":null,"port":80}"#, "tcp/80"; "a null protocol is TCP")]
#[test_case(r#"{"port":80,"endPort":null}"#, "tcp/80"; "a null end is absent")]
#[test_case(r#"{"port":1,"endPort":65535}"#, "tcp/1-65535"; "a range with both boundaries")]
#[test_case(r#"{"port":80,"endPort":80}"#, "tcp/80"; "a range of one")]
#[test_case(r#"{"port":"http-2"}"#, "tcp/http-2"; "a name")]
#[test_case(r#"{"protocol":"UDP","port":"dns"}"#, "udp/dns"; "a name of another protocol")]
fn ports_are_read(port: &str, wanted: &str) {
    let policy = read(&format!(r#"{{"ingress":[{{"ports":[{port}]}}]}}"#));
    assert_eq!(rules_of(policy.ingress.as_deref()), format!("any on {wanted}"));
    assert_eq!(problems_of(&policy), [""; 0]);
}

#[test]
fn a_text_of_digits_is_a_name_and_is_named_as_a_slip() {
    let policy = read(r#"{"ingress":[{"ports":[{"port":"80"}]}]}"#);
    assert_eq!(rules_of(policy.ingress.as_deref()), "any on tcp/80");
    assert!(matches!(&policy.ingress, Some(rules) if matches!(&rules[0].ports, Ports::Listed(ports)
        if matches!(&ports[0].numbers, PortNumbers::Named(name) if &**name == "80"))));
    let wanted = r#"spec.ingress[0].ports[0].port: "80": a number in quotes is a name, which no port has"#;
    assert_eq!(problems_of(&policy), [wanted]);
}

#[test_case("null", ": null is not a port"; "null")]
#[test_case("80", ": invalid type: integer `80`, expected an object"; "a number")]
#[test_case(r#"{"protocol":"tcp","port":80}"#, r#".protocol: "tcp": not one of TCP, UDP, SCTP"#; "protocol in lower case")]
#[test_case(r#"{"protocol":"ICMP"}"#, r#".protocol: "ICMP": not one of TCP, UDP, SCTP"#; "another protocol")]
#[test_case(r#"{"protocol":""}"#, r#".protocol: "": not one of TCP, UDP, SCTP"#; "empty protocol")]
#[test_case(r#"{"protocol":6}"#, ".protocol: invalid type: integer `6`, expected a string"; "protocol number")]
#[test_case(r#"{"port":0}"#, ".port: 0: not a port from 1 to 65535"; "port 0")]
#[test_case(r#"{"port":-1}"#, ".port: -1: not a port from 1 to 65535"; "negative port")]
#[test_case(r#"{"port":65536}"#, ".port: 65536: not a port from 1 to 65535"; "port over 16 bits")]
#[test_case(r#"{"port":18446744073709551615}"#, ".port: 9223372036854775807: not a port from 1 to 65535"; "a huge port")]
#[test_case(r#"{"port":80.5}"#, ".port: invalid type: floating point `80.5`, expected a whole number or a string"; "a fraction")]
#[test_case(r#"{"port":[80]}"#, ".port: invalid type: sequence, expected a whole number or a string"; "a list of ports")]
#[test_case(r#"{"port":""}"#, r#".port: "": not a port name"#; "empty name")]
#[test_case(r#"{"port":"HTTP"}"#, r#".port: "HTTP": not a port name"#; "upper case name")]
#[test_case(r#"{"port":"sixteen-letters-"}"#, r#".port: "sixteen-letters-": not a port name"#; "long name")]
#[test_case(r#"{"port":80,"endPort":79}"#, ".endPort: 79: below port 80"; "a range backwards")]
#[test_case(r#"{"port":80,"endPort":0}"#, ".endPort: 0: not a port from 1 to 65535"; "a range to 0")]
#[test_case(r#"{"port":80,"endPort":65536}"#, ".endPort: 65536: not a port from 1 to 65535"; "a range over 16 bits")]
#[test_case(r#"{"port":80,"endPort":"90"}"#, r#".endPort: invalid type: string "90", expected i64"#; "end in quotes")]
#[test_case(r#"{"port":"http","endPort":90}"#, ".endPort: cannot follow a named port"; "a range from a name")]
#[test_case(r#"{"endPort":90}"#, ".endPort: needs a numeric port to start from"; "an end without a start")]
#[test_case(r#"{"port":80,"ports":[81]}"#, ".ports: unknown field"; "a field that is not known")]
fn an_unusable_port_matches_nothing_and_the_others_stand(bad: &str, problem: &str) {
    let policy = read(&format!(r#"{{"egress":[{{"ports":[{bad},{{"port":443}}]}},{{"ports":[{bad}]}}]}}"#));
    assert_eq!(rules_of(policy.egress.as_deref()), "any on tcp/443; any on none");
    let wanted = ["spec.egress[0].ports[0]", "spec.egress[1].ports[0]"].map(|at| format!("{at}{problem}"));
    assert_eq!(problems_of(&policy), wanted);
}

#[test_case(r#"{"ingress":[null,{"ports":[{"port":1}]}]}"#, "any on tcp/1", "spec.ingress[0]: null is not a rule"; "a null rule allows nothing")]
#[test_case(r#"{"ingress":["any",{"ports":[{"port":1}]}]}"#, "any on tcp/1", r#"spec.ingress[0]: invalid type: string "any", expected an object"#; "a rule of the wrong type")]
#[test_case(r#"{"ingress":[{"form":[{"podSelector":{}}]}]}"#, "shut", "spec.ingress[0].form: unknown field"; "a misspelt peer list does not allow everyone")]
#[test_case(r#"{"ingress":[{"to":[{"podSelector":{}}]}]}"#, "shut", "spec.ingress[0].to: unknown field"; "peers of the other direction do not allow everyone")]
#[test_case(r#"{"ingress":[{"from":{"podSelector":{}}}]}"#, "nobody on any", "spec.ingress[0].from: invalid type: map, expected a sequence"; "peers of the wrong type are nobody")]
#[test_case(r#"{"ingress":[{"ports":80}]}"#, "any on none", "spec.ingress[0].ports: invalid type: integer `80`, expected a sequence"; "ports of the wrong type are none")]
#[test_case(r#"{"ingress":{"from":[]}}"#, "shut", "spec.ingress: invalid type: map, expected a sequence"; "rules of the wrong type allow nothing")]
#[test_case(r#"{"ingres":[{}]}"#, "shut", "spec.ingres: unknown field"; "a misspelt direction allows nothing")]
fn an_unusable_rule_allows_nothing(spec: &str, ingress: &str, problem: &str) {
    let policy = read(spec);
    assert_eq!(rules_of(policy.ingress.as_deref()), ingress);
    assert_eq!(problems_of(&policy), [problem]);
}

#[test_case(r#"{"egress":{}}"#; "rules of the wrong type imply egress")]
#[test_case(r#"{"egress":[null]}"#; "a null rule implies egress")]
fn unusable_egress_rules_isolate_egress(spec: &str) {
    assert_eq!(read(spec).egress, Some(Vec::new()));
}

#[test]
fn a_spec_of_the_wrong_type_isolates_both_ways() {
    let policy = read(r#""allow all""#);
    assert_eq!((&policy.ingress, &policy.egress), (&Some(Vec::new()), &Some(Vec::new())));
    assert_eq!(problems_of(&policy), [r#"spec: invalid type: string "allow all", expected an object"#]);
}

#[test]
fn a_repeated_field_fails_closed() {
    let policy = read(r#"{"ingress":[{"from":[{"podSelector":{"matchLabels":{"a":"x"}}}],"from":[]}]}"#);
    assert_eq!(rules_of(policy.ingress.as_deref()), "shut");
    assert_eq!(problems_of(&policy), ["spec.ingress[0]: duplicate field `from`"]);
}

#[test]
fn ten_thousand_bad_peers_are_counted_not_listed() {
    let bad = alloc::vec![r#"{"ipBlock":{"cidr":"x"}}"#; 10_000].join(",");
    let policy = read(&format!(r#"{{"ingress":[{{"from":[{bad}]}}]}}"#));
    assert_eq!(rules_of(policy.ingress.as_deref()), "nobody on any");
    assert_eq!(policy.problems.len(), PROBLEMS_MAX + 1);
    let last = policy.problems.last().unwrap();
    assert_eq!(
        last.to_string(),
        "spec.ingress[0].from[63].ipBlock.cidr: 9936 more problems after this one are not listed"
    );
}

#[test]
fn a_huge_text_is_quoted_by_its_beginning() {
    let huge = "é".repeat(1 << 19);
    let policy =
        read(&format!(r#"{{"ingress":[{{"from":[{{"ipBlock":{{"cidr":"{huge}"}}}}]}}],"{huge}":1}}"#));
    let annotated = parse(NamespacedName::new("shop", "web"), Some(&huge), &Field::Absent);
    for problem in policy.problems.iter().chain(&annotated.problems) {
        assert!(problem.to_string().len() < 400, "{} bytes", problem.to_string().len());
    }
}

#[test]
fn control_characters_in_names_are_escaped() {
    let policy = read(r#"{"ingress":[{"a\n\u001b[31m":1}],"podSelector":{"matchLabels":{"b\n":1}}}"#);
    let wanted = [
        "spec.podSelector.matchLabels[b\\n]: invalid type: integer `1`, expected a string",
        "spec.ingress[0].a\\n\\u{1b}[31m: unknown field",
    ];
    assert_eq!(problems_of(&policy), wanted);
}

#[test]
fn a_megabyte_of_networks_is_read_once_each() {
    let text = "a,".repeat(1 << 19);
    let policy = parse(NamespacedName::new("shop", "web"), Some(&text), &Field::Absent);
    assert_eq!(policy.networks.len(), 1);
}

#[test_case(None, None, &[]; "none")]
#[test_case(Some("drop"), Some(LogWish::Drop), &[]; "drops")]
#[test_case(Some(" all\n"), Some(LogWish::All), &[]; "all with blanks around it")]
#[test_case(Some(""), None, &["\"\": not one of drop, all; nothing is logged"]; "an empty one")]
#[test_case(Some("Drop"), None, &["\"Drop\": not one of drop, all; nothing is logged"]; "in other letters")]
#[test_case(Some("drop,all"), None, &["\"drop,all\": not one of drop, all; nothing is logged"]; "a list")]
fn wishes_for_a_log(annotation: Option<&str>, wanted: Option<LogWish>, reasons: &[&str]) {
    let mut problems = Problems::default();
    assert_eq!(log_wish(annotation, &mut problems), wanted);
    let named: Vec<String> = problems.into_list().iter().map(ToString::to_string).collect();
    let at = |reason: &&str| format!("metadata.annotations[mnp-nft-bridge.io/log]: {reason}");
    assert_eq!(named, reasons.iter().map(at).collect::<Vec<_>>());
}

#[test_case("a", true; "one letter")]
#[test_case("app.kubernetes.io/name", true; "prefixed")]
#[test_case("a_b-c.D", true; "all characters")]
#[test_case("", false; "empty")]
#[test_case("a/b/c", false; "two slashes")]
#[test_case("/a", false; "empty prefix")]
#[test_case("Example.com/a", false; "upper case prefix")]
#[test_case("a..b/c", false; "empty part of the prefix")]
#[test_case("a b", false; "blank")]
#[test_case("é", false; "another letter")]
fn label_keys(text: &str, valid: bool) {
    assert_eq!(syntax::is_label_key(text), valid);
}

#[test]
fn names_have_lengths() {
    assert!(syntax::is_label_key(&"a".repeat(63)) && !syntax::is_label_key(&"a".repeat(64)));
    assert!(syntax::is_label_value("") && !syntax::is_label_value(&"a".repeat(64)));
    assert!(syntax::is_dns_label(&"a".repeat(63)) && !syntax::is_dns_label(&"a".repeat(64)));
    assert!(syntax::is_dns_name(&"a".repeat(253)) && !syntax::is_dns_name(&"a".repeat(254)));
    assert!(syntax::is_port_name("http") && !syntax::is_port_name("a--b") && !syntax::is_port_name("80"));
}
