//! Which arms a command line means.

use anyhow::bail;
use backcast::Arm;

/// The arms that `given` names, in the experiment's order, or all if it names none. Each text is one name or several with commas
/// between them; names may have commas themselves, and the longest that fits is meant.
///
/// # Errors
/// If there is no such arm.
pub(crate) fn chosen(given: &[String], all: &[Arm]) -> anyhow::Result<Vec<Arm>> {
    let mut wanted: Vec<&str> = Vec::new();
    for text in given {
        let parts: Vec<&str> = text.split(',').collect();
        let mut from = 0;
        while from < parts.len() {
            let name = |to: usize| {
                let text = parts[from..to].join(",");
                all.iter().map(|arm| arm.name.as_str()).find(|name| *name == text.trim())
            };
            let Some((to, name)) = (from + 1..=parts.len()).rev().find_map(|to| Some((to, name(to)?))) else {
                let names: String = all.iter().map(|arm| format!("\n  {}", arm.name)).collect();
                bail!("--arms: there is no arm `{}`; there are:{names}", parts[from].trim());
            };
            wanted.push(name);
            from = to;
        }
    }
    Ok(all.iter().filter(|arm| wanted.is_empty() || wanted.contains(&arm.name.as_str())).cloned().collect())
}
