//! A token that is not valid any more, and its successor.

use std::fs;
use std::time::Instant;

use super::{PATIENCE, trial};
use crate::objects::SETTLED;

/// Something that a token's validity ends with: a real server says 401 at once, while times are at least ten minutes.
const BOUND: &str = "{apiVersion: v1, kind: Secret, metadata: {name: bound, namespace: kube-system}}";

#[test]
fn token_that_has_expired_is_read_anew() {
    trial("token", |trial| {
        trial.server.apply(BOUND);
        let bound = ["--bound-object-kind", "Secret", "--bound-object-name", "bound"];
        let file = trial.server.token_file("bound.token", &bound);
        trial.agent = trial.server.agent_through(&trial.proxy, &file);
        trial.agent.logged(SETTLED);
        trial.unchanged("another agent");

        trial.server.kubectl(&["delete", "secret", "-n", "kube-system", "bound"]);
        // A server remembers for some seconds whom it has let in.
        let token = fs::read_to_string(&file).expect("a token");
        let deadline = Instant::now() + PATIENCE;
        while trial.server.plane.kubectl(&["auth", "whoami", "--token", &token], "").is_ok() {
            assert!(Instant::now() < deadline, "the token is still valid");
        }
        trial.proxy.hang_up();
        trial.agent.logged("the API server does not accept our credentials; reading them again");
        trial.change(8_001);
        trial.unchanged("refused");
        trial.server.token_file("bound.token", &[]);
        trial.changed_once(8_001, "let in again");
    });
}
