//! No bare timers: what clippy refuses here, the guide has users refuse.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

/// The methods that clippy disallows, as they stand in a text.
fn disallowed(text: &str) -> &str {
    let start = text.find("disallowed-methods = [\n").expect("it disallows methods");
    let length = text[start..].find("\n]\n").expect("the list has an end") + "\n]\n".len();
    &text[start..start + length]
}

#[test]
fn the_guide_has_the_lines_that_hold_for_this_repository() {
    let (guide, own) = (read("docs/adding-a-job.md"), read("clippy.toml"));
    assert_eq!(disallowed(&guide), disallowed(&own));
    let block = format!("```toml\n{}```\n", disallowed(&own));
    assert!(guide.contains(&block), "they are a block of their own, to be copied");
    for method in ["interval", "interval_at", "sleep", "sleep_until"] {
        let entry = format!("{{ path = \"tokio::time::{method}\", reason = ");
        assert!(own.contains(&entry), "{entry}");
    }
}

#[test]
fn ready_made_jobs_and_examples_make_no_exception_from_them() {
    let mut looked_at = 0;
    let mut dirs = vec!["jobs/src".into(), "examples".into()];
    while let Some(dir) = dirs.pop() {
        let dir: std::path::PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
        for entry in fs::read_dir(&dir).expect("it is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("it is text");
                assert!(!text.contains("disallowed_methods"), "{}", path.display());
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 20, "only {looked_at} files");
}
