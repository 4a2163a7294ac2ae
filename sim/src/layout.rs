//! An agent of another version: its table means the same and shares nothing with ours but what must outlast an upgrade.
//!
//! Whatever two versions of the agent do differently, an upgrade between them is one transaction from one table to the
//! other. Here the other version is ours, looking at its kernel through glasses: every chain and set that stands for objects of
//! the cluster has another name, and so has the layout's mark; every set that only the agent fills has another comment, so that
//! it must be made anew. What stays is what a layout must not touch: the base chains, at which no packet may find nothing, and
//! the dynamic sets, in which packets have noted the flows that go on.
//!
//! Shared by the harness and by the simulation of a node.

use policy_core::ruleset::{
    Chain, ChainName, Elements, Expr, LAYOUT_STEM, Op, Rule, Ruleset, Set, SetName, SetSpec, Touched, Verdict,
};
use policy_core::{Kernel, Observation, Transaction};

/// What the other version's names end with.
const OTHER: &str = ".other";
/// What it says about its fixed sets.
const COMMENT: &str = "of the other layout";

/// Whose table it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Version {
    /// Of this version of the agent.
    #[default]
    This,
    /// Of the other one.
    Other,
}

impl Version {
    /// What an agent of this version calls the parts of `table`; or what the kernel holds where the agent means `table`.
    pub(crate) fn view(self, table: Ruleset) -> Ruleset {
        match self {
            Self::This => table,
            Self::Other => ruleset(table),
        }
    }
}

/// A kernel, as an agent of some version sees it.
pub(crate) struct Seen<K> {
    pub(crate) kernel: K,
    pub(crate) by: Version,
}

impl<K: Kernel> Kernel for Seen<K> {
    type Error = K::Error;

    fn apply(&mut self, transaction: &Transaction) -> Result<(), K::Error> {
        match self.by {
            Version::This => self.kernel.apply(transaction),
            Version::Other => {
                let ops = transaction.ops.iter().cloned().map(operation).collect();
                self.kernel.apply(&Transaction { ops, ..*transaction })
            }
        }
    }

    fn observe(&mut self) -> Result<Ruleset, K::Error> {
        self.kernel.observe().map(|table| self.by.view(table))
    }

    fn observe_touched(&mut self) -> Result<Observation, K::Error> {
        Ok(match self.kernel.observe_touched()? {
            Observation::Whole(table) => Observation::Whole(self.by.view(table)),
            Observation::Touched(parts) if self.by == Version::Other => Observation::Touched(touched(parts)),
            parts @ Observation::Touched(_) => parts,
        })
    }
}

// Each of these is its own inverse.

fn name(text: &str) -> String {
    match text.strip_suffix(OTHER) {
        Some(stem) => stem.to_owned(),
        None if text.contains('/') || text.starts_with(LAYOUT_STEM) => format!("{text}{OTHER}"),
        None => text.to_owned(),
    }
}

fn chain_name(chain: &ChainName) -> ChainName {
    ChainName::new(name(chain.as_str()))
}

fn set_name(set: &SetName) -> SetName {
    SetName::new(name(set.as_str()))
}

fn spec(of: &SetName, mut spec: SetSpec) -> SetSpec {
    if spec.dynamic.is_none() && !of.as_str().contains('/') {
        spec.comment = match spec.comment.as_str() {
            "" => COMMENT.to_owned(),
            COMMENT => String::new(),
            _ => spec.comment,
        };
    }
    spec
}

fn verdict(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Goto(chain) => Verdict::Goto(chain_name(&chain)),
        Verdict::Jump(chain) => Verdict::Jump(chain_name(&chain)),
        verdict @ (Verdict::Accept | Verdict::Drop | Verdict::Return) => verdict,
    }
}

fn elements(elements: Elements) -> Elements {
    elements.into_iter().map(|(key, says)| (key, says.map(verdict))).collect()
}

fn expression(expression: Expr) -> Expr {
    match expression {
        Expr::Dispatch { fields, map } => Expr::Dispatch { fields, map: set_name(&map) },
        Expr::Lookup { fields, set, negated } => Expr::Lookup { fields, set: set_name(&set), negated },
        Expr::Update { fields, set, timeout } => Expr::Update { fields, set: set_name(&set), timeout },
        Expr::Verdict(says) => Expr::Verdict(verdict(says)),
        plain @ (Expr::Compare { .. }
        | Expr::Counter
        | Expr::Direction(_)
        | Expr::Foreign(_)
        | Expr::Limit { .. }
        | Expr::Log { .. }
        | Expr::Range { .. }
        | Expr::SetZone(_)
        | Expr::State(_)) => plain,
    }
}

fn rules(rules: Vec<Rule>) -> Vec<Rule> {
    let rule = |rule: Rule| Rule { exprs: rule.exprs.into_iter().map(expression).collect(), ..rule };
    rules.into_iter().map(rule).collect()
}

fn chain(chain: Chain) -> Chain {
    Chain { rules: rules(chain.rules), ..chain }
}

fn set(of: &SetName, set: Set) -> Set {
    Set { spec: spec(of, set.spec), elements: elements(set.elements) }
}

fn ruleset(table: Ruleset) -> Ruleset {
    let chains = table.chains.into_iter().map(|(name, held)| (chain_name(&name), chain(held)));
    let sets = table.sets.into_iter().map(|(name, held)| {
        let held = set(&name, held);
        (set_name(&name), held)
    });
    Ruleset { chains: chains.collect(), sets: sets.collect() }
}

fn touched(parts: Touched) -> Touched {
    let chains = parts.chains.into_iter().map(|(name, held)| (chain_name(&name), held.map(chain)));
    let sets = parts.sets.into_iter().map(|(name, held)| {
        let held = held.map(|held| set(&name, held));
        (set_name(&name), held)
    });
    Touched { chains: chains.collect(), sets: sets.collect() }
}

fn operation(op: Op) -> Op {
    match op {
        Op::AddChain(name, spec) => Op::AddChain(chain_name(&name), spec),
        Op::AddElements(name, added) => Op::AddElements(set_name(&name), elements(added)),
        Op::AddSet(name, made) => {
            let made = spec(&name, made);
            Op::AddSet(set_name(&name), made)
        }
        Op::DelChain(name) => Op::DelChain(chain_name(&name)),
        Op::DelElements(name, gone) => Op::DelElements(set_name(&name), elements(gone)),
        Op::DelSet(name) => Op::DelSet(set_name(&name)),
        Op::SetRules(name, wanted) => Op::SetRules(chain_name(&name), rules(wanted)),
    }
}
