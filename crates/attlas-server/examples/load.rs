//! Asks a server in this process as fast as it answers, and says how fast that is: `load RECORDING [SECONDS] [CONNECTIONS]`.
//!
//! Four measurements: tiles at random places of random heads, the same while a model runs, the first overview of every head of a
//! kind, and zooms to smaller and smaller parts of one head. bench/README.md has the figures and how the recordings were made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement, run by hand")]

use std::env;
use std::fmt::Write as _;
use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use attlas::{Recording, SplitMix64};
use attlas_model::Model;
use attlas_server::{Choice, Limits, Server, Settings};

/// Side of a tile, in pixels.
const SIDE: usize = 128;

fn main() {
    let mut words = env::args().skip(1);
    let path = PathBuf::from(words.next().expect("a recording"));
    let seconds = words.next().map_or(5.0, |word| word.parse().unwrap());
    let n_connections = words.next().map_or(4, |word| word.parse().unwrap());
    let began = Instant::now();
    let about = About::of(&path);
    println!(
        "{}: {} × {} heads, {} tokens; read in {:.0?}",
        path.display(),
        about.layers.len(),
        about.n_heads,
        about.n,
        began.elapsed()
    );
    let served = Served::start(path);
    let began = Instant::now();
    let n_bytes = served.client().get("/api/recordings/f0").len();
    println!("opened and described: {:.0?}, {} kB", began.elapsed(), n_bytes >> 10);
    overview(&served, &about);
    zoom(&served, &about);
    let tiles = |what: &str, coarsest: usize| {
        let (n, latencies) = load(&served, &about, coarsest, n_connections, Duration::from_secs_f64(seconds));
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
        println!(
            "{what}: {:.0} tiles/s of {SIDE} × {SIDE}; p50 {:.1?}, p99 {:.1?}, slowest {:.1?}",
            n as f64 / seconds,
            at(0.5),
            at(0.99),
            at(1.0)
        );
    };
    tiles("tiles of a cell a pixel", 1);
    tiles("tiles of up to 8 × 8 cells a pixel", 8);
    let is_over = Arc::new(AtomicBool::new(false));
    let runs = run_again_and_again(&served, &is_over);
    tiles("the same while a model runs", 8);
    is_over.store(true, Ordering::Relaxed);
    println!("runs meanwhile: {}", runs.join().unwrap());
}

/// What is asked about.
struct About {
    kind: &'static str,
    n: usize,
    layers: Vec<usize>,
    n_heads: usize,
}

impl About {
    fn of(path: &Path) -> About {
        let recording = Recording::open(path).unwrap();
        let kind = *recording.kinds().last().unwrap();
        let layers: Vec<usize> = recording.layers_of(kind).map(|layer| layer.index).collect();
        let shape = recording.layers_of(kind).next().unwrap().shape;
        About { kind: kind.name(), n: shape.n_queries, layers, n_heads: shape.n_heads }
    }
}

/// All heads in thumbnails, as the page asks for them first.
fn overview(served: &Served, about: &About) {
    let side = (about.n / 8).clamp(8, 32);
    let mut asks = String::from("[");
    for layer in &about.layers {
        for head in 0..about.n_heads {
            let comma = if asks.len() > 1 { "," } else { "" };
            let _ = write!(
                asks,
                "{comma}{{\"item\":0,\"kind\":\"{}\",\"layer\":{layer},\"head\":{head},\"height\":{side},\"width\":{side}}}",
                about.kind
            );
        }
    }
    asks.push(']');
    for time in ["first overview", "again"] {
        let began = Instant::now();
        let n_bytes = served.client().ask("POST", "/api/recordings/f0/pooled", &asks).len();
        println!(
            "{time} of {} heads in {side} × {side}: {:.2?}, {} kB",
            about.layers.len() * about.n_heads,
            began.elapsed(),
            n_bytes >> 10
        );
    }
}

/// One head, from the whole to a few cells.
fn zoom(served: &Served, about: &About) {
    let mut client = served.client();
    let mut span = about.n;
    while span >= 32 {
        let first = (about.n - span) / 2;
        let began = Instant::now();
        let question = format!(
            "/api/recordings/f0/tile?item=0&kind={}&layer={}&head=1&top={first}&bottom={}&left={first}&right={}&height=512&width=512",
            about.kind,
            about.layers[0],
            first + span,
            first + span
        );
        let tile = client.get(&question);
        let every = u32::from_le_bytes(tile[12..16].try_into().unwrap());
        println!("zoom to {span} × {span}: {:.1?}, one in {every} rows", began.elapsed());
        span /= 4;
    }
}

/// How many tiles were answered, and how long each took, the quickest first.
fn load(
    served: &Served,
    about: &About,
    coarsest: usize,
    n_connections: usize,
    time: Duration,
) -> (usize, Vec<Duration>) {
    let all = Mutex::new(Vec::new());
    let seed = Instant::now().elapsed().subsec_nanos() as usize;
    thread::scope(|scope| {
        for connection in 0..n_connections {
            let all = &all;
            scope.spawn(move || {
                let mut random = SplitMix64::at(7, &[seed, connection]);
                let (mut client, mut latencies) = (served.client(), Vec::new());
                let until = Instant::now() + time;
                while Instant::now() < until {
                    // some heads are looked at, at places of every size up to `coarsest` cells along a pixel
                    let span = SIDE.min(about.n) << random.below(1 + coarsest.ilog2() as usize);
                    let span = span.min(about.n);
                    let (top, left) = (random.below(about.n - span + 1), random.below(about.n - span + 1));
                    let question = format!(
                        "/api/recordings/f0/tile?item=0&kind={}&layer={}&head={}&top={top}&bottom={}&left={left}&right={}&height={SIDE}&width={SIDE}",
                        about.kind,
                        about.layers[random.below(about.layers.len().min(2))],
                        random.below(about.n_heads.min(8)),
                        top + span,
                        left + span
                    );
                    let began = Instant::now();
                    client.get(&question);
                    latencies.push(began.elapsed());
                }
                all.lock().unwrap().extend(latencies);
            });
        }
    });
    let mut latencies = all.into_inner().unwrap();
    latencies.sort();
    (latencies.len(), latencies)
}

/// Runs the embedded translator until told to stop; how often.
fn run_again_and_again(served: &Served, is_over: &Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    let (mut client, is_over) = (served.client(), Arc::clone(is_over));
    thread::spawn(move || {
        let text = "The old man walked slowly to the sea and looked at the boats. ".repeat(12);
        let body = format!("{{\"text\":\"{text}\"}}");
        let mut n = 0;
        while !is_over.load(Ordering::Relaxed) {
            client.ask("POST", "/api/run", &body);
            while !is_over.load(Ordering::Relaxed) && client.get("/api/run").starts_with(b"{\"state\":\"running\"") {
                thread::sleep(Duration::from_millis(20));
            }
            n += 1;
        }
        client.ask("DELETE", "/api/run", "");
        n
    })
}

/// The server of this process.
struct Served {
    address: SocketAddr,
    token: String,
}

impl Served {
    fn start(file: PathBuf) -> Served {
        let load = Box::new(|| Model::embedded().map_err(|error| error.to_string()));
        let settings = Settings {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            names: Vec::new(),
            files: vec![file],
            effects: None,
            folders: Vec::new(),
            models: vec![Choice { name: "embedded".into(), place: None, load }],
            run: None,
            n_threads: thread::available_parallelism().map_or(1, usize::from),
            limits: Limits::default(),
        };
        let server = Server::bind(settings).unwrap();
        let address = server.address();
        let token = server.url().split_once("?token=").unwrap().1.to_owned();
        thread::spawn(move || server.serve(|| false));
        Served { address, token }
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        let headers = format!("Host: {}\r\nAuthorization: Bearer {}\r\n", self.address, self.token);
        Client { stream: BufReader::with_capacity(1 << 20, stream), headers }
    }
}

/// One connection that stays.
struct Client {
    stream: BufReader<TcpStream>,
    headers: String,
}

impl Client {
    fn get(&mut self, path: &str) -> Vec<u8> {
        self.ask("GET", path, "")
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let request =
            format!("{method} {path} HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n{body}", self.headers, body.len());
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut length = None;
        let mut is_first = true;
        loop {
            let line = self.line();
            if is_first {
                assert!(line.starts_with("HTTP/1.1 200") || line.starts_with("HTTP/1.1 409"), "{path}: {line}");
                is_first = false;
            }
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
                length = Some(value.parse().unwrap());
            }
        }
        match length {
            Some(length) => self.bytes(length),
            None => {
                let mut whole = Vec::new();
                loop {
                    let n = usize::from_str_radix(&self.line(), 16).unwrap();
                    let piece = self.bytes(n);
                    self.line();
                    if n == 0 {
                        return whole;
                    }
                    whole.extend(piece);
                }
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.last() != Some(&b'\n') {
            self.stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }
}
