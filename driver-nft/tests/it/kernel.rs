//! The driver against the running kernel: what it writes is what nft would have written.

use driver_nft::NftKernel;
use policy_core::Kernel as _;
use policy_core::ruleset::Ruleset;

use crate::netns::{in_new_namespace, listing, nft, replacement};
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
