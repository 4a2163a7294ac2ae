//! Metrics and health: what they say is what is the case.

use core::net::Ipv4Addr;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::agent::{Agent, directory, in_new_namespace, raise_loopback};
use crate::http::{ADDRESS, ask, metric};
use crate::manifests::write;
use crate::objects::{CLUSTER, COMMITTED, SETTLED, policy};
use crate::wires::ip;

fn start(files: &Path) -> Agent {
    let files = files.to_str().expect("a path in UTF-8");
    Agent::start(&["--node", "edge-1", "--manifests", files, "--metrics-address", ADDRESS])
}

#[test]
fn metrics_follow_what_happens() {
    in_new_namespace(|| {
        raise_loopback();
        let files = directory("metrics");
        write(&files, "cluster.yaml", CLUSTER);
        let mut agent = start(&files);
        agent.logged(SETTLED);
        assert_eq!(ask("/healthz"), (200, "alive\n".to_owned()));
        assert_eq!(ask("/readyz"), (200, "enforcing\n".to_owned()));
        assert_eq!(metric("mnp_nft_bridge_objects{kind=\"pod\"}"), Some(1.0));
        assert_eq!(metric("mnp_nft_bridge_objects{kind=\"policy\"}"), Some(0.0));
        assert_eq!(metric("mnp_nft_bridge_local_attachments"), Some(1.0));
        assert!(metric("mnp_nft_bridge_resident_memory_bytes").is_some_and(|bytes| bytes > 1e6));
        let commits = metric("mnp_nft_bridge_commits_total").expect("they are counted");

        write(&files, "policy.yaml", &policy(80));
        agent.logged(COMMITTED);
        assert_eq!(metric("mnp_nft_bridge_objects{kind=\"policy\"}"), Some(1.0));
        assert_eq!(metric("mnp_nft_bridge_commits_total"), Some(commits + 1.0));
        assert_eq!(metric("mnp_nft_bridge_event_to_commit_seconds_count"), Some(commits + 1.0));
        assert_eq!(metric("mnp_nft_bridge_repairs_total"), Some(0.0));

        let flushed = Command::new("nft").args(["flush", "table", "bridge", "mnp-nft-bridge"]).status();
        assert!(flushed.is_ok_and(|status| status.success()), "nft cannot flush: install nftables");
        agent.logged(COMMITTED);
        assert_eq!(metric("mnp_nft_bridge_repairs_total"), Some(1.0));

        let elsewhere = policy(80).replace("policy-for: lan", "policy-for: nowhere");
        write(&files, "policy.yaml", &elsewhere);
        agent.logged("this cannot be enforced");
        assert_eq!(metric("mnp_nft_bridge_troubled_objects{kind=\"policy\"}"), Some(1.0));
        write(&files, "policy.yaml", &policy(80));
        agent.logged("earlier problems are solved");
        assert_eq!(metric("mnp_nft_bridge_troubled_objects{kind=\"policy\"}"), None);
    });
}

#[test]
fn dropped_packets_are_counted_by_attachment() {
    in_new_namespace(|| {
        raise_loopback();
        let files = directory("drops");
        write(&files, "cluster.yaml", CLUSTER);
        write(&files, "policy.yaml", &policy(80));
        // The pod's port is not known, so its MAC leads to it: the bridge's own frames for that MAC are judged.
        ip("link add br1 type bridge");
        ip("link add near type veth peer name far");
        ip("link set near master br1 up");
        ip("link set far up");
        ip("addr add 10.0.0.254/24 dev br1");
        ip("link set br1 up");
        ip("neigh add 10.0.0.1 lladdr 02:00:00:00:00:01 dev br1 nud permanent");
        let mut agent = start(&files);
        agent.logged(SETTLED);
        let series = "mnp_nft_bridge_dropped_packets_total{direction=\"ingress\",namespace=\"shop\",pod=\"web\",\
                      network=\"shop/lan\",interface=\"net1\"}";
        assert_eq!(metric(series), Some(0.0));
        let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        // What the hook drops, the sender is told of as a failure.
        for _ in 0..3 {
            drop(socket.send_to(b"?", (Ipv4Addr::new(10, 0, 0, 1), 53)));
        }
        assert_eq!(metric(series), Some(3.0));
    });
}

#[test]
fn agent_that_has_not_heard_of_everything_is_alive_and_not_ready() {
    in_new_namespace(|| {
        raise_loopback();
        let files = directory("nobody");
        let kubeconfig = files.join("kubeconfig");
        // Nobody listens there.
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
                    clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: a, user: {}}]\n\
                    contexts: [{name: a, context: {cluster: a, user: a}}]\n";
        fs::write(&kubeconfig, text).expect("the directory can be written");
        let file = kubeconfig.to_str().expect("a path in UTF-8");
        let mut agent =
            Agent::start(&["--node", "edge-1", "--kubeconfig", file, "--metrics-address", ADDRESS]);
        agent.logged("started");
        assert_eq!(ask("/healthz").0, 200);
        let (status, reason) = ask("/readyz");
        assert_eq!(
            (status, reason.as_str()),
            (503, "not everything has been heard of and is enforced for the first time\n")
        );
        assert_eq!(metric("mnp_nft_bridge_synced"), Some(0.0));
        assert_eq!(ask("/other").0, 404);
        assert!(agent.end(Signal::SIGTERM).success());
    });
}

#[test]
fn agent_whose_changes_the_kernel_refuses_is_not_ready() {
    in_new_namespace(|| {
        raise_loopback();
        let files = directory("refused-by-the-kernel");
        write(&files, "cluster.yaml", CLUSTER);
        // A table with an owner is nobody else's to change, and is gone with its owner.
        let mut owner = Command::new("nft")
            .arg("-i")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("nft starts: install nftables");
        let mut input = owner.stdin.take().expect("nft has an input");
        writeln!(input, "add table bridge mnp-nft-bridge {{ flags owner; }}").expect("nft reads");
        writeln!(input, "list tables").expect("nft reads");
        let mut said = [0; 12];
        let output = owner.stdout.as_mut().expect("nft has an output");
        std::io::Read::read_exact(output, &mut said).expect("nft lists its table");

        let mut agent = start(&files);
        agent.logged("the kernel has refused a change; it is tried again");
        let (status, reason) = ask("/readyz");
        assert_eq!(status, 503, "{reason}");
        assert_eq!(ask("/healthz").0, 200, "restarting it would not help");
        assert!(metric("mnp_nft_bridge_refusals_total").is_some_and(|refusals| refusals >= 1.0));

        drop(input);
        assert!(owner.wait().is_ok());
        agent.logged(SETTLED);
        assert_eq!(ask("/readyz"), (200, "enforcing\n".to_owned()));
    });
}
