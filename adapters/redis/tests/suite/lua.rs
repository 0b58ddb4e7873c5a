//! The scripts as texts: what a script declares it uses, and what it uses it declares.

use std::collections::{BTreeMap, BTreeSet};

use crate::monitor::SCRIPTS;

/// What every script has without declaring it.
const BUILT_IN: [&str; 18] = [
    "KEYS", "ARGV", "redis", "struct", "cjson", "string", "table", "math", "tonumber", "tostring",
    "ipairs", "pairs", "unpack", "type", "select", "next", "error", "pcall",
];

const KEYWORDS: [&str; 21] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// Names and signs of a script, without comments and texts.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        if rest.starts_with("--") {
            length = rest.find('\n').unwrap_or(rest.len());
        } else if first == '\'' || first == '"' {
            length = text_length(rest, first);
            tokens.push("''".into());
        } else if first.is_ascii_alphanumeric() || first == '_' {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            tokens.push(rest[..length].into());
        } else if let Some(sign) =
            ["...", "..", "==", "~=", "<=", ">="].iter().find(|sign| rest.starts_with(**sign))
        {
            length = sign.len();
            tokens.push((*sign).into());
        } else if !first.is_whitespace() {
            tokens.push(first.into());
        }
        rest = &rest[length..];
    }
    tokens
}

fn text_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    panic!("a text does not end: {text}")
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !KEYWORDS.contains(&token)
}

/// The names that a piece of a script declares: locals, parameters, loop variables, functions.
fn declared(tokens: &[String]) -> BTreeSet<&str> {
    let mut declared = BTreeSet::new();
    let mut tokens = tokens.iter().map(String::as_str).peekable();
    while let Some(token) = tokens.next() {
        if token == "function" {
            if let Some(name) = tokens.next_if(|token| is_name(token)) {
                declared.insert(name);
            }
            tokens.next_if_eq(&"(");
        }
        if matches!(token, "local" | "for" | "function") {
            while let Some(name) = tokens.next_if(|token| is_name(token) || *token == ",") {
                declared.insert(name);
            }
        }
    }
    declared
}

/// The names that a piece of a script uses. The names of fields are none.
fn used(tokens: &[String]) -> BTreeSet<&str> {
    let mut used = BTreeSet::new();
    let mut braces = 0;
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", |at| tokens[at].as_str());
        let after = tokens.get(at + 1).map_or("", String::as_str);
        match token.as_str() {
            "{" => braces += 1,
            "}" => braces -= 1,
            name if is_name(name) => {
                let is_field = before == "." || (braces > 0 && after == "=");
                if !is_field {
                    used.insert(name);
                }
            }
            _ => {}
        }
    }
    used
}

/// A script in its pieces: functions by name, and what stands between them.
struct Pieces {
    functions: BTreeMap<String, Vec<String>>,
    main: Vec<String>,
}

/// Functions begin with `local function` and end with `end`, both at the begin of a line.
fn pieces(source: &str) -> Pieces {
    let mut functions = BTreeMap::new();
    let mut main = String::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let Some(signature) = line.strip_prefix("local function ") else {
            main += line;
            main += "\n";
            continue;
        };
        let name = signature[..signature.find('(').unwrap()].to_owned();
        let body: Vec<_> = lines.by_ref().take_while(|line| *line != "end").collect();
        functions.insert(name, tokens(&format!("{line}\n{}\nend", body.join("\n"))));
    }
    Pieces { functions, main: tokens(&main) }
}

/// The pieces that can come to be executed.
fn reachable(pieces: &Pieces) -> Vec<&[String]> {
    let mut reached: Vec<&[String]> = vec![&pieces.main];
    let mut names = BTreeSet::new();
    let mut at = 0;
    while at < reached.len() {
        for name in used(reached[at]) {
            if let Some(function) = pieces.functions.get(name)
                && names.insert(name)
            {
                reached.push(function);
            }
        }
        at += 1;
    }
    reached
}

/// The first line gives the keys their names: `local jobs, meta = KEYS[1], KEYS[2]`.
fn keys(source: &str) -> (Vec<&str>, &str) {
    let (first, rest) = source.split_once('\n').unwrap();
    let names = first.strip_prefix("local ").unwrap();
    let (names, values) = names.split_once(" = ").unwrap();
    assert!(values.starts_with("KEYS[1]"), "{first}");
    (names.split(", ").collect(), rest)
}

#[test]
fn every_key_that_a_script_declares_is_used_by_it() {
    for (name, script) in SCRIPTS.iter() {
        let (keys, rest) = keys(&script.source);
        let tokens = tokens(rest);
        let used = used(&tokens);
        for key in keys {
            assert!(used.contains(key), "{name} declares the key {key} and does not use it");
        }
    }
}

#[test]
fn every_name_that_a_script_uses_is_declared() {
    for (name, script) in SCRIPTS.iter() {
        let pieces = pieces(&script.source);
        let top = declared(&pieces.main);
        for piece in reachable(&pieces) {
            let own = declared(piece);
            for used in used(piece) {
                let is_known = own.contains(used)
                    || top.contains(used)
                    || pieces.functions.contains_key(used)
                    || BUILT_IN.contains(&used);
                assert!(is_known, "{name} uses {used}, which it does not declare: it is nil");
            }
        }
    }
}

#[test]
fn an_undeclared_name_would_be_noticed() {
    let source =
        "local jobs = KEYS[1]\nlocal function f(a)\n  return g(a, jobs, dead)\nend\nf({ x = 1 })";
    let pieces = pieces(source);
    let reached = reachable(&pieces);
    assert_eq!(reached.len(), 2);
    assert_eq!(used(reached[1]), BTreeSet::from(["a", "dead", "f", "g", "jobs"]));
    assert_eq!(declared(reached[1]), BTreeSet::from(["a", "f"]));
}
