//! `cargo xtask tidy`: what the compiler cannot check.
//!
//! Each rule is a function from the tree to its complaints, and has a test that feeds it something bad and sees it
//! complain. A line of source that must break a rule of *text* says `tidy: allow`.

mod documents;
mod layers;
mod shape;
mod source;
mod tree;
mod words;

use tree::Tree;

/// The name of a rule, and the rule.
type Rule = (&'static str, fn(&Tree) -> Vec<String>);

const RULES: [Rule; 23] = [
    ("layers", layers::layers),
    ("front pages", layers::front_pages),
    ("lock files", layers::lock_files),
    ("file names", source::file_names),
    ("file sizes", source::file_sizes),
    ("file lengths", source::file_lengths),
    ("algorithm lengths", shape::algorithm_lengths),
    ("unused dependencies", shape::unused_dependencies),
    ("circles", shape::circles),
    ("shape table", shape::shape_table),
    ("spelling", source::spelling),
    ("private words", source::private_words),
    ("field words", words::field_words),
    ("unsafe code", source::unsafe_code),
    ("ambient state", source::ambient),
    ("numbers", source::numbers),
    ("stubs", source::stubs),
    ("quotations", documents::quotations),
    ("subcommands", documents::subcommands),
    ("named tests", documents::named_tests),
    ("links", documents::links),
    ("table of contents", documents::contents),
    ("intervals", documents::intervals),
];

/// What is wanted of it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Make the table of ARCHITECTURE.md anew
    #[arg(long)]
    table: bool,
}

pub(crate) fn main(args: &Args) -> anyhow::Result<()> {
    let tree = Tree::read(&crate::root())?;
    if args.table {
        return shape::write_table(&tree);
    }
    let mut complaints = 0;
    for (name, rule) in RULES {
        for complaint in rule(&tree) {
            println!("{name}: {complaint}");
            complaints += 1;
        }
    }
    anyhow::ensure!(complaints == 0, "{complaints} complaints");
    println!("{} rules hold over {} files", RULES.len(), tree.files.len());
    Ok(())
}
