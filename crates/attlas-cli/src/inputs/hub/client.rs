//! Asks a hub over HTTP: redirects followed by us, each address checked, the token sent to the hub alone.

use std::io::Read;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

/// Redirects that one question may take; the hub takes two.
const MAX_REDIRECTS: usize = 8;

/// Bytes that must come in each stretch of the time allowed without progress; a slower body is given up.
const MIN_BYTES: u64 = 4096;

/// How a hub is asked.
pub struct Settings<'a> {
    /// Its address, such as `https://example.org`.
    pub endpoint: &'a str,
    /// What says who asks.
    pub token: Option<String>,
    /// Whether http is taken where the address is not of this machine.
    pub allow_http: bool,
    /// How long nothing may come.
    pub patience: Duration,
}

/// A hub that can be asked.
pub struct Client {
    agent: Agent,
    endpoint: String,
    origin: Origin,
    token: Option<String>,
    allow_http: bool,
    patience: Duration,
}

/// What answered a question in the end.
pub struct Answer {
    /// The last answer; its body is not read yet.
    pub response: Response<Body>,
    /// What the hub itself said of the file, not whoever it redirects to.
    pub own: HeaderMap,
}

impl Client {
    /// A client of the hub at an address; nothing is asked yet.
    ///
    /// # Errors
    /// An address that is none, or whose answers anyone on the way could change; a token that cannot be sent.
    pub fn new(settings: Settings<'_>) -> Result<Client, String> {
        let endpoint = settings.endpoint.trim_end_matches('/');
        let place = |what: String| format!("the hub's address (HF_ENDPOINT) {endpoint:?} {what}");
        let origin = endpoint.parse::<Uri>().ok().and_then(|uri| Origin::of(&uri));
        let origin = origin.ok_or_else(|| place("is none; https://HOST was expected".to_owned()))?;
        if !origin.is_https && !origin.is_loopback() && !settings.allow_http {
            return Err(place(
                "is http, which anyone on the way can read and change; https was expected \
                              (--allow-http takes it all the same)"
                    .to_owned(),
            ));
        }
        if settings.token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err("the token (HF_TOKEN) has spaces or letters that no token has".to_owned());
        }
        let patience = Some(settings.patience);
        let config = Agent::config_builder()
            .user_agent(concat!("attlas/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_resolve(patience)
            .timeout_connect(patience)
            .timeout_send_request(patience)
            .timeout_recv_response(patience)
            .timeout_per_read(patience);
        Ok(Client {
            agent: config.build().into(),
            endpoint: endpoint.to_owned(),
            origin,
            token: settings.token,
            allow_http: settings.allow_http,
            patience: settings.patience,
        })
    }

    /// Asks for `path`, which begins with a slash, or for a range of it (`bytes=0-0`).
    ///
    /// # Errors
    /// No connection, a redirect that leads nowhere, too far or out of https, or an answer that is a refusal.
    pub fn get(&self, path: &str, range: Option<&str>) -> Result<Answer, String> {
        let mut address = format!("{}{path}", self.endpoint);
        let mut own = HeaderMap::new();
        for _ in 0..=MAX_REDIRECTS {
            let (response, is_own) = self.ask(&address, range)?;
            if is_own {
                let said = response.headers().iter().map(|(name, value)| (name.clone(), value.clone()));
                said.for_each(|(name, value)| drop(own.insert(name, value)));
            }
            let status = response.status();
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return refusal(status).map_or(Ok(Answer { response, own }), Err);
            }
            address = next_address(&address, &response)?;
        }
        Err(format!("the hub redirects more than {MAX_REDIRECTS} times"))
    }

    /// One question, and whether it went to the hub itself.
    fn ask(&self, address: &str, range: Option<&str>) -> Result<(Response<Body>, bool), String> {
        let origin = address.parse::<Uri>().ok().and_then(|uri| Origin::of(&uri));
        let origin = origin.ok_or_else(|| format!("the hub redirects to {}, which is no address", quoted(address)))?;
        // whoever takes http of the hub takes it of those that it redirects to, but never comes down from https to it
        let takes_http = !self.origin.is_https && (self.allow_http || origin.is_loopback());
        if !origin.is_https && !takes_http {
            return Err(format!("the hub redirects to {}, which is not https", quoted(address)));
        }
        let is_own = origin == self.origin;
        let mut request = self.agent.get(address);
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        if let Some(token) = self.token.as_ref().filter(|_| is_own) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        Ok((request.call().map_err(|error| broken(&error))?, is_own))
    }

    /// A body that is given up where it comes too slowly.
    pub fn body(&self, response: Response<Body>) -> PacedBody {
        let reader = response.into_body().into_reader();
        PacedBody { reader, patience: self.patience, since: Instant::now(), n_bytes: 0 }
    }
}

/// A body that must bring some bytes in each stretch of time.
pub struct PacedBody {
    reader: ureq::BodyReader<'static>,
    patience: Duration,
    /// The beginning of this stretch of time.
    since: Instant,
    /// What came in it.
    n_bytes: u64,
}

/// Why no more of a body comes.
pub enum BodyError {
    /// It broke off; asking again may bring the rest.
    Broken(String),
    /// It comes too slowly.
    Slow(String),
}

impl PacedBody {
    /// The next bytes; 0 of them at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let slow = |patience: Duration| BodyError::Slow(format!("nothing came for {} s", patience.as_secs()));
        let n_bytes = self.reader.read(buffer).map_err(|error| match is_late(&error) {
            true => slow(self.patience),
            false => BodyError::Broken(error.to_string()),
        })?;
        self.n_bytes += n_bytes as u64;
        if self.since.elapsed() >= self.patience {
            if self.n_bytes < MIN_BYTES && n_bytes > 0 {
                let (came, seconds) = (self.n_bytes, self.patience.as_secs());
                return Err(BodyError::Slow(format!("no more than {came} bytes came in {seconds} s")));
            }
            (self.since, self.n_bytes) = (Instant::now(), 0);
        }
        Ok(n_bytes)
    }

    /// All of it, unless that is more than `limit` bytes.
    pub fn read_all(mut self, limit: usize) -> Result<Vec<u8>, String> {
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(bytes),
                Ok(n_bytes) if bytes.len() + n_bytes > limit => {
                    return Err(format!("the hub's answer has more than {limit} bytes"));
                }
                Ok(n_bytes) => bytes.extend_from_slice(&buffer[..n_bytes]),
                Err(BodyError::Broken(reason) | BodyError::Slow(reason)) => {
                    return Err(format!("the hub's answer does not come to its end: {reason}"));
                }
            }
        }
    }
}

/// Whether a read ended because its time was over.
fn is_late(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    matches!(inner, Some(ureq::Error::Timeout(_))) || error.kind() == std::io::ErrorKind::TimedOut
}

/// Who answers at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    is_https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// `None` for what is not http or https, or has a user's name in it.
    fn of(uri: &Uri) -> Option<Origin> {
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let port = authority.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Some(Origin { is_https, host: authority.host().to_ascii_lowercase(), port })
    }

    /// Whether this machine itself answers.
    fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Where a redirect leads: an address, or a path at the same place.
fn next_address(from: &str, response: &Response<Body>) -> Result<String, String> {
    let location = response.headers().get(header::LOCATION).map(|value| value.to_str().unwrap_or_default());
    let Some(location) = location else {
        return Err(format!("the hub redirects (status {}) without saying where", response.status().as_u16()));
    };
    if location.starts_with('/') && !location.starts_with("//") {
        let uri: Uri = from.parse().map_err(|_| format!("{} is no address", quoted(from)))?;
        let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority());
        return Ok(format!("{scheme}://{}{location}", authority.map_or("", |authority| authority.as_str())));
    }
    Ok(location.to_owned())
}

/// What a status says, where it is no success. 416 is the answer to a range of an empty file.
fn refusal(status: StatusCode) -> Option<String> {
    match status.as_u16() {
        200 | 206 | 416 => None,
        401 | 403 => {
            Some("the hub refuses it; a gated or private model needs HF_TOKEN, a name may be mistyped".to_owned())
        }
        404 => Some("the hub has no such repository, revision or file".to_owned()),
        code => Some(format!("the hub answers with status {code}")),
    }
}

/// Why a question came to nothing.
fn broken(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "the hub does not answer in time".to_owned(),
        ureq::Error::HostNotFound => "the hub's host is not found; is there a network?".to_owned(),
        other => format!("the hub cannot be asked: {other}"),
    }
}

/// Words of a hub as they may stand in a message: quoted, and not long.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(address: &str) -> Option<Origin> {
        Origin::of(&address.parse().ok()?)
    }

    #[test]
    fn an_address_is_https_or_http_and_has_no_user_in_it() {
        assert_eq!(origin("https://Hub.example"), origin("https://hub.example:443/a?b"));
        assert_ne!(origin("https://hub.example"), origin("http://hub.example"));
        assert_ne!(origin("http://127.0.0.1:80"), origin("http://127.0.0.1:81"));
        for none in ["file:///etc/passwd", "/a", "?", "", "https://", "http://127.0.0.1:80@example.org/", "ftp://a"] {
            assert_eq!(origin(none), None, "{none}");
        }
    }

    #[test]
    fn this_machine_has_several_names_and_no_name_only_begins_like_one() {
        let is_loopback = |address: &str| origin(address).unwrap().is_loopback();
        for address in ["http://localhost:1", "http://127.0.0.1", "http://127.9.9.9", "http://[::1]:80"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in ["http://127.0.0.1.example.org", "http://localhost.example.org", "http://0.0.0.0"] {
            assert!(!is_loopback(address), "{address}");
        }
    }

    #[test]
    fn http_is_taken_from_this_machine_or_where_it_is_allowed() {
        let with = |endpoint, allow_http| {
            let patience = Duration::from_secs(1);
            Client::new(Settings { endpoint, token: None, allow_http, patience }).err()
        };
        assert_eq!(with("http://127.0.0.1:8000/", false), None);
        assert_eq!(with("http://hub.example", true), None);
        assert!(with("http://hub.example", false).unwrap().contains("(--allow-http takes it all the same)"));
        assert!(with("hub.example", false).unwrap().contains("is none; https://HOST was expected"));
    }

    #[test]
    fn what_a_hub_says_is_quoted_and_cut() {
        assert_eq!(quoted("a\u{9b}\"b"), "\"a\\u{9b}\\\"b\"");
        assert_eq!(quoted(&"é".repeat(5000)).chars().count(), 103);
    }
}
