//! Names and comments of kernel objects.
//!
//! A name with a `/` belongs to an object of the cluster; names without one are the table's fixed parts. Texts
//! from outside never become part of a name or comment unfiltered.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The longest name of a chain or set, in bytes (`NFT_NAME_MAXLEN` 256 with its terminator,
/// `uapi/linux/netfilter/nf_tables.h`).
pub const NAME_BYTES_MAX: usize = 255;

/// The longest comment, in bytes (`NFTNL_UDATA_COMMENT_MAXLEN` 128 with its terminator, libnftnl `udata.h`).
pub const COMMENT_BYTES_MAX: usize = 127;

/// The longest prefix of what is logged (`NF_LOG_PREFIXLEN` 128 with its terminator, `uapi/linux/netfilter/nf_log.h`).
pub const LOG_PREFIX_BYTES_MAX: usize = 127;

/// The name of a chain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ChainName(Arc<str>);

impl ChainName {
    /// A name as it stands.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a set or map.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct SetName(Arc<str>);

impl SetName {
    /// A name as it stands.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sixteen letters and digits that stand for `identity`: the first 80 bits of its SHA-256.
///
/// A cryptographic hash, because tenants choose the texts: with a weak one, a tenant could craft a selector
/// whose sets collide with somebody else's.
pub fn fingerprint(identity: &str) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let hash = Sha256::digest(identity.as_bytes());
    let mut bits: u32 = 0;
    let mut held = 0_u32;
    let mut text = String::with_capacity(16);
    for byte in hash.iter().take(10) {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            let digit = usize::try_from((bits >> held) & 31).unwrap_or(0);
            text.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'a')));
        }
    }
    text
}

/// `text` with every character that nft's scanner would not take in a name replaced by `_`, cut to `bytes_max`.
pub fn readable(text: &str, bytes_max: usize) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    text.chars().take(bytes_max).map(|c| if keep(c) { c } else { '_' }).collect()
}

/// `text` as a comment: printable ASCII without quotes, cut to [`COMMENT_BYTES_MAX`].
pub fn comment(text: &str) -> String {
    let keep = |c: char| (c.is_ascii_graphic() && !matches!(c, '"' | '\\')) || c == ' ';
    text.chars().take(COMMENT_BYTES_MAX).map(|c| if keep(c) { c } else { '_' }).collect()
}
