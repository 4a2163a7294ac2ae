//! The journal on disk: one JSON entry a line, in two files that take turns, written by a thread that nobody waits for.
//!
//! When the file is full, or something could not be written, the journal goes on with a checkpoint in a new file as soon as
//! the core is at rest. So every file tells a whole story from its beginning, and what is missing is missing between files.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context as _, Result};
use policy_core::journal::{Entry, Start, checkpoint};
use policy_core::{Compiler, Config, Input, Output, Time, Witness};
use tracing::{info, warn};

/// How many entries may wait for the disk before the journal has a gap.
const WAITING_MAX: usize = 16_384;
/// How long to leave a disk alone that could not be written.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The version of this program.
pub(crate) const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// Something for the disk.
#[derive(Debug)]
enum Piece {
    Entry(Entry),
    /// The journal goes on in a new file that begins with these.
    Renewed(Vec<Entry>),
}

/// The core's side of the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    /// `None` once the journal ends.
    pieces: Option<SyncSender<Piece>>,
    writer: Option<JoinHandle<()>>,
    config: Config,
    /// Whether the disk's side is ready for a new file.
    wanted: Arc<AtomicBool>,
    /// Whether entries were lost, so that the rest of the story would make no sense.
    gap: bool,
}

impl Journal {
    /// A journal in `path` and a second file beside it, together at most `bytes_max` long. What is there already is kept, and
    /// continued if there is room.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn open(path: &Path, bytes_max: u64, config: &Config) -> Result<Self> {
        let (pieces, for_disk) = sync_channel(WAITING_MAX);
        let wanted = Arc::new(AtomicBool::new(false));
        let mut disk = Disk::open(path, bytes_max / 2, Arc::clone(&wanted))
            .with_context(|| format!("cannot write the journal {}", path.display()))?;
        let writer = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || disk.follow(&for_disk))
            .context("cannot start a thread")?;
        let (pieces, writer) = (Some(pieces), Some(writer));
        let mut journal = Self { pieces, writer, config: config.clone(), wanted, gap: false };
        journal.write(Entry::Start(Start::new(PROGRAM, config)));
        Ok(journal)
    }

    /// Begins a new file, if one is due and nothing is under way.
    pub(crate) fn renew(&mut self, compiler: &Compiler) {
        if !self.gap && !self.wanted.load(Ordering::Relaxed) {
            return;
        }
        let Some(entries) = checkpoint(compiler, &self.config, PROGRAM) else { return };
        if self.send(Piece::Renewed(entries)) {
            self.wanted.store(false, Ordering::Relaxed);
            self.gap = false;
        }
    }

    fn write(&mut self, entry: Entry) {
        if !self.gap && !self.send(Piece::Entry(entry)) {
            self.gap = true;
            warn!("the disk is too slow for the journal, which has a gap now");
        }
    }

    /// Passes something on without waiting; whether there was room.
    fn send(&self, piece: Piece) -> bool {
        self.pieces.as_ref().is_some_and(|pieces| pieces.try_send(piece).is_ok())
    }
}

impl Drop for Journal {
    /// Waits until everything is written.
    fn drop(&mut self) {
        drop(self.pieces.take());
        // A panic of the writer has been told, and there is nobody else to tell.
        drop(self.writer.take().map(JoinHandle::join));
    }
}

impl Witness for Journal {
    fn heard(&mut self, input: &Input, now: Time) {
        self.write(Entry::Heard { at: now, input: input.clone() });
    }

    fn asked(&mut self, output: &Output) {
        self.write(Entry::Asked(output.clone()));
    }
}

/// The disk's side.
struct Disk {
    path: PathBuf,
    bytes_max: u64,
    wanted: Arc<AtomicBool>,
    state: State,
}

enum State {
    /// Entries are lost until the core is at rest and a new file can begin.
    Closed,
    /// The disk is left alone until then.
    Failed(Instant),
    Open {
        file: BufWriter<File>,
        bytes: u64,
    },
}

impl Disk {
    fn open(path: &Path, bytes_max: u64, wanted: Arc<AtomicBool>) -> io::Result<Self> {
        let written = fs::metadata(path).map_or(0, |found| found.len());
        if written > bytes_max / 2 {
            fs::rename(path, older(path))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        let mut file = BufWriter::new(file);
        if bytes > 0 {
            // Whoever was killed while writing left a piece of a line.
            file.write_all(b"\n")?;
        }
        Ok(Self { path: path.to_owned(), bytes_max, wanted, state: State::Open { file, bytes } })
    }

    /// Writes what comes until nothing can come any more.
    fn follow(&mut self, pieces: &Receiver<Piece>) {
        while let Ok(piece) = pieces.recv() {
            let mut next = Some(piece);
            while let Some(piece) = next {
                self.take(piece);
                next = pieces.try_recv().ok();
            }
            if let State::Open { file, .. } = &mut self.state
                && let Err(error) = file.flush()
            {
                self.fail(&error);
            }
        }
    }

    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Entry(entry) => match &self.state {
                State::Open { .. } => self.write(&entry),
                State::Failed(until) if *until <= Instant::now() => self.close(),
                State::Closed | State::Failed(_) => {}
            },
            Piece::Renewed(entries) => {
                if let Err(error) = self.begin() {
                    return self.fail(&error);
                }
                for entry in &entries {
                    self.write(entry);
                }
            }
        }
    }

    /// Begins a new file. One that could not be written to its end is no story worth keeping.
    fn begin(&mut self) -> io::Result<()> {
        if matches!(self.state, State::Closed) {
            fs::rename(&self.path, older(&self.path))?;
        }
        self.state = State::Open { file: BufWriter::new(File::create(&self.path)?), bytes: 0 };
        info!(file = %self.path.display(), "the journal goes on in a new file");
        Ok(())
    }

    fn write(&mut self, entry: &Entry) {
        let State::Open { file, bytes } = &mut self.state else { return };
        let line = match serde_json::to_vec(entry) {
            Ok(mut line) => {
                line.push(b'\n');
                line
            }
            Err(error) => return self.fail(&error.into()),
        };
        *bytes += u64::try_from(line.len()).unwrap_or(u64::MAX);
        if *bytes > self.bytes_max {
            return self.close();
        }
        if let Err(error) = file.write_all(&line) {
            self.fail(&error);
        }
    }

    /// Writes no more before a new file begins, and asks for one.
    fn close(&mut self) {
        if let State::Failed(_) = self.state {
            self.wanted.store(true, Ordering::Relaxed);
            return;
        }
        let before = core::mem::replace(&mut self.state, State::Closed);
        if let State::Open { file, .. } = before
            && let Err(error) = file.into_inner()
        {
            return self.fail(error.error());
        }
        self.wanted.store(true, Ordering::Relaxed);
    }

    fn fail(&mut self, error: &io::Error) {
        warn!(%error, file = %self.path.display(), "the journal cannot be written; enforcement goes on without");
        let before = core::mem::replace(&mut self.state, State::Failed(Instant::now() + AGAIN_AFTER));
        if let State::Open { file, .. } = before {
            // Without another attempt to write what is left.
            drop(file.into_parts());
        }
    }
}

/// The other file.
fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::fs;
    use std::path::PathBuf;
    use std::sync::mpsc::sync_channel;
    use std::time::Instant;

    use policy_core::journal::{Entry, Replay};
    use policy_core::{Config, Input, Time};

    use super::{Disk, Piece, State, older};

    fn file(test: &str) -> PathBuf {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp/journal").join(test);
        drop(fs::remove_dir_all(&directory));
        fs::create_dir_all(&directory).expect("a directory can be made");
        directory.join("journal")
    }

    fn entry() -> Piece {
        Piece::Entry(Entry::Heard { at: Time::default(), input: Input::Tick })
    }

    fn checkpoint() -> Piece {
        let start = policy_core::journal::Start::new("test", &Config::new("here"));
        Piece::Renewed(vec![Entry::Start(start), Entry::Ready])
    }

    fn disk(path: &std::path::Path, bytes_max: u64) -> Disk {
        Disk::open(path, bytes_max, alloc::sync::Arc::default()).expect("the file can be written")
    }

    #[test]
    fn two_files_take_turns_and_stay_small() {
        let path = file("turns");
        let mut disk = disk(&path, 1_000);
        let (sender, pieces) = sync_channel(10_000);
        for _ in 0..20 {
            sender.send(checkpoint()).expect("there is room");
            (0..100).for_each(|_| sender.send(entry()).expect("there is room"));
        }
        drop(sender);
        disk.follow(&pieces);
        assert!(matches!(disk.state, State::Closed));
        for path in [path.clone(), older(&path)] {
            let text = fs::read_to_string(&path).expect("it is there");
            assert!(text.len() > 500 && text.len() <= 1_000, "{} bytes", text.len());
            let mut replay = Replay::default();
            for line in text.lines() {
                let entry = serde_json::from_str(line).expect("an entry");
                assert!(!matches!(entry, Entry::Asked(_)));
                replay.take(entry).expect("a story from its beginning");
            }
        }
    }

    #[test]
    fn full_disk_is_left_alone_and_then_tried_again() {
        // Every write to this device ends with ENOSPC.
        let full = PathBuf::from("/dev/full");
        let mut disk = disk(&full, 1_000_000);
        let (sender, pieces) = sync_channel(10);
        sender.send(entry()).expect("there is room");
        drop(sender);
        disk.follow(&pieces);
        assert!(matches!(disk.state, State::Failed(_)), "the write is flushed, and that is refused");
        disk.take(entry());
        assert!(!disk.wanted.load(core::sync::atomic::Ordering::Relaxed), "the disk is left alone");
        disk.state =
            State::Failed(Instant::now().checked_sub(Duration::from_secs(1)).expect("it runs for longer"));
        disk.take(entry());
        assert!(disk.wanted.load(core::sync::atomic::Ordering::Relaxed), "a new file is asked for");
        // The disk has room again.
        disk.path = file("room");
        disk.take(checkpoint());
        disk.take(entry());
        assert!(matches!(disk.state, State::Open { .. }));
    }
}
