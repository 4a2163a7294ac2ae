//! The table `bridge mnp-nft-bridge` in a Linux kernel, over netlink, without the `nft` program.
//!
//! ```text
//!   Transaction --encode--> bytes --socket--> nf_tables --socket--> bytes --decode--> Ruleset
//! ```
//!
//! [`encode`] and [`decode`] are pure and meet in the middle: what one writes the other reads. [`NftKernel`] is core's
//! `Kernel`; [`Monitor`] tells when somebody else changes the table. [`Links`] reports the bridge ports.

extern crate alloc;

pub mod decode;
pub mod encode;
mod error;
mod kernel;
mod layout;
mod links;
mod monitor;
mod socket;
mod uapi;
mod userdata;
mod wire;

pub use error::NftError;
pub use kernel::NftKernel;
pub use links::{Links, PortEvent};
pub use monitor::{Commit, Monitor, Notice};
pub use wire::WireError;
