//! The loop around the compiler, without threads and clocks: what the agent runs, and what simulations run in its place.

use alloc::vec::Vec;

use crate::compiler::Compiler;
use crate::config::Config;
use crate::input::Input;
use crate::kernel::{Kernel, Observation};
use crate::output::{Output, Report, Transaction};
use crate::time::Time;

/// Somebody who is told everything that goes into the core and comes out of it, in order: a journal.
pub trait Witness {
    /// The core is about to hear this.
    fn heard(&mut self, input: &Input, now: Time);
    /// The core has asked for this.
    fn asked(&mut self, output: &Output);
}

/// Nobody.
impl Witness for () {
    fn heard(&mut self, _: &Input, _: Time) {}
    fn asked(&mut self, _: &Output) {}
}

/// Somebody, or nobody.
impl<W: Witness> Witness for Option<W> {
    fn heard(&mut self, input: &Input, now: Time) {
        if let Some(witness) = self {
            witness.heard(input, now);
        }
    }

    fn asked(&mut self, output: &Output) {
        if let Some(witness) = self {
            witness.asked(output);
        }
    }
}

/// Something that happened while requests were served.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome<E> {
    /// The kernel committed a transaction.
    Committed(Transaction),
    /// The kernel's table was read.
    Observed,
    /// The kernel could not be observed; it is tried again later.
    Unobservable(E),
    /// The kernel refused a transaction; it is observed and asked again, later when that happens often.
    Refused(Transaction, E),
    /// There is something to be told to people.
    Reported(Report),
}

/// A core with somebody who serves it: one request at a time, so that whoever runs it may end between any two.
#[derive(Debug)]
pub struct Attendant<W = ()> {
    compiler: Compiler,
    witness: W,
}

impl<W: Witness> Attendant<W> {
    /// A core that knows nothing yet.
    pub fn new(config: &Config, witness: W) -> Self {
        Self { compiler: Compiler::new(config), witness }
    }

    /// The core.
    pub const fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// Whoever is told everything.
    pub const fn witness(&mut self) -> &mut W {
        &mut self.witness
    }

    /// Passes an event on.
    pub fn tell(&mut self, input: Input, now: Time) {
        self.witness.heard(&input, now);
        self.compiler.handle_input(input, now);
    }

    /// Serves the core's next request with `kernel`, and tells it the answer as of `clock`, which is read when the kernel has
    /// answered. `None` when the core wants nothing.
    pub fn serve<K: Kernel>(
        &mut self,
        kernel: &mut K,
        clock: impl FnOnce() -> Time,
    ) -> Option<Outcome<K::Error>> {
        serve(&mut self.compiler, &mut self.witness, kernel, clock)
    }
}

fn serve<K: Kernel>(
    compiler: &mut Compiler,
    witness: &mut impl Witness,
    kernel: &mut K,
    clock: impl FnOnce() -> Time,
) -> Option<Outcome<K::Error>> {
    let output = compiler.poll_output()?;
    witness.asked(&output);
    let (answer, outcome) = match output {
        Output::Apply(transaction) => applied(transaction, kernel),
        Output::Observe => match kernel.observe() {
            Ok(ruleset) => (Input::Observed(ruleset), Outcome::Observed),
            Err(error) => (Input::Unobservable, Outcome::Unobservable(error)),
        },
        Output::ObserveTouched => match kernel.observe_touched() {
            Ok(Observation::Touched(touched)) => (Input::ObservedTouched(touched), Outcome::Observed),
            Ok(Observation::Whole(ruleset)) => (Input::Observed(ruleset), Outcome::Observed),
            Err(error) => (Input::Unobservable, Outcome::Unobservable(error)),
        },
        Output::Report(report) => return Some(Outcome::Reported(report)),
    };
    let now = clock();
    witness.heard(&answer, now);
    compiler.handle_input(answer, now);
    Some(outcome)
}

fn applied<K: Kernel>(transaction: Transaction, kernel: &mut K) -> (Input, Outcome<K::Error>) {
    let generation = transaction.generation;
    match kernel.apply(&transaction) {
        Ok(()) => (Input::Applied(generation), Outcome::Committed(transaction)),
        Err(error) => {
            let fault = error.clone().into();
            (Input::Refused { generation, fault }, Outcome::Refused(transaction, error))
        }
    }
}

/// Serves the compiler's requests with `kernel` until it has none, and returns what happened, in order; that the table was
/// read goes without saying.
pub fn pump<K: Kernel>(compiler: &mut Compiler, kernel: &mut K, now: Time) -> Vec<Outcome<K::Error>> {
    let mut outcomes = Vec::new();
    while let Some(outcome) = serve(compiler, &mut (), kernel, || now) {
        if !matches!(outcome, Outcome::Observed) {
            outcomes.push(outcome);
        }
    }
    outcomes
}
