//! The log: to standard error, as text or JSON, at the level that `RUST_LOG` names.

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum LogForm {
    /// An object per line, for programs.
    Json,
    /// Text, for people.
    Text,
}

/// Starts the log. May be called once.
///
/// # Errors
/// `RUST_LOG` cannot be read, or there is a log already.
pub(crate) fn start(form: LogForm) -> Result<()> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env()?;
    // A line that cannot be written is lost. To say so on the same standard error would panic, and end the thread that had to say
    // something: whoever collects the log may go away and come back.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let started = match form {
        LogForm::Json => log.json().try_init(),
        LogForm::Text => log.try_init(),
    };
    started.map_err(|error| anyhow!("cannot start the log: {error}"))
}
