//! Short forms for what the tests build.

use std::net::{Ipv4Addr, Ipv6Addr};

use policy_core::model::Mac;
use policy_core::ruleset::{
    BaseChain, Chain, ChainName, ChainSpec, Datum, Elements, Expr, Field, Hook, Key, KeyType, Op, Rule,
    Ruleset, Set, SetName, SetSpec, Verdict,
};
use policy_core::{Generation, Scope, Transaction};

pub(crate) fn chain_name(name: &str) -> ChainName {
    ChainName::new(name)
}

pub(crate) fn set_name(name: &str) -> SetName {
    SetName::new(name)
}

pub(crate) fn ip4(text: &str) -> Datum {
    Datum::Ip4(text.parse::<Ipv4Addr>().unwrap())
}

pub(crate) fn ip6(text: &str) -> Datum {
    Datum::Ip6(text.parse::<Ipv6Addr>().unwrap())
}

pub(crate) fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

pub(crate) fn rule(exprs: impl Into<Vec<Expr>>) -> Rule {
    Rule { exprs: exprs.into(), comment: String::new() }
}

pub(crate) fn accept() -> Expr {
    Expr::Verdict(Verdict::Accept)
}

pub(crate) fn drop() -> Expr {
    Expr::Verdict(Verdict::Drop)
}

pub(crate) fn jump(chain: &str) -> Expr {
    Expr::Verdict(Verdict::Jump(chain_name(chain)))
}

pub(crate) fn goto(chain: &str) -> Expr {
    Expr::Verdict(Verdict::Goto(chain_name(chain)))
}

pub(crate) fn lookup(field: Field, set: &str) -> Expr {
    Expr::within([field], set_name(set))
}

/// A chain that is only jumped to.
pub(crate) fn chain(name: &str, rules: impl Into<Vec<Rule>>) -> (ChainName, Chain) {
    (chain_name(name), Chain { spec: ChainSpec::default(), rules: rules.into() })
}

/// A chain that the kernel calls.
pub(crate) fn base(
    name: &str,
    hook: Hook,
    priority: i32,
    drop_by_default: bool,
    rules: impl Into<Vec<Rule>>,
) -> (ChainName, Chain) {
    let spec =
        ChainSpec { base: Some(BaseChain { hook, priority, drop_by_default }), ..ChainSpec::default() };
    (chain_name(name), Chain { spec, rules: rules.into() })
}

pub(crate) fn plain(key: impl Into<Vec<KeyType>>) -> SetSpec {
    SetSpec { key: key.into(), ..SetSpec::default() }
}

pub(crate) fn interval(key: KeyType) -> SetSpec {
    SetSpec { interval: true, ..plain([key]) }
}

pub(crate) fn verdict_map(key: KeyType) -> SetSpec {
    SetSpec { verdict_map: true, ..plain([key]) }
}

pub(crate) fn set(name: &str, spec: SetSpec, elements: Elements) -> (SetName, Set) {
    (set_name(name), Set { spec, elements })
}

/// Elements without verdicts.
pub(crate) fn keys(keys: impl IntoIterator<Item = Key>) -> Elements {
    keys.into_iter().map(|key| (key, None)).collect()
}

pub(crate) fn element(key: Key, verdict: Option<Verdict>) -> Elements {
    [(key, verdict)].into()
}

pub(crate) fn one(value: Datum) -> Key {
    Key::One(value)
}

pub(crate) fn ruleset(
    chains: impl IntoIterator<Item = (ChainName, Chain)>,
    sets: impl IntoIterator<Item = (SetName, Set)>,
) -> Ruleset {
    Ruleset { chains: chains.into_iter().collect(), sets: sets.into_iter().collect() }
}

/// The operations on the table as it is.
pub(crate) fn change(ops: impl Into<Vec<Op>>) -> Transaction {
    Transaction { generation: Generation(1), scope: Scope::Change, ops: ops.into() }
}
