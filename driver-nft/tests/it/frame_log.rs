//! Frames that rules tell of: what a real kernel sent once, and what this one sends; and bytes that nobody should send.

use core::time::Duration;
use std::process::Command;
use std::time::Instant;

use driver_nft::{Capabilities, Capability, FrameLog, LoggedFrame, NftError, NftKernel, Told, logged_frames};
use nix::errno::Errno;
use policy_core::Kernel as _;
use policy_core::model::Mac;
use policy_core::ruleset::{BaseChain, Chain, ChainSpec, Datum, Expr, Field, Hook, Ruleset, Verdict};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::sample::Index;

use crate::netns::{in_new_namespace, nft, replacement};
use crate::sample;

/// What Linux 6.18 sent of two pings that a rule told of and dropped: one between two ports, one of the node itself.
const CAPTURED: &str = include_str!("captured-frames.hex");

/// Whom the node sends to.
const STATION: Mac = Mac([2, 0, 0, 0, 0, 2]);
const PREFIX: &str = "drop in/jtq4huytnxie7rit-shop/server/net1";

fn captured() -> Vec<u8> {
    let digits: Vec<u8> = CAPTURED.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two hexadecimal digits")).collect()
}

#[test]
fn captured_frames_are_read() {
    // They are in the byte order of the machine that captured them, which all that this is built for share.
    const { assert!(cfg!(target_endian = "little")) };
    let frames = logged_frames(&captured()).expect("the kernel wrote it");
    let [bridged, of_the_node] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(bridged.prefix, PREFIX);
    assert_eq!((bridged.input, bridged.output), (Some(3), Some(4)));
    let macs = (Mac([0xce, 0x5a, 0xa4, 0xd6, 0x34, 0x01]), Mac([0xfe, 0xe6, 0x6e, 0x25, 0xa9, 0xe5]));
    assert_eq!((bridged.macs, bridged.ether_type), (Some(macs), 0x0800));
    // IPv4 from 10.0.0.1 to 10.0.0.2, and all of it.
    assert_eq!(bridged.payload.get(12..20), Some(&[10, 0, 0, 1, 10, 0, 0, 2][..]));
    assert_eq!(bridged.payload.len(), 84);
    assert_eq!(bridged.received, Some(Duration::new(0x6b0b_5bd7, 0x0004_51bc * 1000)));

    assert_eq!(of_the_node.prefix, PREFIX);
    assert_eq!((of_the_node.input, of_the_node.output), (None, Some(4)));
    assert_eq!(of_the_node.macs, Some((Mac([0x92, 0xd0, 0x66, 0x05, 0x68, 0x7b]), macs.1)));
    assert_eq!(of_the_node.payload.get(12..20), Some(&[10, 0, 0, 9, 10, 0, 0, 2][..]));
    assert_eq!(of_the_node.received, None);
}

#[test]
fn messages_of_other_subsystems_are_no_frames() {
    let mut bytes = captured();
    // The kinds of both messages: a new rule of nftables.
    let second = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    for start in [0, second] {
        bytes[start + 4..start + 6].copy_from_slice(&[6, 10]);
    }
    assert_eq!(logged_frames(&bytes), Ok(Vec::new()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever comes, reading it ends with frames or an error.
    #[test]
    fn damaged_frames_are_read_or_refused(
        damage in vec((any::<Index>(), any::<u8>()), 1..20),
        cut in any::<Index>(),
        random in vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = captured();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let length = |frames: Vec<LoggedFrame>| frames.iter().map(|frame| frame.payload.len()).sum::<usize>();
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())], &random[..]] {
            assert!(logged_frames(bytes).map_or(0, length) <= bytes.len());
        }
    }
}

/// Whether this kernel can tell of frames; says so where it cannot.
fn can_tell() -> bool {
    let capabilities = Capabilities::probe().expect("the kernel takes a table");
    let can = capabilities.of(Capability::FrameLog).is_present();
    if !can {
        println!("not tried: this kernel cannot tell of frames (CONFIG_NETFILTER_NETLINK_LOG)");
    }
    can
}

/// A table that tells of what the node itself sends to a station, and drops all that it sends.
fn telling(snaplen: u32) -> Ruleset {
    let base = BaseChain { hook: Hook::Output, priority: 0, drop_by_default: false };
    let limit = Expr::Limit { rate: 1, burst: 3 };
    let log = Expr::Log { group: 1977, prefix: PREFIX.into(), snaplen };
    let to_station = Expr::is(Field::EtherDestination, Datum::Mac(STATION));
    let rules = vec![sample::rule([to_station, limit, log]), sample::rule([Expr::Verdict(Verdict::Drop)])];
    let chain = Chain { spec: ChainSpec { base: Some(base), comment: String::new() }, rules };
    Ruleset { chains: [(sample::chain("output"), chain)].into(), ..Ruleset::default() }
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split_whitespace()).status();
    assert!(status.is_ok_and(|status| status.success()), "ip {words}: is iproute2 installed?");
}

/// Sends so many packets to nobody over a bridge with one port.
fn send(count: usize) {
    ip("link add br0 type bridge");
    ip("link add wire type veth peer name far");
    ip("link set wire master br0 up");
    ip("link set far up");
    ip("link set br0 up");
    ip("address add 10.0.0.1/24 dev br0");
    // No neighbour has to be found first.
    ip("neighbour add 10.0.0.2 lladdr 02:00:00:00:00:02 dev br0");
    let socket = std::net::UdpSocket::bind("10.0.0.1:4000").expect("the address is there");
    for _ in 0..count {
        // The rule drops it, and the sender is told so.
        drop(socket.send_to(&[7; 64], "10.0.0.2:5000"));
    }
}

#[test]
fn kernel_tells_of_frames_as_often_as_the_limit_says_and_as_much_as_was_asked_for() {
    in_new_namespace(|| {
        if !can_tell() {
            return;
        }
        NftKernel::open().unwrap().apply(&replacement(&telling(40))).unwrap();
        let mut log = FrameLog::open(1977, 128).unwrap();
        let begun = Instant::now();
        send(50);
        let sent_seconds = begun.elapsed().as_secs();
        let mut told: Vec<LoggedFrame> = Vec::new();
        while told.len() < 3 {
            match log.next(Some(Duration::from_secs(30))).unwrap() {
                Told::Frames(frames) => told.extend(frames),
                Told::Lost | Told::Nothing => panic!("only {told:?}"),
            }
        }
        assert!(told.len() <= usize::try_from(4 + sent_seconds).unwrap(), "{} of 50", told.len());
        for frame in &told {
            assert_eq!((&*frame.prefix, frame.input, frame.ether_type), (PREFIX, None, 0x0800));
            assert_eq!(frame.macs.map(|(_, to)| to), Some(STATION));
            assert!(frame.payload.len() == 40 && frame.output.is_some(), "{frame:?}");
        }
    });
}

#[test]
fn group_is_heard_by_one_listener_at_a_time() {
    in_new_namespace(|| {
        if !can_tell() {
            return;
        }
        let first = FrameLog::open(7, 64).unwrap();
        let Err(NftError::Request { errno, .. }) = FrameLog::open(7, 64) else { panic!("two listeners") };
        assert_eq!(errno, Errno::EPERM);
        FrameLog::open(8, 64).expect("another group");
        drop(first);
        FrameLog::open(7, 64).expect("nobody listens any more");
    });
}

#[test]
fn rules_that_tell_are_held_as_nft_means_them() {
    in_new_namespace(|| {
        if !can_tell() {
            return;
        }
        let wanted = telling(128);
        let mut kernel = NftKernel::open().unwrap();
        kernel.apply(&replacement(&wanted)).unwrap();
        assert_eq!(kernel.observe().unwrap(), wanted);
        let ours = nft(&["-j", "list", "ruleset"], "");
        nft(&["-c", "-f", "-"], &wanted.to_string());
        nft(&["-f", "-"], &format!("flush ruleset\n{wanted}"));
        assert_eq!(kernel.observe().unwrap(), wanted);
        let theirs = nft(&["-j", "list", "ruleset"], "");
        let without_handles = |text: &str| {
            let words = text.split(", ").filter(|word| !word.contains("\"handle\""));
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(without_handles(&ours), without_handles(&theirs));
    });
}

/// What other programs write in these places is theirs, and repaired.
#[test]
fn limits_and_logs_of_other_kinds_are_not_ours() {
    for (text, wanted) in [
        ("limit rate 10/minute burst 5 packets", "limit"),
        ("limit rate over 10/second burst 5 packets", "limit"),
        ("limit rate 10 kbytes/second", "limit"),
        ("log prefix \"a\"", "log"),
        ("log prefix \"a\" level debug", "log"),
        ("log prefix \"a\" group 3", "log"),
        ("log group 3 snaplen 64", "log"),
        ("log prefix \"a\" group 3 snaplen 64 queue-threshold 5", "log"),
    ] {
        in_new_namespace(|| {
            if !can_tell() {
                return;
            }
            let table = format!("table bridge mnp-nft-bridge {{\nchain c {{\n{text}\n}}\n}}\n");
            nft(&["-f", "-"], &table);
            let observed = NftKernel::open().unwrap().observe().unwrap();
            let rules = &observed.chains.get(&sample::chain("c")).expect("the chain").rules;
            assert_eq!(rules[0].exprs, [Expr::Foreign(wanted.into())], "{text}");
        });
    }
}
