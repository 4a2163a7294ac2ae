//! A bridge with two pods, each in a network namespace, made by `ip`.

use std::process::{Command, Output};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use policy_core::ruleset::{Ruleset, SetName};

/// The MAC of the pod `web`, as its status says.
pub(crate) const MAC_OF_WEB: &str = "02:00:00:00:00:01";

/// Builds them in the calling thread's network namespace; `web` has this MAC.
pub(crate) fn build(mac_of_web: &str) {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace: run these tests as root");
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).expect("private mounts");
    // Where `ip netns` keeps names.
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), nothing).expect("a tmpfs");
    ip("link add br1 type bridge");
    ip("link set br1 up");
    for (pod, mac, address) in [("web", mac_of_web, "10.0.0.1"), ("client", "02:00:00:00:00:02", "10.0.0.2")]
    {
        ip(&format!("netns add {pod}"));
        // So that nothing is sent that nobody asked for, from which the bridge would learn.
        in_pod(
            pod,
            &[
                "sh",
                "-c",
                "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ -e $f ] && echo 1 > $f; done",
            ],
        );
        ip(&format!("link add port-{pod} type veth peer name net1 address {mac} netns {pod}"));
        ip(&format!("link set port-{pod} master br1 up"));
        ip(&format!("-n {pod} address add {address}/24 dev net1"));
        ip(&format!("-n {pod} link set net1 up"));
    }
}

/// Runs `ip` with these words, which must succeed.
pub(crate) fn ip(words: &str) {
    let output = Command::new("ip").args(words.split_whitespace()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run ip ({error}): install `iproute2`"));
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether a ping from `client` to `web` is answered.
pub(crate) fn ping_is_answered() -> bool {
    in_pod("client", &["ping", "-n", "-c", "1", "-W", "1", "10.0.0.1"]).status.success()
}

/// Sends so many pings of one conversation from `client` to `web`, quickly; how many are answered.
pub(crate) fn pings(count: u32) -> u32 {
    let count = count.to_string();
    let output = in_pod("client", &["ping", "-n", "-i", "0.005", "-c", &count, "-W", "1", "10.0.0.1"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let answered = text.split(", ").find_map(|part| part.strip_suffix(" received"));
    let answered = answered.and_then(|answered| answered.parse().ok());
    answered.unwrap_or_else(|| panic!("ping: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn in_pod(pod: &str, command: &[&str]) -> Output {
    let output = Command::new("ip").args(["netns", "exec", pod]).args(command).output();
    output.unwrap_or_else(|error| panic!("cannot run ip ({error}): install `iproute2`"))
}

/// How many of this node's ports are known to be an isolated pod's.
pub(crate) fn owned_ports(held: &Ruleset) -> usize {
    held.sets.get(&SetName::new("ingress-port")).map_or(0, |set| set.elements.len())
}
