//! The half of a run that stays on the host: it starts the isolated half and passes on what that says.

use alloc::collections::BTreeSet;
use core::iter;
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::path::Path;
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::ValueEnum as _;

use crate::arm::Equipment;
use crate::capability::Capability;
use crate::inside::Manner;
use crate::isolate;

/// What came of an isolated run.
pub struct Ended {
    /// Whether everything was as the scenario says.
    pub good: bool,
    /// What it printed.
    pub text: String,
}

/// Plays the scenario in `file` with packets, in namespaces of its own, and in a cluster if there is `equipment`; what it
/// prints goes to `out` at once.
pub fn play(
    file: &Path,
    manner: Manner,
    equipment: Option<&Equipment>,
    out: &mut (dyn Write + Send),
) -> Result<Ended> {
    let mut arguments = vec!["inside".to_owned()];
    arguments.extend(manner.arguments());
    if let Some(Equipment { access, agent }) = equipment {
        arguments.push(format!("--plane={}", access.directory().display()));
        arguments.push(format!("--agent={}", agent.display()));
    }
    arguments.push(file.to_str().context("the file's name is not UTF-8")?.to_owned());
    isolated(&arguments, manner.keep, out)
}

/// Which of `required` the kernel is not capable of, found out in namespaces of their own.
pub fn missing(required: &BTreeSet<Capability>) -> Result<BTreeSet<Capability>> {
    if required.is_empty() {
        return Ok(BTreeSet::new());
    }
    let names = required.iter().map(Capability::to_string);
    let arguments: Vec<String> = iter::once("try".to_owned()).chain(names).collect();
    let mut out = Vec::new();
    let Ended { good, text } = isolated(&arguments, false, &mut out)?;
    ensure!(good, "cannot find out what the kernel is capable of: {text}");
    let missing = text.lines().map(|name| Capability::from_str(name, false));
    missing.collect::<Result<_, _>>().map_err(|error| anyhow!("an unknown capability: {error}"))
}

/// Runs this program with `arguments` in namespaces of its own.
pub fn isolated(arguments: &[String], keep: bool, out: &mut (dyn Write + Send)) -> Result<Ended> {
    let (hand_over, handed_over) = channel();
    if keep {
        // Ends with the process: nobody waits for somebody to press Enter.
        std::thread::spawn(move || pass_on_enter(&handed_over));
    }
    std::thread::scope(|scope| {
        // A thread of its own, because it leaves the host's namespaces (no thread can be started from there), and its
        // death is the child's.
        let player = scope.spawn(|| {
            let mut child = isolate::start(arguments)?;
            // The child takes the end of its input for our end, so somebody has to hold it.
            let input = child.stdin.take().context("the isolated process has no input")?;
            let held = if keep { hand_over.send(input).err().map(|refused| refused.0) } else { Some(input) };
            let ended = attend(child, out);
            drop(held);
            ended
        });
        player.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Passes on everything that the child prints, and waits for its end.
fn attend(mut child: Child, out: &mut dyn Write) -> Result<Ended> {
    let mut text = String::new();
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout);
        loop {
            let mut line = Vec::new();
            if lines.by_ref().read_until(b'\n', &mut line)? == 0 {
                break;
            }
            out.write_all(&line)?;
            text.push_str(&String::from_utf8_lossy(&line));
        }
    }
    let status = child.wait().context("cannot wait for the isolated process")?;
    match status.code() {
        Some(code @ (0 | 1)) => Ok(Ended { good: code == 0, text }),
        Some(2) => Ok(Ended { good: false, text }),
        _ => bail!("the isolated process ended unexpectedly: {status}"),
    }
}

/// Passes one line of our input on to the child.
fn pass_on_enter(handed_over: &Receiver<ChildStdin>) {
    let Ok(mut input) = handed_over.recv() else { return };
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).is_ok() {
        // An error means that the child is gone already.
        drop(writeln!(input));
    }
    // The child takes the end of its input for our end.
    loop {
        std::thread::park();
    }
}
