//! The text form of everything that a table can hold. That nft reads these forms and means the same by them is tested
//! where nft is: each golden is loaded by it, and so is every ruleset of a scenario.

use std::time::Duration;

use policy_core::ruleset::{
    ChainSpec, ConnectionState, Datum, Dynamic, Elements, Expr, Field, Heading, Hook, Key, KeyType, Op, Rule,
    SetSpec, Verdict,
};
use policy_core::{Generation, Scope, Transaction};
use test_case::test_case;

use crate::build::{
    accept, base, chain, chain_name, change, element, interval, ip4, ip6, jump, keys, lookup, mac, one,
    plain, rule, ruleset, set, set_name, verdict_map,
};

#[test_case(Datum::ArpOperation(2), "2")]
#[test_case(Datum::Byte(143), "143")]
#[test_case(Datum::IP4, "ip")]
#[test_case(Datum::IP6, "ip6")]
#[test_case(Datum::ARP, "arp")]
#[test_case(Datum::EtherType(0x88cc), "0x88cc"; "an ethernet type without a name")]
#[test_case(Datum::EtherType(0x0042), "0x0042"; "a small ethernet type")]
#[test_case(Datum::IcmpId(7), "7"; "an identifier")]
#[test_case(Datum::Index(4_294_967_295), "4294967295"; "the last index")]
#[test_case(Datum::RawMac(mac(1)), "0x20000000001"; "a mac as a number")]
#[test_case(Datum::RawIp6("fe80::1".parse().unwrap()), "0xfe800000000000000000000000000001"; "an address as a number")]
#[test_case(ip4("10.0.0.1"), "10.0.0.1"; "version 4")]
#[test_case(ip6("2001:DB8:0::1"), "2001:db8::1"; "version 6")]
#[test_case(Datum::Mac(mac(0xab)), "02:00:00:00:00:ab"; "a mac")]
#[test_case(Datum::Port(65535), "65535"; "the last port")]
#[test_case(Datum::ICMP, "icmp")]
#[test_case(Datum::ICMP6, "ipv6-icmp")]
#[test_case(Datum::TCP, "tcp")]
#[test_case(Datum::UDP, "udp")]
#[test_case(Datum::Protocol(132), "sctp"; "sctp")]
#[test_case(Datum::Protocol(47), "47"; "a protocol without a name here")]
fn value_as_nft_reads_it(value: Datum, text: &str) {
    assert_eq!(value.to_string(), text);
}

#[test_case(&one(ip4("10.0.0.1")), "10.0.0.1"; "one value")]
#[test_case(&Key::of(&[Datum::Index(3)]), "3"; "a list of one value is that value")]
#[test_case(&Key::of(&[ip4("10.0.0.1"), Datum::UDP, Datum::Port(53)]), "10.0.0.1 . udp . 53"; "a concatenation")]
#[test_case(&Key::Range(Datum::Port(80), Datum::Port(90)), "80-90"; "a range")]
#[test_case(&Key::Range(ip6("::"), ip6("::ffff")), "::-::ffff"; "a range of version 6")]
#[test_case(&Key::Range(Datum::Port(80), Datum::Port(80)), "80"; "a range of one")]
fn key_as_nft_reads_it(key: &Key, text: &str) {
    assert_eq!(key.to_string(), text);
}

fn compare(field: Field, mask: Option<u16>, negated: bool, value: Datum) -> Expr {
    Expr::Compare { field, mask, negated, value }
}

fn update(fields: &[Field]) -> Expr {
    Expr::Update { fields: fields.into(), set: set_name("flows/tcp"), timeout: Duration::from_mins(2) }
}

fn not_within(field: Field, set: &str) -> Expr {
    Expr::Lookup { fields: vec![field], set: set_name(set), negated: true }
}

fn dispatch(fields: &[Field]) -> Expr {
    Expr::Dispatch { fields: fields.into(), map: set_name("egress-port") }
}

fn range(low: u16, high: u16) -> Expr {
    Expr::Range { field: Field::DestinationPort, low: Datum::Port(low), high: Datum::Port(high) }
}

const FLOW: [Field; 3] = [Field::Ip4Source, Field::Ip4Destination, Field::IcmpId];

#[test_case(&Expr::is(Field::NetworkProtocol, Datum::ARP), "meta protocol arp"; "equality")]
#[test_case(&Expr::is_not(Field::EtherSource, Datum::Mac(mac(1))), "ether saddr != 02:00:00:00:00:01"; "inequality")]
#[test_case(&compare(Field::TcpFlags, Some(2), false, Datum::Byte(2)), "tcp flags & 0x02 == 2"; "equality of some bits")]
#[test_case(&compare(Field::TcpFlags, Some(0x17), true, Datum::Byte(2)), "tcp flags & 0x17 != 2"; "inequality of some bits")]
#[test_case(&compare(Field::VlanTag, Some(0x0fff), false, Datum::RawShort(30)), "vlan id 30"; "a vlan")]
#[test_case(&compare(Field::VlanTag, Some(0xe000), false, Datum::RawShort(30)), "@ll,112,16 & 0xe000 == 0x1e"; "other bits of a tag")]
#[test_case(&compare(Field::Ip6FragmentOffset, Some(0xfff8), false, Datum::RawShort(0)), "frag frag-off 0"; "the first fragment")]
#[test_case(&compare(Field::Ip6FragmentOffset, Some(0xfff8), true, Datum::RawShort(24)), "frag frag-off != 3"; "not the fragment at 24 bytes")]
#[test_case(&Expr::is(Field::Ip6FragmentId, Datum::FragmentId(7)), "frag id 0x7"; "a datagram in fragments")]
#[test_case(&Expr::is(Field::EtherType, Datum::VLAN), "ether type 0x8100"; "a tag")]
#[test_case(&Expr::State(ConnectionState::Established), "ct state established"; "an answered connection")]
#[test_case(&Expr::State(ConnectionState::Related), "ct state related"; "an error about a connection")]
#[test_case(&Expr::Direction(Heading::Original), "ct direction original"; "the way of the first packet")]
#[test_case(&Expr::Direction(Heading::Reply), "ct direction reply"; "the way of the answer")]
#[test_case(&Expr::SetZone(65_535), "ct zone set 65535"; "a zone")]
#[test_case(&Expr::Counter, "counter"; "a counter")]
#[test_case(&Expr::Limit { rate: 10, burst: 20 }, "limit rate 10/second burst 20 packets"; "a limit")]
#[test_case(&Expr::Log { group: 7, prefix: "drop in/a".into(), snaplen: 128 }, "log prefix \"drop in/a\" group 7 snaplen 128"; "a log")]
#[test_case(&dispatch(&[Field::InputPort]), "iif vmap @egress-port"; "a dispatch")]
#[test_case(&dispatch(&[Field::EtherSource, Field::Ip4Source]), "ether saddr . ip saddr vmap @egress-port"; "a dispatch by two fields")]
#[test_case(&Expr::Foreign("quota".into()), "# not ours: quota"; "what is not ours")]
#[test_case(&lookup(Field::Ip6Source, "peers/a-ip6"), "ip6 saddr @peers/a-ip6"; "a lookup")]
#[test_case(&Expr::within([Field::ArpSenderIp, Field::ArpSenderMac], set_name("guard")), "arp saddr ip . arp saddr ether @guard"; "a lookup of two fields")]
#[test_case(&not_within(Field::EtherDestination, "known"), "ether daddr != @known"; "a lookup that must fail")]
#[test_case(&range(80, 90), "th dport 80-90"; "a range of ports")]
#[test_case(&update(&FLOW), "update @flows/tcp { ip saddr . ip daddr . icmp id timeout 120s }"; "an update")]
#[test_case(&accept(), "accept"; "acceptance")]
#[test_case(&Expr::Verdict(Verdict::Drop), "drop"; "a drop")]
#[test_case(&Expr::Verdict(Verdict::Goto(chain_name("in/a"))), "goto in/a"; "a goto")]
#[test_case(&jump("policy/a"), "jump policy/a"; "a jump")]
#[test_case(&Expr::Verdict(Verdict::Return), "return"; "a return")]
fn expression_as_nft_reads_it(expr: &Expr, text: &str) {
    assert_eq!(expr.to_string(), text);
}

#[test]
fn every_field_has_a_text_of_its_own() {
    let mut texts: Vec<String> = Field::ALL.iter().map(Field::to_string).collect();
    texts.sort();
    let count = texts.len();
    texts.dedup();
    assert_eq!(texts.len(), count);
}

#[test]
fn a_rule_ends_with_its_comment() {
    let exprs = vec![lookup(Field::Ip4Source, "peers/a-ip4"), Expr::Counter, accept()];
    let commented = Rule { exprs: exprs.clone(), comment: "shop/web rule 1".into() };
    assert_eq!(commented.to_string(), "ip saddr @peers/a-ip4 counter accept comment \"shop/web rule 1\"");
    assert_eq!(rule(exprs).to_string(), "ip saddr @peers/a-ip4 counter accept");
}

fn echo_flows() -> SetSpec {
    let dynamic = Dynamic { size: 4096, timeout: Duration::from_secs(30) };
    let key = [KeyType::Index, KeyType::Ip4, KeyType::Ip4, KeyType::IcmpId];
    SetSpec { dynamic: Some(dynamic), comment: "echo requests".into(), ..plain(key) }
}

/// A key with a part of every type that has a name, and `echo` among them.
fn sampled(echo: KeyType) -> SetSpec {
    plain([
        KeyType::ArpOperation,
        KeyType::Byte,
        KeyType::EtherType,
        KeyType::Index,
        KeyType::Ip4,
        KeyType::Ip6,
        KeyType::Mac,
        KeyType::Port,
        KeyType::Protocol,
        echo,
    ])
}

#[test_case(&plain([KeyType::Ip4]), "type ipv4_addr"; "one part")]
#[test_case(&plain([KeyType::Ip6, KeyType::Protocol, KeyType::Port]), "type ipv6_addr . inet_proto . inet_service"; "three parts")]
#[test_case(&plain([KeyType::ArpOperation, KeyType::EtherType, KeyType::Byte]), "type arp_op . ether_type . integer"; "numbers")]
#[test_case(&plain([KeyType::Index, KeyType::RawIp6]), "typeof iif . @th,64,128"; "an address that nft has no name for")]
#[test_case(&plain([KeyType::RawMac]), "typeof @th,208,48"; "a mac that nft has no name for")]
#[test_case(&plain([KeyType::Unknown(41)]), "type unknown-41"; "a type of somebody else")]
#[test_case(&verdict_map(KeyType::Index), "type iface_index : verdict"; "a map")]
#[test_case(&interval(KeyType::Mac), "type ether_addr\n\t\tflags interval"; "ranges")]
#[test_case(&echo_flows(), "typeof iif . ip saddr . ip saddr . icmp id\n\t\tsize 4096\n\t\tflags dynamic,timeout\n\t\ttimeout 30s\n\t\tcomment \"echo requests\""; "what packets put there")]
#[test_case(&sampled(KeyType::Icmp6Id), "typeof arp operation . tcp flags . meta protocol . iif . ip saddr . ip6 saddr . ether saddr . th sport . meta l4proto . icmpv6 id"; "a field for each type")]
fn nature_of_a_set_as_nft_reads_it(spec: &SetSpec, text: &str) {
    let kind = if spec.verdict_map { "map" } else { "set" };
    let op = Op::AddSet(set_name("s"), spec.clone());
    assert_eq!(op.to_string(), format!("add {kind} bridge mnp-nft-bridge s {{\n\t\t{text}\n}}\n"));
}

#[test]
fn a_part_that_nft_cannot_name_is_left_out_of_a_key_by_fields() {
    let spec = plain([KeyType::Unknown(3), KeyType::IcmpId]);
    assert_eq!(spec.typeof_fields(), Some(vec![Field::IcmpId]));
    assert_eq!(plain([KeyType::Ip4]).typeof_fields(), None, "nft has a name for this type");
}

fn numbers(last: u16) -> Elements {
    keys((1..=last).map(|port| one(Datum::Port(port))))
}

#[test_case(&Op::AddChain(chain_name("in/a"), ChainSpec { base: None, comment: "to shop/a".into() }), "add chain bridge mnp-nft-bridge in/a {\n\t\tcomment \"to shop/a\"\n}\n"; "a chain with a comment")]
#[test_case(&Op::AddElements(set_name("s"), numbers(2)), "add element bridge mnp-nft-bridge s { 1, 2 }\n"; "elements")]
#[test_case(&Op::AddElements(set_name("m"), element(one(Datum::Index(3)), Some(Verdict::Goto(chain_name("in/a"))))), "add element bridge mnp-nft-bridge m { 3 : goto in/a }\n"; "an element of a map")]
#[test_case(&Op::DelChain(chain_name("in/a")), "delete chain bridge mnp-nft-bridge in/a\n"; "a chain to be deleted")]
#[test_case(&Op::DelElements(set_name("s"), numbers(1)), "delete element bridge mnp-nft-bridge s { 1 }\n"; "an element to be deleted")]
#[test_case(&Op::DelSet(set_name("s")), "delete set bridge mnp-nft-bridge s\n"; "a set to be deleted")]
#[test_case(&Op::SetRules(chain_name("c"), vec![rule([Expr::Counter]), rule([accept()])]), "flush chain bridge mnp-nft-bridge c\nadd rule bridge mnp-nft-bridge c counter\nadd rule bridge mnp-nft-bridge c accept\n"; "rules")]
#[test_case(&Op::SetRules(chain_name("c"), vec![]), "flush chain bridge mnp-nft-bridge c\n"; "no rules")]
fn operation_as_nft_reads_it(op: &Op, text: &str) {
    assert_eq!(op.to_string(), text);
}

#[test_case(Hook::Prerouting, -200, false, "type filter hook prerouting priority -200; policy accept;"; "prerouting")]
#[test_case(Hook::Input, 0, false, "type filter hook input priority 0; policy accept;"; "input")]
#[test_case(Hook::Forward, 5, true, "type filter hook forward priority 5; policy drop;"; "forward")]
#[test_case(Hook::Output, 0, true, "type filter hook output priority 0; policy drop;"; "output")]
#[test_case(Hook::Postrouting, 0, false, "type filter hook postrouting priority 0; policy accept;"; "postrouting")]
fn base_chain_as_nft_reads_it(hook: Hook, priority: i32, drop_by_default: bool, text: &str) {
    let (name, chain) = base("b", hook, priority, drop_by_default, []);
    let op = Op::AddChain(name, chain.spec);
    assert_eq!(op.to_string(), format!("add chain bridge mnp-nft-bridge b {{\n\t\t{text}\n}}\n"));
}

#[test]
fn a_replacement_deletes_a_table_that_may_not_be_there() {
    let ops = vec![Op::AddChain(chain_name("c"), ChainSpec::default())];
    let replacement = Transaction { generation: Generation(1), scope: Scope::Replace, ops: ops.clone() };
    let head = "add table bridge mnp-nft-bridge\n";
    let tail = "add chain bridge mnp-nft-bridge c {\n}\n";
    assert_eq!(replacement.to_string(), format!("{head}delete table bridge mnp-nft-bridge\n{head}{tail}"));
    assert_eq!(change(ops).to_string(), format!("{head}{tail}"));
}

#[test]
fn a_whole_table_reads_from_sets_to_chains() {
    let table = ruleset(
        [
            base("forward", Hook::Forward, -200, false, [rule([dispatch(&[Field::OutputPort])])]),
            chain("in/a", []),
        ],
        [
            set("empty", plain([KeyType::Mac]), Elements::new()),
            set("ports", plain([KeyType::Port]), numbers(2)),
        ],
    );
    let text = "table bridge mnp-nft-bridge {\n\
                \tset empty {\n\t\ttype ether_addr\n\n\t}\n\
                \tset ports {\n\t\ttype inet_service\n\n\t\telements = {\n\t\t\t1,\n\t\t\t2\n\t\t}\n\t}\n\
                \tchain forward {\n\t\ttype filter hook forward priority -200; policy accept;\n\n\
                \t\toif vmap @egress-port\n\t}\n\
                \tchain in/a {\n\n\t}\n}\n";
    assert_eq!(table.to_string(), text);
}
