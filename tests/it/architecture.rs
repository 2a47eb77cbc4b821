//! The map of `src` holds: imports go one way, files stay small, and only one file names the lock and queue crates.

use std::fs;
use std::path::{Path, PathBuf};

/// The levels from the top; a module imports from levels below its own. Modules on one level do not import each
/// other, but for the bottom: there everything may use `job` and `sync`.
const LEVELS: [&[&str]; 11] = [
    &["rest", "testing", "error"],
    &["manager"],
    &["runtime"],
    &["verify"],
    &["ownership", "search"],
    &["schedule", "lifecycle", "engine", "store"],
    &["scan"],
    &["cluster", "rollup", "filter"],
    &["job", "observer", "clock", "stop_signal"],
    &["measure"],
    &["sync", "durable", "guard", "adapter", "human", "exact", "ranges"],
];

/// Imports on one level that the map allows.
const BESIDE: [(&str, &str); 1] = [("observer", "job")];

/// `lifecycle` keeps a refused save's error for the waiters; the error is plain data.
const EXCEPTIONS: [(&str, &str); 1] = [("lifecycle", "store")];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    let relative = |path: PathBuf| (path.strip_prefix(&root).unwrap().to_owned(), fs::read_to_string(path).unwrap());
    let sources: Vec<_> = found.into_iter().map(relative).collect();
    assert!(sources.len() > 40, "the sources are found");
    sources
}

fn module(path: &Path) -> String {
    path.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

/// The code without its inline tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn imports_go_one_way() {
    let mut looked_at = 0;
    for (path, text) in sources() {
        let from = module(&path);
        if from == "lib" || path.ends_with("tests.rs") {
            continue;
        }
        let own = level(&from).unwrap_or_else(|| panic!("{from} is not on the map"));
        let uses = code(&text).lines().filter(|line| !line.trim_start().starts_with("//"));
        for imported in uses.flat_map(|line| line.match_indices("crate::").map(move |(at, _)| &line[at + 7..])) {
            let name: String = imported.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            assert!(
                own == 0 || !imported.starts_with('{'),
                "{}: name each module, or this test cannot see it",
                path.display()
            );
            let root_name = imported.starts_with(|c: char| c.is_ascii_uppercase());
            assert!(!root_name || own == 0, "{} imports a root re-export", path.display());
            let Some(other) = level(&name) else { continue };
            looked_at += 1;
            let allowed = other > own
                || name == from
                || BESIDE.contains(&(&from, &name))
                || EXCEPTIONS.contains(&(&from, &name))
                || from == "error";
            assert!(allowed, "{} imports {name}, which is not below {from}", path.display());
        }
    }
    assert!(looked_at > 100, "imports are found");
}

/// What the HTTP face uses that is not public: what runs the host's code, and Elasticsearch's wildcards.
const HELPERS_OF_REST: [&str; 2] = ["crate::guard::guarded", "crate::job::wildcard_match"];

#[test]
fn rest_and_testing_use_the_public_face() {
    let lib = include_str!("../../src/lib.rs");
    let private: Vec<_> = lib
        .lines()
        .filter_map(|line| Some(format!("crate::{}", line.strip_prefix("mod ")?.strip_suffix(';')?)))
        .collect();
    assert!(private.contains(&"crate::manager".to_owned()) && private.len() > 8, "{private:?}");
    let mut helpers = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| ["rest", "testing"].contains(&&*module(path))) {
        for (at, _) in text.match_indices("crate::") {
            let used: String = text[at..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
            if private.iter().any(|module| used == *module || used.starts_with(&format!("{module}::"))) {
                assert_eq!(module(&path), "rest", "{} uses {used}", path.display());
                helpers.push(used);
            }
        }
    }
    helpers.sort_unstable();
    helpers.dedup();
    assert_eq!(helpers, HELPERS_OF_REST);
}

#[test]
fn one_file_names_the_lock_and_queue_crates() {
    for (path, text) in sources() {
        for name in ["parking_lot", "crossbeam_channel"] {
            assert!(
                !code(&text).contains(name) || path == Path::new("sync/production.rs"),
                "{} names {name}",
                path.display()
            );
        }
    }
}

#[test]
fn files_stay_small() {
    for (path, text) in sources() {
        let lines = code(&text).lines().count();
        assert!(lines <= 500, "{} has {lines} lines of code", path.display());
    }
}

/// The methods of a trait, in order.
fn methods(text: &str, name: &str) -> Vec<String> {
    let body = text.split(&format!("\npub trait {name}:")).nth(1).unwrap_or_else(|| panic!("no trait {name}"));
    let body = body.split("\n}\n").next().unwrap();
    body.lines().filter_map(|line| Some(line.strip_prefix("    fn ")?.split('(').next()?.to_owned())).collect()
}

/// What an adapter passes on.
fn passed_on(text: &str, name: &str) -> Vec<String> {
    let body = text.split(&format!("\n    {name}:")).nth(1).unwrap_or_else(|| panic!("no adapter {name}"));
    let body = body.split("\n    }\n").next().unwrap();
    body.lines()
        .filter_map(|line| Some(line.split("pass on to ").nth(1)?.split("fn ").nth(1)?.split('(').next()?.to_owned()))
        .collect()
}

#[test]
fn adapters_pass_every_method_on() {
    let source = |path: &str| sources().into_iter().find(|(found, _)| found == Path::new(path)).unwrap().1;
    for (role, home, adapters) in [
        ("Source", "engine/source.rs", "engine/adapter.rs"),
        ("PageStream", "engine/source.rs", "engine/adapter.rs"),
        ("RollupIndex", "engine/rollup_index.rs", "engine/adapter.rs"),
        ("RollupWriter", "engine/rollup_index.rs", "engine/adapter.rs"),
        ("JobStore", "store/mod.rs", "store/adapter.rs"),
    ] {
        let (mut wanted, mut found) =
            (methods(&source(home), role), passed_on(&source(adapters), &format!("{role}Adapter")));
        wanted.sort_unstable();
        found.sort_unstable();
        assert!(!wanted.is_empty(), "{role}");
        assert_eq!(found, wanted, "{role}Adapter");
    }
}
