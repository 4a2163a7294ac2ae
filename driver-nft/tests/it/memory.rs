//! A kernel that has no memory left for a set.

use std::fs;
use std::path::{Path, PathBuf};

use driver_nft::NftKernel;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;
use policy_core::model::{NamespaceScope, Peer, Selector};
use policy_core::{Input, Kernel as _, Outcome, Time, pump};

use crate::limits::with_one_policy;
use crate::netns::in_new_namespace;

/// More than the table of a few pods takes, and less than a set of a hundred thousand peers.
const BYTES: &str = "2M";

/// Bounds what the kernel takes for this thread: a memory group of version 1, in which single threads can be, and in which who
/// asks for too much is told so instead of being killed (`admin-guide/cgroup-v1/memory.rst`, 10. OOM Control).
struct Purse {
    group: PathBuf,
    root: PathBuf,
}

impl Purse {
    /// A bound for this thread, in a mount namespace of its own. `None` where all memory groups are of version 2, in which there
    /// are only whole processes.
    fn new() -> Option<Self> {
        let nothing: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace of its own: run these tests as root");
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).expect("private mounts");
        let root = PathBuf::from("/mnt");
        match mount(Some("memory"), &root, Some("cgroup"), MsFlags::empty(), Some("memory")) {
            Err(Errno::EBUSY | Errno::EINVAL | Errno::ENODEV) => return None,
            mounted => mounted.expect("the memory groups can be mounted"),
        }
        let group = root.join(format!("mnp-nft-bridge-{}", std::process::id()));
        fs::create_dir(&group).expect("a memory group");
        let purse = Self { group, root };
        write(&purse.group.join("memory.oom_control"), "1");
        write(&purse.group.join("memory.limit_in_bytes"), BYTES);
        Some(purse)
    }

    fn enter(&self) {
        write(&self.group.join("tasks"), &gettid().to_string());
    }

    fn leave(&self) {
        write(&self.root.join("tasks"), &gettid().to_string());
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        self.leave();
        drop(fs::remove_dir(&self.group));
    }
}

fn write(file: &Path, text: &str) {
    fs::write(file, text)
        .unwrap_or_else(|error| panic!("cannot write {text} to {}: {error}", file.display()));
}

#[test]
fn a_kernel_without_memory_for_a_set_keeps_what_it_had_until_there_is_some() {
    in_new_namespace(|| {
        let Some(purse) = Purse::new() else {
            println!("not tried: this system has memory groups of version 2 only");
            return;
        };
        let mut kernel = NftKernel::open().unwrap();
        let everybody = Peer::Pods {
            namespaces: NamespaceScope::Matching(Selector::default()),
            pods: Selector::default(),
        };
        let mut few = with_one_policy(10, core::slice::from_ref(&everybody));
        pump(&mut few, &mut kernel, Time::default());
        assert!(few.is_settled());
        let before = kernel.observe().unwrap();

        let mut many = with_one_policy(100_001, &[everybody]);
        purse.enter();
        let outcomes = pump(&mut many, &mut kernel, Time::default());
        purse.leave();
        let [Outcome::Refused(transaction, error)] = &outcomes[..] else {
            panic!("{} outcomes", outcomes.len())
        };
        assert_eq!(error.errno(), Some(Errno::ENOMEM), "{error}");
        // Which operation lacked memory the kernel does not say: it answers for the transaction (`nfnetlink_rcv_batch`).
        println!("{} operations: {error}", transaction.ops.len());
        assert!(kernel.observe().unwrap() == before, "the last enforcement is not what it was");

        let (retry, _) = many.poll_timeout().expect("it is tried again");
        many.handle_input(Input::Tick, retry);
        let outcomes = pump(&mut many, &mut kernel, retry);
        assert!(matches!(outcomes[..], [Outcome::Committed(_)]), "{} outcomes", outcomes.len());
        assert!(kernel.observe().unwrap() == *many.desired());
    });
}
