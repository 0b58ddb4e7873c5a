//! The scripts as texts: what a script declares it uses, and what it uses it declares.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::ops::Range;

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

const LISTS: [&str; 5] = ["wait0", "wait1", "wait2", "wait3", "wait4"];

/// Names and signs of a script, without comments and texts.
fn tokens(source: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut length = first.len_utf8();
        if rest.starts_with("--") {
            length = rest.find('\n').unwrap_or(rest.len());
        } else if first == '\'' || first == '"' {
            length = text_length(rest, first);
        } else if is_part(first) {
            length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            tokens.push(&rest[..length]);
        } else if let Some(sign) =
            ["...", "..", "==", "~=", "<=", ">="].iter().find(|sign| rest.starts_with(**sign))
        {
            length = sign.len();
            tokens.push(sign);
        } else if !first.is_whitespace() {
            tokens.push(&rest[..length]);
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

/// The names that come next, with commas between them.
fn names<'a>(tokens: &mut Peekable<impl Iterator<Item = &'a str>>) -> Vec<&'a str> {
    let mut names = Vec::new();
    while let Some(name) = tokens.next_if(|token| is_name(token) || *token == ",") {
        names.push(name);
    }
    names
}

/// Where the local functions are: their names, from `local` to behind their `end`.
fn functions<'a>(tokens: &[&'a str]) -> Vec<(&'a str, Range<usize>)> {
    let mut functions = Vec::new();
    for from in 0..tokens.len() {
        let ["local", "function", name, ..] = tokens[from..] else { continue };
        let mut depth = 0;
        let end = tokens[from..].iter().position(|token| {
            match *token {
                "function" | "if" | "do" | "repeat" => depth += 1,
                "end" | "until" => depth -= 1,
                _ => {}
            }
            *token == "end" && depth == 0
        });
        functions.push((name, from..from + end.expect("every function ends") + 1));
    }
    functions
}

/// A script without the functions that nobody calls: what stands in them does not matter.
fn without_idle_functions(mut tokens: Vec<&str>) -> Vec<&str> {
    loop {
        let idle = functions(&tokens).into_iter().find(|(name, range)| {
            let uses = tokens.iter().enumerate().filter(|(_, token)| *token == name);
            uses.into_iter().all(|(at, _)| range.contains(&at))
        });
        let Some((_, range)) = idle else { return tokens };
        tokens.drain(range);
    }
}

/// The names that are used where they are not declared.
fn undeclared(source: &str) -> BTreeSet<&str> {
    let tokens = without_idle_functions(tokens(source));
    let mut tokens = tokens.iter().copied().peekable();
    let mut scopes = vec![BTreeSet::from(BUILT_IN)];
    let mut undeclared = BTreeSet::new();
    // The variables of a loop, on their way from `for` to `do`.
    let mut of_loop = BTreeSet::new();
    let (mut before, mut braces) = ("", 0);
    while let Some(token) = tokens.next() {
        match token {
            "local" if tokens.peek() != Some(&"function") => {
                scopes.last_mut().unwrap().extend(names(&mut tokens));
            }
            "for" => of_loop = BTreeSet::from_iter(names(&mut tokens)),
            "function" => {
                if let Some(name) = tokens.next_if(|token| is_name(token)) {
                    scopes.last_mut().unwrap().insert(name);
                }
                assert_eq!(tokens.next(), Some("("));
                scopes.push(BTreeSet::from_iter(names(&mut tokens)));
            }
            "do" => scopes.push(std::mem::take(&mut of_loop)),
            "then" | "repeat" => scopes.push(BTreeSet::new()),
            "else" => *scopes.last_mut().unwrap() = BTreeSet::new(),
            "end" | "until" | "elseif" => {
                scopes.pop();
            }
            "{" => braces += 1,
            "}" => braces -= 1,
            name if is_name(name) => {
                let is_field =
                    matches!(before, "." | ":") || (braces > 0 && tokens.peek() == Some(&"="));
                if !is_field && !scopes.iter().any(|scope| scope.contains(name)) {
                    undeclared.insert(name);
                }
            }
            _ => {}
        }
        before = token;
    }
    assert_eq!(scopes.len(), 1, "every block ends");
    undeclared
}

/// The keys that are declared, and the script without that. The first line gives them their names:
/// `local jobs, meta = KEYS[1], KEYS[2]`.
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
        let tokens = without_idle_functions(tokens(rest));
        let uses = |name: &str| tokens.iter().filter(|token| **token == name).count();
        // The lists may be gone through by their places; the first use is the name's declaration.
        let by_place = uses("FIRST_LIST") > 1;
        for key in keys {
            let is_used = uses(key) > 0 || (by_place && LISTS.contains(&key));
            assert!(is_used, "{name} declares the key {key} and does not use it");
        }
    }
}

#[test]
fn every_name_that_a_script_uses_is_declared() {
    for (name, script) in SCRIPTS.iter() {
        let undeclared = undeclared(&script.source);
        assert!(undeclared.is_empty(), "{name} uses what it does not declare: {undeclared:?}");
    }
}

#[test]
fn a_name_that_is_not_declared_is_noticed() {
    let source = "local jobs = KEYS[1]
        if jobs then local dead = 1 else local idle = { meta = jobs.held, 'x' .. dead } end
        for i, turn in ipairs(jobs) do jobs = function(a) return a + i + turn end end
        local function called(b) return g(b, \"lane\", idle) end -- solo
        local function helper() if a then return held end end
        local function nobody_calls() while held do helper() end end
        return called(turn)";
    assert_eq!(undeclared(source), BTreeSet::from(["dead", "g", "idle", "turn"]));
}
