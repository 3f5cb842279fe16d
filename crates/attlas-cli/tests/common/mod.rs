//! Runs the command and keeps what it printed.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::{self, Stdio};

use tempfile::TempDir;

/// A call of the command, plain by default: no terminal, no colour variables.
pub struct Command {
    process: process::Command,
    stdin: Vec<u8>,
    is_stdout_closed: bool,
}

impl Command {
    pub fn new<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
        let mut process = process::Command::new(env!("CARGO_BIN_EXE_attlas"));
        process.args(words);
        for name in ["NO_COLOR", "COLORTERM", "COLUMNS", "TERM", "CLICOLOR_FORCE"] {
            process.env_remove(name);
        }
        process.env("HF_HUB_OFFLINE", "1"); // a test never asks the real hub
        Command { process, stdin: Vec::new(), is_stdout_closed: false }
    }

    pub fn in_folder(mut self, folder: &TempDir) -> Command {
        self.process.current_dir(folder.path());
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Command {
        self.process.env(name, value);
        self
    }

    pub fn stdin(mut self, bytes: &[u8]) -> Command {
        self.stdin = bytes.to_vec();
        self
    }

    /// Nobody reads the output.
    pub fn closed_stdout(mut self) -> Command {
        self.is_stdout_closed = true;
        self
    }

    /// Runs with standard output going to `file`.
    pub fn run_into(mut self, file: std::fs::File) -> Finished {
        let output = self.process.stdout(file).stderr(Stdio::piped()).output().expect("the command runs");
        self.finished(output)
    }

    pub fn run(mut self) -> Finished {
        self.process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.process.spawn().expect("the command starts");
        if self.is_stdout_closed {
            drop(child.stdout.take());
        }
        let mut stdin = child.stdin.take().expect("its input is a pipe");
        let _ = stdin.write_all(&self.stdin); // a command that needs no input may close it
        drop(stdin);
        let output = child.wait_with_output().expect("the command ends");
        self.finished(output)
    }

    fn finished(self, output: process::Output) -> Finished {
        Finished {
            command: format!("{:?}", self.process),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("diagnostics are UTF-8"),
        }
    }
}

/// What a call came to.
#[derive(Debug)]
pub struct Finished {
    pub command: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    pub fn succeeds(&self) -> &Finished {
        assert_eq!(self.code, Some(0), "{}\n{}\n{}", self.command, self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// The one sentence on standard error, after checking that there is one, with this exit code.
    pub fn fails(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{}\n{}\n{}", self.command, self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        let sentence = self.stderr.trim_end().strip_prefix("attlas: ").unwrap_or_else(|| panic!("{}", self.stderr));
        assert!(!sentence.contains('\n'), "one line: {}", self.stderr);
        sentence
    }
}

pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A recording of `text` in a folder of its own, and its file name.
pub fn recording(text: &str) -> (TempDir, String) {
    let folder = folder();
    Command::new(["record", text, "-o", "run.safetensors"]).in_folder(&folder).run().succeeds();
    (folder, "run.safetensors".to_owned())
}

/// Words that are no text.
pub fn bytes(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(bytes.to_vec())
}
