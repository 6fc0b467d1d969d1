//! `cargo xtask mujoco`: fetch MuJoCo, and hold our environments on it against Gymnasium's.

mod compare;
mod setup;

use backcast::envs::mujoco::Install;
use clap::Subcommand;

/// What to do about MuJoCo.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch the library and the models with pip, and put them where backcast looks for them
    Setup(setup::Args),
    /// Where MuJoCo is, and which release
    Show,
    /// Returns and steps per second beside Gymnasium's, in one run, on the same release of MuJoCo
    Compare(compare::Args),
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Setup(args) => setup::main(args),
        Command::Show => {
            let install = Install::find()?;
            println!("MuJoCo {} in {}", install.library().version(), Install::default_folder().display());
            Ok(())
        }
        Command::Compare(args) => compare::main(args),
    }
}
