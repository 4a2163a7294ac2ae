//! The table's layout: what it says of itself, and what an upgrade must leave as it is.

use policy_core::ruleset::{ChainName, ChainSpec, Dynamic, LAYOUT, LAYOUT_STEM, Op, Ruleset};
use policy_core::{Compiler, Config, StateEngine};
use test_case::test_case;

use crate::build::change;

fn table(state: StateEngine) -> Ruleset {
    Compiler::new(&Config { state, ..Config::new("node-1") }).desired().clone()
}

#[test]
fn a_table_says_its_layout() {
    assert_eq!(table(StateEngine::Sets).layout(), Some(LAYOUT));
    assert_eq!(table(StateEngine::Conntrack).layout(), Some(LAYOUT));
    assert_eq!(Ruleset::default().layout(), None);
}

#[test_case("layout-7", Some(7); "of a later version")]
#[test_case("layout-", None; "no number")]
#[test_case("layout-7.other", None; "no number alone")]
#[test_case("layouts", None; "another name")]
fn a_layout_is_read_from_the_name_of_a_chain(name: &str, layout: Option<u32>) {
    let mut table = table(StateEngine::Sets);
    let mark = ChainName::new(format!("{LAYOUT_STEM}{LAYOUT}"));
    let ops = [Op::DelChain(mark), Op::AddChain(ChainName::new(name), ChainSpec::default())];
    table.apply(&change(ops)).expect("nothing leads to the mark");
    assert_eq!(table.layout(), layout);
}

/// Base chains: at each moment, every packet must meet them. Dynamic sets: what packets have noted in them must go on.
const OUTLASTS_UPGRADES: &str = include_str!("outlasts-upgrades.txt");

/// If this fails, an upgrade to this version would lose flows or let packets through. Give new things new names beside the
/// old ones, which stay for as long as nodes may have them.
#[test]
fn what_must_outlast_an_upgrade_is_as_it_has_always_been() {
    let mut found = Vec::new();
    for state in [StateEngine::Conntrack, StateEngine::Sets] {
        found.push(format!("{state:?}"));
        let table = table(state);
        for (name, chain) in &table.chains {
            if let Some(base) = chain.spec.base {
                found.push(format!("  chain {name}: {} {}{}", base.hook, base.priority, chain.spec.comment));
            }
        }
        for (name, set) in &table.sets {
            if let Some(Dynamic { size, timeout }) = set.spec.dynamic {
                let (key, comment) = (&set.spec.key, &set.spec.comment);
                found.push(format!("  set {name}: {key:?} {size} {timeout:?}{comment}"));
            }
        }
    }
    assert_eq!(found, OUTLASTS_UPGRADES.lines().collect::<Vec<_>>());
}
