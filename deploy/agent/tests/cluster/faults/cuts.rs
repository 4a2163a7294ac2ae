//! Watches that are cut anywhere.

use control_plane::proxy::{Cut, Mishap, Of};

use super::{POLICIES, cuts, trial};

#[test]
fn watch_that_is_cut_anywhere_loses_nothing_and_changes_nothing_wrongly() {
    trial("cuts", |trial| {
        let mut port = 8_000;
        for (place, ending) in cuts() {
            let when = format!("{place:?}, {ending:?}");
            port += 1;
            trial.proxy.once(Of::Watch, POLICIES, Mishap::Cut(Cut { objects: 0, place, ending }));
            if place.is_in_head() {
                // A watch that runs has no head any more: the next is cut.
                trial.proxy.hang_up();
                trial.happened_to(&[POLICIES]);
                trial.unchanged(&when);
                trial.change(port);
            } else {
                trial.change(port);
                trial.happened_to(&[POLICIES]);
            }
            trial.changed_once(port, &when);
        }
    });
}
