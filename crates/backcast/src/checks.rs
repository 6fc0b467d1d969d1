use crate::ExperimentError;
use serde::Serialize;

/// Whether a folder can be called `name`, which stands under `key`.
///
/// # Errors
/// If it is empty or leads elsewhere.
pub fn check_name(key: &str, name: &str) -> Result<(), ExperimentError> {
    let why = match name.trim() {
        "" => "is empty; folders are called after it".to_owned(),
        trimmed if matches!(trimmed, "." | "..") || name.contains('/') => {
            format!("is `{name}`; folders are called after it, and this one would lead elsewhere")
        }
        _ => return Ok(()),
    };
    Err(ExperimentError::new(format!("`{key}` {why}")))
}

/// Whether every number of `settings`, which stand under `key`, is finite as it will be used: 1e39 is not in single precision.
pub(crate) fn finite(settings: &impl Serialize, key: &str) -> Result<(), ExperimentError> {
    fn walk(value: &toml::Value, key: String) -> Result<(), ExperimentError> {
        match value {
            toml::Value::Float(x) if !x.is_finite() => {
                Err(ExperimentError::new(format!("`{key}` is {value}; give a number that is finite")))
            }
            toml::Value::Array(all) => {
                all.iter().enumerate().try_for_each(|(i, part)| walk(part, format!("{key}[{i}]")))
            }
            toml::Value::Table(all) => all.iter().try_for_each(|(name, part)| {
                walk(part, if key.is_empty() { name.clone() } else { format!("{key}.{name}") })
            }),
            _ => Ok(()),
        }
    }
    let value = toml::Value::try_from(settings).map_err(|e| ExperimentError::new(e.to_string()))?;
    walk(&value, key.to_owned())
}
