//! Manifests from files, directories and standard input.

use alloc::collections::BTreeMap;
use core::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use driver_kube::manifest::{Located, Mistake, read};
use driver_kube::{Manifest, ManifestError, Options};
use policy_core::explain::Places;
use policy_core::model::{Kind, NamespacedName, Object, ObjectId, Problem};
use policy_core::{Compiler, Config, Input, Output, Time};

use crate::cli::Source;

/// Why there are no manifests to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// A directory without files of manifests.
    #[error("there is no .yaml, .yml or .json file in {}", .0.display())]
    NoFiles(PathBuf),
    /// No object of a kind that is read.
    #[error("there is no pod, namespace, network or policy in {0}")]
    Nothing(String),
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file or directory.
        path: String,
        /// Why not.
        reason: io::Error,
    },
    /// Some manifest is none.
    #[error("{first}{more}")]
    Wrong {
        /// The first mistake.
        first: Box<Mistake>,
        /// How many there are besides, as the end of a sentence.
        more: String,
    },
}

/// One object, and where it is written.
#[derive(Debug)]
pub(crate) struct Written {
    /// The text.
    pub(crate) located: Located,
    /// Its name.
    pub(crate) id: ObjectId,
    object: Object,
    /// What in it cannot be used.
    pub(crate) problems: Vec<Problem>,
}

impl Written {
    /// Where the field path `path` is written: `file:line:column`.
    pub(crate) fn place(&self, path: &str) -> String {
        format!("{}:{}", self.located.file, self.located.place_of(path))
    }
}

/// Everything that was read.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// The objects, in the order in which they were read.
    pub(crate) written: Vec<Written>,
    /// What could not be read.
    pub(crate) mistakes: Vec<Mistake>,
    /// How many objects are of kinds that no policy depends on.
    pub(crate) of_other_kinds: usize,
}

impl Manifests {
    /// Reads all sources, mistakes included.
    pub(crate) fn load(source: &Source) -> Result<Self, LoadError> {
        let mut manifests = Self::default();
        let options = source.options();
        for path in &source.paths {
            if path == Path::new("-") {
                let mut text = String::new();
                io::stdin()
                    .read_to_string(&mut text)
                    .map_err(|reason| LoadError::Unreadable { path: "standard input".to_owned(), reason })?;
                manifests.add(&text, "-", &options);
                continue;
            }
            let found = files(path)?;
            if found.is_empty() {
                return Err(LoadError::NoFiles(path.clone()));
            }
            for file in found {
                let text = fs::read_to_string(&file).map_err(|reason| unreadable(&file, reason))?;
                manifests.add(&text, &file.display().to_string(), &options);
            }
        }
        if manifests.written.is_empty() && manifests.mistakes.is_empty() {
            let paths = source.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
            return Err(LoadError::Nothing(paths.join(", ")));
        }
        Ok(manifests)
    }

    /// Reads all sources; a mistake is an error.
    pub(crate) fn load_all(source: &Source) -> Result<Self, LoadError> {
        let mut manifests = Self::load(source)?;
        if manifests.mistakes.is_empty() {
            return Ok(manifests);
        }
        let first = Box::new(manifests.mistakes.swap_remove(0));
        let more = match manifests.mistakes.len() {
            0 => String::new(),
            more => format!("; {more} more: `check` lists them"),
        };
        Err(LoadError::Wrong { first, more })
    }

    fn add(&mut self, text: &str, file: &str, options: &Options) {
        let contents = read(text, file);
        for mistake in contents.mistakes {
            if is_foreign(&mistake.error) {
                self.of_other_kinds += 1;
            } else {
                self.mistakes.push(mistake);
            }
        }
        self.written.extend(contents.manifests.into_iter().map(|located| {
            let converted = located.manifest.object(options);
            Written {
                id: located.manifest.id(),
                object: converted.object,
                problems: converted.problems,
                located,
            }
        }));
    }

    /// The text of each object that counts: the last one of its name.
    pub(crate) fn latest(&self) -> BTreeMap<&ObjectId, &Written> {
        self.written.iter().map(|written| (&written.id, written)).collect()
    }

    /// Where the rules of a policy are written.
    pub(crate) fn places(&self, policy: &NamespacedName) -> Places {
        let id = ObjectId::Policy(policy.clone());
        let written = self.written.iter().rev().find(|written| written.id == id);
        match written.map(|written| &written.located.manifest) {
            Some(Manifest::Policy(policy)) => Places::new(&policy.spec),
            Some(Manifest::Namespace(_) | Manifest::Network(_) | Manifest::Pod(_)) | None => {
                Places::default()
            }
        }
    }

    /// Tells a core everything, and returns it with what it has to say about each object at the end.
    pub(crate) fn tell(&self, config: &Config) -> (Compiler, BTreeMap<ObjectId, Vec<Problem>>) {
        let mut compiler = Compiler::new(config);
        for kind in Kind::ALL {
            let of_kind = self.written.iter().filter(|written| written.id.kind() == kind);
            let objects = of_kind.map(|written| written.object.clone()).collect();
            compiler.handle_input(Input::Relist { kind, objects }, Time::default());
        }
        let mut reports = BTreeMap::new();
        while let Some(output) = compiler.poll_output() {
            if let Output::Report(report) = output {
                reports.insert(report.object, report.problems);
            }
        }
        (compiler, reports)
    }

    /// A remark for answers that problems may have changed, if there are any.
    pub(crate) fn remarks(&self, reports: &BTreeMap<ObjectId, Vec<Problem>>) -> Vec<String> {
        let latest = self.latest();
        let known = latest.values().filter(|written| !reports.contains_key(&written.id));
        let count = known.map(|written| written.problems.len()).sum::<usize>()
            + reports.values().map(Vec::len).sum::<usize>();
        let problems = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
        let remark = format!("these manifests have {problems}, which `mnp-nft-bridge check` lists");
        if count == 0 { Vec::new() } else { vec![remark] }
    }
}

/// Whether something is of a kind that has nothing to do with policies, and not a slip in one that has.
pub(crate) fn is_foreign(error: &ManifestError) -> bool {
    let ManifestError::UnknownKind { kind, api_version } = error else { return false };
    let ours = ["MultiNetworkPolicy", "Namespace", "NetworkAttachmentDefinition", "Pod"];
    !ours.contains(&kind.as_str()) && !api_version.starts_with("k8s.cni.cncf.io/")
}

/// The files of manifests at `path`, sorted. Hidden files, and directories behind links, are left out: a mounted
/// `ConfigMap` shows each file twice otherwise.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let metadata = fs::metadata(path).map_err(|reason| unreadable(path, reason))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for directory in directories(path)? {
        for entry in entries(&directory)? {
            let path = entry.path();
            let known = |is: &_| ["json", "yaml", "yml"].iter().any(|known| *is == **known);
            if path.extension().is_some_and(known) && path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The directory at `path` and those in it, however deep.
pub(crate) fn directories(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let mut found = vec![path.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next).cloned() {
        next += 1;
        for entry in entries(&directory)? {
            if entry.file_type().map_err(|reason| unreadable(&directory, reason))?.is_dir() {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// What lies in `directory` and is not hidden.
fn entries(directory: &Path) -> Result<Vec<fs::DirEntry>, LoadError> {
    let fail = |reason| unreadable(directory, reason);
    let mut entries: Vec<fs::DirEntry> =
        fs::read_dir(directory).map_err(fail)?.collect::<Result<_, _>>().map_err(fail)?;
    entries.retain(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    Ok(entries)
}

fn unreadable(path: &Path, reason: io::Error) -> LoadError {
    LoadError::Unreadable { path: path.display().to_string(), reason }
}

/// How many objects of which kind there are, as text.
pub(crate) struct Counts<'a>(pub(crate) &'a Manifests);

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latest = self.0.latest();
        let count = |kind: Kind| latest.keys().filter(|id| id.kind() == kind).count();
        let number = |count: usize, one: &str, many: &str| {
            if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
        };
        let policies = number(count(Kind::Policy), "policy", "policies");
        let networks = number(count(Kind::Network), "network", "networks");
        let pods = number(count(Kind::Pod), "pod", "pods");
        let namespaces = number(count(Kind::Namespace), "namespace", "namespaces");
        write!(f, "{policies}, {networks}, {pods}, {namespaces}")?;
        if self.0.of_other_kinds > 0 {
            write!(f, "; {} of kinds that no policy depends on", self.0.of_other_kinds)?;
        }
        Ok(())
    }
}
