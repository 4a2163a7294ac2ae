//! The filter of system calls that container engines put in front of a pod whose profile is `RuntimeDefault`.
//!
//! The profile is that of the engines of the containers project (CRI-O, podman), from the Debian package that ships it;
//! containerd's has the same ancestor. What is refused is refused here as there; only the error number is the default
//! one also where the profile names another.

use alloc::collections::BTreeMap;
use std::fs;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use serde::Deserialize;
use syscalls::Sysno;

/// Where the profile is (package `golang-github-containers-common`).
const PROFILE: &str = "/usr/share/containers/seccomp.json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_errno_ret: u32,
    syscalls: Vec<Entry>,
}

/// What to do with some system calls.
#[derive(Deserialize)]
struct Entry {
    names: Vec<String>,
    action: String,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Circumstances,
    #[serde(default)]
    excludes: Circumstances,
}

/// A condition on an argument.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    value_two: u64,
    op: String,
}

/// When an entry counts.
#[derive(Default, Deserialize)]
struct Circumstances {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

/// The filter for a container with these capabilities, such as `NET_ADMIN`.
pub(crate) fn filter(capabilities: &[String]) -> BpfProgram {
    let text = fs::read_to_string(PROFILE).unwrap_or_else(|error| {
        panic!("{PROFILE}: {error}: install the package golang-github-containers-common, or run `cargo ci packages`")
    });
    let profile: Profile = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{PROFILE}: {error}"));
    let mut allowed: BTreeMap<i64, Vec<Vec<SeccompCondition>>> = BTreeMap::new();
    for entry in profile.syscalls.iter().filter(|entry| entry.counts(capabilities)) {
        let conditions: Vec<SeccompCondition> =
            entry.args.iter().flatten().map(Argument::condition).collect();
        // A system call of another architecture has no number here.
        for call in entry.names.iter().filter_map(|name| name.parse::<Sysno>().ok()) {
            allowed.entry(call.id().into()).or_default().push(conditions.clone());
        }
    }
    let rules = allowed.into_iter().map(|(call, alternatives)| {
        // No rule at all means that the call is allowed whatever its arguments are.
        let always = alternatives.iter().any(Vec::is_empty);
        let rules = alternatives.into_iter().filter(|_| !always);
        (call, rules.map(|conditions| SeccompRule::new(conditions).expect("there are conditions")).collect())
    });
    let architecture = TargetArch::try_from(std::env::consts::ARCH).expect("an architecture with filters");
    let otherwise = SeccompAction::Errno(profile.default_errno_ret);
    SeccompFilter::new(rules.collect(), otherwise, SeccompAction::Allow, architecture)
        .and_then(BpfProgram::try_from)
        .expect("the profile can be expressed")
}

impl Entry {
    /// Whether it allows something to a container with these capabilities, on this architecture.
    fn counts(&self, capabilities: &[String]) -> bool {
        let has = |name: &String| capabilities.iter().any(|had| name.strip_prefix("CAP_") == Some(had));
        let here = |arch: &String| match std::env::consts::ARCH {
            "x86_64" => arch == "amd64",
            "aarch64" => arch == "arm64",
            other => arch == other,
        };
        self.action == "SCMP_ACT_ALLOW"
            && self.includes.caps.iter().all(has)
            && !self.excludes.caps.iter().any(has)
            && (self.includes.arches.is_empty() || self.includes.arches.iter().any(here))
            && !self.excludes.arches.iter().any(here)
    }
}

impl Argument {
    fn condition(&self) -> SeccompCondition {
        let (op, value) = match self.op.as_str() {
            "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, self.value),
            "SCMP_CMP_NE" => (SeccompCmpOp::Ne, self.value),
            "SCMP_CMP_GE" => (SeccompCmpOp::Ge, self.value),
            "SCMP_CMP_GT" => (SeccompCmpOp::Gt, self.value),
            "SCMP_CMP_LE" => (SeccompCmpOp::Le, self.value),
            "SCMP_CMP_LT" => (SeccompCmpOp::Lt, self.value),
            // seccomp_rule_add(3): the first value is the mask.
            "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(self.value), self.value_two),
            other => panic!("{PROFILE}: what is {other}?"),
        };
        SeccompCondition::new(self.index, SeccompCmpArgLen::Qword, op, value).expect("an argument's number")
    }
}
