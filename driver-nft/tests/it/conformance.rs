//! Core's model of the kernel against the kernel: the same transactions, the same answers, the same tables.

use driver_nft::NftKernel;
use policy_core::ruleset::{ChainName, ChainSpec, Datum, Hook, Key, KeyType, Op, Ruleset, SetName, SetSpec};
use policy_core::{Generation, Kernel as _, Scope, SinkFault, Transaction};
use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, ProptestConfig, Strategy, prop_assert_eq};
use proptest::sample::select;
use proptest::test_runner::{TestCaseError, TestRunner};

use test_case::test_case;

use crate::generate;
use crate::netns::{in_new_namespace, replacement};
use crate::sample::{base, dynamic, interval, map, plain};

/// Few names, so that transactions meet each other's objects.
const NAMES: usize = 3;

/// Set `n` is always of the same kind, so that rules know its key.
fn set_kinds() -> [(SetName, SetSpec); 5] {
    let name = |at: usize| SetName::new(format!("set/{at}"));
    [
        (name(0), plain([KeyType::Protocol])),
        (name(1), map([KeyType::Protocol])),
        (name(2), interval(KeyType::Byte)),
        (name(3), dynamic([KeyType::Mac, KeyType::Port])),
        (name(4), SetSpec { verdict_map: true, ..interval(KeyType::Protocol) }),
    ]
}

fn leaf(at: usize) -> ChainName {
    ChainName::new(format!("leaf/{at}"))
}

fn leaves() -> Vec<ChainName> {
    (0..NAMES).map(leaf).collect()
}

/// The kernel keeps no end of a range that reaches to the last value, so it cannot see that another one overlaps it:
/// it takes `5-255` beside `255`, where the model does not. Core never asks for overlapping ranges.
fn reaches_the_last_value(key: &Key) -> bool {
    matches!(key, Key::Range(_, Datum::Byte(u8::MAX) | Datum::Protocol(u8::MAX)))
}

fn op() -> BoxedStrategy<Op> {
    let number = || 0..NAMES;
    // Chains that rules lead to, and base chains with rules; so no rule can lead back to itself.
    let root = |at| ChainName::new(format!("root/{at}"));
    let hook = select(vec![Hook::Prerouting, Hook::Forward]);
    let set = || select(set_kinds().to_vec());
    let rules = vec(generate::rule(set_kinds().to_vec(), &leaves()), 0..3);
    let members = || {
        set().prop_flat_map(|(name, spec)| {
            generate::elements(&spec, &leaves(), 2).prop_map(move |mut elements| {
                elements.retain(|key, _| !reaches_the_last_value(key));
                (name.clone(), elements)
            })
        })
    };
    proptest::prop_oneof![
        2 => number().prop_map(move |at| Op::AddChain(leaf(at), ChainSpec::default())),
        2 => (number(), hook).prop_map(move |(at, hook)| Op::AddChain(root(at), base(hook, false))),
        3 => set().prop_map(|(name, spec)| Op::AddSet(name, spec)),
        4 => members().prop_map(|(name, elements)| Op::AddElements(name, elements)),
        1 => number().prop_map(move |at| Op::DelChain(leaf(at))),
        1 => number().prop_map(move |at| Op::DelChain(root(at))),
        2 => members().prop_map(|(name, elements)| Op::DelElements(name, elements)),
        1 => set().prop_map(|(name, _)| Op::DelSet(name)),
        3 => (number(), rules).prop_map(move |(at, rules)| Op::SetRules(root(at), rules)),
    ]
    .boxed()
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let scope = proptest::prop_oneof![12 => Just(Scope::Change), 1 => Just(Scope::Replace)];
    (scope, vec(op(), 1..4)).prop_map(|(scope, ops)| Transaction { generation: Generation(1), scope, ops })
}

/// Gives one transaction to both, and compares.
fn compare(
    kernel: &mut NftKernel,
    model: &mut Ruleset,
    transaction: &Transaction,
) -> Result<bool, TestCaseError> {
    let meant = model.apply(transaction);
    let done = kernel.apply(transaction);
    prop_assert_eq!(
        meant.is_ok(),
        done.is_ok(),
        "model: {:?}, kernel: {:?}, for\n{}",
        meant,
        done,
        transaction
    );
    let observed = kernel.observe().map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&observed, &*model, "after\n{}", transaction);
    Ok(done.is_ok())
}

fn run<S: Strategy>(cases: u32, strategy: &S, mut test: impl FnMut(S::Value) -> Result<(), TestCaseError>) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    // The closure must be `Fn`, the kernel handle is not.
    let cell = core::cell::RefCell::new(&mut test);
    if let Err(error) = TestRunner::new(config).run(strategy, |value| (cell.borrow_mut())(value)) {
        panic!("{error}");
    }
}

/// Everything that transactions deal with, so that they have something to change.
fn start() -> Transaction {
    let sets = set_kinds().map(|(name, spec)| Op::AddSet(name, spec));
    let chains = leaves().into_iter().map(|name| Op::AddChain(name, ChainSpec::default()));
    let root = Op::AddChain(ChainName::new("root/0"), base(Hook::Forward, false));
    let ops = sets.into_iter().chain(chains).chain([root]).collect();
    Transaction { generation: Generation(1), scope: Scope::Replace, ops }
}

#[test]
fn model_and_kernel_agree_on_random_transactions() {
    let accepted = in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        let mut accepted = 0;
        run(80, &vec(transaction(), 1..16), |transactions| {
            let mut model = Ruleset::default();
            compare(&mut kernel, &mut model, &start())?;
            for transaction in &transactions {
                accepted += u32::from(compare(&mut kernel, &mut model, transaction)?);
            }
            Ok(())
        });
        accepted
    });
    assert!(accepted > 100, "only {accepted} transactions were good for anything");
}

#[test]
fn kernel_holds_every_random_ruleset_as_it_was_meant() {
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        run(200, &generate::ruleset(), |wanted| {
            kernel.apply(&replacement(&wanted)).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let observed = kernel.observe().map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(observed, wanted);
            Ok(())
        });
    });
}

#[test_case(false; "in one transaction")]
#[test_case(true; "with deletions apart")]
fn difference_between_two_rulesets_leads_from_one_to_the_other(apart: bool) {
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        if apart {
            kernel.delete_apart();
        }
        let mut now = Ruleset::default();
        run(100, &generate::ruleset(), |wanted| {
            let (scope, ops) = policy_core::ruleset::diff(&now, &wanted);
            let transaction = Transaction { generation: Generation(1), scope, ops };
            kernel.apply(&transaction).map_err(|error| {
                let text = format!("{error}\n{transaction}");
                assert_ne!(SinkFault::from(error), SinkFault::Denied, "run these tests as root");
                TestCaseError::fail(text)
            })?;
            let observed = kernel.observe().map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(&observed, &wanted);
            now = wanted;
            Ok(())
        });
    });
}
