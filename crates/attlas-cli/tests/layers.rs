//! The invariants of ARCHITECTURE.md that the compiler does not hold, looked for in the source itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use attlas_model::family::FAMILIES;
use proc_macro2::{TokenStream, TokenTree};

/// The crates that are libraries.
const LIBRARIES: [&str; 8] = [
    "attlas",
    "attlas-kernels",
    "attlas-model",
    "attlas-python",
    "attlas-server",
    "attlas-survey",
    "attlas-train",
    "attlas-viewer",
];

/// And the command.
fn all() -> Vec<&'static str> {
    [&LIBRARIES[..], &["attlas-cli"]].concat()
}

/// A source file without comments and without its tests.
struct Source {
    /// From `crates` on, such as `attlas/src/map.rs`.
    path: String,
    /// Names and other words, in order.
    words: Vec<String>,
    /// String literals, as they are written.
    literals: Vec<String>,
}

impl Source {
    fn read(path: &Path) -> Source {
        let text = fs::read_to_string(path).expect("source is readable");
        let tokens = TokenStream::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let from_crates = path.strip_prefix(crates()).expect("a file of a crate");
        let path = from_crates.to_string_lossy().replace('\\', "/");
        let mut source = Source { path, words: Vec::new(), literals: Vec::new() };
        source.take(tokens);
        source
    }

    /// Reads tokens, but neither documentation nor what is compiled for tests only.
    fn take(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(mark) if mark.as_char() == '#' => {
                    let inner = matches!(tokens.peek(), Some(TokenTree::Punct(mark)) if mark.as_char() == '!');
                    if inner {
                        tokens.next();
                    }
                    let attribute = tokens.next().map(|token| token.to_string()).unwrap_or_default();
                    if attribute.replace(' ', "") == "[cfg(test)]" && !inner {
                        // the item that follows, up to its braces or its semicolon
                        tokens.find(|token| match token {
                            TokenTree::Group(group) => group.delimiter() == proc_macro2::Delimiter::Brace,
                            TokenTree::Punct(mark) => mark.as_char() == ';',
                            _ => false,
                        });
                    } else if attribute.starts_with("[error") || attribute.starts_with("[allow") {
                        self.take(TokenStream::from_str(&attribute).expect("an attribute is made of tokens"));
                    }
                }
                TokenTree::Group(group) => self.take(group.stream()),
                TokenTree::Literal(literal) => {
                    let literal = literal.to_string();
                    if literal.contains('"') {
                        self.literals.push(literal);
                    }
                }
                TokenTree::Ident(word) => self.words.push(word.to_string()),
                TokenTree::Punct(_) => {}
            }
        }
    }

    fn is_under(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    fn has_word(&self, wanted: &str) -> bool {
        self.words.iter().any(|word| word == wanted)
    }
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of all crates").to_owned()
}

/// All source files of some crates, in the order of their paths.
fn sources(names: &[&str]) -> Vec<Source> {
    let mut folders: Vec<PathBuf> = names.iter().map(|name| crates().join(name).join("src")).collect();
    let mut paths = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("gguf_tests.rs") {
                paths.insert(path);
            }
        }
    }
    assert!(paths.len() > names.len(), "there are sources of {names:?}");
    paths.iter().map(|path| Source::read(path)).collect()
}

/// The places where a rule is broken: `path: what`.
fn offenders(sources: &[Source], broken: impl Fn(&Source) -> Option<String>) -> Vec<String> {
    sources.iter().filter_map(|source| broken(source).map(|what| format!("{}: {what}", source.path))).collect()
}

/// Whether `text` holds `word` with no letter, digit, `_` or `-` on either side.
fn names(text: &str, word: &str) -> bool {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    text.match_indices(word)
        .any(|(at, _)| !joins(text[..at].chars().next_back()) && !joins(text[at + word.len()..].chars().next()))
}

#[test]
fn no_family_is_named_outside_the_folder_of_families() {
    let known: Vec<&str> = FAMILIES.iter().flat_map(|family| family.model_types.iter().copied()).collect();
    assert!(known.contains(&"bert") && known.len() > 40);
    let sources = sources(&all());
    let found = offenders(&sources, |source| {
        if source.is_under(&["attlas-model/src/family/"]) {
            return None;
        }
        let literal = source.literals.iter().find(|text| {
            let text = text.to_lowercase();
            known.iter().any(|name| names(&text, name))
        });
        literal.cloned()
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn analyses_and_figures_do_not_see_each_other_and_a_figure_knows_no_attention() {
    let attlas = sources(&["attlas"]);
    let analysis = offenders(&attlas, |source| {
        (source.is_under(&["attlas/src/analysis/"]) && source.has_word("figure")).then(|| "figure".to_owned())
    });
    let figure = offenders(&attlas, |source| {
        let forbidden = ["analysis", "view", "Recording", "AttentionMap", "Layer", "Kind", "Scoring"];
        let word = forbidden.into_iter().find(|word| source.has_word(word));
        word.filter(|_| source.is_under(&["attlas/src/figure/"])).map(str::to_owned)
    });
    assert!(analysis.is_empty() && figure.is_empty(), "{analysis:?} {figure:?}");
}

#[test]
fn the_maps_know_no_model() {
    let found = offenders(&sources(&["attlas"]), |source| {
        let others = ["attlas_model", "attlas_survey", "attlas_train", "attlas_viewer"];
        others.into_iter().find(|name| source.has_word(name)).map(str::to_owned)
    });
    assert!(found.is_empty(), "{found:?}");
}

/// Where exponentials stand, and what for. A softmax over keys is in `attention/` and `map.rs` alone.
const EXPONENTIALS: &[(&str, &str)] = &[
    ("attlas/src/attention/", "the formula, three times: for reading, for learning, for running"),
    ("attlas/src/analysis/contacts.rs", "a probability, from a regression"),
    ("attlas/src/map.rs", "one weight, from its score and the row's log-sum-exp"),
    ("attlas-model/src/block/disentangled.rs", "scores that are no function of Q·K and position"),
    ("attlas-kernels/src/", "functions of registers: what the kernels and activations are made of"),
    ("attlas-model/src/block/feed_forward.rs", "an activation"),
    ("attlas-model/src/block/mixture.rs", "the shares of experts"),
    ("attlas-model/src/block/readout.rs", "the edges of boxes"),
    ("attlas-model/src/load/experts.rs", "an activation's numbers, as they are stored"),
    ("attlas-model/src/run/objects.rs", "probabilities of classes"),
    ("attlas-model/src/block/recurrence/", "how fast states decay where there is no attention"),
    ("attlas-model/src/load/recurrence.rs", "the same, as it is stored"),
    ("attlas-model/src/block/rope.rs", "the pace of rotary positions"),
    ("attlas-model/src/run/generate.rs", "probabilities of words"),
    ("attlas-model/src/explain/score.rs", "probabilities of words and classes"),
    ("attlas-model/src/senses/", "mel scale"),
    ("attlas-train/src/", "losses, probabilities of words"),
];

#[test]
fn no_second_softmax_over_keys_is_written() {
    let sources = sources(&LIBRARIES);
    let uses = |source: &Source| {
        ["exp", "exp2", "exp_m1", "exponentials", "softmax"].into_iter().find(|word| source.has_word(word))
    };
    let found = offenders(&sources, |source| {
        let allowed = EXPONENTIALS.iter().any(|(place, _)| source.is_under(&[place]));
        uses(source).filter(|_| !allowed).map(str::to_owned)
    });
    assert!(found.is_empty(), "an exponential where none was: {found:?}");
    for (place, _) in EXPONENTIALS {
        let used = sources.iter().any(|source| source.is_under(&[place]) && uses(source).is_some());
        assert!(used, "{place} has no exponential any more: take it off the list");
    }
}

/// The words that `attlas` takes first.
const COMMANDS: [&str; 28] = [
    "ablate",
    "align",
    "check",
    "circuits",
    "compare",
    "completions",
    "describe",
    "draw",
    "evaluate",
    "experts",
    "explain",
    "export",
    "film",
    "heads",
    "import",
    "info",
    "lens",
    "man",
    "mixing",
    "models",
    "page",
    "record",
    "survey",
    "times",
    "tokens",
    "train",
    "view",
    "why",
];

#[test]
fn a_library_names_neither_commands_nor_options_of_the_command_line() {
    let names_option = |text: &str| {
        text.match_indices("--").any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + 2..].chars().next();
            after.is_some_and(|c| c.is_ascii_lowercase() || c == '{')
                && before.is_none_or(|c| !c.is_alphanumeric() && c != '-')
        })
    };
    let names_command = |text: &str| COMMANDS.iter().any(|command| names(text, &format!("attlas {command}")));
    for offence in ["give --kind", "(--kind)", "'--kind'", "--{option}", "use `attlas draw map`", "see attlas train"] {
        assert!(names_option(offence) || names_command(offence), "{offence}");
    }
    let found = offenders(&sources(&LIBRARIES), |source| {
        let is_ours = |text: &&String| !text.starts_with("\"hf "); // the hub's own command gets its files
        source.literals.iter().filter(is_ours).find(|text| names_option(text) || names_command(text)).cloned()
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_readme_shows_the_library_as_its_tested_documentation_does() {
    let read = |path: &str| fs::read_to_string(crates().join(path)).expect("it is readable");
    let readme = read("../README.md");
    let code = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of code");
    let documentation = read("attlas-model/src/lib.rs");
    let shown: Vec<&str> = documentation.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim).collect();
    let missing: Vec<&str> = code.lines().map(str::trim).filter(|line| !shown.contains(line)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn nothing_opens_a_connection_but_the_hub_download_and_the_server_which_only_listens() {
    let words = ["TcpStream", "TcpListener", "UdpSocket", "UnixStream", "ureq", "hf_hub"];
    let connects = |source: &Source| words.into_iter().find(|word| source.has_word(word)).map(str::to_owned);
    let all = sources(&all());
    let hub = ["attlas-cli/src/inputs/hub/"];
    let server = ["attlas-server/src/connections.rs", "attlas-server/src/lib.rs"];
    let found =
        offenders(&all, |source| connects(source).filter(|_| !source.is_under(&hub) && !source.is_under(&server)));
    assert!(found.is_empty(), "{found:?}");
    let calls = |source: &Source| source.words.windows(2).any(|pair| pair == ["TcpStream", "connect"]);
    let found = offenders(&all, |source| {
        calls(source).then(|| "TcpStream::connect".to_owned()).filter(|_| !source.is_under(&hub))
    });
    assert!(found.is_empty(), "{found:?}");
    assert!(
        all.iter().any(|source| source.is_under(&hub) && connects(source).is_some()),
        "the hub download is looked for"
    );
}

#[test]
fn nothing_starts_another_program_but_the_browser_that_the_viewer_opens_in() {
    let all = sources(&all());
    let starts = |source: &Source| source.words.windows(2).any(|pair| pair == ["process", "Command"]);
    let browser = ["attlas-cli/src/commands/view/browser.rs"];
    let found =
        offenders(&all, |source| (starts(source) && !source.is_under(&browser)).then(|| "process::Command".to_owned()));
    assert!(found.is_empty(), "{found:?}");
    assert!(all.iter().any(|source| source.is_under(&browser) && starts(source)), "the browser is looked for");
}

/// The rooms that may say `unsafe`.
const UNSAFE: &[&str] = &["attlas-kernels/src/", "attlas/src/attention/streaming"];

#[test]
fn unsafe_code_stands_in_its_rooms_alone() {
    let sources = sources(&all());
    let found = offenders(&sources, |source| {
        (source.has_word("unsafe") && !source.is_under(UNSAFE)).then(|| "unsafe".to_owned())
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_page_knows_with_how_many_beams_the_translator_searches() {
    let script = fs::read_to_string(crates().join("../web/src/reproduce.ts")).expect("the page's source");
    let beams = attlas_model::Model::embedded().expect("it is built in").beams().expect("it searches");
    assert!(script.contains(&format!("const EMBEDDED_BEAMS = {beams};")));
}
