//! Probes by real programs: `ping` and `arping`, both of iputils.
//!
//! Both are told to go on until the first answer. The round ends them when it is over.

use core::time::Duration;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::process::Command;
use tokio::time::{Instant, sleep_until};

use super::round::Attempt;
use crate::programs;

/// What `ping` prints of an answer.
const PING_ANSWER: &str = " bytes from ";
/// What `arping` prints of an answer.
const ARP_ANSWER: &str = " reply from ";
/// The least time between two starts of a program, should it give up at once.
const AGAIN: Duration = Duration::from_millis(250);

/// Sends echo requests, four a second, until one is answered.
pub(super) async fn ping(attempt: &mut Attempt) -> Result<()> {
    let to = attempt.to.address()?.to_string();
    let before = ["-n", "-c", "1", "-i", "0.25", "-w", "5", "-I"];
    until_answered(attempt, programs::PING, &before, &[&to], PING_ANSWER).await
}

/// Asks everybody who has the address, once a second, until somebody answers. Without `-b`, an `arping` that hears the other
/// end ask for something goes on with questions to it alone, which pass where the search for it does not.
pub(super) async fn arping(attempt: &mut Attempt) -> Result<()> {
    let (source, to) = (attempt.from.address()?.to_string(), attempt.to.address()?.to_string());
    let before = ["-b", "-f", "-w", "5", "-I"];
    until_answered(attempt, programs::ARPING, &before, &["-s", &source, &to], ARP_ANSWER).await
}

/// Runs `program` until it prints `answer`. Its exit status does not count: an `arping` that was kept from running so long
/// that its time was over before its first question calls that a success, and so does one that heard a question.
async fn until_answered(
    attempt: &mut Attempt,
    program: &str,
    before: &[&str],
    after: &[&str],
    answer: &str,
) -> Result<()> {
    let path = programs::find(program).with_context(|| format!("{program} is not installed any more"))?;
    loop {
        let again = Instant::now() + AGAIN;
        let child = attempt.from.namespace.run(|| {
            Command::new(&path)
                .env("LC_ALL", "C")
                .args(before)
                .arg(&attempt.from.interface)
                .args(after)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
        })?;
        attempt.sent();
        let child = child.with_context(|| format!("cannot start {}", path.display()))?;
        let ended = child.wait_with_output().await;
        let printed = ended.with_context(|| format!("cannot wait for {program}"))?.stdout;
        if is_answered(&printed, answer) {
            return Ok(());
        }
        sleep_until(again).await;
    }
}

/// Whether one of the printed lines is an answer.
fn is_answered(printed: &[u8], answer: &str) -> bool {
    String::from_utf8_lossy(printed).lines().any(|line| line.contains(answer))
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::{ARP_ANSWER, PING_ANSWER, is_answered};

    #[test_case("Unicast reply from 10.0.0.2 [02:00:00:00:00:02]  0.558ms", true; "a reply")]
    #[test_case("Unicast request from 10.0.0.2 [02:00:00:00:00:02]  0.558ms", false; "a question of the other end")]
    #[test_case("Sent 0 probes (0 broadcast(s))\nReceived 0 response(s)", false; "no time for a question")]
    fn only_a_reply_answers_arping(printed: &str, expected: bool) {
        let printed = format!("ARPING 10.0.0.2 from 10.0.0.1 net1\n{printed}\n");
        assert_eq!(is_answered(printed.as_bytes(), ARP_ANSWER), expected);
    }

    #[test_case("64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=0.152 ms", true; "an answer")]
    #[test_case("From 10.0.0.1 icmp_seq=1 Destination Host Unreachable", false; "an error")]
    fn only_an_echo_answers_ping(printed: &str, expected: bool) {
        assert_eq!(is_answered(printed.as_bytes(), PING_ANSWER), expected);
    }
}
