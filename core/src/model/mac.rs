//! Ethernet addresses.

use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A 48-bit Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The IPv6 link-local address that a host derives from this address: RFC 4291, appendix A (modified
    /// EUI-64: `ff:fe` in the middle, the universal/local bit inverted).
    pub fn link_local(self) -> Ipv6Addr {
        let [vendor_0, vendor_1, vendor_2, device_0, device_1, device_2] = self.0;
        let prefix = [0xfe, 0x80, 0, 0, 0, 0, 0, 0];
        let mut bytes =
            [vendor_0 ^ 0x02, vendor_1, vendor_2, 0xff, 0xfe, device_0, device_1, device_2].into_iter();
        let mut address = [0; 16];
        for (place, byte) in address.iter_mut().zip(prefix.into_iter().chain(&mut bytes)) {
            *place = byte;
        }
        Ipv6Addr::from_octets(address)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            write!(out, "{}{byte:02x}", if at > 0 { ":" } else { "" })?;
        }
        Ok(())
    }
}

/// A text that is not an Ethernet address of six bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an ethernet address of six hexadecimal bytes")]
pub struct MacError;

impl FromStr for Mac {
    type Err = MacError;

    /// Reads six hexadecimal bytes with `:` or `-` between them, in either case.
    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or(MacError)?;
            let hex = !part.is_empty() && part.len() <= 2 && part.bytes().all(|c| c.is_ascii_hexdigit());
            *byte = hex.then(|| u8::from_str_radix(part, 16).ok()).flatten().ok_or(MacError)?;
        }
        if parts.next().is_some() { Err(MacError) } else { Ok(Self(bytes)) }
    }
}
