//! Which faults happened, and how often: a campaign that never met one says nothing about it.

use alloc::collections::BTreeMap;
use core::fmt;

use crate::step::{ERRNOS, Request};

/// Every class of fault besides the kernel's error numbers.
pub const FAULTS: [&str; 35] = [
    "api: bookmark",
    "api: event of another kind overtakes",
    "api: event twice",
    "api: history forgotten (410)",
    "api: list from a cache that is behind",
    "api: silence of a minute",
    "api: watch broken and resumed",
    "agent: killed between two requests",
    "agent: killed while it serves",
    "agent: killed with a commit done and unheard of",
    "agent: read only what was touched",
    "agent: started as another version",
    "agent: started as one of another layout",
    "agent: started on a foreign table",
    "agent: started on a table that is already right",
    "foreign: another table changed",
    "foreign: chain emptied",
    "foreign: commit in the middle of a list",
    "foreign: commit just before ours (ERESTART)",
    "foreign: element dropped",
    "foreign: half of the table gone",
    "foreign: rule changed under its comment",
    "foreign: something added",
    "foreign: table deleted",
    "foreign: table of another layout",
    "kernel: answer to a commit lost",
    "kernel: slow commit",
    "links: announcements lost",
    "links: index reused before it was heard of",
    "links: port appeared",
    "links: port renamed",
    "links: port vanished",
    "notices: late",
    "notices: lost (ENOBUFS)",
    "notices: never sent",
];

/// Counts.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Coverage {
    counts: BTreeMap<&'static str, u64>,
    errnos: BTreeMap<(Request, usize), u64>,
    /// Runs.
    pub runs: u64,
    /// Steps.
    pub steps: u64,
    /// Commits of the agent.
    pub commits: u64,
    /// Commits after which what the kernel held was compared with compilation from scratch.
    pub from_scratch: u64,
    /// Frames judged by the evaluator and by the independent reading of the policies.
    pub frames: u64,
}

impl Coverage {
    /// One more of a class.
    pub fn saw(&mut self, class: &'static str) {
        *self.counts.entry(class).or_default() += 1;
    }

    /// An error number was given for an answer.
    pub fn refused(&mut self, request: Request, errno: nix::errno::Errno) {
        let number = ERRNOS.iter().position(|known| *known == errno).unwrap_or(ERRNOS.len());
        *self.errnos.entry((request, number)).or_default() += 1;
    }

    /// Takes in the counts of other runs.
    pub fn add(&mut self, other: &Self) {
        for (class, count) in &other.counts {
            *self.counts.entry(class).or_default() += count;
        }
        for (key, count) in &other.errnos {
            *self.errnos.entry(*key).or_default() += count;
        }
        self.runs += other.runs;
        self.steps += other.steps;
        self.commits += other.commits;
        self.from_scratch += other.from_scratch;
        self.frames += other.frames;
    }

    /// The faults that never happened.
    pub fn missing(&self) -> Vec<String> {
        let classes = FAULTS.iter().filter(|class| !self.counts.contains_key(*class));
        let mut missing: Vec<String> = classes.map(ToString::to_string).collect();
        for request in Request::ALL {
            for (number, errno) in ERRNOS.iter().enumerate() {
                let is_truth = request == Request::List && *errno == nix::errno::Errno::ENOENT;
                if !is_truth && !self.errnos.contains_key(&(request, number)) {
                    missing.push(format!("kernel: {errno:?} in answer to {request:?}"));
                }
            }
        }
        if self.frames == 0 {
            missing.push("frames that the independent reading of the policies judges".to_owned());
        }
        missing
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12}  class of fault", "times")?;
        for (class, count) in &self.counts {
            writeln!(f, "{count:>12}  {class}")?;
        }
        for request in Request::ALL {
            let of_request = self.errnos.iter().filter(|((asked, _), _)| *asked == request);
            let (kinds, count) = of_request.fold((0, 0), |(kinds, sum), (_, count)| (kinds + 1, sum + count));
            writeln!(
                f,
                "{count:>12}  kernel: an error for an answer to {request:?} ({kinds} error numbers)"
            )?;
        }
        write!(
            f,
            "{} runs, {} steps, {} commits ({} compared with compilation from scratch), {} frames",
            self.runs, self.steps, self.commits, self.from_scratch, self.frames
        )
    }
}
