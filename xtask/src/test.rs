//! `cargo xtask test`: all tests of the workspace.

use crate::stages::{self, Stage};

/// Which tests to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed on to every `cargo test`: a name to filter by, `-p backcast-nn`, or flags of the test programs after `--`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    stages::run(&plan(&args.rest))
}

fn plan(rest: &[String]) -> Vec<Stage> {
    // A package named by the caller replaces the whole workspace, and then double precision is not the question.
    let chosen = rest.iter().take_while(|a| *a != "--").any(|a| a.starts_with("-p") || a == "--package");
    let scope: &[&str] = if chosen { &[] } else { &["--workspace"] };
    let test = |title, flags: &[&str]| Stage::cargo(title, &[&["test"], scope, flags].concat()).with(rest);
    let mut stages =
        vec![test("unit and integration tests", &["--all-targets"]), test("documentation tests", &["--doc"])];
    if !chosen {
        // Finite differences drown in single precision; the same code in double precision does not.
        let flags = ["test", "-p", "backcast-nn", "--features", "f64"];
        stages.push(Stage::cargo("gradient checks in double precision", &flags).with(rest));
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_covers_the_workspace_its_documents_and_double_precision() {
        let lines = |rest: &[&str]| -> Vec<String> {
            let rest: Vec<String> = rest.iter().map(|&a| a.into()).collect();
            plan(&rest).iter().map(|s| s.args.join(" ")).collect()
        };
        assert_eq!(
            lines(&["gradient"]),
            [
                "test --workspace --all-targets gradient",
                "test --workspace --doc gradient",
                "test -p backcast-nn --features f64 gradient"
            ]
        );
        assert_eq!(
            lines(&["-p", "backcast-core", "--", "--nocapture"]),
            ["test --all-targets -p backcast-core -- --nocapture", "test --doc -p backcast-core -- --nocapture"]
        );
        assert_eq!(lines(&["--", "-p"]).len(), 3);
    }
}
