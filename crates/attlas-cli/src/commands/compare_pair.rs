//! The two recordings of `attlas compare`: opened, or made by running a model or two on a text or two.

use attlas::recording::Item;
use attlas::{Kind, Recording};
use attlas_model::Side;

use super::compare::CompareArguments;
use crate::failure::Failure;
use crate::inputs::{Material, RunArguments, Texts, load_model, run_texts};
use crate::terminal::{clip, remark};

/// Characters of a text in its name at most.
const LONGEST: usize = 100;

/// Both recordings with their names.
pub struct Pair {
    pub first: Recording,
    pub second: Recording,
    pub names: [String; 2],
}

impl Pair {
    /// Opens or makes both, as the command line says.
    ///
    /// # Errors
    /// When there is only one, options of a model are given where none runs, or one cannot be had.
    pub fn read(arguments: &CompareArguments) -> Result<Pair, Failure> {
        let first = Material::read(&arguments.first)?;
        let second = arguments.second.as_deref().map(Material::read).transpose()?;
        refuse_idle(arguments, &first, second.as_ref())?;
        let mut usual = arguments.run.clone();
        usual.knock_out.clear(); // A is the model as it is
        let mut other = other_run(arguments);
        let a = Made::of(&first, &usual)?;
        if second.is_none()
            && let Some(output) = a.output.as_ref().filter(|_| a.recording.kinds().contains(&Kind::Cross))
            && (arguments.other_model.is_none() || load_model(&other.model)?.has(Side::Target))
        {
            if output.trim().is_empty() {
                let problem = "A writes nothing, and B would read that as its target; --target TEXT gives both one";
                return Err(Failure::Input(problem.into()));
            }
            remark("B reads the target that A wrote, so that both have the same tokens; --target TEXT gives another");
            (other.target, other.beam, other.max_tokens) = (vec![output.into()], None, None);
        }
        let b = Made::of(second.as_ref().unwrap_or(&first), &other)?;
        for note in &a.notes {
            let which = if b.notes.contains(note) { "A and B" } else { "A" };
            remark(&format!("{which}: {note}"));
        }
        b.notes.iter().filter(|note| !a.notes.contains(note)).for_each(|note| remark(&format!("B: {note}")));
        let names = [(&first, &a.recording), (second.as_ref().unwrap_or(&first), &b.recording)].map(name);
        Ok(Pair { first: a.recording, second: b.recording, names })
    }
}

/// How B is run: as A, with what is said of it.
pub fn other_run(arguments: &CompareArguments) -> RunArguments {
    let mut run = arguments.run.clone();
    if let Some(model) = &arguments.other_model {
        (run.model.model, run.model.revision, run.model.adapter) = (Some(model.clone()), None, None);
    }
    if let Some(revision) = &arguments.other_revision {
        run.model.revision = Some(revision.clone());
    }
    if let Some(adapter) = &arguments.other_adapter {
        run.model.adapter = Some(adapter.clone());
    }
    run
}

/// Refuses a single recording or text, and options that would change nothing.
fn refuse_idle(arguments: &CompareArguments, first: &Material, second: Option<&Material>) -> Result<(), Failure> {
    let of_other = [
        (arguments.other_model.is_some(), "--other-model"),
        (arguments.other_revision.is_some(), "--other-revision"),
        (arguments.other_adapter.is_some(), "--other-adapter"),
        (!arguments.run.knock_out.is_empty(), "--knock-out"),
    ];
    let of_other = of_other.into_iter().find_map(|(is_given, name)| is_given.then_some(name));
    let has_model = arguments.run.model.model.is_some() || arguments.other_model.is_some();
    if let Some(option) = of_other.filter(|option| !has_model && *option != "--knock-out") {
        return Err(Failure::Usage(format!(
            "{option} is for a model that is named: --model, or --other-model for B alone"
        )));
    }
    let is_text = |material: &Material| matches!(material, Material::Text(_));
    match (first, second, of_other) {
        (_, None, None) => Err(Failure::Usage(
            "B is missing: give a second recording or text, or run a text once more with --other-model, --other-revision, \
             --other-adapter or --knock-out"
                .into(),
        )),
        (Material::Recording(path), None, Some(_)) => Err(Failure::Usage(format!(
            "B is missing: {} is a recording, which is compared with another one; a text can run through two models",
            path.display()
        ))),
        (_, Some(Material::Recording(path)), Some(option)) => Err(Failure::Usage(format!(
            "{option} is for running a model for B, but {} is a recording",
            path.display()
        ))),
        (first, Some(second), None) if !is_text(first) && !is_text(second) => match arguments.run.first_given() {
            Some(option) => Err(Failure::Usage(format!("{option} is for running a model, but both are recordings"))),
            None => Ok(()),
        },
        (_, Some(second), _) if is_text(first) && is_text(second) && !arguments.run.target.is_empty() => {
            Err(Failure::Usage("--target is for one text, but there are two; record each with its own".into()))
        }
        _ => Ok(()),
    }
}

/// A recording, and where it was made of a text, the text that was generated for it and what must be known of that.
struct Made {
    recording: Recording,
    output: Option<String>,
    notes: Vec<String>,
}

impl Made {
    fn of(material: &Material, options: &RunArguments) -> Result<Made, Failure> {
        match material {
            Material::Recording(path) => {
                Ok(Made { recording: Recording::open(path)?, output: None, notes: Vec::new() })
            }
            Material::Text(text) => {
                let texts = Texts { sources: vec![text.clone()], targets: options.target_texts()? };
                let mut run = run_texts(&texts, options)?;
                // what was changed stands in its name
                let of_texts = run.recording.items.iter().flat_map(Item::remarks);
                let notes = run.recording.provenance.notes.iter().cloned().chain(of_texts).collect();
                Ok(Made { output: run.outputs.pop(), recording: run.recording, notes })
            }
        }
    }
}

/// What a recording is called: its file or text, its model, and what was changed in it.
fn name((material, recording): (&Material, &Recording)) -> String {
    let what = match material {
        Material::Recording(path) => path.display().to_string(),
        Material::Text(text) => format!("\"{}\"", clip(text, LONGEST)),
    };
    let model = &recording.provenance.model;
    let model = if model.is_empty() { String::new() } else { format!(", {model}") };
    let edits: Vec<String> = recording.provenance.edits.iter().map(|edit| format!("; {}", edit.sentence())).collect();
    format!("{what}{model}{}", edits.concat())
}
