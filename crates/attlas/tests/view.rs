//! The shown map: numbers worked by hand, and what a view says of itself.

use std::collections::BTreeMap;

use attlas::analysis::{HeadSums, measure_all};
use attlas::arrays::{Array, ImportOptions, import};
use attlas::attention::Shape;
use attlas::figure::{Mark, Rgb, Scale, Style};
use attlas::recording::QueriesAndKeys;
use attlas::view::{Pieces, Silence, Specials, captions_of, head_classes};
use attlas::{
    Factored, Head, Item, Kind, Layer, Provenance, Quantity, Recording, RowTokens, Scoring, TokenRole, Tokens, View,
    ViewOptions, Visibility, Weights,
};

/// Two heads over `un|able cat </s>`, looking from `une bête </s>`; the first two source pieces are one word.
fn recording() -> Recording {
    #[rustfmt::skip]
    let numbers = vec![
        0.50, 0.25, 0.00, 0.25,
        0.00, 0.00, 1.00, 0.00,
        0.25, 0.25, 0.25, 0.25,
        // L0H1
        0.00, 0.25, 0.00, 0.75,
        0.50, 0.00, 0.50, 0.00,
        0.00, 0.00, 0.00, 1.00,
    ];
    let mut recording = imported(numbers, [1, 2, 3, 4], ["un", "able", "cat", "</s>"], ["<s>", "une", "bête"]);
    let item = &mut recording.items[0];
    item.source.tokens[1].word = item.source.tokens[0].word;
    (item.source.tokens[3].role, item.target.tokens[0].role) = (TokenRole::Special, TokenRole::Special);
    item.predicted = Tokens::from_labels(["une", "bête", "</s>"]);
    item.predicted.tokens[2].role = TokenRole::Special;
    recording
}

fn imported<const N: usize, const M: usize>(
    numbers: Vec<f32>,
    shape: [usize; 4],
    source: [&str; N],
    target: [&str; M],
) -> Recording {
    let array = Array::numbers(shape.to_vec(), numbers);
    let options = ImportOptions {
        source_tokens: Some(vec![Tokens::from_labels(source)]),
        target_tokens: Some(vec![Tokens::from_labels(target)]),
        ..ImportOptions::default()
    };
    let [n_layers, n_heads, n_queries, n_keys] = shape;
    assert_eq!((n_queries, n_keys), (M, N));
    let array = Array { shape: vec![n_layers, n_heads, n_queries, n_keys], ..array };
    import(BTreeMap::from([("decoder_cross".to_owned(), array)]), &options).unwrap()
}

fn view(options: &ViewOptions) -> View {
    View::with(&recording(), Kind::Cross, 0, Head::One(0), options).unwrap()
}

fn labels(view: &View) -> [Vec<String>; 2] {
    [view.panel().rows(), view.panel().columns()].map(|axis| (0..axis.len()).map(|place| axis.label(place)).collect())
}

#[test]
fn rows_of_cross_attention_are_named_after_what_they_predict_unless_asked_otherwise() {
    let usual = view(&ViewOptions::default());
    assert_eq!(labels(&usual)[0], ["une", "bête", "</s>"]);
    assert_eq!((usual.rows_are(), usual.columns_are()), ("predicted target", "source"));
    assert_eq!(usual.heading(), "cross-attention L0H0");
    let read = view(&ViewOptions { row_tokens: Some(RowTokens::Read), ..ViewOptions::default() });
    assert_eq!(labels(&read)[0], ["<s>", "une", "bête"]);
    assert_eq!(read.panel().rows().name(), "query (target token)");
}

#[test]
fn a_mean_over_heads_says_that_it_is_one() {
    let mean = View::of(&recording(), Kind::Cross, 0, Head::Mean).unwrap();
    assert_eq!(mean.title(), "L0, mean of 2 heads");
    assert_eq!(mean.panel().weights()[..8], [0.25, 0.25, 0.0, 0.5, 0.25, 0.0, 0.75, 0.0]);
    assert_eq!(mean.remarks()[0], "mean over 2 heads: a head may look otherwise");
    assert!(mean.map().to_svg().contains("mean over 2 heads"), "under another heading, too");
}

#[test]
fn hidden_special_tokens_leave_their_mass_to_be_said() {
    let shown = view(&ViewOptions { specials: Specials::Hide, pieces: Pieces::Words, ..ViewOptions::default() });
    assert_eq!(labels(&shown), [vec!["une", "bête"], vec!["unable", "cat"]]);
    assert_eq!(shown.panel().weights(), [0.75, 0.0, 0.0, 1.0]);
    assert_eq!(shown.removed(), [0.25, 0.0]);
    let remark = "1 special column hidden, with 12 % of the weight on average, up to 25 % of a row";
    assert_eq!(shown.remarks(), [remark]);
}

#[test]
fn a_range_says_which_part_is_shown_and_what_the_rest_holds() {
    let shown = view(&ViewOptions { rows: Some(0..1), columns: Some(0..3), ..ViewOptions::default() });
    assert_eq!(labels(&shown), [vec!["une"], vec!["un", "able", "cat"]]);
    assert_eq!((shown.panel().weights(), shown.removed()), ([0.5, 0.25, 0.0].as_slice(), [0.25].as_slice()));
    let remarks = [
        "row 0 of 3, counted from 0",
        "columns 0 to 2 of 4, counted from 0",
        "the other columns left out, with 25 % of the weight on average, up to 25 % of a row",
    ];
    assert_eq!(shown.remarks(), remarks);
}

#[test]
fn silence_added_after_a_sound_is_left_out_with_the_mass_it_takes_unless_it_is_asked_for() {
    let mut recording = recording();
    recording.items[0].n_sound = Some(2); // "cat" and "</s>" stand for silence
    let of = |options: &ViewOptions| View::with(&recording, Kind::Cross, 0, Head::One(0), options).unwrap();
    let cut = of(&ViewOptions::default());
    assert_eq!(labels(&cut)[1], ["un", "able"]);
    assert_eq!(cut.removed(), [0.25, 1.0, 0.5]);
    let said =
        "2 columns of added silence, from cat on, left out, with 58 % of the weight on average, up to 100 % of a row";
    assert_eq!(cut.remarks(), [said]);
    let whole = of(&ViewOptions { silence: Silence::Show, ..ViewOptions::default() });
    assert_eq!(labels(&whole)[1], ["un", "able", "(cat)", "(</s>)"]);
    let said = "2 columns of added silence, from cat on, in brackets, with 58 % of the weight on average, up to 100 % of a row";
    assert_eq!(whole.remarks(), [said]);
    // a range that is asked for is shown, whatever it holds
    let part = of(&ViewOptions { columns: Some(1..3), ..ViewOptions::default() });
    assert_eq!(labels(&part)[1], ["able", "(cat)"]);
    // and in tiles
    let tiles = of(&ViewOptions { max_weights: 4, overview_tiles: 2, ..ViewOptions::default() });
    assert_eq!(tiles.panel().weights(), [0.5, 0.25, 0.25, 0.25]);
    assert!(tiles.remarks()[0].contains("left out, with 58 % of the weight"), "{:?}", tiles.remarks());
}

#[test]
fn a_word_that_a_range_cuts_is_not_shown() {
    let options = ViewOptions { pieces: Pieces::Words, columns: Some(1..3), ..ViewOptions::default() };
    let shown = view(&options);
    assert_eq!(labels(&shown)[1], ["cat"]);
    assert_eq!(shown.removed(), [1.0, 0.0, 0.75]);
    let options = ViewOptions { columns: Some(0..1), ..options };
    let error = View::with(&recording(), Kind::Cross, 0, Head::One(0), &options).unwrap_err();
    assert_eq!(error.to_string(), "no columns are left to show: no word lies whole in the range");
}

#[test]
fn what_cannot_be_shown_is_refused_with_the_reason() {
    let refused = |options: ViewOptions| {
        View::with(&recording(), Kind::Cross, 0, Head::One(0), &options).unwrap_err().to_string()
    };
    let with = |rows| ViewOptions { rows: Some(rows), ..ViewOptions::default() };
    assert_eq!(refused(with(1..9)), "rows 1:9 are outside the cross map, whose rows are 0:3");
    assert!(refused(with(2..2)).contains("rows 2:2") && refused(with(usize::MAX..usize::MAX)).contains("outside"));
    assert_eq!(
        refused(ViewOptions { specials: Specials::Hide, ..with(2..3) }),
        "no rows are left to show: all tokens there are special ones, which are hidden"
    );
    let too_large = ViewOptions { specials: Specials::Hide, max_weights: 11, ..ViewOptions::default() };
    assert!(
        refused(too_large).starts_with("hiding special tokens needs every number that is shown, but 3 × 4 are more")
    );
    let head = View::of(&recording(), Kind::Cross, 0, Head::One(2)).unwrap_err().to_string();
    assert_eq!(head, "cross layer 0 has no head 2; its heads are 0 to 1");
    assert!(View::of(&recording(), Kind::Cross, 0, Head::One(usize::MAX)).is_err());
    assert!(View::of(&recording(), Kind::Encoder, 0, Head::Mean).unwrap_err().to_string().contains("no encoder"));
}

#[test]
fn a_map_too_large_to_be_held_is_an_overview_of_largest_weights() {
    let options = ViewOptions { max_weights: 5, overview_tiles: 2, ..ViewOptions::default() };
    let shown = view(&options);
    assert_eq!(shown.panel().weights(), [0.5, 1.0, 0.25, 0.25]);
    assert_eq!(shown.remarks(), ["overview of 3 × 4 weights: each cell is the largest of its tile"]);
    assert!(!shown.panel().rows().has_labels());
    let mean = View::with(&recording(), Kind::Cross, 0, Head::Mean, &options).unwrap();
    assert_eq!(mean.panel().weights(), [0.25, 0.75, 0.125, 0.625]);
    let part = View::with(&recording(), Kind::Cross, 0, Head::One(1), &ViewOptions { columns: Some(0..3), ..options });
    let part = part.unwrap();
    assert_eq!(part.panel().weights(), [0.5, 0.5, 0.0, 0.0]);
    assert_eq!(part.remarks()[0], "columns 0 to 2 of 4, counted from 0");
}

#[test]
fn an_overview_of_a_sound_has_the_times_of_its_frames() {
    let times = ["0.00s", "0.02s", "0.04s", "0.06s", "0.08s", "0.10s"];
    let mut recording = imported(vec![0.125; 12], [1, 1, 2, 6], times, ["<s>", "une"]);
    recording.items[0].source.text = String::new();
    let options = ViewOptions { max_weights: 5, overview_tiles: 3, ..ViewOptions::default() };
    let shown = |options: &ViewOptions| View::with(&recording, Kind::Cross, 0, Head::One(0), options).unwrap();
    assert_eq!(labels(&shown(&options)), [vec!["0", "1"], vec!["0.00s", "0.04s", "0.08s"]]);
    let part = shown(&ViewOptions { columns: Some(1..5), ..options });
    assert_eq!(labels(&part)[1], ["0.02s", "0.06s", "0.08s"]);
    assert!(part.map().to_svg().contains(">0.04s<"), "between two tiles' labels there is room for one more");
}

#[test]
fn padding_is_left_out_and_positions_count_without_it() {
    let mut recording = recording();
    recording.items[0].source.tokens[0].role = TokenRole::Padding;
    let options = ViewOptions { columns: Some(0..2), ..ViewOptions::default() };
    let shown = View::with(&recording, Kind::Cross, 0, Head::One(1), &options).unwrap();
    assert_eq!(labels(&shown)[1], ["able", "cat"]);
    assert_eq!(shown.removed(), [0.75, 0.0, 1.0]);
    let overview = ViewOptions { max_weights: 2, ..ViewOptions::default() };
    let overview = View::with(&recording, Kind::Cross, 0, Head::One(1), &overview).unwrap();
    assert_eq!((overview.panel().n_rows(), overview.panel().n_columns()), (3, 3));
}

#[test]
fn captions_name_the_model_and_which_of_several_texts_and_repeat_nothing() {
    let mut recording = recording();
    recording.provenance.model = "somewhere/some-model".into();
    recording.provenance.notes = vec!["a note".into()];
    recording.items.push(recording.items[0].clone());
    recording.items[1].source.text = "unable cat".into();
    recording.layers[0].weights = attlas::Weights::Dense(vec![0.25; 2 * 24].into());
    let hidden = ViewOptions { item: 1, specials: Specials::Hide, ..ViewOptions::default() };
    let views = [0, 1].map(|head| View::with(&recording, Kind::Cross, 0, Head::One(head), &hidden).unwrap());
    let remark = "1 special column hidden, with 25 % of the weight on average, up to 25 % of a row";
    let captions = ["model: somewhere/some-model", "text 1 of 2, counted from 0: unable cat", remark, "a note"];
    assert_eq!(views[0].captions(), captions);
    assert_eq!(captions_of(&views), captions);
    recording.layers[0].weights = attlas::Weights::Dense(vec![0.125; 2 * 24].into());
    let other = View::with(&recording, Kind::Cross, 0, Head::One(1), &hidden).unwrap();
    let own = "L0H1: 1 special column hidden, with 12 %";
    assert!(captions_of([&views[0], &other]).iter().any(|caption| caption.starts_with(own)));
}

#[test]
fn numbers_that_are_no_weights_have_their_own_words_and_scale_and_pool_by_their_distance_from_0() {
    let mut recording = recording();
    let numbers = vec![0.5, -2.0, 0.0, 0.25, 0.0, 0.0, 1.0, -0.5, 0.0, 0.0, 0.0, 0.0];
    let shape = attlas::attention::Shape { n_heads: 1, n_kv_heads: 1, ..recording.layers[0].shape };
    let weights = attlas::Weights::Dense(numbers.into());
    let effects =
        Layer { quantity: Quantity::Effect, stack: Some("text".into()), ..Layer::new(Kind::Cross, 0, shape, weights) };
    recording.layers.push(effects);
    let of = |options: &ViewOptions| View::of_layer(&recording, &recording.layers[1], Head::One(0), options).unwrap();
    let view = of(&ViewOptions { specials: Specials::Hide, ..ViewOptions::default() });
    assert_eq!(view.heading(), "cross-attention text L0: measured effect", "one map of all heads together names none");
    assert_eq!(view.remarks(), ["1 special column hidden"], "a share of the row's sum would say nothing");
    assert_eq!((view.scale(Scale::Linear).fraction(0.0), view.scale(Scale::Linear).high()), (0.5, 2.0));
    assert!(view.map().to_svg().contains("measured effect; linear"));
    let overview = of(&ViewOptions { max_weights: 5, overview_tiles: 2, ..ViewOptions::default() });
    assert_eq!(overview.panel().weights(), [-2.0, 1.0, 0.0, 0.0]);
    assert_eq!(overview.remarks(), ["overview of 3 × 4 numbers: each cell is the number farthest from 0 of its tile"]);
}

#[test]
fn the_kind_and_the_layer_that_tell_most_are_shown_where_none_is_asked_for() {
    let recording = recording();
    assert_eq!(recording.default_kind().unwrap(), Kind::Cross);
    assert_eq!(recording.last_layer(Kind::Cross).unwrap(), 0);
    assert!(recording.last_layer(Kind::Encoder).unwrap_err().to_string().contains("it has cross"));
    let nothing = Recording { layers: Vec::new(), ..recording };
    assert!(nothing.default_kind().is_err());
}

#[test]
fn a_learned_sink_is_said_to_take_its_share() {
    let shape = attlas::attention::Shape { n_heads: 1, n_kv_heads: 1, n_queries: 2, n_keys: 2, d_head: 1, d_value: 1 };
    let mut recording = imported(vec![0.5; 4], [1, 1, 2, 2], ["a", "b"], ["c", "d"]);
    let scoring =
        attlas::Scoring { sinks: Some(vec![0.0]), ..attlas::Scoring::scaled_dot_product(1, attlas::Visibility::FULL) };
    // scores 0, 0 and the sink's 0: a third each
    let lse = vec![3.0_f64.ln(); 2];
    recording.layers[0].shape = shape;
    let (queries, keys) = (vec![0.0_f32; 2].into(), vec![0.0_f32; 2].into());
    let factored = Factored { scoring, queries, keys, lse: lse.into(), mask: None, key_bias: None };
    recording.layers[0].weights = factored.into();
    let view = View::of(&recording, Kind::Cross, 0, Head::One(0)).unwrap();
    assert!(view.sinks().iter().all(|sink| (sink - 1.0 / 3.0).abs() < 1e-6));
    assert_eq!(view.remarks(), ["a learned sink takes 33 % of the weight on average, up to 33 % of a row"]);
    assert!((view.scale(Scale::Linear).high() - 1.0 / 3.0).abs() < 1e-6);
}

#[test]
fn padding_between_tokens_is_not_read() {
    // two tokens, 40,000 apart: a band over both would hold 1.6 · 10⁹ numbers
    let n = 40_000;
    let mut tokens = Tokens::from_labels((0..n).map(|place| if place == 0 { "first" } else { "last" }));
    tokens.tokens[1..n - 1].iter_mut().for_each(|token| token.role = TokenRole::Padding);
    let items = vec![Item { source: tokens, ..Item::default() }];
    let layer = QueriesAndKeys {
        kind: Kind::Encoder,
        index: 0,
        shape: Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 1, d_value: 1 },
        scoring: Scoring::scaled_dot_product(1, Visibility { before: Some(0), after: Some(0) }),
        queries: vec![1.0; n].into(),
        keys: vec![1.0; n].into(),
        mask: None,
        key_bias: None,
    };
    let layers = vec![layer.layer(&items).expect("sizes agree")];
    let recording = Recording { items, layers, provenance: Provenance::default() };
    let view = View::of(&recording, Kind::Encoder, 0, Head::One(0)).expect("a view");
    assert_eq!(view.panel().weights(), [1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn what_all_maps_of_a_kind_say_is_said_once_for_it() {
    let mut recording = recording();
    let mut encoder = recording.layers[0].clone();
    encoder.kind = Kind::Encoder;
    encoder.shape = Shape { n_queries: 4, ..encoder.shape };
    encoder.weights = attlas::Weights::Dense(vec![0.25; 2 * 16].into());
    recording.layers.push(encoder);
    let rows = ViewOptions { rows: Some(0..2), ..ViewOptions::default() };
    let maps = [(Kind::Cross, 0), (Kind::Cross, 1), (Kind::Encoder, 0), (Kind::Encoder, 1)];
    let views = maps.map(|(kind, head)| View::with(&recording, kind, 0, Head::One(head), &rows).unwrap());
    let said: Vec<String> = captions_of(&views).into_iter().filter(|caption| caption.contains("rows 0 to 1")).collect();
    assert_eq!(said, ["cross: rows 0 to 1 of 3, counted from 0", "encoder: rows 0 to 1 of 4, counted from 0"]);
}

/// One kind of dense maps of `n` tokens, layers 0 and 2; the first head looks one token back, the second at all alike.
fn two_heads_a_layer(kind: Kind, n: usize) -> Vec<HeadSums> {
    let mut weights = vec![0.0; n * n]; // [n, n]
    (0..n).for_each(|query| weights[query * n + query.saturating_sub(1)] = 1.0);
    weights.extend(vec![1.0 / n as f32; n * n]);
    let shape = Shape { n_heads: 2, n_kv_heads: 2, n_queries: n, n_keys: n, d_head: 0, d_value: 0 };
    let layer = |index| Layer::new(kind, index, shape, Weights::Dense(weights.clone().into()));
    let tokens = || Tokens::from_labels((0..n).map(|place| place.to_string()));
    let items = vec![Item { source: tokens(), target: tokens(), ..Item::default() }];
    let recording = Recording { items, layers: vec![layer(0), layer(2)], provenance: Provenance::default() };
    measure_all(&recording).unwrap()
}

#[test]
fn the_picture_of_heads_by_class_says_on_what_with_which_thresholds_and_how_many_are_named_for_nothing() {
    let mut heads = two_heads_a_layer(Kind::Encoder, 10);
    heads.remove(2); // layer 2 begins with head 1
    heads.extend(two_heads_a_layer(Kind::Cross, 4)); // four rows name nothing
    let figure = head_classes(&heads, "one text <b>", &Style { captions: vec!["Mine.".into()], ..Style::default() });
    let texts: Vec<&str> = figure
        .marks()
        .iter()
        .filter_map(|mark| if let Mark::Label(label) = mark { Some(label.shaped.text.as_str()) } else { None })
        .collect();
    for text in [
        "What heads are named for",
        "encoder self-attention: rows are layers, columns are heads",
        "L2",
        "3.30", // at all ten keys alike: 2 · 165 / 100
        "previous token (≥ 0.5): 1",
        "broad (≥ 0.8): 2",
        "named for nothing: 4",
        "Measured on one text <b>; rows a head: 10 (encoder), 4 (cross).",
        "4 of 7 heads are named for nothing.",
        "A class is a hint: it says what a head did on this text, not why. Attention is no importance.",
        "Mine.",
    ] {
        assert!(texts.contains(&text), "{text}: {texts:#?}");
    }
    assert_eq!(texts.iter().filter(|text| **text == "mean distance").count(), 1, "cross-attention has none");
    let count = |code: &str| texts.iter().filter(|text| **text == code).count();
    assert_eq!((count("Pr"), count("Br"), count("Lo")), (2, 3, 0), "once in the legend, and in their cells");
    assert!(
        texts
            .iter()
            .any(|text| text
                .starts_with("encoder self-attention: layer 0 looks 2.1 positions away on average (all keys"))
    );
    assert!(!figure.to_svg().contains("<b>"));
}

#[test]
fn a_class_has_the_same_colour_in_pictures_of_different_heads() {
    let fills = |heads: &[HeadSums]| -> Vec<Rgb> {
        let figure = head_classes(heads, "", &Style::default());
        figure
            .marks()
            .iter()
            .filter_map(|mark| if let Mark::Rect(rect) = mark { Some(rect.fill) } else { None })
            .collect()
    };
    let (both, broad) = (two_heads_a_layer(Kind::Encoder, 10), two_heads_a_layer(Kind::Encoder, 10)[1..2].to_vec());
    let (blue, yellow) = (Rgb([0, 114, 178]), Rgb([240, 228, 66]));
    assert!(fills(&both).contains(&blue) && fills(&both).contains(&yellow));
    assert!(!fills(&broad).contains(&blue) && fills(&broad).contains(&yellow));
}
