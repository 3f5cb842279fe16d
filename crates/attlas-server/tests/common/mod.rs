//! A server on a socket of this machine, asked as a client asks it; and recordings made by hand.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use attlas::attention::Shape;
use attlas::recording::QueriesAndKeys;
use attlas::{Item, Kind, Provenance, Recording, Scoring, SplitMix64, Token, TokenRole, Tokens, Visibility, Writer};
use attlas_model::Model;
use attlas_server::{Choice, Limits, RunAsk, Server, Settings};
use tempfile::TempDir;

/// A token that must stay text.
pub const HOSTILE: &str = "</script><script>alert(1)</script>";

/// A server that answers until it is dropped.
pub struct Served {
    pub address: SocketAddr,
    pub token: String,
    pub url: String,
    pub once: String,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), attlas_server::Error>>>,
    pub folder: TempDir,
}

/// What a test serves.
#[derive(Default)]
pub struct Setup {
    pub recordings: Vec<(&'static str, Recording)>,
    pub folders: Vec<PathBuf>,
    pub limits: Option<Limits>,
    pub models: Vec<Choice>,
    pub run: Option<RunAsk>,
}

/// The embedded translator, as a model that can be chosen.
pub fn embedded() -> Choice {
    let load = Box::new(|| Model::embedded().map_err(|error| error.to_string()));
    Choice { name: "embedded".into(), place: None, load }
}

pub fn serve(recordings: Vec<(&'static str, Recording)>) -> Served {
    Setup { recordings, ..Setup::default() }.serve()
}

impl Setup {
    pub fn serve(self) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let save = |(name, recording): &(&str, Recording)| {
            let path = folder.path().join(name);
            recording.save(&path).unwrap();
            path
        };
        let settings = Settings {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            names: Vec::new(),
            files: self.recordings.iter().map(save).collect(),
            effects: None,
            folders: self.folders,
            models: self.models,
            run: self.run,
            n_threads: 2,
            limits: self.limits.unwrap_or_default(),
        };
        let server = Server::bind(settings).unwrap();
        let (address, url, once) = (server.address(), server.url(), server.url_for_once().unwrap());
        let token = url.split_once("?token=").unwrap().1.to_owned();
        let is_over = Arc::new(AtomicBool::new(false));
        let watch = Arc::clone(&is_over);
        let thread = Some(std::thread::spawn(move || server.serve(|| watch.load(Ordering::Relaxed))));
        Served { address, token, url, once, is_over, thread, folder }
    }
}

impl Served {
    /// Ends it, and says how long that took.
    pub fn end(&mut self) -> Duration {
        let began = std::time::Instant::now();
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
        began.elapsed()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[], body.as_bytes())
    }

    /// A question with the token and the right host, unless `headers` say others.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let has = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !has("host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        if !has("authorization") {
            head += &format!("Authorization: Bearer {}\r\n", self.token);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.raw(&[head.as_bytes(), b"\r\n", body].concat())
    }

    /// What comes of these bytes, until the server closes the connection.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Answer::read(&answer)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn read(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("the answer has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = bytes[end + 4..].to_vec();
        if head.to_lowercase().contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        Answer { status, head, body }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The code of a refusal.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn message(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    pub fn tile(&self) -> Tile {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        Tile::read(&self.body)
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let n = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap().trim(), 16).unwrap();
        whole.extend_from_slice(&body[end + 2..end + 2 + n]);
        body = &body[end + 4 + n..];
    }
    whole
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// A picture, as a client reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    pub size: [usize; 2],
    pub top: f32,
    pub every: u32,
    pub values: Vec<f32>,
    pub masked: Vec<u8>,
}

impl Tile {
    pub fn read(bytes: &[u8]) -> Tile {
        let size = [u32_at(bytes, 0) as usize, u32_at(bytes, 4) as usize];
        let n = size[0] * size[1];
        assert_eq!(bytes.len(), 16 + 5 * n);
        Tile {
            size,
            top: floats(&bytes[8..12])[0],
            every: u32_at(bytes, 12),
            values: floats(&bytes[16..16 + 4 * n]),
            masked: bytes[16 + 4 * n..].to_vec(),
        }
    }
}

/// Words, two of three in pieces of one word, a special token at the end.
pub fn tokens(n: usize) -> Tokens {
    let token = |place: usize| Token {
        role: if place + 1 == n { TokenRole::Special } else { TokenRole::Text },
        word: Some(place / 3 * 2 + usize::from(place % 3 == 2)),
        ..Token::labelled(if place == 1 { HOSTILE.to_owned() } else { format!("w{place}") })
    };
    Tokens { text: (0..n).map(|place| format!("w{place} ")).collect(), tokens: (0..n).map(token).collect() }
}

/// A decoder of two layers with four heads in two groups, on `n` tokens.
pub fn decoder(n: usize, d_head: usize, seed: u64) -> Recording {
    let items = vec![Item { target: tokens(n), ..Item::default() }];
    let shape = Shape { n_heads: 4, n_kv_heads: 2, n_queries: n, n_keys: n, d_head, d_value: 0 };
    let layer = |index: usize| {
        let mut random = SplitMix64::new(seed + index as u64);
        let mut numbers =
            |n: usize| (0..n).map(|_| (random.number() >> 40) as f32 / (1 << 22) as f32 - 2.0).collect::<Vec<f32>>();
        let scoring = Scoring::scaled_dot_product(d_head, Visibility::CAUSAL);
        let (queries, keys) = (numbers(4 * n * d_head).into(), numbers(2 * n * d_head).into());
        let given =
            QueriesAndKeys { kind: Kind::Decoder, index, shape, scoring, queries, keys, mask: None, key_bias: None };
        given.layer(&items).unwrap()
    };
    let provenance = Provenance { model: format!("test {HOSTILE}"), writer: Writer::attlas(), ..Provenance::default() };
    Recording { layers: vec![layer(0), layer(1)], items, provenance }
}

/// Where the crate's tests may write.
pub fn path(served: &Served, name: &str) -> PathBuf {
    let folder: &Path = served.folder.path();
    folder.join(name)
}
