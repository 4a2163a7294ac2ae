//! The way from one ruleset to another: which operations, and in which order.

use policy_core::ruleset::{
    ChainSpec, Datum, Dirty, Elements, Field, Hook, Key, KeyType, Op, Ruleset, SetSpec, Verdict, diff,
    diff_within,
};
use policy_core::{Scope, Transaction};
use test_case::test_case;

use crate::build::{
    accept, base, chain, chain_name, change, element, goto, ip4, ip6, jump, keys, lookup, one, plain, rule,
    ruleset, set, set_name, verdict_map,
};

/// A chain that looks a set up, and a map that leads to it.
fn table() -> Ruleset {
    ruleset(
        [chain("in/a", [rule([lookup(Field::Ip4Source, "peers"), accept()])])],
        [
            set(
                "owners",
                verdict_map(KeyType::Index),
                element(one(Datum::Index(7)), Some(Verdict::Goto(chain_name("in/a")))),
            ),
            set("peers", plain([KeyType::Ip4]), keys([one(ip4("10.0.0.1")), one(ip4("10.0.0.2"))])),
        ],
    )
}

/// The operations as words: what is done to what.
fn words(ops: &[Op]) -> Vec<String> {
    let word = |op: &Op| match op {
        Op::AddChain(name, _) => format!("add chain {name}"),
        Op::AddElements(name, elements) => format!("add {} to {name}", elements.len()),
        Op::AddSet(name, _) => format!("add set {name}"),
        Op::DelChain(name) => format!("delete chain {name}"),
        Op::DelElements(name, elements) => format!("delete {} of {name}", elements.len()),
        Op::DelSet(name) => format!("delete set {name}"),
        Op::SetRules(name, rules) => format!("{} rules in {name}", rules.len()),
    };
    ops.iter().map(word).collect()
}

#[test]
fn what_exists_is_created_before_it_is_referred_to() {
    let (scope, ops) = diff(&Ruleset::default(), &table());
    assert_eq!(scope, Scope::Change);
    let wanted = [
        "add set owners",
        "add set peers",
        "add chain in/a",
        "1 rules in in/a",
        "add 1 to owners",
        "add 2 to peers",
    ];
    assert_eq!(words(&ops), wanted);
}

/// A map's elements hold chains, so they go one by one; a set goes with its elements.
#[test]
fn what_goes_is_deleted_after_the_last_reference_to_it() {
    let (scope, ops) = diff(&table(), &Ruleset::default());
    assert_eq!(scope, Scope::Change);
    let wanted = [
        "0 rules in in/a",
        "delete 1 of owners",
        "delete chain in/a",
        "delete set owners",
        "delete set peers",
    ];
    assert_eq!(words(&ops), wanted);
    let mut after = table();
    assert_eq!(after.apply(&change(ops)), Ok(()));
    assert_eq!(after, Ruleset::default());
}

#[test]
fn a_changed_element_is_two_operations_and_a_changed_verdict_too() {
    let mut to = table();
    let peers = to.sets.get_mut(&set_name("peers")).unwrap();
    peers.elements = keys([one(ip4("10.0.0.2")), one(ip4("10.0.0.3"))]);
    let owners = to.sets.get_mut(&set_name("owners")).unwrap();
    owners.elements = element(one(Datum::Index(7)), Some(Verdict::Drop));
    let (_, ops) = diff(&table(), &to);
    assert_eq!(words(&ops), ["delete 1 of owners", "add 1 to owners", "delete 1 of peers", "add 1 to peers"]);
}

#[test]
fn equal_rulesets_need_nothing() {
    assert_eq!(diff(&table(), &table()), (Scope::Change, Vec::new()));
    assert!(Dirty::between(&table(), &table()).is_empty());
}

fn with_chain(spec: ChainSpec) -> Ruleset {
    let mut table = table();
    table.chains.get_mut(&chain_name("in/a")).unwrap().spec = spec;
    table
}

fn with_set(spec: SetSpec, elements: Elements) -> Ruleset {
    let (name, set) = set("unused", spec, elements);
    let mut table = table();
    table.sets.insert(name, set);
    table
}

#[test_case(&table(), &with_chain(base("b", Hook::Forward, 0, false, []).1.spec); "a chain becomes a base chain")]
#[test_case(&table(), &with_chain(ChainSpec { base: None, comment: "to shop/a".into() }); "a chain gets a comment")]
fn a_chain_that_others_lead_to_and_that_changes_its_nature_is_replaced_with_the_table(
    from: &Ruleset,
    to: &Ruleset,
) {
    let (scope, ops) = diff(from, to);
    assert_eq!(scope, Scope::Replace);
    let mut after = from.clone();
    assert_eq!(after.apply(&Transaction { scope, ..change(ops) }), Ok(()));
    assert_eq!(&after, to);
}

#[test_case(&with_set(plain([KeyType::Ip4]), keys([one(ip4("10.0.0.9"))])), &with_set(plain([KeyType::Ip6]), keys([one(ip6("fd00::9"))])); "a set gets another key")]
#[test_case(&with_set(plain([KeyType::Ip4]), Elements::new()), &with_set(verdict_map(KeyType::Ip4), Elements::new()); "a set becomes a map")]
fn a_set_that_changes_its_nature_is_made_anew_and_nothing_else_is(from: &Ruleset, to: &Ruleset) {
    let (scope, ops) = diff(from, to);
    assert_eq!(scope, Scope::Change);
    assert!(words(&ops).iter().all(|word| word.ends_with("unused")), "{:?}", words(&ops));
    let mut after = from.clone();
    assert_eq!(after.apply(&change(ops)), Ok(()));
    assert_eq!(&after, to);
}

/// Its elements too that are the same as before, and the rules that look into it.
#[test]
fn what_looks_into_a_set_that_is_made_anew_is_written_again() {
    let mut to = table();
    for set in to.sets.values_mut() {
        set.spec.comment = "of another version".into();
    }
    let (scope, ops) = diff(&table(), &to);
    assert_eq!(scope, Scope::Change);
    let wanted = [
        "0 rules in in/a",
        "delete 1 of owners",
        "delete set owners",
        "delete set peers",
        "add set owners",
        "add set peers",
        "1 rules in in/a",
        "add 1 to owners",
        "add 2 to peers",
    ];
    assert_eq!(words(&ops), wanted);
    let mut after = table();
    assert_eq!(after.apply(&change(ops)), Ok(()));
    assert_eq!(after, to);
}

#[test]
fn a_base_chain_that_changes_its_nature_is_made_anew_and_nothing_else_is() {
    let with = |priority| {
        let mut table = table();
        table.chains.extend([base("b", Hook::Forward, priority, false, [rule([accept()])])]);
        table
    };
    let (scope, ops) = diff(&with(0), &with(1));
    assert_eq!(scope, Scope::Change);
    assert_eq!(words(&ops), ["0 rules in b", "delete chain b", "add chain b", "1 rules in b"]);
    let mut after = with(0);
    assert_eq!(after.apply(&change(ops)), Ok(()));
    assert_eq!(after, with(1));
}

#[test]
fn only_what_is_named_is_looked_at() {
    let mut to = table();
    to.chains.extend([chain("in/b", [rule([goto("in/a")])]), chain("in/c", [rule([jump("in/a")])])]);
    let mut dirty = Dirty::default();
    dirty.chains.insert(chain_name("in/b"));
    assert_eq!(words(&diff_within(&table(), &to, &dirty).1), ["add chain in/b", "1 rules in in/b"]);
    dirty.merge(Dirty::between(&table(), &to));
    let (scope, ops) = diff_within(&table(), &to, &dirty);
    assert_eq!((scope, ops), diff(&table(), &to));
}

#[test]
fn dirty_keys_of_one_set_come_together() {
    let key = |last: u8| Key::One(Datum::Byte(last));
    let of = |last: u8| Dirty { sets: [(set_name("s"), [key(last)].into())].into(), ..Dirty::default() };
    let mut dirty = of(1);
    dirty.merge(of(2));
    assert_eq!(dirty.sets, [(set_name("s"), [key(1), key(2)].into())].into());
    assert!(!dirty.is_empty());
}
