//! What a server executes, as its command `MONITOR` tells it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::{fs, str};

use shiftwork_test_kit::{Connection, RedisServer};

use crate::support::*;

/// Listens from its start to its end.
pub struct Monitor<'a> {
    server: &'a RedisServer,
    connection: Connection,
}

/// A command that was executed.
#[derive(Debug)]
pub struct Executed {
    /// Inside of a script.
    pub in_script: bool,
    /// The command's name, in small letters, and its arguments.
    pub command: String,
    pub arguments: Vec<Vec<u8>>,
}

impl<'a> Monitor<'a> {
    pub fn start(server: &'a RedisServer) -> Self {
        let mut connection = Connection::open(server.address(), LONG).unwrap();
        assert_eq!(connection.call(&["MONITOR"]).unwrap().text(), "OK");
        Self { server, connection }
    }

    /// All that was executed meanwhile, in its order.
    pub fn end(mut self) -> Vec<Executed> {
        let last = "that was all";
        self.server.call(&["ECHO", last]);
        let mut all = Vec::new();
        loop {
            let line = self.connection.receive().unwrap().text();
            let executed = read(&line);
            if executed.command == "echo" && executed.arguments == [last.as_bytes()] {
                return all;
            }
            all.push(executed);
        }
    }
}

/// Reads `1339518083.107412 [0 127.0.0.1:60866] "get" "a\x00key"`, or `[0 lua]` for the client.
fn read(line: &str) -> Executed {
    let (_, rest) = line.split_once(" [").expect("a line of MONITOR has a client");
    let (client, mut rest) = rest.split_once("] ").expect("the client ends");
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (word, left) = read_word(rest.strip_prefix('"').expect("words are quoted"));
        words.push(word);
        rest = left.trim_start();
    }
    let command = String::from_utf8(words.remove(0)).unwrap().to_lowercase();
    Executed { in_script: client.ends_with(" lua"), command, arguments: words }
}

/// A word up to its closing quote, and what follows.
fn read_word(text: &str) -> (Vec<u8>, &str) {
    let mut word = Vec::new();
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return (word, &text[at + 1..]),
            b'\\' => {
                let (at, escaped) = bytes.next().expect("something is escaped");
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    b'x' => {
                        bytes.nth(1);
                        u8::from_str_radix(&text[at + 1..at + 3], 16).expect("two digits follow")
                    }
                    other => other,
                });
            }
            byte => word.push(byte),
        }
    }
    panic!("a word does not end: {text}")
}

/// A script as the adapter gives it to its server.
pub struct Loaded {
    pub source: String,
    pub sha: String,
}

/// The scripts by the names of their files.
pub static SCRIPTS: LazyLock<BTreeMap<String, Loaded>> = LazyLock::new(|| {
    let server = RedisServer::start();
    let monitor = Monitor::start(&server);
    // On a thread of its own: whoever asks first may be inside of a runtime.
    let url = server.url();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { open(&url).ping().await.unwrap() });
    })
    .join()
    .unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scripts");
    let files: Vec<(String, String)> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "lua"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, code(&path))
        })
        .collect();
    let mut loaded = BTreeMap::new();
    for Executed { command, arguments, .. } in monitor.end() {
        if command != "script" || !arguments[0].eq_ignore_ascii_case(b"load") {
            continue;
        }
        let source = str::from_utf8(&arguments[1]).unwrap().to_owned();
        let name = files.iter().filter(|(_, text)| source.ends_with(text)).map(|(name, _)| name);
        let name = name.max_by_key(|name| name.len()).expect("a script is a file").clone();
        let sha = redis::Script::new(&source).get_hash().to_owned();
        loaded.insert(name, Loaded { source, sha });
    }
    // The one that is not kept by the server but sent when it is needed.
    let kept = files.len() - usize::from(files.iter().any(|(name, _)| name == "check"));
    assert_eq!(loaded.len(), kept, "{:?}", loaded.keys());
    loaded
});

/// What is executed of a script's file, with what it includes: its end is the script's.
fn code(path: &Path) -> String {
    let mut code = String::new();
    for line in fs::read_to_string(path).unwrap().lines().map(str::trim_start) {
        if let Some(library) = line.strip_prefix("-- @include ") {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scripts/lib");
            code += &self::code(&directory.join(format!("{}.lua", library.trim())));
        } else if !line.is_empty() && !line.starts_with("--") {
            code += line;
            code += "\n";
        }
    }
    code
}

/// Whether a request calls this script.
pub fn calls(script: &str) -> impl Fn(&[u8]) -> bool + Send + Sync + 'static {
    let Some(loaded) = SCRIPTS.get(script) else { panic!("no script is called {script}") };
    has(&loaded.sha)
}

/// Whether a request has this text in it.
pub fn has(text: &str) -> impl Fn(&[u8]) -> bool + Send + Sync + 'static {
    let text = text.as_bytes().to_vec();
    move |request| request.windows(text.len()).any(|bytes| bytes == text)
}
