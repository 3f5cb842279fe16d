//! Connections: so many at a time, each with so much patience for one that is slow to ask or slow to listen.

use std::io;
use std::net::TcpListener as Listener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep, timeout};

use crate::Limits;

/// How often it is asked whether the server is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What the answers under way are given to end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What one connection's requests may take in memory before they are read.
const MAX_HEAD: usize = 64 << 10;
/// What who comes when all places are taken is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Answers until `is_over` says so.
pub async fn serve(
    listener: Listener,
    router: Router,
    limits: &Limits,
    mut is_over: impl FnMut() -> bool,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    while !is_over() {
        let stream = match timeout(LOOK_EVERY, listener.accept()).await {
            Err(_) => continue, // nobody came
            Ok(Ok((stream, _))) => stream,
            Ok(Err(_)) => {
                sleep(LOOK_EVERY).await; // out of file descriptors, or the client left already
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let _ = stream.try_write(FULL);
            continue;
        };
        let (router, limits) = (router.clone(), *limits);
        tokio::spawn(async move {
            answer(stream, router, limits).await;
            drop(place);
        });
    }
    drop(listener);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    // those that keep their connection for later are not waited for longer
    let _ = timeout(LAST_WORDS, places.acquire_many(all)).await;
    Ok(())
}

/// Answers one connection's requests; what breaks off is the client's to notice.
async fn answer(stream: TcpStream, router: Router, limits: Limits) {
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Patient { stream, patience: limits.slow, waiting: None });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.slow)
        .max_buf_size(MAX_HEAD)
        .serve_connection(io, TowerToHyperService::new(router));
    let _ = connection.await;
}

/// A connection that ends when the other side takes nothing for too long.
struct Patient {
    stream: TcpStream,
    patience: Duration,
    /// Ends when patience does, while the other side takes nothing.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn patient<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.patient(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.patient(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
