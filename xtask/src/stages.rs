//! Running other programs one after the other, stopping at the first that fails.

use anyhow::{Context, bail};
use std::process::Command;
use std::time::Instant;

/// One program to run: what it is for, and its command line.
pub(crate) struct Stage {
    pub(crate) title: String,
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
}

impl Stage {
    /// `cargo` with `args`.
    pub(crate) fn cargo(title: &str, args: &[&str]) -> Self {
        // Cargo names itself to the programs it runs, so that the same toolchain is used throughout.
        let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        Self { title: title.into(), program, args: args.iter().map(|&a| a.into()).collect() }
    }

    /// The same with more arguments at the end.
    pub(crate) fn with(mut self, more: &[String]) -> Self {
        self.args.extend_from_slice(more);
        self
    }
}

/// Runs every stage in the workspace's root and prints a summary.
///
/// # Errors
/// At the first stage that fails; the later ones are not run, and the summary says so.
pub(crate) fn run(stages: &[Stage]) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    let mut failed = None;
    for stage in stages {
        if failed.is_some() {
            lines.push(format!("  not run  {}", stage.title));
            continue;
        }
        eprintln!("\n== {}: cargo {}", stage.title, stage.args.join(" "));
        let begin = Instant::now();
        let status = Command::new(&stage.program)
            .args(&stage.args)
            .current_dir(crate::root())
            .status()
            .with_context(|| format!("cannot start {}", stage.program))?;
        let verdict = if status.success() { "passed " } else { "FAILED " };
        lines.push(format!("  {verdict}  {} ({:.0} s)", stage.title, begin.elapsed().as_secs_f64()));
        if !status.success() {
            failed = Some(&stage.title);
        }
    }
    println!("\n{}", lines.join("\n"));
    if let Some(title) = failed {
        bail!("{title} failed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(program: &str) -> Stage {
        Stage { title: program.into(), program: program.into(), args: vec![] }
    }

    #[test]
    fn the_first_failure_stops_and_is_named() {
        run(&[stage("true"), stage("true")]).unwrap();
        // The third program does not exist: starting it would be another error.
        let error = run(&[stage("true"), stage("false"), stage("a-program-that-does-not-exist")]).unwrap_err();
        assert_eq!(error.to_string(), "false failed");
        assert!(run(&[stage("a-program-that-does-not-exist")]).is_err());
    }
}
