//! Probes by real programs: `ping` and `arping`, both of iputils.
//!
//! Both are told to go on until the first answer; they end with status 0 when it came. The round ends them when it
//! is over.

use core::net::IpAddr;
use core::time::Duration;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::process::Command;

use super::round::Place;
use crate::programs;

/// How long to wait before starting a program again that gave up.
const AGAIN: Duration = Duration::from_millis(100);

/// Sends echo requests, four a second, until one is answered.
pub(super) async fn ping(from: &Place, to: IpAddr) -> Result<()> {
    let to = to.to_string();
    until_answered(from, programs::PING, &["-n", "-q", "-c", "1", "-i", "0.25", "-w", "5", "-I"], &[&to])
        .await
}

/// Asks who has `to`, once a second, until somebody answers.
pub(super) async fn arping(from: &Place, to: IpAddr) -> Result<()> {
    let (source, to) = (from.address.to_string(), to.to_string());
    until_answered(from, programs::ARPING, &["-q", "-f", "-w", "5", "-I"], &["-s", &source, &to]).await
}

async fn until_answered(from: &Place, program: &str, before: &[&str], after: &[&str]) -> Result<()> {
    let path = programs::find(program).with_context(|| format!("{program} is not installed any more"))?;
    loop {
        let child = from.namespace.run(|| {
            Command::new(&path)
                .args(before)
                .arg(&from.interface)
                .args(after)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
        })?;
        let mut child = child.with_context(|| format!("cannot start {}", path.display()))?;
        if child.wait().await.with_context(|| format!("cannot wait for {program}"))?.success() {
            return Ok(());
        }
        tokio::time::sleep(AGAIN).await;
    }
}
