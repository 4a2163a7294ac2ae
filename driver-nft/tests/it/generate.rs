//! Random rulesets of the shapes that the driver writes.

use alloc::collections::BTreeMap;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use policy_core::model::Mac;
use policy_core::ruleset::{
    BaseChain, Chain, ChainName, ChainSpec, ConnectionState, Datum, Dynamic, Elements, Expr, Field, Heading,
    Hook, InterfaceName, Key, KeyType, Rule, Ruleset, Set, SetName, SetSpec, Verdict,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::{option, sample};

/// The kernel's registers hold this many bytes, and so does a key; [`key_bytes`] rounds up.
const KEY_BYTES_MAX: usize = 64;

/// The types that a key's parts can have.
const KEY_TYPES: [KeyType; 17] = [
    KeyType::ArpOperation,
    KeyType::Byte,
    KeyType::EtherType,
    KeyType::FragmentId,
    KeyType::IcmpId,
    KeyType::Icmp6Id,
    KeyType::Index,
    KeyType::InterfaceName,
    KeyType::Ip4,
    KeyType::Ip6,
    KeyType::Mac,
    KeyType::Port,
    KeyType::Protocol,
    KeyType::RawIp4,
    KeyType::RawIp6,
    KeyType::RawMac,
    KeyType::RawShort,
];

/// A value of type `kind`; small ones and the last one more often than chance would have it.
pub(crate) fn datum(kind: KeyType) -> BoxedStrategy<Datum> {
    let byte = || prop_oneof![0_u8..4, Just(u8::MAX), any::<u8>()];
    let short = || prop_oneof![0_u16..4, Just(u16::MAX), any::<u16>()];
    let long = || prop_oneof![0_u32..4, Just(u32::MAX), any::<u32>()];
    let ip6 = || prop_oneof![0_u128..4, Just(u128::MAX), any::<u128>()].prop_map(Ipv6Addr::from_bits);
    match kind {
        KeyType::ArpOperation => short().prop_map(Datum::ArpOperation).boxed(),
        KeyType::Byte => byte().prop_map(Datum::Byte).boxed(),
        KeyType::EtherType => short().prop_map(Datum::EtherType).boxed(),
        KeyType::FragmentId => long().prop_map(Datum::FragmentId).boxed(),
        KeyType::IcmpId | KeyType::Icmp6Id => short().prop_map(Datum::IcmpId).boxed(),
        KeyType::Index => long().prop_map(Datum::Index).boxed(),
        KeyType::InterfaceName => {
            "[a-z]{1,15}".prop_map(|name| Datum::InterfaceName(InterfaceName::new(&name))).boxed()
        }
        KeyType::Vlan => short().prop_map(Datum::Vlan).boxed(),
        KeyType::Ip4 => long().prop_map(|value| Datum::Ip4(Ipv4Addr::from_bits(value))).boxed(),
        KeyType::Ip6 => ip6().prop_map(Datum::Ip6).boxed(),
        KeyType::Mac => any::<[u8; 6]>().prop_map(|bytes| Datum::Mac(Mac(bytes))).boxed(),
        KeyType::Port => short().prop_map(Datum::Port).boxed(),
        KeyType::Protocol => byte().prop_map(Datum::Protocol).boxed(),
        KeyType::RawIp4 => long().prop_map(|value| Datum::RawIp4(Ipv4Addr::from_bits(value))).boxed(),
        KeyType::RawIp6 => ip6().prop_map(Datum::RawIp6).boxed(),
        KeyType::RawShort => short().prop_map(Datum::RawShort).boxed(),
        KeyType::RawMac => any::<[u8; 6]>().prop_map(|bytes| Datum::RawMac(Mac(bytes))).boxed(),
        KeyType::Unknown(_) => unreachable!("no values of a foreign type are made"),
    }
}

fn comment() -> BoxedStrategy<String> {
    prop_oneof![Just(String::new()), "[a-z /:.(){}=,_-]{1,127}"].boxed()
}

/// A set's comment shares the kernel's 256 bytes with what nft notes about the key.
fn short_comment() -> BoxedStrategy<String> {
    prop_oneof![Just(String::new()), "[a-z /:.(){}=,_-]{1,40}"].boxed()
}

fn key_bytes(key: &[KeyType]) -> usize {
    let bytes = |kind: &KeyType| {
        if matches!(kind, KeyType::InterfaceName | KeyType::Ip6 | KeyType::RawIp6) { 16 } else { 8 }
    };
    key.iter().map(bytes).sum()
}

/// What a set can be.
pub(crate) fn set_spec() -> BoxedStrategy<SetSpec> {
    let key = || {
        vec(sample::select(&KEY_TYPES[..]), 1..=5)
            .prop_filter("too long", |key| key_bytes(key) <= KEY_BYTES_MAX)
            // nft describes each of them, and the kernel keeps 256 bytes of that.
            .prop_filter("too many numbers", |key| key.iter().filter(|kind| is_raw(**kind)).count() <= 3)
    };
    let ordered = sample::select(&KEY_TYPES[..]).prop_filter("not in order", |kind| is_ordered(*kind));
    let dynamic = (1_u32..100_000, 1_u64..100_000)
        .prop_map(|(size, seconds)| Dynamic { size, timeout: Duration::from_secs(seconds) });
    let plain = |key, comment| SetSpec { key, comment, ..SetSpec::default() };
    prop_oneof![
        (key(), any::<bool>(), short_comment())
            .prop_map(move |(key, verdict_map, comment)| SetSpec { verdict_map, ..plain(key, comment) }),
        (ordered, any::<bool>(), short_comment()).prop_map(move |(kind, verdict_map, comment)| SetSpec {
            verdict_map,
            interval: true,
            ..plain(vec![kind], comment)
        }),
        (key(), dynamic, short_comment()).prop_map(move |(key, dynamic, comment)| SetSpec {
            dynamic: Some(dynamic),
            ..plain(key, comment)
        }),
    ]
    .boxed()
}

fn verdict(chains: &[ChainName]) -> BoxedStrategy<Verdict> {
    let end = sample::select(vec![Verdict::Accept, Verdict::Drop, Verdict::Return]);
    if chains.is_empty() {
        return end.boxed();
    }
    let target = || sample::select(chains.to_vec());
    prop_oneof![end, target().prop_map(Verdict::Goto), target().prop_map(Verdict::Jump)].boxed()
}

/// Elements for a set; those of a dynamic one belong to the packet path.
pub(crate) fn elements(spec: &SetSpec, chains: &[ChainName], count_max: usize) -> BoxedStrategy<Elements> {
    let value = if spec.verdict_map { verdict(chains).prop_map(Some).boxed() } else { Just(None).boxed() };
    if spec.dynamic.is_some() {
        return Just(Elements::new()).boxed();
    }
    let parts: Vec<_> = spec.key.iter().map(|kind| datum(*kind)).collect();
    if let ([kind], true) = (&*spec.key, spec.interval) {
        return vec((datum(*kind), value), 0..=2 * count_max).prop_map(disjoint).boxed();
    }
    btree_map(parts.prop_map(|parts| Key::of(&parts)), value, 0..=count_max).boxed()
}

/// Ranges between every first and second of the sorted bounds.
fn disjoint(mut bounds: Vec<(Datum, Option<Verdict>)>) -> Elements {
    bounds.sort_by_key(|(bound, _)| *bound);
    bounds.dedup_by_key(|(bound, _)| *bound);
    let pair = |pair: &[(Datum, Option<Verdict>)]| match pair {
        [(low, verdict), (high, _)] => Some((Key::Range(*low, *high), verdict.clone())),
        [(only, verdict)] => Some((Key::Range(*only, *only), verdict.clone())),
        _ => None,
    };
    bounds.chunks(2).filter_map(pair).collect()
}

/// The fields that a key of these types can be made of; ICMP and `ICMPv6` exclude each other.
fn fields_for(key: &[KeyType], version6: bool) -> Option<BoxedStrategy<Vec<Field>>> {
    let other = if version6 { KeyType::IcmpId } else { KeyType::Icmp6Id };
    let candidates = |kind: &KeyType| {
        let fields: Vec<_> = usable(version6)
            .into_iter()
            .filter(|field| *kind != other && field.key_type() == *kind)
            .collect();
        (!fields.is_empty()).then(|| sample::select(fields))
    };
    Some(key.iter().map(candidates).collect::<Option<Vec<_>>>()?.boxed())
}

/// The fields that every kernel can read.
fn usable(version6: bool) -> Vec<Field> {
    let version4 = [Field::IcmpId, Field::IcmpType];
    let other = if version6 { version4 } else { [Field::Icmp6Id, Field::Icmp6Type] };
    Field::ALL.into_iter().filter(|field| !other.contains(field) && !OF_BRIDGES.contains(field)).collect()
}

const fn is_raw(kind: KeyType) -> bool {
    matches!(
        kind,
        KeyType::FragmentId | KeyType::RawIp4 | KeyType::RawIp6 | KeyType::RawMac | KeyType::RawShort
    )
}

const fn is_ordered(kind: KeyType) -> bool {
    !matches!(kind, KeyType::Index | KeyType::InterfaceName | KeyType::Vlan)
}

/// How long a value is, for a mask.
const fn bytes(kind: KeyType) -> usize {
    match kind {
        KeyType::Byte | KeyType::Protocol => 1,
        KeyType::ArpOperation
        | KeyType::EtherType
        | KeyType::IcmpId
        | KeyType::Icmp6Id
        | KeyType::Port
        | KeyType::RawShort => 2,
        KeyType::FragmentId | KeyType::Index | KeyType::Ip4 | KeyType::RawIp4 => 4,
        KeyType::Mac | KeyType::RawMac => 6,
        KeyType::InterfaceName | KeyType::Ip6 | KeyType::RawIp6 => 16,
        // Masks mean nothing there.
        KeyType::Unknown(_) | KeyType::Vlan => 0,
    }
}

/// Fields at a place that another field has too: only the rest of a rule tells which is meant.
const AT_A_SHARED_PLACE: [Field; 5] = [
    Field::Ip4Fragment,
    Field::RawIp4Destination,
    Field::RawIp4Source,
    Field::RawIp6Destination,
    Field::RawIp6Source,
];

/// Fields that not every kernel can read.
const OF_BRIDGES: [Field; 3] = [Field::InputBridge, Field::OutputBridge, Field::PortVlan];

/// An expression about the packet's connection or bridge: not every kernel takes one.
pub(crate) fn connection() -> BoxedStrategy<Expr> {
    prop_oneof![
        Just(Expr::State(ConnectionState::Established)),
        Just(Expr::State(ConnectionState::Related)),
        Just(Expr::Direction(Heading::Original)),
        Just(Expr::Direction(Heading::Reply)),
        any::<u16>().prop_map(Expr::SetZone),
        "[a-z]{1,15}".prop_map(|name| {
            Expr::is(Field::InputBridge, Datum::InterfaceName(InterfaceName::new(&name)))
        }),
        "[a-z]{1,15}".prop_map(|name| {
            Expr::is_not(Field::OutputBridge, Datum::InterfaceName(InterfaceName::new(&name)))
        }),
        any::<u16>().prop_map(|vlan| Expr::is_not(Field::PortVlan, Datum::Vlan(vlan))),
    ]
    .boxed()
}

/// A limit, or a log.
fn telling() -> BoxedStrategy<Expr> {
    prop_oneof![
        (1_u32.., 1_u32..).prop_map(|(rate, burst)| Expr::Limit { rate, burst }),
        (any::<u16>(), "[a-z/. -]{1,127}", 1_u32..).prop_map(|(group, prefix, snaplen)| Expr::Log {
            group,
            prefix,
            snaplen
        }),
    ]
    .boxed()
}

/// An expression that uses one of `sets`, or none of them.
pub(crate) fn expr(sets: &[(SetName, SetSpec)], version6: bool) -> BoxedStrategy<Expr> {
    let field = || {
        let alone = usable(version6).into_iter().filter(|field| !AT_A_SHARED_PLACE.contains(field));
        sample::select(alone.collect::<Vec<_>>())
    };
    let compare =
        (field(), option::of(any::<u16>()), any::<bool>()).prop_flat_map(|(field, mask, negated)| {
            let bytes = bytes(field.key_type());
            // The comparison that tells ICMP and `ICMPv6` apart is written by `rule`.
            let mask = if field == Field::TransportProtocol { Some(0x7f) } else { mask };
            let mask = mask.and_then(|mask: u16| match bytes {
                1 => Some(mask & 0xff),
                2 => Some(mask),
                _ => None,
            });
            datum(field.key_type()).prop_map(move |value| Expr::Compare { field, mask, negated, value })
        });
    let range =
        field().prop_filter("not in order", |field| is_ordered(field.key_type())).prop_flat_map(|field| {
            let value = || datum(field.key_type());
            (value(), value()).prop_map(move |(one, other)| Expr::Range {
                field,
                low: one.min(other),
                high: one.max(other),
            })
        });
    let mut all = vec![compare.boxed(), range.boxed(), Just(Expr::Counter).boxed(), telling()];
    for (name, spec) in sets {
        if let Some(fields) = fields_for(&spec.key, version6) {
            all.push(using(name.clone(), spec, fields));
        }
    }
    proptest::strategy::Union::new(all).boxed()
}

/// An expression that looks something up in a set, or puts something into it.
fn using(set: SetName, spec: &SetSpec, fields: BoxedStrategy<Vec<Field>>) -> BoxedStrategy<Expr> {
    if spec.verdict_map {
        return fields.prop_map(move |fields| Expr::Dispatch { fields, map: set.clone() }).boxed();
    }
    if spec.dynamic.is_none() {
        return (fields, any::<bool>())
            .prop_map(move |(fields, negated)| Expr::Lookup { fields, set: set.clone(), negated })
            .boxed();
    }
    (fields, 1_u64..100_000)
        .prop_map(move |(fields, seconds)| Expr::Update {
            fields,
            set: set.clone(),
            timeout: Duration::from_secs(seconds),
        })
        .boxed()
}

/// A rule that uses some of `sets` and leads to some of `chains`.
pub(crate) fn rule(sets: Vec<(SetName, SetSpec)>, chains: &[ChainName]) -> BoxedStrategy<Rule> {
    (any::<bool>(), option::of(verdict(chains)), comment())
        .prop_flat_map(move |(version6, verdict, comment)| {
            let protocol = if version6 { Datum::ICMP6 } else { Datum::ICMP };
            vec(expr(&sets, version6), 0..4).prop_map(move |exprs| Rule {
                exprs: core::iter::once(Expr::is(Field::TransportProtocol, protocol))
                    .chain(exprs)
                    .chain(verdict.clone().map(Expr::Verdict))
                    .collect(),
                comment: comment.clone(),
            })
        })
        .boxed()
}

fn chain_spec() -> BoxedStrategy<ChainSpec> {
    let hook =
        sample::select(vec![Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting]);
    let base = (hook, -400..400_i32, any::<bool>()).prop_map(|(hook, priority, drop_by_default)| BaseChain {
        hook,
        priority,
        drop_by_default,
    });
    (option::of(base), comment()).prop_map(|(base, comment)| ChainSpec { base, comment }).boxed()
}

/// A whole ruleset: chains lead only to later ones that are no base chains, and so do verdict maps.
pub(crate) fn ruleset() -> BoxedStrategy<Ruleset> {
    let specs = vec(set_spec(), 0..5).prop_map(|specs| {
        let named = |(at, spec)| (SetName::new(format!("set/{at}")), spec);
        specs.into_iter().enumerate().map(named).collect::<Vec<_>>()
    });
    (specs, vec(chain_spec(), 1..5)).prop_flat_map(|(sets, chains)| with_contents(sets, chains)).boxed()
}

fn with_contents(sets: Vec<(SetName, SetSpec)>, chains: Vec<ChainSpec>) -> BoxedStrategy<Ruleset> {
    let name = |at: usize| ChainName::new(format!("chain/{at}"));
    // The last chain is where everything may lead to.
    let last = chains.len();
    let leaf = vec![name(last)];
    let contents: Vec<_> = sets.iter().map(|(_, spec)| elements(spec, &leaf, 6)).collect();
    let rules: Vec<_> = chains.iter().map(|_| vec(rule(sets.clone(), &leaf), 0..4)).collect();
    (contents, rules)
        .prop_map(move |(contents, rules)| {
            let sets = sets.iter().cloned().zip(contents);
            let listed = chains.iter().cloned().zip(rules).enumerate();
            let mut chains: BTreeMap<_, _> =
                listed.map(|(at, (spec, rules))| (name(at), Chain { spec, rules })).collect();
            chains.insert(name(last), Chain { spec: ChainSpec::default(), rules: Vec::new() });
            Ruleset {
                chains,
                sets: sets.map(|((name, spec), elements)| (name, Set { spec, elements })).collect(),
            }
        })
        .boxed()
}
