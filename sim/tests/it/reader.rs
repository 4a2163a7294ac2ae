//! An independent reader of the kernel's tables: `rustables`, which shares nothing with our driver or with `nft`.

use alloc::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use nix::sched::{CloneFlags, setns};
use rustables::{list_chains_for_table, list_tables};

use crate::running::{GOOD, TemporaryFile, sim};

/// The tables of a network namespace with their base chains: `family table: chain at hook`.
fn tables(namespace: File) -> BTreeSet<String> {
    let list = move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("reading tables takes root: sudo -E cargo test");
        let mut found = BTreeSet::new();
        for table in list_tables().expect("tables can be listed") {
            // Its accessor for the family is not public; its debug form says it.
            let bridge = format!("{table:?}").contains("family: Bridge");
            let family = if bridge { "bridge" } else { "other" };
            let name = format!("{family} {}", table.get_name().expect("tables have names"));
            found.insert(name.clone());
            for chain in list_chains_for_table(&table).expect("chains can be listed") {
                if let Some(hook) = chain.get_hook() {
                    let chain = chain.get_name().expect("chains have names");
                    let at = hook.get_class().expect("base chains have hooks");
                    found.insert(format!("{name}: {chain} at hook {at}"));
                }
            }
        }
        found
    };
    // The thread enters the namespace, and ends there.
    std::thread::spawn(list).join().expect("the reader does not panic")
}

fn tables_of_the_host() -> BTreeSet<String> {
    tables(File::open("/proc/self/ns/net").expect("this is Linux"))
}

#[test]
fn one_table_with_its_base_chains_is_there_during_a_run_and_nowhere_else() {
    let file = TemporaryFile::new("reader.yaml", GOOD);
    let before = tables_of_the_host();
    let mut run = sim(["run", "--arm", "netns", "--keep"])
        .arg(file.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sim starts");
    let mut lines = BufReader::new(run.stdout.take().expect("it was piped")).lines().map_while(Result::ok);
    let hint = lines.find(|line| line.contains("nsenter") && line.contains("node:node-1"));
    let hint = hint.expect("it says how to enter the node");
    let id = hint.split_whitespace().nth(2).expect("it names a process");
    let namespace = |name: &str| {
        File::open(format!("/proc/{id}/root/run/netns/{name}"))
            .expect("reading tables takes root: sudo -E cargo test")
    };
    // Hook numbers of the bridge family: uapi/linux/netfilter_bridge.h.
    let ours = [
        "bridge mnp-nft-bridge",
        "bridge mnp-nft-bridge: forward at hook 2",
        "bridge mnp-nft-bridge: fragments-forward at hook 2",
        "bridge mnp-nft-bridge: fragments-output at hook 3",
        "bridge mnp-nft-bridge: fragments-prerouting at hook 0",
        "bridge mnp-nft-bridge: output at hook 3",
        "bridge mnp-nft-bridge: prerouting at hook 0",
    ];
    assert_eq!(tables(namespace("node:node-1")), BTreeSet::from(ours.map(str::to_owned)));
    assert_eq!(tables(namespace("one")), BTreeSet::new(), "pods' namespaces are not touched");
    assert_eq!(tables_of_the_host(), before, "the host's tables are not touched");
    run.stdin.take().expect("it was piped").write_all(b"\n").expect("it reads");
    assert!(run.wait().expect("it is our child").success());
    assert_eq!(tables_of_the_host(), before);
}
