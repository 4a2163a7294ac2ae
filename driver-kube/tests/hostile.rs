//! Text that somebody made to hurt: nothing panics, and what is said about it stays short.

use driver_kube::manifest::read;
use driver_kube::{Manifest, Options};
use policy_core::model::Object;
use policy_core::spec::PROBLEMS_MAX;
use proptest::prelude::*;
use serde_json::{Value, json};

const STATUS: &str = r#"[{"name":"cbr0","interface":"eth0","ips":["10.244.0.5"],"default":true},{"name":"shop/data","interface":"net1","ips":["10.10.0.5","fd00::5"],"mac":"02:00:00:00:00:05"},{"name":"data","mtu":1400}]"#;
const CONFIG: &str = r#"{"cniVersion":"1.0.0","name":"data","plugins":[{"type":"bridge","bridge":"br-data","vlan":7,"ipam":{"type":"dhcp"}},{"type":"tuning"}]}"#;
const SPEC: &str = r#"{"podSelector":{"matchLabels":{"a":"b"}},"policyTypes":["Ingress"],"ingress":[{"from":[{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16"]}},{"podSelector":{"matchExpressions":[{"key":"a","operator":"In","values":["b"]}]}}],"ports":[{"port":80,"endPort":90},{"port":"http","protocol":"UDP"}]}]}"#;
const NETWORKS: &str = "data, shop/blue , infra/tap";

/// The three objects that carry foreign text, with these texts in them.
fn objects(status: &str, config: &str, spec: &Value, networks: &str) -> [Value; 3] {
    [
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "annotations": {"k8s.v1.cni.cncf.io/network-status": status}}}),
        json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "data"}, "spec": {"config": config}}),
        json!({"apiVersion": "k8s.cni.cncf.io/v1beta1", "kind": "MultiNetworkPolicy", "metadata": {"name": "web", "annotations": {"k8s.v1.cni.cncf.io/policy-for": networks}}, "spec": spec}),
    ]
}

/// Converts them; says how many bytes of problems there are at most.
fn longest_complaint(objects: [Value; 3]) -> usize {
    let options = Options { config_directory: None, ..Options::default() };
    let complaints = objects.map(|value| {
        let converted = Manifest::from_value(value).expect("the manifest around the text").object(&options);
        assert!(converted.problems.len() <= PROBLEMS_MAX + 1);
        converted.problems.iter().map(|problem| problem.to_string().len()).max().unwrap_or_default()
    });
    complaints.into_iter().max().unwrap_or_default()
}

/// A text with some pieces cut out, doubled or replaced.
fn damaged(text: &'static str) -> BoxedStrategy<String> {
    let cut = (
        0..=text.len(),
        0_usize..12,
        prop_oneof![Just(String::new()), any::<String>(), "[\\[\\]{}\":,0-9a-z]{0,8}"],
    );
    let damage = |text: &str, (at, length, put): (usize, usize, String)| {
        let at = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((at + length).min(text.len()));
        let (before, rest) = text.split_at(at);
        let (_, after) = rest.split_at(end - at);
        format!("{before}{put}{after}")
    };
    let all = move |cuts: Vec<(usize, usize, String)>| {
        cuts.into_iter().fold(text.to_owned(), |text, cut| damage(&text, cut))
    };
    prop::collection::vec(cut, 0..4).prop_map(all).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damaged_texts_never_panic(
        status in damaged(STATUS),
        config in damaged(CONFIG),
        spec in damaged(SPEC),
        networks in damaged(NETWORKS),
    ) {
        let spec = serde_json::from_str(&spec).unwrap_or(Value::Null);
        prop_assert!(longest_complaint(objects(&status, &config, &spec, &networks)) < 2000);
    }

    #[test]
    fn damaged_files_never_panic(text in damaged(FILE)) {
        for mistake in read(&text, "file").mistakes {
            prop_assert!(mistake.to_string().len() < 2000);
        }
    }
}

const FILE: &str = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: a\n    labels: {b: c}\n- &x\n  apiVersion: k8s.cni.cncf.io/v1beta1\n  kind: MultiNetworkPolicy\n  metadata: {name: b, annotations: {k8s.v1.cni.cncf.io/policy-for: \"d\"}}\n  spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}\n- *x\n---\n# end\n";

#[test]
fn undamaged_texts_have_no_problems() {
    let spec = serde_json::from_str(SPEC).expect("the spec is JSON");
    assert_eq!(longest_complaint(objects(STATUS, CONFIG, &spec, NETWORKS)), 0);
    assert_eq!(read(FILE, "file").mistakes, []);
    assert_eq!(read(FILE, "file").manifests.len(), 3);
}

#[test]
fn a_megabyte_in_any_place_is_quoted_by_its_beginning() {
    let huge = "x ".repeat(1 << 19);
    let status =
        json!([{"name": "data", "mac": huge, "interface": huge, "ips": [huge]}, huge, {"name": huge}])
            .to_string();
    let configs = [
        huge.clone(),
        json!({"type": "bridge", "bridge": huge}).to_string(),
        json!({"type": "bridge", "vlan": huge}).to_string(),
        json!({"plugins": [{"type": "bridge", "ipam": {"type": [huge]}}]}).to_string(),
    ];
    let spec = json!({"podSelector": huge, "ingress": [{"from": huge, "ports": [{"port": huge}]}], (huge.clone()): huge});
    for config in configs {
        assert!(longest_complaint(objects(&status, &config, &spec, &huge)) < 1000);
    }
    let file = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a, labels: \"{huge}\"}}\n---\nkind: \"{huge}\"\napiVersion: \"{huge}\"\n---\n{{apiVersion: v1, kind: Pod, metadata: {{name: \"{huge}\"}}}}\n"
    );
    let mistakes = read(&file, "file").mistakes;
    assert_eq!(mistakes.len(), 3);
    assert!(mistakes.iter().all(|mistake| mistake.to_string().len() < 1000));
}

#[test]
fn ten_thousand_peers_and_attachments_are_all_read() {
    let peer = |at: usize| json!({"ipBlock": {"cidr": format!("10.{}.{}.0/24", at / 256, at % 256)}});
    let spec = json!({"ingress": [{"from": (0..10_000).map(peer).collect::<Vec<_>>()}]});
    let entry = |at: usize| json!({"name": "data", "interface": format!("net{at}")});
    let status = Value::from((0..10_000).map(entry).collect::<Vec<_>>()).to_string();
    let [pod, _, policy] = objects(&status, CONFIG, &spec, NETWORKS);
    let converted =
        |value| Manifest::from_value(value).expect("a manifest").object(&Options::default()).object;
    let Object::Pod(pod) = converted(pod) else { panic!("not a pod") };
    assert_eq!(pod.attachments.len(), 10_000);
    let Object::Policy(policy) = converted(policy) else { panic!("not a policy") };
    let rules = policy.ingress.expect("the policy isolates ingress");
    assert!(
        matches!(&rules[..], [rule] if matches!(&rule.peers, policy_core::model::Peers::Listed(peers) if peers.len() == 10_000))
    );
}
