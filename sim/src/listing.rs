//! The kernel's own listing against the meant ruleset: three independent readings of the same table.
//!
//! The text of the ruleset is checked (`nft -c -f`) and loaded by the real `nft` into a scratch namespace; what
//! `nft -j list table` then shows there must be what it shows in the node's namespace, where our driver wrote.

use alloc::collections::BTreeMap;
use std::process::{Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use policy_core::ruleset::TABLE;
use serde_json::Value;
use tokio::process::Command;

use crate::netns::Namespace;
use crate::programs;

/// A namespace to load rulesets into.
pub struct Scratch {
    namespace: Namespace,
}

impl Scratch {
    /// A scratch namespace.
    pub const fn new(namespace: Namespace) -> Self {
        Self { namespace }
    }

    /// Says how `node`'s table differs from `text`; `ports` are the indexes behind the names in its listing.
    pub async fn compare(
        &self,
        node: &Namespace,
        text: &str,
        ports: &BTreeMap<String, u32>,
    ) -> Result<Vec<String>> {
        if text_is_empty(text) {
            return self.compare_with_nothing(node).await;
        }
        let reload = written("meant.nft", &format!("flush ruleset\n{text}"))?;
        let list = ["-j", "list", "table", "bridge", TABLE];
        let (checked, loaded, held) = futures_util::future::try_join3(
            nft(&self.namespace, &["-c", "-f", &reload]),
            nft(&self.namespace, &["-f", &reload]),
            nft(node, &list),
        )
        .await?;
        for (output, what) in [(&checked, "nft -c -f refuses"), (&loaded, "nft -f refuses")] {
            if !output.status.success() {
                let reason = String::from_utf8_lossy(&output.stderr);
                return Ok(vec![format!("{what} the text of the ruleset:\n{reason}")]);
            }
        }
        let meant = nft(&self.namespace, &list).await?;
        let none = BTreeMap::new();
        let meant = Listing::parse(&meant, &none).context("the scratch table")?;
        let held = Listing::parse(&held, ports).context("the node's table")?;
        Ok(meant.differences(&held))
    }

    /// With nothing to enforce, the node may hold no table at all.
    async fn compare_with_nothing(&self, node: &Namespace) -> Result<Vec<String>> {
        let held = nft(node, &["-j", "list", "ruleset"]).await?;
        let held = Listing::parse(&held, &BTreeMap::new()).context("the node's tables")?;
        Ok(Listing::default().differences(&held))
    }
}

/// Whether a ruleset's text is an empty table.
fn text_is_empty(text: &str) -> bool {
    text.lines().count() <= 2
}

/// Writes a file that only this scenario sees: `/run` is its own. Returns its path.
fn written(name: &str, text: &str) -> Result<String> {
    let path = format!("/run/{name}");
    std::fs::write(&path, text).with_context(|| format!("cannot write {path}"))?;
    Ok(path)
}

/// Runs `nft` in `namespace`.
async fn nft(namespace: &Namespace, arguments: &[&str]) -> Result<Output> {
    let path = programs::find(programs::NFT).context("nft is not installed any more")?;
    let child = namespace.run(|| {
        Command::new(path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    })?;
    child.context("cannot start nft")?.wait_with_output().await.context("cannot wait for nft")
}

/// What a table holds, one line of JSON for each object; of rules, with their place in the chain.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listing(BTreeMap<String, String>);

impl Listing {
    fn parse(output: &Output, ports: &BTreeMap<String, u32>) -> Result<Self> {
        ensure!(output.status.success(), "nft cannot list it: {}", String::from_utf8_lossy(&output.stderr));
        let listing = serde_json::from_slice(&output.stdout).context("nft's listing is not JSON")?;
        Self::read(&listing, ports)
    }

    fn read(listing: &Value, ports: &BTreeMap<String, u32>) -> Result<Self> {
        let mut held = BTreeMap::new();
        let mut rules: BTreeMap<String, u32> = BTreeMap::new();
        for object in programs::objects(listing)? {
            let Some((kind, body)) = object.as_object().and_then(|object| object.iter().next()) else {
                continue;
            };
            if kind == "metainfo" {
                continue;
            }
            let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
            let name = if kind == "rule" {
                let at = rules.entry(text("chain").to_owned()).or_default();
                *at += 1;
                format!("rule {at} of chain {}", text("chain"))
            } else {
                format!("{kind} {}", text("name"))
            };
            held.insert(name, normal(body, ports).to_string());
        }
        Ok(Self(held))
    }

    fn differences(&self, held: &Self) -> Vec<String> {
        let names: alloc::collections::BTreeSet<&String> = self.0.keys().chain(held.0.keys()).collect();
        let nothing = "nothing".to_owned();
        let differences =
            names.into_iter().filter(|name| self.0.get(*name) != held.0.get(*name)).map(|name| {
                let (meant, held) =
                    (self.0.get(name).unwrap_or(&nothing), held.0.get(name).unwrap_or(&nothing));
                format!(
                    "{name} of the kernel's listing is not what was meant\n  meant: {meant}\n  held:  {held}"
                )
            });
        differences.collect()
    }
}

/// A listed object without what differs between two namespaces or two moments: handles, counts, elements of dynamic
/// sets, names of ports.
fn normal(value: &Value, ports: &BTreeMap<String, u32>) -> Value {
    match value {
        Value::Object(fields) => {
            // Older versions of nft do not show that a set is dynamic; of ours, all with a timeout are.
            let flags = fields.get("flags").and_then(Value::as_array);
            let dynamic = flags.is_some_and(|flags| flags.iter().any(|flag| flag == "timeout"));
            let fields = fields.iter().filter(|(key, _)| !(*key == "handle" || dynamic && *key == "elem"));
            let counts = |key: &str, value: &Value| {
                matches!(key, "packets" | "bytes" | "expires") && value.is_number()
            };
            let fields = fields.map(|(key, value)| {
                let mut value = if counts(key, value) { Value::from(0) } else { normal(value, ports) };
                if let ("elem", Value::Array(elements)) = (key.as_str(), &mut value) {
                    // A hash table lists its elements in any order.
                    elements.sort_by_key(Value::to_string);
                }
                (key.clone(), value)
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| normal(item, ports)).collect()),
        Value::String(text) => {
            ports.get(text).map_or_else(|| value.clone(), |index| Value::from(index.to_string()))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use test_case::test_case;

    /// A listing with one set, one map and two rules.
    fn listing() -> Value {
        json!({ "nftables": [
            { "metainfo": { "version": "1.0.6" } },
            { "table": { "family": "bridge", "name": TABLE, "handle": 1 } },
            { "set": { "family": "bridge", "name": "peers", "handle": 2, "type": "ipv4_addr", "elem": ["10.0.0.1", "10.0.0.2"] } },
            { "set": { "family": "bridge", "name": "flows", "handle": 3, "flags": ["timeout"], "elem": [] } },
            { "map": { "family": "bridge", "name": "ports", "handle": 4, "elem": [["5", { "accept": null }]] } },
            { "rule": { "chain": "c", "handle": 5, "expr": [{ "counter": { "packets": 0, "bytes": 0 } }] } },
            { "rule": { "chain": "c", "handle": 6, "expr": [{ "drop": null }] } },
        ]})
    }

    fn differences(held: &Value, ports: &BTreeMap<String, u32>) -> Vec<String> {
        let meant = Listing::read(&listing(), &BTreeMap::new()).expect("a listing");
        let differences = meant.differences(&Listing::read(held, ports).expect("a listing"));
        let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
        differences.into_iter().map(first_line).collect()
    }

    #[test_case("/nftables/2/set/handle", json!(99); "handles")]
    #[test_case("/nftables/2/set/elem", json!(["10.0.0.2", "10.0.0.1"]); "the order of elements")]
    #[test_case("/nftables/3/set/elem", json!([{ "elem": { "val": "10.0.0.9", "expires": 5 } }]); "what packets have put into a set")]
    #[test_case("/nftables/4/map/elem/0/0", json!("veth5"); "a port's name")]
    #[test_case("/nftables/5/rule/expr/0/counter/packets", json!(7); "counts")]
    fn what_differs_between_two_moments_does_not_count(place: &str, value: Value) {
        let mut held = listing();
        *held.pointer_mut(place).expect("it is there") = value;
        assert_eq!(differences(&held, &BTreeMap::from([("veth5".to_owned(), 5)])), Vec::<String>::new());
    }

    #[test_case("/nftables/2/set/elem", json!(["10.0.0.1"]) => vec!["set peers of the kernel's listing is not what was meant"]; "a missing element")]
    #[test_case("/nftables/2/set/type", json!("ipv6_addr") => vec!["set peers of the kernel's listing is not what was meant"]; "another type")]
    #[test_case("/nftables/4/map/elem/0/1", json!({ "drop": null }) => vec!["map ports of the kernel's listing is not what was meant"]; "another verdict")]
    #[test_case("/nftables/6/rule/expr/0", json!({ "accept": null }) => vec!["rule 2 of chain c of the kernel's listing is not what was meant"]; "another rule")]
    #[test_case("/nftables/6/rule/chain", json!("d") => vec!["rule 1 of chain d of the kernel's listing is not what was meant", "rule 2 of chain c of the kernel's listing is not what was meant"]; "a rule elsewhere")]
    fn what_differs_in_meaning_is_named(place: &str, value: Value) -> Vec<String> {
        let mut held = listing();
        *held.pointer_mut(place).expect("it is there") = value;
        differences(&held, &BTreeMap::new())
    }
}
