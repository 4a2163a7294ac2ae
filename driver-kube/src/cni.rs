//! CNI configurations: what a `NetworkAttachmentDefinition` makes of its network.
//!
//! Format: CNI specification 1.0, section 1 (single plugin and list), and the keys of the `bridge` plugin
//! (`plugins/main/bridge` of containernetworking/plugins).

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use policy_core::model::{BridgeNetwork, Guard, NetworkConfig};
use policy_core::spec::{quoted, shortened};
use serde::Deserialize;
use serde_json::Value;

/// Why a CNI configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CniError {
    /// The text is not JSON.
    #[error("configuration is not JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// A field is missing, or is not what it must be.
    #[error("configuration field {path}: {reason}")]
    Field {
        /// The field's path within the configuration.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No file in the configuration directory has the network's name.
    #[error("configuration is empty and no file in {directory} has the name {name:?}")]
    NotFound {
        /// The directory.
        directory: PathBuf,
        /// The network's name.
        name: String,
    },
    /// A file in the configuration directory is not JSON.
    #[error("{path} is not JSON: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The configuration is empty and nothing says where the files are.
    #[error("configuration is empty and no configuration directory is known")]
    NoDirectory,
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The keys of the `bridge` plugin that are read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct BridgePlugin {
    bridge: Option<String>,
    vlan: Option<i64>,
    ipam: Option<Ipam>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ipam {
    r#type: Option<String>,
}

/// What the CNI configuration `text` describes, when plugins of the types `managed` count as bridges.
///
/// The main plugin of a list is its first: the ones after it (`tuning`, `sbr`, ...) only change its interface.
pub fn network(
    text: &str,
    managed: &BTreeSet<Arc<str>>,
    guard: Option<Guard>,
) -> Result<NetworkConfig, CniError> {
    let config: Value = serde_json::from_str(text).map_err(CniError::Json)?;
    let (path, main) = match config.get("plugins") {
        Some(plugins) => {
            ("plugins[0].", plugins.get(0).ok_or_else(|| wrong("plugins", "not a list of plugins"))?)
        }
        None => ("", &config),
    };
    let plugin = match main.get("type") {
        Some(Value::String(plugin)) if !plugin.is_empty() => plugin.as_str(),
        Some(_) => return Err(wrong(format!("{path}type"), "not the name of a plugin")),
        None => return Err(wrong(format!("{path}type"), "missing")),
    };
    if !managed.contains(plugin) {
        return Ok(NetworkConfig::Other { plugin: plugin.into() });
    }
    let keys: BridgePlugin = serde_path_to_error::deserialize(main)
        .map_err(|error| wrong(format!("{path}{}", error.path()), error.inner().to_string()))?;
    let bridge = keys.bridge.filter(|name| !name.is_empty()).unwrap_or_else(|| String::from("cni0"));
    if !is_interface_name(&bridge) {
        return Err(wrong(format!("{path}bridge"), format!("{} is not an interface name", quoted(&bridge))));
    }
    let vlan = match keys.vlan {
        None | Some(0) => None,
        Some(vlan) => match u16::try_from(vlan) {
            Ok(vlan @ 1..=4094) => Some(vlan),
            _ => return Err(wrong(format!("{path}vlan"), format!("{vlan}: not a VLAN from 1 to 4094"))),
        },
    };
    let dhcp = keys.ipam.and_then(|ipam| ipam.r#type).as_deref() == Some("dhcp");
    Ok(NetworkConfig::Bridge(BridgeNetwork { bridge: bridge.into(), vlan, dhcp, guard }))
}

fn wrong(path: impl Into<String>, reason: impl Into<String>) -> CniError {
    CniError::Field { path: path.into(), reason: shortened(&reason.into()).to_owned() }
}

/// Whether the kernel would take `name` for an interface: `dev_valid_name` of `net/core/dev.c`.
pub(crate) fn is_interface_name(name: &str) -> bool {
    name.len() < 16
        && !matches!(name, "" | "." | "..")
        && !name.contains(|c: char| matches!(c, '/' | ':' | '\0') || c.is_ascii_whitespace() || c == '\u{b}')
}

/// The text of the configuration called `name` in `directory`: the first `.conf`, `.json` or `.conflist` file, by
/// file name, whose `name` it is. This is where Multus looks when a definition's own configuration is empty.
pub fn on_disk(directory: &Path, name: &str) -> Result<String, CniError> {
    let mut unreadable = None;
    for path in candidates(directory)? {
        match fs::read_to_string(&path) {
            Err(source) => unreadable = unreadable.or(Some(CniError::Io { path, source })),
            Ok(text) => match serde_json::from_str::<Value>(&text) {
                Err(source) => unreadable = unreadable.or(Some(CniError::File { path, source })),
                Ok(config) if config.get("name").and_then(Value::as_str) == Some(name) => return Ok(text),
                Ok(_) => {}
            },
        }
    }
    // A file that cannot be read may be the one: say so rather than that there is none.
    Err(unreadable.unwrap_or_else(|| CniError::NotFound { directory: directory.into(), name: name.into() }))
}

/// The configuration files of a directory, sorted by name.
fn candidates(directory: &Path) -> Result<Vec<PathBuf>, CniError> {
    let io = |source| CniError::Io { path: directory.into(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let known = |extension| ["conf", "json", "conflist"].iter().any(|known| extension == *known);
        if path.extension().is_some_and(known) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
