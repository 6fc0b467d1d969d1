//! The JSON schema of an experiment file, for editors: made of the same declarations as structs, defaults and checks.

use crate::{AlgorithmConfig, DataConfig, RobustnessConfig, Training};
use backcast_algos::romi;
use backcast_core::{Domain, Hyperparameter, Hyperparameters, Kind, Value as _};
use backcast_dynamics::{ActionVaeConfig, EnsembleConfig, GaussianBcConfig};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The schema (JSON Schema, draft 2020-12) of an experiment file.
///
/// ```
/// let schema = backcast::schema();
/// let algorithms = &schema["properties"]["algorithm"]["oneOf"];
/// assert!(algorithms.as_array().unwrap().iter().any(|a| a["properties"]["name"]["const"] == "iql"));
/// ```
pub fn schema() -> Value {
    let text = |about: &str| json!({ "type": "string", "description": about });
    let mut properties = Map::new();
    let mut put = |key: &str, about: &str, mut schema: Value| {
        schema["description"] = about.into();
        properties.insert(key.to_owned(), schema);
    };
    put("name", "A short name; the run's folder is called after it.", json!({ "type": "string" }));
    put("about", "What it shows, in a sentence or two.", json!({ "type": "string" }));
    put("task", "The environment it is evaluated in.", json!({ "type": "string" }));
    put(
        "seeds",
        "Seeds, such as \"0..5\".",
        json!({ "type": "string", "pattern": r"^\s*\d+\s*\.\.\s*\d+\s*$", "default": "0..5" }),
    );
    put("data", "Where the transitions come from.", of::<DataConfig>());
    put(
        "standardise",
        "Whether observations are standardised for the algorithm.",
        json!({ "type": "boolean", "default": false }),
    );
    put("algorithm", "The algorithm: `name` chooses it, the other keys are its hyperparameters.", algorithms());
    put("model", "The models of the dynamics.", of::<EnsembleConfig>());
    put("imagination", "How transitions are imagined with them.", imagination());
    put("rollout_vae", "The policy of imagined chains where it is a VAE.", of::<ActionVaeConfig>());
    put("rollout_gaussian", "The policy of imagined chains where it is a Gaussian.", of::<GaussianBcConfig>());
    put("training", "Updates and evaluations.", of::<Training>());
    put("robustness", "How policies are tried from perturbed states.", of::<RobustnessConfig>());
    let imagine = kind(&crate::Imagine::kind(), backcast_core::ANY);
    let method = json!({
        "type": "object",
        "properties": {
            "name": text("Its name in tables and figures."),
            "imagine": imagine,
            "data": { "type": "object", "description": "Where its dataset differs: keys of `data`." },
            "algorithm": { "type": "object", "description": "Where its algorithm differs: keys of `algorithm`." },
        },
        "required": ["name"],
        "additionalProperties": false,
    });
    put("methods", "What is compared.", json!({ "type": "array", "items": method }));
    put(
        "sensitivity",
        "Hyperparameters that methods differ in, each drawn as a curve.",
        json!({ "type": "array", "items": { "type": "object" } }),
    );
    put("published", "Scores to compare with.", json!({ "type": "array", "items": { "type": "object" } }));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Backcast experiment",
        "type": "object",
        "properties": properties,
        "required": ["name", "task"],
        "additionalProperties": false,
    })
}

/// The tables of every algorithm, told apart by their names.
fn algorithms() -> Value {
    let each = AlgorithmConfig::ALL.iter().map(|about| {
        let defaults: AlgorithmConfig =
            serde_json::from_value(json!({ "name": about.name })).expect("a name of the list");
        let mut schema = table(about.declared, &serde_json::to_value(defaults).expect("plain values"));
        schema["title"] = about.paper.into();
        schema["properties"]["name"] = json!({ "const": about.name });
        schema["required"] = json!(["name"]);
        schema
    });
    json!({ "oneOf": each.collect::<Vec<_>>() })
}

/// ROMI's settings, or the name of a task whose settings are the authors'.
fn imagination() -> Value {
    let mut schema = of::<romi::Config>();
    schema["properties"]["preset"] =
        json!({ "type": "string", "description": "A task whose settings of the authors' code these are." });
    schema
}

/// The table of a struct.
fn of<C: Hyperparameters + Serialize>() -> Value {
    table(C::DECLARED, &serde_json::to_value(C::default()).expect("plain values"))
}

fn table(declared: &[Hyperparameter], defaults: &Value) -> Value {
    let properties = declared.iter().map(|one| {
        let default = &defaults[one.name];
        let form = (one.kind)();
        // The defaults of a table within are the outer table's.
        let mut schema = match &form {
            Kind::Table(inner) => table(inner, default),
            form => kind(form, one.domain),
        };
        let about = one.about.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        let unit = one.domain.unit_name();
        schema["description"] = match unit {
            "" => about.trim().into(),
            unit => format!("{} In {unit}.", about.trim()).into(),
        };
        if !matches!(form, Kind::Table(_)) && !default.is_null() {
            schema["default"] = shortest(default);
        }
        (one.name.to_owned(), schema)
    });
    let properties: Map<String, Value> = properties.collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn kind(form: &Kind, domain: Domain) -> Value {
    match form {
        Kind::Number => numbers("number", domain),
        Kind::Integer => {
            let mut schema = numbers("integer", domain);
            if schema.get("minimum").is_none() {
                schema["minimum"] = 0.into();
            }
            schema
        }
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Text => json!({ "type": "string" }),
        Kind::List(item) => {
            let mut schema = json!({ "type": "array", "items": kind(item, domain) });
            if let Some(most) = domain.most() {
                schema["minItems"] = 1.into();
                schema["maxItems"] = most.into();
            }
            schema
        }
        Kind::Optional(some) => kind(some, domain),
        Kind::Choice(words) => {
            let each = words.iter().map(|(word, about)| {
                let about = about.lines().map(str::trim).collect::<Vec<_>>().join(" ");
                json!({ "const": word, "description": about.trim() })
            });
            json!({ "oneOf": each.collect::<Vec<_>>() })
        }
        Kind::Table(inner) => table(inner, &Value::Null),
        Kind::Other => json!({}),
    }
}

fn numbers(name: &str, domain: Domain) -> Value {
    let (low, open, high) = domain.bounds();
    let bound = |x: f64| if x.fract() == 0.0 { json!(x as i64) } else { json!(x) };
    let mut schema = json!({ "type": name });
    if let Some(low) = low {
        schema[if open { "exclusiveMinimum" } else { "minimum" }] = bound(low);
    }
    if let Some(high) = high {
        schema["maximum"] = bound(high);
    }
    schema
}

/// Numbers are in single precision, and 0.005 is not 0.004999999888241291.
fn shortest(value: &Value) -> Value {
    match value {
        Value::Number(x) if x.is_f64() => {
            let x = x.as_f64().unwrap_or_default();
            format!("{}", x as f32).parse::<f64>().map_or_else(|_| value.clone(), Value::from)
        }
        Value::Array(all) => all.iter().map(shortest).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Experiment;

    /// Every key that an experiment writes out is in the schema, in tables within too, and the other way round.
    #[test]
    fn the_schema_has_the_keys_of_an_experiment() {
        let schema = schema();
        let mut tables = 0;
        for about in AlgorithmConfig::ALL {
            let text = format!("name = 'x'\ntask = 'dmsd'\n[algorithm]\nname = '{}'\n[robustness]", about.name);
            let experiment: Experiment = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", about.name));
            let written = serde_json::to_value(&experiment).expect("plain values");
            let mut schema = schema.clone();
            let one = schema["properties"]["algorithm"]["oneOf"].as_array().expect("a list").iter();
            let mut own =
                one.clone().find(|s| s["properties"]["name"]["const"] == about.name).expect("a schema").clone();
            own["description"] = schema["properties"]["algorithm"]["description"].clone();
            schema["properties"]["algorithm"] = own;
            compare(&written, &schema, about.name, &mut tables);
        }
        assert!(tables > 100, "{tables} tables were compared");
    }

    fn compare(written: &Value, schema: &Value, place: &str, tables: &mut usize) {
        let (Some(written), Some(known)) = (written.as_object(), schema["properties"].as_object()) else { return };
        *tables += 1;
        for (key, value) in written {
            let schema = known.get(key).unwrap_or_else(|| panic!("{place}: `{key}` is not in the schema"));
            assert!(key == "name" || schema["description"].is_string(), "{place}.{key} is not described");
            compare(value, schema, &format!("{place}.{key}"), tables);
        }
    }

    #[test]
    fn ranges_choices_and_defaults_are_said() {
        let schema = schema();
        let algorithms = schema["properties"]["algorithm"]["oneOf"].as_array().expect("a list");
        let of = |name: &str| {
            let found = algorithms.iter().find(|a| a["properties"]["name"]["const"] == name);
            found.expect("an algorithm")["properties"].clone()
        };
        let iql = of("iql");
        assert_eq!((&iql["tau"]["default"], &iql["tau"]["exclusiveMinimum"]), (&json!(0.005), &json!(0)));
        assert_eq!((&iql["hidden"]["maxItems"], &iql["hidden"]["items"]["minimum"]), (&json!(7), &json!(1)));
        assert_eq!(of("combo")["rho"]["oneOf"][1]["const"], "model");
        assert_eq!(of("combo")["rollouts"]["properties"]["real"]["default"], 0.5, "COMBO's own, not MOPO's");
    }
}
