//! One run of a machine: what it is told, what it says, how it ends.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use super::kernel::Kernel;
use super::qemu::{Accelerator, Machine, Start, quoted};
use super::saved;
use crate::program::search_path;

/// How much of the console is shown when a machine fails, in lines.
const CONSOLE_LINES: usize = 40;

/// What a machine is to do.
#[derive(Clone, Debug)]
pub(super) struct Job<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) initramfs: &'a Path,
    /// Where temporary files and saved machines may be.
    pub(super) cache: &'a Path,
    /// The directory that the command runs in and may write to.
    pub(super) project: &'a Path,
    /// The program of this workspace to run, if any; a copy of it runs, so that it may be built again meanwhile.
    pub(super) program: Option<&'a Path>,
    /// The program's arguments; without a program a command and its arguments.
    pub(super) command: &'a [String],
    /// The machine is ended after this long.
    pub(super) limit: Duration,
    /// Start from a saved machine.
    pub(super) from_saved: bool,
    /// A copy is kept of what the command writes to `/run/vm/job/junit.xml`.
    pub(super) junit: Option<&'a Path>,
}

/// How the command ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) status: u8,
    pub(super) took: Duration,
}

/// The directory of a running job; it goes when the job ends.
#[derive(Debug)]
pub(super) struct Workplace {
    path: PathBuf,
}

impl Workplace {
    /// A new directory under `cache`.
    pub(super) fn new(cache: &Path) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = cache.join(format!(".job-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("share")).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    /// Removes what was left behind under `cache` by programs that were killed.
    ///
    /// # Errors
    /// `cache` cannot be read.
    pub(super) fn sweep(cache: &Path) -> Result<()> {
        for entry in cache.read_dir().with_context(|| format!("cannot read {}", cache.display()))? {
            let entry = entry?;
            if owner(&entry.file_name().to_string_lossy()).is_some_and(|id| !is_running(id)) {
                // What cannot be removed does no harm but take space.
                drop(fs::remove_dir_all(entry.path()));
            }
        }
        Ok(())
    }

    /// What the machine sees of it.
    pub(super) fn share(&self) -> PathBuf {
        self.path.join("share")
    }

    /// A file of it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The process that a workplace with this name belongs to.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(".job-")?.split('-').next()?.parse().ok()
}

fn is_running(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What cannot be removed does no harm but take space.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Runs the job's command and hands every line it prints to `show`.
///
/// # Errors
/// The machine failed, or took too long; how the command itself ended is no error.
pub(super) fn run(job: &Job<'_>, mut show: impl FnMut(&str) -> Result<()>) -> Result<Ended> {
    let place = Workplace::new(job.cache)?;
    fs::write(place.share().join("places"), places(job))?;
    let mut command = job.command.to_vec();
    if let Some(program) = job.program {
        let copy = place.file("program");
        fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
        command.insert(0, copy.display().to_string());
    }
    fs::write(place.share().join("command"), script(job.project, &command))?;
    let machine = Machine {
        accelerator: Accelerator::here(),
        kernel: job.kernel.elf(),
        initramfs: job.initramfs.to_owned(),
        job: place.share(),
        project: job.project.to_owned(),
    };
    let console = place.file("console");
    let start = if job.from_saved {
        Start::Resume { saved: saved::machine(&machine, job.kernel, &place)?, console: console.clone() }
    } else {
        Start::Boot { console: console.clone() }
    };
    let started = Instant::now();
    let mut child = qemu(&machine, &start)?;
    let followed = follow(&mut child, started + job.limit, &mut show);
    if followed.is_err() {
        // It may have ended by itself.
        drop(child.kill());
    }
    let status = child.wait().context("cannot wait for the machine")?;
    followed?;
    if let Some(junit) = job.junit
        && place.share().join("junit.xml").exists()
    {
        fs::copy(place.share().join("junit.xml"), junit)
            .with_context(|| format!("cannot write {}", junit.display()))?;
    }
    match fs::read_to_string(place.share().join("status")) {
        Ok(text) => Ok(Ended {
            status: text.trim().parse().context("the command's exit status is not a number")?,
            took: started.elapsed(),
        }),
        Err(_) => bail!(
            "the machine ended ({status}) before its command did; the end of its console:\n{}",
            tail(&fs::read(&console).unwrap_or_default())
        ),
    }
}

/// Where the init script finds what it mounts.
fn places(job: &Job<'_>) -> String {
    let modules = job.kernel.modules();
    let values = [
        ("RELEASE", job.kernel.release.clone()),
        ("PROJECT", job.project.display().to_string()),
        ("MODULES", modules.display().to_string()),
    ];
    values.map(|(name, value)| format!("{name}={}\n", quoted(&value))).concat()
}

/// The command as a script for any POSIX shell.
fn script(directory: &Path, command: &[String]) -> String {
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    format!(
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\ncd {} && exec {}\n",
        quoted(&directory.display().to_string()),
        words.join(" ")
    )
}

/// Starts the machine; it ends when the calling thread does.
pub(super) fn qemu(machine: &Machine, start: &Start) -> Result<Child> {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args(machine.arguments(start))
        .env("PATH", search_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start qemu-system-x86_64 by setpriv")
}

/// The lines that `child` prints, until it closes its output.
pub(super) fn lines(child: &mut Child) -> Result<Receiver<String>> {
    let output = child.stdout.take().context("the machine has an output")?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

/// Gives the go-ahead, then passes on every line.
fn follow(child: &mut Child, deadline: Instant, show: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let lines = lines(child)?;
    // Open until the machine ends: the guest could not write to a port that the host has left.
    let mut input = child.stdin.take().context("the machine has an input")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    writeln!(input, "{}", now.as_secs()).context("the machine does not listen")?;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => show(&line)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => bail!("the machine did not end in time: see --limit"),
        }
    }
}

/// The last lines of a console.
fn tail(console: &[u8]) -> String {
    let text = String::from_utf8_lossy(console).replace('\r', "");
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(CONSOLE_LINES)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{owner, script, tail};

    #[test]
    fn workplace_is_named_by_its_owner() {
        assert_eq!(owner(".job-4711-0"), Some(4711));
        assert_eq!(owner("6.1.0-56-amd64"), None);
    }

    #[test]
    fn script_enters_the_project_and_becomes_the_command() {
        let command = ["sim".to_owned(), "it's".to_owned()];
        let script = script(Path::new("/home/a b"), &command);
        assert!(script.ends_with("\ncd '/home/a b' && exec 'sim' 'it'\\''s'\n"), "{script}");
    }

    #[test]
    fn only_the_end_of_a_console_is_shown() {
        let lines: Vec<String> = (0..100).map(|line| format!("line {line}\r\n")).collect();
        let tail = tail(lines.concat().as_bytes());
        assert!(tail.starts_with("line 60\n") && tail.ends_with("\nline 99"), "{tail}");
    }
}
