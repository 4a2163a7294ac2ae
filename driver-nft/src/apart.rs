//! Deleting chains in a transaction of their own.
//!
//! Some kernels before Linux 6.2 refuse to delete a chain in the transaction that removes the last map element which leads to
//! it (EBUSY). What is deleted then waits for a second transaction: nothing leads to it any more after the first, so no
//! packet meets it in between.

use alloc::collections::BTreeSet;

use policy_core::Transaction;
use policy_core::ruleset::Op;

/// `transaction` as two: everything else, and the deletions of chains and sets. `None` where there are none.
///
/// What is deleted to be made anew under the same name cannot wait, and need not: base chains, to which nothing leads, and sets.
pub(crate) fn apart(transaction: &Transaction) -> Option<[Transaction; 2]> {
    let made: BTreeSet<&str> = transaction.ops.iter().filter_map(made_name).collect();
    let can_wait = |op: &Op| deleted_name(op).is_some_and(|name| !made.contains(name));
    let (deletions, changes): (Vec<Op>, Vec<Op>) = transaction.ops.iter().cloned().partition(can_wait);
    if deletions.is_empty() {
        return None;
    }
    Some([changes, deletions].map(|ops| Transaction { ops, ..*transaction }))
}

fn made_name(op: &Op) -> Option<&str> {
    match op {
        Op::AddChain(name, _) => Some(name.as_str()),
        Op::AddSet(name, _) => Some(name.as_str()),
        Op::AddElements(..) | Op::DelChain(_) | Op::DelElements(..) | Op::DelSet(_) | Op::SetRules(..) => {
            None
        }
    }
}

fn deleted_name(op: &Op) -> Option<&str> {
    match op {
        Op::DelChain(name) => Some(name.as_str()),
        Op::DelSet(name) => Some(name.as_str()),
        Op::AddChain(..) | Op::AddElements(..) | Op::AddSet(..) | Op::DelElements(..) | Op::SetRules(..) => {
            None
        }
    }
}
