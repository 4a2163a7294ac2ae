//! Running a scenario on an arm, and judging each stage.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::arm::{Arm, Played};
use crate::plan::StationId;
use crate::probe::{Outcome, Probe};
use crate::scenario::Wanted;
use crate::stage::Stage;

/// What is wrong with a stage. Nothing, when every list is empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Probes that did not end as wanted, or not as the evaluator says.
    pub mismatches: BTreeMap<Probe, Mismatch>,
    /// Problems that were to be reported and were not.
    pub reports_missing: Vec<String>,
    /// Problems that were reported although nobody expects them.
    pub reports_unexpected: Vec<String>,
    /// Anything else, each a text of its own.
    pub complaints: Vec<String>,
}

/// A probe that did not end as it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// What the scenario wants.
    pub wanted: Wanted,
    /// What happened.
    pub got: Option<Outcome>,
    /// What the evaluator says, where it was asked separately.
    pub predicted: Option<Outcome>,
}

impl Verdict {
    /// Whether everything is as it should be.
    pub fn is_good(&self) -> bool {
        *self == Self::default()
    }

    /// Judges what happened in `stage`.
    pub fn of(stage: &Stage, played: &Played) -> Self {
        let mut mismatches = BTreeMap::new();
        for (probe, wanted) in &stage.wanted {
            let got = played.outcomes.get(probe).copied();
            let predicted = played.predicted.as_ref().map(|predicted| predicted.get(probe).copied());
            let right = Some(wanted.outcome());
            if got != right || predicted.is_some_and(|predicted| predicted != right) {
                let mismatch = Mismatch { wanted: *wanted, got, predicted: predicted.flatten() };
                mismatches.insert(probe.clone(), mismatch);
            }
        }
        let reported = || stage.reports_read.iter().chain(&played.reports);
        let is_wanted = |report: &&String| stage.reports_wanted.contains(report);
        let is_reported = |wanted: &&String| reported().any(|report| report == *wanted);
        Self {
            mismatches,
            reports_missing: stage
                .reports_wanted
                .iter()
                .filter(|wanted| !is_reported(wanted))
                .cloned()
                .collect(),
            reports_unexpected: reported().filter(|report| !is_wanted(report)).cloned().collect(),
            complaints: played.complaints.iter().cloned().chain(misled(stage, played)).collect(),
        }
    }
}

/// A sentence for each crafted frame that did not arrive where it should, or not where the evaluator says.
fn misled(stage: &Stage, played: &Played) -> Vec<String> {
    let names = |ids: &BTreeSet<StationId>| {
        let names: Vec<String> = ids.iter().map(StationId::to_string).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    };
    let mut sentences = Vec::new();
    for (frame, at) in stage.frames.iter().zip(0..) {
        let (name, wanted) = (&frame.name, names(&frame.reaches));
        let told = [
            ("reaches", Some(&played.arrivals)),
            ("by the evaluator reaches", played.arrivals_predicted.as_ref()),
        ];
        for (verb, arrivals) in told {
            let Some(arrivals) = arrivals else { continue };
            let got = arrivals.get(at).map_or_else(|| "nothing known".to_owned(), names);
            if got != wanted {
                sentences.push(format!("{name} {verb} {got}; wanted: {wanted}"));
            }
        }
    }
    sentences
}

impl Wanted {
    /// The outcome that is wanted.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Closed => Outcome::Closed,
            Self::Open => Outcome::Open,
        }
    }
}

/// A stage that was played and judged.
pub struct Judged<'a> {
    /// The stage.
    pub stage: &'a Stage,
    /// What happened.
    pub played: Played,
    /// What is wrong with it.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// Plays stages until one fails, and hands each to `show`. Whether all are good.
pub fn run<'a>(
    arm: &mut dyn Arm,
    stages: &'a [Stage],
    mut show: impl FnMut(Judged<'a>) -> Result<()>,
) -> Result<bool> {
    for stage in stages {
        let started = Instant::now();
        let played = arm.play(stage).with_context(|| format!("in {:?}", stage.name))?;
        let verdict = Verdict::of(stage, &played);
        let good = verdict.is_good();
        show(Judged { stage, played, verdict, took: started.elapsed() })?;
        if !good {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::StationId;
    use crate::probe::{Family, ProbeKind};
    use test_case::test_case;

    fn probe() -> Probe {
        let id = |owner: &str| StationId { owner: owner.to_owned(), interface: "net1".to_owned() };
        Probe { kind: ProbeKind::Icmp, family: Family::Ipv4, from: id("a"), to: id("b") }
    }

    fn stage(wanted: Wanted, reports: &[&str]) -> Stage {
        Stage {
            name: "a step".to_owned(),
            events: Vec::new(),
            stations: BTreeMap::new(),
            wanted: BTreeMap::from([(probe(), wanted)]),
            free: BTreeSet::new(),
            frames: Vec::new(),
            reports_wanted: reports.iter().map(|report| (*report).to_owned()).collect(),
            reports_read: Vec::new(),
        }
    }

    fn played(outcome: Outcome, predicted: Option<Outcome>, reports: &[&str]) -> Played {
        Played {
            outcomes: BTreeMap::from([(probe(), outcome)]),
            predicted: predicted.map(|outcome| BTreeMap::from([(probe(), outcome)])),
            reports: reports.iter().map(|report| (*report).to_owned()).collect(),
            ..Played::default()
        }
    }

    #[test_case(Wanted::Open, Outcome::Open, None => true; "open as wanted")]
    #[test_case(Wanted::Closed, Outcome::Closed, Some(Outcome::Closed) => true; "closed as wanted and predicted")]
    #[test_case(Wanted::Open, Outcome::Closed, None => false; "closed although wanted open")]
    #[test_case(Wanted::Closed, Outcome::Open, Some(Outcome::Closed) => false; "open although wanted closed")]
    #[test_case(Wanted::Open, Outcome::OneWay, None => false; "one way is not open")]
    #[test_case(Wanted::Closed, Outcome::OneWay, None => false; "one way is not closed")]
    #[test_case(Wanted::Open, Outcome::Open, Some(Outcome::Closed) => false; "the evaluator disagrees")]
    fn packets_expectation_and_evaluator_must_agree(
        wanted: Wanted,
        got: Outcome,
        predicted: Option<Outcome>,
    ) -> bool {
        Verdict::of(&stage(wanted, &[]), &played(got, predicted, &[])).is_good()
    }

    #[test]
    fn a_probe_without_outcome_is_a_mismatch() {
        let verdict = Verdict::of(&stage(Wanted::Closed, &[]), &Played::default());
        assert_eq!(verdict.mismatches.len(), 1);
    }

    #[test]
    fn reports_must_be_exactly_those_that_are_wanted() {
        let played = played(Outcome::Open, None, &["b", "c"]);
        let verdict = Verdict::of(&stage(Wanted::Open, &["a", "b"]), &played);
        assert_eq!(
            (verdict.reports_missing, verdict.reports_unexpected),
            (vec!["a".to_owned()], vec!["c".to_owned()])
        );
    }

    #[test]
    fn a_complaint_is_enough_to_fail() {
        let played = Played { complaints: vec!["wrong".to_owned()], ..played(Outcome::Open, None, &[]) };
        assert!(!Verdict::of(&stage(Wanted::Open, &[]), &played).is_good());
    }
}
