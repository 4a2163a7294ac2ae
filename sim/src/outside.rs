//! The half of a run that stays on the host: it starts the isolated half and passes on what that says.

use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::path::Path;
use std::process::{Child, ChildStdin};

use anyhow::{Context as _, Result, bail};

use crate::inside::Manner;
use crate::isolate;

/// What came of an isolated run.
pub struct Ended {
    /// Whether everything was as the scenario says.
    pub good: bool,
    /// What it printed.
    pub text: String,
}

/// Plays the scenario in `file` with packets, in namespaces of its own; what it prints goes to `out` at once.
pub fn play(file: &Path, manner: Manner, out: &mut (dyn Write + Send)) -> Result<Ended> {
    let mut arguments = vec!["inside".to_owned()];
    arguments.extend(manner.arguments());
    arguments.push(file.to_str().context("the file's name is not UTF-8")?.to_owned());
    std::thread::scope(|scope| {
        // A thread of its own, because it leaves the host's namespaces, and its death is the child's.
        let player = scope.spawn(|| {
            let child = isolate::start(&arguments)?;
            attend(child, manner.keep, out)
        });
        player.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Passes on everything that the child prints, and waits for its end.
fn attend(mut child: Child, keep: bool, out: &mut dyn Write) -> Result<Ended> {
    let mut input = child.stdin.take();
    if keep {
        let input = input.take();
        // Ends with the process: nobody waits for somebody to press Enter.
        std::thread::spawn(move || pass_on_enter(input));
    }
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
    drop(input);
    match status.code() {
        Some(code @ (0 | 1)) => Ok(Ended { good: code == 0, text }),
        Some(2) => Ok(Ended { good: false, text }),
        _ => bail!("the isolated process ended unexpectedly: {status}"),
    }
}

fn pass_on_enter(input: Option<ChildStdin>) {
    let Some(mut input) = input else { return };
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).is_ok() {
        // An error means that the child is gone already.
        drop(writeln!(input));
        // The child takes the end of its input for our end.
        std::thread::park();
    }
}
