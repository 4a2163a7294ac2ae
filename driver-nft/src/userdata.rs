//! What nft keeps beside kernel objects for its own listing: comments, byte orders, `typeof` expressions.
//!
//! Records of one byte type, one byte length, and that many bytes (libnftnl `include/libnftnl/udata.h` for the types,
//! nftables `src/datatype.c`, `src/meta.c`, `src/payload.c` for what `typeof` holds). Numbers are in the machine's byte
//! order.

use policy_core::ruleset::{Field, KeyType, Location, PayloadBase, SetSpec};

use crate::layout;
use crate::uapi::{NFT_META_BRI_IIFNAME, NFT_META_IIF, NFT_META_L4PROTO, NFT_META_PROTOCOL};

/// `NFTNL_UDATA_RULE_COMMENT` and `NFTNL_UDATA_CHAIN_COMMENT`.
const COMMENT: u8 = 0;
/// `NFTNL_UDATA_SET_KEYBYTEORDER`.
const SET_KEY_BYTEORDER: u8 = 0;
/// `NFTNL_UDATA_SET_DATABYTEORDER`.
const SET_DATA_BYTEORDER: u8 = 1;
/// `NFTNL_UDATA_SET_KEY_TYPEOF`.
const SET_KEY_TYPEOF: u8 = 3;
/// `NFTNL_UDATA_SET_DATA_TYPEOF`.
const SET_DATA_TYPEOF: u8 = 4;
/// `NFTNL_UDATA_SET_DATA_INTERVAL`.
const SET_DATA_INTERVAL: u8 = 6;
/// `NFTNL_UDATA_SET_COMMENT`.
const SET_COMMENT: u8 = 7;
/// `NFTNL_UDATA_SET_ELEM_FLAGS`.
const ELEMENT_FLAGS: u8 = 1;
/// `SET_ELEM_F_INTERVAL_OPEN`, nftables `include/rule.h`.
const ELEMENT_INTERVAL_OPEN: u32 = 1;

/// `NFTNL_UDATA_SET_TYPEOF_EXPR`: the kind of expression, one of nftables' `enum expr_types`.
const TYPEOF_EXPR: u8 = 0;
/// `NFTNL_UDATA_SET_TYPEOF_DATA`: what the kind of expression says about itself.
const TYPEOF_DATA: u8 = 1;
/// `EXPR_VERDICT` of nftables' `enum expr_types`.
const EXPR_VERDICT: u32 = 1;
/// `EXPR_PAYLOAD` of nftables' `enum expr_types`.
const EXPR_PAYLOAD: u32 = 7;
/// `EXPR_EXTHDR` of nftables' `enum expr_types`.
const EXPR_EXTHDR: u32 = 8;
/// `EXPR_META` of nftables' `enum expr_types`.
const EXPR_META: u32 = 9;
/// `EXPR_CONCAT` of nftables' `enum expr_types`.
const EXPR_CONCAT: u32 = 13;
/// `NFTNL_UDATA_SET_KEY_PAYLOAD_DESC`, of a meta expression its key, and `NFTNL_UDATA_SET_KEY_EXTHDR_DESC`.
const TYPEOF_FIRST: u8 = 0;
/// `NFTNL_UDATA_SET_KEY_PAYLOAD_TYPE` and `NFTNL_UDATA_SET_KEY_EXTHDR_TYPE`.
const TYPEOF_PAYLOAD_TYPE: u8 = 1;
/// `NFTNL_UDATA_SET_KEY_PAYLOAD_BASE`: of a place that has no name, the header that it is counted from.
const TYPEOF_PAYLOAD_BASE: u8 = 2;
/// `NFTNL_UDATA_SET_KEY_PAYLOAD_OFFSET`, in bits.
const TYPEOF_PAYLOAD_OFFSET: u8 = 3;
/// `NFTNL_UDATA_SET_KEY_PAYLOAD_LEN`, in bits.
const TYPEOF_PAYLOAD_LENGTH: u8 = 4;

/// Appends one record; what is longer than a record can be is cut.
fn record(into: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let value = value.get(..usize::from(u8::MAX)).unwrap_or(value);
    into.push(kind);
    into.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
    into.extend_from_slice(value);
}

/// Appends a record of one number.
fn number(into: &mut Vec<u8>, kind: u8, value: u32) {
    record(into, kind, &value.to_ne_bytes());
}

/// Appends a record of a text and its terminator, unless the text is empty.
fn text(into: &mut Vec<u8>, kind: u8, value: &str) {
    if !value.is_empty() {
        record(into, kind, &[value.as_bytes(), &[0]].concat());
    }
}

/// The value of the first record of type `kind`.
fn find(mut bytes: &[u8], kind: u8) -> Option<&[u8]> {
    while let [this, length, rest @ ..] = bytes {
        let (value, behind) = rest.split_at_checked(usize::from(*length))?;
        if *this == kind {
            return Some(value);
        }
        bytes = behind;
    }
    None
}

fn find_number(bytes: &[u8], kind: u8) -> Option<u32> {
    find(bytes, kind)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn find_text(bytes: &[u8], kind: u8) -> String {
    let bytes = find(bytes, kind).unwrap_or_default();
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// The userdata of a chain or rule; `None` when there is nothing to say.
pub(crate) fn comment(comment: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    text(&mut bytes, COMMENT, comment);
    (!bytes.is_empty()).then_some(bytes)
}

/// The comment in the userdata of a chain or rule.
pub(crate) fn read_comment(bytes: Option<&[u8]>) -> String {
    find_text(bytes.unwrap_or_default(), COMMENT)
}

/// The userdata of a set.
pub(crate) fn set(spec: &SetSpec) -> Vec<u8> {
    let mut bytes = Vec::new();
    let byteorder = match *spec.key {
        [kind] => layout::byteorder(kind),
        _ => layout::BYTEORDER_INVALID,
    };
    number(&mut bytes, SET_KEY_BYTEORDER, byteorder);
    if spec.verdict_map {
        number(&mut bytes, SET_DATA_BYTEORDER, layout::BYTEORDER_INVALID);
    }
    if spec.typeof_fields().is_some() {
        record(&mut bytes, SET_KEY_TYPEOF, &key_typeof(&spec.key));
        if spec.verdict_map {
            record(&mut bytes, SET_DATA_TYPEOF, &typed(EXPR_VERDICT, &[]));
        }
    }
    if spec.verdict_map {
        number(&mut bytes, SET_DATA_INTERVAL, 0);
    }
    text(&mut bytes, SET_COMMENT, &spec.comment);
    bytes
}

/// The comment in the userdata of a set.
pub(crate) fn read_set_comment(bytes: &[u8]) -> String {
    find_text(bytes, SET_COMMENT)
}

/// An expression of kind `kind` with its own records.
fn typed(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    number(&mut bytes, TYPEOF_EXPR, kind);
    record(&mut bytes, TYPEOF_DATA, data);
    bytes
}

/// The expression that stands for a whole key.
fn key_typeof(key: &[KeyType]) -> Vec<u8> {
    if let [kind] = key {
        return part_typeof(*kind);
    }
    let mut parts = Vec::new();
    for (at, kind) in key.iter().enumerate() {
        record(&mut parts, u8::try_from(at).unwrap_or(u8::MAX), &part_typeof(*kind));
    }
    typed(EXPR_CONCAT, &parts)
}

/// The expression that stands for one part of a key: the field that core's text form names for it, by the numbers of
/// nftables' protocol descriptions (`enum proto_desc_id` and each header's `enum`, nftables `include/proto.h`).
fn part_typeof(kind: KeyType) -> Vec<u8> {
    match kind {
        KeyType::ArpOperation => payload(15, 5, None),
        KeyType::Byte => payload(8, 7, None),
        KeyType::EtherType => meta(NFT_META_PROTOCOL),
        KeyType::FragmentId => extension(EXTHDR_DESC_FRAG, FRAGHDR_ID),
        KeyType::IcmpId => payload(PROTO_DESC_ICMP, ICMPHDR_ID, Some(16)),
        KeyType::Icmp6Id => payload(PROTO_DESC_ICMPV6, ICMP6HDR_ID, Some(16)),
        KeyType::Index => meta(NFT_META_IIF),
        KeyType::InterfaceName => meta(NFT_META_BRI_IIFNAME),
        KeyType::Ip4 => payload(12, 11, None),
        KeyType::Ip6 => payload(13, 8, None),
        KeyType::Mac => payload(17, 2, None),
        KeyType::Port => payload(11, 1, None),
        KeyType::Protocol => meta(NFT_META_L4PROTO),
        KeyType::RawIp4 | KeyType::RawIp6 | KeyType::RawMac | KeyType::RawShort => {
            kind.sample_field().map_or_else(Vec::new, raw_payload)
        }
        KeyType::Unknown(_) | KeyType::Vlan => Vec::new(),
    }
}

/// nftables `enum proto_desc_id`: no protocol.
const PROTO_DESC_UNKNOWN: u32 = 0;
/// nftables `enum proto_desc_id`: ICMP.
const PROTO_DESC_ICMP: u32 = 4;
/// nftables `enum proto_desc_id`: `ICMPv6`.
const PROTO_DESC_ICMPV6: u32 = 14;
/// nftables `enum icmp_hdr_fields`: the identifier of an echo message.
const ICMPHDR_ID: u32 = 4;
/// nftables `enum icmp6_hdr_fields`: the identifier of an echo message.
const ICMP6HDR_ID: u32 = 6;

/// nftables `enum exthdr_desc_id`, `include/exthdr.h`: the IPv6 fragment header.
const EXTHDR_DESC_FRAG: u32 = 6;
/// nftables `enum frag_hdr_fields`, `include/exthdr.h`: the identification.
const FRAGHDR_ID: u32 = 6;

fn meta(key: u32) -> Vec<u8> {
    let mut data = Vec::new();
    number(&mut data, TYPEOF_FIRST, key);
    typed(EXPR_META, &data)
}

fn payload(description: u32, field: u32, bits: Option<u32>) -> Vec<u8> {
    let mut data = Vec::new();
    number(&mut data, TYPEOF_FIRST, description);
    number(&mut data, TYPEOF_PAYLOAD_TYPE, field);
    if let Some(bits) = bits {
        number(&mut data, TYPEOF_PAYLOAD_LENGTH, bits);
    }
    typed(EXPR_PAYLOAD, &data)
}

/// A field of an extension header; nft writes the field before the header.
fn extension(description: u32, field: u32) -> Vec<u8> {
    let mut data = Vec::new();
    number(&mut data, TYPEOF_PAYLOAD_TYPE, field);
    number(&mut data, TYPEOF_FIRST, description);
    typed(EXPR_EXTHDR, &data)
}

/// A place that nft has no name for, as `@th,64,128`.
fn raw_payload(field: Field) -> Vec<u8> {
    let mut data = Vec::new();
    number(&mut data, TYPEOF_FIRST, PROTO_DESC_UNKNOWN);
    number(&mut data, TYPEOF_PAYLOAD_TYPE, 0);
    if let Location::Payload { base, offset, bytes } = field.location() {
        number(&mut data, TYPEOF_PAYLOAD_BASE, payload_base(base));
        number(&mut data, TYPEOF_PAYLOAD_OFFSET, offset * 8);
        number(&mut data, TYPEOF_PAYLOAD_LENGTH, bytes * 8);
    }
    typed(EXPR_PAYLOAD, &data)
}

/// `enum proto_bases` of nftables, `include/proto.h`.
const fn payload_base(base: PayloadBase) -> u32 {
    match base {
        PayloadBase::Link => 1,
        PayloadBase::Network => 2,
        PayloadBase::Transport => 3,
    }
}

/// What a set's `typeof` says about part `at` of the `count` parts of its key, when that part is a plain integer.
pub(crate) fn read_integer(bytes: &[u8], at: usize, count: usize) -> KeyType {
    let read = || {
        let mut expression = find(bytes, SET_KEY_TYPEOF)?;
        if count > 1 {
            expression = find(find(expression, TYPEOF_DATA)?, u8::try_from(at).ok()?)?;
        }
        let data = find(expression, TYPEOF_DATA)?;
        let (description, field) =
            (find_number(data, TYPEOF_FIRST)?, find_number(data, TYPEOF_PAYLOAD_TYPE)?);
        match find_number(expression, TYPEOF_EXPR)? {
            EXPR_EXTHDR if (description, field) == (EXTHDR_DESC_FRAG, FRAGHDR_ID) => {
                return Some(KeyType::FragmentId);
            }
            EXPR_PAYLOAD => {}
            _ => return None,
        }
        match (description, field) {
            (PROTO_DESC_ICMP, ICMPHDR_ID) => Some(KeyType::IcmpId),
            (PROTO_DESC_ICMPV6, ICMP6HDR_ID) => Some(KeyType::Icmp6Id),
            (PROTO_DESC_UNKNOWN, _) => match find_number(data, TYPEOF_PAYLOAD_LENGTH)? {
                16 => Some(KeyType::RawShort),
                32 => Some(KeyType::RawIp4),
                48 => Some(KeyType::RawMac),
                128 => Some(KeyType::RawIp6),
                _ => None,
            },
            _ => None,
        }
    };
    read().unwrap_or(KeyType::Unknown(layout::TYPE_INTEGER))
}

/// The userdata of an element that starts a range without an end: it reaches to the last value.
pub(crate) fn open_interval() -> Vec<u8> {
    let mut bytes = Vec::new();
    number(&mut bytes, ELEMENT_FLAGS, ELEMENT_INTERVAL_OPEN);
    bytes
}
