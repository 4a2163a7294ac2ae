//! How values lie in registers, keys and elements; the same tables for writing and for reading.
//!
//! nft's own numbers (types of set keys, byte orders) are not known to the kernel, which only stores them for whoever
//! lists the table: `enum datatypes` and `enum byteorder` in nftables `include/datatype.h`.

use core::net::{Ipv4Addr, Ipv6Addr};

use policy_core::model::Mac;
use policy_core::ruleset::{Datum, ExtensionHeader, Field, InterfaceName, KeyType, MetaKey, PayloadBase};

use crate::uapi::{
    NFT_META_BRI_IIFNAME, NFT_META_BRI_IIFPVID, NFT_META_BRI_OIFNAME, NFT_META_IIF, NFT_META_L4PROTO,
    NFT_META_OIF, NFT_META_PROTOCOL, NFT_PAYLOAD_LL_HEADER, NFT_PAYLOAD_NETWORK_HEADER,
    NFT_PAYLOAD_TRANSPORT_HEADER, NFT_REG_1, NFT_REG_4, NFT_REG32_00, NFT_REG32_COUNT,
};

/// Bits that one part of a concatenated type takes (`TYPE_BITS`, nftables `datatype.h`).
const TYPE_BITS: u32 = 6;
/// `TYPE_INTEGER`: a number that only the set's `typeof` says more about.
pub(crate) const TYPE_INTEGER: u32 = 4;
/// The most parts of a key that nft can read back: 32 bits hold five types.
pub(crate) const KEY_PARTS_MAX: usize = 5;

/// `enum byteorder` of nftables: of several parts, none.
pub(crate) const BYTEORDER_INVALID: u32 = 0;
/// `enum byteorder` of nftables: the machine's.
pub(crate) const BYTEORDER_HOST_ENDIAN: u32 = 1;
/// `enum byteorder` of nftables: the network's.
pub(crate) const BYTEORDER_BIG_ENDIAN: u32 = 2;

/// The number of `kind` in a set's key type; for types that are never written, that number as an error.
pub(crate) const fn type_number(kind: KeyType) -> Result<u32, u32> {
    Ok(match kind {
        KeyType::FragmentId
        | KeyType::IcmpId
        | KeyType::Icmp6Id
        | KeyType::RawIp4
        | KeyType::RawIp6
        | KeyType::RawMac
        | KeyType::RawShort => TYPE_INTEGER,
        KeyType::Ip4 => 7,
        KeyType::Ip6 => 8,
        KeyType::Mac => 9,
        KeyType::EtherType => 10,
        KeyType::ArpOperation => 11,
        KeyType::Protocol => 12,
        KeyType::Port => 13,
        KeyType::Byte => 15, // TYPE_TCP_FLAG, the type of `tcp flags`: the only byte that nft gives a name to
        KeyType::Index => 20,
        KeyType::InterfaceName => 41,
        KeyType::Vlan => return Err(TYPE_INTEGER),
        KeyType::Unknown(number) => return Err(number),
    })
}

/// The type that [`type_number`] gives `number`; the integers are told apart by the set's `typeof`.
pub(crate) const fn type_of_number(number: u32) -> KeyType {
    match number {
        7 => KeyType::Ip4,
        8 => KeyType::Ip6,
        9 => KeyType::Mac,
        10 => KeyType::EtherType,
        11 => KeyType::ArpOperation,
        12 => KeyType::Protocol,
        13 => KeyType::Port,
        15 => KeyType::Byte,
        20 => KeyType::Index,
        41 => KeyType::InterfaceName,
        _ => KeyType::Unknown(number),
    }
}

/// The number of a key with several parts: each part's number behind the one before.
pub(crate) fn concatenated(numbers: impl IntoIterator<Item = u32>) -> u32 {
    numbers.into_iter().fold(0, |all, number| (all << TYPE_BITS) | number)
}

/// The parts of a key's number.
pub(crate) fn parts(mut number: u32) -> Vec<u32> {
    let mut parts = vec![number & ((1 << TYPE_BITS) - 1)];
    number >>= TYPE_BITS;
    while number > 0 {
        parts.insert(0, number & ((1 << TYPE_BITS) - 1));
        number >>= TYPE_BITS;
    }
    parts
}

/// The byte order that nft notes for a key of this one type.
pub(crate) const fn byteorder(kind: KeyType) -> u32 {
    match kind {
        KeyType::Index | KeyType::InterfaceName | KeyType::Vlan => BYTEORDER_HOST_ENDIAN,
        KeyType::Protocol | KeyType::Unknown(_) => BYTEORDER_INVALID,
        KeyType::ArpOperation
        | KeyType::Byte
        | KeyType::EtherType
        | KeyType::FragmentId
        | KeyType::IcmpId
        | KeyType::Icmp6Id
        | KeyType::Ip4
        | KeyType::Ip6
        | KeyType::Mac
        | KeyType::Port
        | KeyType::RawIp4
        | KeyType::RawIp6
        | KeyType::RawMac
        | KeyType::RawShort => BYTEORDER_BIG_ENDIAN,
    }
}

/// Whether the bytes of such values are in the order of the values, so that ranges and masks mean something.
pub(crate) const fn is_ordered(kind: KeyType) -> bool {
    !matches!(kind, KeyType::Index | KeyType::InterfaceName | KeyType::Vlan)
}

/// The length of a value in bytes; 0 for an unknown type.
pub(crate) const fn length(kind: KeyType) -> usize {
    match kind {
        KeyType::Byte | KeyType::Protocol => 1,
        KeyType::ArpOperation
        | KeyType::EtherType
        | KeyType::IcmpId
        | KeyType::Icmp6Id
        | KeyType::Port
        | KeyType::RawShort
        | KeyType::Vlan => 2,
        KeyType::FragmentId | KeyType::Index | KeyType::Ip4 | KeyType::RawIp4 => 4,
        KeyType::Mac | KeyType::RawMac => 6,
        KeyType::InterfaceName | KeyType::Ip6 | KeyType::RawIp6 => 16,
        KeyType::Unknown(_) => 0,
    }
}

/// The length of a key in bytes: several parts are padded to four bytes each.
pub(crate) fn key_length(key: &[KeyType]) -> usize {
    match key {
        [kind] => length(*kind),
        _ => key.iter().map(|kind| length(*kind).next_multiple_of(4)).sum(),
    }
}

/// A value's bytes: network byte order, except for what the kernel keeps as a number of its own.
pub(crate) fn bytes(datum: Datum) -> Vec<u8> {
    match datum {
        Datum::Byte(value) | Datum::Protocol(value) => vec![value],
        Datum::ArpOperation(value)
        | Datum::EtherType(value)
        | Datum::IcmpId(value)
        | Datum::Port(value)
        | Datum::RawShort(value) => value.to_be_bytes().to_vec(),
        Datum::FragmentId(value) => value.to_be_bytes().to_vec(),
        Datum::Index(value) => value.to_ne_bytes().to_vec(),
        Datum::InterfaceName(value) => value.0.to_vec(),
        Datum::Vlan(value) => value.to_ne_bytes().to_vec(),
        Datum::Ip4(value) | Datum::RawIp4(value) => value.octets().to_vec(),
        Datum::Ip6(value) | Datum::RawIp6(value) => value.octets().to_vec(),
        Datum::Mac(value) | Datum::RawMac(value) => value.0.to_vec(),
    }
}

/// The bytes of a key with several parts.
pub(crate) fn padded_bytes(parts: &[Datum]) -> Vec<u8> {
    let mut all = Vec::new();
    for part in parts {
        all.extend_from_slice(&bytes(*part));
        all.resize(all.len().next_multiple_of(4), 0);
    }
    all
}

/// The value of type `kind` in exactly these bytes.
pub(crate) fn datum(kind: KeyType, bytes: &[u8]) -> Option<Datum> {
    if bytes.len() != length(kind) {
        return None;
    }
    let short = || bytes.first_chunk().copied().map(u16::from_be_bytes);
    Some(match kind {
        KeyType::ArpOperation => Datum::ArpOperation(short()?),
        KeyType::Byte => Datum::Byte(*bytes.first()?),
        KeyType::EtherType => Datum::EtherType(short()?),
        KeyType::FragmentId => Datum::FragmentId(u32::from_be_bytes(*bytes.first_chunk()?)),
        KeyType::IcmpId | KeyType::Icmp6Id => Datum::IcmpId(short()?),
        KeyType::Index => Datum::Index(u32::from_ne_bytes(*bytes.first_chunk()?)),
        KeyType::InterfaceName => Datum::InterfaceName(InterfaceName(*bytes.first_chunk()?)),
        KeyType::Vlan => Datum::Vlan(bytes.first_chunk().copied().map(u16::from_ne_bytes)?),
        KeyType::Ip4 => Datum::Ip4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
        KeyType::Ip6 => Datum::Ip6(Ipv6Addr::from(*bytes.first_chunk::<16>()?)),
        KeyType::Mac => Datum::Mac(Mac(*bytes.first_chunk()?)),
        KeyType::Port => Datum::Port(short()?),
        KeyType::Protocol => Datum::Protocol(*bytes.first()?),
        KeyType::RawIp4 => Datum::RawIp4(Ipv4Addr::from(*bytes.first_chunk()?)),
        KeyType::RawIp6 => Datum::RawIp6(Ipv6Addr::from(*bytes.first_chunk::<16>()?)),
        KeyType::RawMac => Datum::RawMac(Mac(*bytes.first_chunk()?)),
        KeyType::RawShort => Datum::RawShort(short()?),
        KeyType::Unknown(_) => return None,
    })
}

/// The values of a key with several parts, in exactly these bytes.
pub(crate) fn padded_datums(key: &[KeyType], mut bytes: &[u8]) -> Option<Vec<Datum>> {
    let mut values = Vec::with_capacity(key.len());
    for kind in key {
        let (part, rest) = bytes.split_at_checked(length(*kind).next_multiple_of(4))?;
        values.push(datum(*kind, part.get(..length(*kind))?)?);
        bytes = rest;
    }
    bytes.is_empty().then_some(values)
}

/// The register that starts at the 4-byte word `word`: nft names it by its old 16-byte number where it has one, and
/// so does the kernel when it lists (`nft_dump_register`, `net/netfilter/nf_tables_api.c`). `None` beyond the last.
pub(crate) const fn register(word: u32) -> Option<u32> {
    match word {
        NFT_REG32_COUNT.. => None,
        _ if word.is_multiple_of(4) => Some(NFT_REG_1 + word / 4),
        _ => Some(NFT_REG32_00 + word),
    }
}

/// The 4-byte word at which `register` starts.
pub(crate) const fn register_word(register: u32) -> Option<u32> {
    match register {
        NFT_REG_1..=NFT_REG_4 => Some((register - NFT_REG_1) * 4),
        NFT_REG32_00.. if register - NFT_REG32_00 < NFT_REG32_COUNT => Some(register - NFT_REG32_00),
        _ => None,
    }
}

/// How many 4-byte words a field takes in the registers.
pub(crate) fn words(field: Field) -> u32 {
    u32::try_from(length(field.key_type()).div_ceil(4)).unwrap_or(u32::MAX)
}

/// The kernel's number of a meta key.
pub(crate) const fn meta_number(key: MetaKey) -> u32 {
    match key {
        MetaKey::BridgeName => NFT_META_BRI_IIFNAME,
        MetaKey::BridgeVlan => NFT_META_BRI_IIFPVID,
        MetaKey::Iif => NFT_META_IIF,
        MetaKey::L4Proto => NFT_META_L4PROTO,
        MetaKey::Oif => NFT_META_OIF,
        MetaKey::OutputBridgeName => NFT_META_BRI_OIFNAME,
        MetaKey::Protocol => NFT_META_PROTOCOL,
    }
}

/// The number of an extension header (IANA, IPv6 Extension Header Types).
pub(crate) const fn extension_number(header: ExtensionHeader) -> u8 {
    match header {
        ExtensionHeader::Fragment => 44,
    }
}

/// The kernel's number of a payload base.
pub(crate) const fn base_number(base: PayloadBase) -> u32 {
    match base {
        PayloadBase::Link => NFT_PAYLOAD_LL_HEADER,
        PayloadBase::Network => NFT_PAYLOAD_NETWORK_HEADER,
        PayloadBase::Transport => NFT_PAYLOAD_TRANSPORT_HEADER,
    }
}
