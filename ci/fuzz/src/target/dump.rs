//! The kernel's answers: read, then taken for the table that is there.

use core::time::Duration;

use driver_nft::decode;
use policy_core::ruleset::Ruleset;
use policy_core::{Input, Kernel as _, Output, Time};

use crate::features::Features;
use crate::world::{Table, informed};

/// Rules, elements and names that a message may hold, for each byte.
const HELD_MAX: usize = 1;

/// A dump. Whatever it says is in the kernel, the core must find a way from there to what it wants.
pub(super) fn netlink(bytes: &[u8]) -> Features {
    let mut features = Features::default();
    match decode::set_names(bytes) {
        Ok(names) => features.counted("sets", names.len()),
        Err(error) => features.saw(error),
    }
    let ruleset = match decode::ruleset(bytes) {
        Ok(ruleset) => ruleset,
        Err(error) => {
            features.saw(error);
            return features;
        }
    };
    let held = ruleset.chains.values().map(|chain| 1 + chain.rules.len()).sum::<usize>()
        + ruleset.sets.values().map(|set| 1 + set.elements.len()).sum::<usize>();
    assert!(held <= HELD_MAX * bytes.len(), "{held} things in {} bytes", bytes.len());
    describe(&ruleset, &mut features);
    assert!(ruleset.to_string().len() <= 4096 + 64 * bytes.len(), "a text out of proportion");
    repair(ruleset, &mut features);
    features
}

/// What the dump says.
fn describe(ruleset: &Ruleset, features: &mut Features) {
    for set in ruleset.sets.values() {
        let spec = &set.spec;
        features.saw(format_args!(
            "{:?} {} {} {}",
            spec.key,
            spec.verdict_map,
            spec.interval,
            spec.dynamic.is_some()
        ));
        features.counted("elements", set.elements.len());
    }
    for chain in ruleset.chains.values() {
        features.saw(format_args!("{:?}", chain.spec.base));
        for rule in &chain.rules {
            features.saw(rule);
        }
    }
}

/// The kernel holds this, and takes one transaction: if the model takes it too, the table is as it should be. A dump that
/// contradicts itself may end in a refusal, which leads to another look, never to a panic.
fn repair(ruleset: Ruleset, features: &mut Features) {
    let mut compiler = informed();
    assert_eq!(compiler.poll_output(), Some(Output::Observe));
    let mut table = Table(ruleset.clone());
    compiler.handle_input(Input::Observed(ruleset), Time::default());
    while let Some(output) = compiler.poll_output() {
        match output {
            Output::Apply(transaction) => {
                let generation = transaction.generation;
                let answer = match table.apply(&transaction) {
                    Ok(()) => {
                        features.saw(format_args!("repaired by {:?}", transaction.scope));
                        Input::Applied(generation)
                    }
                    Err(refusal) => {
                        features.saw(&refusal);
                        Input::Refused { generation, fault: refusal.into() }
                    }
                };
                compiler.handle_input(answer, Time::default());
            }
            Output::Observe => compiler.handle_input(Input::Observed(table.0.clone()), Time::default()),
            Output::Report(report) => assert!(report.problems.is_empty(), "{report:?}"),
            Output::ObserveTouched | _ => panic!("the core asks for something new: {output:?}"),
        }
    }
    if compiler.is_settled() {
        assert_eq!(&table.0, compiler.desired());
    } else {
        let (at, _) = compiler.poll_timeout().expect("a refusal is followed by another attempt");
        assert!(at.0 <= Duration::from_mins(1));
    }
}
