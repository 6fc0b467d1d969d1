//! Builds the book in docs/ without any program to install.
#![forbid(unsafe_code)]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("which folder holds book.toml?")?;
    // A preprocessor that fails (a quoted file that is gone) only logs by default; `cargo xtask tidy` checks every
    // quotation before it comes to that.
    mdbook_driver::MDBook::load(folder)?.build()?;
    Ok(())
}
