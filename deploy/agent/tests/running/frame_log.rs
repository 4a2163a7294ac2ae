//! Frames that policies want logged: real ones, through a bridge, as lines and as counts.

use std::time::Instant;

use policy_core::ruleset::Expr;
use serde_json::{Value, json};

use crate::agent::{Agent, directory, held, in_new_namespace, raise_loopback};
use crate::http::{ADDRESS, ask, metric};
use crate::manifests::write;
use crate::objects::{CLUSTER, COMMITTED, SETTLED, policy};
use crate::wires::{self, MAC_OF_WEB, ping_is_answered, pings};

/// The client as a pod of another node's list, so that its address has a name.
const CLIENT: &str = r#"---
apiVersion: v1
kind: Pod
metadata:
  name: client
  namespace: shop
  annotations:
    k8s.v1.cni.cncf.io/network-status: |
      [{"name": "shop/lan", "interface": "net1", "mac": "02:00:00:00:00:02", "ips": ["10.0.0.2"]}]
spec: {nodeName: edge-2, containers: [{name: client, image: none}]}
"#;
const DROPPED: &str = "mnp_nft_bridge_dropped_packets_total{direction=\"ingress\",namespace=\"shop\",pod=\"web\",network=\"shop/lan\",interface=\"net1\"}";

/// The policy that isolates `web`, with this annotation.
fn logging(port: u16, wish: &str) -> String {
    let annotated = format!("policy-for: lan, mnp-nft-bridge.io/log: {wish}}}");
    policy(port).replace("policy-for: lan}", &annotated)
}

/// What was counted of logged frames of `web`.
fn counted(action: &str) -> Option<f64> {
    metric(&format!(
        "mnp_nft_bridge_logged_packets_total{{action=\"{action}\",direction=\"ingress\",namespace=\"shop\"}}"
    ))
}

/// An agent that enforces `policy` between two pods on a bridge, with these arguments besides.
fn enforcing(test: &str, policy: &str, arguments: &[&str]) -> (Agent, std::path::PathBuf) {
    raise_loopback();
    // So that the node sends less by itself that is denied too; without IPv6 there is no such file.
    drop(std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"));
    wires::build(MAC_OF_WEB);
    let files = directory(test);
    write(&files, "cluster.yaml", &format!("{CLUSTER}{CLIENT}"));
    write(&files, "policy.yaml", policy);
    let path = files.to_str().expect("a path in UTF-8");
    let always = ["--node", "edge-1", "--manifests", path, "--metrics-address", ADDRESS];
    let mut agent = Agent::start(&[&always, arguments].concat());
    agent.logged(SETTLED);
    (agent, files)
}

/// The fields of the next logged frame of a ping: the node's bridge sends a report of its own now and then.
fn frame(agent: &mut Agent) -> Value {
    agent.next_that("a frame", |entry| {
        let fields = entry.get("fields")?;
        let is_ping = fields.get("protocol").is_some_and(|protocol| protocol == "icmp");
        (entry.get("target").is_some_and(|target| target == "frames") && is_ping).then(|| fields.clone())
    })
}

#[test]
fn denied_frame_is_logged_with_who_sent_what_to_whom() {
    in_new_namespace(|| {
        let (mut agent, _) = enforcing("log-of-drops", &logging(80, "drop"), &[]);
        assert!(!ping_is_answered());
        let mut said = frame(&mut agent);
        let fields = said.as_object_mut().expect("fields");
        // Numbers of interfaces, and times: they differ each time.
        for field in ["input", "output", "received"] {
            fields.remove(field);
        }
        assert_eq!(
            said,
            json!({
                "message": "frame", "action": "drop", "direction": "ingress", "namespace": "shop", "pod": "web",
                "network": "shop/lan", "interface": "net1", "policies": "shop/web", "peer": "shop/client",
                "from": "10.0.0.2", "to": "10.0.0.1", "from_mac": "02:00:00:00:00:02", "to_mac": MAC_OF_WEB,
                "ether_type": "0x0800", "protocol": "icmp", "icmp_type": 8, "icmp_code": 0,
            })
        );
        assert!(counted("drop") >= Some(1.0) && metric(DROPPED) >= Some(1.0));
    });
}

#[test]
fn denied_frames_beyond_the_limit_are_dropped_and_counted_and_not_logged() {
    in_new_namespace(|| {
        let begun = Instant::now();
        let (mut agent, _) = enforcing("log-limit", &logging(80, "drop"), &["--log-rate", "1"]);
        // For two seconds: whatever else is dropped, one of them is the next to be told of.
        assert_eq!(pings(400), 0);
        frame(&mut agent);
        let (logged, seconds) = (counted("drop"), begun.elapsed().as_secs_f64());
        // Two at once, then one each second.
        assert!(logged.is_some_and(|logged| logged <= 2.0 + seconds), "{logged:?} in {seconds} s");
        assert!(metric(DROPPED) >= Some(400.0));
    });
}

#[test]
fn first_frame_of_an_allowed_flow_is_logged_and_no_other() {
    in_new_namespace(|| {
        let open = logging(80, "all").replace("[{ports: [{port: 80}]}]", "[{}]");
        let (mut agent, _) = enforcing("log-of-all", &open, &[]);
        assert_eq!(pings(5), 5);
        let first = frame(&mut agent);
        for (field, wanted) in [
            ("action", "allow"),
            ("direction", "ingress"),
            ("pod", "web"),
            ("policies", "shop/web"),
            ("peer", "shop/client"),
            ("from", "10.0.0.2"),
        ] {
            assert_eq!(first.get(field).and_then(Value::as_str), Some(wanted), "{first}");
        }
        // Another one has another identifier; all frames of the first one were told of before.
        assert_eq!(pings(5), 5);
        frame(&mut agent);
        assert_eq!(counted("allow"), Some(2.0));
    });
}

#[test]
fn log_begins_and_ends_with_the_annotation_of_the_namespace() {
    in_new_namespace(|| {
        let (mut agent, files) = enforcing("log-of-namespace", &policy(80), &[]);
        let tells = || {
            let rules = held().chains.into_values().flat_map(|chain| chain.rules);
            rules.flat_map(|rule| rule.exprs).any(|expr| matches!(expr, Expr::Log { group: 1977, .. }))
        };
        assert!(!tells());
        let asks = "metadata: {name: shop, annotations: {mnp-nft-bridge.io/log: drop}}";
        let asking = CLUSTER.replacen("metadata: {name: shop}", asks, 1);
        write(&files, "cluster.yaml", &format!("{asking}{CLIENT}"));
        agent.logged(COMMITTED);
        assert!(tells());
        assert!(!ping_is_answered());
        assert_eq!(frame(&mut agent).get("action").and_then(Value::as_str), Some("drop"));

        write(&files, "cluster.yaml", &format!("{asking}{CLIENT}").replace("log: drop", "log: everything"));
        let problem = agent.next_that("a problem", |entry| {
            let path = entry.pointer("/fields/path")?.as_str()?;
            path.contains("mnp-nft-bridge.io/log").then(|| entry.pointer("/fields/object").cloned())
        });
        assert!(problem.is_some_and(|object| object.to_string().contains("shop")));
        assert!(!tells(), "what cannot be read asks for nothing");
    });
}

#[test]
fn group_that_somebody_else_listens_to_stops_nothing() {
    in_new_namespace(|| {
        let taken = driver_nft::FrameLog::open(1977, 64).expect("nobody listens yet");
        let (mut agent, _) = enforcing("log-taken", &logging(80, "drop"), &[]);
        assert!(!ping_is_answered());
        let (status, _) = ask("/healthz");
        assert_eq!(status, 200);
        drop(taken);
        // It listens as soon as it can.
        agent.logged("listening to logged frames again");
    });
}
