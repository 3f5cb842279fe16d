//! The page of a server: the same viewer without numbers, which it asks for.

use attlas::Recording;
use attlas::recording::complaint;

use crate::page::{SCRIPT, beginning};
use crate::payload::Payload;
use crate::{Error, PageOptions, script_hash, style_hash};

/// The content security policy of a [`shell`]: its own script and style, pictures that it makes itself, and questions to its server.
#[must_use]
pub fn shell_policy() -> String {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        script_hash(),
        style_hash()
    )
}

/// The viewer without anything to show: it asks the server that it came from.
#[must_use]
pub fn shell() -> String {
    let own = "<meta name=\"attlas-source\" content=\"server\">\n<link rel=\"icon\" href=\"data:,\">\n";
    format!("{}<script>{SCRIPT}</script>\n</body>\n</html>\n", beginning("attlas", own))
}

/// What a page says of a recording, as JSON, without its numbers; the page of a server asks for those.
///
/// Nothing is computed of maps but what the options ask for: where they hold no checks, the recording is checked.
///
/// # Errors
/// [`Error::Recording`] when the recording contradicts itself or holds no map.
pub fn atlas(recording: &Recording, options: &PageOptions) -> Result<String, Error> {
    let mut payload = Payload::without_numbers(recording, options)?;
    payload.say_failed(match &options.checks {
        Some(checks) => complaint(checks),
        None => complaint(&recording.check()?),
    });
    payload.json()
}
