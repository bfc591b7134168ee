//! The JSON Schema for editors, printed from the declaration of the keys.

use serde_json::{Map, Value, json};

use crate::keys::ROOT;
use crate::schema::{Choice, Key, Kind, Literal, Need, Section};

const DURATION: &str = r"^([0-9]+(d|h|m|s|ms|us|ns))+$";
const NAME: &str = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";

/// A schema (draft 2020-12) of the file, for editors that complete and check TOML.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = section(&ROOT);
    if let Value::Object(map) = &mut schema {
        map.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert("title".into(), json!("lb.toml"));
    }
    schema
}

fn section(s: &Section) -> Value {
    let properties: Map<String, Value> = s.keys.iter().map(|k| (k.name.to_owned(), property(k))).collect();
    let required: Vec<&str> = s.keys.iter().filter(|k| matches!(k.need, Need::Required)).map(|k| k.name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn property(key: &Key) -> Value {
    let mut schema = kind(&key.kind);
    if let Value::Object(map) = &mut schema {
        let doc = match key.need {
            Need::Absent(what) => format!("{} Default: {what}.", key.doc),
            Need::Required | Need::Default(_) => key.doc.to_owned(),
        };
        map.insert("description".into(), json!(doc.replace('`', "")));
        if let Need::Default(literal) = key.need {
            let default = match literal {
                Literal::Text(t) => json!(t),
                Literal::Integer(n) => json!(n),
                Literal::Bool(b) => json!(b),
            };
            map.insert("default".into(), default);
        }
    }
    schema
}

fn kind(k: &Kind) -> Value {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match k {
        Kind::Name => text(NAME),
        Kind::Text(form) => text(form.pattern),
        Kind::Path | Kind::Backend => text("."),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Size { max, .. } => json!({ "anyOf": [
            { "type": "string", "pattern": r"^[0-9_]+ *(B|KiB|MiB|GiB|TiB)?$" },
            { "type": "integer", "minimum": 0, "maximum": max },
        ] }),
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Duration { .. } => text(DURATION),
        Kind::Percent { .. } => text(r"^[0-9]{1,3} *%$"),
        Kind::Choice(choices) => words(choices),
        Kind::ChoiceOrInteger { choices, min, max } => {
            json!({ "anyOf": [words(choices), { "type": "integer", "minimum": min, "maximum": max }] })
        }
        Kind::Ip => text(r"^[0-9A-Fa-f.:]+$"),
        Kind::Socket => text(r":[0-9]+$"),
        Kind::Listen => text(r":[0-9]+(-[0-9]+)?/(tcp|udp|TCP|UDP)$"),
        Kind::HttpListen => text(r":[0-9]+(/(tcp|TCP))?$"),
        Kind::Prefix => text(r"^[0-9A-Fa-f.:]+(/[0-9]+)?$"),
        Kind::Rate => text(r"^[0-9_]+ */ *[0-9a-z]+$"),
        Kind::Payload => json!({ "type": "string" }),
        Kind::Expect | Kind::Statuses => {
            let one = json!({ "type": ["string", "integer"] });
            let fewest = usize::from(matches!(k, Kind::Expect));
            json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": fewest }] })
        }
        Kind::OneOrMany(of) => json!({ "anyOf": [kind(of), { "type": "array", "items": kind(of) }] }),
        Kind::Map { key, value } => {
            json!({ "type": "object", "patternProperties": { key.pattern: kind(value) }, "additionalProperties": false })
        }
        Kind::BoolOr(s) => json!({ "anyOf": [{ "type": "boolean" }, section(s)] }),
        Kind::List(of) => json!({ "type": "array", "items": kind(of) }),
        Kind::Table(s) => section(s),
        Kind::Tables(s) => json!({ "type": "array", "items": section(s) }),
    }
}

fn words(choices: &[Choice]) -> Value {
    let built: Vec<&str> = choices.iter().filter(|c| c.built).map(|c| c.name).collect();
    json!({ "type": "string", "enum": built })
}
