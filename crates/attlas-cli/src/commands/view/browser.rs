//! The browser, started with the address of the page: the one place where attlas starts another program.

use std::process::{Command, Stdio};

/// Opens the address in the user's browser, where there is one; it was printed, so nothing is said where there is none.
pub fn open(address: &str) {
    let Some(mut command) = command() else { return };
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(mut child) = command.spawn() {
        // whoever starts a program has to take its end in
        std::thread::spawn(move || child.wait());
    }
}

#[cfg(target_os = "macos")]
fn command() -> Option<Command> {
    Some(Command::new("open"))
}

#[cfg(windows)]
fn command() -> Option<Command> {
    let mut command = Command::new("rundll32");
    command.arg("url.dll,FileProtocolHandler");
    Some(command)
}

#[cfg(not(any(target_os = "macos", windows)))]
fn command() -> Option<Command> {
    let has_screen =
        ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    has_screen.then(|| Command::new("xdg-open"))
}
