//! The way through a directory, entry by entry, that never follows a link.
//!
//! What always holds: the directory in which something is deleted is, by its own full path, the
//! one that was given or below it, and was so at the last look before the deletion. Everything
//! here blocks.

use std::fs::{self, DirEntry, Metadata, ReadDir};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use shiftwork::{JobError, Timestamp};

use super::{Batch, Count, LeftBehind};

/// Which files.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) dir: PathBuf,
    /// Empty: any.
    pub(super) prefix: String,
    /// Empty: any.
    pub(super) suffix: String,
    pub(super) recursive: bool,
    pub(super) may_be_missing: bool,
}

/// How far a run got.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Walk {
    begun: bool,
    /// The directory that is being read, by its full path.
    reading: Option<(PathBuf, ReadDir)>,
    /// Those that come after it.
    ahead: Vec<PathBuf>,
}

/// An expired file.
struct Expired {
    dir: PathBuf,
    path: PathBuf,
    bytes: u64,
}

impl Rules {
    pub(super) fn in_dir(dir: PathBuf) -> Self {
        Self {
            dir,
            prefix: String::new(),
            suffix: String::new(),
            recursive: false,
            may_be_missing: false,
        }
    }

    /// Names need not be UTF-8, so they are compared as bytes.
    fn match_name(&self, entry: &DirEntry) -> bool {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        name.starts_with(self.prefix.as_bytes()) && name.ends_with(self.suffix.as_bytes())
    }

    /// The directory by its full path, without links; `None` where it may be and is missing.
    fn root(&self) -> Result<Option<PathBuf>, JobError> {
        let dir = self.dir.display();
        let root = match fs::canonicalize(&self.dir) {
            Ok(root) => root,
            Err(error) if error.kind() == ErrorKind::NotFound && self.may_be_missing => {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(format!(
                    "there is no directory {dir}; create it, correct the path, or say \
                     .or_missing() if that is as it should be"
                )
                .into());
            }
            Err(error) => return Err(format!("the directory {dir}: {error}").into()),
        };
        if !root.is_dir() {
            return Err(format!("{dir} is no directory").into());
        }
        if root.parent().is_none() {
            let refused = format!("{dir} is the root of a file system; name a directory in it");
            return Err(JobError::permanent(refused));
        }
        Ok(Some(root))
    }
}

impl Walk {
    /// Goes through all of it.
    pub(super) fn count(
        &mut self,
        rules: &Rules,
        older_than: Timestamp,
        stop: &AtomicBool,
    ) -> Result<Count, JobError> {
        self.begin(rules)?;
        let mut count = Count { bytes: Some(0), ..Count::default() };
        while let Some(file) = self.next(rules, older_than, &mut count.skipped, stop) {
            count.expired += 1;
            count.bytes = count.bytes.map(|bytes| bytes + file.bytes);
        }
        Ok(count)
    }

    /// Goes on until so many are deleted.
    pub(super) fn delete(
        &mut self,
        rules: &Rules,
        older_than: Timestamp,
        limit: u32,
        stop: &AtomicBool,
    ) -> Result<Batch, JobError> {
        self.delete_by(Expired::remove, rules, older_than, limit, stop)
    }

    fn delete_by(
        &mut self,
        remove: impl Fn(&Expired) -> io::Result<()>,
        rules: &Rules,
        older_than: Timestamp,
        limit: u32,
        stop: &AtomicBool,
    ) -> Result<Batch, JobError> {
        self.begin(rules)?;
        let mut batch = Batch { bytes: Some(0), ..Batch::default() };
        while batch.deleted < u64::from(limit) {
            let Some(file) = self.next(rules, older_than, &mut batch.skipped, stop) else {
                return Ok(batch);
            };
            match remove(&file) {
                Ok(()) => {
                    batch.deleted += 1;
                    batch.bytes = batch.bytes.map(|bytes| bytes + file.bytes);
                }
                // Somebody else was quicker.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => batch.failed.add(told(&file.path, &error)),
            }
        }
        batch.more = true;
        Ok(batch)
    }

    fn begin(&mut self, rules: &Rules) -> Result<(), JobError> {
        if self.begun {
            return Ok(());
        }
        if let Some(root) = rules.root()? {
            // What a subdirectory would be skipped for is an error of the whole.
            let entries = open(&root).map_err(|error| told(&root, &error))?;
            self.reading = Some((root, entries));
        }
        self.begun = true;
        Ok(())
    }

    fn next(
        &mut self,
        rules: &Rules,
        older_than: Timestamp,
        skipped: &mut LeftBehind,
        stop: &AtomicBool,
    ) -> Option<Expired> {
        while !stop.load(Ordering::Relaxed) {
            let Some((dir, entries)) = &mut self.reading else {
                let dir = self.ahead.pop()?;
                match open(&dir) {
                    Ok(entries) => self.reading = Some((dir, entries)),
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => skipped.add(told(&dir, &error)),
                }
                continue;
            };
            let entry = match entries.next() {
                Some(Ok(entry)) => entry,
                ended => {
                    if let Some(Err(error)) = ended {
                        skipped.add(format!("the rest of {}", told(dir, &error)));
                    }
                    self.reading = None;
                    continue;
                }
            };
            // Of the entry itself: a link's own, not what it points to.
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) => {
                    if error.kind() != ErrorKind::NotFound {
                        skipped.add(told(&entry.path(), &error));
                    }
                    continue;
                }
            };
            if metadata.is_dir() && rules.recursive {
                self.ahead.push(entry.path());
            }
            if !metadata.is_file() || !rules.match_name(&entry) {
                continue;
            }
            match modified(&metadata) {
                Ok(modified) if modified < older_than => {
                    let (dir, path) = (dir.clone(), entry.path());
                    return Some(Expired { dir, path, bytes: metadata.len() });
                }
                Ok(_) => {}
                Err(error) => skipped.add(told(&entry.path(), &error)),
            }
        }
        None
    }
}

impl Expired {
    /// Deletes it. Where a link has come in its place, that is what is deleted.
    fn remove(&self) -> io::Result<()> {
        check_in_place(&self.dir)?;
        fs::remove_file(&self.path)
    }
}

fn open(dir: &Path) -> io::Result<ReadDir> {
    check_in_place(dir)?;
    fs::read_dir(dir)
}

/// Whether a directory, given by its full path without links, is still there and no link is on
/// the way to it.
fn check_in_place(dir: &Path) -> io::Result<()> {
    if fs::canonicalize(dir)? == dir {
        return Ok(());
    }
    Err(io::Error::other("somebody exchanged its directory for a link meanwhile"))
}

fn modified(metadata: &Metadata) -> io::Result<Timestamp> {
    Ok(metadata.modified()?.into())
}

fn told(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use tempfile::TempDir;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_305_600_000);
    const HOUR: Duration = Duration::from_secs(3600);

    /// A file that was modified so long ago.
    fn file(path: impl AsRef<Path>, age: Duration) {
        let path = path.as_ref();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "four").unwrap();
        File::options().write(true).open(path).unwrap().set_modified((NOW - age).into()).unwrap();
    }

    fn dir() -> (TempDir, Rules) {
        let dir = tempfile::tempdir().unwrap();
        let rules = Rules::in_dir(dir.path().to_owned());
        (dir, rules)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    fn count(rules: &Rules) -> Count {
        Walk::default().count(rules, NOW - HOUR, &AtomicBool::new(false)).unwrap()
    }

    fn delete(rules: &Rules) -> Batch {
        Walk::default().delete(rules, NOW - HOUR, 1000, &AtomicBool::new(false)).unwrap()
    }

    fn refusal(rules: &Rules) -> String {
        let stop = AtomicBool::new(false);
        let counting = Walk::default().count(rules, NOW, &stop).unwrap_err();
        let deleting = Walk::default().delete(rules, NOW, 1, &stop).unwrap_err();
        assert_eq!(counting.to_string(), deleting.to_string());
        deleting.to_string()
    }

    #[test]
    fn what_is_older_goes_and_what_is_as_old_or_younger_stays() {
        let (dir, rules) = dir();
        file(dir.path().join("older"), HOUR + Duration::from_millis(1));
        file(dir.path().join("as old"), HOUR);
        file(dir.path().join("younger"), Duration::ZERO);
        let future = File::create(dir.path().join("of tomorrow")).unwrap();
        future.set_modified(SystemTime::from(NOW) + 24 * HOUR).unwrap();
        let found = count(&rules);
        assert_eq!((found.expired, found.bytes), (1, Some(4)));
        let batch = delete(&rules);
        assert_eq!((batch.deleted, batch.bytes, batch.more), (1, Some(4), false));
        assert_eq!(names(dir.path()), ["as old", "of tomorrow", "younger"]);
    }

    #[test]
    fn a_batch_goes_on_where_the_last_one_ended() {
        let (dir, rules) = dir();
        (0..25).for_each(|number| file(dir.path().join(format!("{number}")), 2 * HOUR));
        let (mut walk, stop) = (Walk::default(), AtomicBool::new(false));
        let mut batch = || walk.delete(&rules, NOW - HOUR, 10, &stop).unwrap();
        let batches = [batch(), batch(), batch()];
        assert_eq!(
            batches.map(|batch| (batch.deleted, batch.more)),
            [(10, true), (10, true), (5, false)]
        );
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn prefix_and_suffix_choose_among_names() {
        let (dir, mut rules) = dir();
        for name in ["db-1.sql.gz", "db-1.sql", "files-1.sql.gz", "db-.sql.gz.part"] {
            file(dir.path().join(name), 2 * HOUR);
        }
        (rules.prefix, rules.suffix) = ("db-".into(), ".sql.gz".into());
        assert_eq!(delete(&rules).deleted, 1);
        assert_eq!(names(dir.path()), ["db-.sql.gz.part", "db-1.sql", "files-1.sql.gz"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_need_not_be_utf_8() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let (dir, mut rules) = dir();
        file(dir.path().join(OsStr::from_bytes(b"caf\xe9.gz")), 2 * HOUR);
        rules.suffix = ".gz".into();
        assert_eq!(delete(&rules).deleted, 1);
    }

    #[test]
    fn subdirectories_are_left_alone_unless_asked_for_and_stay() {
        let (dir, mut rules) = dir();
        for path in ["a", "sub/b", "sub/deep/c"] {
            file(dir.path().join(path), 2 * HOUR);
        }
        assert_eq!(delete(&rules).deleted, 1);
        rules.recursive = true;
        assert_eq!((count(&rules).expired, delete(&rules).deleted), (2, 2));
        assert_eq!(names(&dir.path().join("sub")), ["deep"]);
        assert_eq!(names(&dir.path().join("sub/deep")), [""; 0]);
    }

    #[test]
    fn a_missing_directory_is_an_error_that_says_so_unless_it_may_be_missing() {
        let (dir, mut rules) = dir();
        rules.dir = dir.path().join("nowhere");
        let message = refusal(&rules);
        assert!(message.starts_with("there is no directory "), "{message}");
        assert!(message.contains("nowhere; create it"), "{message}");
        rules.may_be_missing = true;
        assert_eq!((count(&rules).expired, delete(&rules).deleted), (0, 0));
    }

    #[test]
    fn a_file_is_no_directory() {
        let (dir, mut rules) = dir();
        rules.dir = dir.path().join("file");
        file(&rules.dir, Duration::ZERO);
        assert!(refusal(&rules).ends_with("file is no directory"));
    }

    #[cfg(unix)]
    mod links {
        use std::os::unix::fs::symlink;

        use super::*;

        #[test]
        fn a_link_is_neither_followed_nor_deleted() {
            let (outside, _) = dir();
            file(outside.path().join("file"), 2 * HOUR);
            let (dir, mut rules) = dir();
            rules.recursive = true;
            file(dir.path().join("sub/file"), 2 * HOUR);
            symlink(outside.path().join("file"), dir.path().join("link to a file")).unwrap();
            symlink(outside.path(), dir.path().join("link to a directory")).unwrap();
            symlink(outside.path(), dir.path().join("sub/link to a directory")).unwrap();
            symlink("nowhere", dir.path().join("link to nothing")).unwrap();
            symlink(dir.path(), dir.path().join("sub/link back")).unwrap();
            assert_eq!((count(&rules).expired, delete(&rules).deleted), (1, 1));
            assert_eq!(names(outside.path()), ["file"]);
            let links = ["link to a directory", "link to a file", "link to nothing", "sub"];
            assert_eq!(names(dir.path()), links);
            assert_eq!(names(&dir.path().join("sub")), ["link back", "link to a directory"]);
        }

        #[test]
        fn the_directory_itself_may_be_a_link() {
            let (dir, mut rules) = dir();
            file(dir.path().join("real/file"), 2 * HOUR);
            rules.dir = dir.path().join("link");
            symlink(dir.path().join("real"), &rules.dir).unwrap();
            assert_eq!(delete(&rules).deleted, 1);
        }

        #[test]
        fn the_root_of_a_file_system_is_refused_however_it_is_written() {
            let (dir, mut rules) = dir();
            let link = dir.path().join("link");
            symlink("/", &link).unwrap();
            for root in [PathBuf::from("/"), "/tmp/..".into(), link] {
                rules.dir = root;
                let message = refusal(&rules);
                assert!(message.contains("is the root of a file system"), "{message}");
            }
        }

        /// The way to the next expired file.
        fn found(rules: &Rules) -> Expired {
            let mut walk = Walk::default();
            walk.begin(rules).unwrap();
            let skipped = &mut LeftBehind::default();
            walk.next(rules, NOW - HOUR, skipped, &AtomicBool::new(false)).unwrap()
        }

        #[test]
        fn a_directory_exchanged_for_a_link_is_not_deleted_through() {
            let (outside, _) = dir();
            file(outside.path().join("file"), 2 * HOUR);
            let (dir, mut rules) = dir();
            rules.recursive = true;
            file(dir.path().join("sub/file"), 2 * HOUR);
            let expired = found(&rules);
            fs::rename(dir.path().join("sub"), dir.path().join("moved")).unwrap();
            symlink(outside.path(), dir.path().join("sub")).unwrap();
            let message = expired.remove().unwrap_err().to_string();
            assert!(message.contains("exchanged its directory for a link"), "{message}");
            assert_eq!(names(outside.path()), ["file"]);
        }

        #[test]
        fn a_directory_exchanged_for_a_link_is_not_read() {
            let (outside, _) = dir();
            file(outside.path().join("file"), 2 * HOUR);
            let (dir, mut rules) = dir();
            rules.recursive = true;
            fs::create_dir(dir.path().join("sub")).unwrap();
            let (mut walk, stop) = (Walk::default(), AtomicBool::new(false));
            walk.begin(&rules).unwrap();
            walk.ahead.push(fs::canonicalize(dir.path()).unwrap().join("sub"));
            fs::rename(dir.path().join("sub"), dir.path().join("moved")).unwrap();
            symlink(outside.path(), dir.path().join("sub")).unwrap();
            let batch = walk.delete(&rules, NOW - HOUR, 10, &stop).unwrap();
            assert_eq!((batch.deleted, batch.skipped.count), (0, 1));
            assert_eq!(names(outside.path()), ["file"]);
        }

        #[test]
        fn of_a_file_exchanged_for_a_link_only_the_link_is_deleted() {
            let (outside, _) = dir();
            file(outside.path().join("file"), 2 * HOUR);
            let (dir, rules) = dir();
            file(dir.path().join("file"), 2 * HOUR);
            let expired = found(&rules);
            fs::remove_file(dir.path().join("file")).unwrap();
            symlink(outside.path().join("file"), dir.path().join("file")).unwrap();
            expired.remove().unwrap();
            assert_eq!(names(dir.path()), [""; 0]);
            assert_eq!(names(outside.path()), ["file"]);
        }

        #[test]
        fn a_file_that_is_gone_already_is_no_failure() {
            let (dir, rules) = dir();
            file(dir.path().join("file"), 2 * HOUR);
            let expired = found(&rules);
            delete(&rules);
            assert_eq!(expired.remove().unwrap_err().kind(), ErrorKind::NotFound);
        }
    }

    #[test]
    fn what_cannot_be_deleted_is_told_once_and_does_not_keep_the_rest_from_it() {
        let (dir, rules) = dir();
        (0..10).for_each(|number| file(dir.path().join(format!("{number}")), 2 * HOUR));
        let remove = |file: &Expired| match file.path.ends_with("3") {
            true => Err(ErrorKind::PermissionDenied.into()),
            false => file.remove(),
        };
        let (mut walk, stop) = (Walk::default(), AtomicBool::new(false));
        let mut batch = || walk.delete_by(remove, &rules, NOW - HOUR, 5, &stop).unwrap();
        let (first, second) = (batch(), batch());
        assert_eq!((first.deleted + second.deleted, second.more), (9, false));
        let failed = [first.failed.first, second.failed.first].concat();
        assert_eq!(failed.len(), 1);
        assert!(failed[0].ends_with("/3: permission denied"), "{failed:?}");
        assert_eq!(names(dir.path()), ["3"]);
    }

    #[test]
    fn what_is_told_to_stop_stops() {
        let (dir, rules) = dir();
        file(dir.path().join("file"), 2 * HOUR);
        let batch = Walk::default().delete(&rules, NOW, 10, &AtomicBool::new(true)).unwrap();
        assert_eq!(batch.deleted, 0);
        assert_eq!(names(dir.path()), ["file"]);
    }
}
