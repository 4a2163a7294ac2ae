//! The scripts for clusters with Docker, as far as they need none.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::with_server;

/// Some that real pods can play, one that only the harness can, and one of a version that is not served.
const SCENARIOS: [&str; 5] = [
    "10-pod/recreated-with-a-new-mac.yaml",
    "20-namespace/deleted.yaml",
    "30-policy/complex.yaml",
    "00-harness/crafted-frames.yaml",
    "30-policy/of-the-newer-version.yaml",
];

#[test]
fn api_server_takes_what_scenarios_become_for_real_pods() {
    with_server("scripts", |server| {
        server.install_crds();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let programs = env::var_os("KUBEBUILDER_ASSETS").expect("the directory of kubectl");
        let before = env::var_os("PATH").expect("a search path");
        let path = [PathBuf::from(programs)].into_iter().chain(env::split_paths(&before));
        let output = Command::new(root.join("ci/kind/play.sh"))
            .arg("--check")
            .args(SCENARIOS.map(|file| format!("scenarios/{file}")))
            .env("KUBECONFIG", server.plane.admin())
            .env("PATH", env::join_paths(path).expect("directories"))
            .output()
            .expect("bash and jq are there: run `cargo ci packages`");
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}\n{errors}");
        assert_eq!(said.lines().last(), Some("3 passed, 0 failed, 2 not played"), "{said}\n{errors}");
        assert!(errors.contains("no matches for kind"), "the refusal is told: {errors}");
    });
}
