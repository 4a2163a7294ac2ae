//! What always holds for the compiler, whatever the world does. Each law runs on random worlds; a failure prints the
//! bytes that drew them, shrunk, and they are kept beside this file.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test may panic, and is no part of the core"
)]

mod agreement;
mod conversations;
mod explanation;
mod frames;
mod guard;
mod journal;
mod neighbours;
mod oracle;
mod quarantine;
mod selectors;
mod source;
mod worlds;

use policy_core::model::{Kind, Object};
use policy_core::ruleset::{Dirty, Op, Ruleset, Touched};
use policy_core::{
    BridgeNames, Compiler, Config, Generation, Input, Output, SinkFault, StateEngine, Time, Transaction,
    compile,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use source::Source;
use std::time::{SystemTime, UNIX_EPOCH};

/// How many cases each law tries when nothing else is asked for.
const CASES: u32 = 300;

/// Random settings.
pub(crate) fn config(source: &mut Source<'_>) -> Config {
    Config {
        accept_icmp: source.chance(1, 8),
        accept_icmp6: source.chance(1, 8),
        guard: source.maybe(1, 10, worlds::guard),
        quarantine: source.chance(1, 4),
        bridge_names: BridgeNames::of(source.chance(1, 2)),
        uplinks: source.several(0, 1, worlds::port_name).into_iter().collect(),
        state: *source.pick(&[StateEngine::Conntrack, StateEngine::Sets]),
        ..Config::new(worlds::NODE)
    }
}

/// How many cases each law tries: `LAWS_CASES`, or few enough for everyday runs. `LAWS_SEED` draws the same ones again;
/// a failing test prints it.
#[expect(clippy::print_stdout, reason = "a failing test shows what it printed")]
fn settings() -> ProptestConfig {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
    let seed = number("LAWS_SEED").unwrap_or_else(now);
    println!("LAWS_SEED={seed}");
    let cases = number("LAWS_CASES").map_or(CASES, |cases| u32::try_from(cases).unwrap());
    let rng_seed = RngSeed::Fixed(seed);
    ProptestConfig { cases, rng_seed, max_shrink_iters: 20_000, ..ProptestConfig::default() }
}

/// A random event of the world.
fn event(source: &mut Source<'_>) -> Input {
    match source.below(16) {
        0..=2 => Input::Remove(worlds::id(source)),
        3 => {
            let kind = worlds::kind(source);
            Input::Relist { kind, objects: source.several(0, 6, |source| worlds::object(source, kind)) }
        }
        _ => {
            let kind = worlds::kind(source);
            Input::Upsert(worlds::object(source, kind))
        }
    }
}

/// A model of the kernel, and how it behaves.
#[derive(Default)]
struct Model {
    table: Ruleset,
    commits: Vec<(Ruleset, Transaction)>,
    now: Time,
}

impl Model {
    /// Commits a transaction, or refuses it.
    fn answer(&mut self, transaction: Transaction, refusal: Option<SinkFault>) -> Input {
        let generation = transaction.generation;
        if let Some(fault) = refusal {
            return Input::Refused { generation, fault };
        }
        let before = self.table.clone();
        self.table.apply(&transaction).unwrap_or_else(|error| panic!("{error}\n{transaction}"));
        self.commits.push((before, transaction));
        Input::Applied(generation)
    }

    /// Serves the compiler until it is quiet; `refuse` is asked before each commit.
    fn serve(&mut self, compiler: &mut Compiler, mut refuse: impl FnMut() -> Option<SinkFault>) {
        for _ in 0..200 {
            let Some(output) = compiler.poll_output() else {
                let Some((at, wake)) = compiler.poll_timeout() else {
                    panic!("the compiler waits for nothing")
                };
                if wake == policy_core::Wake::Audit {
                    return;
                }
                self.now = at;
                compiler.handle_input(Input::Tick, self.now);
                continue;
            };
            let answer = match output {
                Output::Apply(transaction) => self.answer(transaction, refuse()),
                Output::Observe => Input::Observed(self.table.clone()),
                Output::ObserveTouched => Input::ObservedTouched(touched(compiler.applied(), &self.table)),
                Output::Report(_) => continue,
                other => panic!("unexpected output {other:?}"),
            };
            compiler.handle_input(answer, self.now);
        }
        panic!("the compiler does not come to rest");
    }
}

/// What was changed in `before` by somebody who made `now` of it.
fn touched(before: &Ruleset, now: &Ruleset) -> Touched {
    let dirty = Dirty::between(before, now);
    Touched {
        chains: dirty.chains.iter().map(|name| (name.clone(), now.chains.get(name).cloned())).collect(),
        sets: dirty.sets.keys().map(|name| (name.clone(), now.sets.get(name).cloned())).collect(),
    }
}

/// A compiler that knows a random world and has brought it to the kernel.
fn settled(config: &Config, source: &mut Source<'_>) -> (Compiler, Model) {
    let mut compiler = Compiler::new(config);
    for (kind, objects) in worlds::populated(source) {
        compiler.handle_input(Input::Relist { kind, objects }, Time::default());
    }
    let mut model = Model::default();
    model.serve(&mut compiler, || None);
    (compiler, model)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 200..1200)
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn the_incremental_result_equals_the_one_from_scratch(bytes in bytes()) {
        let mut source = Source::new(&bytes);
        let config = config(&mut source);
        let (mut compiler, _) = settled(&config, &mut source);
        prop_assert_eq!(compiler.desired(), &compile(compiler.world(), &config));
        while !source.is_empty() {
            compiler.handle_input(event(&mut source), Time::default());
            prop_assert_eq!(compiler.desired(), &compile(compiler.world(), &config));
        }
    }

    #[test]
    fn replaying_the_transactions_gives_what_is_wanted(bytes in bytes()) {
        let mut source = Source::new(&bytes);
        let config = config(&mut source);
        let (mut compiler, mut model) = settled(&config, &mut source);
        prop_assert_eq!(compiler.desired(), &model.table);
        while !source.is_empty() {
            for _ in 0..=source.below(3) {
                compiler.handle_input(event(&mut source), Time::default());
            }
            model.serve(&mut compiler, || None);
            prop_assert!(compiler.is_settled());
            prop_assert_eq!(compiler.desired(), &model.table);
            prop_assert_eq!(compiler.applied(), &model.table);
        }
    }

    #[test]
    fn no_operation_is_without_effect(bytes in bytes()) {
        let mut source = Source::new(&bytes);
        let config = config(&mut source);
        let (mut compiler, mut model) = settled(&config, &mut source);
        while !source.is_empty() {
            compiler.handle_input(event(&mut source), Time::default());
            model.serve(&mut compiler, || None);
        }
        for (before, transaction) in &model.commits {
            let mut after = before.clone();
            after.apply(transaction).unwrap();
            for op in &transaction.ops {
                let needed = match op {
                    Op::AddChain(name, _) => !before.chains.contains_key(name),
                    Op::AddSet(name, _) => !before.sets.contains_key(name),
                    Op::DelChain(name) => !after.chains.contains_key(name),
                    Op::DelSet(name) => !after.sets.contains_key(name),
                    Op::SetRules(name, rules) => before.chains.get(name).is_none_or(|chain| chain.rules != *rules),
                    Op::AddElements(name, elements) => elements.iter().all(|(key, verdict)| {
                        before.sets.get(name).is_none_or(|set| set.elements.get(key) != Some(verdict))
                    }),
                    Op::DelElements(name, elements) => elements.iter().all(|(key, verdict)| {
                        after.sets.get(name).is_none_or(|set| set.elements.get(key) != Some(verdict))
                    }),
                };
                prop_assert!(needed, "{} in\n{}", op, transaction);
            }
        }
    }

    #[test]
    fn a_transaction_touches_only_what_differs_afterwards(bytes in bytes()) {
        let mut source = Source::new(&bytes);
        let config = config(&mut source);
        let (mut compiler, mut model) = settled(&config, &mut source);
        let first = model.commits.len();
        while !source.is_empty() {
            compiler.handle_input(event(&mut source), Time::default());
            model.serve(&mut compiler, || None);
        }
        for (before, transaction) in &model.commits[first..] {
            let mut after = before.clone();
            after.apply(transaction).unwrap();
            for op in &transaction.ops {
                let differs = match op {
                    Op::AddChain(name, _) | Op::DelChain(name) | Op::SetRules(name, _) => {
                        before.chains.get(name) != after.chains.get(name)
                    }
                    Op::AddElements(name, _) | Op::AddSet(name, _) | Op::DelElements(name, _) | Op::DelSet(name) => {
                        before.sets.get(name) != after.sets.get(name)
                    }
                };
                prop_assert!(differs, "{} in\n{}", op, transaction);
            }
        }
    }

    #[test]
    fn the_same_input_twice_changes_nothing_the_second_time(bytes in bytes()) {
        let mut source = Source::new(&bytes);
        let config = config(&mut source);
        let (mut compiler, mut model) = settled(&config, &mut source);
        while !source.is_empty() {
            let input = event(&mut source);
            compiler.handle_input(input.clone(), Time::default());
            model.serve(&mut compiler, || None);
            let commits = model.commits.len();
            compiler.handle_input(input.clone(), Time::default());
            model.serve(&mut compiler, || None);
            let again = model.commits.get(commits).map(|(_, transaction)| transaction);
            prop_assert!(again.is_none(), "{:?} led to\n{}", input, again.unwrap());
        }
    }

    // What a bridge has learned is left out: whom it named first keeps a MAC, so ports that share a station, and pods whose
    // MACs are behind one port, depend on each other's order by intent.
    #[test]
    fn the_order_of_independent_objects_does_not_matter(bytes in bytes(), seed in any::<u64>()) {
        let mut source = Source::new(&bytes);
        let config = config(&mut source);
        let kinds = worlds::populated(&mut source);
        let mut latest = std::collections::BTreeMap::new();
        for object in kinds.into_iter().flat_map(|(_, objects)| objects) {
            latest.insert(object.id(), worlds::without_stations(object));
        }
        let mut objects: Vec<Object> = latest.into_values().collect();
        let in_order = desired_after(&config, &objects);
        let mut state = seed;
        for at in (1..objects.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            objects.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
        }
        prop_assert_eq!(desired_after(&config, &objects), in_order);
    }

    #[test]
    fn whatever_is_refused_the_kernel_ends_with_what_is_wanted(bytes in bytes()) {
        let mut source = Source::new(&bytes);
        let config = config(&mut source);
        let (mut compiler, mut model) = settled(&config, &mut source);
        let faults = [SinkFault::Busy, SinkFault::Denied, SinkFault::Exists, SinkFault::Missing, SinkFault::Other];
        while !source.is_empty() {
            compiler.handle_input(event(&mut source), model.now);
            let mut plan = source.several(0, 4, |source| *source.pick(&faults));
            model.serve(&mut compiler, || plan.pop());
            prop_assert_eq!(compiler.desired(), &model.table);
        }
    }

    #[test]
    fn a_restart_on_any_table_ends_with_what_is_wanted(bytes in bytes()) {
        let mut source = Source::new(&bytes);
        let config = config(&mut source);
        let (_, old) = settled(&config, &mut source);
        let mut compiler = Compiler::new(&config);
        for (kind, objects) in worlds::populated(&mut source) {
            compiler.handle_input(Input::Relist { kind, objects }, Time::default());
        }
        let mut model = Model { table: old.table, ..Model::default() };
        model.serve(&mut compiler, || None);
        prop_assert_eq!(compiler.desired(), &model.table);
        prop_assert!(model.commits.len() <= 1, "a restart needed {} commits", model.commits.len());
    }

    #[test]
    fn a_foreign_change_is_undone(bytes in bytes()) {
        let mut source = Source::new(&bytes);
        let config = config(&mut source);
        let (mut compiler, mut model) = settled(&config, &mut source);
        let (_, other) = settled(&config, &mut source);
        model.table = if source.chance(1, 3) { Ruleset::default() } else { other.table };
        compiler.handle_input(Input::Tampered, model.now);
        model.serve(&mut compiler, || None);
        prop_assert_eq!(compiler.desired(), &model.table);
    }

    #[test]
    fn a_foreign_change_between_a_reading_and_its_answer_is_undone(bytes in bytes()) {
        let mut source = Source::new(&bytes);
        let config = config(&mut source);
        let (mut compiler, mut model) = settled(&config, &mut source);
        let (_, other) = settled(&config, &mut source);
        compiler.handle_input(Input::Tampered, model.now);
        prop_assert_eq!(compiler.poll_output(), Some(Output::ObserveTouched));
        let read = core::mem::replace(&mut model.table, other.table);
        compiler.handle_input(Input::Tampered, model.now);
        let answer = if source.chance(1, 2) {
            Input::Observed(read)
        } else {
            Input::ObservedTouched(touched(compiler.applied(), &read))
        };
        compiler.handle_input(answer, model.now);
        model.serve(&mut compiler, || None);
        prop_assert_eq!(compiler.desired(), &model.table);
    }

    #[test]
    fn a_ruleset_survives_its_journal(bytes in bytes()) {
        let mut source = Source::new(&bytes);
        let config = config(&mut source);
        let (_, model) = settled(&config, &mut source);
        let text = serde_json::to_string(&model.table).unwrap();
        prop_assert_eq!(serde_json::from_str::<Ruleset>(&text).unwrap(), model.table);
    }
}

fn desired_after(config: &Config, objects: &[Object]) -> Ruleset {
    let mut compiler = Compiler::new(config);
    for object in objects {
        compiler.handle_input(Input::Upsert(object.clone()), Time::default());
    }
    compiler.desired().clone()
}

#[test]
fn nothing_is_written_before_everything_has_been_listed() {
    let mut compiler = Compiler::new(&Config::new(worlds::NODE));
    assert_eq!(compiler.poll_output(), Some(Output::Observe));
    for kind in Kind::ALL {
        assert!(!compiler.is_synced());
        assert_eq!(compiler.poll_output(), None);
        compiler.handle_input(Input::Relist { kind, objects: Vec::new() }, Time::default());
    }
    assert!(compiler.is_synced());
    assert_eq!(compiler.poll_output(), None, "the kernel has not been observed yet");
    compiler.handle_input(Input::Observed(Ruleset::default()), Time::default());
    let Some(Output::Apply(transaction)) = compiler.poll_output() else { panic!("no transaction") };
    assert_eq!(compiler.poll_output(), None, "one transaction at a time");
    compiler.handle_input(Input::Applied(Generation(99)), Time::default());
    assert!(!compiler.is_settled(), "the acknowledgement of another transaction does not count");
    compiler.handle_input(Input::Applied(transaction.generation), Time::default());
    assert!(compiler.is_settled());
}
