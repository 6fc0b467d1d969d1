//! `cargo xtask docs`: builds the book.

use crate::stages::{self, Stage};

/// What else to do with the book.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also compile and run the Rust examples of the chapters
    #[arg(long)]
    test: bool,
}

pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    let root = crate::root();
    // The book's builder is a package of its own, outside the workspace: nobody who only wants the crates or the
    // experiments should compile a hundred packages of HTML machinery.
    let builder = root.join("docs/builder/Cargo.toml");
    let target = root.join("target/book");
    let run = ["run", "--quiet", "--locked", "--manifest-path"].map(String::from);
    let rest =
        ["--target-dir", &target.to_string_lossy(), "--", &root.join("docs").to_string_lossy()].map(String::from);
    let mut stages =
        vec![Stage::cargo("the book", &[]).with(&run).with(&[builder.to_string_lossy().into_owned()]).with(&rest)];
    if args.test {
        stages.push(Stage::cargo("the book's examples", &["test", "-p", "backcast", "--doc", "book"]));
    }
    stages::run(&stages)?;
    println!("the book is in {}", root.join("docs/book/index.html").display());
    Ok(())
}
