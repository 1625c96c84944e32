//! Prometheus's own description of its API: every answer is held against it.
//!
//! A validator for the part of JSON Schema that the description uses: `$ref`, `type`, `enum`, `properties`,
//! `required`, `additionalProperties`, `items`, `minItems`, `maxItems`, `oneOf`, `anyOf`, `format: date-time`.

use crate::suites;
use serde_json::Value;

/// The description, or nothing where the suites are missing.
pub(crate) struct OpenApi(Option<Value>);

impl OpenApi {
    pub(crate) fn read() -> Self {
        OpenApi(
            suites::text("openapi/openapi_3.1_golden.yaml")
                .map(|text| serde_saphyr::from_str(&text).expect("YAML")),
        )
    }

    /// Every path below `/api/v1`, with its methods.
    pub(crate) fn operations(&self) -> Vec<(String, String)> {
        // The newer form describes streams too.
        let Some(text) = suites::text("openapi/openapi_3.2_golden.yaml") else { return Vec::new() };
        let document: Value = serde_saphyr::from_str(&text).expect("YAML");
        let paths = document["paths"].as_object().expect("paths");
        let methods = ["get", "post", "put"];
        paths
            .iter()
            .flat_map(|(path, of)| methods.map(|m| (path, of, m)))
            .filter(|(_, of, method)| of[method].is_object())
            .map(|(path, _, method)| (path.clone(), method.to_owned()))
            .collect()
    }

    /// Holds an answer of `path` (below `/api/v1`) against the description.
    pub(crate) fn check(&self, path: &str, method: &str, status: u16, body: &Value) {
        let Some(document) = &self.0 else { return };
        let responses = &document["paths"][path][method]["responses"];
        let response = responses.get(status.to_string()).unwrap_or(&responses["default"]);
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{path} {method} {status} is not described");
        let mut wrong = Vec::new();
        validate(document, schema, body, "$", &mut wrong);
        assert!(wrong.is_empty(), "{path}: {wrong:#?}\n{body:#}");
    }
}

fn is_a(kind: &str, v: &Value) -> bool {
    match kind {
        "object" => v.is_object(),
        "array" => v.is_array(),
        "string" => v.is_string(),
        "number" => v.is_number(),
        "integer" => v.is_i64() || v.is_u64(),
        "boolean" => v.is_boolean(),
        "null" => v.is_null(),
        other => panic!("the description has a type {other}"),
    }
}

fn validate(document: &Value, schema: &Value, v: &Value, at: &str, wrong: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).expect("a schema");
        return validate(document, target, v, at, wrong);
    }
    if let Some(kind) = schema["type"].as_str()
        && !is_a(kind, v)
    {
        wrong.push(format!("{at} is no {kind}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(v)
    {
        wrong.push(format!("{at} is not among {allowed:?}"));
    }
    if schema["format"] == "date-time"
        && !v.as_str().is_some_and(|t| t.len() >= 20 && t.contains('T') && t.ends_with('Z'))
    {
        wrong.push(format!("{at} is no time"));
    }
    for key in ["oneOf", "anyOf"] {
        let Some(choices) = schema[key].as_array() else { continue };
        let failures: Vec<Vec<String>> = choices
            .iter()
            .map(|choice| {
                let mut wrong = Vec::new();
                validate(document, choice, v, at, &mut wrong);
                wrong
            })
            .collect();
        let fit = failures.iter().filter(|f| f.is_empty()).count();
        if fit == 0 || (key == "oneOf" && fit > 1) {
            wrong.push(format!("{at} fits {fit} of {key}: {failures:?}"));
        }
    }
    if let Some(object) = v.as_object() {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                wrong.push(format!("{at}.{name} is missing"));
            }
        }
        for (name, value) in object {
            match (&schema["properties"][name], &schema["additionalProperties"]) {
                (Value::Null, Value::Bool(false)) => wrong.push(format!("{at}.{name} is not known")),
                (Value::Null, extra) if extra.is_object() => {
                    validate(document, extra, value, &format!("{at}.{name}"), wrong);
                }
                (Value::Null, _) => {}
                (known, _) => validate(document, known, value, &format!("{at}.{name}"), wrong),
            }
        }
    }
    if let Some(list) = v.as_array() {
        let bound = |key: &str| schema[key].as_u64().and_then(|n| usize::try_from(n).ok());
        if bound("minItems").is_some_and(|n| list.len() < n)
            || bound("maxItems").is_some_and(|n| list.len() > n)
        {
            wrong.push(format!("{at} has {} items", list.len()));
        }
        if schema["items"].is_object() {
            for (i, item) in list.iter().enumerate() {
                validate(document, &schema["items"], item, &format!("{at}[{i}]"), wrong);
            }
        }
    }
}

#[test]
fn the_validator_finds_what_does_not_fit() {
    let document = serde_json::json!({"components": {"schemas": {"S": {
        "type": "object", "additionalProperties": false, "required": ["a"],
        "properties": {"a": {"type": "array", "maxItems": 1, "items": {"oneOf": [{"type": "number"}, {"type": "string"}]}}},
    }}}});
    let schema = serde_json::json!({"$ref": "#/components/schemas/S"});
    for (body, problems) in [
        (serde_json::json!({"a": [1]}), 0),
        (serde_json::json!({}), 1),
        (serde_json::json!({"a": [1, 2]}), 1),
        (serde_json::json!({"a": [true], "b": 1}), 2),
        (serde_json::json!([]), 1),
    ] {
        let mut wrong = Vec::new();
        validate(&document, &schema, &body, "$", &mut wrong);
        assert_eq!(wrong.len(), problems, "{body}: {wrong:?}");
    }
}
