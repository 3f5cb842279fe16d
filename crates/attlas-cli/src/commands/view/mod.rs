//! `attlas view`: the viewer in a browser, served on this machine; recordings, folders of them, and live runs.

mod browser;

use std::io::{IsTerminal, Write, stderr};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use attlas::Recording;
use attlas_server::{Choice, Limits, RunAsk, Server, Settings, models_in};
use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::inputs::{
    ModelArguments, RawText, head_effects, is_recording, load_model, model_place, read_text, refuse_page,
};
use crate::signals::Watch;
use crate::terminal::{Terminal, printable, remark};

/// What the embedded model is called in the list of models.
const EMBEDDED: &str = "the embedded English–French translator";

/// `attlas view`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  attlas view run.safetensors                     a recording, in the browser
  attlas view recordings                          every recording of a folder
  attlas view \"The cat sat on the mat.\"           run the translator, watch it, see its heads
  attlas view --model DIR --models FOLDER         type texts, choose a model
  attlas view run.safetensors --effects ablate.json   and what `attlas ablate -o ablate.json` measured of its heads
  attlas view run.safetensors --port 8765 --no-open

The page is served on this machine alone, to whoever has the token in the printed address. Ctrl-C ends it.")]
pub struct ViewServerArguments {
    /// Recordings, folders of recordings, or a text to run the model on; with none, texts are typed in the page.
    #[arg(value_name = "TEXT | RECORDING | FOLDER")]
    pub material: Vec<RawText>,
    /// What the output loses with each head of the first recording, as `attlas ablate TEXT -o FILE.json` measured it.
    #[arg(long, value_name = "FILE.json")]
    pub effects: Option<PathBuf>,
    /// The target of the text, instead of letting the model generate it.
    #[arg(long, value_name = "TEXT", help_heading = "Model")]
    pub target: Option<RawText>,
    /// Generate N tokens at most [default: 256 for encoder-decoders; decoder-only models read the text alone].
    #[arg(long, value_name = "N", conflicts_with = "target", help_heading = "Model")]
    pub max_tokens: Option<usize>,
    #[command(flatten)]
    pub model: ModelArguments,
    /// A folder whose models can be chosen in the page: each folder in it with a config.json, each .gguf file.
    #[arg(long, value_name = "FOLDER", help_heading = "Model")]
    pub models: Option<PathBuf>,
    /// The port to listen on [default: one that is free].
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = "Server")]
    pub port: u16,
    /// The address to listen on; other machines reach it unless it is this one's own. Who has the printed token can ask everything.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), help_heading = "Server")]
    pub host: IpAddr,
    /// A name that the page may be opened by, beside localhost and addresses; repeat for several.
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    pub name: Vec<String>,
    /// Open no browser; the address is printed either way.
    #[arg(long, help_heading = "Server")]
    pub no_open: bool,
}

/// What was named on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Material {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    text: Option<String>,
}

/// Serves until a signal asks for the end.
pub fn run(arguments: &ViewServerArguments, signals: &Watch, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let Material { files, folders, text } = Material::read(&arguments.material)?;
    let models = models(arguments)?;
    let run = first_run(arguments, text)?;
    let effects = arguments.effects.as_deref().map(|path| match files.first() {
        Some(first) => head_effects(path, &Recording::open(first)?),
        None => Err(Failure::Usage("--effects is of a recording's heads, and no recording was given".into())),
    });
    let settings = Settings {
        address: SocketAddr::new(arguments.host, arguments.port),
        names: arguments.name.clone(),
        files,
        effects: effects.transpose()?,
        folders,
        models,
        run,
        n_threads: rayon::current_num_threads(),
        limits: Limits::default(),
    };
    let server = Server::bind(settings)?;
    if !arguments.host.is_loopback() {
        remark(
            "other machines can reach this server; who has the address below can read the recordings and run the models, and what is sent is not encrypted",
        );
    }
    writeln!(terminal, "{}", terminal.bold(&server.url()))?;
    terminal.flush()?;
    remark(match arguments.host.is_loopback() {
        true => "the page opens at this address and nowhere else; Ctrl-C ends it",
        false => {
            "the page opens at this address, and for other machines at one that they reach this one by; Ctrl-C ends it"
        }
    });
    signals.keep();
    if !arguments.no_open && stderr().is_terminal() {
        browser::open(&server.url_for_once()?);
    }
    server.serve(|| signals.noted().is_some())?;
    Ok(signals.noted().map_or(Outcome::Done, Outcome::Stopped))
}

/// The run that is begun at once: that of the text.
fn first_run(arguments: &ViewServerArguments, text: Option<String>) -> Result<Option<RunAsk>, Failure> {
    if let Some(text) = text {
        let target = arguments.target.as_deref().map(|raw| read_text(raw, "--target")).transpose()?;
        return Ok(Some(RunAsk { text, target, model: 0, max_tokens: arguments.max_tokens }));
    }
    let given = [(arguments.target.is_some(), "--target"), (arguments.max_tokens.is_some(), "--max-tokens")];
    match given.into_iter().find(|(is_given, _)| *is_given) {
        Some((_, option)) => {
            Err(Failure::Usage(format!("{option} is for a TEXT, and none was given; the page asks for its own")))
        }
        None => Ok(None),
    }
}

impl Material {
    /// Every word: a recording that can be opened, a folder, or the one text.
    fn read(words: &[RawText]) -> Result<Material, Failure> {
        let mut material = Material::default();
        for word in words {
            let path = Path::new(word);
            if path.is_dir() {
                check_folder(path)?;
                material.folders.push(path.to_owned());
            } else if is_recording(word) {
                refuse_page(path, "`attlas view` shows recordings (.safetensors), folders of them, and texts")?;
                Recording::open(path)?;
                material.files.push(path.to_owned());
            } else if material.text.is_some() {
                return Err(Failure::Usage(format!(
                    "\"{}\" is a second text, and one can be run at the start; the page takes others",
                    word.to_string_lossy()
                )));
            } else {
                material.text = Some(read_text(word, "TEXT")?);
            }
        }
        Ok(material)
    }
}

/// Says what a folder lacks.
fn check_folder(folder: &Path) -> Result<(), Failure> {
    let name = folder.display();
    if folder.join("config.json").is_file() {
        return Err(Failure::Usage(format!(
            "{name} is the folder of a model, not of recordings; --model {name} runs it"
        )));
    }
    let entries = std::fs::read_dir(folder).map_err(|error| Failure::Input(format!("{name}: {error}")))?;
    let is_named = |path: &PathBuf| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("safetensors"));
    if !entries.filter_map(|entry| Some(entry.ok()?.path())).any(|path| is_named(&path)) {
        remark(&format!(
            "{} holds no recording (.safetensors) yet; the page lists what comes",
            printable(&name.to_string())
        ));
    }
    Ok(())
}

/// The models that can be chosen: the one that was named or the embedded one, then those of the folder.
fn models(arguments: &ViewServerArguments) -> Result<Vec<Choice>, Failure> {
    let place = model_place(&arguments.model)?;
    let name = arguments.model.model.as_ref().map_or(EMBEDDED.to_owned(), |model| last_part(model));
    let told = arguments.host.is_loopback(); // where a model lies is nothing for other machines
    let first = ModelArguments { model: place, revision: None, ..arguments.model.clone() };
    let mut models = vec![Choice { place: arguments.model.named().filter(|_| told), ..choice(name, first) }];
    if let Some(folder) = &arguments.models {
        let failed = |error| Failure::Input(format!("--models {}: {error}", folder.display()));
        let found = models_in(folder).map_err(failed)?;
        if found.is_empty() {
            remark(&format!(
                "--models {}: no folder in it has a config.json, and there is no .gguf file",
                folder.display()
            ));
        }
        models.extend(found.into_iter().map(|path| {
            let name = last_part(&path);
            let arguments = ModelArguments { model: Some(path), ..ModelArguments::default() };
            Choice { place: arguments.named().filter(|_| told), ..choice(name, arguments) }
        }));
    }
    Ok(models)
}

/// A model that can be chosen; whoever chooses it is told its name, and not where it lies, also where it cannot be loaded.
fn choice(name: String, arguments: ModelArguments) -> Choice {
    let said = printable(&name);
    let load = move || {
        let Some(path) = &arguments.model else { return load_model(&arguments).map_err(|failure| failure.to_string()) };
        if !path.exists() {
            return Err(format!("{said} is not there any more"));
        }
        load_model(&arguments).map_err(|failure| without_place(&failure.to_string(), path, &said))
    };
    Choice { name, place: None, load: Box::new(load) }
}

/// The last part of a path; of `.` and the like, that of the folder it stands for.
fn last_part(path: &Path) -> String {
    let whole = path.canonicalize().ok().filter(|_| path.file_name().is_none());
    let path = whole.as_deref().unwrap_or(path);
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// A sentence about a model, with its name where its path stood; a path of one part says no more than the name.
fn without_place(sentence: &str, path: &Path, name: &str) -> String {
    if path.components().count() < 2 {
        return sentence.to_owned();
    }
    let path = path.display().to_string();
    sentence.replace(&printable(&path), name).replace(&path, name)
}

impl From<attlas_server::Error> for Failure {
    fn from(error: attlas_server::Error) -> Failure {
        use attlas_server::Error;
        match error {
            Error::Address { .. } => {
                Failure::Input(format!("{error} (--port N takes another port, --host another address)"))
            }
            Error::Run(message) => Failure::Usage(message),
            Error::Threads(_) => Failure::Limit(format!("{error} (--threads 1 needs fewest)")),
            _ => Failure::Input(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_by_its_last_part_and_what_is_said_of_it_holds_no_place() {
        let gone = Path::new("/home/me/secret/gpt2");
        let Choice { name, load, .. } =
            choice(last_part(gone), ModelArguments { model: Some(gone.into()), ..ModelArguments::default() });
        assert_eq!(name, "gpt2");
        assert_eq!(load().err().as_deref(), Some("gpt2 is not there any more"));
        let folder = std::env::temp_dir(); // no model
        let said = choice("name".into(), ModelArguments { model: Some(folder.join(".")), ..ModelArguments::default() });
        let error = (said.load)().err().unwrap_or_default();
        assert!(!error.contains(&*folder.to_string_lossy()), "{error}");
    }
}
