//! The command as a user runs it: output, error messages, exit codes, and what is left behind.

mod common;

use std::fs;

use common::{Command, folder, recording};

#[test]
fn a_sentence_is_translated_shown_and_written_as_a_page() {
    let folder = folder();
    let run = Command::new(["The cat sat on the mat."]).in_folder(&folder).run();
    run.succeeds();
    let translation = run.stdout.lines().next().unwrap_or_default();
    assert!(translation.starts_with("Le chat"), "{translation}");
    assert!(run.stdout.contains("cross-attention, L2, mean of 8 heads"), "{}", run.stdout);
    assert!(run.stdout.contains("what stands out"), "{}", run.stdout);
    assert!(run.stdout.contains("atlas.html: every head"), "{}", run.stdout);
    assert!(!run.stdout.contains('\x1b'), "plain when piped");
    let page = fs::read_to_string(folder.path().join("atlas.html")).expect("the page is there");
    assert!(page.starts_with("<!") && page.trim_end().ends_with("</html>"));
    assert_eq!(files(&folder), ["atlas.html"]);
}

#[test]
fn a_head_that_is_knocked_out_is_said_on_every_way_to_the_reader() {
    let folder = folder();
    let said = "L2H4 of cross-attention was knocked out: its output was set to 0";
    let sentence = "The cat sat on the mat.";
    let run = Command::new(["record", sentence, "--knock-out", "cross:L2H4", "-o", "run.safetensors"]);
    let run = run.in_folder(&folder).run();
    run.succeeds();
    assert!(run.stderr.contains(said), "{}", run.stderr);
    let info = Command::new(["info", "run.safetensors"]).in_folder(&folder).run();
    assert!(info.stdout.contains(said), "{}", info.stdout);
    let draw = ["draw", "heads", "run.safetensors", "--kind", "cross", "--layer", "2", "-o", "heads.svg"];
    Command::new(draw).in_folder(&folder).run().succeeds();
    let picture = fs::read_to_string(folder.path().join("heads.svg")).expect("a picture");
    assert!(picture.contains("was knocked out"));
    let run = Command::new([sentence, "--knock-out", "cross:L2H4"]).in_folder(&folder).run();
    run.succeeds();
    assert!(run.stderr.contains(said), "{}", run.stderr);
    let page = fs::read_to_string(folder.path().join("atlas.html")).expect("a page");
    assert!(page.contains(said));
}

#[test]
fn a_head_to_knock_out_that_is_not_there_or_not_the_only_one_is_refused_with_what_there_is() {
    let refused = |words: &[&str]| Command::new(words).run().fails(2).to_owned();
    let several = refused(&["A red apple.", "--knock-out", "L2H4"]);
    assert!(several.contains("several heads L2H4; say which: encoder:L2H4 or decoder:L2H4 or cross:L2H4"), "{several}");
    let none = refused(&["A red apple.", "--knock-out", "L9H4"]);
    assert!(none.contains("has no head L9H4 (encoder: 3 layers of 8 heads; "), "{none}");
    let none = refused(&["A red apple.", "--knock-out", "cross:L1H9"]);
    assert!(none.contains("cross layer 1 has no head 9; there are heads 0 to 7"), "{none}");
}

#[test]
fn a_page_is_not_written_under_the_name_of_another_kind_of_file() {
    let folder = folder();
    for name in ["run.safetensors", "pairs.tsv", "a.svg", "page"] {
        fs::write(folder.path().join(name), "kept").expect("a file");
        let run = Command::new(["A red apple.", "-o", name]).in_folder(&folder).run();
        let message = run.fails(2);
        assert!(message.contains("`attlas record`") && message.contains("`attlas draw`"), "{message}");
        assert_eq!(fs::read_to_string(folder.path().join(name)).expect("a file"), "kept");
    }
    Command::new(["Hi.", "-o", "PAGE.HTM"]).in_folder(&folder).run().succeeds();
}

#[test]
fn both_axes_of_the_terminal_map_carry_their_tokens() {
    let run = Command::new(["The cat sat on the mat.", "--no-page"]).run();
    run.succeeds();
    for token in ["The", "cat", "mat", "chat"] {
        assert!(run.stdout.contains(token), "{token} is missing in {}", run.stdout);
    }
    assert!(run.stdout.contains("predicted target↓") && run.stdout.contains("source →"), "{}", run.stdout);
}

#[test]
fn colours_are_used_when_asked_for_and_never_with_no_color() {
    let colored = Command::new(["A red apple.", "--no-page", "--color", "always"]).run();
    assert!(colored.stdout.contains("\x1b[38;5;"), "256 colours without COLORTERM");
    let true_color =
        Command::new(["A red apple.", "--no-page", "--color", "always"]).variable("COLORTERM", "truecolor").run();
    assert!(true_color.stdout.contains("\x1b[38;2;"));
    let plain = Command::new(["A red apple.", "--no-page"]).variable("NO_COLOR", "1").run();
    assert!(!plain.stdout.contains('\x1b'));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for columns in ["40", "60", "100"] {
        let run = Command::new(["I don't know where my keys are.", "--no-page"]).variable("COLUMNS", columns).run();
        run.succeeds();
        let limit: usize = columns.parse().expect("a number");
        for line in run.stdout.lines().skip(1) {
            let is_table = line.contains("what stands out") || line.contains('.');
            assert!(is_table || line.chars().count() <= limit, "{columns}: {line}");
        }
    }
}

#[test]
fn a_text_comes_from_standard_input() {
    let run = Command::new(["-", "--no-page"]).stdin(b"Good morning.\n").run();
    run.succeeds();
    assert!(run.stdout.lines().next().is_some_and(|line| line.starts_with("Bon")), "{}", run.stdout);
}

#[test]
fn a_given_target_is_read_and_not_generated() {
    let run = Command::new(["A red apple.", "--target", "Une pomme rouge.", "--no-page"]).run();
    run.succeeds();
    assert!(run.stdout.contains("pomme") && run.stdout.contains("rouge"), "{}", run.stdout);
}

#[test]
fn the_same_command_writes_the_same_bytes() {
    let folder = folder();
    let write = |name: &str| {
        Command::new(["draw", "heads", "A red apple.", "-o", name]).in_folder(&folder).run().succeeds();
        fs::read(folder.path().join(name)).expect("the picture is there")
    };
    assert!(write("a.svg") == write("b.svg"));
}

#[test]
fn every_picture_is_drawn_in_every_format() {
    let (folder, run) = recording("A red apple.");
    let starts: [(&str, &[u8]); 3] = [("svg", b"<svg"), ("pdf", b"%PDF"), ("png", b"\x89PNG")];
    for picture in ["map", "lines", "heads", "layers", "overview"] {
        for (format, start) in starts {
            let name = format!("{picture}.{format}");
            let drawn = Command::new(["draw", picture, &run, "-o", &name]).in_folder(&folder).run();
            drawn.succeeds();
            assert_eq!(drawn.stdout.trim_end(), name);
            let bytes = fs::read(folder.path().join(&name)).expect("the picture is there");
            assert!(bytes.starts_with(start), "{name}");
        }
    }
}

#[test]
fn a_picture_takes_every_option() {
    let (folder, run) = recording("A red apple.");
    let options = [
        "--scale",
        "log",
        "--panel-scale",
        "own",
        "--special",
        "hide",
        "--words",
        "--title",
        "Apples",
        "--width",
        "22cm",
        "--theme",
        "dark",
        "--colormap",
        "cividis",
        "--kind",
        "encoder",
        "--layer",
        "1",
        "--label-rows",
        "read",
    ];
    let mut words = vec!["draw", "heads", run.as_str(), "-o", "heads.svg"];
    words.extend(options);
    Command::new(words).in_folder(&folder).run().succeeds();
    let svg = fs::read_to_string(folder.path().join("heads.svg")).expect("the picture is there");
    assert!(svg.contains("Apples"));
    assert!(svg.contains("width=\"624pt\""), "22 cm are 623.6 points: {}", &svg[..200]);
    assert!(svg.contains("special column"), "the removed mass is stated");
}

#[test]
fn a_width_has_a_unit_and_a_png_its_pixels_per_inch() {
    let (folder, run) = recording("A red apple.");
    for (picture, width, points) in [
        ("map", "8cm", 227),
        ("map", "90mm", 256),
        ("lines", "4in", 288),
        ("map", "300pt", 300),
        ("map", "300", 300),
        ("heads", "18cm", 511),
        ("overview", "12 cm", 341),
    ] {
        let words = ["draw", picture, &run, "--kind", "cross", "--width", width, "-o", "wide.svg"];
        Command::new(words).in_folder(&folder).run().succeeds();
        let svg = fs::read_to_string(folder.path().join("wide.svg")).expect("the picture is there");
        assert!(svg.contains(&format!("width=\"{points}pt\"")), "{picture} {width}: {}", &svg[..200]);
    }
    let words = ["draw", "map", &run, "--width", "8cm", "--dpi", "300", "-o", "sharp.png"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let png = fs::read(folder.path().join("sharp.png")).expect("the picture is there");
    let n_pixels = u32::from_be_bytes([png[16], png[17], png[18], png[19]]); // the width in the header
    assert!(n_pixels.abs_diff(227 * 300 / 72) <= 1, "{n_pixels} pixels");
    let refused = Command::new(["draw", "map", &run, "--dpi", "300", "-o", "a.svg"]).in_folder(&folder).run();
    assert_eq!(refused.fails(2), "--dpi is for a .png, but a.svg has no pixels");
}

#[test]
fn lines_of_one_query_or_to_one_key_are_drawn_and_a_token_that_stands_twice_is_asked_about() {
    let (folder, run) = recording("The cat sat on the mat.");
    let draw = |more: &[&str]| {
        let words = ["draw", "lines", &run, "--kind", "encoder", "--layer", "0", "--head", "3", "-o", "lines.svg"];
        let done = Command::new(words.iter().chain(more)).in_folder(&folder).run();
        (done, fs::read_to_string(folder.path().join("lines.svg")).unwrap_or_default())
    };
    let n_lines = |svg: &str| svg.matches("stroke-width=\"1.2\"").count();
    let (all, one) = (draw(&[]).1, draw(&["--query", "cat"]).1);
    assert!(n_lines(&one) > 0 && n_lines(&one) < n_lines(&all), "{} of {}", n_lines(&one), n_lines(&all));
    assert!(one.contains("only the lines of cat (1)"), "{one}");
    let (_, few) = draw(&["--query", "cat", "--query", "3", "--key", "sat"]);
    assert!(few.contains("only the lines of cat (1), on (3)") && few.contains("only the lines to sat (2)"), "{few}");
    let (_, apart) = draw(&["--query", "The"]);
    assert!(apart.contains("only the lines of The (0)"));
    assert!(
        draw(&["--key", "dog"]).0.fails(2).starts_with("--key dog: there is no such token; there are 0 to 7: The cat")
    );
    let (folder, run) = recording("The cat and the dog and the bird.");
    let twice = Command::new(["draw", "lines", &run, "--kind", "encoder", "--query", "the", "-o", "a.svg"]);
    assert_eq!(twice.in_folder(&folder).run().fails(2), "--query the: stands at 3, 6; say which by its number");
}

#[test]
fn an_overview_of_which_most_would_be_one_colour_is_logarithmic_and_says_how_to_have_it_otherwise() {
    let folder = folder();
    let n = 700; // two heads: the first row of each has one weight of 1, the others are even
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, {n}, {n}), }}");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    let weight = |cell: usize| match (cell % (n * n) / n, cell % n) {
        (0, 0) => 1.0,
        (0, _) => 0.0,
        _ => 1.0 / n as f32,
    };
    file.extend((0..2 * n * n).flat_map(|cell| weight(cell).to_le_bytes()));
    fs::write(folder.path().join("heads.npy"), file).expect("written");
    let words = ["import", "heads.npy", "--kind", "encoder", "-o", "run.safetensors"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let draw = |more: &[&str]| {
        let words = ["draw", "overview", "run.safetensors", "-o", "all.svg"];
        let done = Command::new(words.iter().chain(more)).in_folder(&folder).run();
        let svg = fs::read_to_string(folder.path().join("all.svg")).expect("the picture is there");
        (done.succeeds().stderr.clone(), svg)
    };
    let (said, svg) = draw(&[]);
    assert!(said.contains("so the scale is logarithmic; --scale linear"), "{said}");
    assert!(svg.contains("logarithmic, one scale for all panels"), "{svg}");
    assert!(svg.contains("overview of 700 × 700 weights: each cell is the largest of its tile"));
    let (said, svg) = draw(&["--scale", "linear"]);
    assert!(!said.contains("logarithmic") && svg.contains("linear, one scale"), "{said}");
}

#[test]
fn a_part_of_a_map_is_drawn_and_says_which_and_a_part_that_is_not_there_is_refused() {
    let (folder, run) = recording("A red apple.");
    let draw = |more: &[&str]| {
        let words: Vec<&str> =
            ["draw", "map", &run, "-o", "part.svg"].into_iter().chain(more.iter().copied()).collect();
        Command::new(words).in_folder(&folder).run()
    };
    draw(&["--rows", "1:", "--columns", ":2"]).succeeds();
    let svg = fs::read_to_string(folder.path().join("part.svg")).expect("the picture is there");
    assert!(svg.contains("rows 1 to 4 of 5") && svg.contains("columns 0 to 1 of 5"), "{svg}");
    assert!(svg.contains("the other columns left out, with"), "the removed mass is stated");
    assert!(svg.contains("mean over 8 heads"));
    assert_eq!(draw(&["--rows", "3:9"]).fails(2), "rows 3:9 are outside the cross map, whose rows are 0:5");
    assert!(draw(&["--columns", "7:"]).fails(2).starts_with("columns 7:8 are outside the cross map"));
    let nothing = draw(&["--columns", "4:", "--special", "hide"]);
    assert!(nothing.fails(2).contains("all tokens there are special ones, which are hidden (--special show"));
}

#[test]
fn a_recording_is_exported_and_imported_again() {
    let (folder, run) = recording("A red apple.");
    for name in ["w.npz", "w.safetensors", "w.csv", "w.json"] {
        Command::new(["export", &run, "-o", name]).in_folder(&folder).run().succeeds();
        assert!(fs::metadata(folder.path().join(name)).is_ok_and(|file| file.len() > 0), "{name}");
    }
    let imported = Command::new(["import", "w.npz", "-o", "again.safetensors"]).in_folder(&folder).run();
    imported.succeeds();
    let info = Command::new(["info", "again.safetensors"]).in_folder(&folder).run();
    info.succeeds();
    assert!(info.stdout.contains("arrays computed elsewhere") && info.stdout.contains("passed"), "{}", info.stdout);
}

#[test]
fn a_recording_is_shown_like_a_text() {
    let (folder, run) = recording("A red apple.");
    let shown = Command::new([run.as_str(), "-o", "page.html"]).in_folder(&folder).run();
    shown.succeeds();
    assert!(shown.stdout.contains("cross-attention, L2, mean of 8 heads"), "{}", shown.stdout);
    assert!(shown.stdout.contains("pomme") && shown.stdout.contains("page.html: every head"), "{}", shown.stdout);
    let refused = Command::new([run.as_str(), "--target", "Une pomme."]).in_folder(&folder).run();
    assert_eq!(refused.fails(2), "--target is for running a model on a text, but run.safetensors is a recording");
    assert!(Command::new(["missing.safetensors"]).run().fails(3).starts_with("missing.safetensors: No such file"));
}

#[test]
fn a_long_import_is_shown_in_tiles_and_the_command_says_so() {
    let folder = folder();
    let n = 2000;
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, {n}), }}");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    // as different from each other as weights are: alike they would take a bit each
    let row: Vec<f32> = (0..n).map(|key| (1 + key * key % 997) as f32).collect();
    let sum: f32 = row.iter().sum();
    let bytes: Vec<u8> = row.iter().flat_map(|number| (number / sum).to_le_bytes()).collect();
    file.extend(bytes.repeat(n));
    fs::write(folder.path().join("head.npy"), file).expect("written");
    let words = ["import", "head.npy", "--kind", "encoder", "-o", "run.safetensors"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let shown = Command::new(["run.safetensors", "--max-page-mb", "2"]).in_folder(&folder).run();
    assert!(shown.succeeds().stderr.contains("each cell of it is the largest weight of a tile"), "{}", shown.stderr);
    let page = fs::metadata(folder.path().join("atlas.html")).expect("the page is there");
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
    assert!(shown.stdout.lines().count() < 200, "the terminal's map is an overview too: {}", shown.stdout);
}

#[test]
fn an_export_takes_one_kind_layer_head_and_range() {
    let (folder, run) = recording("A red apple.");
    let words = [
        "export",
        &run,
        "--kind",
        "cross",
        "--layer",
        "2",
        "--head",
        "0",
        "--rows",
        "0:2",
        "--columns",
        "1:",
        "-o",
        "w.csv",
    ];
    Command::new(words).in_folder(&folder).run().succeeds();
    let csv = fs::read_to_string(folder.path().join("w.csv")).expect("the export is there");
    assert!(csv.lines().count() > 2, "{csv}");
}

#[test]
fn a_recording_says_what_is_in_it() {
    let (folder, run) = recording("A red apple.");
    let info = Command::new(["info", &run]).in_folder(&folder).run();
    info.succeeds();
    for part in ["generated by beam search", "encoder", "decoder", "cross", "eval", "passed"] {
        assert!(info.stdout.contains(part), "{part} is missing in {}", info.stdout);
    }
    let json = Command::new(["info", &run, "--json"]).in_folder(&folder).run();
    let value: serde_json::Value = serde_json::from_str(&json.stdout).expect("one JSON object");
    assert!(value["checks"].is_array() && value["provenance"]["model"].is_string());
}

#[test]
fn several_texts_make_a_padded_batch_and_an_empty_one_is_skipped() {
    let folder = folder();
    let words = ["record", "I am here.", "", "The woman who lives next door is a doctor.", "-o", "batch.safetensors"];
    let run = Command::new(words).in_folder(&folder).run();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("skipped: text 1 is empty"), "{}", run.stderr);
    let info = Command::new(["info", "batch.safetensors"]).in_folder(&folder).run();
    assert!(info.stdout.contains("padding") && info.stdout.contains("passed"), "{}", info.stdout);
}

#[test]
fn ids_need_no_tokenizer() {
    let folder = folder();
    let words = ["record", "--source-ids", "10,42,87", "--target-ids", "1,23", "-o", "ids.safetensors"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let info = Command::new(["info", "ids.safetensors"]).in_folder(&folder).run();
    assert!(info.stdout.contains("2 queries × 3 keys"), "{}", info.stdout);
}

#[test]
fn tokens_are_listed_with_their_ids_and_bytes() {
    let run = Command::new(["tokens", "The cat."]).run();
    run.succeeds();
    assert!(
        run.stdout.contains("The") && run.stdout.contains("0–3") && run.stdout.contains("special"),
        "{}",
        run.stdout
    );
    let json = Command::new(["tokens", "The cat.", "--json"]).run();
    let value: serde_json::Value = serde_json::from_str(&json.stdout).expect("one JSON object");
    assert_eq!(value["text"], "The cat.");
}

#[test]
fn models_completions_and_the_man_page_come_from_the_programme() {
    assert!(Command::new(["models"]).run().succeeds().stdout.contains("vaswani"));
    let json = Command::new(["models", "--json"]).run();
    let rows: serde_json::Value = serde_json::from_str(&json.succeeds().stdout).expect("JSON");
    let bert = rows.as_array().and_then(|rows| rows.iter().find(|row| row["family"] == "bert")).expect("BERT");
    assert_eq!(bert["model_types"][0], "bert");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(Command::new(["completions", shell]).run().succeeds().stdout.contains("attlas"), "{shell}");
    }
    assert!(Command::new(["man"]).run().succeeds().stdout.starts_with(".ie"));
    assert!(Command::new(["man", "draw", "heads"]).run().succeeds().stdout.contains("grid"));
    assert!(Command::new(["man", "paint"]).run().fails(2).contains("there is no command \"paint\""));
}

#[test]
fn every_command_has_help_with_an_example() {
    let help = Command::new(["help"]).run().succeeds().stdout.clone();
    assert!(help.contains("attlas \"The cat sat on the mat.\""), "{help}");
    for command in [
        "draw",
        "draw map",
        "draw lines",
        "draw heads",
        "draw layers",
        "draw overview",
        "record",
        "export",
        "import",
        "info",
        "tokens",
        "models",
        "completions",
        "man",
    ] {
        let words: Vec<&str> = ["help"].into_iter().chain(command.split(' ')).collect();
        let help = Command::new(words).run().succeeds().stdout.clone();
        assert!(help.contains("Example") && help.contains(&format!("attlas {command}")), "{command}: {help}");
    }
}

#[test]
fn a_text_that_is_the_name_of_a_command_is_written_after_two_dashes() {
    let run = Command::new(["--no-page", "--", "models"]).run();
    run.succeeds();
    assert!(run.stdout.contains("cross-attention"), "{}", run.stdout);
}

#[test]
fn a_mistyped_command_is_asked_about_and_not_translated() {
    let run = Command::new(["modles"]).run();
    assert_eq!(run.code, Some(2), "{}", run.stdout);
    assert!(run.stderr.contains("there is no command \"modles\"; did you mean \"models\"?"), "{}", run.stderr);
    assert!(run.stderr.contains("attlas -- modles"), "{}", run.stderr);
    let run = Command::new(["drwa", "map", "A red apple.", "-o", "a.svg"]).run();
    assert_eq!(run.code, Some(2), "{}", run.stdout);
    assert!(run.stderr.contains("did you mean \"draw\"?"), "{}", run.stderr);
}

#[test]
fn lines_are_drawn_between_the_tokens_of_one_head() {
    let (folder, run) = recording("A red apple.");
    let words = ["draw", "lines", &run, "--kind", "encoder", "--layer", "0", "--head", "3", "-o", "lines.svg"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let svg = fs::read_to_string(folder.path().join("lines.svg")).expect("the picture is there");
    assert!(svg.contains("encoder self-attention L0H3"), "the heading says which head");
    assert!(svg.matches("<polyline").count() >= 5, "there is a line for each query at least");
    assert_eq!(svg.matches(">apple</text>").count(), 2, "the token stands on both sides");
    let missing = ["draw", "lines", &run, "--layer", "9", "-o", "lines.svg"];
    let run = Command::new(missing).in_folder(&folder).run();
    assert_eq!(run.fails(2), "there is no cross layer 9; there are 0 to 2");
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    Command::new(["--color", "never", "models"]).run().succeeds();
    Command::new(["models", "--color", "never", "--threads", "1"]).run().succeeds();
    let misplaced = Command::new(["--layer", "1", "models"]).run();
    assert_eq!(misplaced.code, Some(2));
    assert!(misplaced.stderr.contains("--layer <N> does not go before the command \"models\""), "{}", misplaced.stderr);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let run = Command::new(["help", "draw", "map"]).closed_stdout().run();
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    let run = Command::new(["tokens", "The cat sat on the mat."]).closed_stdout().run();
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

#[test]
fn token_text_never_commands_the_terminal() {
    let run = Command::new(["\x1b[31mred\x07 \u{202e}olleh</script><script>alert(1)</script>", "--no-page"]).run();
    run.succeeds();
    assert!(!run.stdout.contains(['\x1b', '\x07', '\u{202e}']), "{}", run.stdout);
}

/// The names of a folder's files, sorted.
fn files(folder: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).expect("the folder is readable");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A recording of one encoder head, `n` × `n`, whose rows sum to 1 but for one, which sums to `sum`.
fn one_row_off(folder: &tempfile::TempDir, n: usize, sum: f32) -> String {
    use attlas::{Item, Kind, Layer, Recording, Token, Tokens, Weights, attention::Shape};
    let tokens = (0..n).map(|place| Token::labelled(format!("t{place}"))).collect();
    let source = Tokens { text: String::new(), tokens };
    let mut weights = vec![1.0 / n as f32; 2 * n * n]; // [2 heads, n, n]
    weights[n * n + n] += sum - 1.0; // L0H1, row 1
    let shape = Shape { n_heads: 2, n_kv_heads: 2, n_queries: n, n_keys: n, d_head: 0, d_value: 0 };
    let layers = vec![Layer::new(Kind::Encoder, 0, shape, Weights::Dense(weights.into()))];
    let items = vec![Item { source, ..Item::default() }];
    let recording = Recording { items, layers, provenance: attlas::Provenance::default() };
    recording.save(&folder.path().join("off.safetensors")).expect("it is saved");
    "off.safetensors".to_owned()
}

#[test]
fn numbers_that_fail_their_checks_are_said_wherever_they_are_shown_and_the_output_is_written() {
    let folder = folder();
    let off = one_row_off(&folder, 4, 1.5);
    let fault = "row sums off by up to 0.5 (worst: text 0, L0H1, row 1)";
    let said = format!("the recording fails its checks in encoder L0H1: {fault}; do not rely on these numbers");
    let run = |words: &[&str]| {
        let run = Command::new(words).in_folder(&folder).run();
        assert_eq!(run.code, Some(1), "{words:?}: {}", run.stderr);
        run
    };
    for words in [vec!["info", &off], vec!["info", &off, "--json"], vec!["export", &off, "-o", "off.csv"]] {
        assert_eq!(run(&words).fails(1), said, "{words:?}");
    }
    assert!(run(&["info", &off]).stdout.contains(&format!("FAILED in encoder layer 0, 1 head: {fault}")));
    let table = run(&[&off]);
    assert_eq!(table.fails(1), said);
    let plain = table.stdout.replace('\n', " ");
    assert!(plain.contains("Not sound: the recording fails its checks in encoder L0H1"), "{}", table.stdout);
    assert!(plain.contains("this map fails its checks"), "{}", table.stdout);
    assert!(fs::read_to_string(folder.path().join("atlas.html")).expect("a page").contains(&said));
    let picture = |words: &[&str], named: &str| {
        let words: Vec<&str> = ["draw"].iter().chain(words).chain(&["-o", "off.svg"]).copied().collect();
        assert_eq!(run(&words).fails(1), format!("{named} fails its checks, and the picture says so: {fault}"));
        let svg = fs::read_to_string(folder.path().join("off.svg")).expect("a picture");
        assert!(svg.contains("this map fails its checks"), "{words:?}");
    };
    picture(&["map", &off, "--head", "1"], "encoder L0H1");
    picture(&["map", &off], "encoder L0, mean of 2 heads");
    picture(&["heads", &off], "encoder L0H1");
    picture(&["overview", &off], "encoder L0H1");
    assert_eq!(files(&folder), ["atlas.html", "off.csv", "off.safetensors", "off.svg"]);

    // what is sound in it is shown as sound
    Command::new(["draw", "map", &off, "--head", "0", "-o", "a.svg"]).in_folder(&folder).run().succeeds();
    Command::new(["export", &off, "--head", "0", "-o", "a.csv"]).in_folder(&folder).run().succeeds();
}

#[test]
fn what_cannot_be_printed_exits_with_4() {
    let folder = folder();
    let (_kept, recorded) = recording("A red apple.");
    let recorded = _kept.path().join(recorded).display().to_string();
    for words in [
        vec!["help"],
        vec!["--help"],
        vec!["--version"],
        vec!["help", "draw", "map"],
        vec!["draw", "map", "--help"],
        vec!["models"],
        vec!["man"],
        vec!["completions", "bash"],
        vec!["tokens", "A red apple."],
        vec!["heads", "--measures"],
        vec!["info", &recorded],
        vec!["draw", "map", &recorded, "-o", "a.svg"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").expect("it opens");
        let run = Command::new(&words).in_folder(&folder).run_into(full);
        let message = run.fails(4);
        assert!(message.starts_with("standard output: could not be written: No space left"), "{words:?}: {message}");
        Command::new(&words).in_folder(&folder).closed_stdout().run().succeeds(); // nobody reads on: no fault
    }
}

#[test]
fn a_file_over_the_systems_limit_is_an_output_that_cannot_be_written() {
    let folder = folder();
    let off = one_row_off(&folder, 100, 1.0);
    let attlas = env!("CARGO_BIN_EXE_attlas");
    let call = format!("ulimit -f 8; exec {attlas} export {off} -o big.csv");
    let output = std::process::Command::new("sh").args(["-c", &call]).current_dir(folder.path()).output();
    let output = output.expect("a shell");
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(message.starts_with("attlas: big.csv: could not be written: File too large"), "{message}");
    assert_eq!(files(&folder), [off]);
}

#[test]
fn a_signal_takes_the_half_written_file_away_and_what_a_kill_left_is_swept() {
    let folder = folder();
    let off = one_row_off(&folder, 1500, 1.0);
    let is_aside = |name: &String| name.starts_with(".attlas-") && name.ends_with(".tmp");
    let asides = || files(&folder).into_iter().filter(is_aside).count();
    for (signal, left) in [("INT", 0), ("TERM", 0), ("KILL", 1)] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_attlas"))
            .args(["export", &off, "-o", "big.csv"])
            .current_dir(folder.path())
            .spawn()
            .expect("the command starts");
        let began = std::time::Instant::now();
        let is_written = || files(&folder).iter().any(|name| is_aside(name) && size(&folder, name) > 1 << 16);
        while !is_written() && began.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let kill = format!("kill -{signal} {}", child.id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), None, "it ends by the signal, as a shell expects");
        assert_eq!(asides(), left, "{signal}");
        assert!(!folder.path().join("big.csv").exists());
    }
    Command::new(["export", &off, "--rows", "0:2", "-o", "small.csv"]).in_folder(&folder).run().succeeds();
    assert_eq!(asides(), 0);
}

fn size(folder: &tempfile::TempDir, name: &str) -> u64 {
    fs::metadata(folder.path().join(name)).map_or(0, |about| about.len())
}
