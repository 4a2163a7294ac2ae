//! What the network and the API server may do to an agent: enforcement never changes wrongly meanwhile, and the agent goes on
//! by itself.
//!
//! What is enforced is read from the kernel, and the kernel announces every commit: a test that hears of none has seen that
//! nothing was changed and changed back either.

mod answers;
mod away;
mod cuts;
mod lists;
mod token;

use core::time::Duration;
use std::path::PathBuf;
use std::time::Instant;

use control_plane::proxy::{Ending, Manner, Place, Proxy};
use driver_nft::{Monitor, NftKernel, Notice};
use policy_core::ruleset::Ruleset;

use crate::agent::{Agent, held};
use crate::objects::{CLUSTER, COMMITTED, SETTLED, names_port};
use crate::server::{Server, with_server};

/// How long a fault may take to happen: agents wait up to 30 seconds before they ask again.
const PATIENCE: Duration = Duration::from_mins(2);

/// The kinds that are watched, as paths have them.
const KINDS: [&str; 4] = ["namespaces", "pods", "network-attachment-definitions", "multi-networkpolicies"];
/// The one that tests change.
const POLICIES: &str = "multi-networkpolicies";

/// The port that the policy `other` lets everybody reach, all the time.
const OTHER: u16 = 9_999;

/// What tests know of a cluster whose agent has the proxy before it.
struct Trial<'a> {
    server: &'a mut Server,
    proxy: Proxy,
    token: PathBuf,
    agent: Agent,
    monitor: Monitor,
    /// What the kernel has held when this was looked at last.
    held: Ruleset,
}

/// Names what `cargo ci cluster` sets, and `cargo ci test` does not, which has less time: every cut comes with every ending, and
/// the API server is stopped for a whole minute.
const THOROUGHLY: &str = "CLUSTER_THOROUGHLY";

fn is_thorough() -> bool {
    std::env::var_os(THOROUGHLY).is_some()
}

/// Every place with every ending, or at least each of them once.
fn cuts() -> Vec<(Place, Ending)> {
    if is_thorough() {
        return Ending::ALL.into_iter().flat_map(|ending| Place::ALL.map(|place| (place, ending))).collect();
    }
    Place::ALL.into_iter().zip(Ending::ALL.into_iter().cycle()).collect()
}

/// Runs `body` with an agent that has settled, and enforces a policy about port 80.
fn trial(name: &str, body: impl FnOnce(&mut Trial<'_>) + Send) {
    with_server(name, |server| {
        server.install_crds();
        server.apply(CLUSTER);
        // After the other in every list.
        server.apply(&policy("web", 80));
        server.apply(&policy("other", OTHER));
        let proxy = Proxy::start(&server.plane).unwrap_or_else(|error| panic!("{error:#}"));
        let token = server.token_file("agent.token", &[]);
        let mut agent = server.agent_through(&proxy, &token);
        agent.logged(SETTLED);
        let kernel = NftKernel::open().expect("nftables can be opened");
        let monitor = kernel.monitor().expect("nftables announces commits");
        let mut trial = Trial { server, proxy, token, agent, monitor, held: held() };
        assert!(names_port(&trial.held, 80) && names_port(&trial.held, OTHER));
        body(&mut trial);
    });
}

/// A policy that lets everybody reach a port, with text in it that is not ASCII.
fn policy(name: &str, port: u16) -> String {
    crate::objects::policy(port)
        .replace("metadata: {name: web", &format!("metadata: {{name: {name}"))
        .replace("annotations: {", "annotations: {note: 'für alle, каждый, 🦀', ")
}

impl Trial<'_> {
    /// How many commits to the table there were since this was asked last, or are until then.
    fn commits(&mut self, until: Instant) -> usize {
        let mut commits = 0;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.monitor.next(Some(left)).expect("commits are announced") {
                Some(Notice::Overrun) => panic!("commits were lost: there are few"),
                // Of somebody else than the test, to the table.
                Some(commit) => commits += usize::from(commit.is_tampering()),
                None => return commits,
            }
        }
    }

    /// Nothing was changed since the last look, and changed back.
    fn unchanged(&mut self, when: &str) {
        self.unchanged_until(Instant::now(), when);
    }

    /// The same, and nothing is changed until then.
    fn unchanged_until(&mut self, until: Instant, when: &str) {
        assert_eq!(self.commits(until), 0, "{when}: committed");
        assert_eq!(held(), self.held, "{when}: changed");
    }

    /// Writes the policy of port 80 anew, with this port.
    fn change(&self, port: u16) {
        self.server.apply(&policy("web", port));
    }

    /// Waits until the policy is enforced with this port, which is the only commit since the last look.
    fn changed_once(&mut self, port: u16, when: &str) {
        self.agent.logged(COMMITTED);
        assert_eq!(self.commits(Instant::now()), 1, "{when}: the change is one commit");
        self.held = held();
        assert!(names_port(&self.held, port), "{when}: the change is enforced");
        assert!(names_port(&self.held, OTHER), "{when}: what was not changed is enforced");
    }

    /// Treats all requests like that, and lets the agent notice, if it does not yet.
    fn behave(&self, manner: Manner) {
        self.proxy.behave(manner);
        self.proxy.hang_up();
    }

    /// Waits until something has happened to a request for each of these kinds.
    fn happened_to(&mut self, kinds: &[&str]) {
        let happened = self.proxy.happened(kinds, PATIENCE);
        happened.unwrap_or_else(|error| panic!("{error:#}; the agent said:\n{}", self.agent.log()));
    }
}
