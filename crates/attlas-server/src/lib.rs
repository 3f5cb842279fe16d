//! Serves the viewer: the page, tiles of recorded maps as they are looked at, and live runs of models.
//!
//! A [`Server`] listens on one address and answers who has its token. Recordings stay in their files until a head is asked for; a
//! picture of a large map reads some of its queries and says so, unless every cell is asked for. Tiles are computed in the order
//! they are asked for; what takes long is sliced in between them, and a run has threads of its own that give way.
//!
//! Nothing is taken from a client but ids that it was given, numbers that are checked, and the texts of runs.

mod app;
mod bytes;
mod cache;
mod connections;
mod desk;
mod figure;
mod fold;
mod guard;
mod library;
mod lines;
mod map;
mod places;
mod refusal;
mod routes;
mod runs;
mod tile;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use attlas_viewer::HeadEffects;
pub use runs::{Choice, Load, RunAsk, models_in};

use crate::app::App;
use crate::desk::Desk;
use crate::guard::Guard;
use crate::library::Library;
use crate::refusal::Refusal;
use crate::runs::Runs;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("{address}: {}", listening(source))]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no threads.
    #[error("no threads could be started: {0}")]
    Threads(String),
    /// The system gives no random numbers.
    #[error("the system gave no random numbers for the token: {0}")]
    Random(String),
    /// Connections cannot be served.
    #[error("connections cannot be served: {0}")]
    Io(#[from] io::Error),
    /// The first run was refused.
    #[error("{0}")]
    Run(String),
}

fn listening(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => "another program listens there already".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "the system does not let this user listen there".to_owned(),
        _ => format!("it cannot be listened on: {source}"),
    }
}

/// What bounds connections and pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// How long a client may take to ask, and how long it may take nothing of an answer.
    pub slow: Duration,
    /// Multiplications of a picture that are done at once; of one that takes more, some of the rows are read.
    pub multiplications: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { connections: 256, slow: Duration::from_secs(20), multiplications: 2_000_000_000 }
    }
}

/// What is served, and where.
pub struct Settings {
    /// Where to listen; port 0 is one that is free.
    pub address: SocketAddr,
    /// Names that the server may be called by, beside addresses and `localhost`.
    pub names: Vec<String>,
    /// Recordings.
    pub files: Vec<PathBuf>,
    /// What was measured of the heads of the first of these files.
    pub effects: Option<HeadEffects>,
    /// Folders whose recordings are served; those in folders below them are not.
    pub folders: Vec<PathBuf>,
    /// The models that can be run.
    pub models: Vec<Choice>,
    /// A run that is begun at once.
    pub run: Option<RunAsk>,
    /// Threads that compute tiles, and as many that run models.
    pub n_threads: usize,
    /// What bounds connections and pictures.
    pub limits: Limits,
}

/// A server that listens, and answers once it is [run](Server::serve).
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    guard: Arc<Guard>,
    limits: Limits,
}

impl Server {
    /// Listens, with a new token.
    ///
    /// # Errors
    /// When the address is taken, the system gives no threads or random numbers, or the first run is refused.
    pub fn bind(settings: Settings) -> Result<Server, Error> {
        let Settings { address, names, files, effects, folders, models, run, n_threads, limits } = settings;
        let refused = |source| Error::Address { address, source };
        let listener = TcpListener::bind(address).map_err(refused)?;
        let bound = listener.local_addr().map_err(refused)?;
        let guard = Arc::new(Guard::new(names)?);
        let runs = Runs::new(models, n_threads)?;
        let library = Library::new(files, effects, folders);
        let app = Arc::new(App::new(library, Desk::new(n_threads)?, runs, limits.multiplications));
        if let Some(ask) = run {
            app.runs.start(ask, &app.library).map_err(|refusal: Refusal| Error::Run(refusal.message))?;
        }
        Ok(Server { listener, address: bound, app, guard, limits })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the page, with the token: who has it may ask everything.
    pub fn url(&self) -> String {
        format!("{}?token={}", self.place(), self.guard.token())
    }

    /// An address of the page that opens it once, for a browser that is started with it: others can read a program's words.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn url_for_once(&self) -> Result<String, Error> {
        Ok(format!("{}?open={}", self.place(), self.guard.one_time_code()?))
    }

    fn place(&self) -> String {
        match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => format!("http://127.0.0.1:{}/", self.address.port()),
            IpAddr::V6(ip) if ip.is_unspecified() => format!("http://[::1]:{}/", self.address.port()),
            _ => format!("http://{}/", self.address),
        }
    }

    /// Answers until `is_over` says so, which is asked some times a second; a run that goes on is stopped then.
    ///
    /// # Errors
    /// When the system does not let connections be served.
    pub fn serve(self, is_over: impl FnMut() -> bool) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let router = routes::routes(Arc::clone(&self.app), self.guard, self.limits.slow);
        let served = runtime.block_on(connections::serve(self.listener, router, &self.limits, is_over));
        self.app.runs.stop();
        runtime.shutdown_background();
        Ok(served?)
    }
}
