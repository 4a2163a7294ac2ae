//! API servers that are away, and come back with another history.

use core::time::Duration;
use std::process::Command;
use std::time::Instant;

use control_plane::proxy::Manner;

use super::{OTHER, is_thorough, trial};
use crate::agent::held;
use crate::objects::{COMMITTED, names_port};

#[test]
fn enforcement_holds_and_is_repaired_while_the_api_server_is_stopped() {
    trial("stopped", |trial| {
        // Otherwise it is stopped for as long as a repair takes.
        let time = if is_thorough() { Duration::from_mins(1) } else { Duration::ZERO };
        let until = Instant::now() + time;
        trial.server.plane.suspend_api_server().unwrap_or_else(|error| panic!("{error:#}"));
        trial.unchanged("stopped");
        // The agent needs no API server for this.
        let flush = Command::new("nft").args(["delete", "table", "bridge", "mnp-nft-bridge"]).status();
        assert!(flush.is_ok_and(|status| status.success()), "cannot run nft: install the package nftables");
        trial.agent.logged(COMMITTED);
        assert_eq!(held(), trial.held, "repaired");
        assert!(trial.commits(Instant::now()) > 0, "whoever deletes and the agent");
        trial.unchanged_until(until, "stopped");
        trial.server.plane.resume_api_server().unwrap_or_else(|error| panic!("{error:#}"));
        trial.change(8_001);
        trial.changed_once(8_001, "resumed");
    });
}

#[test]
fn server_that_was_killed_and_has_forgotten_the_past_is_asked_for_everything() {
    trial("forgotten", |trial| {
        trial.behave(Manner::Refusing);
        trial.agent.logged("the watch was interrupted; what is known holds");
        // What the agent will not be told of as a change.
        trial.change(8_001);
        trial.server.kubectl(&["delete", "multi-networkpolicy", "-n", "shop", "other"]);
        let plane = &mut trial.server.plane;
        plane.stop_api_server();
        plane.compact_history().unwrap_or_else(|error| panic!("{error:#}"));
        plane.start_api_server().unwrap_or_else(|error| panic!("{error:#}"));
        trial.unchanged("away");
        trial.behave(Manner::Honest);
        trial.agent.logged("the API server has forgotten where we were; listing again");
        trial.agent.logged(COMMITTED);
        let now = held();
        assert!(names_port(&now, 8_001) && !names_port(&now, 80), "a change is seen");
        assert!(!names_port(&now, OTHER), "what was deleted is gone");
        assert_eq!(trial.commits(Instant::now()), 1, "at once");
    });
}
