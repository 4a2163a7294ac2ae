//! Machines that are saved after they have booted, to start in half a second.
//!
//! A saved machine fits only the host, the QEMU, the kernel and the devices it was saved with; its file is named by all of
//! these and made again when one changes.

use core::hash::{Hash as _, Hasher as _};
use core::time::Duration;
use std::fs;
use std::hash::DefaultHasher;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use super::guest::{Workplace, lines, qemu};
use super::kernel::Kernel;
use super::qemu::{Machine, Start, quoted};
use crate::program::Program;

/// How long a machine may take until it waits for the go-ahead.
const PATIENCE: Duration = Duration::from_mins(2);
/// How the names of saved machines begin.
const PREFIX: &str = "saved-";
/// What the init script says then.
const READY: &str = "vm: ready";

/// The saved machine like `machine`, made when it is not there.
///
/// # Errors
/// It could not be booted or saved.
pub(super) fn machine(machine: &Machine, kernel: &Kernel, place: &Workplace) -> Result<PathBuf> {
    let file = kernel.directory.join(format!("{PREFIX}{:016x}", fingerprint(machine)?));
    if !file.exists() {
        crate::say(format_args!("saving a booted machine for {}", kernel.release))?;
        let draft = place.file("saved");
        save(machine, place, &draft)
            .with_context(|| format!("cannot save a machine with {}", kernel.release))?;
        remove_others(&kernel.directory)?;
        fs::rename(&draft, &file)?;
    }
    Ok(file)
}

/// Removes the saved machines of a kernel, none of which can be started any more.
fn remove_others(directory: &Path) -> Result<()> {
    for entry in directory.read_dir().with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Everything that a saved machine depends on.
fn fingerprint(machine: &Machine) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    fs::read(&machine.initramfs)?.hash(&mut hasher);
    machine.command_line().hash(&mut hasher);
    let start = Start::Save { monitor: PathBuf::new() };
    let elsewhere = Machine { job: PathBuf::new(), project: PathBuf::new(), ..machine.clone() };
    elsewhere.arguments(&start).hash(&mut hasher);
    Program::new("qemu-system-x86_64").args(["--version"]).read()?.hash(&mut hasher);
    // The translator shows the guest the features of this processor.
    fs::read_to_string("/proc/cpuinfo")?.lines().find(|line| line.starts_with("flags")).hash(&mut hasher);
    Ok(hasher.finish())
}

fn save(machine: &Machine, place: &Workplace, file: &Path) -> Result<()> {
    let monitor = place.file("monitor");
    let mut child = qemu(machine, &Start::Save { monitor: monitor.clone() })?;
    let saved = wait_until_ready(&mut child).and_then(|()| migrate(&monitor, file));
    // After the monitor's `quit` it ends by itself; otherwise it is of no use.
    if saved.is_err() {
        drop(child.kill());
    }
    let status = child.wait().context("cannot wait for the machine")?;
    saved?;
    ensure!(status.success(), "the machine ended with {status}");
    Ok(())
}

fn wait_until_ready(child: &mut Child) -> Result<()> {
    let lines = lines(child)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains(READY) => return Ok(()),
            Ok(_) => {}
            Err(_) => bail!("the machine did not boot within {PATIENCE:?}"),
        }
    }
}

/// Tells QEMU's monitor to write the machine's state to `file` and to end; `migrate` answers when it is done.
fn migrate(monitor: &Path, file: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(monitor).context("cannot reach the machine's monitor")?;
    let target = quoted(&file.display().to_string());
    let commands =
        ["migrate_set_parameter max-bandwidth 100G", &format!("migrate \"exec:cat >{target}\""), "quit"];
    for command in commands {
        writeln!(stream, "{command}").context("the machine's monitor does not listen")?;
    }
    // The monitor closes the connection when it quits.
    let mut said = String::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        said.push_str(&line);
        said.push('\n');
    }
    ensure!(fs::metadata(file).is_ok_and(|file| file.len() > 0), "the monitor said:\n{said}");
    Ok(())
}
