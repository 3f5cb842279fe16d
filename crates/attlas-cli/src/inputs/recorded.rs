//! The texts of a recording, to be read once more by the model that it was made with.

use std::path::Path;

use attlas::recording::{Edit, Item, Provenance};
use attlas::{Recording, TokenRole, Tokens};
use attlas_model::{Input, Model, Side};

use super::notes::{say_items, say_provenance};
use crate::failure::Failure;
use crate::terminal::remark;

/// What the model read when the recording was made, text by text.
///
/// # Errors
/// When the recording is of another model, of a run that was changed, or of what it does not hold: images, sounds, tokens without ids.
pub fn inputs_recorded(path: &Path, model: &Model) -> Result<Vec<Input>, Failure> {
    let recording = Recording::open(path)?;
    let shown = path.display();
    check_model(path, &recording.provenance, model)?;
    if let Some(edit) = recording.provenance.edits.first() {
        return Err(Failure::Input(format!(
            "{shown}: the run was changed on purpose ({}), and what is measured is the model as it is; record the text without",
            Edit::sentence(edit)
        )));
    }
    say_provenance(&recording); // no edits are left
    say_items(&recording, None);
    recording.items.iter().map(|item| input_recorded(path, item, model)).collect()
}

/// What the model read of one text.
fn input_recorded(path: &Path, item: &Item, model: &Model) -> Result<Input, Failure> {
    if model.reads_images()
        || model.reads_sounds()
        || item.image.is_some()
        || item.n_sound.is_some()
        || !item.grids.is_empty()
    {
        return Err(Failure::Input(format!(
            "{}: the recording holds no image and no sound, which {} reads; give the file that was recorded",
            path.display(),
            model.name()
        )));
    }
    let side = |side: Side, tokens: &Tokens| match model.has(side) {
        true => again(path, tokens, side, model),
        false => Ok(Tokens::default()),
    };
    let (source, target) = (side(Side::Source, &item.source)?, side(Side::Target, &item.target)?);
    Ok(Input { source, target, ..Input::default() })
}

/// Recorded tokens without padding, each id looked up in the model.
fn again(path: &Path, tokens: &Tokens, side: Side, model: &Model) -> Result<Tokens, Failure> {
    let tokens: Vec<_> = tokens.tokens.iter().filter(|token| token.role != TokenRole::Padding).cloned().collect();
    let ids: Option<Vec<u32>> = tokens.iter().map(|token| token.id).collect();
    let ids = ids.ok_or_else(|| {
        Failure::Input(format!(
            "{}: its tokens have no ids, so that no model can read them again; give the text",
            path.display()
        ))
    })?;
    model.tokens_from_ids(side, &ids).map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?;
    Ok(Tokens { text: String::new(), tokens })
}

/// Refuses a model whose weights are others than those of the recording.
fn check_model(path: &Path, provenance: &Provenance, model: &Model) -> Result<(), Failure> {
    let (shown, name) = (path.display(), &provenance.model);
    let (theirs, own) = (provenance.revision.as_str(), model.revision());
    let is_other = match (theirs, own) {
        ("", _) | (_, "") => provenance.family != model.family() && !provenance.family.is_empty(),
        _ => theirs != own,
    };
    if is_other {
        let revision = if theirs.is_empty() { String::new() } else { format!(" (weights {:.12})", theirs) };
        return Err(Failure::Input(format!(
            "{shown}: recorded with \"{name}\"{revision}, and {} is another model; name the one it was recorded with (--model DIR)",
            model.name()
        )));
    }
    if theirs.is_empty() || own.is_empty() {
        remark(&format!("{shown}: nothing says that \"{name}\" has the weights of {}; it is taken to", model.name()));
    }
    Ok(())
}
