//! The schema and the documentation say what the reader takes.

use serde_json::Value;

use super::sample::SAMPLE;
use super::*;

/// What a schema stands for, references followed; all branches of `anyOf`.
fn branches<'s>(root: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let name = name.strip_prefix("#/$defs/").unwrap();
        return branches(root, &root["$defs"][name]);
    }
    let many = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|key| schema.get(key)?.as_array());
    let below: Vec<_> = many.flatten().flat_map(|one| branches(root, one)).collect();
    std::iter::once(schema).chain(below).collect()
}

/// Whether a schema has a place for a value, keys above all.
fn holds(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let branches = branches(root, schema);
    match value {
        Value::Object(table) => table.iter().try_for_each(|(key, value)| {
            let of_key = |one: &&Value| {
                let patterns = one.get("patternProperties").and_then(Value::as_object);
                one.get("properties")
                    .and_then(|all| all.get(key))
                    .or_else(|| patterns.and_then(|all| all.values().next()))
                    .or_else(|| one.get("additionalProperties").filter(|more| more.is_object()))
                    .map(|below| holds(root, below, value))
            };
            let looked: Vec<_> = branches.iter().filter_map(of_key).collect();
            match looked.iter().any(Result::is_ok) {
                true => Ok(()),
                false => Err(format!("{key}: {looked:?}")),
            }
        }),
        Value::Array(list) => {
            let items: Vec<_> = branches.iter().filter_map(|one| one.get("items")).collect();
            list.iter().try_for_each(|value| {
                let good = items.iter().any(|schema| holds(root, schema, value).is_ok());
                if good { Ok(()) } else { Err(format!("no place for {value}")) }
            })
        }
        _ => {
            let kind = match value {
                Value::String(_) => "string",
                Value::Bool(_) => "boolean",
                Value::Number(number) if number.is_f64() => "number",
                _ => "integer",
            };
            let is = |one: &&Value| {
                let types = match &one["type"] {
                    Value::String(name) => vec![name.as_str()],
                    Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
                    _ => Vec::new(),
                };
                let listed = one["enum"].as_array().is_some_and(|all| all.contains(value));
                types.contains(&kind)
                    || (kind == "integer" && types.contains(&"number"))
                    || listed
                    || one["const"] == *value
            };
            if branches.iter().any(is) { Ok(()) } else { Err(format!("no {kind} in {schema}")) }
        }
    }
}

#[test]
fn the_schema_has_a_place_for_every_key_of_the_sample() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["type"], "object");
    assert_eq!(schema["additionalProperties"], false);
    let sample: Value = toml::from_str(SAMPLE).unwrap();
    holds(&schema, &schema, &sample).unwrap();
    let wrong = serde_json::json!({ "server": { "wrokers": 1 } });
    assert!(holds(&schema, &schema, &wrong).is_err());
}

/// Every key of every table of ours, as `Table.key`.
fn keys(schema: &Value) -> Vec<(String, String, Value)> {
    let named = schema["$defs"].as_object().unwrap().iter().map(|(name, one)| (name.clone(), one));
    let all = std::iter::once(("the file".to_owned(), schema)).chain(named);
    let mut keys = Vec::new();
    for (name, one) in all {
        for (key, what) in one["properties"].as_object().into_iter().flatten() {
            keys.push((name.clone(), key.clone(), what.clone()));
        }
    }
    keys
}

#[test]
fn every_key_says_what_it_means() {
    let schema = schema();
    let keys = keys(&schema);
    assert!(keys.len() > 120, "{} keys", keys.len());
    for (table, key, what) in &keys {
        let text = what["description"].as_str().unwrap_or_default();
        assert!(text.len() > 4, "{table}.{key} is not described: {what}");
    }
}

#[test]
fn every_key_is_in_the_documentation() {
    let text = fs::read_to_string("docs/configuration.md").unwrap();
    // As a key, as a step of one, or as the heading of a table.
    let said = |key: &str| {
        let ways = [
            format!("`{key}`"),
            format!(".{key}`"),
            format!("`{key}."),
            format!(".{key}."),
            format!("[{key}]"),
        ];
        ways.iter().any(|way| text.contains(way.as_str()))
    };
    let keys = keys(&schema()).into_iter().filter(|(_, key, _)| !said(key));
    let missing: Vec<_> = keys.map(|(table, key, _)| format!("{table}.{key}")).collect();
    assert!(missing.is_empty(), "docs/configuration.md says nothing of {missing:?}");
}

#[test]
fn the_examples_of_the_documentation_are_read() {
    let text = fs::read_to_string("docs/configuration.md").unwrap();
    let mut examples = 0;
    for block in text.split("```toml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let dir = tempfile::tempdir().unwrap();
        if let Err(faults) = load_in(dir.path(), block, &[]) {
            // An example is a part, and names files that are not here: what is written in it must be right.
            let allowed = [Code::NoListener, Code::MissingFile, Code::UnknownUpstream, Code::UnknownListener];
            assert!(
                faults
                    .0
                    .iter()
                    .all(|fault| fault.severity != Severity::Error || allowed.contains(&fault.code)),
                "{block}\n{faults}"
            );
        }
        examples += 1;
    }
    assert!(examples >= 5, "{examples} examples");
}
