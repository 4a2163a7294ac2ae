//! What holds for every ruleset and for any bytes, without a kernel.

use driver_nft::decode;
use driver_nft::encode::encode;
use policy_core::ruleset::{Chain, ChainSpec, Datum, Expr, Field, Ruleset};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::Index;

use crate::netns::replacement;
use crate::{generate, sample};

#[test]
fn sample_reads_back_from_its_own_encoding() {
    let wanted = sample::ruleset();
    let batch = encode(&replacement(&wanted), None, 1).unwrap();
    assert_eq!(decode::ruleset(batch.bytes()).unwrap(), wanted);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_ruleset_reads_back_from_its_own_encoding(wanted in generate::ruleset()) {
        let batch = encode(&replacement(&wanted), Some(7), u32::MAX - 3).unwrap();
        prop_assert_eq!(decode::ruleset(batch.bytes()).unwrap(), wanted);
    }

    #[test]
    fn what_connections_are_asked_reads_back_among_other_expressions(
        exprs in vec(prop_oneof![generate::connection(), generate::expr(&[], false)], 1..6),
    ) {
        // Both kinds of ICMP have their fields at the same places: the rule says which it means.
        let first = Expr::is(Field::TransportProtocol, Datum::ICMP);
        let exprs: Vec<Expr> = core::iter::once(first).chain(exprs).collect();
        let chain = Chain { spec: ChainSpec::default(), rules: vec![sample::rule(exprs)] };
        let wanted = Ruleset { chains: [(sample::chain("c"), chain)].into(), ..Ruleset::default() };
        let batch = encode(&replacement(&wanted), None, 1).unwrap();
        prop_assert_eq!(decode::ruleset(batch.bytes()).unwrap(), wanted);
    }

    /// Whatever stands in a dump, reading it ends with a ruleset or an error.
    #[test]
    fn damaged_dumps_are_read_or_refused(
        wanted in generate::ruleset(),
        damage in vec((any::<Index>(), any::<u8>()), 1..20),
        cut in any::<Index>(),
    ) {
        let batch = encode(&replacement(&wanted), None, 1).unwrap();
        let mut bytes = batch.bytes().to_vec();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read(&bytes);
        read(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn random_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        read(&bytes);
    }
}

/// Reads a dump in every way there is. Neither a ruleset nor an error is wrong; only a panic would be.
fn read(bytes: &[u8]) {
    let names = decode::set_names(bytes);
    let ruleset = decode::ruleset(bytes);
    // The two agree on whether the framing holds.
    assert!(names.is_ok() || ruleset.is_err());
}
