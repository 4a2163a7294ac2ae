//! Servers that answer, but not with what was asked for.

use core::time::Duration;

use control_plane::proxy::{Manner, Mishap, Of};

use super::{KINDS, POLICIES, trial};
use crate::objects::SETTLED;

/// The end of every path.
const ANYTHING: &str = "";

/// Far more requests than an agent makes while two other programs ask for something, and far fewer than it could make.
const ASKED_MAX: usize = 100;

/// What servers, and what is before them, answer when they do not work.
const STATUSES: [u16; 9] = [200, 400, 401, 403, 404, 429, 500, 503, 504];

#[test]
fn answers_of_servers_that_do_not_work_change_nothing() {
    trial("answers", |trial| {
        let mut port = 8_000;
        for status in STATUSES {
            port += 1;
            trial.behave(Manner::Answering(status));
            // Each kind's first request, at least; what an agent asks for then depends on the answer.
            KINDS.iter().for_each(|_| trial.happened_to(&[ANYTHING]));
            trial.change(port);
            trial.unchanged(&format!("{status}"));
            trial.behave(Manner::Honest);
            trial.changed_once(port, &format!("{status}"));
        }
    });
}

#[test]
fn connections_that_are_refused_change_nothing() {
    trial("refused", |trial| {
        trial.behave(Manner::Refusing);
        trial.agent.logged("the watch was interrupted; what is known holds");
        trial.change(8_001);
        trial.unchanged("refused");
        trial.behave(Manner::Honest);
        trial.changed_once(8_001, "refused");
    });
}

#[test]
fn watches_that_end_at_once_are_not_begun_again_without_pause() {
    trial("empty", |trial| {
        trial.behave(Manner::Empty);
        trial.happened_to(&KINDS);
        let before = trial.proxy.requests();
        trial.change(8_001);
        trial.server.kubectl(&["get", "pods", "-A"]);
        let asked = trial.proxy.requests() - before;
        assert!(asked <= ASKED_MAX, "{asked} requests");
        trial.unchanged("empty");
        trial.behave(Manner::Honest);
        trial.changed_once(8_001, "empty");
    });
}

#[test]
fn slow_answers_only_take_longer() {
    trial("slow", |trial| {
        trial.behave(Manner::Slow(Duration::from_millis(700)));
        trial.happened_to(&KINDS);
        trial.change(8_001);
        trial.changed_once(8_001, "slow watches");
        // Everything is listed slowly.
        trial.agent = trial.server.agent_through(&trial.proxy, &trial.token);
        trial.happened_to(&[POLICIES]);
        trial.unchanged("slow lists, before they are complete");
        trial.agent.logged(SETTLED);
        trial.unchanged("slow lists");
    });
}

#[test]
fn object_that_cannot_be_read_deletes_nothing_and_loses_nothing() {
    trial("garbled", |trial| {
        trial.proxy.once(Of::Watch, POLICIES, Mishap::Answered(410));
        trial.proxy.once(Of::List, POLICIES, Mishap::Garbled(1));
        trial.proxy.hang_up();
        trial.happened_to(&[POLICIES]);
        trial.change(8_001);
        trial.happened_to(&[POLICIES]);
        trial.changed_once(8_001, "in a list");

        // The request that has begun as a list goes on as a watch.
        trial.proxy.once(Of::List, POLICIES, Mishap::Garbled(0));
        trial.change(8_002);
        trial.happened_to(&[POLICIES]);
        trial.changed_once(8_002, "in a watch");
    });
}
