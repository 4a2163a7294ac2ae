//! Traps that show in what is written, and when.

use std::collections::BTreeSet;

use policy_core::model::Object;
use policy_core::ruleset::Ruleset;
use policy_core::{Compiler, Input, Output, Time, Transaction};

use crate::world::{cluster, pod, policy, settled};

const FROM_CLIENTS: &str = r#"{"podSelector": {"matchLabels": {"app": "server"}},
    "ingress": [{"from": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}]}]}"#;

fn with_policy() -> Vec<Object> {
    cluster().into_iter().chain([policy("clients", FROM_CLIENTS)]).collect()
}

/// The transaction that is there without waiting, if there is one, acknowledged.
fn next(compiler: &mut Compiler) -> Option<Transaction> {
    let mut transactions = Vec::new();
    while let Some(output) = compiler.poll_output() {
        if let Output::Apply(transaction) = output {
            compiler.handle_input(Input::Applied(transaction.generation), Time::default());
            transactions.push(transaction);
        }
    }
    assert!(transactions.len() <= 1, "one event, {} transactions", transactions.len());
    transactions.pop()
}

/// The pod of this number on another node.
fn elsewhere(number: u8) -> Object {
    let mut pod = pod("far", "there", "data", number);
    pod.id = crate::world::name(&format!("far-{number}"));
    Object::Pod(pod)
}

#[test]
fn one_event_is_at_most_one_transaction() {
    let mut compiler = settled(&with_policy());
    for number in 100..110 {
        compiler.handle_input(Input::Upsert(elsewhere(number)), Time::default());
        let transaction = next(&mut compiler).expect("the pod is a peer");
        assert_eq!(transaction.scope, policy_core::Scope::Change);
    }
    let mut emptied = settled(&with_policy());
    emptied.handle_input(Input::Upsert(policy("clients", r#"{"podSelector": {}}"#)), Time::default());
    assert!(next(&mut emptied).is_some(), "even a policy that becomes another one");
}

/// No clock decides when something is written: what has changed is there to be taken after each event, however many
/// follow.
#[test]
fn events_never_put_each_other_off() {
    let mut compiler = settled(&with_policy());
    let take = |compiler: &mut Compiler, number| match compiler.poll_output() {
        Some(Output::Apply(transaction)) => transaction.generation,
        other => panic!("after event {number}: {other:?}"),
    };
    for number in 100..150 {
        compiler.handle_input(Input::Upsert(elsewhere(number)), Time::default());
        let first = take(&mut compiler, number);
        // More events while the kernel is at work come with the next transaction.
        compiler.handle_input(Input::Upsert(elsewhere(number + 50)), Time::default());
        assert_eq!(compiler.poll_output(), None, "one at a time");
        compiler.handle_input(Input::Applied(first), Time::default());
        let second = take(&mut compiler, number + 50);
        compiler.handle_input(Input::Applied(second), Time::default());
        assert!(compiler.is_settled());
    }
}

fn chains_and_maps(table: &Ruleset) -> (BTreeSet<String>, usize) {
    let elements = table.sets.values().filter(|set| set.spec.verdict_map).map(|set| set.elements.len()).sum();
    (table.chains.keys().map(ToString::to_string).collect(), elements)
}

#[test]
fn pods_elsewhere_are_elements_of_sets_and_nothing_else() {
    let mut compiler = settled(&with_policy());
    let before = compiler.desired().clone();
    let elements = |table: &Ruleset| table.sets.values().map(|set| set.elements.len()).sum::<usize>();
    for number in 100..200 {
        compiler.handle_input(Input::Upsert(elsewhere(number)), Time::default());
    }
    let after = compiler.desired();
    assert_eq!(chains_and_maps(after), chains_and_maps(&before));
    assert!(after.chains == before.chains, "no rule has changed");
    assert!(elements(after) >= elements(&before) + 100, "each is an element");
}

/// What every frame meets is one lookup, however many pods and policies there are.
#[test]
fn base_chains_do_not_grow_with_pods_and_policies() {
    let base = |table: &Ruleset| -> Vec<(String, usize)> {
        let base = table.chains.iter().filter(|(_, chain)| chain.spec.base.is_some());
        base.map(|(name, chain)| (name.to_string(), chain.rules.len())).collect()
    };
    let few = settled(&with_policy());
    let mut many = settled(&with_policy());
    for number in 100..125 {
        let mut local = pod("server", "here", "data", number);
        local.id = crate::world::name(&format!("server-{number}"));
        many.handle_input(Input::Upsert(Object::Pod(local)), Time::default());
        many.handle_input(Input::Upsert(policy(&format!("p{number}"), FROM_CLIENTS)), Time::default());
    }
    assert_eq!(base(many.desired()), base(few.desired()));
    assert!(many.desired().chains.len() > few.desired().chains.len() + 25, "they are enforced all the same");
}
