//! The driver against the running kernel: what it writes is what nft would have written.

use driver_nft::{Capabilities, Capability, NftError, NftKernel, Support};
use policy_core::ruleset::{
    Chain, ChainSpec, Datum, Elements, Expr, Field, Key, KeyType, Op, Ruleset, Set, SetSpec, Verdict, diff,
};
use policy_core::{Kernel as _, Scope};

use crate::netns::{change, in_new_namespace, listing, nft, replacement};
use crate::sample;

#[test]
fn observing_where_there_is_no_table_finds_an_empty_ruleset() {
    let observed = in_new_namespace(|| NftKernel::open().unwrap().observe().unwrap());
    assert_eq!(observed, Ruleset::default());
}

#[test]
fn observed_ruleset_is_the_one_that_was_applied() {
    let wanted = sample::ruleset();
    let observed = in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        kernel.apply(&replacement(&wanted)).unwrap();
        kernel.observe().unwrap()
    });
    for (name, chain) in &wanted.chains {
        assert_eq!(observed.chains.get(name), Some(chain), "chain {name}");
    }
    for (name, set) in &wanted.sets {
        assert_eq!(observed.sets.get(name), Some(set), "set {name}");
    }
    assert_eq!(observed, wanted);
}

#[test]
fn nft_lists_what_was_applied_exactly_as_what_it_loads_from_the_text() {
    let wanted = sample::ruleset();
    let (ours_text, ours_json) = in_new_namespace(|| {
        NftKernel::open().unwrap().apply(&replacement(&wanted)).unwrap();
        listing()
    });
    let (theirs_text, theirs_json) = in_new_namespace(|| {
        nft(&["-f", "-"], &wanted.to_string());
        listing()
    });
    assert_eq!(ours_text, theirs_text);
    assert_eq!(ours_json, theirs_json);
}

#[test]
fn observed_ruleset_is_the_one_that_nft_loads_from_the_text() {
    let wanted = sample::ruleset();
    let observed = in_new_namespace(|| {
        nft(&["-f", "-"], &wanted.to_string());
        NftKernel::open().unwrap().observe().unwrap()
    });
    assert_eq!(observed, wanted);
}

#[test]
fn numbers_from_several_places_are_held_as_they_were_meant_and_nft_loads_them() {
    let wanted = sample::places();
    let observed = in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        kernel.apply(&replacement(&wanted)).unwrap();
        kernel.observe().unwrap()
    });
    assert_eq!(observed, wanted);
    let loaded = in_new_namespace(|| {
        nft(&["-f", "-"], &wanted.to_string());
        NftKernel::open().unwrap().observe().unwrap()
    });
    assert_eq!(loaded, wanted);
}

/// On a kernel without connection tracking in the bridge family, the refusal names the rule.
#[test]
fn questions_about_connections_are_held_as_nft_means_them_or_refused_by_name() {
    let wanted = sample::connections();
    let applied = || NftKernel::open().unwrap().apply(&replacement(&wanted));
    let can = in_new_namespace(|| Capabilities::probe().unwrap().of(Capability::BridgeConntrack));
    let Support::Missing(errno) = can else {
        let (ours, observed) = in_new_namespace(|| {
            applied().unwrap();
            (listing(), NftKernel::open().unwrap().observe().unwrap())
        });
        let theirs = in_new_namespace(|| {
            nft(&["-f", "-"], &wanted.to_string());
            listing()
        });
        assert_eq!(observed, wanted);
        assert_eq!(ours, theirs);
        return;
    };
    let error = in_new_namespace(|| applied().unwrap_err());
    let NftError::Refused { op, errno: refused, .. } = error else { panic!("another error: {error}") };
    assert_eq!(refused, errno);
    assert!(op.starts_with("flush chain bridge mnp-nft-bridge forward"), "{op}");
}

/// nft loads adjacent fields at once where this driver loads them one by one; its listing shows no
/// difference, except for two ports, which it then lists as raw bits.
#[test]
fn nft_lists_comparisons_of_adjacent_fields_the_same_as_its_own() {
    let mut wanted = Ruleset::default();
    let addresses = [
        Expr::is(Field::NetworkProtocol, Datum::IP4),
        Expr::is(Field::Ip4Source, sample::ip4(10, 0, 0, 1)),
        Expr::is(Field::Ip4Destination, sample::ip4(10, 0, 0, 2)),
    ];
    let macs =
        [Expr::is(Field::EtherDestination, sample::mac(1)), Expr::is(Field::EtherSource, sample::mac(2))];
    let rules = vec![sample::rule(addresses), sample::rule(macs)];
    wanted.chains.insert(sample::chain("adjacent"), Chain { spec: ChainSpec::default(), rules });
    let ours = in_new_namespace(|| {
        NftKernel::open().unwrap().apply(&replacement(&wanted)).unwrap();
        listing()
    });
    let theirs = in_new_namespace(|| {
        nft(&["-f", "-"], &wanted.to_string());
        listing()
    });
    assert_eq!(ours, theirs);
}

#[test]
fn ten_thousand_elements_of_each_kind_go_in_and_out_in_one_transaction() {
    let addresses =
        (0..10_000_u32).map(|at| (Key::One(Datum::Ip4((0x0a00_0000 + at).into())), None)).collect();
    let range = |at: u32| Key::Range(Datum::Ip4((at * 4).into()), Datum::Ip4((at * 4 + 1).into()));
    let ranges = (0..10_000).map(|at| (range(at), None)).collect();
    let flow = |at: u32| Key::Concat([Datum::Index(at), Datum::Port(80), Datum::TCP].into());
    let flows = (0..10_000).map(|at| (flow(at), None)).collect();
    let key = vec![KeyType::Index, KeyType::Port, KeyType::Protocol];
    let specs: [(&str, SetSpec, Elements); 3] = [
        ("addresses", sample::plain([KeyType::Ip4]), addresses),
        ("ranges", sample::interval(KeyType::Ip4), ranges),
        ("flows", sample::plain(key), flows),
    ];
    let mut wanted = Ruleset::default();
    for (name, spec, elements) in specs {
        wanted.sets.insert(sample::set(name), Set { spec, elements });
    }
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        kernel.apply(&replacement(&wanted)).unwrap();
        assert_eq!(kernel.observe().unwrap(), wanted);
        let gone = wanted.sets.iter().map(|(name, set)| Op::DelElements(name.clone(), set.elements.clone()));
        kernel.apply(&change(gone.collect::<Vec<_>>())).unwrap();
        assert!(kernel.observe().unwrap().sets.values().all(|set| set.elements.is_empty()));
    });
}

#[test]
fn a_thousand_chains_behind_one_map_go_in_and_out_in_one_transaction() {
    let mut wanted = Ruleset::default();
    let mut owners = Elements::new();
    for at in 0..1000 {
        let name = sample::chain(&format!("out/{at}"));
        let rules = vec![sample::rule([Expr::Counter, Expr::Verdict(Verdict::Drop)])];
        wanted.chains.insert(name.clone(), Chain { spec: ChainSpec::default(), rules });
        owners.insert(Key::One(Datum::Index(at)), Some(Verdict::Goto(name)));
    }
    wanted
        .sets
        .insert(sample::set("egress-port"), Set { spec: sample::map([KeyType::Index]), elements: owners });
    in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        kernel.apply(&replacement(&wanted)).unwrap();
        assert_eq!(kernel.observe().unwrap(), wanted);
        let (scope, ops) = diff(&wanted, &Ruleset::default());
        assert_eq!(scope, Scope::Change);
        kernel.apply(&change(ops)).unwrap();
        assert_eq!(kernel.observe().unwrap(), Ruleset::default());
    });
}

/// What the compiler makes of a set that a rule fills is not read back: the packet path changes it all the time.
#[test]
fn elements_of_dynamic_sets_are_left_out() {
    let wanted = sample::ruleset();
    let observed = in_new_namespace(|| {
        let mut kernel = NftKernel::open().unwrap();
        kernel.apply(&replacement(&wanted)).unwrap();
        nft(&["-f", "-"], "add element bridge mnp-nft-bridge flows/ip4 { 5 . 10.0.0.1 . 10.0.0.2 . 1 . 2 }");
        kernel.observe().unwrap()
    });
    assert_eq!(observed, wanted);
}
