//! Operations that have no kernel encoding: refused before anything is sent, and by name.

use driver_nft::encode::{EncodeError, Unencodable, encode};
use policy_core::ruleset::{ChainSpec, Datum, Expr, Field, Key, KeyType, Op, Rule, SetSpec, Verdict};
use test_case::test_case;

use crate::netns::change;
use crate::sample::{chain, dynamic, interval, ip4, map, members, plain, rule, set, update};

fn rules(exprs: impl Into<Vec<Expr>>) -> Op {
    Op::SetRules(chain("a"), vec![rule(exprs)])
}

fn commented(comment: &str) -> ChainSpec {
    ChainSpec { base: None, comment: comment.into() }
}

fn log(prefix: &str, snaplen: u32) -> Expr {
    Expr::Log { group: 1, prefix: prefix.into(), snaplen }
}

fn lookup(fields: &[Field]) -> Expr {
    Expr::within(fields, set("s"))
}

#[test_case(rules([Expr::Foreign("log".into())]), Unencodable::Foreign("log".into()); "foreign expression")]
#[test_case(Op::AddSet(set("s"), plain([KeyType::Unknown(19)])), Unencodable::UnknownKey(19); "foreign key type")]
#[test_case(Op::AddSet(set("s"), plain([])), Unencodable::KeyParts(0); "key without parts")]
#[test_case(Op::AddSet(set("s"), plain([KeyType::Port; 6])), Unencodable::KeyParts(6); "key of six parts")]
#[test_case(
    Op::AddSet(set("s"), SetSpec { interval: true, ..plain([KeyType::Ip4, KeyType::Port]) }), Unencodable::KeyParts(2);
    "ranges of several parts"
)]
#[test_case(
    Op::AddSet(set("s"), interval(KeyType::Index)), Unencodable::Unordered("iface_index".into());
    "ranges of indexes in a set"
)]
#[test_case(
    rules([Expr::Range { field: Field::InputPort, low: Datum::Index(1), high: Datum::Index(2) }]),
    Unencodable::Unordered("iif".into());
    "range of indexes in a rule"
)]
#[test_case(
    Op::AddElements(set("s"), members([Key::Range(Datum::Index(1), Datum::Index(2))])),
    Unencodable::Element("1-2".into());
    "range of indexes as an element"
)]
#[test_case(
    Op::AddElements(set("s"), members([Key::Range(Datum::Port(2), Datum::Port(1))])),
    Unencodable::Element("2-1".into());
    "range that ends before it starts"
)]
#[test_case(Op::AddChain(chain(""), ChainSpec::default()), Unencodable::Name(String::new()); "empty name")]
#[test_case(Op::DelSet(set("a\0b")), Unencodable::Name("a\0b".into()); "null byte in a name")]
#[test_case(Op::DelChain(chain(&"n".repeat(256))), Unencodable::Name("n".repeat(256)); "long name")]
#[test_case(
    rules([Expr::Verdict(Verdict::Jump(chain("")))]), Unencodable::Name(String::new());
    "empty name of a jump's target"
)]
#[test_case(rules([update(&[Field::InputPort], "", 1)]), Unencodable::Name(String::new()); "empty name of a set to update")]
#[test_case(Op::AddChain(chain("a"), commented(&"c".repeat(128))), Unencodable::Comment(128); "long comment of a chain")]
#[test_case(Op::AddChain(chain("a"), commented("a\0b")), Unencodable::Comment(3); "null byte in a comment")]
#[test_case(
    Op::SetRules(chain("a"), vec![Rule { exprs: Vec::new(), comment: "c".repeat(128) }]), Unencodable::Comment(128);
    "long comment of a rule"
)]
#[test_case(
    Op::AddSet(set("s"), SetSpec { comment: "c".repeat(128), ..plain([KeyType::Ip4]) }), Unencodable::Comment(128);
    "long comment of a set"
)]
#[test_case(
    Op::AddSet(set("s"), SetSpec { comment: "c".repeat(127), ..dynamic([KeyType::IcmpId; 5]) }),
    Unencodable::Description(286);
    "long comment beside a long key"
)]
#[test_case(
    rules([Expr::Compare { field: Field::Ip4Source, mask: Some(1), negated: false, value: ip4(1, 2, 3, 4) }]),
    Unencodable::Mask("ip saddr");
    "mask on four bytes"
)]
#[test_case(
    rules([Expr::Compare { field: Field::IcmpType, mask: Some(0x100), negated: false, value: Datum::Byte(1) }]),
    Unencodable::Mask("icmp type");
    "mask that is longer than its field"
)]
#[test_case(
    rules([Expr::is(Field::Ip4Source, Datum::Port(1))]),
    Unencodable::Value { field: "ip saddr", value: "1".into() };
    "value of another type"
)]
#[test_case(
    rules([Expr::Range { field: Field::SourcePort, low: Datum::Port(1), high: ip4(1, 2, 3, 4) }]),
    Unencodable::Value { field: "th sport", value: "1.2.3.4".into() };
    "range to a value of another type"
)]
#[test_case(rules([Expr::Limit { rate: 0, burst: 1 }]), Unencodable::Limit { rate: 0, burst: 1 }; "limit to nothing")]
#[test_case(rules([Expr::Limit { rate: 1, burst: 0 }]), Unencodable::Limit { rate: 1, burst: 0 }; "limit that lets nothing begin")]
#[test_case(rules([log("", 1)]), Unencodable::Log { prefix: String::new(), snaplen: 1 }; "log without words")]
#[test_case(rules([log(&"p".repeat(128), 1)]), Unencodable::Log { prefix: "p".repeat(128), snaplen: 1 }; "log of too many words")]
#[test_case(rules([log("a\0b", 1)]), Unencodable::Log { prefix: "a\0b".into(), snaplen: 1 }; "log with a terminator")]
#[test_case(rules([log("a", 0)]), Unencodable::Log { prefix: "a".into(), snaplen: 0 }; "log of nothing")]
#[test_case(rules([lookup(&[])]), Unencodable::KeyParts(0); "lookup of nothing")]
#[test_case(rules([lookup(&[Field::SourcePort; 6])]), Unencodable::KeyParts(6); "lookup of six fields")]
#[test_case(rules([lookup(&[Field::Ip6Source; 5])]), Unencodable::Registers; "lookup longer than the registers")]
#[test_case(rules(vec![Expr::Counter; 4000]), Unencodable::TooLong; "rule longer than an attribute")]
fn operation_without_encoding_is_refused_by_name(op: Op, reason: Unencodable) {
    let text = op.to_string();
    let before = Op::AddSet(set("fine"), map([KeyType::Index]));
    let EncodeError { op_index, op, reason: found } = encode(&change([before, op]), None, 1).unwrap_err();
    assert_eq!((op_index, found), (1, reason));
    assert!(text.starts_with(op.trim_end_matches(" ...")), "{op} does not start {text}");
    assert!(op.chars().count() < 200, "{op} is too long to read");
}
