//! Which methods a command line means.

use anyhow::bail;
use backcast::Method;

/// The methods that `given` names, in the experiment's order, or all if it names none. Each text is one name or several with commas
/// between them; names may have commas themselves, and the longest that fits is meant.
///
/// # Errors
/// If there is no such method.
pub(crate) fn chosen(given: &[String], all: &[Method]) -> anyhow::Result<Vec<Method>> {
    let mut wanted: Vec<&str> = Vec::new();
    for text in given {
        let parts: Vec<&str> = text.split(',').collect();
        let mut from = 0;
        while from < parts.len() {
            let name = |to: usize| {
                let text = parts[from..to].join(",");
                all.iter().map(|method| method.name.as_str()).find(|name| *name == text.trim())
            };
            let Some((to, name)) = (from + 1..=parts.len()).rev().find_map(|to| Some((to, name(to)?))) else {
                let names: String = all.iter().map(|method| format!("\n  {}", method.name)).collect();
                bail!("--methods: there is no method `{}`; there are:{names}", parts[from].trim());
            };
            wanted.push(name);
            from = to;
        }
    }
    Ok(all.iter().filter(|method| wanted.is_empty() || wanted.contains(&method.name.as_str())).cloned().collect())
}
