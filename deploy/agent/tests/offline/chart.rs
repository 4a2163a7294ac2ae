//! The Helm chart's reference: what is not rendered. `cargo ci chart` tests the rest with Helm.

use std::fs;

use serde_json::Value;

use crate::program::{at, text};

/// A file of the chart: YAML, of which JSON is a part.
fn file(name: &str) -> Value {
    let path = format!("{}/../chart/{name}", env!("CARGO_MANIFEST_DIR"));
    let yaml = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compares values with their schema, as far as the schema names fields.
fn compare(path: &str, values: &Value, schema: &Value) {
    assert!(path.is_empty() || !text(schema, "/description").is_empty(), "{path} has no description");
    let (Some(values), Some(properties)) = (values.as_object(), schema.get("properties")) else { return };
    for (name, value) in values {
        let path = format!("{path}/{name}");
        let described = properties.get(name).unwrap_or_else(|| panic!("the schema does not know {path}"));
        compare(&path, value, described);
    }
    let described = properties.as_object().into_iter().flatten();
    for (name, _) in described.filter(|(name, _)| path.is_empty() && *name != "global") {
        assert!(values.contains_key(name), "values.yaml does not show /{name}");
    }
}

#[test]
fn schema_describes_every_value() {
    compare("", &file("values.yaml"), &file("values.schema.json"));
}

#[test]
fn chart_has_the_version_of_the_program() {
    let chart = file("Chart.yaml");
    assert_eq!([text(&chart, "/version"), text(&chart, "/appVersion")], [env!("CARGO_PKG_VERSION"); 2]);
    assert_eq!(at(&file("values.yaml"), "/image/tag"), "");
}
