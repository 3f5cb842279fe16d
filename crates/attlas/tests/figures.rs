//! Figures against stored pictures, and what must hold for every picture.
//!
//! A picture that differs is written to the target folder's `tmp/pictures`, for PNG as expected, actual and difference
//! side by side. `ATTLAS_ACCEPT=1 cargo test -p attlas --test figures` stores the new ones.

use std::fs;
use std::path::{Path, PathBuf};

use attlas::Quantity;
use attlas::figure::{
    self, Anchor, Axis, Bars, CellClass, Chart, ChartAxis, ChartLine, ClassCell, ClassGrid, ClassRow, ClassWords,
    ColorScale, Colormap, Figure, Label, Mark, OverviewRow, Panel, PanelScale, PatchRow, Pixels, Profile, Rgb,
    RowNumber, Scale, Scales, Stroke, Style, Theme,
};

const SENTENCE: [&str; 8] = ["<s>", "The", "cat", "sat", "on", "the", "mat", "."];
const SCRIPTS: [&str; 16] = [
    "Latin",
    "Ελληνικά",
    "Привет",
    "漢字",
    "ひらがな",
    "カタカナ",
    "한국어",
    "العربية",
    "שלום",
    "हिन्दी",
    "বাংলা",
    "தமிழ்",
    "తెలుగు",
    "ไทย",
    "Հայերեն",
    "😀👩\u{200d}💻❤\u{fe0f}",
];

/// Rows that sum to 1, with a maximum that wanders; no transcendental function, so the same on every machine.
fn weights(n_rows: usize, n_columns: usize, seed: usize) -> Vec<f32> {
    let mut weights = Vec::with_capacity(n_rows * n_columns); // [n_rows, n_columns]
    for row in 0..n_rows {
        let peak = (row * n_columns / n_rows + seed * (row % 3)) % n_columns;
        let raw: Vec<f32> = (0..n_columns).map(|column| 1.0 / (1 + column.abs_diff(peak).pow(2)) as f32).collect();
        let sum: f32 = raw.iter().sum();
        weights.extend(raw.iter().map(|weight| weight / sum));
    }
    weights
}

fn panel(title: &str, rows: &[&str], columns: &[&str], seed: usize) -> Panel {
    let weights = weights(rows.len(), columns.len(), seed);
    let rows = Axis::labelled("query (target token)", rows.iter().copied());
    let columns = Axis::labelled("key (source token)", columns.iter().copied());
    Panel::new(title, weights, rows, columns).unwrap()
}

fn long_panel(n_rows: usize, n_columns: usize, seed: usize) -> Panel {
    let rows: Vec<&str> = SENTENCE.iter().copied().cycle().take(n_rows).collect();
    let columns: Vec<&str> = SENTENCE.iter().copied().cycle().take(n_columns).collect();
    panel("L1H2", &rows, &columns, seed)
}

fn styled(title: &str) -> Style {
    let captions = vec!["Weights, not importance.".to_owned()];
    Style { title: title.to_owned(), captions, pixels_per_point: 1.0, ..Style::default() }
}

/// One map, on a linear scale of its own.
fn map(panel: &Panel, style: &Style) -> Figure {
    figure::map(panel, &ColorScale::of([panel], Scale::Linear), style)
}

fn lines(panel: &Panel, style: &Style) -> Figure {
    figure::lines(panel, &ColorScale::of([panel], Scale::Linear), style)
}

fn grid(panels: &[Panel], n_columns: usize, style: &Style) -> Figure {
    figure::grid(panels, &Scales::of(panels, Scale::Linear, PanelScale::Shared), n_columns, style)
}

fn overview(rows: &[OverviewRow], style: &Style) -> Figure {
    let scales = Scales::of(rows.iter().flat_map(|row| &row.panels), Scale::Linear, PanelScale::Shared);
    figure::overview(rows, &scales, ["layer", "head"], style)
}

fn patches(image: Pixels<'_>, row: &PatchRow, kind: Scale, style: &Style) -> Result<Figure, attlas::Error> {
    figure::patches(image, row, &ColorScale::over(&row.weights, Quantity::Weight, kind), style)
}

/// Columns of a strip of `n_rows` rows, and groups of these names.
fn profile(n_rows: usize, columns: &[&str], groups: &[&str]) -> Profile {
    let n_columns = columns.len();
    let rows = Axis::labelled("received, layer by layer", (0..n_rows).map(|row| format!("L{row}")));
    let columns = Axis::labelled("key (source token)", columns.iter().copied());
    let bars = |name: &str, numbers: Vec<f32>, expected: f32| {
        let expected = vec![expected; numbers.len()];
        Bars { name: name.to_owned(), numbers, expected }
    };
    let group = |(seed, name): (usize, &&str)| {
        bars(name, weights(n_rows, n_columns, seed).iter().step_by(n_columns).copied().collect(), 0.3)
    };
    Profile {
        panel: Panel::new("", weights(n_rows, n_columns, 2), rows, columns).unwrap(),
        columns: bars("received (line: all alike)", weights(1, n_columns, 0), 1.0 / n_columns as f32),
        groups: groups.iter().enumerate().map(group).collect(),
        groups_are: "spans, layer by layer (line: all alike)".to_owned(),
    }
}

fn drawn_profile(profile: &Profile, kind: Scale, style: &Style) -> Figure {
    figure::profile(profile, &ColorScale::of([&profile.panel], kind), style)
}

fn heads(n_heads: usize) -> Vec<Panel> {
    (0..n_heads).map(|head| panel(&format!("L2H{head}"), &SENTENCE, &SENTENCE, head)).collect()
}

fn layers() -> Vec<OverviewRow> {
    let row = |layer: usize| OverviewRow { label: layer.to_string(), panels: heads(6 - layer) };
    (0..3).map(row).collect()
}

#[test]
fn a_map_of_a_sentence_is_drawn_as_stored() {
    let figure = map(&panel("L3H7", &SENTENCE, &SENTENCE, 1), &styled("Cross-attention, L3H7"));
    compare_svg("sentence", &figure);
    compare_png("sentence", &figure);
}

#[test]
fn sixteen_scripts_are_drawn_as_stored() {
    let figure = map(&panel("scripts", &SCRIPTS, &SCRIPTS, 1), &styled("العربية, हिन्दी and 漢字 in a title"));
    compare_png("scripts", &figure);
}

#[test]
fn a_dark_grid_with_own_scales_is_drawn_as_stored() {
    let mut panels = heads(5);
    let labels = || Axis::labelled("query (target token)", SENTENCE);
    panels[2] = Panel::new("L2H2", vec![0.125; 64], labels(), Axis::labelled("key (source token)", SENTENCE)).unwrap();
    let style = Style { theme: Theme::Dark, colormap: Colormap::Magma, ..styled("Heads") };
    compare_png("grid", &figure::grid(&panels, &Scales::of(&panels, Scale::Linear, PanelScale::Own), 4, &style));
}

#[test]
fn an_overview_is_drawn_as_stored() {
    let figure = overview(&layers(), &styled("All heads"));
    compare_svg("overview", &figure);
    compare_png("overview", &figure);
}

/// Numbers of either sign: the rows of a map less those of another.
fn difference(n: usize) -> Panel {
    let numbers = weights(n, n, 1).iter().zip(weights(n, n, 5)).map(|(a, b)| a - b).collect();
    let axis = |name| Axis::labelled(name, SENTENCE.iter().copied().cycle().take(n));
    let panel = Panel::new("L3H7 less L3H2", numbers, axis("query (target token)"), axis("key (source token)"));
    panel.unwrap().measuring(Quantity::Difference)
}

#[test]
fn numbers_of_either_sign_are_drawn_as_stored_with_0_in_the_middle_of_the_colours() {
    let panel = difference(8);
    let figure = map(&panel, &styled("Cross-attention, L3H7 less L3H2"));
    compare_png("difference", &figure);
    compare_svg("difference", &figure);
    let dark = Style { theme: Theme::Dark, ..styled("") };
    let scale = ColorScale::of([&panel], Scale::Linear);
    compare_png("difference-lines", &figure::lines(&panel, &scale, &dark));
    for figure in [&figure, &map(&difference(1000), &styled(""))] {
        let svg = figure.to_svg();
        assert!(svg.contains("difference; linear") && svg.contains(">0</text>") && svg.contains(">−0."), "{svg}");
    }
    assert!(map(&difference(1000), &styled("")).to_svg().contains("the farthest from 0 of up to"));
}

#[test]
fn two_maps_and_their_difference_are_drawn_as_stored_each_on_its_scale() {
    let axis = |name| Axis::labelled(name, SENTENCE);
    let map = |title, seed| {
        Panel::new(title, weights(8, 8, seed), axis("query (target token)"), axis("key (source token)")).unwrap()
    };
    let panels = [map("A: L3H7", 5), map("B: L3H7", 1), difference(8)];
    let maps = ColorScale::of(&panels[..2], Scale::Linear).called("attention weight in A and in B");
    let less = ColorScale::of(&panels[2..], Scale::Linear);
    let figure = figure::difference(&panels, [&maps, &less], &styled("A and B"));
    compare_png("side-by-side", &figure);
    let svg = figure.to_svg();
    assert!(svg.contains("attention weight in A and in B; linear") && svg.contains("difference; linear"), "{svg}");
    assert!(!svg.contains("one scale for all panels"), "{svg}");
}

#[test]
fn a_table_is_drawn_as_stored_and_what_is_missing_stays_empty() {
    let numbers: Vec<f32> = (0..36).map(|cell| if cell == 35 { f32::NAN } else { cell as f32 / 50.0 }).collect();
    let texts: Vec<String> =
        numbers.iter().map(|number| format!("{number:.2}\nL0H1").replace("NaN\nL0H1", "–")).collect();
    let panel = Panel::new("", numbers, Axis::counted("layer", 3), Axis::counted("head", 12)).unwrap();
    let scale = ColorScale::of([&panel], Scale::Linear).called("divergence in nats");
    let figure = figure::table(&panel, &texts, &scale, &styled("Heads"));
    compare_png("table", &figure);
    let narrow = figure::table(&panel, &texts, &scale, &Style { size: Some(180.0), ..styled("") });
    let written = |figure: &Figure| figure.marks().iter().filter(|mark| matches!(mark, Mark::Label(_))).count();
    assert!(written(&figure) > 71 && written(&narrow) < 40, "where there is no room, nothing is written");
}

/// Dots on a spiral, many of them near its middle.
fn spiral(n: usize) -> figure::Dots {
    let dot = |place: usize| {
        let step = place as f64 / n as f64;
        let at = [[step, step * step], [-step * step, step], [-step, -step * step], [step * step, -step]][place % 4];
        figure::Dot { label: format!("L{}H{}", place / 12, place % 12), at, group: place / 12 }
    };
    figure::Dots {
        dots: (0..n).map(dot).collect(),
        groups_are: "layer".to_owned(),
        groups: (0..n.div_ceil(12)).map(|layer| layer.to_string()).collect(),
        unit: "√nat".to_owned(),
    }
}

#[test]
fn dots_are_drawn_as_stored_and_144_have_each_a_label_that_is_on_no_other() {
    compare_png("dots", &figure::dots(&spiral(24), &styled("Which heads look alike")));
    let figure = figure::dots(&spiral(144), &styled(""));
    let is_name = |label: &&Label| label.shaped.text.starts_with('L') && label.shaped.text.contains('H');
    let labels =
        figure.marks().iter().filter_map(|mark| if let Mark::Label(label) = mark { Some(label) } else { None });
    let names: Vec<&Label> = labels.filter(is_name).collect();
    assert_eq!(names.len(), 144);
    for (place, a) in names.iter().enumerate() {
        for b in &names[place + 1..] {
            let apart =
                a.x + a.width() <= b.x + 0.01 || b.x + b.width() <= a.x + 0.01 || (a.y - b.y).abs() >= a.size * 0.9;
            assert!(apart, "{} and {}", a.shaped.text, b.shaped.text);
        }
    }
}

#[test]
fn dots_that_all_lie_in_one_place_are_drawn_and_labels_without_room_are_counted() {
    let mut content = spiral(600);
    content.dots.iter_mut().for_each(|dot| dot.at = [0.0, 0.0]);
    let svg = figure::dots(&content, &styled("")).to_svg();
    assert!(svg.contains("dots have no label: there is no room for more."), "{svg}");
    content.dots.truncate(1);
    assert!(figure::dots(&content, &styled("")).to_svg().contains(">L0H0</text>"));
    content.dots.clear();
    assert!(figure::dots(&content, &styled("")).width > 100.0, "nothing to draw is drawn as nothing");
}

#[test]
fn a_map_without_a_heading_has_the_title_of_its_panel() {
    let bare = Style { pixels_per_point: 1.0, ..Style::default() };
    let figure = map(&panel("L3H7", &SENTENCE, &SENTENCE, 1), &bare);
    compare_png("bare", &figure);
    assert!(figure.to_svg().contains("<title>L3H7</title>") && figure.to_svg().contains(">L3H7</text>"));
    assert!(!map(&panel("", &SENTENCE, &SENTENCE, 1), &bare).to_svg().contains("<title>"));
}

#[test]
fn pixels_are_those_of_the_png_and_a_strip_below_leaves_the_figure_as_it_is() {
    let figure = map(&panel("L3H7", &SENTENCE, &SENTENCE, 1), &styled("L3H7"));
    let bitmap = figure.to_pixels().unwrap();
    let (width, height, rgb) = decode(&figure.to_png().unwrap());
    assert_eq!((bitmap.width, bitmap.height), (width as usize, height as usize));
    assert!(bitmap.rgb == rgb);
    let taller = figure.clone().with_strip_below(20.0, [figure.marks()[0].clone()]);
    assert_eq!((taller.width, taller.height), (figure.width, figure.height + 20.0));
    assert!(taller.to_pixels().unwrap().rgb.starts_with(&rgb[..rgb.len() / 2]));
}

#[test]
fn lines_from_queries_to_keys_are_drawn_as_stored() {
    let figure = lines(&panel("L3H7", &SENTENCE, &SENTENCE[1..], 1), &styled("L3H7"));
    compare_png("lines", &figure);
    assert!(!figure.to_svg().contains("weakest lines"));
    assert!(lines(&long_panel(40, 40, 1), &styled("")).to_svg().contains("weakest lines are not drawn"));
}

#[test]
fn a_long_map_on_a_logarithmic_scale_with_missing_numbers_is_drawn_as_stored() {
    let mut numbers = weights(150, 90, 2);
    numbers[40 * 90 + 20] = f32::NAN;
    numbers[41 * 90 + 21] = f32::INFINITY;
    let panel = Panel::new("", numbers, Axis::counted("query", 150), Axis::counted("key", 90)).unwrap();
    compare_png("missing", &figure::map(&panel, &ColorScale::of([&panel], Scale::Log), &styled("")));
}

#[test]
fn a_profile_of_columns_is_drawn_as_stored() {
    let mut profile = profile(3, &SENTENCE, &["system", "user 1", "sink"]);
    profile.groups[2].expected = vec![f32::NAN; 3]; // nothing is expected of it
    profile.columns.numbers[6] = f32::NAN;
    let figure = drawn_profile(&profile, Scale::Linear, &styled("Where attention goes"));
    compare_png("profile", &figure);
    compare_svg("profile", &figure);
}

#[test]
fn a_bar_is_as_long_as_its_number_on_a_scale_from_0_to_the_largest() {
    let profile = profile(1, &SENTENCE, &[]);
    let figure = drawn_profile(&profile, Scale::Log, &styled(""));
    let bars = figure.marks().iter().filter_map(|mark| if let Mark::Rect(rect) = mark { Some(*rect) } else { None });
    let lengths: Vec<f32> = bars.map(|bar| bar.height).collect();
    let numbers = &profile.columns.numbers;
    assert_eq!(lengths.len(), numbers.len());
    for (length, number) in lengths.iter().zip(numbers) {
        assert!((length / lengths[0] - number / numbers[0]).abs() < 1e-4, "{lengths:?}");
    }
}

#[test]
fn a_profile_of_more_columns_than_room_shows_the_largest_of_each_block() {
    let long: Vec<&str> = SENTENCE.iter().copied().cycle().take(65_536).collect();
    let mut profile = profile(2, &long, &["a span"]);
    profile.columns.numbers[40_001] = 0.9;
    let figure = drawn_profile(&profile, Scale::Linear, &styled(""));
    assert!(figure.marks().len() < 5000, "{} marks", figure.marks().len());
    let svg = figure.to_svg();
    assert!(svg.contains(">0.9</text>") && svg.contains("largest of up to 1 ×"), "{}", &svg[..2000]);
}

/// A landscape of colour ramps, 36 × 24 pixels.
fn landscape() -> Vec<u8> {
    let pixel = |place: usize| {
        let (x, y) = (place % 36, place / 36);
        [(x * 7) as u8, (y * 10) as u8, if (x / 6 + y / 6) % 2 == 0 { 200 } else { 90 }]
    };
    (0..36 * 24).flat_map(pixel).collect()
}

fn patch_row(place: Option<[usize; 2]>) -> PatchRow {
    let query = place.map_or("CLS".to_owned(), |[row, column]| format!("r{row}c{column}"));
    PatchRow { title: "L1H2".to_owned(), query, place, grid: [4, 6], weights: weights(1, 24, 9) }
}

#[test]
fn a_row_over_its_image_is_drawn_as_stored() {
    let rgb = landscape();
    let image = Pixels { width: 36, height: 24, rgb: &rgb };
    let figure = patches(image, &patch_row(Some([1, 4])), Scale::Linear, &styled("L1H2: what r1c4 looks at")).unwrap();
    compare_png("patches", &figure);
    let dark = Style { theme: Theme::Dark, ..styled("L1H2: what CLS looks at") };
    compare_svg("patches-cls", &patches(image, &patch_row(None), Scale::Log, &dark).unwrap());
    assert!(figure.to_pdf().unwrap().starts_with(b"%PDF"));
    check_labels(&figure, "patches");
}

/// Lines that rise to numbers close to each other, one of them with a gap, over a threshold.
fn chart(title: &str, labels: &[&str]) -> Chart {
    let line = |(index, label): (usize, &&str)| {
        let at = |place: usize| (place as f32 / 8.0, 0.1 + (place * place) as f32 * (60 - index) as f32 / 6000.0);
        let point = |place| (at(place).0, (index != 1 || place != 3).then_some(at(place).1));
        let points = (0..=8).map(point).collect();
        let (begins, ends) = if index == 2 { (None, Some(5)) } else { (Some(6), None) };
        ChartLine { points, stroke: Stroke::Colored(index), label: (*label).to_owned(), begins, ends }
    };
    let level = |value, stroke, label: &str| ChartLine {
        points: vec![(0.0, Some(value)), (1.0, Some(value))],
        stroke,
        label: label.to_owned(),
        begins: None,
        ends: None,
    };
    let levels = [level(0.6, Stroke::Dashed, "threshold 0.6"), level(0.1, Stroke::Dotted, "baseline 0.1")];
    let others = [level(0.3, Stroke::Faint, ""), level(0.35, Stroke::Plain, "")];
    let lines = levels.into_iter().chain(others).chain(labels.iter().enumerate().map(line)).collect();
    Chart { title: title.to_owned(), range: (0.0, 1.0), lines }
}

fn chart_axis() -> ChartAxis {
    let tick = |step: u32| ((step as f32 / 6400.0).sqrt(), step.to_string());
    ChartAxis {
        name: "training step (square-root scale)".to_owned(),
        ticks: [0, 1, 2, 5, 10, 100, 400, 1600, 6000, 6400].map(tick).to_vec(),
        seams: vec![0.7],
    }
}

#[test]
fn charts_are_drawn_as_stored() {
    let heads = ["L0H1 from 3600: 0.74", "L2H3 from 3600: 0.73", "L1H0 until 2500: 0.72"];
    let charts = [chart("encoder, previous token", &heads), chart("cross", &heads[..1]), chart("decoder", &[])];
    let figure = figure::charts(&charts, &chart_axis(), &styled("Heads over a training"));
    compare_svg("charts", &figure);
    let style = Style { theme: Theme::Dark, ..styled("Heads over a training") };
    compare_png("charts-dark", &figure::charts(&charts[..1], &chart_axis(), &style));
}

#[test]
fn labels_of_charts_neither_overlap_nor_leave_the_picture() {
    let huge = "x".repeat(1000);
    let many: Vec<String> = (0..20).map(|head| format!("L0H{head} from 1200: 0.71")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let awkward = [huge.as_str(), "\u{202e}", "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字"];
    let mut broken = chart("no numbers", &["a", "b"]);
    broken.lines.iter_mut().flat_map(|line| &mut line.points).for_each(|point| point.1 = Some(f32::NAN));
    broken.range = (f32::NAN, f32::INFINITY);
    let charts = [chart(&huge, &many), chart("awkward", &awkward), broken, chart("", &[]), chart("last", &many[..6])];
    for size in [None, Some(160.0), Some(560.0), Some(1000.0)] {
        let style = Style { size, ..styled(&"A very long title ".repeat(9)) };
        for n in [1, 2, 5] {
            let figure = figure::charts(&charts[..n], &chart_axis(), &style);
            check_labels(&figure, &format!("{n} charts, {size:?}"));
            assert!(figure.to_pdf().unwrap().starts_with(b"%PDF"));
        }
    }
}

#[test]
fn an_image_that_has_not_the_bytes_of_its_size_is_refused() {
    let rgb = landscape();
    for (width, height, n) in [(36, 24, 36 * 24 * 3 - 1), (0, 0, 0), (usize::MAX, 2, 36)] {
        let image = Pixels { width, height, rgb: &rgb[..n] };
        let error = patches(image, &patch_row(None), Scale::Linear, &styled("")).unwrap_err().to_string();
        assert!(error.contains("cannot have"), "{error}");
    }
    let image = Pixels { width: 36, height: 24, rgb: &rgb };
    let row = PatchRow { weights: vec![0.5; 7], ..patch_row(None) };
    assert!(patches(image, &row, Scale::Linear, &styled("")).unwrap_err().to_string().contains("7 weights"));
}

/// A grid whose cells are of four classes and of none, the last row shorter and with a hole.
fn class_grid(title: &str, n_rows: usize, n_columns: usize) -> ClassGrid {
    let cell = |place: usize| match place * 7 % 10 {
        class @ 0..4 => ClassCell::Of { class, strength: (place % 5) as f32 / 4.0 },
        _ => ClassCell::Unnamed,
    };
    let row = |row: usize| {
        let n_cells = if row + 1 == n_rows { n_columns.div_ceil(2) } else { n_columns };
        let mut cells: Vec<ClassCell> = (0..n_cells).map(|column| cell(row * 3 + column)).collect();
        if row + 1 == n_rows {
            cells[0] = ClassCell::Absent;
        }
        let distance = (row != 1).then_some(1.5 + row as f32);
        ClassRow { label: format!("L{row}"), cells, numbers: vec![(distance, Some(4.0)), (Some(0.25), None)] }
    };
    let number = |name: &str, high| RowNumber { name: name.to_owned(), high };
    ClassGrid {
        title: title.to_owned(),
        columns: (0..n_columns).map(|column| format!("H{column}")).collect(),
        numbers: vec![number("distance", None), number("breadth", Some(1.0))],
        rows: (0..n_rows).map(row).collect(),
    }
}

fn classes(grids: &[ClassGrid], style: &Style) -> Figure {
    let class = |code: &str, name: &str, color| CellClass { code: code.into(), name: name.into(), color: Rgb(color) };
    let classes = [
        class("Pr", "previous (≥ 0.5)", [0, 114, 178]),
        class("Si", "sink", [213, 94, 0]),
        class("Br", "broad", [240, 228, 66]),
        class("Lo", "local", [203, 227, 247]),
    ];
    let words = ClassWords { mix: "mix", unnamed: "of no class", strength: "the larger, the stronger" };
    figure::classes(grids, &classes, &words, style)
}

#[test]
fn grids_by_class_are_drawn_as_stored() {
    let mut second = class_grid("second, without a distance", 2, 5);
    second.numbers.remove(0);
    second.rows.iter_mut().for_each(|row| row.numbers = row.numbers.split_off(1));
    let grids = [class_grid("first", 3, 8), second];
    let figure = classes(&grids, &styled("Cells by class"));
    compare_svg("classes", &figure);
    compare_png("classes", &figure);
    compare_png("classes-dark", &classes(&grids, &Style { theme: Theme::Dark, ..styled("Cells by class") }));
    assert!(
        figure.description.starts_with("Cells by class: first, 3 × 8 cells; second, without a distance, 2 × 5 cells. ")
    );
    assert!(figure.description.contains("sink: ") && figure.description.contains("of no class: "));
}

#[test]
fn cells_by_class_have_letters_at_every_usual_size_of_a_model_and_a_picture_says_what_has_no_room() {
    let drawn = |n_rows: usize, n_columns: usize, size: Option<f32>| {
        let figure = classes(&[class_grid("", n_rows, n_columns)], &Style { size, ..styled("") });
        let n_letters = labels(&figure).filter(|label| ["Pr", "Si", "Br", "Lo"].contains(&label.shaped.text.as_str()));
        (n_letters.count() > 4, figure.to_svg(), figure.width)
    };
    for [n_rows, n_columns] in [[3, 8], [12, 12], [24, 16], [48, 25], [32, 64]] {
        let (has_letters, svg, _) = drawn(n_rows, n_columns, None);
        assert!(has_letters && !svg.contains("too small") && !svg.contains("too narrow"), "{n_rows} × {n_columns}");
    }
    let (has_letters, svg, width) = drawn(24, 16, Some(480.0));
    assert!(!has_letters && svg.contains("too small for the letters") && svg.contains(">distance</text>"));
    assert_eq!(width, 480.0);
    let (has_letters, svg, width) = drawn(3, 8, Some(200.0));
    assert!(has_letters && svg.contains("too narrow for what stands") && !svg.contains(">distance</text>"));
    assert!(width <= 201.0, "{width}");
}

#[test]
fn labels_neither_overlap_nor_leave_the_picture() {
    let huge = "x".repeat(100_000);
    let awkward = [
        "a",
        &huge,
        "",
        "\u{202e}\u{1}",
        "W W W W W W W W W W W W W W W W W W W W W",
        "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字",
    ];
    let layers = layers();
    for size in [None, Some(160.0), Some(1000.0)] {
        for kind in [Scale::Linear, Scale::Log, Scale::Row] {
            let style = Style { size, ..styled(&"A very long title ".repeat(9)) };
            let scale = |panel: &Panel| ColorScale::of([panel], kind);
            let map = |panel: &Panel, what: &str| check_labels(&figure::map(panel, &scale(panel), &style), what);
            let lines = |panel: &Panel, what: &str| check_labels(&figure::lines(panel, &scale(panel), &style), what);
            let grid = |panels: &[Panel], n_columns: usize, what: &str| {
                let scales = Scales::of(panels, kind, PanelScale::Shared);
                check_labels(&figure::grid(panels, &scales, n_columns, &style), what);
            };
            for [n_rows, n_columns] in [[1, 1], [1, 40], [40, 1], [3, 5], [12, 12], [30, 17], [64, 64], [512, 300]] {
                let panel = long_panel(n_rows, n_columns, 1);
                map(&panel, &format!("{n_rows} × {n_columns}, {size:?}"));
                map(&panel.measuring(Quantity::Effect), &format!("{n_rows} × {n_columns} of either sign, {size:?}"));
            }
            map(&panel("", &awkward, &awkward, 1), "awkward labels");
            for n_heads in [1, 4, 7] {
                grid(&heads(n_heads), 4, &format!("{n_heads} heads, {size:?}"));
            }
            let mixed =
                [panel("a", &awkward, &SENTENCE, 1), panel(&huge, &SENTENCE, &awkward, 1), long_panel(200, 100, 3)];
            grid(&mixed, 3, "panels with axes of their own");
            lines(&panel("", &awkward, &SENTENCE, 1), &format!("lines, {size:?}"));
            lines(&long_panel(300, 40, 1), &format!("many lines, {size:?}"));
            for (n_rows, n_columns) in [(1, 1), (3, 8), (40, 60), (12, 500), (200, 3)] {
                let columns: Vec<&str> = SENTENCE.iter().copied().cycle().take(n_columns).collect();
                for groups in [&[][..], &["special"], &["system", &huge, "user 1", "", "\u{1}", "用户", "assistant 1"]]
                {
                    let what = format!("profile of {n_rows} × {n_columns}, {} groups, {size:?}", groups.len());
                    check_labels(&drawn_profile(&profile(n_rows, &columns, groups), kind, &style), &what);
                }
            }
            check_labels(&drawn_profile(&profile(2, &awkward, &awkward), kind, &style), "an awkward profile");
            let scales = Scales::of(layers.iter().flat_map(|row| &row.panels), kind, PanelScale::Shared);
            check_labels(&figure::overview(&layers, &scales, ["layer", "head"], &style), "overview");
        }
        let style = Style { size, ..styled(&"A very long title ".repeat(9)) };
        for [n_rows, n_columns] in [[1, 1], [3, 8], [12, 12], [24, 16], [48, 64]] {
            let mut grid = class_grid(&huge, n_rows, n_columns);
            (grid.columns[0], grid.rows[0].label, grid.numbers[0].name) = (huge.clone(), huge.clone(), huge.clone());
            let grids = [grid, class_grid("b", n_rows, n_columns)];
            check_labels(&classes(&grids, &style), &format!("classes, {n_rows} × {n_columns}, {size:?}"));
        }
    }
}

#[test]
fn figures_of_nothing_are_empty_but_valid() {
    let charts = figure::charts(&[], &ChartAxis::default(), &styled(""));
    for figure in [grid(&[], 4, &styled("")), overview(&[], &styled("")), charts, classes(&[], &styled(""))] {
        assert!(figure.to_svg().ends_with("</svg>\n"));
        assert!(figure.to_png().unwrap().starts_with(b"\x89PNG"));
        assert!(figure.to_pdf().unwrap().starts_with(b"%PDF-1.7"));
    }
}

#[test]
fn every_script_has_glyphs_and_no_box_is_drawn() {
    let figure = map(&panel("scripts", &SCRIPTS, &["x"], 1), &styled(""));
    for label in labels(&figure) {
        assert!(!label.shaped.text.contains("U+"), "{}", label.shaped.text);
        let glyphs: Vec<u16> = label.shaped.runs.iter().flat_map(|run| &run.glyphs).map(|glyph| glyph.id).collect();
        assert!(!glyphs.is_empty() && !glyphs.contains(&0), "{}: {glyphs:?}", label.shaped.text);
    }
    let svg = figure.to_svg();
    assert!(SCRIPTS.iter().all(|script| svg.contains(&format!(">{script}</text>"))), "text is text");
}

#[test]
fn hostile_text_is_inert_and_what_xml_forbids_is_shown_by_its_picture() {
    let forbidden: String =
        (0..0x20_u8).map(char::from).chain(['\u{7f}', '\u{fffe}', '\u{ffff}', '\u{202e}', ']', ']', '>']).collect();
    let hostile = ["</script><script>alert(1)</script>", "\"><x onload='y'>", "&lt;&#0;", "a\0b", &forbidden];
    let style = Style { captions: vec![hostile.join(" "), forbidden.clone()], ..styled(hostile[0]) };
    let svg = map(&panel(hostile[0], &hostile, &hostile, 1), &style).to_svg();
    assert!(!svg.contains("<script") && svg.contains("&lt;/script&gt;&lt;script&gt;") && svg.contains("a␀b"));
    let allowed = |c: char| c == '\n' || (c >= ' ' && !matches!(c, '\u{7f}' | '\u{202e}' | '\u{fffe}' | '\u{ffff}'));
    assert!(svg.chars().all(allowed));
    let entities = svg.split('&').skip(1).all(|rest| ["lt;", "gt;", "amp;"].iter().any(|name| rest.starts_with(name)));
    assert!(entities, "every & begins an entity");
    let mut grid = class_grid(hostile[0], 1, 2);
    (grid.columns[0], grid.numbers[0].name, grid.rows[0].label) =
        (hostile[1].into(), forbidden.clone(), hostile[3].into());
    let svg = classes(&[grid], &style).to_svg();
    assert!(!svg.contains("<script") && !svg.contains("<x") && svg.chars().all(allowed));
}

#[test]
fn a_number_that_is_none_is_counted_and_has_a_colour_of_its_own() {
    let weights = vec![0.5, f32::NAN, f32::NEG_INFINITY, 0.5];
    let panel = Panel::new("", weights, Axis::counted("query", 2), Axis::counted("key", 2)).unwrap();
    let figure = map(&panel, &styled(""));
    assert!(figure.to_svg().contains("2 values are not finite numbers"));
    let (_, _, pixels) = decode(&figure.to_png().unwrap());
    let missing = pixels.as_chunks::<3>().0.iter().filter(|pixel| **pixel == Colormap::Viridis.missing()).count();
    assert!(missing > 2 * 27 * 27, "two cells of 28 × 28 pixels are marked: {missing}");
}

#[test]
fn a_picture_says_when_panels_do_not_share_their_scale() {
    let heads = heads(4);
    let own = Scales::of(&heads, Scale::Linear, PanelScale::Own);
    let svg = figure::grid(&heads, &own, 4, &styled("")).to_svg();
    assert!(svg.contains("each panel has its own scale") && svg.contains("L2H1 (to 0."));
    assert!(grid(&heads, 4, &styled("")).to_svg().contains("one scale for all panels"));
}

#[test]
fn a_map_with_more_cells_than_room_shows_the_largest_weights_and_says_so() {
    let mut weights = vec![0.0; 3000 * 2]; // [3000, 2]
    weights[2 * 1500 + 1] = 1.0;
    let panel = Panel::new("", weights, Axis::counted("query", 3000), Axis::counted("key", 2)).unwrap();
    let figure = map(&panel, &styled(""));
    assert!(figure.to_svg().contains("largest of up to 4 × 1 values"));
    let Some(Mark::Cells(cells)) = figure.marks().first() else { panic!("cells come first") };
    assert_eq!(cells.indices.iter().filter(|&&index| index == 254).count(), 1);
}

#[test]
fn a_map_of_512_tokens_is_a_small_file_in_every_format() {
    let mut state = 1_u32;
    let noise = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0
    };
    let weights = (0..512 * 512).map(noise).collect(); // incompressible: the worst case
    let labels = |name| Axis::labelled(name, SENTENCE.iter().copied().cycle().take(512));
    let figure = map(&Panel::new("", weights, labels("query"), labels("key")).unwrap(), &Style::default());
    let sizes = [figure.to_svg().len(), figure.to_pdf().unwrap().len(), figure.to_png().unwrap().len()];
    assert!(sizes[0] < 500_000 && sizes[1] < 500_000 && sizes[2] < 3_000_000, "{sizes:?}");
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let draw = || map(&panel("scripts", &SCRIPTS, &SCRIPTS, 1), &styled("again"));
    assert_eq!(draw().to_svg(), draw().to_svg());
    assert_eq!(draw().to_pdf().unwrap(), draw().to_pdf().unwrap());
    assert_eq!(draw().to_png().unwrap(), draw().to_png().unwrap());
}

#[test]
fn numbers_that_do_not_fill_the_map_are_refused() {
    let axis = |n| Axis::counted("query", n);
    let message =
        |weights, rows, columns| Panel::new("L0H1", weights, axis(rows), axis(columns)).unwrap_err().to_string();
    assert_eq!(message(vec![0.5; 5], 2, 3), "the map \"L0H1\" has 2 rows and 3 columns, but 5 weights were given");
    assert_eq!(message(vec![], 0, 3), "the map \"L0H1\" is 0 × 3: there is nothing to draw");
    assert!(message(vec![0.5], usize::MAX, 2).contains("but 1 weights"));
}

#[test]
fn a_picture_of_too_many_pixels_is_refused() {
    let style = Style { size: Some(5000.0), pixels_per_point: 8.0, ..Style::default() };
    let error = map(&long_panel(8, 8, 1), &style).to_png().unwrap_err().to_string();
    assert!(error.contains("more than the limit of 300000000; draw it smaller"), "{error}");
}

fn labels(figure: &Figure) -> impl Iterator<Item = &Label> {
    figure.marks().iter().filter_map(|mark| if let Mark::Label(label) = mark { Some(label) } else { None })
}

/// Corners of the box that a label's letters fill, from its baseline to the height of capitals.
fn corners(label: &Label) -> [[f32; 2]; 4] {
    let (sin, cos) = label.angle.to_radians().sin_cos();
    let start = match label.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => -label.width() / 2.0,
        Anchor::End => -label.width(),
    };
    let end = start + label.width();
    let top = -0.72 * label.size;
    [[start, 0.0], [end, 0.0], [end, top], [start, top]]
        .map(|[x, y]| [label.x + x * cos - y * sin, label.y + x * sin + y * cos])
}

fn check_labels(figure: &Figure, what: &str) {
    let boxes: Vec<(&Label, [[f32; 2]; 4])> = labels(figure).map(|label| (label, corners(label))).collect();
    for (place, (label, corners)) in boxes.iter().enumerate() {
        let text = &label.shaped.text;
        for [x, y] in corners {
            let inside = (0.0..=figure.width).contains(x) && (0.0..=figure.height).contains(y);
            assert!(inside, "{what}: \"{text}\" reaches {x}, {y} of {} × {}", figure.width, figure.height);
        }
        assert!(label.size >= 6.0, "{what}: \"{text}\" is set in {} points", label.size);
        for (other, others) in &boxes[..place] {
            assert!(apart(corners, others), "{what}: \"{text}\" overlaps \"{}\"", other.shaped.text);
        }
    }
}

/// Whether a line along a side of one box separates the two.
fn apart(a: &[[f32; 2]; 4], b: &[[f32; 2]; 4]) -> bool {
    let separates = |from: [f32; 2], to: [f32; 2]| {
        let along = |points: &[[f32; 2]; 4]| {
            let offsets = points.map(|[x, y]| x * (to[0] - from[0]) + y * (to[1] - from[1]));
            (offsets.into_iter().fold(f32::INFINITY, f32::min), offsets.into_iter().fold(f32::NEG_INFINITY, f32::max))
        };
        let ((a_low, a_high), (b_low, b_high)) = (along(a), along(b));
        a_high <= b_low || b_high <= a_low
    };
    [a, b].iter().any(|corners| separates(corners[0], corners[1]) || separates(corners[1], corners[2]))
}

fn stored(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures").join(name)
}

/// The stored picture; stores `actual` instead where that is asked for.
fn expected(name: &str, actual: &[u8]) -> Vec<u8> {
    if std::env::var_os("ATTLAS_ACCEPT").is_some() {
        fs::write(stored(name), actual).unwrap();
    }
    fs::read(stored(name)).unwrap_or_else(|error| panic!("{name}: {error}; ATTLAS_ACCEPT=1 stores the picture"))
}

fn failed(name: &str, file: &[u8]) -> ! {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), file).unwrap();
    panic!("{name} differs from the stored picture; see {}", folder.join(name).display());
}

fn compare_svg(name: &str, figure: &Figure) {
    let (name, actual) = (format!("{name}.svg"), figure.to_svg());
    if expected(&name, actual.as_bytes()) != actual.as_bytes() {
        failed(&name, actual.as_bytes());
    }
}

/// Pixels may differ by 8 of 255, as rounding differs between machines.
fn compare_png(name: &str, figure: &Figure) {
    let (name, file) = (format!("{name}.png"), figure.to_png().unwrap());
    let (width, height, actual) = decode(&file);
    let (stored_width, stored_height, expected) = decode(&expected(&name, &file));
    if (width, height) != (stored_width, stored_height) {
        failed(&name, &file);
    }
    if actual.iter().zip(&expected).any(|(a, b)| a.abs_diff(*b) > 8) {
        let difference: Vec<u8> = actual.iter().zip(&expected).map(|(a, b)| 255 - a.abs_diff(*b)).collect();
        let row = 3 * width as usize;
        let rows =
            (0..height as usize).flat_map(|y| [&expected, &actual, &difference].map(|image| &image[y * row..][..row]));
        failed(&name, &encode(3 * width, height, &rows.collect::<Vec<_>>().concat()));
    }
}

/// Width, height and pixels, shape `[height, width, 3]`.
fn decode(file: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(frame.color_type, png::ColorType::Rgb);
    (frame.width, frame.height, pixels)
}

fn encode(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    file
}
