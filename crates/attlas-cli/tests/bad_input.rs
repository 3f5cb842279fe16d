//! Everything that can be wrong: one sentence that names it, the exit code of its sort, and nothing half-written.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{Command, bytes, folder, recording};
use safetensors::tensor::{Dtype, TensorView};
use tempfile::TempDir;

#[test]
fn an_empty_or_blank_text_is_refused() {
    for text in ["", "  \t \n"] {
        let run = Command::new([text, "--no-page"]).run();
        assert_eq!(run.fails(3), "TEXT is empty; attention needs at least one word");
    }
    let run = Command::new(["-", "--no-page"]).stdin(b"\n").run();
    assert_eq!(run.fails(3), "standard input is empty; attention needs at least one word");
}

#[test]
fn a_text_that_is_not_utf8_is_refused_with_the_byte() {
    let run = Command::new([bytes(b"caf\xe9"), "--no-page".into()]).run();
    assert!(run.fails(3).starts_with("TEXT is not UTF-8: byte 3 is 0xe9"));
    let run = Command::new(["-", "--no-page"]).stdin(b"\xff\xfe").run();
    assert!(run.fails(3).starts_with("standard input is not UTF-8: byte 0 is 0xff"));
}

#[test]
fn a_target_that_cannot_be_read_is_named() {
    let run = Command::new(["A red apple.".into(), "--no-page".into(), "--target".into(), bytes(b"pomm\xe9")]).run();
    assert!(run.fails(3).starts_with("--target is not UTF-8: byte 4 is 0xe9"));
    let run = Command::new(["A red apple.", "--no-page", "--target", " "]).run();
    assert_eq!(run.fails(3), "--target is empty; attention needs at least one word");
    let words = ["record", "I am here.", "A red apple.", "--target", "Je suis ici.", "-o", "a.safetensors"];
    assert_eq!(Command::new(words).run().fails(2), "1 target for 2 texts; give --target once for each text");
}

#[test]
fn wrong_usage_exits_with_2_and_says_how() {
    for words in [
        vec!["draw", "map", "A red apple."],
        vec!["draw", "poster", "A red apple.", "-o", "a.svg"],
        vec!["record", "-o", "a.safetensors"],
        vec!["draw", "map", "a", "-o", "a.svg", "--scale", "cubic"],
        vec!["draw", "map", "a", "-o", "a.svg", "--size", "1"],
        vec!["draw", "map", "a", "-o", "a.svg", "--colormap", "jet"],
        vec!["export", "run.safetensors", "-o", "a.npz", "--rows", "8:3"],
        vec!["tokens", "a", "--threads", "0"],
        vec!["record", "a", "--source-ids", "1", "-o", "a.safetensors"],
        vec!["two", "texts"],
        vec![],
    ] {
        let folder = folder();
        let run = Command::new(&words).in_folder(&folder).run();
        assert_eq!(run.code, Some(2), "{words:?}: {}", run.stderr);
        assert!(
            run.stderr.contains("Usage") || run.fails(2).ends_with(" --help explains"),
            "{words:?}: {}",
            run.stderr
        );
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0, "{words:?}");
    }
}

#[test]
fn a_format_that_does_not_exist_is_refused_before_anything_runs() {
    let (folder, run) = recording("A red apple.");
    let drawn = Command::new(["draw", "map", &run, "-o", "a.jpg"]).in_folder(&folder).run();
    assert_eq!(drawn.fails(2), "-o a.jpg: pictures are .svg, .pdf or .png files");
    let exported = Command::new(["export", &run, "-o", "a.mat"]).in_folder(&folder).run();
    assert!(exported.fails(2).contains(".npz, .safetensors, .csv or .json"));
}

#[test]
fn a_layer_or_head_out_of_range_names_those_there_are() {
    let (folder, run) = recording("A red apple.");
    let fails = |words: &[&str]| {
        let mut all = vec!["draw"];
        all.extend(words);
        all.extend(["-o", "a.svg"]);
        Command::new(all).in_folder(&folder).run().fails(2).to_owned()
    };
    assert_eq!(fails(&["map", &run, "--layer", "9"]), "there is no cross layer 9; there are 0 to 2");
    assert_eq!(
        fails(&["map", &run, "--kind", "encoder", "--layer", "1", "--head", "8"]),
        "encoder layer 1 has no head 8; its heads are 0 to 7"
    );
    assert_eq!(fails(&["layers", &run, "--head", "99"]), "cross layer 0 has no head 99; its heads are 0 to 7");
    assert_eq!(fails(&["map", &run, "--text", "4"]), "there is no text 4; the recording has 1 (counted from 0)");
    let huge = usize::MAX.to_string();
    assert!(fails(&["map", &run, "--head", &huge]).ends_with("has no head 18446744073709551615; its heads are 0 to 7"));
    let exported = Command::new(["export", &run, "--head", &huge, "-o", "a.npz"]).in_folder(&folder).run();
    assert!(exported.fails(2).ends_with("has no head 18446744073709551615; its heads are 0 to 7"));
    let exported =
        Command::new(["export", &run, "--rows", &format!("{huge}:"), "-o", "a.npz"]).in_folder(&folder).run();
    assert!(exported.fails(2).contains("rows 18446744073709551615:"), "{}", exported.stderr);
    let exported = Command::new(["export", &run, "--layer", "9", "-o", "a.npz"]).in_folder(&folder).run();
    assert!(exported.fails(2).contains("layer 9"));
    let exported = Command::new(["export", &run, "--rows", "0:999", "-o", "a.npz"]).in_folder(&folder).run();
    assert!(exported.fails(2).contains("rows 0:999 are outside"));
}

#[test]
fn a_missing_or_wrong_recording_is_named() {
    let folder = folder();
    let missing = Command::new(["info", "missing.safetensors"]).in_folder(&folder).run();
    assert!(missing.fails(3).starts_with("missing.safetensors: No such file"));
    let missing = Command::new(["draw", "map", "missing.safetensors", "-o", "a.svg"]).in_folder(&folder).run();
    assert!(missing.fails(3).starts_with("missing.safetensors: No such file"));
    fs::write(folder.path().join("text.safetensors"), "not a tensor in sight").expect("written");
    assert!(
        Command::new(["info", "text.safetensors"]).in_folder(&folder).run().fails(3).starts_with("text.safetensors: ")
    );
    fs::write(folder.path().join("empty.safetensors"), "").expect("written");
    assert!(
        Command::new(["info", "empty.safetensors"])
            .in_folder(&folder)
            .run()
            .fails(3)
            .starts_with("empty.safetensors: ")
    );
    let weights = file_of(&folder, "weights.safetensors", &[("w", vec![2, 2], vec![0.5; 4])]);
    assert!(Command::new(["info", &weights]).in_folder(&folder).run().fails(3).contains("no attlas recording"));
    assert!(Command::new(["info", "."]).in_folder(&folder).run().fails(3).starts_with(".: "));
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, run) = recording("A red apple.");
    let path = folder.path().join(&run);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("set");
    if fs::File::open(&path).is_ok() {
        return; // a superuser reads everything
    }
    let info = Command::new(["info", &run]).in_folder(&folder).run();
    assert!(info.fails(3).starts_with("run.safetensors: Permission denied"));
}

#[test]
fn a_recording_whose_metadata_are_damaged_or_contradict_the_arrays_is_refused_by_field() {
    let (folder, run) = recording("A red apple.");
    let path = folder.path().join(&run);
    let whole = fs::read(&path).expect("the recording is there");
    let with = |from: &str, to: &str| {
        let length = u64::from_le_bytes(whole[..8].try_into().expect("8 bytes")) as usize;
        let header = std::str::from_utf8(&whole[8..8 + length]).expect("JSON");
        assert!(header.contains(from), "{from} stands in the header");
        let header = header.replacen(from, to, 1);
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &whole[8 + length..]].concat();
        fs::write(&path, file).expect("written");
        Command::new(["info", &run]).in_folder(&folder).run().fails(3).to_owned()
    };
    let said = with("\\\"n_heads\\\":8", "\\\"n_heads\\\":7");
    assert!(said.contains("tensor \"encoder.0.queries\" is f32 [1, 8,"), "{said}");
    let said = with("\\\"query_offset\\\":0", "\\\"query_offset\\\":18446744073709551615");
    assert!(said.starts_with("run.safetensors: encoder layer 0: query_offset is 18446744073709551615"), "{said}");
    let said = with("\\\"query_offset\\\":0", "\\\"query_offset\\\":-1");
    assert!(said.starts_with("run.safetensors: the recording's metadata is damaged: "), "{said}");
    let said = with("\\\"index\\\":0", "\\\"index\\\":9");
    assert!(said.contains("tensor \"encoder.9.queries\" is missing"), "{said}");
    let said = with("\\\"items\\\":[{", "\\\"items\\\":[7,{");
    assert!(said.contains("the recording's metadata is damaged"), "{said}");
}

#[test]
fn a_header_that_lies_about_its_size_is_refused_at_once() {
    let folder = folder();
    let mut file = u64::MAX.to_le_bytes().to_vec();
    file.extend(b"{}");
    fs::write(folder.path().join("huge.safetensors"), file).expect("written");
    assert!(
        Command::new(["info", "huge.safetensors"]).in_folder(&folder).run().fails(3).starts_with("huge.safetensors: ")
    );
}

#[test]
fn a_cut_recording_is_refused() {
    let (folder, run) = recording("A red apple.");
    let path = folder.path().join(&run);
    let whole = fs::read(&path).expect("the recording is there");
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).expect("written");
        assert!(
            Command::new(["info", &run]).in_folder(&folder).run().fails(3).starts_with("run.safetensors: "),
            "{length}"
        );
    }
}

#[test]
fn a_newer_format_is_refused_with_a_clear_sentence() {
    let (folder, run) = recording("A red apple.");
    let path = folder.path().join(&run);
    let mut file = fs::read(&path).expect("the recording is there");
    let needle = b"\\\"version\\\":2,";
    let at = file.windows(needle.len()).position(|window| window == needle).expect("the version is in the header");
    file[at + needle.len() - 2] = b'9';
    fs::write(&path, file).expect("written");
    let info = Command::new(["info", &run]).in_folder(&folder).run();
    assert!(info.fails(3).contains("format version 9, newer than the 2 that this attlas reads"));
}

#[test]
fn a_folder_that_is_no_model_is_named() {
    let folder = folder();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).expect("made");
    let load = |model: &str| {
        let run = Command::new(["A red apple.", "--no-page", "--model", model]).in_folder(&folder).run();
        run.fails(3).to_owned()
    };
    assert!(load("empty").contains("config.json"));
    assert!(load("nowhere").starts_with("nowhere: "));
    fs::write(empty.join("config.json"), "{\"model_type\": \"perceptron\"}").expect("written");
    assert!(load("empty").starts_with("empty"));
    fs::write(empty.join("config.json"), "{").expect("written");
    assert!(load("empty").contains("config.json"));
}

#[test]
fn a_model_option_on_a_recording_is_wrong_usage() {
    let (folder, run) = recording("A red apple.");
    let drawn = Command::new(["draw", "map", &run, "--target", "Une pomme.", "-o", "a.svg"]).in_folder(&folder).run();
    assert_eq!(drawn.fails(2), "--target is for running a model on a text, but run.safetensors is a recording");
}

#[test]
fn ids_out_of_range_are_named() {
    let folder = folder();
    let words = ["record", "--source-ids", "10,999999", "--target-ids", "1", "-o", "a.safetensors"];
    let run = Command::new(words).in_folder(&folder).run();
    assert!(run.fails(3).contains("999999"));
    assert!(Command::new(["record", "--source-ids", "10,-1", "-o", "a.safetensors"]).run().code == Some(2));
    let words = ["record", "--source-ids", "1", "--source-ids", "2", "--target-ids", "1", "-o", "a.safetensors"];
    assert!(Command::new(words).in_folder(&folder).run().fails(2).contains("give both once for each item"));
}

#[test]
fn a_text_or_target_longer_than_the_model_says_how_long_it_may_be() {
    let long = "word ".repeat(6000);
    let source = Command::new(["-", "--no-page"]).stdin(long.as_bytes()).run();
    assert!(source.fails(3).contains("source tokens, but") && source.stderr.contains("positions for 512"));
    let target = Command::new(["A red apple.", "--no-page", "--target", &"pomme ".repeat(600)]).run();
    assert!(target.fails(3).contains("target tokens, but") && target.stderr.contains("positions for 512"));
}

#[test]
fn output_that_cannot_be_written_exits_with_4_and_leaves_nothing() {
    let (folder, run) = recording("A red apple.");
    fs::write(folder.path().join("file"), "in the way").expect("written");
    fs::create_dir(folder.path().join("folder.svg")).expect("made");
    for output in ["nowhere/a.svg", "file/a.svg", "folder.svg", "/proc/a.svg"] {
        let drawn = Command::new(["draw", "map", &run, "-o", output]).in_folder(&folder).run();
        assert!(drawn.fails(4).starts_with(&format!("{output}: could not be written")), "{}", drawn.stderr);
    }
    let page = Command::new(["A red apple.", "-o", "nowhere/atlas.html"]).in_folder(&folder).run();
    assert!(page.fails(4).starts_with("nowhere/atlas.html: could not be written"));
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).expect("readable").map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["file", "folder.svg", "run.safetensors"]);
}

#[test]
fn a_full_disk_under_standard_output_exits_with_4() {
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let run = Command::new(["tokens", "The cat sat."]).run_into(full);
    assert!(run.fails(4).starts_with("standard output: could not be written"));
}

#[test]
fn a_failed_drawing_leaves_the_old_picture() {
    let (folder, run) = recording("A red apple.");
    fs::write(folder.path().join("a.svg"), "old").expect("written");
    Command::new(["draw", "map", &run, "--layer", "9", "-o", "a.svg"]).in_folder(&folder).run().fails(2);
    assert_eq!(fs::read(folder.path().join("a.svg")).expect("still there"), b"old");
}

#[test]
fn limits_exit_with_5_and_name_their_option() {
    let (folder, run) = recording("A red apple.");
    let exported = Command::new(["export", &run, "--max-bytes", "10", "-o", "a.npz"]).in_folder(&folder).run();
    assert!(exported.fails(5).contains("--max-bytes"));
    let page = Command::new(["A red apple.", "--max-page-mb", "0"]).in_folder(&folder).run();
    assert!(page.fails(5).contains("--max-page-mb"));
    assert!(!folder.path().join("atlas.html").exists());
}

#[test]
fn imported_weights_that_are_none_are_named_with_layer_head_row_and_value() {
    let folder = folder();
    let good = [0.5, 0.5, 0.25, 0.75];
    let import = |weights: [f32; 4], more: &[&str]| {
        let maps = file_of(&folder, "maps.safetensors", &[("encoder", vec![1, 1, 2, 2], weights.to_vec())]);
        let mut words = vec!["import", &maps, "-o", "run.safetensors"];
        words.extend(more);
        Command::new(words).in_folder(&folder).run()
    };
    import(good, &["--source-tokens", "a b"]).succeeds();
    fs::remove_file(folder.path().join("run.safetensors")).expect("removed");

    let high = import([0.5, 0.5, 0.75, 0.75], &[]);
    assert!(
        high.fails(3)
            .starts_with("maps.safetensors: encoder L0H0 (layer 0, head 0), text 0, row 1: the row sums to 1.5")
    );
    let negative = import([0.5, 0.5, -0.25, 0.75], &[]);
    assert!(negative.fails(3).contains("row 1, column 0: the weight is -0.25"));
    let missing = import([0.5, f32::NAN, 0.25, 0.75], &[]);
    assert!(missing.fails(3).contains("row 0, column 1: the weight is NaN"));
    let labels = import(good, &["--source-tokens", "a b c"]);
    assert!(labels.fails(3).contains("3"));
    assert!(!folder.path().join("run.safetensors").exists());

    let allowed = import([0.5, 0.5, 0.75, 0.75], &["--allow-unnormalised"]);
    assert!(allowed.succeeds().stderr.contains("not normalised"));
    let drawn = Command::new(["draw", "map", "run.safetensors", "-o", "a.svg"]).in_folder(&folder).run();
    assert!(drawn.fails(1).contains("row sums off by up to 0.5"), "{}", drawn.stderr);
    assert!(fs::read_to_string(folder.path().join("a.svg")).expect("drawn").contains("not normalised"));
}

#[test]
fn an_array_of_unknown_kind_asks_for_it() {
    let folder = folder();
    let maps = file_of(&folder, "maps.safetensors", &[("head", vec![2, 2], vec![0.5; 4])]);
    let run = Command::new(["import", &maps, "-o", "run.safetensors"]).in_folder(&folder).run();
    assert!(run.fails(3).contains("array \"head\""));
}

#[test]
fn arrays_that_cannot_be_read_are_named_with_what_was_found() {
    let folder = folder();
    let import = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).expect("written");
        let run = Command::new(["import", name, "-o", "run.safetensors"]).in_folder(&folder).run();
        assert!(!folder.path().join("run.safetensors").exists());
        run.fails(3).to_owned()
    };
    let npy =
        |header: &str| [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat();
    assert!(import("maps.txt", b"1 2 3").starts_with("maps.txt: arrays are read from .npy, .npz and .safetensors"));
    assert!(import("maps.npz", b"no archive").starts_with("maps.npz: not an .npz archive"));
    assert!(import("maps.npy", b"no array").starts_with("maps.npy: not a .npy file"));
    let pickle = import("pickle.npy", &npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"));
    assert!(pickle.contains("Python objects (a pickle) is not read"), "{pickle}");
    let short = import("short.npy", &npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"));
    assert_eq!(short, "short.npy: shape [2, 2] needs 4 elements of 4 bytes, but only 0 are there");
    let huge = import("huge.npy", &npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 9), }"));
    assert!(huge.contains("has more elements than any array can") || huge.contains("needs 899999999991"), "{huge}");
    let missing = Command::new(["import", "missing.npz", "-o", "run.safetensors"]).in_folder(&folder).run();
    assert!(missing.fails(3).starts_with("missing.npz: No such file"));
}

#[test]
fn arrays_of_a_wrong_shape_are_named_with_it() {
    let folder = folder();
    let import = |shape: Vec<usize>, more: &[&str]| {
        let n = shape.iter().product::<usize>();
        let maps = file_of(&folder, "maps.safetensors", &[("encoder", shape, vec![0.25; n])]);
        let mut words = vec!["import", &maps, "-o", "run.safetensors"];
        words.extend(more);
        Command::new(words).in_folder(&folder).run().fails(3).to_owned()
    };
    let six = import(vec![1, 1, 1, 1, 2, 2], &[]);
    assert_eq!(six, "maps.safetensors: array \"encoder\": shape [1, 1, 1, 1, 2, 2] has 6 axes, 2 to 5 were expected");
    let none = import(vec![1, 1, 0, 2], &[]);
    assert_eq!(none, "maps.safetensors: array \"encoder\": shape [1, 1, 0, 2] has no weight");
    let uneven = import(vec![1, 1, 2, 4], &["--source-tokens", "a b c d"]);
    assert!(uneven.contains("encoder layer 0: the map has 2 queries but text 0 has 4 tokens there"), "{uneven}");
}

#[test]
fn what_an_option_makes_impossible_is_said() {
    let folder = folder();
    let maps = file_of(&folder, "maps.safetensors", &[("encoder", vec![1, 1, 2, 2], vec![0.5; 4])]);
    Command::new(["import", &maps, "-o", "run.safetensors"]).in_folder(&folder).run().succeeds();
    let fails = |words: &[&str], code: i32| Command::new(words).in_folder(&folder).run().fails(code).to_owned();
    assert_eq!(
        fails(&["draw", "map", "run.safetensors", "--kind", "cross", "-o", "a.svg"], 2),
        "the recording has no cross attention; it has encoder"
    );
    assert_eq!(
        fails(&["export", "run.safetensors", "--kind", "decoder", "-o", "a.npz"], 2),
        "the recording has no decoder attention; it has encoder"
    );
    assert_eq!(
        fails(&["heads", "run.safetensors", "--text", "3"], 2),
        "there is no text 3; the recording has 1 (counted from 0)"
    );
    let large = fails(&["draw", "map", "run.safetensors", "--size", "5000", "-o", "a.png"], 5);
    assert!(large.contains("more than the limit of 300000000") && large.contains("--width"), "{large}");
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 2);
}

#[test]
fn hostile_tokens_stay_text_in_every_output() {
    let folder = folder();
    let maps = file_of(&folder, "maps.safetensors", &[("encoder", vec![1, 1, 2, 2], vec![0.5; 4])]);
    let tokens = r#"["</script><script>alert(1)</script>", "\u001b[31m\u0000\u202e"]"#;
    let words = ["import", &maps, "--source-tokens", tokens, "-o", "run.safetensors"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let info = Command::new(["info", "run.safetensors"]).in_folder(&folder).run();
    assert!(!info.succeeds().stdout.contains(['\x1b', '\0', '\u{202e}']));
    for name in ["a.svg", "a.pdf", "a.png"] {
        Command::new(["draw", "map", "run.safetensors", "-o", name]).in_folder(&folder).run().succeeds();
    }
    let svg = fs::read_to_string(folder.path().join("a.svg")).expect("drawn");
    assert!(!svg.contains("<script") && !svg.contains(['\x1b', '\0']));
}

#[test]
fn an_output_that_is_an_input_is_refused_in_every_command_also_through_links() {
    let (folder, run) = recording("A red apple.");
    let place = |name: &str| folder.path().join(name);
    fs::hard_link(place(&run), place("hard.safetensors")).expect("a link");
    std::os::unix::fs::symlink(&run, place("soft.safetensors")).expect("a link");
    fs::copy(place(&run), place("photo.png")).expect("a copy");
    fs::create_dir(place("model")).expect("a folder");
    for name in ["model/model.safetensors", "model/config.json", "train.tsv", "maps.npz", "out/model.safetensors"] {
        fs::create_dir_all(place(name).parent().expect("a folder")).expect("a folder");
        fs::write(place(name), b"input").expect("a file");
    }
    fs::hard_link(place("train.tsv"), place("out/log.jsonl")).expect("a link");
    let before = |name: &str| fs::read(place(name)).expect("the input is there");
    let train = ["train", "--pairs", "train.tsv", "--valid", "train.tsv", "-o", "out"];
    let init = ["train", "--pairs", "maps.npz", "--valid", "maps.npz", "--init", "out/model.safetensors", "-o", "out"];
    let calls: [(&str, &[&str]); 13] = [
        (&run, &["export", &run, "-o", &run]),
        (&run, &["export", &run, "-o", "./hard.safetensors"]),
        (&run, &["export", &run, "-o", "soft.safetensors"]),
        (&run, &["export", "soft.safetensors", "-o", &run]),
        ("maps.npz", &["import", "maps.npz", "-o", "maps.npz"]),
        (&run, &[&run, "-o", &run]),
        ("photo.png", &["draw", "map", "photo.png", "-o", "photo.png"]),
        ("photo.png", &["draw", "patches", &run, "--image", "photo.png", "-o", "photo.png"]),
        ("photo.png", &["record", "photo.png", "--model", "model", "-o", "photo.png"]),
        ("model/model.safetensors", &["record", "a", "--model", "model", "-o", "model/model.safetensors"]),
        ("model/config.json", &["a", "--model", "model", "-o", "model/config.json"]),
        ("train.tsv", &train),
        ("out/model.safetensors", &init),
    ];
    for (input, words) in calls {
        let bytes = before(input);
        let finished = Command::new(words).in_folder(&folder).run();
        let message = finished.fails(2);
        assert!(message.ends_with("which would be lost; give the result another name"), "{words:?}: {message}");
        assert!(before(input) == bytes, "{words:?} changed {input}");
    }
    // a result that is written again is no input
    for _ in 0..2 {
        Command::new(["export", &run, "-o", "again.npz"]).in_folder(&folder).run().succeeds();
    }
}

#[test]
fn json_has_no_raw_control_that_a_terminal_could_obey() {
    let folder = folder();
    let text = "a\u{9b}31m \u{7f} \u{202e}b \u{2066}c";
    Command::new(["record", text, "-o", "run.safetensors"]).in_folder(&folder).run().succeeds();
    for words in [&["info", "run.safetensors", "--json"][..], &["tokens", text, "--json"]] {
        let run = Command::new(words).in_folder(&folder).run();
        let bad = |character: char| {
            character != '\n' && character.is_control() || ('\u{202a}'..='\u{2069}').contains(&character)
        };
        assert!(!run.succeeds().stdout.contains(bad), "{:?}", run.stdout);
        serde_json::from_str::<serde_json::Value>(&run.stdout).expect("it is JSON");
    }
    let run = Command::new(["tokens", text, "--json"]).in_folder(&folder).run();
    assert!(run.stdout.contains("\\u009b"), "{}", run.stdout);
}

#[test]
fn where_no_thread_is_to_be_had_one_computes_and_absurd_numbers_are_held_to_the_limit() {
    let folder = folder();
    let call = || Command::new(["A red apple.", "--no-page"]).in_folder(&folder);
    let usual = call().run();
    // a stack that no address space holds: the system refuses every further thread
    let alone = call().variable("RUST_MIN_STACK", &(1u64 << 50).to_string()).run();
    let absurd = call().variable("RAYON_NUM_THREADS", "100000").run();
    for run in [&alone, &absurd] {
        assert_eq!(run.succeeds().stdout, usual.succeeds().stdout);
    }
}

/// A safetensors file of `f32` tensors; its name.
fn file_of(folder: &TempDir, name: &str, tensors: &[(&str, Vec<usize>, Vec<f32>)]) -> String {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views: BTreeMap<&str, TensorView<'_>> = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), data)| (*name, TensorView::new(Dtype::F32, shape.clone(), data).expect("it fits")))
        .collect();
    let file = safetensors::serialize(views, None).expect("it serialises");
    fs::write(folder.path().join(name), file).expect("written");
    name.to_owned()
}

#[test]
fn a_wrong_call_is_told_in_a_sentence_with_what_was_found_expected_and_where_it_is_explained() {
    let map = |more: &[&str]| {
        let words: Vec<&str> = ["draw", "map", "a", "-o", "a.svg"].iter().chain(more).copied().collect();
        let message = Command::new(words).run().fails(2).to_owned();
        message.strip_suffix("; attlas draw map --help explains").expect("where it is explained").to_owned()
    };
    assert_eq!(map(&["--hed", "1"]), "there is no option --hed; did you mean --head?");
    assert_eq!(map(&["--frobnicate"]), "there is no option --frobnicate");
    assert_eq!(map(&["b"]), "\"b\" is one word too many; a text of several words stands in quotes");
    assert_eq!(map(&["--scale", "cubic"]), "--scale <SCALE>: \"cubic\" was given, linear, log or row was expected");
    assert_eq!(
        map(&["--width", "1"]),
        "--width <WIDTH>: \"1\" was given; a width such as 8cm, 80mm, 3.5in or 227pt was expected, from 160 to 5000 points \
         (5.65 to 176 cm)"
    );
    assert_eq!(map(&["--layer", "-1"]), "--layer: \"-1\" was given; a number, 0 or larger, was expected");
    assert_eq!(map(&["--layer=-1"]), "--layer <N>: \"-1\" was given; a whole number, 0 or larger, was expected");
    assert_eq!(
        map(&["--layer", "99999999999999999999"]),
        "--layer <N>: \"99999999999999999999\" was given; the number is too large"
    );
    assert_eq!(map(&["--layer"]), "--layer <N>: a value is missing after it");
    assert_eq!(map(&["--words=yes"]), "--words: \"yes\" was given, but it takes no value");
    assert_eq!(map(&["--layer", "1", "--layer", "2"]), "--layer <N> was given twice; it is taken once");
    assert_eq!(
        map(&["--beam", "2", "--target", "b"]),
        "--beam <N> does not go together with --target <TEXT>; leave one of them out"
    );
    let fails = |words: &[&str]| Command::new(words).run().fails(2).to_owned();
    assert_eq!(fails(&["draw", "map", "a"]), "--output <FILE> is missing; attlas draw map --help explains");
    assert_eq!(
        fails(&["train"]),
        "--pairs <TSV> and --valid <TSV> and --output <FOLDER> are missing; attlas train --help explains"
    );
    assert_eq!(
        fails(&["draw", "mpa", "a"]),
        "there is no \"mpa\"; there are map, lines, heads, layers, overview, patches, distance, received, contacts; attlas draw --help explains"
    );
    assert!(
        fails(&["draw", "The cat sat.", "map"])
            .starts_with("there is no \"The cat sat.\"; there are map, lines, heads, ")
    );
    assert!(fails(&["draw", "draw"]).starts_with("there is no \"draw\"; there are map, lines, heads, "));
    assert_eq!(
        fails(&["circuits", "The cat sat."]),
        "\"The cat sat.\" is one text too many; attlas circuits --help explains"
    );
    assert!(fails(&["modles"]).starts_with("there is no command \"modles\"; did you mean \"models\"?"));
}

#[test]
fn an_output_that_has_no_place_is_refused_before_anything_runs() {
    let (folder, run) = recording("A red apple.");
    fs::write(folder.path().join("file"), "").expect("written");
    for words in [
        vec!["draw", "map", &run, "-o", "nowhere/a.svg"],
        vec!["export", &run, "-o", "nowhere/a.svg.csv"],
        vec!["record", "A red apple.", "-o", "nowhere/a.safetensors"],
        vec!["A red apple.", "-o", "nowhere/a.html"],
        vec!["film", "none", "A red apple.", "-o", "nowhere/a.html"],
    ] {
        let finished = Command::new(&words).in_folder(&folder).run();
        let message = finished.fails(4);
        assert!(
            message.ends_with(": could not be written: the folder nowhere does not exist; make it first"),
            "{message}"
        );
    }
    let inside = Command::new(["draw", "map", &run, "-o", "file/a.svg"]).in_folder(&folder).run();
    assert_eq!(inside.fails(4), "file/a.svg: could not be written: file is a file, not a folder");
    let odd =
        Command::new([b"draw", &b"map"[..], run.as_bytes(), b"-o", b"n\xe9/a.svg"].map(bytes)).in_folder(&folder).run();
    assert!(odd.fails(4).contains("the folder n\u{fffd} does not exist"), "{}", odd.stderr);
    fs::create_dir(folder.path().join(bytes(b"n\xe9"))).expect("a folder");
    Command::new([b"draw", &b"map"[..], run.as_bytes(), b"-o", b"n\xe9/a.svg"].map(bytes))
        .in_folder(&folder)
        .run()
        .succeeds();
}
