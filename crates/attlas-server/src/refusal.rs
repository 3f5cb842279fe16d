//! What a client is told when it does not get what it asked for: a status, a name that programs know, a sentence that people read.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An answer that is a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Of which sort it is.
    pub sort: Sort,
    /// What was found, what was expected, what to do.
    pub message: String,
}

/// Of which sort a refusal is: what HTTP and programs know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Who asks has not shown the token.
    Token,
    /// The server was asked by another name, or from another place's page.
    Origin,
    /// Something was asked for in a way that nobody can answer.
    Ask,
    /// The same, by a method that nothing here has.
    Method,
    /// An axis that is not known, or not any more.
    Axis,
    /// What was asked for does not exist.
    Absent,
    /// The file is not what it was when it was opened.
    Changed,
    /// The numbers cannot be read.
    Unreadable,
    /// More than a limit allows.
    Limit,
    /// More is waiting than is taken.
    Busy,
    /// A run goes on already.
    Run,
    /// A fault of this program.
    Broken,
}

impl Sort {
    /// The status of HTTP, and the name that programs know it by, the same for ever.
    fn known_by(self) -> (StatusCode, &'static str) {
        match self {
            Sort::Token => (StatusCode::UNAUTHORIZED, "token"),
            Sort::Origin => (StatusCode::FORBIDDEN, "origin"),
            Sort::Ask => (StatusCode::BAD_REQUEST, "ask"),
            Sort::Method => (StatusCode::METHOD_NOT_ALLOWED, "ask"),
            Sort::Axis => (StatusCode::NOT_FOUND, "axis"),
            Sort::Absent => (StatusCode::NOT_FOUND, "absent"),
            Sort::Changed => (StatusCode::GONE, "changed"),
            Sort::Unreadable => (StatusCode::UNPROCESSABLE_ENTITY, "unreadable"),
            Sort::Limit => (StatusCode::PAYLOAD_TOO_LARGE, "limit"),
            Sort::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Sort::Run => (StatusCode::CONFLICT, "run"),
            Sort::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "broken"),
        }
    }
}

impl Refusal {
    /// A refusal of a sort, in a sentence.
    pub fn new(sort: Sort, message: impl Into<String>) -> Refusal {
        Refusal { sort, message: message.into() }
    }

    /// [`Sort::Ask`].
    pub fn ask(message: impl Into<String>) -> Refusal {
        Refusal::new(Sort::Ask, message)
    }

    /// [`Sort::Absent`].
    pub fn absent(message: impl Into<String>) -> Refusal {
        Refusal::new(Sort::Absent, message)
    }

    /// [`Sort::Axis`]: the client sends it again.
    pub fn axis() -> Refusal {
        Refusal::new(Sort::Axis, "the axis is not known here (any more); it has to be sent again")
    }

    /// [`Sort::Unreadable`].
    pub fn unreadable(message: impl Into<String>) -> Refusal {
        Refusal::new(Sort::Unreadable, message)
    }

    /// [`Sort::Limit`].
    pub fn limit(message: impl Into<String>) -> Refusal {
        Refusal::new(Sort::Limit, message)
    }

    /// [`Sort::Busy`].
    pub fn busy() -> Refusal {
        Refusal::new(Sort::Busy, "more questions wait than are taken at once; ask again in a moment")
    }

    /// [`Sort::Broken`].
    pub fn broken() -> Refusal {
        let message = "the computation broke off; this is a fault of attlas, and other maps are not touched by it";
        Refusal::new(Sort::Broken, message)
    }

    /// Its sentence and its name, as JSON.
    pub fn json(&self) -> String {
        let (_, code) = self.sort.known_by();
        json!({ "error": self.message, "code": code }).to_string()
    }
}

/// What the maps' own errors mean to who asked.
impl From<attlas::Error> for Refusal {
    fn from(error: attlas::Error) -> Refusal {
        use attlas::Error;
        let message = error.to_string();
        match error {
            Error::NoKind { .. } | Error::NoLayer { .. } | Error::NoHead { .. } | Error::NoItem { .. } => {
                Refusal::absent(message)
            }
            Error::OutsideMap { .. } | Error::NeedsWholeMap { .. } | Error::NothingShown(_) => Refusal::ask(message),
            Error::Limit { .. } | Error::TooMany { .. } => Refusal::limit(message),
            _ => Refusal::unreadable(message),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.json()));
        *response.status_mut() = self.sort.known_by().0;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        response
    }
}
