//! Flows across changes: those that stay allowed lose nothing, those that are cut stop within a second.
//!
//! `SIM_ARMS=model` leaves the packets out, for machines where namespaces cannot be made. It has to be said: without
//! it, a missing privilege or program is a failure.

use std::process::Command;

#[test]
fn allowed_flows_lose_nothing_and_cut_flows_stop() {
    if std::env::var("SIM_ARMS").is_ok_and(|arms| arms == "model") {
        println!("no packets are sent, as SIM_ARMS=model says");
        return;
    }
    let run = Command::new(env!("CARGO_BIN_EXE_sim")).arg("flows").output().expect("sim starts");
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{}\n{out}{err}", run.status);
    assert!(out.contains("100 unrelated changes, 20 restarts and 10 upgrades"), "{out}");
    assert!(
        out.contains("flows, more than the sets take") || out.contains("connection tracking follows"),
        "{out}"
    );
    for cut in [
        "cut: by the ingress of the server: 10 flows stopped",
        "cut: by the egress of the client: 10 flows stopped",
    ] {
        assert!(out.contains(cut), "{out}");
    }
}
