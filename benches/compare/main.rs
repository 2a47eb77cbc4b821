//! Our side of the comparison: makes the data, and scans or rolls it up when it is told to, line by line. See
//! `README.md` here.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and has no users")]

mod asking;
mod data;
mod ours;
mod report;
mod searches;
mod shapes;

use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;

use asking::Asked;
use ours::Contestant;
use searches::Searched;

fn main() {
    let _ = *report::AT_FIRST;
    let (mut contestant, mut asked, mut searched) = (None, None, None);
    for line in stdin().lock().lines().map(Result::unwrap) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["generate", folder, data, documents] => {
                data::generate(Path::new(folder), data, documents.parse().unwrap());
                "{}".to_owned()
            }
            ["index", columns, data, folder, segments @ ..] => {
                let segments = segments.first().map(|segments| segments.parse().unwrap());
                data::index(Path::new(columns), data, Path::new(folder), segments);
                "{}".to_owned()
            }
            ["open", folder, question, threads, page_size] => {
                let (threads, page_size) = (threads.parse().unwrap(), page_size.parse().unwrap());
                contestant = Some(Contestant::open(Path::new(folder), shapes::question(question), threads, page_size));
                "{}".to_owned()
            }
            ["roll-up", folder] => {
                let contestant: &Contestant = contestant.as_ref().unwrap();
                asked = Some(contestant.asked(Path::new(folder)));
                "{}".to_owned()
            }
            ["ask", question] => {
                let asked: &Asked = asked.as_ref().unwrap();
                report::timed(|| asked.ask(question, |_| {}))
            }
            ["roll-up-job", folder] => {
                let contestant: &Contestant = contestant.as_ref().unwrap();
                drop(searched.take());
                searched = Some(contestant.searched(Path::new(folder)));
                "{}".to_owned()
            }
            ["search", name @ ..] => {
                let searched: &Searched = searched.as_ref().unwrap();
                report::timed(|| searched.search(&name.join(" ")))
            }
            ["found", file, name @ ..] => {
                let searched: &Searched = searched.as_ref().unwrap();
                report::timed(|| searched.write_found(&name.join(" "), Path::new(file)))
            }
            ["answer", question, file] => {
                let asked: &Asked = asked.as_ref().unwrap();
                report::timed(|| asked.write_answer(question, Path::new(file)))
            }
            [command, rest @ ..] => {
                let contestant: &Contestant = contestant.as_ref().unwrap();
                match (*command, rest) {
                    ("scan", []) => report::timed(|| contestant.scan(|_| {})),
                    ("composite", []) => report::timed(|| contestant.composite()),
                    ("result", [file]) => report::timed(|| contestant.write_result(Path::new(file))),
                    ("write", []) => contestant.write(),
                    ("tantivy-write", []) => contestant.write_by_tantivy(),
                    ("run", [folder]) => contestant.run(Path::new(folder)),
                    _ => panic!("unknown command: {line}"),
                }
            }
            [] => continue,
        };
        println!("{answer}");
        stdout().flush().unwrap();
    }
}
