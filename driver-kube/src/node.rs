//! YAML and JSON documents that remember where everything is written.

use alloc::collections::BTreeMap;
use core::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A line and column, both from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl Place {
    /// Where a file begins.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        // The parser says 0 where it does not know.
        Self { line: location.line().max(1), column: location.column().max(1) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it begins.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Clone, PartialEq, Debug)]
pub enum Content {
    /// A list.
    List(Vec<Node>),
    /// An object.
    Object(BTreeMap<String, Node>),
    /// Anything else.
    Scalar(Value),
}

impl Node {
    /// The value without the places.
    pub fn value(&self) -> Value {
        match &self.content {
            Content::List(list) => Value::Array(list.iter().map(Self::value).collect()),
            Content::Object(fields) => {
                let fields = fields.iter().map(|(key, node)| (key.clone(), node.value()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Content::Scalar(value) => value.clone(),
        }
    }

    /// A field of an object.
    pub fn field(&self, name: &str) -> Option<&Self> {
        match &self.content {
            Content::Object(fields) => fields.get(name),
            Content::List(_) | Content::Scalar(_) => None,
        }
    }

    /// An entry of a list.
    pub fn entry(&self, index: usize) -> Option<&Self> {
        match &self.content {
            Content::List(list) => list.get(index),
            Content::Object(_) | Content::Scalar(_) => None,
        }
    }

    /// Where the field path `path` is written, such as `spec.ingress[1].from` or `metadata.annotations[a.b/c][2]`;
    /// as deep as the document goes along it.
    pub fn place_of(&self, path: &str) -> Place {
        let mut node = self;
        let mut rest = path;
        while !rest.is_empty() {
            let bracketed = rest.strip_prefix('[').and_then(|inside| inside.split_once(']'));
            let (next, after) = if let Some((inside, after)) = bracketed {
                let entry = inside.parse().ok().and_then(|index| node.entry(index));
                (entry.or_else(|| node.field(inside)), after)
            } else {
                let field = rest.strip_prefix('.').unwrap_or(rest);
                let (field, after) = field.split_at(field.find(['.', '[']).unwrap_or(field.len()));
                (node.field(field), after)
            };
            let Some(next) = next.filter(|_| after.len() < rest.len()) else {
                break;
            };
            (node, rest) = (next, after);
        }
        node.place
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self { place: spanned.referenced.into(), content: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        Content::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(Value::from(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(Value::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Content, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Content::Scalar(Value::Number(number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(Value::from(value)))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Content, E> {
        Ok(Content::Scalar(Value::from(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            fields.insert(key, value);
        }
        Ok(Content::Object(fields))
    }
}
