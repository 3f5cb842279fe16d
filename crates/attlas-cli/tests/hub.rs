//! Models by name: from a hub on this machine into a cache, and from the cache without one.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Command, Finished};
use tempfile::TempDir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub of one repository, `org/name`, that answers as the real one does.
struct Server {
    endpoint: String,
    /// The request lines, in the order of arrival.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(files: BTreeMap<String, Vec<u8>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("it works");
        let endpoint = format!("http://{}", listener.local_addr().expect("it works"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let files = Arc::new(files);
        // the thread ends with the test process
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, log) = (Arc::clone(&files), Arc::clone(&log));
                thread::spawn(move || serve(&stream, &files, &log));
            }
        });
        Server { endpoint, requests }
    }

    /// A command that runs a model of the hub on three ids.
    fn record(&self, home: &TempDir, model: &str) -> Command {
        Command::new(["record", "--model", model, "--target-ids", "1,2,3", "-o", "run.safetensors"])
            .in_folder(home)
            .variable("HF_ENDPOINT", &self.endpoint)
            .variable("HF_HOME", &home.path().display().to_string())
            .variable("HF_HUB_OFFLINE", "0")
    }

    fn n_requests(&self) -> usize {
        self.requests.lock().expect("it works").len()
    }
}

/// Answers the requests of one connection.
fn serve(stream: &TcpStream, files: &BTreeMap<String, Vec<u8>>, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(request)) = lines.next() {
        let headers: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        log.lock().expect("it works").push(format!("{request} {}", headers.join(" ").to_lowercase()));
        let path = request.split(' ').nth(1).unwrap_or_default();
        let answer = answer(path, &headers, files);
        if { stream }.write_all(&answer).is_err() {
            return;
        }
    }
}

fn answer(path: &str, headers: &[String], files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let whole = |status: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    if path == "/api/models/org/name/revision/main" {
        let siblings: Vec<_> = files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        return whole("200 OK", serde_json::json!({"sha": COMMIT, "siblings": siblings}).to_string().as_bytes());
    }
    if path.starts_with("/api/models/org/gated/") {
        return whole("401 Unauthorized", b"");
    }
    let Some(body) = path.strip_prefix("/org/name/resolve/main/").and_then(|name| files.get(name)) else {
        return whole("404 Not Found", b"");
    };
    let range = headers.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let range = range.unwrap_or_else(|| "0-".to_owned());
    let (start, end) = range.split_once('-').expect("it works");
    let start: usize = start.parse().expect("it works");
    let end = end.parse::<usize>().map_or(body.len(), |last| (last + 1).min(body.len()));
    let part = &body[start..end];
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{}\r\nETag: \"{:x}\"\r\nX-Repo-Commit: {COMMIT}\r\n\r\n",
        part.len(),
        end.saturating_sub(1),
        body.len(),
        body.iter().fold(body.len() as u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte))),
    );
    [head.as_bytes(), part].concat()
}

/// The files of a small GPT-2 in shards, and some that attlas has no use for.
fn files() -> BTreeMap<String, Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../attlas-model/tests/data/families/gpt2");
    let entries = std::fs::read_dir(folder).expect("the model is there").map(|entry| entry.expect("an entry").path());
    let mut files: BTreeMap<String, Vec<u8>> = entries
        .map(|path| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), std::fs::read(&path)))
        .map(|(name, bytes)| (name, bytes.expect("it is read")))
        .collect();
    files.insert("README.md".to_owned(), b"a card".to_vec());
    files.insert("tf_model.h5".to_owned(), vec![0; 1000]);
    files
}

fn home() -> TempDir {
    common::folder()
}

#[test]
fn a_model_is_downloaded_once_then_found_without_a_network() {
    let (server, home) = (Server::start(files()), home());
    server.record(&home, "org/name").run().succeeds();
    let folder = home.path().join("hub/models--org--name/snapshots").join(COMMIT);
    assert!(folder.join("model-00002-of-00002.safetensors").exists());
    for name in ["README.md", "tf_model.h5"] {
        assert!(!folder.join(name).exists(), "{name} is not needed");
    }
    let n_requests = server.n_requests();
    assert!(n_requests > 0);
    server.record(&home, "org/name").run().succeeds();
    server.record(&home, "org/name").variable("HF_HUB_OFFLINE", "1").run().succeeds();
    assert_eq!(server.n_requests(), n_requests, "what is in the cache is not asked for");
    let info = Command::new(["info", "run.safetensors"]).in_folder(&home).run();
    assert!(info.succeeds().stdout.contains("org/name"), "{}", info.stdout);
}

#[test]
fn a_token_is_sent_and_a_refusal_says_so() {
    let (server, home) = (Server::start(BTreeMap::new()), home());
    let run = server.record(&home, "org/gated").variable("HF_TOKEN", "secret").run();
    let message = run.fails(3);
    let expected = "it could not be downloaded: the hub refuses it; a gated or private model needs HF_TOKEN";
    assert!(message.contains(expected), "{message}");
    assert!(!message.contains("secret"));
    assert!(server.requests.lock().expect("no thread panicked")[0].contains("authorization: bearer secret"));
}

#[test]
fn what_is_not_to_be_had_is_one_sentence_that_says_how_to_get_it() {
    let (server, home) = (Server::start(files()), home());
    let message = |run: Finished| run.fails(3).to_owned();
    let absent = message(server.record(&home, "org/other").run());
    assert!(absent.starts_with("org/other: is no folder and not in the hub's cache"), "{absent}");
    let end = "get it once with `hf download org/other`; it could not be downloaded: the hub has no such repository, revision or file";
    assert!(absent.ends_with(end), "{absent}");
    let n_requests = server.n_requests();
    let offline = message(server.record(&home, "org/name").variable("HF_HUB_OFFLINE", "ON").run());
    assert!(offline.ends_with("get it once with `hf download org/name`"), "{offline}");
    message(server.record(&home, "../name").run());
    assert_eq!(server.n_requests(), n_requests, "offline, and for what is no name, nothing is asked");
    let nobody = server.record(&home, "org/name").variable("HF_ENDPOINT", "http://127.0.0.1:9").run();
    assert!(message(nobody).contains("it could not be downloaded: "));
    assert!(!home.path().join("run.safetensors").exists());
}

#[test]
fn an_index_that_names_a_path_and_a_repository_without_weights_are_refused() {
    let index = |shard: &str| serde_json::json!({"weight_map": {"a": shard}}).to_string().into_bytes();
    let with = |more: Vec<(&str, Vec<u8>)>| {
        let files = [("config.json", b"{}".to_vec())].into_iter().chain(more);
        let server = Server::start(files.map(|(name, bytes)| (name.to_owned(), bytes)).collect());
        let home = home();
        let message = server.record(&home, "org/name").run().fails(3).to_owned();
        // a part of a model is not taken for one
        let again = server.record(&home, "org/name").variable("HF_HUB_OFFLINE", "1").run().fails(3).to_owned();
        assert!(again.contains("get it once with"), "{again}");
        message
    };
    assert!(with(vec![]).contains("it has neither model.safetensors nor pytorch_model.bin"));
    let name = "model.safetensors.index.json";
    let message = with(vec![(name, index("../../../../evil"))]);
    assert!(message.contains("names a shard \"../../../../evil\", which is no file's name"), "{message}");
    assert!(with(vec![(name, b"[]".to_vec())]).contains("has no weight_map"));
}
