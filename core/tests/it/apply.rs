//! Every way in which a transaction can be refused, and that a refused one leaves no trace. The kernel's agreement with
//! these answers is tested where there is a kernel, in the driver.

use std::time::Duration;

use policy_core::ruleset::{
    ChainSpec, Datum, Dynamic, Elements, Expr, Field, Hook, Key, KeyType, Op, Ruleset, SetSpec, Verdict,
};
use policy_core::{Scope, Transaction};
use test_case::test_case;

use crate::build::{
    accept, base, chain, chain_name, change, element, goto, interval, ip4, ip6, jump, keys, lookup, one,
    plain, rule, ruleset, set, set_name, verdict_map,
};

/// One of everything that can refer to something and be referred to.
fn table() -> Ruleset {
    let dispatch = Expr::Dispatch { fields: vec![Field::OutputPort], map: set_name("owners") };
    let update = Expr::Update {
        fields: vec![Field::Ip4Source],
        set: set_name("flows"),
        timeout: Duration::from_secs(9),
    };
    ruleset(
        [
            base(
                "forward",
                Hook::Forward,
                -200,
                false,
                [rule([dispatch]), rule([lookup(Field::Ip4Source, "peers"), jump("jumped")]), rule([update])],
            ),
            chain("empty", []),
            chain("full", [rule([accept()])]),
            chain("jumped", []),
            chain("mapped", []),
        ],
        [
            set("blocks", interval(KeyType::Ip4), keys([range("10.0.0.0", "10.0.0.255")])),
            set("flows", dynamic(), Elements::new()),
            set(
                "owners",
                verdict_map(KeyType::Index),
                element(one(Datum::Index(7)), Some(Verdict::Goto(chain_name("mapped")))),
            ),
            set("pairs", plain([KeyType::Ip4, KeyType::Port]), Elements::new()),
            set("peers", plain([KeyType::Ip4]), keys([one(ip4("10.0.0.1"))])),
            set("unused", plain([KeyType::Ip6]), keys([one(ip6("fd00::1"))])),
        ],
    )
}

fn dynamic() -> SetSpec {
    let dynamic = Dynamic { size: 10, timeout: Duration::from_secs(9) };
    SetSpec { dynamic: Some(dynamic), ..plain([KeyType::Ip4]) }
}

fn range(low: &str, high: &str) -> Key {
    Key::Range(ip4(low), ip4(high))
}

fn add(set: &str, key: Key) -> Op {
    Op::AddElements(set_name(set), keys([key]))
}

fn delete(set: &str, key: Key) -> Op {
    Op::DelElements(set_name(set), keys([key]))
}

fn map(set: &str, verdict: Option<Verdict>) -> Op {
    Op::AddElements(set_name(set), element(one(Datum::Index(8)), verdict))
}

fn rules(chain: &str, exprs: impl Into<Vec<Expr>>) -> Op {
    Op::SetRules(chain_name(chain), vec![rule(exprs)])
}

fn use_set(exprs: Expr) -> Op {
    rules("empty", [exprs, accept()])
}

fn pair(parts: &[Datum]) -> Key {
    Key::Concat(parts.into())
}

const PORT: Datum = Datum::Port(80);

#[test_case(&Op::AddChain(chain_name("empty"), ChainSpec::default()), "chain empty exists"; "a chain twice")]
#[test_case(&Op::AddSet(set_name("peers"), plain([KeyType::Ip4])), "set peers exists"; "a set twice")]
#[test_case(&add("none", one(PORT)), "set none does not exist"; "an element without a set")]
#[test_case(&add("peers", one(ip4("10.0.0.1"))), "set peers has element One(Ip4(10.0.0.1))"; "an element twice")]
#[test_case(&add("blocks", range("10.0.0.0", "10.0.0.255")), "set blocks has element Range(Ip4(10.0.0.0), Ip4(10.0.0.255))"; "a range twice")]
#[test_case(&add("blocks", range("10.0.0.255", "10.0.1.9")), "set blocks has element Range(Ip4(10.0.0.255), Ip4(10.0.1.9))"; "a range that begins in another")]
#[test_case(&add("blocks", range("9.0.0.0", "10.0.0.0")), "set blocks has element Range(Ip4(9.0.0.0), Ip4(10.0.0.0))"; "a range that ends in another")]
#[test_case(&add("blocks", range("10.0.0.7", "10.0.0.8")), "set blocks has element Range(Ip4(10.0.0.7), Ip4(10.0.0.8))"; "a range within another")]
#[test_case(&add("blocks", range("9.0.0.0", "11.0.0.0")), "set blocks has element Range(Ip4(9.0.0.0), Ip4(11.0.0.0))"; "a range around another")]
#[test_case(&add("blocks", range("10.2.0.0", "10.1.0.0")), "element Range(Ip4(10.2.0.0), Ip4(10.1.0.0)) does not fit set blocks"; "a range whose ends are exchanged")]
#[test_case(&add("blocks", one(ip4("10.1.0.0"))), "element One(Ip4(10.1.0.0)) does not fit set blocks"; "a value among ranges")]
#[test_case(&add("peers", range("10.1.0.0", "10.1.0.1")), "element Range(Ip4(10.1.0.0), Ip4(10.1.0.1)) does not fit set peers"; "a range among values")]
#[test_case(&add("peers", one(ip6("fd00::1"))), "element One(Ip6(fd00::1)) does not fit set peers"; "a value of another type")]
#[test_case(&add("peers", pair(&[ip4("10.0.0.2")])), "element Concat([Ip4(10.0.0.2)]) does not fit set peers"; "a list of one value")]
#[test_case(&add("pairs", one(PORT)), "element One(Port(80)) does not fit set pairs"; "one value among pairs")]
#[test_case(&add("pairs", pair(&[PORT, ip4("10.0.0.2")])), "element Concat([Port(80), Ip4(10.0.0.2)]) does not fit set pairs"; "a pair in another order")]
#[test_case(&add("pairs", pair(&[ip4("10.0.0.2"), PORT, PORT])), "element Concat([Ip4(10.0.0.2), Port(80), Port(80)]) does not fit set pairs"; "three values among pairs")]
#[test_case(&map("owners", None), "element One(Index(8)) does not fit set owners"; "no verdict in a map")]
#[test_case(&map("peers", Some(Verdict::Accept)), "element One(Index(8)) does not fit set peers"; "a verdict in a set")]
#[test_case(&map("owners", Some(Verdict::Jump(chain_name("none")))), "chain none does not exist"; "a map that leads nowhere")]
#[test_case(&Op::DelChain(chain_name("none")), "chain none does not exist"; "no chain to be deleted")]
#[test_case(&Op::DelChain(chain_name("full")), "chain full is in use"; "a chain with rules")]
#[test_case(&Op::DelChain(chain_name("jumped")), "chain jumped is in use"; "a chain that a rule leads to")]
#[test_case(&Op::DelChain(chain_name("mapped")), "chain mapped is in use"; "a chain that a map leads to")]
#[test_case(&delete("none", one(PORT)), "set none does not exist"; "an element to be deleted without a set")]
#[test_case(&delete("peers", one(ip4("10.0.0.2"))), "set peers has no element One(Ip4(10.0.0.2))"; "no element to be deleted")]
#[test_case(&delete("blocks", range("10.0.0.0", "10.0.0.7")), "set blocks has no element Range(Ip4(10.0.0.0), Ip4(10.0.0.7))"; "half of a range to be deleted")]
#[test_case(&Op::DelSet(set_name("none")), "set none does not exist"; "no set to be deleted")]
#[test_case(&Op::DelSet(set_name("peers")), "set peers is in use"; "a set that a rule looks up")]
#[test_case(&Op::DelSet(set_name("owners")), "set owners is in use"; "a map that a rule dispatches by")]
#[test_case(&Op::DelSet(set_name("flows")), "set flows is in use"; "a set that a rule adds to")]
#[test_case(&rules("none", [accept()]), "chain none does not exist"; "rules of no chain")]
#[test_case(&rules("empty", [jump("none")]), "chain none does not exist"; "a jump that leads nowhere")]
#[test_case(&rules("empty", [goto("none")]), "chain none does not exist"; "a goto that leads nowhere")]
#[test_case(&use_set(lookup(Field::Ip4Source, "none")), "set none does not exist"; "a lookup in no set")]
#[test_case(&use_set(Expr::Dispatch { fields: vec![Field::InputPort], map: set_name("none") }), "set none does not exist"; "a dispatch by no map")]
fn what_the_kernel_would_refuse_is_refused_and_changes_nothing(op: &Op, reason: &str) {
    let before = table();
    let mut after = before.clone();
    let harmless = Op::AddChain(chain_name("new"), ChainSpec::default());
    let error = after.apply(&change([harmless, op.clone()])).expect_err("the operation must be refused");
    assert_eq!(error.to_string(), reason);
    assert_eq!(after, before, "half of a refused transaction was applied");
}

#[test_case(&add("blocks", range("10.0.1.0", "10.0.1.0")); "a range beside another")]
#[test_case(&add("blocks", range("9.0.0.0", "9.255.255.255")); "a range before another")]
#[test_case(&add("pairs", pair(&[ip4("10.0.0.2"), PORT])); "a pair")]
#[test_case(&map("owners", Some(Verdict::Return)); "a verdict without a chain")]
#[test_case(&Op::DelChain(chain_name("empty")); "a chain that nothing leads to")]
#[test_case(&Op::DelSet(set_name("unused")); "a set with elements that no rule uses")]
#[test_case(&delete("blocks", range("10.0.0.0", "10.0.0.255")); "a whole range to be deleted")]
fn what_the_kernel_would_take_is_taken(op: &Op) {
    let before = table();
    let mut after = before.clone();
    assert_eq!(after.apply(&change([op.clone()])), Ok(()));
    assert_ne!(after, before);
}

#[test]
fn order_within_a_transaction_counts() {
    let ops = [
        rules("forward", [accept()]),
        Op::DelChain(chain_name("jumped")),
        Op::DelSet(set_name("peers")),
        Op::DelSet(set_name("flows")),
    ];
    let mut table = table();
    assert_eq!(table.apply(&change(ops.clone())), Ok(()), "nothing leads there any more");
    assert!(!table.sets.contains_key(&set_name("peers")));
    let mut table = self::table();
    let reversed: Vec<Op> = ops.into_iter().rev().collect();
    assert!(table.apply(&change(reversed)).is_err(), "rules still lead there");
}

#[test]
fn replacement_begins_with_nothing() {
    let mut table = table();
    let op = Op::AddChain(chain_name("empty"), ChainSpec::default());
    let replacement = Transaction { scope: Scope::Replace, ..change([op]) };
    assert_eq!(table.apply(&replacement), Ok(()), "the chain of that name went with the old table");
    assert_eq!(table, ruleset([chain("empty", [])], []));
}

#[test]
fn refused_replacement_leaves_the_old_table() {
    let mut after = table();
    let replacement = Transaction { scope: Scope::Replace, ..change([Op::DelChain(chain_name("empty"))]) };
    assert_eq!(after.apply(&replacement).expect_err("refused").to_string(), "chain empty does not exist");
    assert_eq!(after, table());
}
