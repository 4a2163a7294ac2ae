//! The table `bridge mnp-nft-bridge` in a Linux kernel, over netlink, without the `nft` program.
//!
//! ```text
//!   Transaction --encode--> bytes --socket--> nf_tables --socket--> bytes --decode--> Ruleset
//! ```
//!
//! [`encode`] and [`decode`] are pure and meet in the middle: what one writes the other reads. [`NftKernel`] is core's
//! `Kernel`; [`Monitor`] tells when somebody else changes the table. [`Links`] reports the bridge ports. [`Capabilities`]
//! are found out by trying.
//!
//! ```no_run
//! use driver_nft::{Links, NftError, NftKernel};
//! use policy_core::{Generation, Kernel, Scope, Transaction};
//!
//! fn main() -> Result<(), NftError> {
//!     let mut kernel = NftKernel::open()?; // of the network namespace that this thread is in
//!     let empty = Transaction { generation: Generation(1), scope: Scope::Replace, ops: Vec::new() };
//!     kernel.apply(&empty)?; // all or nothing; refused if somebody else changed the table meanwhile
//!     assert!(kernel.observe()?.chains.is_empty());
//!
//!     let mut links = Links::open()?;
//!     let ports = links.dump()?; // every port there is
//!     let changes = links.next(None)?; // waits
//!     println!("{} ports, {} changes", ports.len(), changes.len());
//!     kernel.remove_table()
//! }
//! ```

extern crate alloc;

mod apart;
mod capability;
pub mod decode;
pub mod encode;
mod error;
mod guarded;
mod kernel;
mod layout;
mod links;
mod monitor;
mod socket;
mod state;
mod touch;
mod uapi;
mod userdata;
mod wire;

pub use capability::{Capabilities, Capability, Support};
pub use decode::Counted;
pub use error::NftError;
pub use guarded::{Announced, Guarded, Heard, Requests};
pub use kernel::NftKernel;
pub use links::{Links, PortEvent};
pub use monitor::{Commit, Monitor, Notice};
pub use state::{StateChoice, StateUnavailable, StateWish, UnknownState};
pub use touch::Touch;
pub use wire::WireError;
