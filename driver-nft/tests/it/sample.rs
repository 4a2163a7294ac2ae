//! A ruleset with at least one of everything: each kind of set, expression, verdict and element.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use policy_core::model::Mac;
use policy_core::ruleset::{
    BaseChain, Chain, ChainName, ChainSpec, ConnectionState, Datum, Dynamic, Elements, Expr, Field, Heading,
    Hook, InterfaceName, Key, KeyType, Rule, Ruleset, Set, SetName, SetSpec, Verdict,
};

pub(crate) fn chain(name: &str) -> ChainName {
    ChainName::new(name)
}

pub(crate) fn set(name: &str) -> SetName {
    SetName::new(name)
}

pub(crate) fn goto(name: &str) -> Verdict {
    Verdict::Goto(chain(name))
}

pub(crate) fn rule(exprs: impl Into<Vec<Expr>>) -> Rule {
    Rule { exprs: exprs.into(), comment: String::new() }
}

pub(crate) fn base(hook: Hook, drop_by_default: bool) -> ChainSpec {
    ChainSpec { base: Some(BaseChain { hook, priority: -200, drop_by_default }), comment: String::new() }
}

pub(crate) fn plain(key: impl Into<Vec<KeyType>>) -> SetSpec {
    SetSpec { key: key.into(), ..SetSpec::default() }
}

pub(crate) fn map(key: impl Into<Vec<KeyType>>) -> SetSpec {
    SetSpec { verdict_map: true, ..plain(key) }
}

pub(crate) fn interval(key: KeyType) -> SetSpec {
    SetSpec { interval: true, ..plain([key]) }
}

pub(crate) fn dynamic(key: impl Into<Vec<KeyType>>) -> SetSpec {
    SetSpec { dynamic: Some(Dynamic { size: 65535, timeout: Duration::from_secs(30) }), ..plain(key) }
}

pub(crate) fn ip4(a: u8, b: u8, c: u8, d: u8) -> Datum {
    Datum::Ip4(Ipv4Addr::new(a, b, c, d))
}

pub(crate) fn ip6(text: &str) -> Datum {
    Datum::Ip6(text.parse::<Ipv6Addr>().expect("an IPv6 address"))
}

pub(crate) fn mac(last: u8) -> Datum {
    Datum::Mac(Mac([2, 0, 0, 0, 0, last]))
}

pub(crate) fn members(keys: impl IntoIterator<Item = Key>) -> Elements {
    keys.into_iter().map(|key| (key, None)).collect()
}

fn range(low: Datum, high: Datum) -> Key {
    Key::Range(low, high)
}

fn concat(parts: impl Into<Box<[Datum]>>) -> Key {
    Key::Concat(parts.into())
}

/// The ruleset.
pub(crate) fn ruleset() -> Ruleset {
    let mut all = Ruleset::default();
    for (name, spec, elements) in sets() {
        all.sets.insert(set(name), Set { spec, elements });
    }
    let add = |all: &mut Ruleset, name: &str, spec, rules| {
        all.chains.insert(chain(name), Chain { spec, rules });
    };
    let comment = |text: &str| ChainSpec { base: None, comment: text.into() };
    add(&mut all, "in/a", comment("into namespace/pod a (net1)"), Vec::new());
    add(&mut all, "out/a", ChainSpec::default(), vec![rule([Expr::Counter, Expr::Verdict(Verdict::Drop)])]);
    add(&mut all, "everything", ChainSpec::default(), rules());
    add(&mut all, "prerouting", base(Hook::Prerouting, false), dispatch_rules());
    add(&mut all, "input", base(Hook::Input, false), Vec::new());
    add(&mut all, "forward", base(Hook::Forward, true), Vec::new());
    add(&mut all, "output", base(Hook::Output, false), Vec::new());
    let late = BaseChain { hook: Hook::Postrouting, priority: 300, drop_by_default: false };
    add(&mut all, "postrouting", ChainSpec { base: Some(late), comment: "late".into() }, Vec::new());
    all
}

fn sets() -> Vec<(&'static str, SetSpec, Elements)> {
    use KeyType::{
        ArpOperation, EtherType, FragmentId, Icmp6Id, IcmpId, Index, Ip4, Ip6, Mac, Port, Protocol, RawIp6,
        RawMac, RawShort,
    };
    let commented = |spec: SetSpec| SetSpec { comment: "for the person on call".into(), ..spec };
    let verdicts: Elements = [
        (Key::One(Datum::Index(5)), Some(goto("out/a"))),
        (Key::One(Datum::Index(6)), Some(Verdict::Jump(chain("in/a")))),
        (Key::One(Datum::Index(7)), Some(Verdict::Accept)),
        (Key::One(Datum::Index(8)), Some(Verdict::Drop)),
        (Key::One(Datum::Index(9)), Some(Verdict::Return)),
    ]
    .into();
    let last4 = range(ip4(255, 0, 0, 0), ip4(255, 255, 255, 255));
    let nets4 = [
        range(ip4(0, 0, 0, 0), ip4(0, 255, 255, 255)),
        range(ip4(10, 0, 0, 1), ip4(10, 0, 0, 1)),
        range(ip4(10, 0, 0, 2), ip4(10, 0, 0, 9)),
        last4,
    ];
    let all6 = range(ip6("::"), ip6("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    vec![
        ("egress-port", commented(map([Index])), verdicts),
        ("egress-mac", map([Mac]), [(Key::One(mac(1)), Some(goto("out/a")))].into()),
        ("by-two", map([Index, Mac]), [(concat([Datum::Index(5), mac(1)]), Some(Verdict::Accept))].into()),
        ("map-of-ranges", SetSpec { verdict_map: true, ..interval(Port) }, ports_to_verdicts()),
        ("peers/1-ip4", plain([Ip4]), members([Key::One(ip4(10, 0, 0, 1)), Key::One(ip4(10, 0, 0, 2))])),
        ("peers/1-ip6", plain([Ip6]), members([Key::One(ip6("fd00::1"))])),
        ("peers/1-mac", commented(plain([Mac])), members([Key::One(mac(3))])),
        ("block/1-ip4", commented(interval(Ip4)), members(nets4)),
        ("block/1-ip6", interval(Ip6), members([all6])),
        ("block/2-ip6", interval(Ip6), members([range(ip6("fd00::"), ip6("fd00::ffff"))])),
        ("ports", plain([Protocol, Port]), members([concat([Datum::TCP, Datum::Port(80)])])),
        ("port-ranges", interval(Port), members([range(Datum::Port(1), Datum::Port(1023))])),
        ("protocols", plain([Protocol]), members([Key::One(Datum::UDP)])),
        (
            "ether-types",
            plain([EtherType]),
            members([Key::One(Datum::ARP), Key::One(Datum::EtherType(0x88cc))]),
        ),
        (
            "asked/arp",
            plain([ArpOperation, Ip4]),
            members([concat([Datum::ArpOperation(1), ip4(10, 0, 0, 1)])]),
        ),
        ("echo", plain([IcmpId]), members([Key::One(Datum::IcmpId(7))])),
        ("echo-map", map([Icmp6Id]), [(Key::One(Datum::IcmpId(7)), Some(Verdict::Drop))].into()),
        ("flows/ip4", dynamic([Index, Ip4, Ip4, Port, Port]), Elements::new()),
        ("flows/ip6", commented(dynamic([Index, Ip6, Ip6, Port, Port])), Elements::new()),
        ("fragments", dynamic([Index, Ip4, Ip4, RawShort]), Elements::new()),
        ("fragments/ip6", dynamic([Index, Ip6, Ip6, FragmentId]), Elements::new()),
        ("fragments/bad", plain([FragmentId]), members([Key::One(Datum::FragmentId(7))])),
        ("pings/ip4", dynamic([Index, Ip4, Ip4, IcmpId]), Elements::new()),
        ("pings/ip6", commented(dynamic([Index, Ip6, Ip6, Icmp6Id])), Elements::new()),
        ("own/targets", commented(plain([Index, RawIp6])), own_targets()),
        ("own/link-layer", plain([Index, RawMac]), own_link_layer()),
        ("everyone/echo", plain([IcmpId, ArpOperation, EtherType, Mac, Protocol]), Elements::new()),
    ]
}

fn own_targets() -> Elements {
    let address = |text: &str| Datum::RawIp6(text.parse().expect("an address"));
    members([
        concat([Datum::Index(5), address("fd00::1")]),
        concat([Datum::Index(5), address("::1")]),
        concat([Datum::Index(5), address("fe80::ff:fe00:1")]),
    ])
}

fn own_link_layer() -> Elements {
    let address = |first| Datum::RawMac(Mac([first, 0, 0, 0, 0, 1]));
    members([concat([Datum::Index(5), address(2)]), concat([Datum::Index(6), address(0)])])
}

fn ports_to_verdicts() -> Elements {
    [
        (range(Datum::Port(1), Datum::Port(9)), Some(Verdict::Drop)),
        (range(Datum::Port(10), Datum::Port(65535)), Some(goto("out/a"))),
    ]
    .into()
}

fn dispatch_rules() -> Vec<Rule> {
    vec![
        rule([Expr::Dispatch { fields: vec![Field::InputPort], map: set("egress-port") }]),
        rule([Expr::Dispatch { fields: vec![Field::EtherSource], map: set("egress-mac") }]),
        rule([Expr::Dispatch {
            fields: vec![Field::OutputPort, Field::EtherDestination],
            map: set("by-two"),
        }]),
        rule([
            Expr::is(Field::TransportProtocol, Datum::TCP),
            Expr::Dispatch { fields: vec![Field::SourcePort], map: set("map-of-ranges") },
        ]),
        rule([Expr::Verdict(Verdict::Jump(chain("everything")))]),
    ]
}

fn accept() -> Expr {
    Expr::Verdict(Verdict::Accept)
}

fn v4() -> Expr {
    Expr::is(Field::NetworkProtocol, Datum::IP4)
}

fn v6() -> Expr {
    Expr::is(Field::NetworkProtocol, Datum::IP6)
}

fn over(protocol: Datum) -> Expr {
    Expr::is(Field::TransportProtocol, protocol)
}

fn within(fields: &[Field], name: &str) -> Expr {
    Expr::within(fields, set(name))
}

fn outside(fields: &[Field], name: &str) -> Expr {
    Expr::Lookup { fields: fields.into(), set: set(name), negated: true }
}

pub(crate) fn update(fields: &[Field], name: &str, seconds: u64) -> Expr {
    Expr::Update { fields: fields.into(), set: set(name), timeout: Duration::from_secs(seconds) }
}

fn rules() -> Vec<Rule> {
    let mut last = rule([Expr::Counter, Expr::Verdict(Verdict::Drop)]);
    last.comment = "no policy allows this".into();
    [address_rules(), transport_rules(), icmp_rules(), arp_rules(), vec![last]].concat()
}

fn address_rules() -> Vec<Rule> {
    use Field::{
        EtherDestination, EtherSource, EtherType, InputPort, Ip4Destination, Ip4Source, Ip6Destination,
        Ip6Source, NetworkProtocol, OutputPort,
    };
    vec![
        rule([within(&[EtherSource], "peers/1-mac"), Expr::Counter, accept()]),
        rule([outside(&[EtherDestination], "peers/1-mac"), Expr::Verdict(Verdict::Return)]),
        rule([Expr::is(EtherSource, mac(9)), Expr::Verdict(Verdict::Drop)]),
        rule([Expr::is_not(InputPort, Datum::Index(77)), Expr::Verdict(Verdict::Jump(chain("in/a")))]),
        rule([Expr::is(OutputPort, Datum::Index(78)), Expr::Verdict(goto("out/a"))]),
        rule([v4(), within(&[Ip4Source], "peers/1-ip4"), accept()]),
        rule([v4(), within(&[Ip4Destination], "block/1-ip4"), accept()]),
        rule([
            v4(),
            Expr::Range { field: Ip4Source, low: ip4(10, 0, 0, 3), high: ip4(10, 0, 0, 5) },
            Expr::Verdict(Verdict::Drop),
        ]),
        rule([v6(), within(&[Ip6Source], "peers/1-ip6"), accept()]),
        rule([v6(), outside(&[Ip6Destination], "block/1-ip6"), accept()]),
        rule([v6(), Expr::is(Ip6Destination, ip6("ff02::1")), accept()]),
        rule([within(&[NetworkProtocol], "ether-types"), accept()]),
        rule([Expr::is(EtherType, Datum::VLAN), vlan(30), accept()]),
        rule([Expr::is_not(EtherType, Datum::EtherType(0x88a8)), accept()]),
        rule([Expr::is_not(NetworkProtocol, Datum::EtherType(0x88cc)), accept()]),
    ]
}

/// The condition that a frame with a tag is of a VLAN.
fn vlan(number: u16) -> Expr {
    let value = Datum::RawShort(number);
    Expr::Compare { field: Field::VlanTag, mask: Some(0x0fff), negated: false, value }
}

/// A chain that puts connections into a zone, and one that asks about them. Not every kernel takes them.
pub(crate) fn connections() -> Ruleset {
    let raw = BaseChain { hook: Hook::Prerouting, priority: -300, drop_by_default: false };
    let raw = ChainSpec { base: Some(raw), comment: String::new() };
    let zones = vec![
        rule([Expr::is(Field::EtherType, Datum::VLAN), vlan(30), Expr::SetZone(4711), accept()]),
        rule([Expr::is(Field::PortVlan, Datum::Vlan(40)), Expr::SetZone(9), accept()]),
        rule([Expr::is_not(Field::PortVlan, Datum::Vlan(0)), Expr::SetZone(8), accept()]),
        rule([Expr::Dispatch { fields: vec![Field::InputBridge], map: set("zone-bridge") }]),
        rule([Expr::SetZone(7)]),
    ];
    let replies = [Expr::State(ConnectionState::Established), Expr::Direction(Heading::Reply), accept()];
    let asks = vec![
        rule(replies),
        rule([Expr::State(ConnectionState::Related), over(Datum::ICMP), accept()]),
        rule([Expr::Direction(Heading::Original), Expr::Counter]),
        rule([Expr::within([Field::OutputBridge], set("bridges")), Expr::Counter]),
    ];
    let chains = [
        (chain("zones"), Chain { spec: raw, rules: zones }),
        (chain("forward"), Chain { spec: base(Hook::Forward, false), rules: asks }),
    ];
    let bridge = |name| Key::One(Datum::InterfaceName(InterfaceName::new(name)));
    let elements = [(bridge("br-data"), Some(Verdict::Accept)), (bridge("br0"), Some(Verdict::Accept))];
    let bridges = Set { spec: map([KeyType::InterfaceName]), elements: elements.into() };
    let spec = SetSpec { key: vec![KeyType::InterfaceName], ..SetSpec::default() };
    let names = Set { spec, elements: [(bridge("br-data"), None)].into() };
    Ruleset { chains: chains.into(), sets: [(set("zone-bridge"), bridges), (set("bridges"), names)].into() }
}

fn transport_rules() -> Vec<Rule> {
    use Field::{
        DestinationPort, InputPort, Ip4Destination, Ip4Source, Ip6Destination, Ip6Source, OutputPort,
        SourcePort, TcpFlags, TransportProtocol,
    };
    let flags = |mask, negated, value| Expr::Compare { field: TcpFlags, mask: Some(mask), negated, value };
    vec![
        rule([within(&[TransportProtocol, DestinationPort], "ports"), accept()]),
        rule([outside(&[TransportProtocol], "protocols"), accept()]),
        rule([over(Datum::UDP), within(&[SourcePort], "port-ranges"), accept()]),
        rule([
            over(Datum::TCP),
            Expr::Range { field: DestinationPort, low: Datum::Port(80), high: Datum::Port(90) },
            accept(),
        ]),
        rule([over(Datum::TCP), Expr::is(SourcePort, Datum::Port(443)), accept()]),
        rule([over(Datum::TCP), flags(0x12, false, Datum::Byte(2)), accept()]),
        rule([over(Datum::TCP), flags(0x12, true, Datum::Byte(2)), accept()]),
        rule([over(Datum::TCP), flags(0x04, true, Datum::Byte(0)), accept()]),
        rule([
            v4(),
            update(&[InputPort, Ip4Source, Ip4Destination, SourcePort, DestinationPort], "flows/ip4", 600),
            accept(),
        ]),
        rule([
            v6(),
            within(&[OutputPort, Ip6Destination, Ip6Source, DestinationPort, SourcePort], "flows/ip6"),
            accept(),
        ]),
    ]
}

/// The condition about an IPv4 packet's flags and fragment offset.
fn fragment(mask: u16, negated: bool, value: u16) -> Expr {
    Expr::Compare { field: Field::Ip4Fragment, mask: Some(mask), negated, value: Datum::RawShort(value) }
}

/// The condition about an IPv6 fragment's offset in bytes.
fn fragment6(negated: bool, offset: u16) -> Expr {
    let (mask, value) = (Some(Field::IP6_OFFSET_BITS), Datum::RawShort(offset));
    Expr::Compare { field: Field::Ip6FragmentOffset, mask, negated, value }
}

/// What a set of plain numbers is for: the same bytes are written to it from one place and looked up from others.
pub(crate) fn places() -> Ruleset {
    use Field::{
        Error4Destination, Error4First, Error6Destination, Error6Second, InputPort, Ip4First, Ip6First,
        OutputPort, RawIp4Destination, RawIp4Source, RawIp6Destination, RawIp6Source,
    };
    use KeyType::{Index, RawIp4, RawIp6, RawShort};
    let error = |ip6| {
        let (network, protocol) = if ip6 { (v6(), Datum::ICMP6) } else { (v4(), Datum::ICMP) };
        [network, over(protocol)]
    };
    let and = |start: [Expr; 2], rest: &[Expr]| rule([&start[..], rest].concat());
    let rules = vec![
        rule([v4(), update(&[InputPort, RawIp4Source, RawIp4Destination, Ip4First], "lately/ip4", 120)]),
        rule([v6(), update(&[OutputPort, RawIp6Source, RawIp6Destination, Ip6First], "lately/ip6", 120)]),
        and(
            error(false),
            &[
                within(&[OutputPort, RawIp4Destination, Error4Destination, Error4First], "lately/ip4"),
                accept(),
            ],
        ),
        and(
            error(true),
            &[
                within(&[InputPort, Error6Destination, RawIp6Destination, Error6Second], "lately/ip6"),
                accept(),
            ],
        ),
    ];
    let sets = [("lately/ip4", RawIp4), ("lately/ip6", RawIp6)].map(|(name, address)| {
        let spec = dynamic([Index, address, address, RawShort]);
        (set(name), Set { spec, elements: Elements::new() })
    });
    let chain_of = |rules| Chain { spec: ChainSpec::default(), rules };
    Ruleset { chains: [(chain("places"), chain_of(rules))].into(), sets: sets.into() }
}

fn icmp_rules() -> Vec<Rule> {
    use Field::{
        Icmp6Id, Icmp6Type, IcmpId, IcmpType, InputPort, Ip4Destination, Ip4Id, Ip4Source, Ip6Destination,
        Ip6FragmentId, Ip6Source, NeighbourLinkLayer, NeighbourOption, NeighbourTarget, OutputPort,
    };
    let echo4 = |kind| [v4(), over(Datum::ICMP), Expr::is(IcmpType, Datum::Byte(kind))];
    let echo6 = |kind| [v6(), over(Datum::ICMP6), Expr::is(Icmp6Type, Datum::Byte(kind))];
    let and = |start: [Expr; 3], rest: &[Expr]| rule([&start[..], rest].concat());
    vec![
        and(echo4(8), &[accept()]),
        rule([
            v4(),
            fragment(0x3fff, false, 0x2000),
            update(&[OutputPort, Ip4Source, Ip4Destination, Ip4Id], "fragments", 30),
        ]),
        rule([
            v4(),
            fragment(0x1fff, true, 0),
            within(&[InputPort, Ip4Source, Ip4Destination, Ip4Id], "fragments"),
            accept(),
        ]),
        rule([
            v6(),
            fragment6(false, 0),
            update(&[OutputPort, Ip6Source, Ip6Destination, Ip6FragmentId], "fragments/ip6", 30),
        ]),
        rule([
            v6(),
            fragment6(true, 0),
            within(&[InputPort, Ip6Source, Ip6Destination, Ip6FragmentId], "fragments/ip6"),
            accept(),
        ]),
        rule([v6(), fragment6(false, 24), within(&[Ip6FragmentId], "fragments/bad"), accept()]),
        and(echo6(135), &[accept()]),
        rule([
            v6(),
            over(Datum::ICMP6),
            Expr::Range { field: Icmp6Type, low: Datum::Byte(133), high: Datum::Byte(137) },
            accept(),
        ]),
        and(echo4(8), &[update(&[InputPort, Ip4Source, Ip4Destination, IcmpId], "pings/ip4", 30), accept()]),
        and(echo6(129), &[within(&[OutputPort, Ip6Destination, Ip6Source, Icmp6Id], "pings/ip6"), accept()]),
        and(echo4(0), &[within(&[IcmpId], "echo"), accept()]),
        and(echo6(136), &[within(&[InputPort, NeighbourTarget], "own/targets"), accept()]),
        and(
            echo6(135),
            &[
                Expr::is(NeighbourOption, Datum::Byte(1)),
                within(&[InputPort, NeighbourLinkLayer], "own/link-layer"),
                accept(),
            ],
        ),
        and(echo6(128), &[Expr::Dispatch { fields: vec![Icmp6Id], map: set("echo-map") }]),
    ]
}

fn arp_rules() -> Vec<Rule> {
    use Field::{ArpOperation, ArpSenderIp, ArpSenderMac, ArpTargetIp};
    let arp = || Expr::is(Field::NetworkProtocol, Datum::ARP);
    vec![
        rule([arp(), Expr::is(ArpSenderIp, ip4(10, 0, 0, 1)), accept()]),
        rule([arp(), Expr::is(ArpSenderMac, mac(2)), accept()]),
        rule([arp(), Expr::is_not(ArpOperation, Datum::ArpOperation(1)), accept()]),
        rule([arp(), within(&[ArpOperation, ArpTargetIp], "asked/arp"), Expr::Verdict(Verdict::Drop)]),
    ]
}
