//! What people see while a scenario is played: nothing, or everything.

use std::io::{self, Write};

use crate::probe::ProbeKind;
use crate::report;
use crate::run::Judged;

/// Tells a played scenario as a story: each step, the matrix after it with what changed, the table once, and after
/// that what each event changed in it and how long that took.
pub struct Story<'a> {
    kinds: &'a [ProbeKind],
    colour: bool,
    before: Option<Judged<'a>>,
}

impl<'a> Story<'a> {
    /// Writes the title.
    pub fn begin(out: &mut dyn Write, title: &str, kinds: &'a [ProbeKind], colour: bool) -> io::Result<Self> {
        writeln!(out, "{}\n\n{}", title.trim_end(), report::legend(kinds))?;
        Ok(Self { kinds, colour, before: None })
    }

    /// Tells one stage.
    pub fn tell(&mut self, out: &mut dyn Write, judged: Judged<'a>) -> io::Result<()> {
        let is_first_step = self.before.as_ref().is_some_and(|before| before.stage.name == "the start");
        let heading = format!("== {} ==", judged.stage.name);
        let heading = if self.colour { format!("\x1b[1m{heading}\x1b[0m") } else { heading };
        writeln!(out, "\n{heading}\n")?;
        for report in judged.stage.reports_read.iter().chain(&judged.played.reports) {
            writeln!(out, "reported: {report}\n")?;
        }
        if self.before.is_some() {
            Self::commits(out, &judged, !is_first_step)?;
        }
        write!(out, "{}", report::overview(&judged, self.before.as_ref()).render(self.colour))?;
        let probes = judged.stage.wanted.len();
        let agreement = if judged.verdict.is_good() { "all as expected" } else { "NOT as expected" };
        writeln!(out, "\n{probes} probes in {:.1} s, {agreement}", judged.took.as_secs_f64())?;
        if is_first_step {
            writeln!(out, "\nthe table in the kernel:\n\n{}", judged.played.nft)?;
        }
        self.before = Some(judged);
        out.flush()
    }

    fn commits(out: &mut dyn Write, judged: &Judged<'_>, in_full: bool) -> io::Result<()> {
        for commit in &judged.played.commits {
            let micros = commit.took.as_micros();
            writeln!(
                out,
                "from the event to the kernel's acknowledgement: {}.{:03} ms",
                micros / 1000,
                micros % 1000
            )?;
            if in_full {
                writeln!(out, "all that the transaction changes:")?;
                for line in commit.nft.lines().filter(|line| !line.starts_with("add table")) {
                    writeln!(out, "  {line}")?;
                }
            }
        }
        writeln!(out)
    }

    /// The kinds of probes that the story is about.
    pub const fn kinds(&self) -> &'a [ProbeKind] {
        self.kinds
    }
}
