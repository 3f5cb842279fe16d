//! A headless Chromium, driven over its debugging pipe: no port, no library, nothing but JSON on two file descriptors; and pages opened in it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use attlas::Recording;
use attlas_viewer::{PageOptions, page};
use serde_json::{Value, json};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where Chromium is: `$ATTLAS_CHROMIUM`, or the usual places.
///
/// Returns `None` only when `ATTLAS_SKIP_BROWSER=1` allows a test to be left out.
///
/// # Panics
/// When there is none and the variable is not set.
pub fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("ATTLAS_CHROMIUM").map(PathBuf::from);
    let places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/snap/bin/chromium"];
    let found = named.into_iter().chain(places.map(PathBuf::from)).find(|path| path.exists());
    if found.is_none() && std::env::var("ATTLAS_SKIP_BROWSER").is_ok_and(|value| value == "1") {
        return None;
    }
    Some(found.expect(
        "no Chromium was found: install it (Debian: apt-get install chromium), point ATTLAS_CHROMIUM at it, or set \
         ATTLAS_SKIP_BROWSER=1 to leave the browser tests out",
    ))
}

/// One browser with one page.
pub struct Browser {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    /// What the page reported since the last look, oldest first.
    pub events: VecDeque<Value>,
    session: Option<String>,
    next_id: u64,
    profile: PathBuf,
}

impl Browser {
    /// Starts a browser with a fresh profile in `folder`.
    pub fn start(chromium: &Path, folder: &Path) -> Browser {
        let profile = folder.join("profile");
        // the browser reads commands on descriptor 3 and writes answers to 4
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null"])
            .arg(chromium)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-pipe", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Chromium starts");
        let commands = process.stdin.take().expect("stdin is piped");
        let messages = listen(process.stdout.take().expect("stdout is piped"));
        let mut browser =
            Browser { process, commands, messages, events: VecDeque::new(), session: None, next_id: 0, profile };
        let targets = browser.call("Target.getTargets", json!({}));
        let target =
            targets["targetInfos"].as_array().and_then(|all| all.iter().find(|target| target["type"] == "page"));
        let target = target.expect("a page is open")["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Sets the size of the page, in CSS pixels, and how it prefers its colours.
    pub fn resize(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// Shows the page as it is printed.
    pub fn print_media(&mut self) {
        self.call("Emulation.setEmulatedMedia", json!({"media": "print"}));
    }

    /// Opens a file, and waits until it is drawn.
    pub fn open(&mut self, file: &Path, hash: &str) {
        self.call("Page.navigate", json!({"url": "about:blank"})); // so that another hash is another page, too
        self.call("Page.navigate", json!({"url": format!("file://{}{hash}", file.display())}));
        self.settle();
    }

    /// Waits until the page has drawn what was asked for.
    pub fn settle(&mut self) {
        self.evaluate(
            "new Promise(done => { const look = () => document.querySelector('#panel[aria-busy=false], .failure, #table:not([hidden])') \
             ? setTimeout(done, 0) : setTimeout(look, 10); look(); })",
        );
    }

    /// The value of a JavaScript expression, promises awaited.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}\n{}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// The text of the first element that a selector finds.
    pub fn text(&mut self, selector: &str) -> String {
        let expression = format!("document.querySelector({})?.textContent ?? '(none)'", json!(selector));
        self.evaluate(&expression).as_str().unwrap_or_default().to_owned()
    }

    /// Clicks the middle of an element, as a hand would.
    pub fn click(&mut self, selector: &str) {
        let place = self.evaluate(&format!(
            "(() => {{ const e = document.querySelector({}); e.scrollIntoView({{block: 'center'}}); \
             const b = e.getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]; }})()",
            json!(selector)
        ));
        self.click_at(place[0].as_f64().unwrap_or(0.0), place[1].as_f64().unwrap_or(0.0));
    }

    /// Clicks a place of the page.
    pub fn click_at(&mut self, x: f64, y: f64) {
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
        self.settle();
    }

    /// Moves the pointer.
    pub fn point_at(&mut self, x: f64, y: f64) {
        self.call("Input.dispatchMouseEvent", json!({"type": "mouseMoved", "x": x, "y": y}));
    }

    /// Presses a key; `shift` held or not.
    pub fn press(&mut self, key: &str, shift: bool) {
        let key_code = if key == "Tab" { 9 } else { 0 };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key, "modifiers": if shift { 8 } else { 0 }, "windowsVirtualKeyCode": key_code});
            self.call("Input.dispatchKeyEvent", event);
        }
        self.settle();
    }

    /// Sends one command and waits for its answer; events that come meanwhile are kept.
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next_id += 1;
        let mut command = json!({"id": self.next_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        write!(self.commands, "{command}\0").and_then(|()| self.commands.flush()).expect("Chromium listens");
        loop {
            let message = self.messages.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{method}: no answer"));
            if message["id"] == self.next_id {
                assert!(message.get("error").is_none(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push_back(message);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = write!(self.commands, "{}\0", json!({"id": 0, "method": "Browser.close"}));
        let _ = self.commands.flush();
        for _ in 0..50 {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// Reads messages that end in a zero byte, on a thread of its own.
fn listen(answers: ChildStdout) -> Receiver<Value> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut answers = BufReader::new(answers);
        let mut message = Vec::new();
        while answers.read_until(0, &mut message).is_ok_and(|length| length > 0) {
            message.pop();
            let value = serde_json::from_slice(&message).unwrap_or(Value::Null);
            if sender.send(value).is_err() {
                return;
            }
            message.clear();
        }
    });
    receiver
}

/// A folder of this test process; removed at the end of a passed test.
pub struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("attlas-viewer-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes the page of a recording and opens it; `None` where the browser tests are left out.
pub fn opened(recording: &Recording, name: &str, hash: &str) -> Option<(Browser, Folder, PathBuf)> {
    opened_with(recording, &PageOptions::default(), name, hash)
}

pub fn opened_with(
    recording: &Recording,
    options: &PageOptions,
    name: &str,
    hash: &str,
) -> Option<(Browser, Folder, PathBuf)> {
    opened_page(name, hash, || page(recording, options).unwrap())
}

pub fn opened_page(name: &str, hash: &str, page: impl Fn() -> String) -> Option<(Browser, Folder, PathBuf)> {
    let chromium = chromium()?;
    let folder = Folder::new(name);
    let file = folder.0.join("atlas.html");
    std::fs::write(&file, page()).unwrap();
    let mut browser = Browser::start(&chromium, &folder.0);
    browser.resize(1280, 900, "light");
    browser.open(&file, hash);
    Some((browser, folder, file))
}

/// What must never happen: a dialog, a request, a refused or failed script, anything on the console.
pub fn assert_quiet(browser: &mut Browser) {
    browser.evaluate("1"); // so that what was under way has arrived
    for event in &browser.events {
        let method = event["method"].as_str().unwrap_or_default();
        let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
        assert_ne!(method, "Page.javascriptDialogOpening", "a script of the data ran: {event}");
        assert_ne!(method, "Runtime.exceptionThrown", "{event}");
        assert_ne!(method, "Runtime.consoleAPICalled", "{event}");
        assert_ne!(method, "Log.entryAdded", "{event}");
        let is_font = url.starts_with("data:font/"); // which stands in the page
        // the script's own text, as a worker
        let own = is_font
            || url.starts_with("blob:")
            || url.starts_with("file://") && url.contains("/atlas.html")
            || url == "about:blank";
        assert!(method != "Network.requestWillBeSent" || own, "the page asked for {url}");
    }
}

/// A weight as the page shows it.
pub fn as_shown(weight: f64) -> String {
    if weight == 0.0 || weight >= 0.000_05 {
        return format!("{:.4}", (weight * 1e4 + 0.5).floor() / 1e4);
    }
    let superscript = |sign: char| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(sign.to_digit(10).unwrap() as usize).unwrap();
    let digits = format!("{weight:.1e}");
    let (digits, power) = digits.split_once("e-").unwrap();
    format!("{digits}·10⁻{}", power.chars().map(superscript).collect::<String>())
}

/// The labels and numbers of a list of the page, first to last.
pub fn listed(browser: &mut Browser, list: &str) -> Vec<(String, String)> {
    let rows = browser.evaluate(&format!(
        "[...document.querySelectorAll('{list} li button')].map(e => [e.firstChild.textContent, e.querySelector('.weight').textContent])"
    ));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(|row| (text(&row[0]), text(&row[1]))).collect()
}

/// Waits until all heads were looked at for what is chosen.
pub fn rank(browser: &mut Browser) -> Vec<(String, String)> {
    browser.evaluate(
        "new Promise(done => { const look = () => document.querySelector('.ranking[aria-busy=false] li') ? done() : setTimeout(look, 20); \
         setTimeout(look, 150); })",
    );
    listed(browser, ".ranking")
}
