//! Why the kernel, or the way to it, failed.

use nix::errno::Errno;
use policy_core::SinkFault;

use crate::decode::DecodeError;
use crate::encode::EncodeError;
use crate::wire::WireError;

/// Something between this program and nftables failed; the table is unchanged, unless the variant says otherwise.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NftError {
    /// The kernel's listing cannot be read.
    #[error("cannot read the kernel's listing of the table: {0}")]
    Decode(#[from] DecodeError),
    /// The transaction has no kernel encoding.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Somebody else changed the table since it was last observed or written.
    #[error("another program changed the table in between: observe it and try again")]
    Overtaken,
    /// The kernel refused one operation, and with it the whole transaction.
    #[error("the kernel refused operation {op_index} ({op}){}: {errno}{}", at(.element.as_deref()), said(.hint))]
    Refused {
        /// Index of the operation within the transaction.
        op_index: usize,
        /// The operation's text, shortened.
        op: String,
        /// The element that it is about, when the operation has several.
        element: Option<String>,
        /// The kernel's error number.
        errno: Errno,
        /// What the kernel says about it (extended acknowledgement); often nothing.
        hint: String,
    },
    /// The kernel refused a request that is not one operation of a transaction.
    #[error("the kernel refused {request}: {errno}{}{}", said(.hint), advice(*.errno))]
    Request {
        /// What was asked for.
        request: &'static str,
        /// The kernel's error number.
        errno: Errno,
        /// What the kernel says about it (extended acknowledgement); often nothing.
        hint: String,
    },
    /// The netlink socket failed.
    #[error("cannot {action} the netlink socket: {errno}{}", advice(*.errno))]
    Socket {
        /// What was tried.
        action: &'static str,
        /// The system's error number.
        errno: Errno,
    },
    /// The transaction is longer than one message to the kernel may be, and it cannot be split.
    #[error(
        "a transaction of {bytes} bytes is more than the socket may send: run as root, or raise net.core.wmem_max"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The kernel's answer got lost, so that it is not known whether the transaction was committed.
    #[error("the kernel's answer to {request} got lost: observe the table and try again")]
    Unanswered {
        /// What was asked for.
        request: &'static str,
    },
    /// Other programs change rulesets so fast that the table could not be read in one piece.
    #[error("the ruleset changed during each of {attempts} attempts to read it")]
    Unsettled {
        /// How often it was tried.
        attempts: u32,
    },
    /// A message that is not what netlink's framing demands.
    #[error("the kernel's answer is damaged: {0}")]
    Wire(#[from] WireError),
}

fn at(element: Option<&str>) -> String {
    element.map_or_else(String::new, |element| format!(" at element {element}"))
}

fn said(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!(" ({hint})") }
}

fn advice(errno: Errno) -> &'static str {
    if matches!(errno, Errno::EPERM | Errno::EACCES) {
        ": run as root, or give the process CAP_NET_ADMIN in its network namespace"
    } else if matches!(errno, Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT) {
        ": the kernel needs nf_tables with the bridge family (CONFIG_NF_TABLES, CONFIG_NF_TABLES_BRIDGE)"
    } else {
        ""
    }
}

impl NftError {
    /// The error number behind the failure, if it comes from the system.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } | Self::Request { errno, .. } | Self::Socket { errno, .. } => {
                Some(*errno)
            }
            Self::Decode(_)
            | Self::Encode(_)
            | Self::Overtaken
            | Self::TooLarge { .. }
            | Self::Unanswered { .. }
            | Self::Unsettled { .. }
            | Self::Wire(_) => None,
        }
    }
}

impl From<NftError> for SinkFault {
    /// From the error number alone, never from a text.
    fn from(error: NftError) -> Self {
        if matches!(error, NftError::Overtaken | NftError::Unanswered { .. } | NftError::Unsettled { .. }) {
            return Self::Busy;
        }
        match error.errno() {
            Some(Errno::ERESTART | Errno::EBUSY | Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => {
                Self::Busy
            }
            Some(Errno::EPERM | Errno::EACCES) => Self::Denied,
            Some(Errno::EEXIST) => Self::Exists,
            Some(Errno::ENOENT) => Self::Missing,
            _ => Self::Other,
        }
    }
}
