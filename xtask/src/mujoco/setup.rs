//! Fetching: pip knows where packages are and unpacks them; two kinds of files are kept of what it brings.

use anyhow::{Context, bail};
use backcast::envs::mujoco::Install;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The release of MuJoCo; trajectories differ between releases
    #[arg(long, default_value = "4.0.0")]
    release: String,
    /// The release of Gymnasium, whose models are used
    #[arg(long, default_value = "1.4.0")]
    gymnasium: String,
    /// A folder where both packages are installed already, such as a `site-packages`; nothing is fetched then
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// The Python whose pip is used
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

pub(super) fn main(args: Args) -> anyhow::Result<()> {
    let folder = Install::default_folder();
    let parent = folder.parent().context("the folder for MuJoCo has no parent")?;
    std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let work = tempfile::tempdir_in(parent).with_context(|| parent.display().to_string())?;
    let packages = match args.from {
        Some(from) => from,
        None => {
            let into = work.path().join("packages");
            let wanted =
                [format!("{}=={}", package(&args.release), args.release), format!("gymnasium=={}", args.gymnasium)];
            println!("pip fetches {}", wanted.join(" and "));
            let mut pip = Command::new(&args.python);
            pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target"]).arg(&into);
            let done = pip.args(&wanted).output();
            let done = done.with_context(|| {
                format!(
                    "{}: pip is needed to fetch the packages; or name a folder that has them with --from",
                    args.python.display()
                )
            })?;
            if !done.status.success() {
                bail!("pip ended with {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
            }
            into
        }
    };
    // Filled aside and put in place as a whole, so that nothing half-fetched is ever found.
    let staged = work.path().join("mujoco");
    gather(&packages, &staged)?;
    let install = Install::open(&staged)?;
    let version = install.library().version().to_owned();
    drop(install);
    if folder.exists() {
        std::fs::rename(&folder, work.path().join("before")).with_context(|| folder.display().to_string())?;
    }
    std::fs::rename(&staged, &folder).with_context(|| folder.display().to_string())?;
    println!("MuJoCo {version} in {}", folder.display());
    Ok(())
}

/// The package that brings the library: release 4 moved it out of the one called `mujoco`.
fn package(release: &str) -> &'static str {
    let major = release.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < 4) { "mujoco" } else { "mujoco-core" }
}

/// Copies the library and the models of `packages` to `into`.
fn gather(packages: &Path, into: &Path) -> anyhow::Result<()> {
    let models = into.join("models");
    std::fs::create_dir_all(&models).with_context(|| models.display().to_string())?;
    let is_library = |name: &str| name.starts_with("libmujoco.") || name == "mujoco.dll";
    let libraries = copy(&packages.join("mujoco"), into, is_library)?;
    if libraries == 0 {
        bail!("{}: there is no libmujoco in its folder `mujoco`", packages.display());
    }
    let drawn = copy(&packages.join("gymnasium/envs/mujoco/assets"), &models, |name| name.ends_with(".xml"))?;
    if drawn == 0 {
        bail!("{}: there are no models in its folder `gymnasium`", packages.display());
    }
    Ok(())
}

/// Copies the files of `from` whose names are wanted, and counts them.
fn copy(from: &Path, into: &Path, wanted: impl Fn(&str) -> bool) -> anyhow::Result<usize> {
    let mut copied = 0;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry.with_context(|| from.display().to_string())?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| wanted(name)) else { continue };
        std::fs::copy(&path, into.join(name)).with_context(|| path.display().to_string())?;
        copied += 1;
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_where_its_release_has_it() {
        assert_eq!(["3.2.7", "4.0.0", "10.1"].map(package), ["mujoco", "mujoco-core", "mujoco-core"]);
    }

    #[test]
    fn what_is_gathered_is_the_library_and_the_models_alone() {
        let work = tempfile::tempdir().unwrap();
        let (from, into) = (work.path().join("from"), work.path().join("into"));
        let assets = from.join("gymnasium/envs/mujoco/assets");
        std::fs::create_dir_all(from.join("mujoco")).unwrap();
        assert!(gather(&from, &into).is_err());
        std::fs::create_dir_all(&assets).unwrap();
        for path in [
            from.join("mujoco/libmujoco.so.4.0.0"),
            from.join("mujoco/x.py"),
            assets.join("hopper.xml"),
            assets.join("y.stl"),
        ] {
            std::fs::write(path, "").unwrap();
        }
        gather(&from, &into).unwrap();
        let names = |folder: PathBuf| -> Vec<_> {
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
        };
        let mut top = names(into.clone());
        top.sort();
        assert_eq!(
            (top, names(into.join("models"))),
            (vec!["libmujoco.so.4.0.0".into(), "models".into()], vec!["hopper.xml".to_owned()])
        );
    }
}
