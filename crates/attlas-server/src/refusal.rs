//! What a client is told when it does not get what it asked for: a status, a name that programs know, a sentence that people read.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An answer that is a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status of HTTP.
    pub status: StatusCode,
    /// Of which sort it is, the same for ever: `token`, `origin`, `ask`, `axis`, `absent`, `changed`, `unreadable`, `limit`, `busy`, `run`, `broken`.
    pub code: &'static str,
    /// What was found, what was expected, what to do.
    pub message: String,
}

impl Refusal {
    /// Something was asked for in a way that nobody can answer.
    pub fn ask(message: impl Into<String>) -> Refusal {
        Refusal { status: StatusCode::BAD_REQUEST, code: "ask", message: message.into() }
    }

    /// What was asked for does not exist.
    pub fn absent(message: impl Into<String>) -> Refusal {
        Refusal { status: StatusCode::NOT_FOUND, code: "absent", message: message.into() }
    }

    /// An axis that is not known, or not any more: the client sends it again.
    pub fn axis() -> Refusal {
        let message = "the axis is not known here (any more); it has to be sent again".to_owned();
        Refusal { status: StatusCode::NOT_FOUND, code: "axis", message }
    }

    /// The file is not what it was when it was opened.
    pub fn changed(message: String) -> Refusal {
        Refusal { status: StatusCode::GONE, code: "changed", message }
    }

    /// The numbers cannot be read.
    pub fn unreadable(message: impl Into<String>) -> Refusal {
        Refusal { status: StatusCode::UNPROCESSABLE_ENTITY, code: "unreadable", message: message.into() }
    }

    /// More than a limit allows.
    pub fn limit(message: impl Into<String>) -> Refusal {
        Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, code: "limit", message: message.into() }
    }

    /// More is waiting than is taken.
    pub fn busy() -> Refusal {
        let message = "more questions wait than are taken at once; ask again in a moment".to_owned();
        Refusal { status: StatusCode::SERVICE_UNAVAILABLE, code: "busy", message }
    }

    /// A fault of this program.
    pub fn broken() -> Refusal {
        let message =
            "the computation broke off; this is a fault of attlas, and other maps are not touched by it".to_owned();
        Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, code: "broken", message }
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
        let body = json!({ "error": self.message, "code": self.code }).to_string();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        response
    }
}
