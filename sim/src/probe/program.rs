//! Probes by real programs: `ping` and `arping`, both of iputils.
//!
//! Both are told to go on until the first answer; they end with status 0 when it came. The round ends them when it
//! is over.

use core::time::Duration;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::process::Command;
use tokio::time::{Instant, sleep_until};

use super::round::Attempt;
use crate::programs;

/// The least time between two starts of a program, should it give up at once.
const AGAIN: Duration = Duration::from_millis(250);

/// Sends echo requests, four a second, until one is answered.
pub(super) async fn ping(attempt: &mut Attempt) -> Result<()> {
    let to = attempt.to.to_string();
    let before = ["-n", "-q", "-c", "1", "-i", "0.25", "-w", "5", "-I"];
    until_answered(attempt, programs::PING, &before, &[&to]).await
}

/// Asks who has the address, once a second, until somebody answers.
pub(super) async fn arping(attempt: &mut Attempt) -> Result<()> {
    let (source, to) = (attempt.from.address.to_string(), attempt.to.to_string());
    let before = ["-q", "-f", "-w", "5", "-I"];
    until_answered(attempt, programs::ARPING, &before, &["-s", &source, &to]).await
}

async fn until_answered(attempt: &mut Attempt, program: &str, before: &[&str], after: &[&str]) -> Result<()> {
    let path = programs::find(program).with_context(|| format!("{program} is not installed any more"))?;
    loop {
        let again = Instant::now() + AGAIN;
        let child = attempt.from.namespace.run(|| {
            Command::new(&path)
                .args(before)
                .arg(&attempt.from.interface)
                .args(after)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
        })?;
        attempt.sent();
        let mut child = child.with_context(|| format!("cannot start {}", path.display()))?;
        if child.wait().await.with_context(|| format!("cannot wait for {program}"))?.success() {
            return Ok(());
        }
        sleep_until(again).await;
    }
}
