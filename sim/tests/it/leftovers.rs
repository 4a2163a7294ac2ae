//! However a run ends, nothing of it is left.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_case::test_case;

use crate::host;
use crate::running::{GOOD, TemporaryFile, ended, sim};

/// A run whose namespaces stay until Enter is pressed.
struct Kept {
    child: Child,
    errors: ChildStderr,
    isolated: u32,
    /// The command that enters the node.
    hint: String,
}

/// Starts a run that waits, and returns when it does.
fn kept(file: &TemporaryFile) -> Kept {
    let mut command = sim(["run", "--arm", "netns", "--keep"]);
    command.arg(file.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("sim starts");
    let errors = child.stderr.take().expect("it was piped");
    let out = BufReader::new(child.stdout.as_mut().expect("it was piped"));
    let hint = out.lines().map_while(Result::ok).find(|line| line.contains("nsenter --target"));
    let hint = hint.expect("it says how to enter");
    let isolated = hint.split_whitespace().nth(2).and_then(|id| id.parse().ok()).expect("it names a process");
    Kept { child, errors, isolated, hint }
}

/// Every process of the run holds the standard error stream: it ends when the last of them does.
fn wait_for_the_last_process(mut errors: ChildStderr) -> String {
    let mut text = String::new();
    errors.read_to_string(&mut text).expect("it is UTF-8");
    text
}

#[test_case(Signal::SIGINT, "int"; "interrupted")]
#[test_case(Signal::SIGTERM, "term"; "asked to end")]
#[test_case(Signal::SIGKILL, "kill"; "killed")]
fn a_run_that_is_ended_from_outside_leaves_nothing_behind(signal: Signal, name: &str) {
    let file = TemporaryFile::new(&format!("{name}.yaml"), GOOD);
    let before = host::network();
    let Kept { mut child, errors, isolated, hint } = kept(&file);
    let look =
        Command::new("sh").args(["-c", &format!("{hint} nft list tables")]).output().expect("sh is there");
    assert_eq!(String::from_utf8_lossy(&look.stdout), "table bridge mnp-nft-bridge\n", "{hint}: {look:?}");
    assert!(
        inside(isolated).contains(&"node:node-1".to_owned()),
        "the namespaces are there before the signal"
    );
    let id = Pid::from_raw(child.id().try_into().expect("a process id"));
    kill(id, signal).expect("it is our child");
    assert!(!child.wait().expect("it is our child").success());
    wait_for_the_last_process(errors);
    assert_eq!(inside(isolated), Vec::<String>::new(), "the namespaces are gone with their process");
    assert_eq!(host::network(), before);
}

/// The network namespaces that process `id` sees; none when it is gone.
fn inside(id: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{id}/root/run/netns")).into_iter().flatten();
    entries.map_while(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect()
}

#[test]
fn a_kept_run_can_be_entered_and_ends_with_enter() {
    let file = TemporaryFile::new("enter.yaml", GOOD);
    let before = host::network();
    let Kept { mut child, errors, isolated, hint } = kept(&file);
    let look =
        Command::new("sh").args(["-c", &format!("{hint} nft list tables")]).output().expect("sh is there");
    assert_eq!(String::from_utf8_lossy(&look.stdout), "table bridge mnp-nft-bridge\n", "{hint}: {look:?}");
    let mut input = child.stdin.take().expect("it was piped");
    std::io::Write::write_all(&mut input, b"\n").expect("it reads");
    assert!(child.wait().expect("it is our child").success());
    assert_eq!(wait_for_the_last_process(errors), "");
    assert_eq!(inside(isolated), Vec::<String>::new());
    assert_eq!(host::network(), before);
}

/// Where anybody may make a user namespace, no privilege is needed; elsewhere the sentence says what is.
#[test]
fn an_ordinary_user_can_run_scenarios_or_is_told_what_to_do() {
    let file = TemporaryFile::new("ordinary.yaml", GOOD);
    // The target directory may be out of an ordinary user's reach.
    let program = std::env::temp_dir().join(format!("sim-test-{}-program", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_sim"), &program).expect("there is room for a copy");
    let as_ordinary_user = |arguments: &[&str]| {
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        let mut command = if nix::unistd::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(nobody).args(arguments);
            command
        } else {
            let mut command = Command::new(arguments[0]);
            command.args(&arguments[1..]);
            command
        };
        command.current_dir("/").stdin(Stdio::null());
        command
    };
    let allowed = as_ordinary_user(&["unshare", "--user", "--map-root-user", "--net", "true"]).status();
    let allowed = allowed.expect("unshare is there").success();
    let program_name = program.to_str().expect("a plain name");
    let run = ended(as_ordinary_user(&[program_name, "run", "--arm", "netns"]).arg(file.path()));
    std::fs::remove_file(&program).expect("it is there");
    if allowed {
        assert_eq!(run.status, Some(0), "{}{}", run.out, run.err);
    } else {
        assert_eq!(run.status, Some(2), "{}{}", run.out, run.err);
        assert!(run.err.contains("run it with sudo"), "{}", run.err);
    }
}
