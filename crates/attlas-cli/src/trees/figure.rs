//! Pictures of relations: layers × heads for one of them, relations × heads for all.

use attlas::Quantity;
use attlas::analysis::syntax::{Direction, MARGIN, MIN_WORDS, RelationScore, TreeSums};
use attlas::figure::{Axis, CellMark, Figure, Panel, Scale, Scales, Sign, Style, marked_grid};

use super::{Choice, Report};
use crate::commands::draw::StyleArguments;
use crate::failure::Failure;
use crate::words::counted;

/// A panel, and an outline for each cell of a head that is named.
type Marked = (Panel, Vec<CellMark>);

/// Draws how far each head is over the best fixed offset.
///
/// # Errors
/// When no relation that is chosen has enough words.
pub fn draw(report: &Report, choice: Choice<'_>, style: &StyleArguments) -> Result<Figure, Failure> {
    let trees = report.trees.as_ref();
    let trees = trees.ok_or_else(|| Failure::Usage("-o draws relations, and no trees were given".into()))?;
    let scores: Vec<RelationScore<'_>> =
        trees.scores().into_iter().filter(|score| choice.has(score.relation, score.direction)).collect();
    let directions = Direction::BOTH.into_iter();
    let directions: Vec<Direction> =
        directions.filter(|direction| scores.iter().any(|score| score.direction == *direction)).collect();
    if directions.is_empty() {
        let few = format!("no relation that was chosen has {MIN_WORDS} words or more: there is nothing to draw");
        return Err(Failure::Input(few));
    }
    let panel = |direction: &Direction| {
        let of_direction: Vec<&RelationScore<'_>> =
            scores.iter().filter(|score| score.direction == *direction).collect();
        match choice.relation {
            Some(_) => layers_and_heads(trees, &of_direction, *direction),
            None => relations_and_heads(trees, &of_direction, *direction),
        }
    };
    let marked = directions.iter().map(panel).collect::<Result<Vec<Marked>, _>>()?;
    let (panels, marks): (Vec<Panel>, Vec<Vec<CellMark>>) = marked.into_iter().unzip();
    let named = match marks.iter().all(Vec::is_empty) {
        true => "no head is named: a named one, outlined, is",
        false => "outlined: named heads, which are",
    };
    let scales = Scales::of(&panels, style.scale.unwrap_or(Scale::Linear), style.panel_scale);
    let n_columns = if choice.relation.is_some() { panels.len() } else { 1 };
    Ok(marked_grid(&panels, &scales, n_columns, &style_of(report, choice, style, named), &marks))
}

fn style_of(report: &Report, choice: Choice<'_>, style: &StyleArguments, named: &str) -> Style {
    let style = style.style();
    let what = choice.relation.unwrap_or("relations");
    let title = match style.title.is_empty() {
        true => format!("{}, {what}: how far each head is over the best fixed offset", report.kind.title()),
        false => style.title.clone(),
    };
    let sentences = counted(report.n_sentences, "sentence");
    let captions = vec![
        format!(
            "share of words whose relation the head's largest weight finds, less that of the best fixed offset; {sentences}"
        ),
        format!(
            "{named} {MARGIN} or more over the offset on {MIN_WORDS} words or more, the 95 % interval over \
             it, too; looking along a relation is not using it"
        ),
    ];
    Style { title, captions, ..style }
}

/// The heads of one relation and direction.
fn layers_and_heads(
    trees: &TreeSums,
    scores: &[&RelationScore<'_>],
    direction: Direction,
) -> Result<Marked, attlas::Error> {
    let mut layers: Vec<usize> = trees.heads.iter().map(|head| head.head.layer).collect();
    layers.dedup();
    let n_heads = trees.heads.iter().map(|head| head.head.head + 1).max().unwrap_or(0);
    let mut excess = vec![f32::NAN; layers.len() * n_heads]; // [layers, heads]
    let mut marks = Vec::new();
    for score in scores {
        if let Some(row) = layers.iter().position(|layer| *layer == score.head.layer) {
            let column = score.head.head;
            excess[row * n_heads + column] = score.excess() as f32;
            marks.extend(score.is_named().then_some(CellMark { row, column, sign: Sign::Solid }));
        }
    }
    let title = scores.first().map_or(String::new(), |score| {
        format!(
            "{}: offset {:+}, {:.2} of {}",
            direction.arrow(),
            score.offset,
            score.baseline,
            counted(score.n as usize, "word")
        )
    });
    let rows = Axis::labelled("layer", layers.iter().map(usize::to_string));
    let panel = Panel::new(title, excess, rows, Axis::counted("head", n_heads))?;
    Ok((panel.measuring(Quantity::Difference), marks))
}

/// All relations of one direction, those of many words first, and all heads.
fn relations_and_heads(
    trees: &TreeSums,
    scores: &[&RelationScore<'_>],
    direction: Direction,
) -> Result<Marked, attlas::Error> {
    let mut relations: Vec<(u64, &str)> = scores.iter().map(|score| (score.n, score.relation)).collect();
    relations.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    relations.dedup();
    let heads: Vec<String> = trees.heads.iter().map(|head| head.head.to_string()).collect();
    let mut excess = vec![f32::NAN; relations.len() * heads.len()]; // [relations, heads]
    let mut marks = Vec::new();
    for score in scores {
        let row = relations.iter().position(|(_, relation)| *relation == score.relation);
        let column = trees.heads.iter().position(|head| head.head == score.head);
        if let (Some(row), Some(column)) = (row, column) {
            excess[row * heads.len() + column] = score.excess() as f32;
            marks.extend(score.is_named().then_some(CellMark { row, column, sign: Sign::Solid }));
        }
    }
    let rows = Axis::labelled("relation", relations.iter().map(|(_, relation)| *relation));
    let panel = Panel::new(direction.arrow(), excess, rows, Axis::labelled("head", heads))?;
    Ok((panel.measuring(Quantity::Difference), marks))
}
