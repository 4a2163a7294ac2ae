//! A journal tells enough: whoever replays it asks for the same transactions, also from the middle.

use core::time::Duration;

use policy_core::journal::{Entry, Notes, Replay, Start, checkpoint};
use policy_core::ruleset::Ruleset;
use policy_core::{Attendant, Input, Kernel, SinkFault, Time, Transaction};
use proptest::prelude::*;

use crate::source::Source;
use crate::worlds;

/// A kernel that refuses what it is told to refuse.
#[derive(Default)]
struct Moody {
    table: Ruleset,
    refusals: Vec<Refusal>,
}

#[derive(Clone, Copy, Debug)]
struct Refusal(SinkFault);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for SinkFault {
    fn from(refusal: Refusal) -> Self {
        refusal.0
    }
}

impl Kernel for Moody {
    type Error = Refusal;

    fn apply(&mut self, transaction: &Transaction) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusals.pop() {
            return Err(refusal);
        }
        self.table.apply(transaction).unwrap();
        Ok(())
    }

    fn observe(&mut self) -> Result<Ruleset, Refusal> {
        match self.refusals.pop() {
            Some(refusal) => Err(refusal),
            None => Ok(self.table.clone()),
        }
    }
}

/// Replays a journal that went through its text form; the transactions that it led to.
fn replayed(entries: &[Entry]) -> Vec<Transaction> {
    let mut replay = Replay::default();
    let mut transactions = Vec::new();
    for entry in entries {
        let text = serde_json::to_string(entry).unwrap();
        let read: Entry = serde_json::from_str(&text).unwrap();
        assert_eq!(read, *entry);
        match replay.take(read) {
            Ok(transaction) => transactions.extend(transaction),
            Err(difference) => panic!("{difference}"),
        }
    }
    transactions
}

proptest! {
    #![proptest_config(crate::settings())]

    #[test]
    fn a_replay_asks_for_the_same_from_wherever_it_begins(bytes in crate::bytes()) {
        let mut source = Source::new(&bytes);
        let config = crate::config(&mut source);
        let mut attendant = Attendant::new(&config, Notes::new(Start::new("test", &config)));
        let mut kernel = Moody::default();
        let mut now = Time::default();
        for (kind, objects) in worlds::populated(&mut source) {
            attendant.tell(Input::Relist { kind, objects }, now);
        }
        let mut committed = Vec::new();
        let mut journals = vec![Vec::new()];
        while !source.is_empty() {
            while let Some(outcome) = attendant.serve(&mut kernel, || now) {
                if let policy_core::Outcome::Committed(transaction) = outcome {
                    committed.push((journals.len() - 1, transaction));
                }
            }
            journals.last_mut().unwrap().extend(attendant.witness().take());
            if source.chance(1, 3) && let Some(entries) = checkpoint(attendant.compiler(), &config, "test") {
                journals.push(entries);
            }
            let faults = [SinkFault::Busy, SinkFault::Other];
            kernel.refusals = source.several(0, 2, |source| Refusal(*source.pick(&faults)));
            now = now.plus(Duration::from_secs(u64::try_from(source.below(200)).unwrap()));
            attendant.tell(Input::Tick, now);
            for _ in 0..source.below(4) {
                let event = if source.chance(1, 8) { Input::Tampered } else { crate::event(&mut source) };
                attendant.tell(event, now);
            }
        }
        journals.last_mut().unwrap().extend(attendant.witness().take());
        for (number, entries) in journals.iter().enumerate() {
            let asked = entries.iter().filter(|entry| {
                matches!(entry, Entry::Asked(policy_core::Output::Apply(_)))
            });
            let transactions = replayed(entries);
            prop_assert_eq!(transactions.len(), asked.count());
            for (_, transaction) in committed.iter().filter(|(journal, _)| *journal == number) {
                prop_assert!(transactions.contains(transaction));
            }
        }
    }
}
