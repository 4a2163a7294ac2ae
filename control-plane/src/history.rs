//! What etcd remembers.

use anyhow::{Context as _, Result};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::ControlPlane;

impl ControlPlane {
    /// Lets etcd forget everything but what is now, through its JSON gateway; watches cannot go on from before.
    ///
    /// # Errors
    /// etcd does not answer as it should.
    pub fn compact_history(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let compact = async {
            let config = Config::new(format!("http://{}", self.etcd_client).parse()?);
            let client = Client::try_from(config)?;
            // The answer to any read says which revision is the newest; the key is base64 for one zero byte.
            let read = post(&client, "/v3/kv/range", &json!({ "key": "AA==" })).await?;
            let revision = read.pointer("/header/revision").context("etcd says no revision")?;
            // The old ones are gone when this is answered.
            let forget = json!({ "revision": revision, "physical": true });
            post(&client, "/v3/kv/compaction", &forget).await.map(drop)
        };
        runtime.block_on(compact).context("cannot compact the history of etcd")
    }
}

async fn post(client: &Client, path: &str, body: &Value) -> Result<Value> {
    let request = hyper::Request::post(path).header("content-type", "application/json");
    let request = request.body(serde_json::to_vec(body)?)?;
    client.request::<Value>(request).await.with_context(|| format!("{path} of etcd"))
}
