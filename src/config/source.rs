//! Where variables come from: the environment, over `shiftwork.toml`.
//!
//! The file says the same in tables: `[jobs] attempts = 5` is `JOBS_ATTEMPTS=5`, and
//! `[jobs.queue.reports] concurrency = 2` is `JOBS_QUEUE_REPORTS_CONCURRENCY=2`. So there is one
//! list of names, and what is wrong is told by the one a person can search for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use config::{Config, File, FileFormat, Value, ValueKind};

use super::variables::in_capitals;
use crate::error::Problems;

/// The file, in the working directory.
pub(crate) const FILE: &str = "shiftwork.toml";

/// Where variables come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The process's environment, over the file.
    Environment,
    /// These alone.
    Given(BTreeMap<String, String>),
}

/// The variables that are set: those that begin with `JOBS_`, `WORKER_ROLE`, and fallbacks of
/// providers' own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables(BTreeMap<String, (String, Origin)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Environment,
    File,
}

impl Variables {
    /// Reads what is ours, and what is named by `others`.
    pub(crate) fn read(source: &Source, others: &[&str], problems: &mut Problems) -> Self {
        let is_wanted = |name: &str| is_ours(name) || others.contains(&name);
        match source {
            Source::Given(given) => {
                let mut variables = Self::default();
                let set = given.iter().map(|(name, value)| (name.into(), value.into()));
                variables.add_environment(set, is_wanted, problems);
                variables
            }
            Source::Environment => {
                Self::layered(Path::new(FILE), std::env::vars_os(), is_wanted, problems)
            }
        }
    }

    fn layered(
        file: &Path,
        environment: impl Iterator<Item = (OsString, OsString)>,
        is_wanted: impl Fn(&str) -> bool,
        problems: &mut Problems,
    ) -> Self {
        let mut variables = Self::default();
        let source = File::from(file).format(FileFormat::Toml).required(false);
        match Config::builder().add_source(source).build() {
            Ok(read) => variables.add_file("", read.cache, problems),
            Err(fault) => problems.add(format!("{FILE} cannot be read: {}", unquoted(&fault))),
        }
        variables.add_environment(environment, is_wanted, problems);
        variables
    }

    fn add_file(&mut self, path: &str, value: Value, problems: &mut Problems) {
        let text = match value.kind {
            ValueKind::Table(table) => {
                for (key, value) in table {
                    let separator = if path.is_empty() { "" } else { "_" };
                    self.add_file(
                        &format!("{path}{separator}{}", in_capitals(&key)),
                        value,
                        problems,
                    );
                }
                return;
            }
            ValueKind::Array(values) => {
                let texts: Vec<_> = values.into_iter().map(|value| value.to_string()).collect();
                texts.join(",")
            }
            _ => value.to_string(),
        };
        if is_ours(path) {
            self.0.insert(path.into(), (text, Origin::File));
        } else {
            problems.add(format!(
                "{FILE} sets {path}, which is none of ours; what belongs to JOBS_… stands under \
                 [jobs], and WORKER_ROLE is [worker] role"
            ));
        }
    }

    fn add_environment(
        &mut self,
        environment: impl Iterator<Item = (OsString, OsString)>,
        is_wanted: impl Fn(&str) -> bool,
        problems: &mut Problems,
    ) {
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| is_wanted(name)) else { continue };
            match value.into_string() {
                // Set and empty is how many tools say "not set".
                Ok(value) if value.trim().is_empty() => {
                    self.0.remove(name);
                }
                Ok(value) => {
                    self.0.insert(name.into(), (value.trim().into(), Origin::Environment));
                }
                Err(_) => problems.add(format!("{name} is not valid UTF-8")),
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(value, _)| value.as_str())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// `JOBS_ATTEMPTS`, and the file where it was set there.
    pub(crate) fn described(&self, name: &str) -> String {
        match self.0.get(name) {
            Some((_, Origin::File)) => format!("{name} (in {FILE})"),
            _ => name.into(),
        }
    }
}

/// What is wrong with a file, and where, without the line itself: it may hold a password.
fn unquoted(fault: &config::ConfigError) -> String {
    let told = fault.to_string();
    let lines = told.lines().filter(|line| !line.contains('|') && !line.trim().is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join(": ")
}

fn is_ours(name: &str) -> bool {
    name.starts_with("JOBS_") || matches!(name, "WORKER_ROLE" | "REDIS_URL" | "UPSTASH_REDIS_URL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layered(toml: &str, environment: &[(&str, &str)]) -> (Variables, String) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        std::fs::write(&file, toml).unwrap();
        let mut problems = Problems::default();
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
        let variables = Variables::layered(&file, environment, is_ours, &mut problems);
        let problems =
            problems.into_result().map_or_else(|error| error.to_string(), |()| "".into());
        (variables, problems)
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let (variables, problems) = layered(
            "[jobs]\nattempts = 5\ntimeout = \"3m\"\nqueues = [\"a\", \"b\"]\n\
             [jobs.queue.mail-out]\nconcurrency = 2\n[worker]\nrole = \"cron\"\n",
            &[("JOBS_TIMEOUT", "4m"), ("PATH", "/bin")],
        );
        assert_eq!(problems, "");
        assert_eq!(variables.get("JOBS_ATTEMPTS"), Some("5"));
        assert_eq!(variables.get("JOBS_TIMEOUT"), Some("4m"));
        assert_eq!(variables.get("JOBS_QUEUES"), Some("a,b"));
        assert_eq!(variables.get("JOBS_QUEUE_MAIL_OUT_CONCURRENCY"), Some("2"));
        assert_eq!(variables.get("WORKER_ROLE"), Some("cron"));
        assert_eq!(variables.get("PATH"), None);
        assert_eq!(variables.described("JOBS_ATTEMPTS"), "JOBS_ATTEMPTS (in shiftwork.toml)");
        assert_eq!(variables.described("JOBS_TIMEOUT"), "JOBS_TIMEOUT");
    }

    #[test]
    fn an_empty_variable_is_not_set_and_hides_the_file() {
        let (variables, _) = layered("[jobs]\nattempts = 5\n", &[("JOBS_ATTEMPTS", " ")]);
        assert_eq!(variables.get("JOBS_ATTEMPTS"), None);
    }

    #[test]
    fn a_file_that_is_no_toml_or_says_something_else_is_a_problem() {
        let fault = layered("[jobs]\nredis_url = \"redis://:hunter2@host", &[]).1;
        assert!(fault.contains("shiftwork.toml cannot be read"), "{fault}");
        assert!(fault.contains("line 2") && !fault.contains("hunter2"), "{fault}");
        assert!(layered("attempts = 5", &[]).1.contains("sets ATTEMPTS, which is none of ours"));
    }

    #[test]
    fn no_file_is_no_problem() {
        let mut problems = Problems::default();
        let nothing = std::iter::empty();
        Variables::layered(Path::new("/nowhere/shiftwork.toml"), nothing, is_ours, &mut problems);
        assert!(problems.into_result().is_ok());
    }
}
