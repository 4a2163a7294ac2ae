//! `/metrics`, `/healthz` and `/readyz`.
//!
//! Everything is asked of the enforcer, so that an answer shows that it is alive.

use alloc::sync::Arc;
use core::convert::Infallible;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::net::TcpListener;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use driver_nft::NftKernel;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::errno::Errno;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::metrics::{Metrics, Snapshot};
use super::{Content, Health, Inbox, spawn};

/// How long the enforcer may take to answer before it counts as dead. It is busy for this long only while the kernel is.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nobody is answered after a connection could not be taken.
const PAUSE: Duration = Duration::from_millis(50);
/// The content type of `OpenMetrics` text, version 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What answers need.
struct Server {
    inbox: Inbox,
    metrics: Metrics,
    /// Only for reading counters.
    kernel: Mutex<NftKernel>,
}

/// Answers at `address` in a thread of its own.
///
/// # Errors
/// Nobody can listen there, or nftables cannot be opened.
pub(crate) fn serve(address: SocketAddr, inbox: Inbox, metrics: Metrics) -> Result<()> {
    let listener = listen(address).with_context(|| format!("cannot serve metrics at {address}"))?;
    listener.set_nonblocking(true)?;
    info!(address = %listener.local_addr()?, "serving metrics");
    let kernel = Mutex::new(NftKernel::open().context("cannot open nftables")?);
    let server = Arc::new(Server { inbox, metrics, kernel });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = move || {
        runtime.block_on(async {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // Too many open files, most likely: whoever has them needs time to close them.
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    let answer = service_fn(move |request| answer(Arc::clone(&server), request));
                    let mut connection = http1::Builder::new();
                    connection.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
                    // Whatever is wrong with a connection, whoever is at its other end notices it.
                    drop(connection.serve_connection(TokioIo::new(stream), answer).await);
                });
            }
        });
    };
    spawn("http", work)
}

/// Listens; where the kernel has no IPv6, every address means every IPv4 address.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let unspecified = address.ip().is_unspecified() && address.is_ipv6();
    match TcpListener::bind(address) {
        Err(error)
            if unspecified && error.raw_os_error().map(Errno::from_raw) == Some(Errno::EAFNOSUPPORT) =>
        {
            TcpListener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()))
        }
        listener => listener,
    }
}

async fn answer(
    server: Arc<Server>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    // The enforcer is waited for, and the kernel.
    let answered = spawn_blocking(move || server.answer(&path)).await;
    let (status, kind, text) = answered.unwrap_or_else(|error| {
        (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("a fault in the agent: {error}\n"))
    });
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    }
    Ok(response)
}

impl Server {
    fn answer(&self, path: &str) -> (StatusCode, &'static str, String) {
        let plain = |status, text: &str| (status, "text/plain", format!("{text}\n"));
        if !matches!(path, "/healthz" | "/metrics" | "/readyz") {
            return plain(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz");
        }
        let unavailable = |text| plain(StatusCode::SERVICE_UNAVAILABLE, text);
        let silent = "the enforcer does not answer";
        if path == "/metrics" {
            return self
                .ask(Content::Look)
                .map_or_else(|| unavailable(silent), |snapshot| self.metrics(snapshot));
        }
        match (path, self.ask(Content::Health)) {
            (_, None) => unavailable(silent),
            ("/healthz", Some(_)) => plain(StatusCode::OK, "alive"),
            (_, Some(Health { synced: false, .. })) => {
                unavailable("not everything has been heard of and is enforced for the first time")
            }
            (_, Some(Health { refused: true, .. })) => unavailable("the kernel has refused the last change"),
            (_, Some(_)) => plain(StatusCode::OK, "enforcing"),
        }
    }

    fn metrics(&self, snapshot: Snapshot) -> (StatusCode, &'static str, String) {
        let counted = self.kernel.lock().unwrap_or_else(PoisonError::into_inner).counted();
        let counted = counted.unwrap_or_else(|reason| {
            warn!(%reason, "the kernel's counters cannot be read");
            alloc::collections::BTreeMap::new()
        });
        match self.metrics.text(snapshot, counted) {
            Ok(text) => (StatusCode::OK, OPEN_METRICS, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
        }
    }

    /// What the enforcer answers to `question`.
    fn ask<T>(&self, question: impl FnOnce(SyncSender<T>) -> Content) -> Option<T> {
        let (sender, answer) = sync_channel(1);
        self.inbox.send(question(sender));
        answer.recv_timeout(PATIENCE).ok()
    }
}
