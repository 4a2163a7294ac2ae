//! What the driver finds out about the kernel, against what the kernel says to nft.

use std::io::Write as _;
use std::process::{Command, Stdio};

use driver_nft::{Capabilities, Capability, NftError, Support};
use nix::errno::Errno;
use test_case::test_case;

use crate::netns::{in_new_namespace, nft};

/// Whether nft can load a table with these lines.
fn loads(lines: &str) -> bool {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run nft ({error}): install the package `nftables`"));
    let mut input = child.stdin.take().expect("stdin is a pipe");
    writeln!(input, "table bridge t {{\n{lines}\n}}").expect("nft reads its input");
    drop(input);
    child.wait().expect("nft ends").success()
}

#[test_case(Capability::BridgeConntrack, "chain c { ct state established accept; ct zone set 7; }"; "bridge conntrack")]
#[test_case(Capability::DynamicSets, "set s { type iface_index; flags dynamic,timeout; timeout 1s; }\n\
    chain c { update @s { iif } ; }"; "dynamic sets")]
#[test_case(Capability::FrameLog, "chain c { limit rate 1/second log group 7; }"; "frame log")]
#[test_case(Capability::Ibrname, "chain c { meta ibrname \"br0\" accept; }"; "ibrname")]
#[test_case(Capability::Reject, "chain c { reject; }"; "reject")]
fn nft_finds_the_same(capability: Capability, lines: &str) {
    in_new_namespace(|| {
        let found = Capabilities::probe().expect("the kernel takes a table").of(capability);
        assert_eq!(found.is_present(), loads(lines), "{capability} is {found}");
    });
}

#[test]
fn a_chain_goes_with_the_last_element_that_leads_to_it_as_nft_says() {
    in_new_namespace(|| {
        let found = Capabilities::probe().expect("the kernel takes a table").of(Capability::ChainDeletion);
        assert!(loads("chain c { }\nmap m { type iface_index : verdict; elements = { 1 : goto c }; }"));
        let deletion = "delete element bridge t m { 1 }\ndelete chain bridge t c\n";
        let mut child = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("nft runs");
        child.stdin.take().expect("a pipe").write_all(deletion.as_bytes()).expect("nft reads its input");
        assert_eq!(found.is_present(), child.wait().expect("nft ends").success(), "{found}");
    });
}

#[test]
fn trying_leaves_nothing_behind_and_other_tables_alone() {
    in_new_namespace(|| {
        nft(&["-f", "-"], "table bridge mnp-nft-bridge-trial { chain trial { counter; }; }\n");
        let before = nft(&["list", "ruleset"], "");
        let capabilities = Capabilities::probe().expect("the kernel takes a table");
        assert_eq!(nft(&["list", "ruleset"], ""), before);
        assert_eq!(Capabilities::probe().expect("a second time"), capabilities);
    });
}

#[test]
fn without_privilege_the_error_says_what_to_do() {
    in_new_namespace(|| {
        caps::clear(None, caps::CapSet::Effective).expect("privileges can be given up");
        let error = Capabilities::probe().expect_err("without privilege there are no tables");
        assert!(matches!(error, NftError::Request { errno: Errno::EPERM, .. }), "another error: {error:?}");
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    });
}

#[test]
fn what_is_missing_is_said_with_the_kernels_reason() {
    assert_eq!(Support::Missing(Errno::EPROTO).to_string(), "missing: protocol error");
    assert_eq!(Support::Present.to_string(), "present");
}
