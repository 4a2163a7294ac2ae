//! Many runs from one seed on, on every core; and of a run that fails, the shortest that still does.

use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::panic::catch_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use policy_core::journal::Entry;

use crate::coverage::Coverage;
use crate::run::{Manner, Violation, run};
use crate::source::{Source, random_bytes};
use crate::step::{Scene, Step};

/// The fewest steps of a run.
pub const STEPS_MIN: usize = 200;
/// Random bytes that one step may take.
const BYTES_OF_A_STEP: usize = 160;

/// A run as it is drawn from its seed.
#[derive(Clone, PartialEq, Debug)]
pub struct Drawn {
    /// What kind of run it is.
    pub scene: Scene,
    /// What happens.
    pub steps: Vec<Step>,
}

/// The run of a seed.
pub fn draw(seed: u64) -> Drawn {
    let head = random_bytes(seed, 64);
    let mut source = Source::new(&head);
    let scene = Scene::draw(&mut source);
    let count = STEPS_MIN + source.below(64);
    let all = random_bytes(seed.rotate_left(32) ^ 0x5bd1_e995, count * BYTES_OF_A_STEP);
    let random = all.chunks(BYTES_OF_A_STEP).map(|bytes| scene.step(&mut Source::new(bytes)));
    let first = random_bytes(!seed, 20 * BYTES_OF_A_STEP);
    let steps = scene.beginning(&mut Source::new(&first)).into_iter().chain(random).collect();
    Drawn { scene, steps }
}

/// Runs steps; a panic of the core is a violation too.
pub fn attempt(
    scene: &Scene,
    steps: &[Step],
    manner: Manner,
) -> (Coverage, Vec<Entry>, Result<(), Violation>) {
    let attempted = catch_unwind(AssertUnwindSafe(|| run(scene, steps, manner)));
    attempted.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let text = format!("a panic: {}", text.unwrap_or_default());
        (Coverage::default(), Vec::new(), Err(Violation { step: steps.len(), text }))
    })
}

/// What a campaign found.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What happened.
    pub coverage: Coverage,
    /// How long it took.
    pub took: Duration,
    /// The first run that failed, if one did.
    pub failed: Option<u64>,
}

/// Runs the seeds from `first` on, at most `count` of them and for at most `time`, on so many threads.
pub fn campaign(first: u64, count: u64, time: Option<Duration>, threads: usize, manner: Manner) -> Summary {
    let begun = Instant::now();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let total = Mutex::new((Coverage::default(), None::<u64>));
    let work = || {
        let mut coverage = Coverage::default();
        let mut failed = None;
        while !stop.load(Ordering::Relaxed) && time.is_none_or(|time| begun.elapsed() < time) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            let seed = first.wrapping_add(number);
            let Drawn { scene, steps } = draw(seed);
            let (met, _, found) = attempt(&scene, &steps, manner);
            coverage.add(&met);
            if found.is_err() {
                failed = Some(seed);
                stop.store(true, Ordering::Relaxed);
            }
        }
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        total.0.add(&coverage);
        total.1 = [total.1, failed].into_iter().flatten().min();
    };
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    let (coverage, failed) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    Summary { coverage, took: begun.elapsed(), failed }
}

/// The fewest of `steps` that still fail, found by leaving parts out.
pub fn shrink(scene: &Scene, steps: &[Step], manner: Manner) -> Vec<Step> {
    let fails = |steps: &[Step]| attempt(scene, steps, manner).2.is_err();
    let mut kept = steps.to_vec();
    if let Err(violation) = attempt(scene, &kept, manner).2 {
        kept.truncate(violation.step);
        if !fails(&kept) {
            kept = steps.to_vec();
        }
    }
    let mut size = kept.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let before = kept.len();
        while at < kept.len() {
            let end = (at + size).min(kept.len());
            let without: Vec<Step> = kept.iter().take(at).chain(kept.iter().skip(end)).cloned().collect();
            if fails(&without) {
                kept = without;
            } else {
                at = end;
            }
        }
        if size == 1 && kept.len() == before {
            return kept;
        }
        size = size.div_ceil(2).max(1);
    }
}

/// A run that fails, for people: the fewest steps of it that do, and what is wrong after them.
pub fn story(seed: u64, manner: Manner) -> Option<(String, Vec<Entry>)> {
    let Drawn { scene, steps } = draw(seed);
    attempt(&scene, &steps, manner).2.err()?;
    let fewest = shrink(&scene, &steps, manner);
    let (_, journal, found) = attempt(&scene, &fewest, Manner { journal: true, ..manner });
    let violation = found.err()?;
    let shown =
        fewest.iter().zip(1..).map(|(step, number): (&Step, usize)| format!("{number:4}  {step:?}\n"));
    let shown: String = shown.collect();
    let when = if violation.step > fewest.len() {
        "at the end".to_owned()
    } else {
        format!("after step {}", violation.step)
    };
    let (few, all, wrong) = (fewest.len(), steps.len(), violation.text);
    let text = format!(
        "seed {seed} fails; {few} of its {all} steps are enough:\n{scene:?}\n{shown}{when}: {wrong}\n"
    );
    Some((text, journal))
}
