//! What people read when a stage has failed.

use alloc::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use crate::matrix::{Cell, Matrix, Style};
use crate::probe::{Family, ProbeKind};
use crate::run::{Judged, Mismatch};
use crate::scenario::Wanted;

/// Writes everything that is wrong with a stage, then the ruleset it ran with.
pub fn failure(out: &mut dyn Write, judged: &Judged<'_>, colour: bool) -> io::Result<()> {
    let verdict = &judged.verdict;
    writeln!(out, "in {:?}:", judged.stage.name)?;
    for (kind, family) in failed_kinds(judged) {
        writeln!(out, "\n{kind} over {family}; cells are wanted/got where they differ")?;
        write!(out, "{}", matrix(judged, kind, family).render(colour))?;
    }
    if verdict
        .mismatches
        .values()
        .any(|mismatch| mismatch.predicted.is_some_and(|it| Some(it) != mismatch.got))
    {
        writeln!(out, "\nprobes that the packets and the evaluator disagree about:")?;
        for (probe, mismatch) in &verdict.mismatches {
            if let (Some(predicted), got) = (mismatch.predicted, mismatch.got)
                && Some(predicted) != got
            {
                let got = got.map_or_else(|| "nothing".to_owned(), |got| got.to_string());
                writeln!(out, "  {probe}: packets {got}, evaluator {predicted}")?;
            }
        }
    }
    for (what, reports) in [
        ("not reported, although expected", &verdict.reports_missing),
        ("reported, although not expected", &verdict.reports_unexpected),
    ] {
        for report in reports {
            writeln!(out, "\n{what}:\n  {report}")?;
        }
    }
    for complaint in &verdict.complaints {
        writeln!(out, "\n{complaint}")?;
    }
    writeln!(out, "\nthe ruleset:\n{}", judged.played.nft)
}

fn failed_kinds(judged: &Judged<'_>) -> BTreeSet<(ProbeKind, Family)> {
    judged.verdict.mismatches.keys().map(|probe| (probe.kind, probe.family)).collect()
}

/// Every pair's outcome for one kind of probe.
fn matrix(judged: &Judged<'_>, kind: ProbeKind, family: Family) -> Matrix {
    let mut matrix = Matrix::default();
    for (probe, wanted) in
        judged.stage.wanted.iter().filter(|(probe, _)| (probe.kind, probe.family) == (kind, family))
    {
        let cell = match judged.verdict.mismatches.get(probe) {
            Some(mismatch) => mismatched(*mismatch),
            None => Cell {
                text: wanted.outcome().to_string(),
                style: if *wanted == Wanted::Open { Style::Plain } else { Style::Dim },
            },
        };
        matrix.set(&probe.from, &probe.to, cell);
    }
    matrix
}

fn mismatched(mismatch: Mismatch) -> Cell {
    let got = mismatch.got.map_or_else(|| "nothing".to_owned(), |got| got.to_string());
    let wanted = mismatch.wanted.outcome().to_string();
    // When only the evaluator differs, the packets did what was wanted.
    let text = if got == wanted { format!("{wanted}?") } else { format!("{wanted}/{got}") };
    Cell { text, style: Style::Bad }
}

/// The letters that stand for the kinds of probes in one cell.
fn letter(kind: ProbeKind) -> char {
    match kind {
        ProbeKind::Arp => 'A',
        ProbeKind::Ether(_) => 'E',
        ProbeKind::Icmp => 'P',
        ProbeKind::IcmpError(_) => 'R',
        ProbeKind::Sctp(_) => 'S',
        ProbeKind::Tcp(_) => 'T',
        ProbeKind::Udp(_) => 'U',
        ProbeKind::UdpBig(_) => 'B',
    }
}

/// One cell for each pair: a letter for every probe that was answered, a dot for every other; pairs that differ from
/// `before` are marked.
pub fn overview(judged: &Judged<'_>, before: Option<&Judged<'_>>) -> Matrix {
    let mut texts: BTreeMap<_, String> = BTreeMap::new();
    let mut changed = BTreeSet::new();
    let mut last_family = BTreeMap::new();
    let by_family: BTreeSet<_> = judged
        .stage
        .wanted
        .keys()
        .map(|probe| (&probe.from, &probe.to, probe.family, probe.kind, probe))
        .collect();
    for (from, to, family, kind, probe) in by_family {
        let text = texts.entry((from, to)).or_default();
        if last_family.insert((from, to), family).is_some_and(|last| last != family) {
            text.push(' ');
        }
        let outcome = judged.played.outcomes.get(probe);
        let open = outcome == Some(&crate::probe::Outcome::Open);
        text.push(if open { letter(kind) } else { '.' });
        if before.is_some_and(|before| before.played.outcomes.get(probe) != outcome) {
            changed.insert((from, to));
        }
    }
    let mut matrix = Matrix::default();
    for ((from, to), text) in texts {
        let is_changed = changed.contains(&(from, to));
        let text = if is_changed { format!("{text}*") } else { text };
        let style = if is_changed { Style::Changed } else { Style::Plain };
        matrix.set(from, to, Cell { text, style });
    }
    matrix
}

/// What the letters of [`overview`] mean.
pub fn legend(kinds: &[ProbeKind]) -> String {
    let meaning = |kind: &ProbeKind| {
        let name = match kind {
            ProbeKind::Arp => "arping".to_owned(),
            ProbeKind::Icmp => "ping".to_owned(),
            ProbeKind::Ether(_)
            | ProbeKind::IcmpError(_)
            | ProbeKind::Sctp(_)
            | ProbeKind::Tcp(_)
            | ProbeKind::Udp(_)
            | ProbeKind::UdpBig(_) => kind.to_string(),
        };
        format!("{} {name}", letter(*kind))
    };
    let meanings: Vec<String> = kinds.iter().map(meaning).collect();
    format!("{}, . no answer; first over IPv4, then over IPv6, then neither; * changed", meanings.join(", "))
}
