//! Where a checkpoint has what is asked for: under which of several names, and what it holds besides.

use super::{Loader, Names, ReadoutNames, Superfluous, ended};
use crate::Error;
use crate::error::Clash;
use crate::weights::Checkpoint;

/// The prefix under which the token table, or what stands in its place, is found; the first one when none fits, so that the message names it.
pub(super) fn prefix(names: &Names, checkpoint: &Checkpoint) -> &'static str {
    let stacks = [&names.encoder, &names.decoder];
    let tables = || stacks.into_iter().flatten().flat_map(|stack| stack.tokens.iter().map(|name| (*name).to_owned()));
    let projections = || stacks.into_iter().flatten().flat_map(|stack| stack.projections.iter());
    let known = || tables().chain(projections().map(|name| ended(name, "weight")));
    let fits = |prefix: &&&'static str| known().any(|name| checkpoint.contains(&format!("{prefix}{name}")));
    names.prefixes.iter().find(fits).or(names.prefixes.first()).copied().unwrap_or("")
}

/// The readout's names, its matrix under the name that the file has for it.
pub(super) fn located(names: ReadoutNames, checkpoint: &Checkpoint) -> ReadoutNames {
    let own = Some(names.output).filter(|name| checkpoint.contains(name));
    let found = own.or_else(|| names.elsewhere.iter().copied().find(|name| checkpoint.contains(name)));
    ReadoutNames { output: found.unwrap_or(names.output), ..names }
}

/// Whether a tensor is of a layer after the decoder's last that may be there.
fn is_further(name: &str, names: &Names, loader: &Loader<'_>, n_layers: usize) -> bool {
    let start = names.decoder.as_ref().and_then(|stack| stack.layer.split("{}").next());
    let rest = start.and_then(|start| name.strip_prefix(loader.prefix)?.strip_prefix(start));
    let layer = rest.and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
    layer.is_some_and(|layer| (n_layers..n_layers + names.further_layers).contains(&layer))
}

/// Refuses or notes the tensors that nobody read; the decoder has `n_layers`.
pub(super) fn superfluous(names: &Names, loader: &Loader<'_>, n_layers: usize) -> Result<Vec<String>, Error> {
    let layers: Vec<String> = [&names.encoder, &names.decoder]
        .into_iter()
        .flatten()
        .filter_map(|stack| stack.layer.split("{}").next())
        .map(|start| format!("{}{start}", loader.prefix))
        .collect();
    let (starts, what) = match names.superfluous {
        Superfluous::Towers(starts) => (starts, " of what images go through"),
        Superfluous::Pooling(starts) => (starts, " of a head that pools hidden states by an attention of its own"),
        _ => (&[][..], ""),
    };
    let (mut others, mut of_part) = (Vec::new(), Vec::new());
    for name in loader.checkpoint.unused() {
        let known = |part: &&str| name.starts_with(*part) || name.ends_with(*part);
        if names.ignored.iter().any(known) || is_further(&name, names, loader, n_layers) {
            continue;
        }
        let in_layers = layers.iter().any(|start| !start.is_empty() && name.starts_with(start.as_str()));
        if in_layers || names.superfluous == Superfluous::Refused {
            let path = loader.checkpoint.get(&name).map_or(loader.checkpoint.path(), |tensor| &*tensor.path);
            return Err(Error::misfit(path, name, Clash::Superfluous));
        }
        let is_of_part = starts.iter().any(|start| name.starts_with(start));
        if is_of_part { of_part.push(name) } else { others.push(name) }
    }
    let note = |names: &[String], what: &str| match names {
        [] => None,
        [name] => Some(format!("the weights hold a tensor{what} that is not used: {name}")),
        [first, ..] => {
            Some(format!("the weights hold {} tensors{what} that are not used, such as {first}", names.len()))
        }
    };
    let notes = [note(&of_part, what), note(&others, "")];
    Ok(notes.into_iter().flatten().collect())
}
