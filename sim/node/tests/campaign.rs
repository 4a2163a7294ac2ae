//! The simulation finds nothing, and would find something if there were something to find.

use node_sim::campaign::{STEPS_MIN, attempt, campaign, draw, story};
use node_sim::{Bug, Manner};
use policy_core::journal::{Entry, Replay};
use test_case::test_case;

/// Where the seeds of these tests begin: the same runs every time. `cargo ci campaign` draws others.
const FIRST: u64 = 1;

#[test]
fn short_campaign_finds_no_violation() {
    let summary = campaign(FIRST, 60, None, 2, Manner::default());
    let told = summary.failed.and_then(|seed| story(seed, Manner::default()));
    assert!(told.is_none(), "{}", told.map(|(text, _)| text).unwrap_or_default());
    assert_eq!(summary.coverage.runs, 60);
    assert!(summary.coverage.commits > 120, "{}", summary.coverage);
}

#[test]
fn seed_is_the_same_run_every_time() {
    for seed in FIRST..=5 {
        let drawn = draw(seed);
        assert_eq!(draw(seed), drawn);
        assert!(drawn.steps.len() >= STEPS_MIN);
        let ran = || attempt(&drawn.scene, &drawn.steps, Manner::default()).0;
        assert_eq!(ran(), ran());
    }
}

#[test_case(Bug::BelieveRefused; "what the kernel refuses is taken for done")]
#[test_case(Bug::Careless; "commits are not guarded against other writers")]
#[test_case(Bug::ForgetLost; "lost announcements are not taken for a change")]
#[test_case(Bug::ForgetMissing; "what is no longer in a list is not taken for gone")]
#[test_case(Bug::Halves; "the kernel does half of what it refuses")]
#[test_case(Bug::Hasty; "what has not been listed yet is taken for listed")]
#[test_case(Bug::Overlook; "a chain that somebody touched is overlooked")]
fn mistake_is_found_and_told_with_few_steps(bug: Bug) {
    let manner = Manner { bug: Some(bug), ..Manner::default() };
    let summary = campaign(FIRST, 400, None, 2, manner);
    let seed = summary.failed.unwrap_or_else(|| panic!("nobody noticed:\n{}", summary.coverage));
    let (text, _) = story(seed, manner).expect("what failed fails again");
    let steps = text.lines().filter(|line| line.starts_with("  ")).count();
    assert!(steps <= 20, "{text}");
}

#[test]
fn trace_is_a_journal_that_replays() {
    let mut transactions = 0;
    for seed in FIRST..=8 {
        let drawn = draw(seed);
        let (_, entries, found) =
            attempt(&drawn.scene, &drawn.steps, Manner { journal: true, ..Manner::default() });
        assert!(found.is_ok(), "{found:?}");
        let mut replay = Replay::default();
        for entry in entries {
            let text = serde_json::to_string(&entry).expect("entries can be written");
            let entry: Entry = serde_json::from_str(&text).expect("and read");
            match replay.take(entry) {
                Ok(transaction) => transactions += usize::from(transaction.is_some()),
                Err(difference) => panic!("seed {seed}: {difference}"),
            }
        }
    }
    assert!(transactions > 8, "{transactions} transactions");
}
