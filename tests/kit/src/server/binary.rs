//! Where the server's executable is.

use std::env;
use std::path::PathBuf;

/// The variable that names it, for machines which have it elsewhere.
const VARIABLE: &str = "SHIFTWORK_REDIS_SERVER";

/// Both speak the same protocol and take the same options.
const NAMES: [&str; 2] = ["redis-server", "valkey-server"];

/// Searched after `PATH`: where packages put servers is not on everybody's.
const DIRECTORIES: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/usr/sbin"];

pub(super) fn find() -> PathBuf {
    if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "{VARIABLE} is {path:?}, and there is no such file");
        return path;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(DIRECTORIES.map(PathBuf::from))
        .flat_map(|directory| NAMES.map(|name| directory.join(name)))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!(
                "these tests start a server of their own, and there is neither redis-server nor \
                 valkey-server on PATH: install the package redis-server, redis or valkey, version \
                 6.2 or later, or set {VARIABLE} to the executable; `make test` sees to it"
            )
        })
}
