//! The real `ping`, fifty times a second: what it says about its answers, and what the other end's kernel counts.

use core::time::Duration;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::line::Ends;
use crate::netns::Namespace;
use crate::programs;

/// A `ping` that goes on until it is ended.
pub(super) struct Ping {
    name: String,
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

/// What a `ping` has measured.
pub(super) struct Measured {
    name: String,
    said: Vec<String>,
}

impl Ping {
    /// Starts it.
    pub(super) fn begin(name: &str, ends: &Ends) -> Result<Self> {
        let path = programs::find(programs::PING).context("ping is not installed any more")?;
        let (source, destination) = (ends.source.to_string(), ends.destination.to_string());
        let child = ends.from.run(|| {
            Command::new(path)
                .args(["-n", "-D", "-i", "0.02", "-I", &source, &destination])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
        })?;
        let mut child = child.context("cannot start ping")?;
        let output = child.stdout.take().context("ping has no output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { name: name.to_owned(), child, lines, said: Vec::new() })
    }

    /// Waits for the first answer.
    pub(super) fn wait_for_first(&mut self, patience: Duration) -> Result<()> {
        while !self.said.iter().any(|line| answered_at(line).is_some()) {
            match self.lines.recv_timeout(patience) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout) => bail!("{} has no answer within {patience:?}", self.name),
                Err(RecvTimeoutError::Disconnected) => bail!("{} gave up: {:?}", self.name, self.said),
            }
        }
        Ok(())
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Result<Measured> {
        let id = i32::try_from(self.child.id()).context("a process has an id")?;
        kill(Pid::from_raw(id), Signal::SIGINT).context("cannot end ping")?;
        self.child.wait().context("cannot wait for ping")?;
        self.said.extend(self.lines.iter());
        Ok(Measured { name: self.name, said: self.said })
    }
}

impl Measured {
    /// What was lost: all but the last request must have been answered.
    pub(super) fn losses(&self) -> Option<String> {
        let summary = self.said.iter().find(|line| line.contains(" packets transmitted"));
        let Some((sent, received)) = summary.and_then(|line| counts(line)) else {
            return Some(format!("{}: ping says nothing about losses", self.name));
        };
        (sent > received + 1).then(|| format!("{}: {received} of {sent} requests are answered", self.name))
    }

    /// Its name, and how long after `moment` the last answer came.
    pub(super) fn latest_after(&self, moment: SystemTime) -> (String, Duration) {
        let moment = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        let last = self.said.iter().filter_map(|line| answered_at(line)).max().unwrap_or_default();
        (self.name.clone(), last.saturating_sub(moment))
    }
}

/// When an answer came: `[1700000000.123456] 64 bytes from ...`.
fn answered_at(line: &str) -> Option<Duration> {
    let (seconds, rest) = line.strip_prefix('[')?.split_once(']')?;
    let answered = rest.contains(" bytes from ");
    Duration::try_from_secs_f64(seconds.parse().ok()?).ok().filter(|_| answered)
}

/// How many requests were sent and answered: `5 packets transmitted, 5 received, 0% packet loss, ...`.
fn counts(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (sent, received) = (words.next()?, words.nth(2)?);
    Some((sent.parse().ok()?, received.parse().ok()?))
}

/// How many echo requests, of both families, a namespace has got: `InEchos` and `Icmp6InEchos`.
pub(super) fn requests(namespace: &Namespace) -> Result<u64> {
    let read = |path| std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
    let both = namespace.run(|| {
        Ok::<_, anyhow::Error>((read("/proc/thread-self/net/snmp")?, read("/proc/thread-self/net/snmp6")?))
    });
    let (ip4, ip6) = both??;
    let of_ip4 = column(&ip4, "Icmp:", "InEchos").context("there is no InEchos")?;
    let mut words = ip6.split_whitespace().skip_while(|word| *word != "Icmp6InEchos");
    let of_ip6 =
        words.nth(1).and_then(|word| word.parse::<u64>().ok()).context("there is no Icmp6InEchos")?;
    Ok(of_ip4 + of_ip6)
}

/// A number in `/proc/net/snmp`, where a line of names precedes one of values.
fn column(table: &str, group: &str, name: &str) -> Option<u64> {
    let mut rows = table.lines().filter(|line| line.starts_with(group));
    let (names, values) = (rows.next()?, rows.next()?);
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.find(|(known, _)| *known == name).and_then(|(_, value)| value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ping_says_is_understood() {
        let said = [
            "[1700000000.250000] 64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=0.1 ms",
            "5 packets transmitted, 3 received, 40% packet loss, time 80ms",
        ];
        let measured = Measured { name: "ping".to_owned(), said: said.map(str::to_owned).to_vec() };
        let moment = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(measured.latest_after(moment), ("ping".to_owned(), Duration::from_millis(250)));
        assert_eq!(measured.losses().as_deref(), Some("ping: 3 of 5 requests are answered"));
    }

    #[test]
    fn a_column_is_found_by_its_name() {
        let table = "Icmp: InMsgs InEchos\nIcmp: 7 3\nUdp: InDatagrams\nUdp: 9\n";
        assert_eq!(column(table, "Icmp:", "InEchos"), Some(3));
        assert_eq!(column(table, "Udp:", "InEchos"), None);
    }
}
