//! Models by name: from a hub on this machine into a cache, and from the cache without one.
#![cfg(feature = "download")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{Command, Finished};
use sha2::Digest;
use tempfile::TempDir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

const WEIGHTS: &str = "model-00001-of-00002.safetensors";

/// What a server sends in answer to a question.
enum Reply {
    /// These bytes; the connection stays.
    Bytes(Vec<u8>),
    /// These bytes; the connection ends.
    Last(Vec<u8>),
    /// These bytes, then nothing more, for long.
    Stall(Vec<u8>),
    /// These bytes, then one more each tenth of a second.
    Drip(Vec<u8>),
    /// These bytes, then others without end.
    Endless(Vec<u8>),
}

/// The answer to a path and headers, where it is not the honest one.
type Trick = dyn Fn(&str, &[String]) -> Option<Reply> + Send + Sync;

/// A hub of one repository, `org/name`, that answers as the real one does, unless it was given a trick.
struct Server {
    endpoint: String,
    /// The request lines, in the order of arrival.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(files: BTreeMap<String, Vec<u8>>) -> Server {
        Server::with(files, |_, _| None)
    }

    fn with(
        files: BTreeMap<String, Vec<u8>>,
        trick: impl Fn(&str, &[String]) -> Option<Reply> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("it works");
        let endpoint = format!("http://{}", listener.local_addr().expect("it works"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let (files, trick): (_, Arc<Trick>) = (Arc::new(files), Arc::new(trick));
        // the thread ends with the test process
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, log, trick) = (Arc::clone(&files), Arc::clone(&log), Arc::clone(&trick));
                thread::spawn(move || serve(&stream, &files, &log, &*trick));
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

    /// The requests that have all of these words.
    fn requests_with(&self, words: &[&str]) -> Vec<String> {
        let requests = self.requests.lock().expect("it works");
        requests.iter().filter(|request| words.iter().all(|word| request.contains(word))).cloned().collect()
    }
}

/// Answers the requests of one connection.
fn serve(stream: &TcpStream, files: &BTreeMap<String, Vec<u8>>, log: &Mutex<Vec<String>>, trick: &Trick) {
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(request)) = lines.next() {
        let headers: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        log.lock().expect("it works").push(format!("{request} {}", headers.join(" ").to_lowercase()));
        let path = request.split(' ').nth(1).unwrap_or_default();
        let reply = trick(path, &headers).unwrap_or_else(|| Reply::Bytes(answer(path, &headers, files)));
        let mut writer = { stream };
        let is_open = match reply {
            Reply::Bytes(bytes) => writer.write_all(&bytes).is_ok(),
            Reply::Last(bytes) => {
                let _ = writer.write_all(&bytes);
                false
            }
            Reply::Stall(bytes) => {
                let _ = writer.write_all(&bytes);
                thread::sleep(Duration::from_secs(60));
                false
            }
            Reply::Drip(bytes) => {
                let _ = writer.write_all(&bytes);
                while writer.write_all(b" ").is_ok() {
                    thread::sleep(Duration::from_millis(100));
                }
                false
            }
            Reply::Endless(bytes) => {
                let _ = writer.write_all(&bytes);
                while writer.write_all(&[b'x'; 1 << 16]).is_ok() {}
                false
            }
        };
        if !is_open {
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
    let head = part_head(start, end, body);
    [head.as_bytes(), part].concat()
}

/// The head of an answer that brings a part of a file.
fn part_head(start: usize, end: usize, body: &[u8]) -> String {
    format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{}\r\n{}\r\n",
        end - start,
        end.saturating_sub(1),
        body.len(),
        announcement(&etag(body), COMMIT),
    )
}

/// The headers that name a file's bytes and commit.
fn announcement(etag: &str, commit: &str) -> String {
    format!("ETag: \"{etag}\"\r\nX-Repo-Commit: {commit}\r\n")
}

/// The hub's name of bytes: Git's for small files, SHA-256 for large ones.
fn etag(body: &[u8]) -> String {
    if body.len() > 5000 {
        return format!("{:x}", sha2::Sha256::digest(body));
    }
    format!("{:x}", sha1::Sha1::new_with_prefix(format!("blob {}\0", body.len())).chain_update(body).finalize())
}

/// Whether a question is for a file's bytes, not only for what is to be said of it.
fn is_for_bytes(path: &str, headers: &[String], file: &str) -> bool {
    path.ends_with(file)
        && headers.iter().any(|line| line.to_lowercase().starts_with("range: bytes=") && !line.ends_with("=0-0"))
}

/// All files and links below a folder, but what tests themselves make.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.is_symlink() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
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
    assert!(!home.path().join("hub").exists(), "a name that is wrong leaves no trace in the cache");
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

#[test]
fn headers_that_are_paths_choose_no_place_and_are_refused() {
    let outside = home();
    let victim = outside.path().join("victim");
    fs::write(&victim, "precious").expect("it is written");
    let absolute = victim.display().to_string();
    let etags =
        [&absolute, "../../../../victim", "..", "", "a/b/c", &"a".repeat(5000), &"z".repeat(40), &"a".repeat(39)];
    let commits = [&absolute, "../../../../../victim", "main", "", &"g".repeat(40)];
    let is_commit = |index: usize| index >= etags.len();
    for (index, header) in etags.into_iter().chain(commits).enumerate() {
        let said = match is_commit(index) {
            false => announcement(header, COMMIT),
            true => announcement(&"a".repeat(40), header),
        };
        let server = Server::with(files(), move |path, _| {
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\nContent-Range: bytes 0-0/1\r\n{said}\r\nx"
            );
            path.contains("/resolve/").then(|| Reply::Bytes(head.into_bytes()))
        });
        let home = home();
        let message = server.record(&home, "org/name").run().fails(3).to_owned();
        let what = if is_commit(index) { "commit" } else { "ETag" };
        assert!(message.contains(what) && message.contains("hexadecimal digits"), "{header}: {message}");
        assert_eq!(tree(home.path()), Vec::<PathBuf>::new(), "{header}");
        assert_eq!(fs::read(&victim).expect("it is there"), b"precious");
        assert_eq!(tree(outside.path()).len(), 1, "{header}");
    }
}

#[test]
fn a_list_whose_commit_is_a_path_and_a_list_that_is_none_are_refused() {
    let lists = [
        (serde_json::json!({"sha": "../../../x", "siblings": []}).to_string(), "commit \"../../../x\" is none"),
        ("<html>\u{1b}[31mlog in</html>".to_owned(), "no description of the repository"),
        ("[".repeat(200_000), "no description of the repository"),
        (" ".repeat((16 << 20) + 1), "has more than"),
    ];
    for (list, expected) in lists {
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{list}", list.len());
        let server = Server::with(files(), move |_, _| Some(Reply::Bytes(reply.clone().into_bytes())));
        let home = home();
        let message = server.record(&home, "org/name").run().fails(3).to_owned();
        assert!(message.contains(expected), "{message}");
        assert_eq!(tree(home.path()), Vec::<PathBuf>::new());
    }
}

#[test]
fn redirects_that_lead_nowhere_or_out_of_https_are_refused() {
    let cases = [
        ("302 Found", "Location: /loop\r\n", "redirects more than 8 times"),
        ("302 Found", "", "without saying where"),
        ("304 Not Modified", "", "answers with status 304"),
        ("302 Found", "Location: \r\n", "which is no address"),
        ("307 Temporary Redirect", "Location: ?\r\n", "which is no address"),
        ("301 Moved Permanently", "Location: file:///etc/passwd\r\n", "which is no address"),
        ("301 Moved Permanently", "Location: //example.org/x\r\n", "which is no address"),
        ("302 Found", "Location: http://127.0.0.1:80@0.0.0.0/\r\n", "which is no address"),
        ("302 Found", "Location: http://0.0.0.0:9/latest/meta-data\r\n", "which is not https"),
    ];
    for (status, location, expected) in cases {
        let reply = format!(
            "HTTP/1.1 {status}\r\nContent-Length: 0\r\n{}{location}\r\n",
            announcement(&"a".repeat(40), COMMIT)
        );
        let server = Server::with(files(), move |path, _| {
            (!path.starts_with("/api/")).then(|| Reply::Bytes(reply.clone().into_bytes()))
        });
        let home = home();
        let message = server.record(&home, "org/name").run().fails(3).to_owned();
        assert!(message.contains(expected), "{location}: {message}");
        assert!(server.n_requests() < 20, "{location}");
        assert_eq!(tree(home.path()), Vec::<PathBuf>::new());
    }
}

#[test]
fn another_host_gives_the_bytes_but_never_gets_the_token() {
    let (storage, home) = (Server::start(files()), home());
    let place = storage.endpoint.clone();
    let hub = Server::with(files(), move |path, _| {
        let body = files().remove(path.strip_prefix("/org/name/resolve/main/")?)?;
        // what the other host says of the file is not asked
        let said = announcement("of the redirect", COMMIT).replacen("ETag", "X-Other", 1);
        let linked = format!("X-Linked-Etag: \"{}\"\r\nX-Linked-Size: {}\r\n", etag(&body), body.len());
        let head = format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {place}{path}\r\n{said}{linked}\r\n");
        Some(Reply::Bytes(head.into_bytes()))
    });
    hub.record(&home, "org/name").variable("HF_TOKEN", "secret").run().succeeds();
    assert_eq!(hub.requests_with(&["authorization: bearer secret"]).len(), hub.n_requests());
    assert!(storage.n_requests() > 0);
    assert_eq!(storage.requests_with(&["authorization"]), Vec::<String>::new());
}

#[test]
fn a_body_that_breaks_off_is_never_taken_for_whole_and_the_next_run_goes_on_there() {
    let home = home();
    let cut = Server::with(files(), |path, headers| {
        let body = files().remove(WEIGHTS)?;
        let head = part_head(0, body.len(), &body);
        let reply = match headers.iter().any(|line| line.to_lowercase() == "range: bytes=0-") {
            true => Reply::Last([head.as_bytes(), &body[..body.len() / 2]].concat()),
            false => Reply::Last(Vec::new()),
        };
        is_for_bytes(path, headers, WEIGHTS).then_some(reply)
    });
    let message = cut.record(&home, "org/name").run().fails(3).to_owned();
    let half = files()[WEIGHTS].len() / 2;
    assert!(message.contains(WEIGHTS), "{message}");
    let partial =
        home.path().join("hub/models--org--name/blobs").join(format!("{}.incomplete", etag(&files()[WEIGHTS])));
    assert_eq!(fs::metadata(&partial).expect("it is kept").len() as usize, half);
    assert!(!partial.with_extension("").exists());
    let good = Server::start(files());
    good.record(&home, "org/name").run().succeeds();
    assert_eq!(good.requests_with(&[WEIGHTS, &format!("range: bytes={half}-")]).len(), 1);
    assert!(!partial.exists());
}

#[test]
fn other_bytes_than_were_announced_are_refused_and_not_kept() {
    let home = home();
    let rotten = Server::with(files(), |path, headers| {
        let body = files().remove(WEIGHTS)?;
        let reply = [part_head(0, body.len(), &body).as_bytes(), &vec![0; body.len()]].concat();
        is_for_bytes(path, headers, WEIGHTS).then_some(Reply::Bytes(reply))
    });
    let message = rotten.record(&home, "org/name").run().fails(3).to_owned();
    assert!(message.contains("what the hub sends is not what it announced, whose hash is"), "{message}");
    let name = etag(&files()[WEIGHTS]);
    let kept: Vec<PathBuf> = tree(&home.path().join("hub/models--org--name"));
    assert!(!kept.iter().any(|path| path.to_string_lossy().contains(&name)), "{kept:?}");
    // what rotted in the cache between two runs is begun anew
    fs::write(home.path().join("hub/models--org--name/blobs").join(format!("{name}.incomplete")), "rot")
        .expect("it is written");
    Server::start(files()).record(&home, "org/name").run().succeeds();
}

#[test]
fn sizes_that_no_file_has_and_sizes_that_differ_are_refused_before_a_byte_is_taken() {
    for (total, expected) in [
        ("9999999999999999999", "are downloaded at most"),
        ("-1", "which is no size"),
        ("99999999999999999999", "which is no size"),
        ("268435457", "268435456 are downloaded at most"),
        ("*", "which is no size"),
    ] {
        let server = Server::with(files(), move |path, _| {
            let said = announcement(&"a".repeat(40), COMMIT);
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\nContent-Range: bytes 0-0/{total}\r\n{said}\r\nx"
            );
            path.ends_with("config.json").then(|| Reply::Bytes(head.into_bytes()))
        });
        let message = server.record(&home(), "org/name").run().fails(3).to_owned();
        assert!(message.contains(expected), "{total}: {message}");
    }
}

#[test]
fn a_body_without_end_is_read_no_further_than_was_announced() {
    let home = home();
    let server = Server::with(files(), |path, headers| {
        let body = files().remove("config.json")?;
        let head = part_head(0, body.len(), &body).replacen("Content-Length", "X-Length", 1);
        is_for_bytes(path, headers, "/config.json").then(|| Reply::Endless(head.into_bytes()))
    });
    let message = server.record(&home, "org/name").run().fails(3).to_owned();
    assert!(message.contains("is not what it announced"), "{message}");
    let list =
        Server::with(files(), |_, _| Some(Reply::Endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec())));
    let message = list.record(&home, "org/name").run().fails(3).to_owned();
    assert!(message.contains("has more than 16777216 bytes"), "{message}");
}

#[test]
fn a_hub_that_stands_still_or_drips_is_given_up() {
    let with = |trick: Box<Trick>| {
        let (server, home) = (Server::with(files(), trick), home());
        server.record(&home, "org/name").variable("HF_HUB_DOWNLOAD_TIMEOUT", "2").run().fails(3).to_owned()
    };
    let head = |path: &str, headers: &[String]| {
        let body = files().remove(WEIGHTS)?;
        is_for_bytes(path, headers, WEIGHTS).then(|| [part_head(0, body.len(), &body).as_bytes(), &body[..10]].concat())
    };
    let message = with(Box::new(move |path, headers| head(path, headers).map(Reply::Stall)));
    assert!(message.contains("stands still"), "{message}");
    let message = with(Box::new(move |path, headers| head(path, headers).map(Reply::Drip)));
    assert!(message.contains("stands still: no more than"), "{message}");
    let list = || b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
    assert!(with(Box::new(move |_, _| Some(Reply::Drip(list())))).contains("does not come to its end: no more than"));
    assert!(with(Box::new(|_, _| Some(Reply::Stall(Vec::new())))).contains("does not answer in time"));
    let (server, home) = (Server::start(files()), home());
    let run = server.record(&home, "org/name").variable("HF_HUB_DOWNLOAD_TIMEOUT", "soon").run();
    assert!(run.fails(3).contains("HF_HUB_DOWNLOAD_TIMEOUT is \"soon\"; a number of seconds"));
}

#[test]
fn http_from_elsewhere_is_taken_only_where_a_flag_allows_it() {
    let (server, home) = (Server::start(files()), home());
    // reaches this machine, but is no name of it
    let elsewhere = server.endpoint.replace("127.0.0.1", "0.0.0.0");
    let message = server.record(&home, "org/name").variable("HF_ENDPOINT", &elsewhere).run().fails(3).to_owned();
    assert!(message.contains("is http") && message.contains("--allow-http"), "{message}");
    assert_eq!(server.n_requests(), 0);
    let allowed = ["record", "--model", "org/name", "--allow-http", "--target-ids", "1,2,3", "-o", "run.safetensors"];
    let run = Command::new(allowed).in_folder(&home).variable("HF_ENDPOINT", &elsewhere);
    run.variable("HF_HOME", &home.path().display().to_string()).variable("HF_HUB_OFFLINE", "0").run().succeeds();
}

#[test]
fn two_processes_at_once_download_each_file_once() {
    let server = Server::with(files(), |path, headers| {
        // long enough for the other to come and find the lock
        if is_for_bytes(path, headers, WEIGHTS) {
            thread::sleep(Duration::from_millis(700));
        }
        None
    });
    let home = home();
    thread::scope(|scope| {
        let runs: Vec<_> = ["a.safetensors", "b.safetensors"]
            .map(|name| {
                let words = ["record", "--model", "org/name", "--target-ids", "1,2,3", "-o", name];
                let command = Command::new(words).in_folder(&home).variable("HF_ENDPOINT", &server.endpoint);
                let home = home.path().display().to_string();
                scope.spawn(move || command.variable("HF_HOME", &home).variable("HF_HUB_OFFLINE", "0").run())
            })
            .into_iter()
            .collect();
        for run in runs {
            run.join().expect("it ran").succeeds();
        }
    });
    let asked = server.requests_with(&[WEIGHTS, "range: bytes=0-"]);
    let for_bytes = asked.iter().filter(|request| !request.contains("range: bytes=0-0"));
    assert_eq!(for_bytes.count(), 1, "{asked:?}");
    let blobs = tree(&home.path().join("hub/models--org--name/blobs"));
    assert!(!blobs.iter().any(|path| path.to_string_lossy().ends_with(".incomplete")), "{blobs:?}");
}
