//! The annotation that asks for a log of frames, on policies and on namespaces.

use alloc::format;

use super::{Path, Problems, quoted};
use crate::model::LogWish;

/// The annotation that says which frames are logged.
pub const LOG: &str = "mnp-nft-bridge.io/log";

/// Reads a [`LOG`] annotation. What cannot be read asks for nothing: a log neither opens nor closes anything, and who
/// misspelt the word is told so.
pub fn log_wish(annotation: Option<&str>, problems: &mut Problems) -> Option<LogWish> {
    match annotation?.trim() {
        "drop" => Some(LogWish::Drop),
        "all" => Some(LogWish::All),
        other => {
            let metadata = Path::root("metadata");
            let at = metadata.field("annotations");
            let reason = format!("{}: not one of drop, all; nothing is logged", quoted(other));
            problems.add(&at.key(LOG), reason);
            None
        }
    }
}
