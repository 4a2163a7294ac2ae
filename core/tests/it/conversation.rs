//! The conversation with the kernel: who waits for whom, how long after a refusal, and what answers count.

use std::time::Duration;

use policy_core::model::{Kind, Labels, Namespace, Object, ObjectId};
use policy_core::ruleset::{ChainName, ChainSpec, Op, Ruleset, Touched};
use policy_core::{
    Compiler, Config, Generation, Input, Kernel, Outcome, Output, Scope, SinkFault, Time, Transaction, Wake,
    pump,
};
use test_case::test_case;

use crate::build::{accept, chain, rule, ruleset};

/// Long enough for every wait.
const AUDIT: Duration = Duration::from_mins(10);

fn at(millis: u64) -> Time {
    Time(Duration::from_millis(millis))
}

/// A core that has listed every kind and asked for the kernel's table.
fn listed() -> Compiler {
    let mut compiler = Compiler::new(&Config::new("here"));
    for kind in Kind::ALL {
        compiler.handle_input(Input::Relist { kind, objects: Vec::new() }, at(0));
    }
    assert_eq!(compiler.poll_output(), Some(Output::Observe));
    assert_eq!(compiler.poll_output(), None);
    compiler
}

/// A table that the core did not make.
fn foreign() -> Ruleset {
    ruleset([chain("stranger", [rule([accept()])])], [])
}

/// A core that has a transaction in flight.
fn applying() -> (Compiler, Transaction) {
    let mut compiler = listed();
    compiler.handle_input(Input::Observed(foreign()), at(0));
    let transaction = transaction(&mut compiler);
    (compiler, transaction)
}

fn transaction(compiler: &mut Compiler) -> Transaction {
    let Some(Output::Apply(transaction)) = compiler.poll_output() else { panic!("no transaction") };
    assert_eq!(compiler.poll_output(), None, "one at a time");
    transaction
}

/// A core at rest: the kernel has what the world demands.
fn settled() -> Compiler {
    let (mut compiler, transaction) = applying();
    compiler.handle_input(Input::Applied(transaction.generation), at(0));
    assert!(compiler.is_settled());
    compiler
}

fn refused(generation: Generation, fault: SinkFault) -> Input {
    Input::Refused { generation, fault }
}

#[test]
fn a_table_that_cannot_be_read_is_tried_again_ever_more_rarely() {
    let mut compiler = listed();
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..12 {
        assert_eq!(compiler.poll_timeout(), None, "the answer is due, not a moment");
        compiler.handle_input(Input::Unobservable, now);
        let (until, wake) = compiler.poll_timeout().unwrap();
        assert_eq!(wake, Wake::Retry);
        assert_eq!(compiler.poll_output(), None, "it waits");
        waits.push(until.0.checked_sub(now.0).unwrap().as_millis());
        now = until;
        compiler.handle_input(Input::Tick, now);
        assert_eq!(compiler.poll_output(), Some(Output::Observe));
    }
    assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_000, 10_000, 10_000]);
}

#[test]
fn a_commit_ends_the_series_of_refusals() {
    let (mut compiler, first) = applying();
    compiler.handle_input(refused(first.generation, SinkFault::Other), at(0));
    assert_eq!(compiler.poll_timeout(), Some((at(20), Wake::Retry)));
    compiler.handle_input(Input::Tick, at(20));
    assert_eq!(compiler.poll_output(), Some(Output::Observe));
    compiler.handle_input(Input::Observed(foreign()), at(20));
    let second = transaction(&mut compiler);
    assert!(second.generation > first.generation, "a transaction has a number of its own");
    compiler.handle_input(refused(second.generation, SinkFault::Denied), at(20));
    assert_eq!(compiler.poll_timeout(), Some((at(60), Wake::Retry)), "twice as long");
    compiler.handle_input(Input::Tick, at(60));
    compiler.handle_input(Input::Observed(foreign()), at(60));
    assert_eq!(compiler.poll_output(), Some(Output::Observe));
    let third = transaction(&mut compiler);
    compiler.handle_input(Input::Applied(third.generation), at(60));
    assert!(compiler.is_settled());
    compiler.handle_input(Input::Tampered, at(60));
    assert_eq!(compiler.poll_output(), Some(Output::ObserveTouched));
    compiler.handle_input(Input::Unobservable, at(60));
    assert_eq!(compiler.poll_timeout(), Some((at(80), Wake::Retry)), "from the beginning");
}

#[test]
fn a_busy_kernel_is_asked_again_at_once_but_only_once() {
    let (mut compiler, first) = applying();
    compiler.handle_input(refused(first.generation, SinkFault::Busy), at(0));
    assert_eq!(compiler.poll_output(), Some(Output::Observe), "without waiting");
    compiler.handle_input(Input::Observed(foreign()), at(0));
    let second = transaction(&mut compiler);
    compiler.handle_input(refused(second.generation, SinkFault::Busy), at(0));
    assert_eq!(compiler.poll_output(), None);
    assert_eq!(compiler.poll_timeout(), Some((at(40), Wake::Retry)));
}

#[test_case(SinkFault::Denied)]
#[test_case(SinkFault::Exists)]
#[test_case(SinkFault::Missing)]
#[test_case(SinkFault::Other)]
fn after_a_refusal_the_table_is_read_before_anything_is_written(fault: SinkFault) {
    let (mut compiler, first) = applying();
    compiler.handle_input(refused(first.generation, fault), at(0));
    compiler.handle_input(Input::Tick, at(19));
    assert_eq!(compiler.poll_output(), None, "a tick too early");
    compiler.handle_input(Input::Tick, at(20));
    assert_eq!(compiler.poll_output(), Some(Output::Observe));
    assert_eq!(compiler.poll_output(), None);
    compiler.handle_input(Input::Observed(compiler.desired().clone()), at(20));
    assert!(compiler.is_settled(), "somebody has already made it so");
    assert_eq!(compiler.poll_output(), None);
}

#[test]
fn the_table_is_audited_after_a_while() {
    let mut compiler = settled();
    assert_eq!(compiler.poll_timeout(), Some((Time(AUDIT), Wake::Audit)));
    compiler.handle_input(Input::Tick, Time(AUDIT.checked_sub(Duration::from_nanos(1)).unwrap()));
    assert_eq!(compiler.poll_output(), None, "a tick too early");
    compiler.handle_input(Input::Tick, Time(AUDIT));
    assert_eq!(compiler.poll_output(), Some(Output::Observe));
    compiler.handle_input(Input::Observed(compiler.desired().clone()), Time(AUDIT));
    assert_eq!(compiler.poll_output(), None, "all is as it should be");
    assert_eq!(compiler.poll_timeout(), Some((Time(AUDIT * 2), Wake::Audit)));
}

#[test]
fn what_an_audit_finds_is_repaired() {
    let mut compiler = settled();
    compiler.handle_input(Input::Tick, Time(AUDIT));
    assert_eq!(compiler.poll_output(), Some(Output::Observe));
    let mut found = compiler.desired().clone();
    found.chains.extend(foreign().chains);
    compiler.handle_input(Input::Observed(found.clone()), Time(AUDIT));
    assert_eq!(compiler.applied(), &found);
    found.apply(&transaction(&mut compiler)).unwrap();
    assert_eq!(&found, compiler.desired());
}

#[test]
fn tampering_at_rest_is_looked_at_at_once() {
    let mut compiler = settled();
    compiler.handle_input(Input::Tampered, at(1));
    assert_eq!(compiler.poll_output(), Some(Output::ObserveTouched));
    assert!(!compiler.is_settled());
}

/// A chain that is not wanted.
fn touched() -> Touched {
    let chains = foreign().chains.into_iter().map(|(name, chain)| (name, Some(chain))).collect();
    Touched { chains, ..Touched::default() }
}

#[test]
fn only_what_was_touched_is_repaired_and_the_audit_comes_as_before() {
    let mut compiler = settled();
    compiler.handle_input(Input::Tampered, at(1));
    assert_eq!(compiler.poll_output(), Some(Output::ObserveTouched));
    compiler.handle_input(Input::ObservedTouched(touched()), at(2));
    let repair = transaction(&mut compiler);
    let names: Vec<ChainName> = foreign().chains.into_keys().collect();
    let removed = |op: &Op| match op {
        Op::DelChain(name) | Op::SetRules(name, _) => names.contains(name),
        Op::AddChain(..) | Op::AddElements(..) | Op::AddSet(..) | Op::DelElements(..) | Op::DelSet(_) => {
            false
        }
    };
    assert!(repair.scope == Scope::Change && repair.ops.iter().all(removed), "{repair}");
    compiler.handle_input(Input::Applied(repair.generation), at(3));
    assert_eq!(compiler.applied(), compiler.desired());
    assert_eq!(compiler.poll_timeout(), Some((Time(AUDIT), Wake::Audit)));
}

#[test]
fn tampering_while_what_was_touched_is_read_makes_it_read_again() {
    let mut compiler = settled();
    compiler.handle_input(Input::Tampered, at(1));
    assert_eq!(compiler.poll_output(), Some(Output::ObserveTouched));
    compiler.handle_input(Input::Tampered, at(1));
    compiler.handle_input(Input::ObservedTouched(touched()), at(2));
    assert_eq!(compiler.poll_output(), Some(Output::ObserveTouched));
    assert_eq!(compiler.poll_output(), None, "nothing is written before the answer");
    compiler.handle_input(Input::ObservedTouched(Touched::default()), at(3));
    assert!(!transaction(&mut compiler).ops.is_empty());
}

#[test]
fn whoever_wants_the_whole_table_is_not_content_with_a_part() {
    let mut compiler = listed();
    compiler.handle_input(Input::ObservedTouched(touched()), at(1));
    assert_eq!(compiler.poll_output(), None, "the answer is due");
    assert!(!compiler.is_settled());
}

#[test]
fn tampering_while_a_transaction_is_in_flight_is_looked_at_after_it() {
    let (mut compiler, transaction) = applying();
    compiler.handle_input(Input::Tampered, at(1));
    assert_eq!(compiler.poll_output(), None, "the answer is due");
    compiler.handle_input(Input::Applied(transaction.generation), at(2));
    assert_eq!(compiler.poll_output(), Some(Output::ObserveTouched));
    compiler.handle_input(Input::Observed(Ruleset::default()), at(3));
    let mut table = Ruleset::default();
    table.apply(&self::transaction(&mut compiler)).unwrap();
    assert_eq!(&table, compiler.desired());
}

#[test]
fn tampering_while_the_table_is_read_makes_the_answer_worthless() {
    let mut compiler = listed();
    compiler.handle_input(Input::Tampered, at(1));
    assert_eq!(compiler.poll_output(), None, "the answer is due");
    compiler.handle_input(Input::Observed(foreign()), at(2));
    assert_eq!(compiler.poll_output(), Some(Output::Observe), "it may be older than the change");
    assert_eq!(compiler.poll_output(), None, "nothing is written on its ground");
    compiler.handle_input(Input::Observed(Ruleset::default()), at(3));
    let mut table = Ruleset::default();
    table.apply(&transaction(&mut compiler)).unwrap();
    assert_eq!(&table, compiler.desired());
}

#[test]
fn tampering_while_the_core_waits_anyway_shortens_nothing() {
    let (mut compiler, transaction) = applying();
    compiler.handle_input(refused(transaction.generation, SinkFault::Other), at(0));
    compiler.handle_input(Input::Tampered, at(1));
    assert_eq!(compiler.poll_output(), None);
    assert_eq!(compiler.poll_timeout(), Some((at(20), Wake::Retry)));
}

fn namespace(name: &str) -> Object {
    Object::Namespace(Namespace { name: name.into(), labels: Labels::default(), log: None })
}

#[test_case(&Input::Applied(Generation(99)); "acknowledgement of another transaction")]
#[test_case(&refused(Generation(99), SinkFault::Other); "refusal of another transaction")]
#[test_case(&Input::Observed(Ruleset::default()); "a table that nobody asked for")]
#[test_case(&Input::ObservedTouched(touched()); "a part of a table that nobody asked for")]
#[test_case(&Input::Unobservable; "a failure to read that nobody asked about")]
#[test_case(&Input::Tick; "a tick")]
fn an_answer_to_another_question_changes_nothing(input: &Input) {
    let (mut compiler, transaction) = applying();
    let before = compiler.applied().clone();
    compiler.handle_input(input.clone(), at(1));
    assert_eq!(compiler.poll_output(), None);
    assert!(!compiler.is_settled(), "the transaction is still in flight");
    assert_eq!(compiler.applied(), &before);
    compiler.handle_input(Input::Applied(transaction.generation), at(2));
    assert!(compiler.is_settled());
}

#[test_case(&Input::Applied(Generation(1)); "acknowledgement")]
#[test_case(&refused(Generation(1), SinkFault::Busy); "refusal")]
#[test_case(&Input::Observed(Ruleset::default()); "table")]
#[test_case(&Input::Unobservable; "failure to read")]
fn an_answer_at_rest_changes_nothing(input: &Input) {
    let mut compiler = settled();
    compiler.handle_input(input.clone(), at(1));
    assert!(compiler.is_settled());
    assert_eq!(compiler.poll_output(), None);
}

#[test]
fn a_list_holds_its_own_kind_only_and_the_last_entry_of_a_name_counts() {
    let mut compiler = listed();
    let labelled = |value: &str| {
        let labels = [("v", value)].into_iter().collect();
        Object::Namespace(Namespace { name: "shop".into(), labels, log: None })
    };
    let objects = vec![labelled("1"), namespace("old"), labelled("2")];
    compiler.handle_input(Input::Relist { kind: Kind::Pod, objects: objects.clone() }, at(0));
    assert_eq!(compiler.world().namespaces().count(), 0, "a list of pods holds no namespaces");
    compiler.handle_input(Input::Relist { kind: Kind::Namespace, objects }, at(0));
    let value = |compiler: &Compiler| compiler.world().namespace("shop")?.get("v").map(ToString::to_string);
    assert_eq!(value(&compiler).as_deref(), Some("2"));
    compiler.handle_input(Input::Relist { kind: Kind::Namespace, objects: vec![labelled("3")] }, at(0));
    assert_eq!(value(&compiler).as_deref(), Some("3"));
    assert_eq!(compiler.world().namespace("old"), None, "what is not listed is gone");
    compiler.handle_input(Input::Remove(ObjectId::Namespace("shop".into())), at(0));
    compiler.handle_input(Input::Remove(ObjectId::Namespace("shop".into())), at(0));
    assert_eq!(compiler.world().namespaces().count(), 0);
}

/// A kernel that fails as planned: `None` is success.
struct Planned {
    table: Ruleset,
    faults: Vec<Option<Failure>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("as planned: {0:?}")]
struct Failure(SinkFault);

impl From<Failure> for SinkFault {
    fn from(Failure(fault): Failure) -> Self {
        fault
    }
}

impl Planned {
    fn next(&mut self) -> Result<(), Failure> {
        self.faults.pop().flatten().map_or(Ok(()), Err)
    }
}

impl Kernel for Planned {
    type Error = Failure;

    fn apply(&mut self, transaction: &Transaction) -> Result<(), Failure> {
        self.next()?;
        self.table.apply(transaction).unwrap();
        Ok(())
    }

    fn observe(&mut self) -> Result<Ruleset, Failure> {
        self.next()?;
        Ok(self.table.clone())
    }
}

#[test]
fn the_pump_says_what_happened_in_its_order() {
    let (busy, other) = (Failure(SinkFault::Busy), Failure(SinkFault::Other));
    let mut compiler = Compiler::new(&Config::new("here"));
    for kind in Kind::ALL {
        compiler.handle_input(Input::Relist { kind, objects: Vec::new() }, at(0));
    }
    // The last is met first: a table; a refusal, a second look, another refusal; an unreadable table; all is well.
    let faults = vec![Some(other), Some(other), None, Some(busy), None];
    let mut kernel = Planned { table: foreign(), faults };
    let outcomes = pump(&mut compiler, &mut kernel, at(0));
    let [Outcome::Refused(first, error), Outcome::Refused(second, last)] = &outcomes[..] else {
        panic!("{} outcomes", outcomes.len())
    };
    assert_eq!((*error, *last), (busy, other));
    assert!(second.generation > first.generation && second.ops == first.ops);
    compiler.handle_input(Input::Tick, at(40));
    let outcomes = pump(&mut compiler, &mut kernel, at(40));
    assert!(matches!(&outcomes[..], [Outcome::Unobservable(error)] if *error == other));
    assert_eq!(compiler.poll_timeout(), Some((at(120), Wake::Retry)));
    compiler.handle_input(Input::Tick, at(120));
    let outcomes = pump(&mut compiler, &mut kernel, at(120));
    assert!(matches!(&outcomes[..], [Outcome::Committed(_)]));
    assert!(compiler.is_settled());
    assert_eq!(&kernel.table, compiler.desired());
}

#[test]
fn a_chain_that_changes_its_nature_is_replaced_with_the_whole_table() {
    let mut compiler = settled();
    compiler.handle_input(Input::Tampered, at(1));
    assert_eq!(compiler.poll_output(), Some(Output::ObserveTouched));
    let mut found = compiler.desired().clone();
    let wrong = ChainSpec { base: None, comment: "by somebody else".into() };
    found.chains.values_mut().find(|chain| chain.spec.base.is_none()).unwrap().spec = wrong;
    compiler.handle_input(Input::Observed(found.clone()), at(1));
    let transaction = transaction(&mut compiler);
    assert_eq!(transaction.scope, Scope::Replace);
    assert!(!transaction.ops.iter().any(|op| matches!(op, Op::DelChain(_))), "the table goes as a whole");
    found.apply(&transaction).unwrap();
    assert_eq!(&found, compiler.desired());
}
