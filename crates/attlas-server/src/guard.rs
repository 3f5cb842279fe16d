//! Who may ask: the address that was asked for, the page that asks, and the token; and what every answer says about itself.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use crate::Error;
use crate::refusal::{Refusal, Sort};

/// What a program has to show to be answered.
pub struct Guard {
    token: String,
    /// Lets the browser that was started have the token, once; other users of the machine can read a command's words.
    code: Mutex<Option<String>>,
    /// Names that the server may be called by, beside addresses and `localhost`.
    names: Vec<String>,
}

/// 128 random bits in hexadecimal digits.
fn secret() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Random(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether two texts are equal, in a time that says nothing of where they differ.
fn equal(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

impl Guard {
    /// A guard with a new token; `names` may stand in the `Host` of requests.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(names: Vec<String>) -> Result<Guard, Error> {
        Ok(Guard { token: secret()?, code: Mutex::new(None), names })
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A code that is exchanged for the token once.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn one_time_code(&self) -> Result<String, Error> {
        let code = secret()?;
        *self.code.lock().unwrap_or_else(PoisonError::into_inner) = Some(code.clone());
        Ok(code)
    }

    /// The token, for the code; which is worth nothing afterwards, right or wrong.
    pub fn exchange(&self, code: &str) -> Option<&str> {
        let expected = self.code.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        equal(&expected, code).then_some(self.token.as_str())
    }

    /// Refuses names that other people's name servers could give to this machine, and pages of other places; from which a reader may
    /// come to the page by a link, as the one that a web terminal shows.
    fn check_origin(&self, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let forbidden = |message: &str| Refusal::new(Sort::Origin, message);
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(header::HOST).unwrap_or_default();
        if headers.get_all(header::HOST).iter().count() != 1 || !self.is_ours(host) {
            return Err(forbidden(
                "this server answers to localhost, to addresses, and to the names it was given; another was asked for",
            ));
        }
        if text(header::ORIGIN).is_some_and(|origin| origin.strip_prefix("http://") != Some(host)) {
            return Err(forbidden("pages of other places may not ask this server"));
        }
        let site = text(HeaderName::from_static("sec-fetch-site"));
        let says = |name: &'static str, value: &str| text(HeaderName::from_static(name)) == Some(value);
        let is_link = path == "/" && says("sec-fetch-mode", "navigate") && says("sec-fetch-dest", "document");
        match site {
            None | Some("same-origin" | "none") => Ok(()),
            Some(_) if is_link => Ok(()),
            Some(_) => Err(forbidden("pages of other places may not ask this server")),
        }
    }

    /// Whether a `Host` is this server's: an address, `localhost`, or a name that was given.
    fn is_ours(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) => {
                let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_number);
                return is_port && address.parse::<std::net::Ipv6Addr>().is_ok();
            }
            None => match host.rsplit_once(':') {
                Some((name, port)) if is_number(port) => name,
                Some(_) => return false,
                None => host,
            },
        };
        let is_name = |known: &str| known.eq_ignore_ascii_case(name);
        is_name("localhost") || name.parse::<IpAddr>().is_ok() || self.names.iter().any(|known| is_name(known))
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if equal(given, &self.token) {
            return Ok(());
        }
        let message = "the token is missing or wrong; the address that was printed when the server began has it";
        Err(Refusal::new(Sort::Token, message))
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// What needs no token: the page, which holds no numbers, and the exchange of the code for it.
fn is_open(path: &str) -> bool {
    !path.starts_with("/api/") || path == "/api/open"
}

/// Refuses who may not ask, and says of every answer that it is this page's alone.
pub async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let checked = guard.check_origin(request.uri().path(), request.headers()).and_then(|()| match request.method() {
        &Method::GET | &Method::HEAD | &Method::POST | &Method::DELETE => Ok(()),
        other => Err(Refusal::new(Sort::Method, format!("{other} is nothing that is done here"))),
    });
    let checked = checked.and_then(|()| match is_open(request.uri().path()) {
        true => Ok(()),
        false => guard.check_token(request.headers()),
    });
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    // the page says its own
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(nothing);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_given_names_are_this_servers() {
        let guard = Guard::new(vec!["box.example".into()]).unwrap();
        for host in ["127.0.0.1:80", "localhost:1", "LOCALHOST", "[::1]:9", "[::1]", "10.0.0.3:7", "Box.example:5"] {
            assert!(guard.is_ours(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:80",
            "127.0.0.1.evil.example",
            "[evil]:1",
            "a:b",
            "localhost:",
            "127.0.0.1:80:80",
        ] {
            assert!(!guard.is_ours(host), "{host}");
        }
    }

    #[test]
    fn a_code_is_worth_the_token_once() {
        let guard = Guard::new(Vec::new()).unwrap();
        assert_eq!(guard.exchange(""), None);
        let code = guard.one_time_code().unwrap();
        assert_eq!(guard.exchange(&code), Some(guard.token()));
        assert_eq!(guard.exchange(&code), None);
        let code = guard.one_time_code().unwrap();
        assert_eq!(guard.exchange("wrong"), None);
        assert_eq!(guard.exchange(&code), None, "a wrong guess ends it");
    }
}
