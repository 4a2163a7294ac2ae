//! Deleting chains in a transaction of their own.
//!
//! Some kernels before Linux 6.2 refuse to delete a chain in the transaction that removes the last map element which leads to
//! it (EBUSY). What is deleted then waits for a second transaction: nothing leads to it any more after the first, so no
//! packet meets it in between.

use alloc::collections::BTreeSet;

use policy_core::Transaction;
use policy_core::ruleset::Op;

/// `transaction` as two: everything but the deletions of chains and sets, and these. `None` where there are none, or where
/// something of a deleted one's name is made anew: that cannot wait.
pub(crate) fn apart(transaction: &Transaction) -> Option<[Transaction; 2]> {
    let (deletions, changes): (Vec<Op>, Vec<Op>) = transaction.ops.iter().cloned().partition(is_deletion);
    let made: BTreeSet<&str> = changes.iter().filter_map(made_name).collect();
    let deleted = deletions.iter().filter_map(deleted_name);
    if deletions.is_empty() || deleted.into_iter().any(|name| made.contains(name)) {
        return None;
    }
    Some([changes, deletions].map(|ops| Transaction { ops, ..*transaction }))
}

const fn is_deletion(op: &Op) -> bool {
    matches!(op, Op::DelChain(_) | Op::DelSet(_))
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
