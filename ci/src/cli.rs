//! The command line: verbs, options and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::packages::Purpose;
use crate::vm::Series;

/// The one door to every tool of the project.
#[derive(Debug, Parser)]
#[command(
    name = "cargo ci",
    bin_name = "cargo ci",
    disable_help_subcommand = true,
    after_help = "Examples:\n  \
        cargo ci demo        see a policy take effect on a real bridge\n  \
        cargo ci test        everything the pipeline checks\n  \
        cargo ci fmt         put the sources in form before a commit"
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What `cargo ci` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the benchmarks, all of them or those named.
    Bench(Bench),
    /// Write the core's golden texts anew, after a change that was meant.
    #[command(after_help = "Example:\n  \
        cargo ci bless && git diff core/tests/golden    see what the change does to whole rulesets")]
    Bless,
    /// Simulate a node with every fault it may meet, many times: `cargo ci campaign --help` says more.
    #[command(disable_help_flag = true)]
    Campaign(Campaign),
    /// Test the Helm chart: what it renders, and that its defaults are the manifests.
    #[command(after_help = "Examples:\n  \
        cargo ci chart\n  \
        cargo ci chart defaults    only the tests with this in their name\n\n\
        Helm is the one that HELM names, else the installed one, else built once with Go into the user's cache (three \
        minutes on two cores). kubectl comes from `cargo ci envtest`.")]
    Chart(Chart),
    /// Run the agent's tests against a real Kubernetes API server, and every scenario through one.
    #[command(after_help = "Examples:\n  \
        cargo ci cluster\n  \
        cargo ci cluster api_server_is_away    only the tests with this in their name\n\n\
        It takes its time for faults of the network, of which `cargo ci test` makes a part. \
        The control plane's programs are built once, see `cargo ci envtest`.")]
    Cluster(Cluster),
    /// Measure how much of the core its tests reach, and fail when that is too little.
    #[command(after_help = "Examples:\n  \
        cargo ci coverage           the table of files\n  \
        cargo ci coverage --html    also pages with every line: target/llvm-cov/html/index.html\n\n\
        Needs cargo-llvm-cov; not part of `cargo ci test`.")]
    Coverage(Coverage),
    /// Show a policy taking effect: pods on a bridge, who reaches whom before and after.
    #[command(after_help = "Examples:\n  \
        cargo ci demo\n  \
        cargo ci demo scenarios/demo\n\n\
        Works as root and as any user who may make user namespaces. The host's own network is not touched.")]
    Demo(Demo),
    /// Check advisories, licences and sources of the dependencies with cargo-deny.
    #[command(after_help = "Reads ci/deny.toml. `cargo ci test` checks the licences without cargo-deny.")]
    Deny,
    /// Check who may depend on whom, and under which licences.
    Deps,
    /// Put the real agent to the test on this kernel, with traffic: `cargo ci endure --help` says more.
    #[command(disable_help_flag = true)]
    Endure(Endure),
    /// Find or build the programs of a control plane: etcd, kube-apiserver, kubectl.
    #[command(after_help = "Example:\n  \
        eval \"$(cargo ci envtest)\"    for tools that read KUBEBUILDER_ASSETS\n\n\
        Taken from KUBEBUILDER_ASSETS, else from setup-envtest, else built with Go into the user's cache (ten minutes on \
        two cores, once per version).")]
    Envtest,
    /// Put the sources in form.
    #[command(
        after_help = "Examples:\n  cargo ci fmt            rewrite\n  cargo ci fmt --check    only look"
    )]
    Fmt(Fmt),
    /// Search for inputs that hurt what reads foreign text: `cargo ci fuzz --help` says more.
    #[command(disable_help_flag = true)]
    Fuzz(Fuzz),
    /// Build the agent's image for all architectures, show what is in it, and run it.
    #[command(after_help = "Examples:\n  \
        cargo ci image              target/image/mnp-nft-bridge-VERSION.oci.tar, for linux/amd64 and linux/arm64\n  \
        cargo ci image --cluster    the image also follows a real API server, as in its pod\n\n\
        Needs no daemon and pulls nothing. The same commit gives the same bytes; SOURCE_DATE_EPOCH replaces the \
        commit's time.")]
    Image(Image),
    /// Check the house rules, clippy and the documentation.
    Lint,
    /// Make sure the Debian packages that the tests and the demo need are there.
    #[command(after_help = "Examples:\n  \
        cargo ci packages           install as root; else print the command and fail\n  \
        cargo ci packages --list    print the names of the missing ones, change nothing")]
    Packages(Packages),
    /// Check everything the pipeline checks: packages, form, lints, arrows, documentation, tests, scenarios.
    #[command(after_help = "Example:\n  \
        cargo ci test\n\n\
        Stops at the first step that fails. As root it installs missing Debian packages; otherwise it prints the \
        apt-get line and stops.")]
    Test,
    /// Run scenarios with packets on Debian's kernels, in a virtual machine.
    #[command(after_help = "Examples:\n  \
        cargo ci vm                                   all scenarios, on each series of kernels\n  \
        cargo ci vm --kernel 6.12 FILE                one scenario, on the newest kernel of one series\n  \
        cargo ci vm --state sets                      all of them without the kernel's conntrack\n  \
        cargo ci vm --kernel 6.1 -- nft --version     any command\n\n\
        Needs no KVM. Kernels are downloaded as Debian packages, unpacked into target/vm and stay there; remove that \
        directory to get newer ones.")]
    Vm(Vm),
}

/// Options of `chart`.
#[derive(Debug, Args)]
pub(crate) struct Chart {
    /// Arguments for the test program, such as a part of a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

/// Options of `cluster`.
#[derive(Debug, Args)]
pub(crate) struct Cluster {
    /// Arguments for the test program, such as a part of a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

/// Options of `campaign`: those of the program in `sim/node`.
#[derive(Args, Debug)]
pub(crate) struct Campaign {
    /// What the program is told.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

/// Options of `endure`: those of `sim endure`.
#[derive(Args, Debug)]
pub(crate) struct Endure {
    /// What the program is told.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

/// Options of `bench`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    cargo ci bench\n  \
    cargo ci bench NAME\n  \
    cargo ci bench NAME -- --quick    what follows -- goes to the benchmark")]
pub(crate) struct Bench {
    /// Names of benchmark targets; without any, all of them run.
    pub(crate) names: Vec<String>,
    /// Arguments for the benchmark programs.
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

/// Options of `coverage`.
#[derive(Args, Debug)]
pub(crate) struct Coverage {
    /// Also write pages that show every line.
    #[arg(long)]
    pub(crate) html: bool,
}

/// Options of `demo`.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Directory of the demonstration [default: scenarios/demo].
    pub(crate) directory: Option<PathBuf>,
}

/// Options of `fmt`.
#[derive(Args, Debug)]
pub(crate) struct Fmt {
    /// Change nothing; fail if something is out of form.
    #[arg(long)]
    pub(crate) check: bool,
}

/// Options of `fuzz`: those of the program in `ci/fuzz`.
#[derive(Args, Debug)]
pub(crate) struct Fuzz {
    /// What the program is told.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

/// Options of `image`.
#[derive(Args, Debug)]
pub(crate) struct Image {
    /// Run the image against a real API server too: needs the programs of `cargo ci envtest`.
    #[arg(long)]
    pub(crate) cluster: bool,
}

/// Options of `packages`.
#[derive(Args, Debug)]
pub(crate) struct Packages {
    /// Print the names of the missing packages on one line and change nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// What they are needed for.
    #[arg(long = "for", value_name = "PURPOSE", value_enum, default_value_t = Purpose::Tests)]
    pub(crate) purpose: Purpose,
}

/// Options of `vm`.
#[derive(Args, Debug)]
pub(crate) struct Vm {
    /// Scenario files; all of them when there are none.
    #[arg(conflicts_with = "command")]
    pub(crate) files: Vec<PathBuf>,
    /// Series of kernels, such as 6.1,6.12 [default: both].
    #[arg(long, value_delimiter = ',')]
    pub(crate) kernel: Vec<Series>,
    /// Start from a saved machine that has booted already; it is saved when there is none.
    #[arg(long)]
    pub(crate) snapshot: bool,
    /// How many times longer than on this machine a probe may take.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) patience: u32,
    /// Run what is built with optimization.
    #[arg(long)]
    pub(crate) release: bool,
    /// End a machine after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub(crate) limit: u64,
    /// What follows connections in the scenarios; auto is the kernel's conntrack, which these kernels have.
    #[arg(long, value_name = "auto|conntrack|sets", default_value = "auto", value_parser = ["auto", "conntrack", "sets"])]
    pub(crate) state: String,
    /// A command to run instead of scenarios; its exit status is that of this program.
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_says_what_it_does() {
        for verb in Cli::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "`{}` has no help", verb.get_name());
        }
    }
}
