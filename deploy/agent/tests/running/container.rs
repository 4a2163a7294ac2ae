//! The agent's container as a container engine would make it of the manifest, without an engine.
//!
//! All that a process cannot shake off is set in a thread, which then starts the program: the mounts, the bounding set of
//! capabilities, no new privileges, and the filter of system calls. The program gets from the manifest what it gets in
//! a cluster, and nothing that is not there.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use caps::{CapSet, Capability};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::{chdir, chroot, pivot_root};
use serde_json::Value;

use crate::agent::{Agent, directory};
use crate::seccomp;

/// The variable that names the unpacked root of an image; without it, the root holds this build's program and the system's
/// libraries.
const ROOT: &str = "MNP_NFT_BRIDGE_ROOT";
/// The program, in the container.
pub(crate) const PROGRAM: &str = "/mnp-nft-bridge";

/// What the manifest lets the container do.
pub(crate) struct Container {
    /// Where its root is built.
    root: PathBuf,
    /// Its capabilities, such as `NET_ADMIN`.
    pub(crate) capabilities: Vec<String>,
    no_new_privileges: bool,
    read_only_root: bool,
    /// Directories of this machine that it sees at other places, read-only.
    mounts: Vec<(PathBuf, &'static str)>,
}

impl Container {
    /// As `deploy/manifests/base/daemonset.yaml` says.
    pub(crate) fn of_manifest(test: &str) -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/base/daemonset.yaml");
        let yaml = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let daemonset: Value =
            serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{path}: {error}"));
        let context = daemonset.pointer("/spec/template/spec/containers/0/securityContext");
        let context = context.unwrap_or_else(|| panic!("{path}: no securityContext"));
        let says = |field: &str| context.pointer(field).unwrap_or_else(|| panic!("{path}: no {field}"));
        // What is started here cannot be more, or somebody else.
        assert_eq!(says("/privileged"), false);
        assert_eq!(says("/runAsUser"), 0);
        assert_eq!(says("/capabilities/drop").to_string(), r#"["ALL"]"#);
        assert_eq!(says("/seccompProfile/type"), "RuntimeDefault");
        let added = says("/capabilities/add").as_array().into_iter().flatten();
        Self {
            root: directory(&format!("container-{test}")),
            capabilities: added.filter_map(Value::as_str).map(str::to_owned).collect(),
            no_new_privileges: says("/allowPrivilegeEscalation") == false,
            read_only_root: says("/readOnlyRootFilesystem") == true,
            mounts: Vec::new(),
        }
    }

    /// The same with a directory of this machine at `place`.
    pub(crate) fn with(mut self, directory: &Path, place: &'static str) -> Self {
        self.mounts.push((directory.to_owned(), place));
        self
    }

    /// Starts the agent in it, in the calling thread's network namespace.
    pub(crate) fn start(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Agent {
        self.inside(|| {
            let mut program = Command::new(PROGRAM);
            // Cluster or machine: nothing of this one's environment is there.
            program.env_clear().envs(environment.iter().copied());
            Agent::of(program, arguments)
        })
    }

    /// Runs `start` in a thread that passes on what a container engine does.
    pub(crate) fn inside<T: Send>(&self, start: impl FnOnce() -> T + Send) -> T {
        let confined = || {
            unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace: run these tests as root");
            let filter = seccomp::filter(&self.capabilities);
            self.enter_root();
            self.give_up_capabilities();
            if self.no_new_privileges {
                nix::sys::prctl::set_no_new_privs().expect("nobody needs a privilege for this");
            }
            seccompiler::apply_filter(&filter).expect("the filter is taken");
            // This thread still has the capability for it, so it is the filter that refuses.
            chroot("/").expect_err("the filter refuses what CAP_SYS_CHROOT is for");
            start()
        };
        thread::scope(|scope| scope.spawn(confined).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Makes a root of what the image holds and what an engine mounts, and leaves the machine's own.
    fn enter_root(&self) {
        let nothing: Option<&str> = None;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).expect("private mounts");
        let root = self.root.as_path();
        mount(Some("tmpfs"), root, Some("tmpfs"), MsFlags::empty(), nothing).expect("a tmpfs");
        let image = std::env::var_os(ROOT).map(PathBuf::from);
        match &image {
            Some(image) => bind_all(image, root),
            None => bind_file(Path::new(env!("CARGO_BIN_EXE_mnp-nft-bridge")), &inside_of(root, PROGRAM)),
        }
        let libraries = ["/lib", "/lib64", "/usr/lib"].iter().filter(|_| image.is_none());
        let libraries = libraries.filter(|path| Path::new(path).is_dir());
        let read_only = libraries.map(|path| (PathBuf::from(path), *path)).chain(self.mounts.clone());
        for (source, place) in read_only {
            bind_read_only(&source, &inside_of(root, place));
        }
        bind_file(Path::new("/dev/null"), &inside_of(root, "/dev/null"));
        let proc = inside_of(root, "/proc");
        fs::create_dir(&proc).expect("a directory");
        mount(Some("proc"), &proc, Some("proc"), MsFlags::empty(), nothing).expect("proc");
        chdir(root).and_then(|()| pivot_root(".", ".")).expect("another root");
        umount2(".", MntFlags::MNT_DETACH).and_then(|()| chdir("/")).expect("the old root can go");
        if self.read_only_root {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
            mount(nothing, "/", nothing, flags, nothing).expect("a read-only root");
            let refused = fs::write("/written", "").expect_err("the root is read-only");
            assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
        }
    }

    /// What root starts has the capabilities of the bounding set, and those only (`capabilities(7)`).
    fn give_up_capabilities(&self) {
        let kept: Vec<Capability> = self
            .capabilities
            .iter()
            .map(|name| format!("CAP_{name}").parse().unwrap_or_else(|error| panic!("{name}: {error}")))
            .collect();
        let had = caps::read(None, CapSet::Bounding).expect("a bounding set");
        for capability in had.into_iter().filter(|capability| !kept.contains(capability)) {
            caps::drop(None, CapSet::Bounding, capability).expect("capabilities can be given up");
        }
        caps::clear(None, CapSet::Ambient).expect("ambient capabilities can be given up");
        caps::clear(None, CapSet::Inheritable).expect("inheritable capabilities can be given up");
    }

    /// The value of its capabilities in `/proc/PID/status`.
    pub(crate) fn mask(&self) -> String {
        let bits = self.capabilities.iter().map(|name| {
            format!("CAP_{name}").parse::<Capability>().map_or(0, |capability| capability.bitmask())
        });
        format!("{:016x}", bits.sum::<u64>())
    }
}

/// Where an absolute path of the container is.
fn inside_of(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Makes everything that is in the image's root be there.
fn bind_all(image: &Path, root: &Path) {
    let entries = fs::read_dir(image).unwrap_or_else(|error| panic!("{}: {error}", image.display()));
    for entry in entries.map(|entry| entry.expect("an entry")) {
        let place = root.join(entry.file_name());
        if entry.path().is_dir() {
            bind_read_only(&entry.path(), &place);
        } else {
            bind_file(&entry.path(), &place);
        }
    }
}

/// The place is made without being opened: as long as somebody has a file open for writing, and be it a child of another test
/// between its fork and its exec, the root cannot become read-only.
fn bind_file(source: &Path, place: &Path) {
    fs::create_dir_all(place.parent().expect("a directory around it")).expect("a directory");
    mknod(place, SFlag::S_IFREG, Mode::S_IRUSR, 0).expect("a file");
    bind(source, place);
}

fn bind_read_only(source: &Path, place: &Path) {
    fs::create_dir_all(place).expect("a directory");
    bind(source, place);
    let nothing: Option<&str> = None;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(nothing, place, nothing, flags, nothing).expect("a read-only mount");
}

fn bind(source: &Path, place: &Path) {
    let nothing: Option<&str> = None;
    mount(Some(source), place, nothing, MsFlags::MS_BIND, nothing)
        .unwrap_or_else(|error| panic!("cannot mount {}: {error}", source.display()));
}
