//! What is asked at which address, and how it is answered.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use http_body::Frame;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::app::{App, Ask};
use crate::figure::FigureAsk;
use crate::guard::{self, Guard};
use crate::refusal::{Refusal, Sort};
use crate::runs::{MAX_TEXT, RunAsk};

/// Bytes of a request's body at most: an axis of 131,072 stretches, or the texts of a run.
const MAX_BODY: usize = 4 << 20;
/// Pictures of a list at most.
const MAX_LISTED: usize = 8192;
/// Pictures of a list that are computed at a time.
const LIST_AT_ONCE: usize = 4;
/// Bytes of a recording that are read at a time.
const PIECE: usize = 256 << 10;

type Shared = State<Arc<App>>;
type Asked = Result<Query<Ask>, QueryRejection>;

/// All that is answered.
pub fn routes(app: Arc<App>, guard: Arc<Guard>, slow: Duration) -> Router {
    let body = move |request: Request| async move {
        let bytes = timeout(slow, to_bytes(request.into_body(), MAX_BODY)).await;
        let limit = || {
            Refusal::limit(format!("a request has {MAX_BODY} bytes at most, sent within {} seconds", slow.as_secs()))
        };
        bytes.map_err(|_| limit())?.map_err(|_| limit())
    };
    let open = {
        let guard = Arc::clone(&guard);
        move |request: Request| async move { exchange(&guard, &body(request).await?) }
    };
    let axes = move |State(app): Shared, Path(id): Path<String>, request: Request| async move {
        let name = app.add_axis(&id, body(request).await?).await?;
        Ok::<_, Refusal>(as_json(json!({ "axis": name }).to_string()))
    };
    let pooled = move |State(app): Shared, Path(id): Path<String>, request: Request| async move {
        pooled(app, id, body(request).await?).await
    };
    let start = move |State(app): Shared, request: Request| async move { start(&app, &body(request).await?) };
    Router::new()
        .route("/", get(page))
        .route("/api/open", post(open))
        .route("/api/recordings", get(recordings))
        .route("/api/recordings/{id}", get(atlas))
        .route("/api/recordings/{id}/reopen", post(reopen))
        .route("/api/recordings/{id}/axes", post(axes))
        .route("/api/recordings/{id}/tile", get(tile))
        .route("/api/recordings/{id}/pooled", post(pooled))
        .route("/api/recordings/{id}/line", get(line))
        .route("/api/recordings/{id}/terms", get(terms))
        .route("/api/recordings/{id}/heads", get(heads))
        .route("/api/recordings/{id}/figure", get(draw))
        .route("/api/recordings/{id}/file", get(file))
        .route("/api/run", get(phase).post(start).delete(stop))
        .fallback(async || Refusal::absent("there is nothing at this address"))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .with_state(app)
}

fn as_json(text: impl Into<Body>) -> Response {
    typed("application/json", text)
}

fn typed(kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    query.map(|Query(ask)| ask).map_err(|rejection| Refusal::ask(rejection.body_text()))
}

async fn page() -> Response {
    let mut response = typed("text/html; charset=utf-8", attlas_viewer::shell());
    if let Ok(policy) = HeaderValue::from_str(&attlas_viewer::shell_policy()) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

fn exchange(guard: &Guard, body: &[u8]) -> Result<Response, Refusal> {
    let code = serde_json::from_slice(body).ok().map(|Code { code }| code).unwrap_or_default();
    let used = "this address was used already; the one that was printed when the server began opens the page";
    let token = guard.exchange(&code).ok_or_else(|| Refusal::new(Sort::Token, used))?;
    Ok(as_json(json!({ "token": token }).to_string()))
}

/// What is served, and what can be run.
async fn recordings(State(app): Shared) -> Result<Response, Refusal> {
    let shared = Arc::clone(&app);
    let (list, n_beyond) = app.desk.compute(move || shared.library.list()).await?;
    let models: Vec<&str> = app.runs.models().collect();
    let about = json!({
        "recordings": list, "beyond": n_beyond, "models": models, "max_text": MAX_TEXT, "version": env!("CARGO_PKG_VERSION"),
    });
    Ok(as_json(about.to_string()))
}

async fn atlas(State(app): Shared, Path(id): Path<String>) -> Result<Response, Refusal> {
    app.atlas(&id).await.map(as_json)
}

async fn reopen(State(app): Shared, Path(id): Path<String>) -> Result<Response, Refusal> {
    app.reopen(&id).await?;
    Ok(as_json("{}"))
}

async fn tile(State(app): Shared, Path(id): Path<String>, ask: Asked) -> Result<Response, Refusal> {
    let tile = app.tile(&id, asked(ask)?).await?;
    Ok(typed("application/octet-stream", tile))
}

async fn line(State(app): Shared, Path(id): Path<String>, ask: Asked) -> Result<Response, Refusal> {
    let line = app.line(&id, asked(ask)?).await?;
    Ok(typed("application/octet-stream", line))
}

async fn terms(State(app): Shared, Path(id): Path<String>, ask: Asked) -> Result<Response, Refusal> {
    app.terms(&id, asked(ask)?).await.map(as_json)
}

async fn heads(State(app): Shared, Path(id): Path<String>, ask: Asked) -> Result<Response, Refusal> {
    let heads = app.heads(&id, asked(ask)?).await?;
    Ok(typed("application/octet-stream", heads))
}

/// Many pictures in one answer, each as soon as it and those before it are there: its place (u32), whether it is one (u32), how
/// many bytes follow (u32), and its bytes, or the refusal's JSON.
async fn pooled(app: Arc<App>, id: String, body: Bytes) -> Result<Response, Refusal> {
    let asks: Vec<Ask> = serde_json::from_slice(&body)
        .map_err(|error| Refusal::ask(format!("the list of pictures cannot be read: {error}")))?;
    if asks.len() > MAX_LISTED {
        return Err(Refusal::limit(format!(
            "{} pictures were asked for, and {MAX_LISTED} are made for a list",
            asks.len()
        )));
    }
    let served = app.recording(&id).await?;
    let (send, receive) = mpsc::channel(LIST_AT_ONCE);
    tokio::spawn(async move {
        let n = asks.len();
        let mut under_way = VecDeque::new();
        let mut asks = asks.into_iter();
        for place in 0..n {
            for ask in asks.by_ref().take(LIST_AT_ONCE - under_way.len()) {
                let (app, served) = (Arc::clone(&app), Arc::clone(&served));
                under_way.push_back(tokio::spawn(async move { app.listed(served, ask, n).await }));
            }
            let Some(next) = under_way.pop_front() else { break };
            let tile = next.await.unwrap_or_else(|_| Err(Refusal::broken()));
            if send.send(framed(place, tile)).await.is_err() {
                break; // nobody listens any more
            }
        }
        under_way.iter().for_each(tokio::task::JoinHandle::abort);
    });
    Ok(typed("application/octet-stream", Body::new(Pieces(receive))))
}

fn framed(place: usize, tile: Result<Bytes, Refusal>) -> Bytes {
    let (is_tile, bytes) = match tile {
        Ok(tile) => (1_u32, tile),
        Err(refusal) => (0, refusal.json().into()),
    };
    let mut framed = Vec::with_capacity(12 + bytes.len());
    for number in [place as u32, is_tile, bytes.len() as u32] {
        framed.extend(number.to_le_bytes());
    }
    framed.extend_from_slice(&bytes);
    framed.into()
}

/// A body whose pieces are made while it is sent.
struct Pieces(mpsc::Receiver<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

async fn draw(
    State(app): Shared,
    Path(id): Path<String>,
    ask: Result<Query<FigureAsk>, QueryRejection>,
) -> Result<Response, Refusal> {
    let ask = asked(ask)?;
    let kind = ask.format.media_type();
    Ok(typed(kind, app.figure(&id, ask).await?))
}

/// The recording itself, as its file has it.
async fn file(State(app): Shared, Path(id): Path<String>) -> Result<Response, Refusal> {
    let served = app.recording(&id).await?;
    let shared = Arc::clone(&served);
    let Some(opened) = app.desk.compute(move || shared.reader()).await? else {
        let bytes = app.desk.compute(move || served.recording.to_bytes()).await??;
        return Ok(typed("application/octet-stream", bytes));
    };
    let (file, n_bytes) = opened?;
    let mut file = file.take(n_bytes);
    let (send, receive) = mpsc::channel(2);
    let app = Arc::clone(&app);
    tokio::spawn(async move {
        loop {
            let read = move || {
                let mut piece = vec![0; PIECE];
                let n = file.read(&mut piece).unwrap_or(0); // what is missing in the end breaks the connection
                piece.truncate(n);
                (file, piece)
            };
            let Ok((next, piece)) = app.desk.compute(read).await else { break };
            file = next;
            if piece.is_empty() || send.send(Bytes::from(piece)).await.is_err() {
                break;
            }
        }
    });
    let mut response = typed("application/octet-stream", Body::new(Pieces(receive)));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(n_bytes)); // a part is not taken for the whole
    Ok(response)
}

async fn phase(State(app): Shared) -> Result<Response, Refusal> {
    let phase = serde_json::to_string(&app.runs.phase()).map_err(|_| Refusal::broken())?;
    Ok(as_json(phase))
}

fn start(app: &App, body: &[u8]) -> Result<Response, Refusal> {
    let ask: RunAsk =
        serde_json::from_slice(body).map_err(|error| Refusal::ask(format!("the run cannot be read: {error}")))?;
    app.runs.start(ask, &app.library)?;
    Ok(as_json("{}").into_response())
}

async fn stop(State(app): Shared) -> Response {
    app.runs.stop();
    as_json("{}")
}
