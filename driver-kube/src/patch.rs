//! JSON merge patches.

use serde_json::{Map, Value};

/// Changes `target` as `patch` says: RFC 7396, section 2. An object is merged field by field, `null` removes a
/// field, anything else replaces what is there.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else {
        return;
    };
    for (key, change) in changes {
        if change.is_null() {
            fields.remove(key);
        } else {
            merge_patch(fields.entry(key.as_str()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::merge_patch;
    use serde_json::Value;
    use test_case::test_case;

    /// The examples of RFC 7396, appendix A.
    #[test_case(r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#; "a value is replaced")]
    #[test_case(r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#; "a field is added")]
    #[test_case(r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#; "a field is removed")]
    #[test_case(r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#; "a list is replaced by a value")]
    #[test_case(r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#; "a value is replaced by a list")]
    #[test_case(r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#; "an object is merged")]
    #[test_case(r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#; "lists are not merged")]
    #[test_case(r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#; "a list is replaced")]
    #[test_case(r#"{"a":"foo"}"#, r"null", r"null"; "null replaces everything")]
    #[test_case(r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#; "a null that was there stays")]
    #[test_case(r"[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#; "an object replaces a list")]
    #[test_case(r"{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#; "nothing is left of a removal in a new object")]
    fn merges(target: &str, patch: &str, wanted: &str) {
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("the test's JSON");
        let mut target = read(target);
        merge_patch(&mut target, &read(patch));
        assert_eq!(target, read(wanted));
    }
}
