//! A directory of manifests as the source: for machines without Kubernetes, and for trying things out.
//!
//! After every change the files are read again, and only what differs is passed on. A file that cannot be read, or that
//! holds a mistake, keeps what it last said: a slip of the pen neither opens nor closes anything.

use alloc::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use driver_kube::Options;
use driver_kube::manifest::read;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use policy_core::Input;
use policy_core::model::{Kind, Object, ObjectId, Problem};
use tracing::{error, info};

use super::{Content, Inbox, source};
use crate::manifests::{directories, files, is_foreign};

/// What one file says.
type Said = BTreeMap<ObjectId, (Object, Vec<Problem>)>;

/// A directory that is watched.
pub(crate) struct Directory {
    path: PathBuf,
    options: Options,
    /// What each file said when it could last be read.
    files: BTreeMap<PathBuf, Said>,
    /// What was passed on.
    told: Said,
}

impl Directory {
    /// The directory at `path`.
    pub(crate) const fn new(path: PathBuf, options: Options) -> Self {
        Self { path, options, files: BTreeMap::new(), told: Said::new() }
    }

    /// Reads everything, passes it on, and goes on watching in a thread of its own.
    ///
    /// # Errors
    /// The directory cannot be read, or a file in it: nothing is enforced from half of them.
    pub(crate) fn watch(mut self, inbox: Inbox) -> Result<()> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC).context("cannot watch directories")?;
        self.add_watches(&inotify)?;
        let mistakes = self.read()?;
        ensure!(mistakes.is_empty(), "{}", mistakes.join("; "));
        self.list(&inbox);
        source("manifests", inbox, move |inbox| self.follow(&inotify, inbox))
    }

    fn follow(&mut self, inotify: &Inotify, inbox: &Inbox) -> Result<()> {
        loop {
            inotify.read_events().with_context(|| format!("cannot watch {}", self.path.display()))?;
            // Before the files are read: what changes meanwhile is another event.
            self.add_watches(inotify)?;
            for mistake in self.read()? {
                error!("{mistake}; what the file said before stays in force");
            }
            if !self.pass_on(inbox) {
                return Ok(());
            }
        }
    }

    /// Watches the directory and those in it; one that is watched already stays so.
    fn add_watches(&self, inotify: &Inotify) -> Result<()> {
        // A file counts when it is complete: closed, or moved here.
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO;
        for directory in directories(&self.path)? {
            inotify
                .add_watch(&directory, flags)
                .with_context(|| format!("cannot watch {}", directory.display()))?;
        }
        Ok(())
    }

    /// Reads all files again; returns what is wrong with some.
    fn read(&mut self) -> Result<Vec<String>> {
        let mut mistakes = Vec::new();
        let mut now = BTreeMap::new();
        for file in files(&self.path)? {
            let said = self.read_file(&file, &mut mistakes).or_else(|| self.files.remove(&file));
            now.extend(said.map(|said| (file, said)));
        }
        self.files = now;
        Ok(mistakes)
    }

    /// What a file says, if there is no mistake in it.
    fn read_file(&self, file: &Path, mistakes: &mut Vec<String>) -> Option<Said> {
        let shown = file.display().to_string();
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            // It was removed since the directory was read.
            Err(reason) if reason.kind() == ErrorKind::NotFound => return Some(Said::new()),
            Err(reason) => {
                mistakes.push(format!("cannot read {shown}: {reason}"));
                return None;
            }
        };
        let contents = read(&text, shown);
        let before = mistakes.len();
        let wrong = contents.mistakes.iter().filter(|mistake| !is_foreign(&mistake.error));
        mistakes.extend(wrong.map(ToString::to_string));
        let said = contents.manifests.iter().map(|located| {
            let id = located.manifest.id();
            let converted = located.manifest.object(&self.options);
            // The core itself reports a policy's.
            let problems = if id.kind() == Kind::Policy { Vec::new() } else { converted.problems };
            (id, (converted.object, problems))
        });
        (mistakes.len() == before).then(|| said.collect())
    }

    /// What all files say together; of two with the same object, the later one counts.
    fn said(&self) -> Said {
        self.files
            .values()
            .flat_map(|said| said.iter().map(|(id, said)| (id.clone(), said.clone())))
            .collect()
    }

    /// Passes everything on, kind by kind.
    fn list(&mut self, inbox: &Inbox) {
        self.told = self.said();
        for kind in Kind::OF_THE_CLUSTER {
            let of_kind = self.told.iter().filter(|(id, _)| id.kind() == kind);
            let objects = of_kind.map(|(_, (object, _))| object.clone()).collect();
            inbox.input(Input::Relist { kind, objects });
        }
        for (id, (_, problems)) in self.told.iter().filter(|(_, (_, problems))| !problems.is_empty()) {
            inbox.send(Content::Problems(id.clone(), problems.clone()));
        }
        info!(directory = %self.path.display(), objects = self.told.len(), "all manifests are read");
    }

    /// Passes on what has changed; whether somebody still listens.
    fn pass_on(&mut self, inbox: &Inbox) -> bool {
        let said = self.said();
        let mut heard = true;
        for id in self.told.keys().filter(|id| !said.contains_key(id)) {
            heard &= inbox.input(Input::Remove(id.clone()));
        }
        for (id, (object, problems)) in &said {
            let before = self.told.get(id);
            if before.is_none_or(|(before, _)| before != object) {
                heard &= inbox.input(Input::Upsert(object.clone()));
            }
            let problems_before = before.map_or(&[][..], |(_, problems)| problems);
            if problems_before != problems {
                heard &= inbox.send(Content::Problems(id.clone(), problems.clone()));
            }
        }
        self.told = said;
        heard
    }
}
