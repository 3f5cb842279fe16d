//! `attlas view`: what is printed, what is refused, how it ends, and that its pictures are those of `attlas draw`.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use common::Command;
use tempfile::TempDir;

/// The command, serving; ended when it is dropped.
struct Viewing {
    child: Child,
    address: String,
    token: String,
}

impl Viewing {
    fn start(folder: &TempDir, words: &[&str]) -> Viewing {
        let mut child = Process::new(env!("CARGO_BIN_EXE_attlas"))
            .arg("view")
            .args(words)
            .current_dir(folder.path())
            .env("HF_HUB_OFFLINE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let (address, token) =
            line.trim().strip_prefix("http://").expect(&line).split_once("/?token=").expect("a token");
        Viewing { child, address: address.to_owned(), token: token.to_owned() }
    }

    fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let head =
            format!("GET {path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n", self.address, self.token);
        stream.write_all(head.as_bytes()).expect("it is sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let status = String::from_utf8_lossy(&answer[9..12]).parse().expect("a status");
        (status, answer[end + 4..].to_vec())
    }

    fn signal(&mut self, name: &str) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Process::new("kill").args(["-s", name, &id]).status().expect("kill runs").success());
        let began = Instant::now();
        loop {
            match self.child.try_wait().expect("it can be asked") {
                Some(status) => return status,
                None => assert!(began.elapsed() < Duration::from_secs(10), "it ends"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn recording(folder: &TempDir) {
    Command::new(["record", "The cat sat.", "--target", "Le chat s'assit.", "-o", "run.safetensors"])
        .in_folder(folder)
        .run()
        .succeeds();
}

#[test]
fn pictures_of_the_server_are_those_of_draw_byte_by_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    recording(&folder);
    let viewing = Viewing::start(&folder, &["run.safetensors", "--no-open"]);
    for (picture, words, question) in [
        ("map", &["--kind", "cross", "--layer", "1", "--head", "3"][..], "kind=cross&layer=1&head=3"),
        ("map", &[], ""),
        (
            "map",
            &["--kind", "encoder", "--words", "--special", "hide", "--scale", "log", "--theme", "dark"],
            "kind=encoder&words=true&hide_special=true&scale=log&theme=dark",
        ),
        (
            "map",
            &["--kind", "cross", "--label-rows", "read", "--rows", "1:3", "--columns", ":3"],
            "kind=cross&rows_are=read&top=1&bottom=3&right=3",
        ),
        ("lines", &["--kind", "decoder", "--layer", "0", "--head", "2"], "kind=decoder&layer=0&head=2"),
        (
            "heads",
            &["--kind", "encoder", "--layer", "0", "--panel-scale", "own"],
            "kind=encoder&layer=0&panel_scale=own",
        ),
        ("layers", &["--kind", "decoder", "--head", "1"], "kind=decoder&head=1"),
        ("overview", &[], ""),
        ("overview", &["--kind", "cross", "--colormap", "viridis"], "kind=cross&colormap=viridis"),
    ] {
        for format in ["svg", "pdf", "png"] {
            let file = format!("drawn.{format}");
            Command::new(["draw", picture, "run.safetensors", "-o", &file].into_iter().chain(words.iter().copied()))
                .in_folder(&folder)
                .run()
                .succeeds();
            let drawn = fs::read(folder.path().join(&file)).expect("it was drawn");
            let (status, served) =
                viewing.get(&format!("/api/recordings/f0/figure?picture={picture}&format={format}&{question}"));
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&served));
            assert!(served == drawn, "{picture} {format} {question}");
        }
    }
}

#[test]
fn a_signal_ends_it_as_a_shell_expects_and_the_address_is_the_first_line() {
    let folder = tempfile::tempdir().expect("a folder");
    recording(&folder);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut viewing = Viewing::start(&folder, &["run.safetensors", "--no-open"]);
        assert_eq!(viewing.token.len(), 32);
        assert_eq!(viewing.get("/").0, 200);
        assert_eq!(viewing.signal(signal).code(), Some(code));
        let mut said = String::new();
        viewing.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        assert!(said.contains("Ctrl-C ends it") && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_text_is_run_and_can_be_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let viewing = Viewing::start(&folder, &["The cat sat.", "--target", "Le chat s'assit."]);
    let began = Instant::now();
    loop {
        let (_, phase) = viewing.get("/api/run");
        let phase: serde_json::Value = serde_json::from_slice(&phase).expect("JSON");
        match phase["state"].as_str() {
            Some("done") => break,
            Some("running") => assert!(began.elapsed() < Duration::from_secs(60)),
            _ => panic!("{phase}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let (_, list) = viewing.get("/api/recordings");
    assert!(String::from_utf8_lossy(&list).contains("The cat sat."));
}

#[test]
fn what_cannot_be_served_is_refused_before_anything_listens() {
    let folder = tempfile::tempdir().expect("a folder");
    recording(&folder);
    fs::write(folder.path().join("bad.safetensors"), "no recording").expect("written");
    fs::create_dir(folder.path().join("model")).expect("made");
    fs::write(folder.path().join("model/config.json"), "{}").expect("written");
    let refused = |words: &[&str], code: i32, says: &str| {
        let finished = Command::new(["view", "--no-open"].iter().chain(words)).in_folder(&folder).run();
        assert!(finished.fails(code).contains(says), "{words:?}: {}", finished.stderr);
        assert_eq!(finished.stdout, "", "{words:?}");
    };
    refused(&["missing.safetensors"], 3, "missing.safetensors");
    refused(&["bad.safetensors"], 3, "bad.safetensors");
    refused(&["model"], 2, "is the folder of a model, not of recordings; --model model runs it");
    refused(&["One text.", "Another text."], 2, "\"Another text.\" is a second text");
    refused(&["run.safetensors", "--target", "Le chat."], 2, "--target is for a TEXT");
    refused(&["--model", "absent/folder"], 3, "absent/folder");
    refused(&["--models", "absent"], 3, "--models absent");
    refused(&[""], 3, "TEXT is empty");
    let viewing = Viewing::start(&folder, &["run.safetensors", "--no-open"]);
    let port = viewing.address.rsplit_once(':').expect("a port").1.to_owned();
    refused(
        &["run.safetensors", "--port", &port],
        3,
        "another program listens there already (--port N takes another port",
    );
    assert_eq!(viewing.get("/api/recordings").0, 200, "the other goes on");
}
