//! What a change costs, counted in operations.
#![allow(
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test may panic, and is no part of the core"
)]

#[path = "../benches/cluster/mod.rs"]
mod cluster;
#[path = "../benches/cluster/obey.rs"]
mod obey;

use cluster::{Size, informed, pod};
use obey::obey;
use policy_core::model::Object;
use policy_core::ruleset::Op;
use policy_core::{Compiler, Input, Time};

const SIZE: Size = Size { local_pods: 200, pods: 5_200, namespaces: 20, policies: 400 };

fn settled() -> Compiler {
    let mut compiler = informed(SIZE);
    obey(&mut compiler);
    assert!(compiler.is_settled());
    compiler
}

/// The operations that one changed object leads to.
fn ops_of(compiler: &mut Compiler, object: Object) -> Vec<Op> {
    compiler.handle_input(Input::Upsert(object), Time::default());
    obey(compiler)
}

#[test]
fn one_label_of_one_peer_among_five_thousand_moves_only_its_own_elements() {
    let mut compiler = settled();
    let number = 4_061;
    let app = number / SIZE.namespaces % 20;
    let ops = ops_of(&mut compiler, Object::Pod(pod(SIZE, number, (app + 3) % 20)));
    let mut changed = 0;
    for op in &ops {
        match op {
            Op::AddElements(name, elements) | Op::DelElements(name, elements) => {
                assert!(name.as_str().starts_with("peers/"), "{op}");
                changed += elements.len();
            }
            Op::AddChain(..) | Op::AddSet(..) | Op::DelChain(_) | Op::DelSet(_) | Op::SetRules(..) => {
                panic!("more than elements: {op}")
            }
        }
    }
    // One group loses the pod and one gains it, each by IPv4 address, link-local address and MAC.
    assert_eq!(ops.len(), 6, "{ops:?}");
    assert_eq!(changed, 6, "{ops:?}");
}

#[test]
fn a_label_that_no_selector_asks_for_changes_nothing() {
    let mut compiler = settled();
    let mut changed = pod(SIZE, 4_321, 4_321 / SIZE.namespaces % 20);
    changed.labels = changed
        .labels
        .iter()
        .map(|(k, v)| (k.clone(), v.clone()))
        .chain([("new".into(), "x".into())])
        .collect();
    assert_eq!(ops_of(&mut compiler, Object::Pod(changed)), []);
}

#[test]
fn a_burst_of_changes_becomes_one_transaction() {
    let mut compiler = settled();
    for number in 1_000..1_100 {
        compiler.handle_input(Input::Upsert(Object::Pod(pod(SIZE, number, 7))), Time::default());
    }
    let Some(policy_core::Output::Apply(transaction)) = compiler.poll_output() else {
        panic!("no transaction")
    };
    assert!(compiler.poll_output().is_none());
    compiler.handle_input(Input::Applied(transaction.generation), Time::default());
    assert!(compiler.is_settled());
}

#[test]
fn a_change_and_its_undoing_cancel_out() {
    let mut compiler = settled();
    let app = 4_061 / SIZE.namespaces % 20;
    compiler.handle_input(Input::Upsert(Object::Pod(pod(SIZE, 4_061, app + 1))), Time::default());
    compiler.handle_input(Input::Upsert(Object::Pod(pod(SIZE, 4_061, app))), Time::default());
    assert_eq!(obey(&mut compiler), []);
    assert!(compiler.is_settled());
}
