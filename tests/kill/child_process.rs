//! A process that can be killed: this very binary again. It reports on standard output, a line each.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const FOLDER: &str = "ROLLUP_JOBS_KILL_TEST_FOLDER";
const TASK: &str = "ROLLUP_JOBS_KILL_TEST_TASK";

/// The folder and the task of this process, if it is a child.
pub fn task() -> Option<(PathBuf, String)> {
    Some((PathBuf::from(std::env::var_os(FOLDER)?), std::env::var(TASK).ok()?))
}

/// Says something to the parent.
pub fn report(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{line}").unwrap();
    out.flush().unwrap();
}

/// A child process under way.
pub struct Running {
    child: Child,
    pub lines: Receiver<String>,
}

/// Starts this binary again, for its test `test`, which does nothing unless it is given a task like this.
pub fn start(test: &str, folder: &Path, task: &str) -> Running {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(FOLDER, folder)
        .env(TASK, task)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = channel();
    let output = BufReader::new(child.stdout.take().unwrap());
    std::thread::Builder::new()
        .spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, report)) = line.split_once('@') {
                    let _ = sender.send(report.to_owned());
                }
            }
        })
        .unwrap();
    Running { child, lines }
}

impl Running {
    /// The next report.
    pub fn next(&self) -> String {
        self.lines.recv_timeout(Duration::from_mins(2)).expect("the child reports")
    }

    /// Lets the child go on with its next turn.
    pub fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Sends a signal such as `STOP`.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself, well.
    pub fn finish(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}
