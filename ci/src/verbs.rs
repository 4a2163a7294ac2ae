//! What each verb does.

use std::env;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::cli::{
    Bench, Campaign, Chart, Cli, Cluster, Coverage, Demo, Endure, Fmt, Fuzz, Image, Packages, Verb,
};
use crate::metadata::Metadata;
use crate::packages::Purpose;
use crate::program::{Program, find, search_path};
use crate::steps::{self, Step};
use crate::{
    arrows, bench, chart, cluster, coverage, declared, envtest, house, image, licences, metadata, packages,
    privilege, toolchain, vm,
};

/// Everything the pipeline checks, the quick ones first.
const TEST: [Step; 15] = [
    Step { name: "packages", run: || packages::ensure(Purpose::Tests) },
    Step { name: "privilege", run: privilege::ensure },
    Step { name: "toolchain", run: toolchain::ensure },
    Step { name: "form", run: check_form },
    Step { name: "house rules", run: house_rules },
    Step { name: "arrows", run: check_arrows },
    Step { name: "licences", run: check_licences },
    Step { name: "clippy", run: clippy },
    Step { name: "documentation", run: documentation },
    Step { name: "core on bare metal", run: bare_metal },
    Step { name: "tests", run: tests },
    Step { name: "chart", run: || chart::test(&[]) },
    Step { name: "scenarios", run: survey },
    Step { name: "endurance", run: || endure("dev", &["--deeds=40".to_owned(), "--patience=4".to_owned()]) },
    Step { name: "cluster", run: cluster::core_set },
];

/// Runs the verb.
///
/// # Errors
/// What went wrong, in one sentence.
pub(crate) fn run(cli: Cli) -> Result<()> {
    // Named by the caller from where the caller is; everything else is named from the workspace's root.
    let from = env::current_dir().context("cannot tell the current directory")?;
    env::set_current_dir(metadata::workspace_root()?).context("cannot enter the workspace's root")?;
    match cli.verb {
        Verb::Bench(Bench { names, arguments }) => bench::run(&names, &arguments),
        Verb::Bless => bless(),
        Verb::Campaign(Campaign { arguments }) => campaign(&arguments),
        Verb::Cluster(Cluster { arguments }) => cluster::run(&arguments),
        Verb::Chart(Chart { arguments }) => chart::test(&arguments),
        Verb::Coverage(Coverage { html }) => coverage::run(html),
        Verb::Demo(Demo { directory }) => match directory {
            Some(directory) => demo(&from.join(directory)),
            None => demo(Path::new("scenarios/demo")),
        },
        Verb::Deny => deny(),
        Verb::Deps => {
            check_arrows()?;
            check_licences()
        }
        Verb::Endure(Endure { arguments }) => endure("release", &arguments),
        Verb::Envtest => envtest::show(),
        Verb::Fmt(Fmt { check: true }) => check_form(),
        Verb::Fmt(Fmt { check: false }) => Program::cargo().args(["fmt", "--all"]).run(),
        Verb::Fuzz(Fuzz { arguments }) => fuzz(&arguments),
        Verb::Image(Image { cluster }) => image::run(cluster),
        Verb::Lint => {
            house_rules()?;
            clippy()?;
            documentation()
        }
        Verb::Packages(Packages { list: true, purpose }) => crate::say(packages::missing(purpose).join(" ")),
        Verb::Packages(Packages { list: false, purpose }) => packages::ensure(purpose),
        Verb::Test => steps::run(&TEST, &mut std::io::stdout()),
        Verb::Vm(options) => vm::run(&options, &from),
    }
}

/// The tests that compare with the golden texts write them instead.
fn bless() -> Result<()> {
    Program::cargo()
        .args(["test", "--locked", "--package", "policy-core", "--test", "it", "golden"])
        .env("BLESS", "1")
        .run()
}

/// With optimization, and with every check of arithmetic, like a search for hostile inputs.
fn campaign(arguments: &[String]) -> Result<()> {
    Program::cargo()
        .args(["run", "--quiet", "--locked", "--profile", "fuzz", "--package", "node-sim", "--"])
        .args(arguments)
        .run()
}

/// The agent is a program of its own: it must be there, and be the one of these sources.
fn endure(profile: &str, arguments: &[String]) -> Result<()> {
    let chosen = ["--locked", "--profile", profile, "--package"];
    Program::cargo().args(["build"]).args(chosen).args(["mnp-nft-bridge"]).run()?;
    Program::cargo()
        .args(["run", "--quiet"])
        .args(chosen)
        .args(["sim", "--bin", "sim", "--", "endure"])
        .args(arguments)
        .run()
}

/// Fast, and with every check of arithmetic: a search is as good as the number of inputs that it tries.
fn fuzz(arguments: &[String]) -> Result<()> {
    Program::cargo()
        .args(["run", "--quiet", "--locked", "--profile", "fuzz", "--package", "fuzz", "--"])
        .args(arguments)
        .run()
}

fn demo(directory: &Path) -> Result<()> {
    packages::ensure(Purpose::Demo)?;
    // Built apart, so that a first build is seen and the demonstration itself starts on a clean line.
    Program::cargo().args(["build", "--locked", "--package", "sim", "--bin", "sim"]).run()?;
    Program::cargo()
        .args(["run", "--quiet", "--locked", "--package", "sim", "--bin", "sim", "--", "demo"])
        .args([directory])
        .run()
}

fn deny() -> Result<()> {
    if find("cargo-deny", &search_path()).is_none() {
        bail!("cargo-deny is not installed: run `cargo install --locked cargo-deny`");
    }
    Program::cargo().args(["deny", "--locked", "--config", "ci/deny.toml", "check"]).run()
}

fn check_form() -> Result<()> {
    Program::cargo().args(["fmt", "--all", "--", "--check"]).run()
}

fn house_rules() -> Result<()> {
    house::check(Path::new("."))
}

fn check_arrows() -> Result<()> {
    let metadata = Metadata::read_workspace()?;
    arrows::check(&metadata)?;
    declared::check(&metadata)
}

fn check_licences() -> Result<()> {
    licences::check()
}

fn clippy() -> Result<()> {
    Program::cargo()
        .args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--locked",
            "--",
            "-D",
            "warnings",
        ])
        .run()
}

/// For whoever works on the code, so private items are documented too, and may be linked to.
fn documentation() -> Result<()> {
    Program::cargo()
        .args(["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links")
        .run()
}

fn bare_metal() -> Result<()> {
    Program::cargo()
        .args(["build", "--locked", "--package", "policy-core", "--lib", "--target", toolchain::BARE_METAL])
        .run()
}

/// One failing test hides no other: all of them run, then the step fails.
fn tests() -> Result<()> {
    let cargo = Program::cargo().args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    privilege::as_root(cargo)?.run()
}

/// The tests ran every scenario; which of them sent no packets, for want of something in this kernel, is said here.
fn survey() -> Result<()> {
    Program::cargo()
        .args(["run", "--quiet", "--locked", "--package", "sim", "--bin", "sim", "--", "survey"])
        .args(vm::all_scenarios()?)
        .run_briefly("cargo run --package sim -- survey scenarios/*/*.yaml")
}
