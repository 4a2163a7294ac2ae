//! The syntax of Kubernetes names.
//!
//! Source: `k8s.io/apimachinery/pkg/util/validation` (`IsQualifiedName`, `IsValidLabelValue`, `IsDNS1123Label`,
//! `IsDNS1123Subdomain`, `IsValidPortName`).

/// Letters, digits, `-`, `_` and `.`, with a letter or digit at both ends; at most 63 characters, not empty.
fn is_name_part(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.iter().copied().all(inner)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

/// A label's key: a name of up to 63 characters, optionally behind a DNS name and a slash.
pub fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        None => is_name_part(text),
        Some((prefix, name)) => is_dns_name(prefix) && is_name_part(name),
    }
}

/// A label's value: empty, or a name of up to 63 characters.
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name_part(text)
}

/// A DNS label of RFC 1123 in lower case, up to 63 characters: the name of a namespace.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_part(text)
}

/// A DNS name of RFC 1123 in lower case, up to 253 characters: the name of most objects.
pub fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_part)
}

/// Lower-case letters, digits and `-`, with a letter or digit at both ends; not empty.
fn is_dns_part(text: &str) -> bool {
    let outer = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.iter().all(|c| outer(c) || *c == b'-')
        && bytes.first().is_some_and(outer)
        && bytes.last().is_some_and(outer)
}

/// A service name (RFC 6335, section 5.1) in lower case, as a container port's name must be: up to 15 lower-case
/// letters, digits and `-`, at least one letter, no `-` at an end or beside another.
pub fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        && is_dns_part(text)
        && !text.contains("--")
        && text.bytes().any(|c| c.is_ascii_lowercase())
}
