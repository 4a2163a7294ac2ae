//! An API server as the source, in a thread with a runtime of its own.

use alloc::sync::Arc;
use core::hash::BuildHasher as _;
use core::time::Duration;
use std::hash::RandomState;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use driver_kube::Options;
use driver_kube::announce::announce;
use driver_kube::events::Told;
use driver_kube::watch::{Heard, watch};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::mpsc::Receiver;
use tower::limit::RateLimitLayer;
use tracing::info;

use super::metrics::Metrics;
use super::{Content, Inbox, source};

/// How many requests are made at most within what time: more than a start needs, which makes about twenty.
const REQUESTS_MAX: u64 = 40;
const REQUESTS_WITHIN: Duration = Duration::from_secs(4);

/// How the API server is found.
pub(crate) struct Cluster {
    /// A kubeconfig file; without one, what the environment says: `KUBECONFIG`, or the pod's service account.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The first request comes at a random moment within this time, so that the agents of a cluster that start together
    /// do not ask together.
    pub(crate) start_within: Duration,
    /// How objects are converted.
    pub(crate) options: Options,
    /// The node, which Events name.
    pub(crate) node: Arc<str>,
    /// What Events are to be written about; none when nothing may be written.
    pub(crate) news: Option<Receiver<Told>>,
    /// Where is counted what happens to watches and Events.
    pub(crate) metrics: Metrics,
}

impl Cluster {
    /// Watches the cluster until the process ends.
    ///
    /// # Errors
    /// It is not known where the API server is. That it does not answer is no error: it is waited for.
    pub(crate) fn watch(self, inbox: Inbox) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let config = runtime.block_on(config(self.kubeconfig.as_deref()))?;
        info!(server = %config.cluster_url, "watching the API server");
        let start_after = random_part(self.start_within);
        source("cluster", inbox, move |inbox| {
            runtime.block_on(async {
                let connect = || connect(config.clone());
                let cannot = "cannot prepare to talk to the API server";
                let client = connect().context(cannot)?;
                if let Some(news) = self.news {
                    let metrics = self.metrics.clone();
                    let counted = move |outcome| metrics.event(outcome);
                    // The task ends with the runtime.
                    // Another client: watches do not wait for Events.
                    drop(tokio::spawn(announce(connect().context(cannot)?, self.node, news, counted)));
                }
                let listener = |heard| match heard {
                    Heard::Input(input) => inbox.input(input),
                    Heard::Interrupted(kind) => {
                        self.metrics.interrupted(kind);
                        true
                    }
                    Heard::Problems(object, problems) => inbox.send(Content::Problems(object, problems)),
                };
                watch(client, connect, self.options, start_after, listener).await;
                Ok(())
            })
        })
    }
}

async fn config(kubeconfig: Option<&Path>) -> Result<Config> {
    let Some(file) = kubeconfig else {
        return Config::infer()
            .await
            .context("cannot find the API server: set KUBECONFIG or --kubeconfig, or run in a pod");
    };
    let cannot = || format!("cannot use {}", file.display());
    let kubeconfig = Kubeconfig::read_from(file).with_context(cannot)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.with_context(cannot)
}

/// A client that does not ask too often. The library begins a watch that ends as if it were complete again at once, and a
/// server, or what is before it, may end every watch like that.
fn connect(config: Config) -> Result<Client, kube::Error> {
    let limit = RateLimitLayer::new(REQUESTS_MAX, REQUESTS_WITHIN);
    Ok(ClientBuilder::try_from(config)?.with_layer(&limit).build())
}

/// A random duration from nothing to `most`.
fn random_part(most: Duration) -> Duration {
    // The standard library's hashers start from random keys; nothing depends on how good they are.
    let random = RandomState::new().hash_one(0);
    let share = u32::try_from(random % 1_001).unwrap_or_default();
    most.saturating_mul(share) / 1_000
}
