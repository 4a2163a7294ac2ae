//! A journal: everything that the core heard and asked for, in order, so that what it did can be done again.
//!
//! A journal begins with [`Entry::Start`]. One that is continued in another file begins there with a checkpoint: events
//! from which a new core comes to know what the old one knew, its memories of earlier versions included, and then
//! [`Entry::Ready`]. How entries are written and where is no concern of the core's.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use serde::{Deserialize, Serialize};

use crate::compiler::Compiler;
use crate::config::Config;
use crate::input::Input;
use crate::output::{Generation, Output, Transaction};
use crate::time::Time;

/// The version of the form of these entries.
pub const FORMAT: u32 = 2;

/// One thing that a journal tells.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Entry {
    /// The core asked for this.
    Asked(Output),
    /// The core heard this.
    Heard {
        /// When, since the agent started.
        at: Time,
        /// What.
        input: Input,
    },
    /// The checkpoint is complete: what the core asked for while it was told is no news.
    Ready,
    /// The first entry.
    Start(Start),
}

/// Where a journal begins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Start {
    /// The version of the form of the entries, [`FORMAT`].
    pub format: u32,
    /// The version of the program that wrote it.
    pub program: String,
    /// The settings of the core.
    pub config: Config,
    /// The number of the last transaction before the first one of this journal.
    pub generation: Generation,
}

impl Start {
    /// The beginning of the journal of a new core.
    pub fn new(program: impl Into<String>, config: &Config) -> Self {
        Self { format: FORMAT, program: program.into(), config: config.clone(), generation: Generation(0) }
    }
}

/// What does not fit when a journal is replayed.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Difference {
    /// The core asks for something else than it did then.
    #[error("the core asked for this:\n{}\nand asks for this now:\n{}", shown(Some(.then)), shown(.now.as_deref()))]
    Asked {
        /// What the journal says.
        then: Box<Output>,
        /// What it is now; nothing, when there is nothing left to ask for.
        now: Option<Box<Output>>,
    },
    /// A checkpoint that does not lead to where the core was.
    #[error("the checkpoint leaves something to be done:\n{}", shown(Some(.0)))]
    Checkpoint(Box<Output>),
    /// The journal is written in a form that this program does not know.
    #[error("it is written in form {0}, and this program reads form {FORMAT}")]
    Format(u32),
    /// An entry at a place where it cannot be.
    #[error("an entry out of place: {0}")]
    OutOfPlace(&'static str),
}

/// A request as text.
fn shown(output: Option<&Output>) -> String {
    match output {
        Some(Output::Apply(transaction)) => {
            format!("transaction {}\n{transaction}", transaction.generation)
        }
        Some(other) => format!("{other:?}"),
        None => String::from("nothing"),
    }
}

/// A core that does again what a journal tells.
#[derive(Debug, Default)]
pub struct Replay {
    compiler: Option<Compiler>,
}

impl Replay {
    /// The core as it is at this place of the journal; `None` before its beginning.
    pub const fn compiler(&self) -> Option<&Compiler> {
        self.compiler.as_ref()
    }

    /// Does what the next entry tells; answers with the transaction that the core asks for, if it does.
    pub fn take(&mut self, entry: Entry) -> Result<Option<Transaction>, Difference> {
        if let Entry::Start(start) = entry {
            if start.format != FORMAT {
                return Err(Difference::Format(start.format));
            }
            // An agent that was started again wrote to the same file.
            self.compiler = Some(Compiler::continued(&start.config, start.generation));
            return Ok(None);
        }
        let Some(compiler) = &mut self.compiler else {
            return Err(Difference::OutOfPlace("the journal does not begin with a start"));
        };
        match entry {
            Entry::Heard { at, input } => compiler.handle_input(input, at),
            Entry::Ready => {
                while let Some(output) = compiler.poll_output() {
                    if let Output::Apply(_) = output {
                        return Err(Difference::Checkpoint(Box::new(output)));
                    }
                }
            }
            Entry::Asked(then) => {
                let now = compiler.poll_output();
                if now.as_ref() != Some(&then) {
                    return Err(Difference::Asked { then: Box::new(then), now: now.map(Box::new) });
                }
                if let Output::Apply(transaction) = then {
                    return Ok(Some(transaction));
                }
            }
            Entry::Start(_) => {}
        }
        Ok(None)
    }
}

/// The entries with which a journal of `program` can begin anew, in place of all that led here. `None` while anything is
/// under way.
pub fn checkpoint(compiler: &Compiler, config: &Config, program: &str) -> Option<Vec<Entry>> {
    let (generation, observed_at) = compiler.rest()?;
    let heard = |input| Entry::Heard { at: observed_at, input };
    let mut entries = Vec::from([Entry::Start(Start { generation, ..Start::new(program, config) })]);
    entries.extend(compiler.world().retold().into_iter().map(heard));
    entries.push(heard(Input::Observed(compiler.applied().clone())));
    entries.push(Entry::Ready);
    Some(entries)
}

/// A [`Witness`](crate::Witness) that keeps everything in memory.
#[derive(Debug, Default)]
pub struct Notes(Vec<Entry>);

impl Notes {
    /// Notes that begin with `start`.
    pub fn new(start: Start) -> Self {
        Self(Vec::from([Entry::Start(start)]))
    }

    /// What was noted since the last time.
    pub fn take(&mut self) -> Vec<Entry> {
        mem::take(&mut self.0)
    }
}

impl crate::Witness for Notes {
    fn heard(&mut self, input: &Input, now: Time) {
        self.0.push(Entry::Heard { at: now, input: input.clone() });
    }

    fn asked(&mut self, output: &Output) {
        self.0.push(Entry::Asked(output.clone()));
    }
}
