//! What attention does not show as rows of tables, the same wherever they are written or shown.

use attlas::recording::TokenExpert;
use attlas::{Kind, Recording, RowTokens, Tokens};
use attlas_model::Model;
use attlas_model::explain::agreement::Agreement;
use attlas_model::explain::by_key::{ByKey, KeyShare};
use attlas_model::explain::direct::Component;
use attlas_model::explain::edges::Edges;
use attlas_model::explain::effects::{Effect, Effects};
use attlas_model::explain::knock_out::KindHead;
use attlas_model::explain::lens::Lens;
use attlas_model::explain::side_by_side::{Explained, Place, complete};
use attlas_model::explain::states::{StatePlace, States};
use attlas_model::explain::way::Way;
use attlas_model::explain::{Attribution, Mixing};

use super::{Cells, Table};

/// A row of the lens's table: where it is read, the rank (0 for one that was asked for), the id and its probability.
type LensRow<'a> = (&'a Lens, usize, u32, f64);

/// What each layer would predict: `layer, depth, position, rank, token, id, probability`, rank 0 for the ids that were asked for.
pub fn lens_table(model: &Model, lenses: &[Lens], asked: &[u32]) -> Table {
    let mut rows: Vec<LensRow<'_>> = Vec::new();
    for lens in lenses {
        rows.extend(lens.top.iter().enumerate().map(|(place, (id, p))| (lens, place + 1, *id, *p)));
        rows.extend(asked.iter().zip(&lens.asked).map(|(id, p)| (lens, 0, *id, *p)));
    }
    let whole = |number: &dyn Fn(&LensRow<'_>) -> Option<usize>| {
        Cells::Whole(rows.iter().map(|row| number(row).map(|number| number as i64)).collect())
    };
    let token = |row: &LensRow<'_>| Some(model.target_text(row.0.position, row.2));
    let columns = vec![
        ("layer", whole(&|row| Some(row.0.layer))),
        ("depth", Cells::Text(rows.iter().map(|row| Some(row.0.depth.name().to_owned())).collect())),
        ("position", whole(&|row| row.0.position)),
        ("rank", whole(&|row| Some(row.1))),
        ("token", Cells::Text(rows.iter().map(token).collect())),
        ("id", whole(&|row| Some(row.2 as usize))),
        ("probability", Cells::Number(rows.iter().map(|row| Some(row.3)).collect())),
    ];
    Table { columns, notes: Vec::new() }
}

/// The experts that each token went through: `kind, layer, query, token, expert, share`, shares in 0 to 1, the largest of a token first.
///
/// # Errors
/// When the recording's file cannot be read.
pub fn experts_table(recording: &Recording, item: usize, rows: &[TokenExpert]) -> Table {
    let whole = |of: fn(&TokenExpert) -> usize| Cells::Whole(rows.iter().map(|row| Some(of(row) as i64)).collect());
    let token = |row: &TokenExpert| {
        let token = recording.items.get(item).and_then(|item| item.queries(row.kind).tokens.get(row.query));
        token.map(|token| token.text.trim().to_owned())
    };
    let columns = vec![
        ("kind", Cells::Text(rows.iter().map(|row| Some(row.kind.name().to_owned())).collect())),
        ("layer", whole(|row| row.layer)),
        ("query", whole(|row| row.query)),
        ("token", Cells::Text(rows.iter().map(token).collect())),
        ("expert", whole(|row| row.expert)),
        ("share", Cells::Number(rows.iter().map(|row| Some(f64::from(row.share))).collect())),
    ];
    Table { columns, notes: Vec::new() }
}

/// What the rows of a kind of attention are named after in the first text, as pictures name them: of cross-attention the tokens that they
/// predict.
pub fn row_tokens(recording: &Recording, kind: Kind) -> Option<&Tokens> {
    let layer = recording.layers_of(kind).next()?;
    Some(RowTokens::usual(kind).of(&recording.map_of(layer, 0, 0).ok()?))
}

/// How much of each token's state each layer mixes in: `kind, layer, query, token, attention, residual, layer_norm`, shares in 0 to 1.
pub fn mixing_table(recording: &Recording, rows: &[Mixing]) -> Table {
    let whole = |of: fn(&Mixing) -> usize| Cells::Whole(rows.iter().map(|row| i64::try_from(of(row)).ok()).collect());
    let number = |of: fn(&Mixing) -> f64| Cells::Number(rows.iter().map(|row| Some(of(row))).collect());
    let names = rows.first().and_then(|row| row_tokens(recording, row.kind));
    let token = |row: &Mixing| names?.tokens.get(row.query).map(|token| token.text.trim().to_owned());
    let columns = vec![
        ("kind", Cells::Text(rows.iter().map(|row| Some(row.kind.name().to_owned())).collect())),
        ("layer", whole(|row| row.layer)),
        ("query", whole(|row| row.query)),
        ("token", Cells::Text(rows.iter().map(token).collect())),
        ("attention", number(|row| row.mixing.attention)),
        ("residual", number(|row| row.mixing.residual)),
        ("layer_norm", number(|row| row.mixing.layer_norm)),
    ];
    Table { columns, notes: Vec::new() }
}

/// What the output loses with each head: `kind, layer, head, method, metric, effect, mean_weight, model, text`, the last two naming the weights
/// and the tokens that were measured (nothing where they have no name, or of several texts); of patching also `share`, of slopes `by_layer`, and of
/// heads that were taken away together one row, with `heads`.
pub fn effects_table(found: &Effects) -> Table {
    table_of(found, found.effects.iter().map(Measured::Heads).collect())
}

/// The same, of direct shares with those of all that is no head after them and a column `component`: with those of all heads they sum to
/// the logit.
pub fn effects_and_others_table(found: &Effects) -> Table {
    let others = found.others.iter().map(|(component, share)| Measured::Other(*component, *share));
    table_of(found, found.effects.iter().map(Measured::Heads).chain(others).collect())
}

/// A row of effects.
enum Measured<'a> {
    Heads(&'a Effect),
    Other(Component, f64),
}

impl<'a> Measured<'a> {
    fn heads(&self) -> Option<&'a Effect> {
        match self {
            Measured::Heads(effect) => Some(effect),
            Measured::Other(..) => None,
        }
    }

    /// What the row is of, where that is one thing.
    fn component(&self) -> Option<Component> {
        match self {
            Measured::Heads(effect) => match effect.heads[..] {
                [head] => Some(Component::Head(head)),
                _ => None,
            },
            Measured::Other(component, _) => Some(*component),
        }
    }

    fn head(&self) -> Option<i64> {
        match self.component() {
            Some(Component::Head(head)) => Some(head.head.head as i64),
            _ => None,
        }
    }

    fn effect(&self) -> f64 {
        match self {
            Measured::Heads(effect) => effect.effect,
            Measured::Other(_, share) => *share,
        }
    }
}

fn table_of(found: &Effects, rows: Vec<Measured<'_>>) -> Table {
    let text = |text: &str| Cells::Text(vec![Some(text.to_owned()); rows.len()]);
    let named = |name: Option<&String>| Cells::Text(vec![name.cloned(); rows.len()]);
    let words = |of: &dyn Fn(&Measured<'_>) -> Option<String>| Cells::Text(rows.iter().map(of).collect());
    let whole = |of: &dyn Fn(&Measured<'_>) -> Option<i64>| Cells::Whole(rows.iter().map(of).collect());
    let number =
        |of: &dyn Fn(&Effect) -> Option<f64>| Cells::Number(rows.iter().map(|row| row.heads().and_then(of)).collect());
    let mut columns = vec![
        ("kind", words(&|row| Some(row.component()?.kind()?.name().to_owned()))),
        ("layer", whole(&|row| Some(row.component()?.layer()? as i64))),
        ("head", whole(&|row| row.head())),
        ("method", text(found.way.name())),
        ("metric", text(found.metric)),
        ("effect", Cells::Number(rows.iter().map(|row| Some(row.effect())).collect())),
        ("mean_weight", number(&|effect| effect.mean_weight)),
        ("model", named(Some(&found.revision).filter(|name| !name.is_empty()))),
        ("text", named(found.text.as_ref())),
    ];
    if found.way == Way::Gradient {
        columns.push(("by_layer", number(&|effect| effect.by_layer)));
    }
    if found.way == Way::Patch {
        columns.push(("share", number(&|effect| effect.share)));
    }
    if rows.iter().any(|row| row.heads().is_none()) {
        columns.push(("component", words(&|row| Some(row.component().map_or("heads", Component::name).to_owned()))));
    }
    if found.effects.iter().any(|effect| effect.heads.len() != 1) {
        let names = |effect: &Effect| effect.heads.iter().map(KindHead::to_string).collect::<Vec<_>>().join(" ");
        columns.push(("heads", words(&|row| row.heads().map(names))));
    }
    Table { columns, notes: Vec::new() }
}

/// What the output loses with each pair of a head: `kind, layer, head, query, key, method, metric, effect, weight`.
pub fn edges_table(found: &Edges) -> Table {
    let n = found.rows.len();
    let whole = |number: usize| Cells::Whole(vec![Some(number as i64); n]);
    let text = |text: &str| Cells::Text(vec![Some(text.to_owned()); n]);
    let columns = vec![
        ("kind", text(found.head.kind.name())),
        ("layer", whole(found.head.head.layer)),
        ("head", whole(found.head.head.head)),
        ("query", Cells::Whole(found.rows.iter().map(|row| Some(row.0 as i64)).collect())),
        ("key", Cells::Whole(found.rows.iter().map(|row| Some(row.1 as i64)).collect())),
        ("method", text("edge")),
        ("metric", text(found.metric)),
        ("effect", Cells::Number(found.rows.iter().map(|row| Some(row.2)).collect())),
        ("weight", Cells::Number(found.rows.iter().map(|row| Some(f64::from(row.3))).collect())),
    ];
    Table { columns, notes: Vec::new() }
}

/// What hidden states of another text carry over: `stack, layer, position, token, method, metric, effect, share`, the layer being that which
/// they enter, one more than the last for what leaves the stack.
pub fn states_table(found: &States) -> Table {
    let whole = |of: fn(&StatePlace) -> usize| {
        Cells::Whole(found.rows.iter().map(|(place, _)| Some(of(place) as i64)).collect())
    };
    let text =
        |of: &dyn Fn(StatePlace) -> String| Cells::Text(found.rows.iter().map(|(place, _)| Some(of(*place))).collect());
    let columns = vec![
        ("stack", text(&|place| place.stack.name().to_owned())),
        ("layer", whole(|place| place.layer)),
        ("position", whole(|place| place.position)),
        ("token", text(&|place| found.token(place).to_owned())),
        ("method", text(&|_| Way::Patch.name().to_owned())),
        ("metric", text(&|_| found.metric.to_owned())),
        ("effect", Cells::Number(found.rows.iter().map(|(_, patched)| Some(patched.effect)).collect())),
        ("share", Cells::Number(found.rows.iter().map(|(_, patched)| patched.share).collect())),
    ];
    Table { columns, notes: Vec::new() }
}

/// What heads write for the target by the token that they move it from: `kind, layer, head, key, token, method, metric, effect, weight`.
pub fn by_key_table(found: &ByKey) -> Table {
    let whole = |of: fn(&KeyShare) -> usize| Cells::Whole(found.rows.iter().map(|row| Some(of(row) as i64)).collect());
    let text = |of: &dyn Fn(&KeyShare) -> String| Cells::Text(found.rows.iter().map(|row| Some(of(row))).collect());
    let number = |of: fn(&KeyShare) -> f64| Cells::Number(found.rows.iter().map(|row| Some(of(row))).collect());
    let columns = vec![
        ("kind", text(&|row| row.head.kind.name().to_owned())),
        ("layer", whole(|row| row.head.head.layer)),
        ("head", whole(|row| row.head.head.head)),
        ("key", whole(|row| row.key)),
        ("token", text(&|row| found.token(row).to_owned())),
        ("method", text(&|_| Way::Direct.name().to_owned())),
        ("metric", text(&|_| found.metric.to_owned())),
        ("effect", number(|row| row.share)),
        ("weight", number(|row| f64::from(row.weight))),
    ];
    Table { columns, notes: Vec::new() }
}

/// What each method says of each token: `method, side, position, token, score, complete` (false where the scores of integrated gradients do
/// not sum to what they should, null of methods that have no such sum). A score is null of tokens that the prediction cannot depend on, and
/// where a method says nothing.
pub fn explained_table(found: &Explained) -> Table {
    let rows = || found.attributions.iter().flat_map(|one| found.places.iter().map(move |place| (one, place)));
    let text = |of: &dyn Fn(&Attribution, &Place) -> String| {
        Cells::Text(rows().map(|(one, place)| Some(of(one, place))).collect())
    };
    let scores = found.attributions.iter().flat_map(|one| {
        let of_places = found.places.iter().zip(Explained::scores(one));
        of_places.map(|(place, score)| place.is_seen.then_some(score))
    });
    let columns = vec![
        ("method", text(&|one, _| one.method.name().to_owned())),
        ("side", text(&|_, place| place.side.name().to_owned())),
        ("position", Cells::Whole(rows().map(|(_, place)| Some(place.position as i64)).collect())),
        ("token", text(&|_, place| place.token.clone())),
        ("score", Cells::Number(scores.collect())),
        ("complete", Cells::Flag(rows().map(|(one, _)| complete(one)).collect())),
    ];
    let mut notes = vec![("explained".to_owned(), format!("{}, which is {}", found.subject, found.value))];
    let sums = found.sums();
    notes.extend((!sums.is_empty()).then(|| ("sums".to_owned(), sums.join(" "))));
    Table { columns, notes }
}

/// How far each two methods rank the tokens alike: `method, other, rank_correlation, n_tokens`.
pub fn agreement_table(found: &Agreement) -> Table {
    let name = |place: usize| Some(found.methods[place].name().to_owned());
    let columns = vec![
        ("method", Cells::Text(found.pairs().map(|(a, ..)| name(a)).collect())),
        ("other", Cells::Text(found.pairs().map(|(_, b, _)| name(b)).collect())),
        ("rank_correlation", Cells::Number(found.pairs().map(|(.., found)| found).collect())),
        ("n_tokens", Cells::Whole(found.pairs().map(|_| Some(found.n_tokens as i64)).collect())),
    ];
    Table { columns, notes: Vec::new() }
}
