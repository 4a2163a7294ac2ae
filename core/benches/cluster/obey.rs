//! A kernel that does as it is told.

use policy_core::ruleset::Op;
use policy_core::{Compiler, Input, Output, Time};

/// Answers the compiler's requests as an obedient kernel would, and returns the operations of all transactions.
pub(crate) fn obey(compiler: &mut Compiler) -> Vec<Op> {
    let mut ops = Vec::new();
    while let Some(output) = compiler.poll_output() {
        let answer = match output {
            Output::Apply(transaction) => {
                ops.extend(transaction.ops);
                Input::Applied(transaction.generation)
            }
            Output::Observe => Input::Observed(compiler.applied().clone()),
            Output::Report(_) | _ => continue,
        };
        compiler.handle_input(answer, Time::default());
    }
    ops
}
