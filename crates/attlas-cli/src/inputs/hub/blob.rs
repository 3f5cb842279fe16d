//! What a hub says of a file before it is downloaded, taken apart and checked: nothing else of it becomes a name.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::http::{HeaderMap, StatusCode, header};

use super::client::{Answer, quoted};

/// The name of a file's bytes, which is a hash of them: 40 or 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobName(String);

/// The name of a state of a repository: 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit(String);

/// What a hub announces.
#[derive(Debug, PartialEq, Eq)]
pub struct Announced {
    /// The name of the bytes.
    pub name: BlobName,
    /// How many there are.
    pub n_bytes: u64,
    /// The state of the repository in which the file is so.
    pub commit: Commit,
}

impl Commit {
    /// # Errors
    /// What is no commit.
    pub fn parse(text: &str) -> Result<Commit, String> {
        if text.len() == 40 && is_hex(text) {
            return Ok(Commit(text.to_ascii_lowercase()));
        }
        Err(format!("the hub's commit {} is none: it has 40 hexadecimal digits", quoted(text)))
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl BlobName {
    /// Of an `ETag`, with or without quotes.
    ///
    /// # Errors
    /// What is no hash.
    pub fn parse(etag: &str) -> Result<BlobName, String> {
        let text = etag.strip_prefix("W/").unwrap_or(etag);
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        if matches!(inner.len(), 40 | 64) && is_hex(inner) {
            return Ok(BlobName(inner.to_ascii_lowercase()));
        }
        Err(format!("the hub's ETag {} is no hash: it has 40 or 64 hexadecimal digits", quoted(etag)))
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What computes the hash, for a file of `n_bytes`.
    pub fn hasher(&self, n_bytes: u64) -> Hasher {
        match self.0.len() {
            40 => Hasher::Git(Sha1::new_with_prefix(format!("blob {n_bytes}\0"))),
            _ => Hasher::Sha256(Sha256::new()),
        }
    }
}

/// A hash of bytes in the making.
pub enum Hasher {
    /// Of a file that Git keeps itself.
    Git(Sha1),
    /// Of a large file.
    Sha256(Sha256),
}

impl Hasher {
    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Git(hash) => hash.update(bytes),
            Hasher::Sha256(hash) => hash.update(bytes),
        }
    }

    /// Its digits, in small letters.
    pub fn digits(self) -> String {
        match self {
            Hasher::Git(hash) => format!("{:x}", hash.finalize()),
            Hasher::Sha256(hash) => format!("{:x}", hash.finalize()),
        }
    }
}

impl Announced {
    /// What an answer to `Range: bytes=0-0` says of a file.
    ///
    /// # Errors
    /// A header that is missing, or is not what it should be.
    pub fn of(answer: &Answer) -> Result<Announced, String> {
        let linked = text(&answer.own, "x-linked-etag")?;
        let etag = linked.map_or_else(|| text(&answer.own, header::ETAG.as_str()), |etag| Ok(Some(etag)))?;
        let commit = text(&answer.own, "x-repo-commit")?;
        Ok(Announced {
            name: BlobName::parse(etag.ok_or("the hub's answer has no ETag")?)?,
            n_bytes: size(answer)?,
            commit: Commit::parse(commit.ok_or("the hub's answer has no X-Repo-Commit")?)?,
        })
    }
}

/// How many bytes a file has, after an answer to a range of it.
fn size(answer: &Answer) -> Result<u64, String> {
    let headers = answer.response.headers();
    let (name, said) = match answer.response.status() {
        StatusCode::OK => ("Content-Length", text(headers, "content-length")?),
        _ => {
            let range = text(headers, "content-range")?;
            ("Content-Range", range.and_then(|range| range.rsplit_once('/')).map(|(_, total)| total))
        }
    };
    let said = said.ok_or_else(|| format!("the hub's answer has no {name} with the file's size"))?;
    let n_bytes = number(said).ok_or_else(|| format!("the hub's {name} says {}, which is no size", quoted(said)))?;
    match text(&answer.own, "x-linked-size")? {
        Some(linked) if number(linked) != Some(n_bytes) => {
            Err(format!("the hub says that the file has {} bytes, and that it has {n_bytes}", quoted(linked)))
        }
        _ => Ok(n_bytes),
    }
}

/// Whether an answer brings exactly the bytes from `start` to the end of a file of `n_bytes`.
///
/// # Errors
/// An answer that brings others, or does not say which.
pub fn is_rest(answer: &Answer, start: u64, n_bytes: u64) -> Result<bool, String> {
    let headers = answer.response.headers();
    let expected = format!("bytes {start}-{}/{n_bytes}", n_bytes.saturating_sub(1));
    let said = match answer.response.status() {
        StatusCode::OK => return length_is(headers, n_bytes).map(|()| false),
        _ => text(headers, "content-range")?.unwrap_or_default(),
    };
    if said != expected {
        return Err(format!("the hub's Content-Range is {}; {expected:?} was expected", quoted(said)));
    }
    length_is(headers, n_bytes - start).map(|()| true)
}

/// Whether an answer's length, where it says one, is what it should be.
fn length_is(headers: &HeaderMap, expected: u64) -> Result<(), String> {
    match text(headers, "content-length")? {
        Some(said) if number(said) != Some(expected) => {
            Err(format!("the hub sends {} bytes where {expected} are left", quoted(said)))
        }
        _ => Ok(()),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, String> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| format!("the hub's {name} has letters that no {name} has"))
}

/// Digits alone, no sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_a_hash_or_refused() {
        let hash = "A1".repeat(20);
        for etag in [format!("\"{hash}\""), format!("W/\"{hash}\""), hash.clone()] {
            assert_eq!(BlobName::parse(&etag).unwrap().as_str(), hash.to_lowercase());
        }
        let long = format!("\"{}\"", "a".repeat(5000));
        let slashed = format!("\"../{}\"", "a".repeat(37));
        for etag in ["", "\"\"", "\"/etc/passwd\"", "\"a/b/c\"", "..", &long, &slashed, "\"abc"] {
            assert!(BlobName::parse(etag).unwrap_err().contains("is no hash: it has 40 or 64"), "{etag}");
        }
    }

    #[test]
    fn a_commit_has_forty_digits_or_is_refused() {
        assert_eq!(Commit::parse(&"0f".repeat(20)).unwrap().as_str(), "0f".repeat(20));
        for commit in ["", "main", "../../x", "/tmp/x", &"0".repeat(39), &"0".repeat(64), &"é".repeat(20)] {
            assert!(Commit::parse(commit).unwrap_err().contains("is none: it has 40"), "{commit}");
        }
    }

    #[test]
    fn the_two_hashes_are_those_of_git_and_of_sha_256() {
        let digits = |length: usize, bytes: &[u8]| {
            let mut hash = BlobName("0".repeat(length)).hasher(bytes.len() as u64);
            hash.update(bytes);
            hash.digits()
        };
        // printf 'hello\n' | git hash-object --stdin; printf 'hello\n' | sha256sum
        assert_eq!(digits(40, b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(digits(64, b"hello\n"), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
    }

    #[test]
    fn a_size_is_digits_alone() {
        assert_eq!(number("12"), Some(12));
        for none in ["-1", "+1", " 1", "1e3", "99999999999999999999"] {
            assert_eq!(number(none), None, "{none}");
        }
    }
}
