//! A search for inputs that hurt: the corpus is changed again and again, and what shows a new feature joins it in memory.

use alloc::collections::BTreeSet;
use core::fmt;
use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::time::{ClockId, clock_gettime};

use crate::corpus;
use crate::features::Features;
use crate::keep::{is_found, minimised, shortened, write};
use crate::mutate::Mutator;
use crate::target::Target;

/// An input that takes longer is a finding, like a panic.
pub const SLOW: Duration = Duration::from_secs(5);

/// The stack that a target gets, in bytes: what Rust's tests and Tokio's workers have.
pub const STACK: usize = 2 << 20;

/// How long to search, from where, and where findings go.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// When to end.
    pub duration: Duration,
    /// Which choices are made.
    pub seed: u64,
    /// A directory for findings. While the search runs, the input under trial is there as `current`: a stack overflow ends
    /// the program before it can say anything.
    pub findings: PathBuf,
    /// Whether inputs that showed something new go into the corpus.
    pub keep: bool,
}

/// What a search without a finding has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Inputs tried.
    pub executions: u64,
    /// Features seen.
    pub features: usize,
    /// Inputs that showed them: those of the corpus and new ones.
    pub pool: usize,
    /// Of those that were found, the ones that are in the corpus now.
    pub kept: usize,
    /// The longest that an input took.
    pub slowest: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executions, features, pool, kept, slowest } = self;
        write!(
            f,
            "{executions} inputs, {features} features shown by {pool}, {kept} of them kept, slowest {} ms",
            slowest.as_millis()
        )
    }
}

/// What an input did that it must not do.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Harm {
    /// It made the target panic with this message.
    Panic(String),
    /// It took this long.
    Slow(Duration),
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(message) => write!(f, "panic: {message}"),
            Self::Slow(took) => write!(f, "{} ms", took.as_millis()),
        }
    }
}

impl Campaign {
    /// Searches on a stack of [`STACK`] bytes.
    ///
    /// # Errors
    /// A finding: what happened, and the file with the input. Or the corpus or the directory cannot be used.
    pub fn run(&self, target: &Target) -> Result<Summary> {
        fs::create_dir_all(&self.findings)
            .with_context(|| format!("cannot make {}", self.findings.display()))?;
        thread::scope(|scope| {
            let search = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || self.search(target));
            let search = search.context("cannot start a thread")?;
            search.join().map_err(|_panic| anyhow!("the search itself panicked"))?
        })
    }

    fn search(&self, target: &Target) -> Result<Summary> {
        let begun = Instant::now();
        let mut seen = BTreeSet::new();
        let mut summary = Summary { executions: 0, features: 0, pool: 0, kept: 0, slowest: Duration::ZERO };
        let mut pool = Vec::new();
        // What was found before has to show again that it is worth its place.
        let (found, written): (Vec<_>, Vec<_>) =
            corpus::entries(target.name)?.into_iter().partition(is_found);
        for entry in written {
            self.attempt(target, &entry.bytes, &mut summary, &mut seen)?;
            pool.push(entry.bytes);
        }
        let (by_hand, known) = (pool.len(), seen.clone());
        for entry in found {
            self.attempt(target, &entry.bytes, &mut summary, &mut seen)?;
            pool.push(entry.bytes);
        }
        let mut mutator = Mutator::new(self.seed, target.words);
        while begun.elapsed() < self.duration {
            let input = mutator.next(&pool);
            if self.attempt(target, &input, &mut summary, &mut seen)? {
                pool.push(input);
            }
        }
        summary.features = seen.len();
        summary.pool = pool.len();
        if self.keep {
            let features = |input: &[u8]| -> BTreeSet<String> {
                let features = attempt(target, input).0.unwrap_or_default();
                features.iter().map(str::to_owned).collect()
            };
            let inputs = minimised(pool.split_off(by_hand), known, &features);
            summary.kept = inputs.len();
            write(target, &inputs)?;
        }
        Ok(summary)
    }

    /// Tries one input; whether it showed anything new.
    fn attempt(
        &self,
        target: &Target,
        input: &[u8],
        summary: &mut Summary,
        seen: &mut BTreeSet<String>,
    ) -> Result<bool> {
        let current = self.findings.join("current");
        fs::write(&current, input).with_context(|| format!("cannot write {}", current.display()))?;
        summary.executions += 1;
        let (features, took) = attempt(target, input);
        summary.slowest = summary.slowest.max(took);
        match features {
            Ok(features) if took <= SLOW => {
                let before = seen.len();
                seen.extend(features.iter().map(str::to_owned));
                Ok(seen.len() > before)
            }
            Ok(_) => self.report(target, input, &Harm::Slow(took)),
            Err(message) => {
                let small = shortened(input.to_vec(), |input| attempt(target, input).0.is_err());
                self.report(target, &small, &Harm::Panic(message))
            }
        }
    }

    fn report(&self, target: &Target, input: &[u8], harm: &Harm) -> Result<bool> {
        let file = self.findings.join(format!("{}-{}", target.name, input.len()));
        fs::write(&file, input).with_context(|| format!("cannot write {}", file.display()))?;
        bail!(
            "{}: {harm}\nthe input is in {}; once mended, add it to {}",
            target.name,
            file.display(),
            corpus::directory(target.name).display()
        )
    }
}

/// One input, on a stack of [`STACK`] bytes: what it showed or the message of its panic, and how long it took.
pub fn trial(target: &Target, input: &[u8]) -> (Result<Features, String>, Duration) {
    thread::scope(|scope| {
        let runner = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || attempt(target, input));
        match runner.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => (Err("a panic outside the target".into()), Duration::ZERO),
            Err(error) => (Err(format!("cannot start a thread: {error}")), Duration::ZERO),
        }
    })
}

/// Runs a target on an input: what it showed or the message of its panic, and how much of the processor's time it took.
fn attempt(target: &Target, input: &[u8]) -> (Result<Features, String>, Duration) {
    let begun = worked();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let message = outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
    });
    (message, worked().saturating_sub(begun))
}

/// How long this thread has had a processor: on a machine that is shared, the time of day says little.
fn worked() -> Duration {
    // Every Linux has this clock (clock_gettime(2)).
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Where findings of a build in `directory` go.
pub fn findings(directory: &Path, target: &str) -> PathBuf {
    directory.join("fuzz-findings").join(target)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::env;

    use super::{Campaign, findings};
    use crate::features::Features;
    use crate::target::{Target, find};

    fn campaign(name: &str, millis: u64) -> Campaign {
        let directory = env::temp_dir().join(format!("campaign-{}-{name}", std::process::id()));
        Campaign {
            duration: Duration::from_millis(millis),
            seed: 1,
            findings: findings(&directory, name),
            keep: false,
        }
    }

    fn remove(campaign: &Campaign) {
        let directory = campaign.findings.ancestors().nth(2).expect("the test's own directory");
        std::fs::remove_dir_all(directory).expect("it can be removed");
    }

    /// A target with a fault: it uses the inputs of another one.
    fn faulty(bytes: &[u8]) -> Features {
        assert!(!bytes.windows(2).any(|pair| pair == b",,"), "two commas");
        Features::default()
    }

    #[test]
    fn a_fault_is_found_and_its_input_is_small() {
        let target = Target { run: faulty, ..*find("policy-for").expect("a target") };
        let campaign = campaign("faulty", 60_000);
        let error = campaign.run(&target).expect_err("the fault is near").to_string();
        assert!(error.starts_with("policy-for: panic: two commas\n"), "{error}");
        let small = std::fs::read(campaign.findings.join("policy-for-2")).expect("the finding is kept");
        assert_eq!(small, b",,");
        std::fs::remove_dir_all(campaign.findings.parent().expect("its directory"))
            .expect("it can be removed");
    }

    #[test]
    fn a_target_without_a_fault_ends_in_time() {
        let target = find("policy-for").expect("a target");
        let campaign = campaign("short", 300);
        let summary = campaign.run(target).expect("no finding");
        assert!(summary.executions > 1 && summary.features > 1, "{summary}");
        assert!(summary.pool > 0 && summary.slowest > Duration::ZERO, "{summary}");
        remove(&campaign);
    }
}
