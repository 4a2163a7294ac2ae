//! What is enforced follows the API server, whatever becomes of that.

use nix::sys::signal::Signal;

use crate::agent::held;
use crate::objects::{CLUSTER, COMMITTED, SETTLED, names_port, policy};
use crate::server::with_server;

#[test]
fn agent_waits_for_the_crds_and_follows_what_is_written() {
    with_server("following", |server| {
        let mut agent = server.agent();
        agent.logged("the API server does not serve this kind: is its CRD installed? Waiting for it");
        assert!(held().chains.is_empty(), "nothing is written before everything is known");
        server.install_crds();
        server.apply(CLUSTER);
        agent.logged(SETTLED);

        server.apply(&policy(80));
        agent.logged(COMMITTED);
        assert!(names_port(&held(), 80));
        server.apply(&policy(8080));
        agent.logged(COMMITTED);
        assert!(names_port(&held(), 8080) && !names_port(&held(), 80));
        server.kubectl(&["label", "pod", "-n", "shop", "web", "app=other", "--overwrite"]);
        server.kubectl(&["delete", "multi-networkpolicy", "-n", "shop", "web"]);
        agent.logged(COMMITTED);
        assert!(!names_port(&held(), 8080));
    });
}

#[test]
fn enforcement_holds_while_the_api_server_is_away() {
    with_server("away", |server| {
        server.install_crds();
        server.apply(CLUSTER);
        server.apply(&policy(80));
        let mut agent = server.agent();
        agent.logged(SETTLED);
        let before = held();

        server.plane.stop_api_server();
        agent.logged("the watch was interrupted; what is known holds");
        assert_eq!(held(), before);
        server.plane.start_api_server().unwrap_or_else(|error| panic!("{error:#}"));
        server.apply(&policy(8080));
        agent.logged(COMMITTED);
        assert!(names_port(&held(), 8080) && !names_port(&held(), 80));
        let before = held();
        assert!(agent.end(Signal::SIGTERM).success());
        assert_eq!(held(), before);
    });
}
