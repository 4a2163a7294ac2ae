//! What becomes of the API's objects: sections 1 to 3 of the contract as far as conversion decides them.

extern crate alloc;

use driver_kube::{Converted, Manifest, Options};
use policy_core::model::{
    BridgeNetwork, Guard, LogWish, Namespace, NamespacedName, NetworkConfig, Object, Pod,
};
use serde_json::{Value, json};
use test_case::test_case;

fn convert(value: Value) -> Converted {
    let options = Options { config_directory: None, ..Options::default() };
    Manifest::from_value(value).expect("the test's manifest").object(&options)
}

fn problems(converted: &Converted) -> Vec<String> {
    converted.problems.iter().map(ToString::to_string).collect()
}

fn pod(value: Value) -> (Pod, Vec<String>) {
    let converted = convert(value);
    let problems = problems(&converted);
    let Object::Pod(pod) = converted.object else { panic!("not a pod") };
    (pod, problems)
}

/// A running pod `shop/web` with this network status.
fn with_status(status: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop",
            "annotations": {"k8s.v1.cni.cncf.io/network-status": status, "other": "x"}},
        "spec": {"nodeName": "node-1", "containers": []},
        "status": {"phase": "Running"}
    })
}

/// Each attachment as `network interface mac addresses`.
fn attachments(pod: &Pod) -> Vec<String> {
    let text = |attachment: &policy_core::model::Attachment| {
        let mac = attachment.mac.map_or_else(|| "-".into(), |mac| mac.to_string());
        let addresses: Vec<String> = attachment.addresses.iter().map(ToString::to_string).collect();
        format!("{} {} {mac} {}", attachment.network, attachment.interface, addresses.join(","))
    };
    pod.attachments.iter().map(text).collect()
}

#[test]
fn attachments_are_the_entries_that_name_a_network() {
    let status = r#"[
      {"name": "cbr0", "interface": "eth0", "ips": ["10.244.0.5"], "mac": "0a:58:0a:f4:00:05", "default": true, "dns": {}},
      {"name": "shop/data", "interface": "net1", "ips": ["10.10.0.5", "fd00:10::5"], "mac": "02:00:00:00:00:05", "dns": {}},
      {"name": "shop/data", "interface": "net2", "mac": "02-00-00-00-00-06", "mtu": 1400},
      {"name": "data", "interface": "net3", "gateway": ["10.10.0.1"]},
      {"name": "infra/tap", "device-info": {"type": "pci"}}
    ]"#;
    let (pod, problems) = pod(with_status(status));
    let wanted = [
        "shop/data net1 02:00:00:00:00:05 10.10.0.5,fd00:10::5",
        "shop/data net2 02:00:00:00:00:06 ",
        "shop/data net3 - ",
        "infra/tap  - ",
    ];
    assert_eq!(attachments(&pod), wanted);
    assert_eq!(problems, [""; 0]);
    assert_eq!(pod.node.as_deref(), Some("node-1"));
}

#[test_case(r#"[{"name":"","default":true}]"#, &[], &[]; "an empty name is no network")]
#[test_case(r#"[{"name":"My network"}]"#, &[], &[]; "a free-form name is no network")]
#[test_case(r#"[{"name":"infra/main","default":true,"interface":"eth0"}]"#, &["infra/main eth0 - "], &[]; "a default network that is a definition")]
#[test_case(r#"[{"name":"data","default":false}]"#, &["shop/data  - "], &[]; "not the default network")]
#[test_case(r#"[{"interface":"eth0"}]"#, &[], &[]; "no name")]
#[test_case("[]", &[], &[]; "no interfaces")]
#[test_case("", &[], &[]; "an empty annotation")]
#[test_case(r#"[{"name":"data","ips":null,"mac":null}]"#, &["shop/data  - "], &[]; "null fields are absent")]
#[test_case(r#"[{"name":"data","mac":""}]"#, &["shop/data  - "], &[]; "an empty mac is absent")]
#[test_case(r#"[{"name":"data","ips":["::ffff:10.0.0.1"]}]"#, &["shop/data  - 10.0.0.1"], &[]; "version 4 inside version 6 is version 4")]
#[test_case(r#"[{"name":"data","ips":["10.0.0.1","10.0.0.2/24"]}]"#, &["shop/data  - 10.0.0.1"], &[r#"[0].ips[1]: "10.0.0.2/24": not an address"#]; "a prefix is no address")]
#[test_case(r#"[{"name":"data","ips":"10.0.0.1"}]"#, &["shop/data  - "], &[r#"[0].ips: invalid type: string "10.0.0.1", expected a sequence"#]; "addresses of the wrong type")]
#[test_case(r#"[{"name":"data","mac":"02:00"}]"#, &["shop/data  - "], &[r#"[0].mac: "02:00": not an ethernet address of six hexadecimal bytes"#]; "a short mac")]
#[test_case(r#"[{"name":"data","mac":2}]"#, &["shop/data  - "], &["[0].mac: invalid type: integer `2`, expected a string"]; "a mac of the wrong type")]
#[test_case(r#"[{"name":"data","interface":"a name that is too long"}]"#, &["shop/data  - "], &[r#"[0].interface: "a name that is too long": not an interface name"#]; "an interface that cannot be")]
#[test_case(r#"[{"name":7},{"name":"data"}]"#, &["shop/data  - "], &["[0].name: invalid type: integer `7`, expected a string"]; "a name of the wrong type costs its entry")]
#[test_case(r#"["x",null,{"name":"data"}]"#, &["shop/data  - "], &[r#"[0]: invalid type: string "x", expected an object"#, "[1]: null is not an interface"]; "bad entries cost themselves")]
#[test_case("{}", &[], &[": not a JSON list of interfaces: invalid type: map, expected a sequence at line 1 column 0"]; "an object instead of a list")]
#[test_case("[{", &[], &[": not a JSON list of interfaces: EOF while parsing an object at line 1 column 2"]; "broken JSON")]
fn statuses_are_read(status: &str, wanted: &[&str], named: &[&str]) {
    let (pod, problems) = pod(with_status(status));
    assert_eq!(attachments(&pod), wanted);
    let path = "metadata.annotations[k8s.v1.cni.cncf.io/network-status]";
    let named: Vec<String> = named.iter().map(|problem| format!("{path}{problem}")).collect();
    assert_eq!(problems, named);
}

#[test]
fn deep_json_is_refused_and_not_followed() {
    let deep = "[".repeat(1 << 20);
    let (pod, problems) = pod(with_status(&deep));
    assert!(attachments(&pod).is_empty());
    assert!(problems[0].contains("recursion limit exceeded"), "{problems:?}");
}

#[test]
fn the_old_annotation_counts_where_the_new_one_is_absent() {
    let old = "k8s.v1.cni.cncf.io/networks-status";
    let annotated = |new: Value| json!({"metadata": {"annotations": {old: r#"[{"name":"shop/data"}]"#, "k8s.v1.cni.cncf.io/network-status": new}}});
    let mut value = with_status("[]");
    driver_kube::merge_patch(&mut value, &annotated(Value::Null));
    assert_eq!(attachments(&pod(value.clone()).0), ["shop/data  - "]);
    driver_kube::merge_patch(&mut value, &annotated(json!("[]")));
    assert!(pod(value).0.attachments.is_empty());
}

#[test_case(&json!({"status": {"phase": "Succeeded"}}); "a succeeded pod")]
#[test_case(&json!({"status": {"phase": "Failed"}}); "a failed pod")]
#[test_case(&json!({"spec": {"hostNetwork": true}}); "a pod on the host network")]
#[test_case(&json!({"metadata": {"annotations": null}}); "a pod without annotations")]
#[test_case(&json!({"metadata": {"annotations": {"k8s.v1.cni.cncf.io/network-status": null}}}); "a pod without status")]
fn pods_without_attachments(patch: &Value) {
    let mut value = with_status(r#"[{"name":"shop/data","mac":"02:00:00:00:00:05"}]"#);
    assert_eq!(pod(value.clone()).0.attachments.len(), 1, "the control");
    driver_kube::merge_patch(&mut value, patch);
    assert!(pod(value).0.attachments.is_empty());
}

#[test_case("Running"; "running")]
#[test_case("Pending"; "pending, with running sidecars")]
#[test_case("Unknown"; "on a node that is away")]
fn pods_with_attachments(phase: &str) {
    let mut value = with_status(r#"[{"name":"shop/data"}]"#);
    driver_kube::merge_patch(&mut value, &json!({"status": {"phase": phase}}));
    assert_eq!(pod(value).0.attachments.len(), 1);
}

#[test]
fn named_ports_come_from_all_containers() {
    let mut value = with_status(r#"[{"name":"shop/data"}]"#);
    let spec = json!({
        "initContainers": [{"restartPolicy": "Always", "ports": [{"name": "metrics", "containerPort": 9090}]}],
        "containers": [
            {"ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}, {"containerPort": 81}]},
            {"name": "dns", "ports": [{"name": "http", "containerPort": 8081}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]},
            {"ports": [{"name": "sig", "containerPort": 3868, "protocol": "SCTP"}, {"name": "", "containerPort": 1}]},
            {"ports": null}, {}
        ]
    });
    driver_kube::merge_patch(&mut value, &json!({"spec": spec}));
    let (pod, problems) = pod(value);
    let ports: Vec<String> =
        pod.ports.iter().map(|port| format!("{} {}/{}", port.name, port.protocol, port.port)).collect();
    assert_eq!(ports, ["metrics tcp/9090", "http tcp/8080", "http tcp/8081", "dns udp/53", "sig sctp/3868"]);
    assert_eq!(problems, [""; 0]);
}

#[test_case(&json!({"name": "a", "containerPort": 0}), "containerPort: 0: not a port from 1 to 65535"; "port 0")]
#[test_case(&json!({"name": "a", "containerPort": 70000}), "containerPort: 70000: not a port from 1 to 65535"; "port over 16 bits")]
#[test_case(&json!({"name": "a", "containerPort": 80, "protocol": "tcp"}), "protocol: not one of TCP, UDP, SCTP"; "protocol in lower case")]
fn an_unusable_container_port_is_left_out(bad: &Value, problem: &str) {
    let mut value = with_status(r#"[{"name":"shop/data"}]"#);
    let containers = json!([{"ports": [bad, {"name": "b", "containerPort": 2}]}]);
    driver_kube::merge_patch(&mut value, &json!({"spec": {"containers": containers}}));
    let (pod, problems) = pod(value);
    assert_eq!(pod.ports.len(), 1);
    assert_eq!(problems, [format!("spec.containers[0].ports[0].{problem}")]);
}

#[test]
fn a_namespace_has_its_name_as_a_label() {
    for labels in
        [json!(null), json!({}), json!({"kubernetes.io/metadata.name": "other"}), json!({"team": "a"})]
    {
        let wanted = labels.get("team").map(|_| "a");
        let converted = convert(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}),
        );
        let Object::Namespace(Namespace { name, labels, log: None }) = converted.object else {
            panic!("not a namespace")
        };
        assert_eq!(&*name, "shop");
        assert_eq!(labels.get("kubernetes.io/metadata.name").map(|value| &**value), Some("shop"));
        assert_eq!(labels.get("team").map(|value| &**value), wanted);
    }
}

/// A network with this configuration, and this guard annotation.
fn network(config: &Value, guard: &Value) -> (NetworkConfig, Vec<String>) {
    let converted = convert(json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "data", "namespace": "shop", "annotations": {"mnp-nft-bridge.io/guard": guard}},
        "spec": {"config": config}
    }));
    let problems = problems(&converted);
    let Object::Network(network) = converted.object else { panic!("not a network") };
    assert_eq!(network.id, NamespacedName::new("shop", "data"));
    (network.config, problems)
}

fn bridge(name: &str, vlan: Option<u16>, dhcp: bool) -> NetworkConfig {
    NetworkConfig::Bridge(BridgeNetwork { bridge: name.into(), vlan, dhcp, guard: None })
}

#[test_case(r#"{"cniVersion":"0.3.1","type":"bridge","bridge":"br-data"}"#, bridge("br-data", None, false); "single plugin")]
#[test_case(r#"{"type":"bridge"}"#, bridge("cni0", None, false); "the plugin's default bridge")]
#[test_case(r#"{"type":"bridge","bridge":""}"#, bridge("cni0", None, false); "an empty bridge is the default")]
#[test_case(r#"{"type":"cnv-bridge","bridge":"br1","vlan":100}"#, bridge("br1", Some(100), false); "the plugin of KubeVirt, with a VLAN")]
#[test_case(r#"{"type":"bridge","bridge":"br1","vlan":0}"#, bridge("br1", None, false); "VLAN 0 is none")]
#[test_case(r#"{"type":"bridge","bridge":"br1","ipam":{"type":"dhcp"}}"#, bridge("br1", None, true); "dhcp")]
#[test_case(r#"{"type":"bridge","bridge":"br1","ipam":{}}"#, bridge("br1", None, false); "no ipam")]
#[test_case(r#"{"type":"bridge","bridge":"br1","ipam":{"type":"host-local","subnet":"10.10.0.0/24"}}"#, bridge("br1", None, false); "another ipam")]
#[test_case(r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge","bridge":"br2"},{"type":"tuning"}]}"#, bridge("br2", None, false); "a list")]
#[test_case(r#"{"plugins":[{"type":"macvlan","master":"eth0"},{"type":"bridge"}]}"#, NetworkConfig::Other { plugin: "macvlan".into() }; "the first plugin of a list is the main one")]
#[test_case(r#"{"type":"macvlan"}"#, NetworkConfig::Other { plugin: "macvlan".into() }; "another plugin")]
#[test_case(r#"{"type":"ovs","vlan":"any","bridge":7}"#, NetworkConfig::Other { plugin: "ovs".into() }; "another plugin's keys are its own")]
fn cni_configurations_are_read(config: &str, wanted: NetworkConfig) {
    assert_eq!(network(&json!(config), &Value::Null), (wanted, Vec::new()));
}

#[test_case(&json!("{"), "configuration is not JSON: EOF while parsing an object at line 1 column 1"; "broken JSON")]
#[test_case(&json!("[]"), "configuration field type: missing"; "a list at the top")]
#[test_case(&json!("{}"), "configuration field type: missing"; "no type")]
#[test_case(&json!(r#"{"type":7}"#), "configuration field type: not the name of a plugin"; "type of the wrong type")]
#[test_case(&json!(r#"{"plugins":[]}"#), "configuration field plugins: not a list of plugins"; "an empty list")]
#[test_case(&json!(r#"{"plugins":{}}"#), "configuration field plugins: not a list of plugins"; "no list")]
#[test_case(&json!(r#"{"plugins":[{"name":"x"}]}"#), "configuration field plugins[0].type: missing"; "a list without a type")]
#[test_case(&json!(r#"{"type":"bridge","bridge":"a name that is too long"}"#), r#"configuration field bridge: "a name that is too long" is not an interface name"#; "no interface name")]
#[test_case(&json!(r#"{"type":"bridge","bridge":1}"#), "configuration field bridge: invalid type: integer `1`, expected a string"; "bridge of the wrong type")]
#[test_case(&json!(r#"{"type":"bridge","vlan":4095}"#), "configuration field vlan: 4095: not a VLAN from 1 to 4094"; "VLAN too large")]
#[test_case(&json!(r#"{"type":"bridge","vlan":-1}"#), "configuration field vlan: -1: not a VLAN from 1 to 4094"; "VLAN negative")]
#[test_case(&json!(r#"{"plugins":[{"type":"bridge","ipam":{"type":1}}]}"#), "configuration field plugins[0].ipam.type: invalid type: integer `1`, expected a string"; "ipam of the wrong type")]
#[test_case(&json!({"type": "bridge"}), "configuration field spec.config: invalid type: map, expected a string"; "an object instead of a text")]
#[test_case(&json!(""), "configuration is empty and no configuration directory is known"; "empty without a directory")]
#[test_case(&json!(null), "configuration is empty and no configuration directory is known"; "null without a directory")]
fn unreadable_cni_configurations_are_named(config: &Value, reason: &str) {
    let (config, problems) = network(config, &Value::Null);
    assert_eq!(config, NetworkConfig::Unreadable { reason: reason.into() });
    assert_eq!(problems, [format!("spec.config: {reason}")]);
}

#[test_case(&json!(null), None, &[]; "none")]
#[test_case(&json!("mac"), Some(Guard::Mac), &[]; "mac")]
#[test_case(&json!(" mac-ip "), Some(Guard::MacIp), &[]; "mac and address")]
#[test_case(&json!("MAC"), Some(Guard::MacIp), &[r#"metadata.annotations[mnp-nft-bridge.io/guard]: "MAC": not one of mac, mac-ip; taken as mac-ip"#]; "a misspelt guard is the strictest")]
fn guards_are_read(annotation: &Value, wanted: Option<Guard>, named: &[&str]) {
    let (config, problems) = network(&json!(r#"{"type":"bridge"}"#), annotation);
    let NetworkConfig::Bridge(bridge) = config else { panic!("not a bridge") };
    assert_eq!(bridge.guard, wanted);
    assert_eq!(problems, named);
}

/// A policy and a namespace with this annotation: what they want logged, and how many problems each has.
fn wishes(annotation: &Value) -> [(Option<LogWish>, usize); 2] {
    let annotations = json!({"k8s.v1.cni.cncf.io/policy-for": "data", "mnp-nft-bridge.io/log": annotation});
    let policy = convert(json!({
        "apiVersion": "k8s.cni.cncf.io/v1beta1", "kind": "MultiNetworkPolicy",
        "metadata": {"name": "web", "namespace": "shop", "annotations": annotations}, "spec": {"podSelector": {}},
    }));
    let namespace = convert(json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": annotations},
    }));
    [policy, namespace].map(|converted| match converted.object {
        Object::Policy(policy) => {
            assert_eq!(policy.problems, converted.problems, "the core reports a policy's problems");
            (policy.log, converted.problems.len())
        }
        Object::Namespace(namespace) => (namespace.log, converted.problems.len()),
        Object::Network(_) | Object::Pod(_) | Object::Port(_) => panic!("another kind"),
    })
}

#[test_case(&json!(null), None, 0; "none")]
#[test_case(&json!("drop"), Some(LogWish::Drop), 0; "drops")]
#[test_case(&json!("all"), Some(LogWish::All), 0; "all")]
#[test_case(&json!("yes"), None, 1; "what nobody knows")]
fn wishes_for_a_log_are_read_of_policies_and_namespaces(
    annotation: &Value,
    wanted: Option<LogWish>,
    problems: usize,
) {
    assert_eq!(wishes(annotation), [(wanted, problems); 2]);
}

#[test]
fn the_plugins_that_count_as_bridges_are_configurable() {
    let options = Options { plugins: ["my-bridge".into()].into(), config_directory: None };
    for (plugin, managed) in [("my-bridge", true), ("bridge", false)] {
        let manifest = Manifest::from_value(json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": "data"}, "spec": {"config": format!(r#"{{"type":"{plugin}"}}"#)}
        }));
        let Object::Network(network) = manifest.expect("the test's manifest").object(&options).object else {
            panic!("not a network")
        };
        assert_eq!(matches!(network.config, NetworkConfig::Bridge(_)), managed, "{plugin}");
    }
}
