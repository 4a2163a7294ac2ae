//! Away from the host: user, mount, network and process namespaces of our own.
//!
//! A scenario runs as process 1 of its own process namespace. When that process ends, for whatever reason, the
//! kernel ends everything that was started in it and then takes the namespaces down with all their links and
//! tables. Nothing has to be cleaned up, so nothing can be left behind, not even by SIGKILL.
//!
//! Process 1 ends when its parent does: by the parent-death signal, and because its standard input, which only the
//! parent holds open, comes to an end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid};

/// Why the process could not leave the host.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    /// Something of the new namespaces could not be set up.
    #[error("cannot {what} in the new namespaces: {reason}")]
    Furnish {
        /// What was tried.
        what: &'static str,
        /// Why not.
        reason: std::io::Error,
    },
    /// Network, mount or process namespaces are not allowed.
    #[error(
        "cannot make network, mount and process namespaces ({0}): run it with sudo; inside a container, that \
             takes --privileged"
    )]
    Namespaces(Errno),
    /// The process is on the host: it was started by hand.
    #[error("this is started by sim itself, in namespaces of its own: use sim run FILE")]
    NotIsolated,
    /// The scenario's process could not be started.
    #[error("cannot start the scenario's process: {0}")]
    Start(std::io::Error),
    /// User namespaces are not allowed.
    #[error("cannot make a user namespace ({errno}): run it with sudo{remedy}")]
    UserNamespace {
        /// What the kernel answered.
        errno: Errno,
        /// The setting that would allow it, as the end of the sentence.
        remedy: &'static str,
    },
}

/// Becomes root of a user namespace of its own, unless the process is root already. Must be called while the
/// process has one thread: `unshare(2)`, `CLONE_NEWUSER`.
pub fn become_root() -> Result<(), IsolationError> {
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|errno| IsolationError::UserNamespace { errno, remedy: user_namespace_remedy() })?;
    let furnish = |what| move |reason| IsolationError::Furnish { what, reason };
    std::fs::write("/proc/self/setgroups", "deny").map_err(furnish("give up setgroups"))?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(furnish("map the user"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(furnish("map the group"))
}

/// The sysctl that forbids user namespaces, when one does.
fn user_namespace_remedy() -> &'static str {
    let reads = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    if reads("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
        ", or allow them: sysctl -w kernel.unprivileged_userns_clone=1"
    } else if reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
        ", or allow them: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    } else if reads("/proc/sys/user/max_user_namespaces") == "0" {
        ", or allow them: sysctl -w user.max_user_namespaces=15000"
    } else {
        ""
    }
}

/// The mount namespace of the process's first thread.
fn mount_namespace() -> Result<String, IsolationError> {
    let link = std::fs::read_link("/proc/self/ns/mnt");
    let link = link.map_err(|reason| IsolationError::Furnish { what: "read /proc/self/ns/mnt", reason })?;
    Ok(link.to_string_lossy().into_owned())
}

/// Starts this program again as process 1 of namespaces of its own: `arguments`, then this process's mount
/// namespace. Standard input and output are pipes; the first line of input is the process's id as seen from here.
///
/// Must be called in a thread that lives until the child ends, because the child dies with it; the thread has left
/// the host's namespaces afterwards.
pub fn start(arguments: &[String]) -> Result<Child, IsolationError> {
    let host = mount_namespace()?;
    let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID;
    unshare(flags).map_err(|errno| match user_namespace_remedy() {
        // Some systems let anyone make a user namespace, but take every capability away inside it.
        remedy if in_user_namespace() && !remedy.is_empty() => {
            IsolationError::UserNamespace { errno, remedy }
        }
        _ => IsolationError::Namespaces(errno),
    })?;
    let mut child = Command::new("/proc/self/exe")
        .arg0("sim")
        .args(arguments)
        .arg(host)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(IsolationError::Start)?;
    let id = child.id();
    if let Some(stdin) = &mut child.stdin {
        writeln!(stdin, "{id}").map_err(IsolationError::Start)?;
    }
    Ok(child)
}

/// Whether root here is somebody else outside: `user_namespaces(7)`, "0 0 4294967295" is the map of the first one.
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
}

/// What the process that started this one has to say.
pub struct Parent {
    /// This process's id, as seen from outside.
    pub own_id: u32,
    /// Whether a user namespace had to be made, too.
    pub in_user_namespace: bool,
    /// Lines that the parent passes on; nothing more comes when it is gone, but then neither does this process
    /// live.
    pub lines: Receiver<String>,
}

/// The first thing that the started process does: it ties its life to its parent's and furnishes its namespaces
/// (private mounts, its own `/proc`, an empty `/run`).
///
/// Refuses to touch the mounts of `host`, the mount namespace of the parent.
pub fn settle_in(host: &str) -> Result<Parent, IsolationError> {
    if std::process::id() != 1 || mount_namespace()? == host {
        return Err(IsolationError::NotIsolated);
    }
    let furnish = |what| move |errno: Errno| IsolationError::Furnish { what, reason: errno.into() };
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(furnish("tie its life to its parent's"))?;
    let mut input = BufReader::new(std::io::stdin());
    let mut first = String::new();
    input.read_line(&mut first).map_err(IsolationError::Start)?;
    let own_id = first.trim().parse().ok().ok_or(IsolationError::NotIsolated)?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in input.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
        // The parent is gone: so is the reason to be here.
        std::process::exit(2);
    });
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .map_err(furnish("make all mounts private"))?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), nothing).map_err(furnish("mount /proc"))?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), nothing).map_err(furnish("mount /run"))?;
    Ok(Parent { own_id, in_user_namespace: in_user_namespace(), lines })
}
