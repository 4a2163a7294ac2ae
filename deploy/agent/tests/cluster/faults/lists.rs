//! Lists that are cut anywhere: what is not in the part that came is not gone.

use control_plane::proxy::{Cut, Ending, Mishap, Of, Place};

use super::{KINDS, POLICIES, cuts, trial};
use crate::objects::SETTLED;

/// After the first object: what comes after that in a list is what a careless reader would delete.
const fn cut(place: Place, ending: Ending) -> Mishap {
    Mishap::Cut(Cut { objects: 1, place, ending })
}

#[test]
fn list_that_is_cut_deletes_nothing() {
    trial("lists", |trial| {
        let mut port = 8_000;
        for ending in [Ending::Severed, Ending::Finished] {
            let when = format!("{ending:?}");
            port += 1;
            // The watch has expired, so that everything is listed again.
            trial.proxy.once(Of::Watch, POLICIES, Mishap::Answered(410));
            trial.proxy.once(Of::List, POLICIES, cut(Place::Object, ending));
            trial.proxy.hang_up();
            trial.happened_to(&[POLICIES]);
            trial.change(port);
            trial.happened_to(&[POLICIES]);
            trial.changed_once(port, &when);
        }
    });
}

#[test]
fn agent_that_starts_with_a_list_that_is_cut_anywhere_leaves_what_is_enforced() {
    trial("lists-at-start", |trial| {
        for (place, ending) in cuts() {
            for kind in KINDS {
                trial.proxy.once(Of::List, kind, cut(place, ending));
            }
            trial.agent = trial.server.agent_through(&trial.proxy, &trial.token);
            // Only policies have text that is not ASCII.
            trial.happened_to(if place == Place::Character { &[POLICIES] } else { &KINDS });
            trial.agent.logged(SETTLED);
            trial.unchanged(&format!("{place:?}, {ending:?}"));
            trial.proxy.forget();
        }
    });
}
