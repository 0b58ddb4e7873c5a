//! Which files are digested.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::Outcome;

const USAGE: &str = "\
usage: cargo run --example quickstart [-- [DIR] [--stay]]

  DIR      digest the files under DIR; not given: this repository's sources and documents
  --stay   go on until Ctrl-C";

/// What the command line says.
pub struct Arguments {
    pub dir: Option<PathBuf>,
    pub stay: bool,
}

impl Arguments {
    /// `None`: help was asked for, and given.
    pub fn read(arguments: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut read = Self { dir: None, stay: false };
        for argument in arguments {
            match argument.as_str() {
                "--help" | "-h" => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                "--stay" => read.stay = true,
                option if option.starts_with('-') => {
                    return Err(format!("there is no option {option}\n\n{USAGE}").into());
                }
                _ if read.dir.is_some() => {
                    return Err(format!("only one DIR can be given\n\n{USAGE}").into());
                }
                dir => read.dir = Some(dir.into()),
            }
        }
        Ok(Some(read))
    }
}

/// Files that are made to fail, and backups that are made to be old.
pub struct Specimens(TempDir);

impl Specimens {
    pub fn create() -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("latin-1.txt"), b"na\xefve")?;
        let backups = dir.path().join("backups");
        fs::create_dir(&backups)?;
        for (name, age_in_days) in [("january.tar", 90), ("march.tar", 31), ("today.tar", 0)] {
            let file = File::create(backups.join(name))?;
            let age = Duration::from_secs(age_in_days * 24 * 3600);
            file.set_modified(SystemTime::now() - age)?;
        }
        Ok(Self(dir))
    }

    pub fn backups(&self) -> PathBuf {
        self.0.path().join("backups")
    }

    /// One that is not there, and one that is no UTF-8.
    fn failing(&self) -> [PathBuf; 2] {
        ["missing.txt", "latin-1.txt"].map(|name| self.0.path().join(name))
    }
}

/// The files to digest.
pub struct Input {
    pub root: PathBuf,
    pub files: Vec<PathBuf>,
    specimens: usize,
}

impl Input {
    pub fn gather(arguments: &Arguments, specimens: &Specimens) -> Outcome<Self> {
        let mut files = Vec::new();
        let root = match &arguments.dir {
            Some(dir) => {
                walk(dir, &mut files, &|_| true).map_err(|error| {
                    format!("cannot read the directory {}: {error}", dir.display())
                })?;
                dir.clone()
            }
            None => {
                let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
                for part in ["src", "adapters", "jobs", "macros", "examples", "tests", "docs"] {
                    // Not every distribution has all of them.
                    if root.join(part).is_dir() {
                        walk(&root.join(part), &mut files, &is_text)?;
                    }
                }
                root
            }
        };
        files.sort();
        let mut input = Self { root, files, specimens: 0 };
        if arguments.dir.is_none() {
            let failing = specimens.failing();
            input.specimens = failing.len();
            input.files.splice(0..0, failing);
        }
        Ok(input)
    }

    pub fn describe(&self) -> String {
        let found = self.files.len() - self.specimens;
        let plural = if found == 1 { "" } else { "s" };
        match self.specimens {
            0 => format!("{found} file{plural}"),
            specimens => format!("{found} file{plural} and {specimens} that are made to fail"),
        }
    }
}

/// Every file under `dir`, links to files too; links to directories are not followed.
fn walk(
    dir: &Path,
    files: &mut Vec<PathBuf>,
    wanted: &dyn Fn(&Path) -> bool,
) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let is_linked_dir = kind.is_symlink() && path.is_dir();
        if kind.is_dir() {
            walk(&path, files, wanted)?;
        } else if (kind.is_file() || kind.is_symlink()) && !is_linked_dir && wanted(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_text(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("rs" | "md" | "toml" | "lua" | "stderr"))
}
