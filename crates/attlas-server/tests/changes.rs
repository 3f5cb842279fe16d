//! What happens while recordings are served: files that are replaced, cut short, added; runs; the end.

mod common;

use std::fs::{self, File};
use std::time::{Duration, Instant};

use attlas::Recording;
use attlas_server::{Choice, Load, RunAsk, models_in};
use common::{Served, Setup, decoder, embedded, path, serve};

const TILE: &str = "/api/recordings/f0/tile?item=0&kind=decoder&layer=0&head=0&height=9&width=9";

#[test]
fn a_recording_that_is_replaced_is_said_to_be_and_shown_again_when_it_is_opened_anew() {
    let served = serve(vec![("run.safetensors", decoder(9, 4, 1))]);
    let before = served.get(TILE).tile();
    let other = path(&served, "other");
    decoder(9, 4, 77).save(&other).unwrap();
    fs::rename(&other, path(&served, "run.safetensors")).unwrap();
    for question in [TILE, "/api/recordings/f0", "/api/recordings/f0/file"] {
        let answer = served.get(question);
        assert_eq!((answer.status, answer.code().as_str()), (410, "changed"), "{question}");
        assert!(answer.message().starts_with("run.safetensors was replaced or changed"), "{}", answer.message());
    }
    assert_eq!(served.post("/api/recordings/f0/reopen", "").status, 200);
    assert_ne!(served.get(TILE).tile(), before, "the new file's numbers");
}

#[test]
fn many_who_ask_for_a_recording_that_nobody_opened_yet_are_all_answered() {
    let served = serve(vec![("run.safetensors", decoder(120, 16, 1))]);
    std::thread::scope(|scope| {
        let asks: Vec<_> = (0..12).map(|_| scope.spawn(|| served.get("/api/recordings/f0"))).collect();
        let answers: Vec<_> = asks.into_iter().map(|ask| ask.join().unwrap()).collect();
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body));
    });
    assert_eq!(served.get(TILE).status, 200);
}

#[test]
fn a_recording_that_is_cut_short_is_a_message_and_the_server_goes_on() {
    let served = serve(vec![("run.safetensors", decoder(9, 4, 1)), ("other.safetensors", decoder(9, 4, 2))]);
    assert_eq!(served.get("/api/recordings/f0").status, 200);
    let file = File::options().write(true).open(path(&served, "run.safetensors")).unwrap();
    file.set_len(file.metadata().unwrap().len() - 3000).unwrap();
    let answer = served.get(TILE);
    assert_eq!((answer.status, answer.code().as_str()), (410, "changed"), "{}", answer.text());
    let answer = served.post("/api/recordings/f0/reopen", "");
    assert_eq!((answer.status, answer.code().as_str()), (422, "unreadable"), "{}", answer.text());
    assert_eq!(served.get(&TILE.replace("f0", "f1")).status, 200, "other recordings are served");
}

#[test]
fn a_recording_that_is_removed_is_still_shown_while_it_is_open() {
    let served = serve(vec![("run.safetensors", decoder(9, 4, 1)), ("other.safetensors", decoder(9, 4, 2))]);
    assert_eq!(served.get("/api/recordings/f0").status, 200);
    for name in ["run.safetensors", "other.safetensors"] {
        fs::remove_file(path(&served, name)).unwrap();
    }
    assert_eq!(served.get(TILE).status, 200);
    let answer = served.get(&TILE.replace("f0", "f1"));
    assert_eq!(answer.status, 404);
    assert!(answer.message().contains("other.safetensors is not there any more"), "{}", answer.message());
}

#[test]
fn a_folder_gives_its_own_recordings_alone_and_new_ones_as_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str| decoder(9, 4, 3).save(&folder.path().join(name)).unwrap();
    fs::create_dir(folder.path().join("below")).unwrap();
    save("b.safetensors");
    save("a.safetensors");
    save("below/c.safetensors");
    fs::write(folder.path().join("secret.txt"), "secret").unwrap();
    let served = Setup { folders: vec![folder.path().to_owned()], ..Setup::default() }.serve();
    let names = || -> Vec<String> {
        let list = served.get("/api/recordings").json();
        list["recordings"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(), ["a.safetensors", "b.safetensors"]);
    save("0.safetensors");
    assert_eq!(names(), ["a.safetensors", "b.safetensors", "0.safetensors"], "what is known keeps its place");
    assert_eq!(served.get(&TILE.replace("f0", "f2")).status, 200);
    (0..1200).for_each(|file| fs::write(folder.path().join(format!("{file}.log")), "").unwrap());
    fs::write(folder.path().join("bad.safetensors"), "no recording").unwrap();
    assert_eq!(names().len(), 4, "other files take no places");
    let answer = served.get("/api/recordings/f3");
    assert_eq!((answer.status, answer.code().as_str()), (422, "unreadable"), "{}", answer.text());
    fs::remove_file(folder.path().join("a.safetensors")).unwrap();
    assert_eq!(names(), ["b.safetensors", "0.safetensors", "bad.safetensors"], "what is gone is not listed");
    assert_eq!(served.get(&TILE.replace("f0", "f2")).status, 200, "and others keep their ids");
}

#[test]
fn the_recording_itself_is_given_byte_by_byte() {
    let served = serve(vec![("run.safetensors", decoder(200, 16, 1))]);
    let bytes = fs::read(path(&served, "run.safetensors")).unwrap();
    let answer = served.get("/api/recordings/f0/file");
    assert_eq!(answer.body, bytes);
    let length = bytes.len().to_string();
    assert_eq!(answer.header("content-length"), Some(length.as_str()), "a part is not taken for the whole");
}

/// Waits until the last run is over; what became of it.
fn end_of_run(served: &Served) -> serde_json::Value {
    let began = Instant::now();
    loop {
        let phase = served.get("/api/run").json();
        if phase["state"] != "running" {
            return phase;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{phase}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_text_is_run_and_its_recording_is_that_of_the_model() {
    let served = Setup { models: vec![embedded()], ..Setup::default() }.serve();
    assert_eq!(served.get("/api/run").json()["state"], "idle");
    assert_eq!(served.get("/api/recordings").json()["models"][0], "embedded");
    let body = r#"{"text":"A red apple.","target":"Une pomme rouge."}"#;
    assert_eq!(served.post("/api/run", body).status, 200);
    let phase = end_of_run(&served);
    assert_eq!(phase["state"], "done", "{phase}");
    let id = phase["recording"].as_str().unwrap();
    let atlas = served.get(&format!("/api/recordings/{id}")).json();
    assert_eq!(atlas["items"][0]["source"]["text"], "A red apple.");
    assert!(!atlas["description"]["sentences"].as_array().unwrap().is_empty());
    let model = attlas_model::Model::embedded().unwrap();
    let input = model.input("A red apple.", Some("Une pomme rouge.")).unwrap();
    let run = model.run(&[input], &attlas_model::RunOptions::default()).unwrap();
    let weights = run.recording.map(0, attlas::Kind::Cross, 1, 3).unwrap().dense();
    let tile =
        served.get(&format!("/api/recordings/{id}/tile?item=0&kind=cross&layer=1&head=3&height=99&width=99")).tile();
    assert!(tile.values.iter().zip(&weights).all(|(a, b)| (a - b).abs() < 1e-6));
    let file = served.get(&format!("/api/recordings/{id}/file")).body;
    let memory: attlas::Memory = std::sync::Arc::new(file);
    assert_eq!(Recording::from_bytes(memory).unwrap().items, run.recording.items);
}

#[test]
fn the_sentences_of_a_text_are_run_one_by_one_where_the_model_reads_single_ones() {
    let served = Setup { models: vec![embedded()], ..Setup::default() }.serve();
    assert_eq!(served.post("/api/run", r#"{"text":"Good morning. Mr. Smith is here."}"#).status, 200);
    let phase = end_of_run(&served);
    let id = phase["recording"].as_str().unwrap_or_else(|| panic!("{phase}"));
    let atlas = served.get(&format!("/api/recordings/{id}")).json();
    let sources: Vec<&str> =
        atlas["items"].as_array().unwrap().iter().filter_map(|item| item["source"]["text"].as_str()).collect();
    assert_eq!(sources, ["Good morning.", "Mr. Smith is here."]);
    assert!(atlas["provenance"]["notes"].to_string().contains("sentence by sentence: 2 of them"), "{atlas}");
}

#[test]
fn a_second_run_is_refused_while_one_goes_on_and_one_that_is_stopped_ends() {
    let served = Setup { models: vec![embedded()], ..Setup::default() }.serve();
    let long = "The old man walked slowly to the sea. ".repeat(40);
    let body = serde_json::json!({ "text": long, "max_tokens": 1000 }).to_string();
    assert_eq!(served.post("/api/run", &body).status, 200);
    let second = served.post("/api/run", &body);
    assert_eq!((second.status, second.code().as_str()), (409, "run"), "{}", second.text());
    assert_eq!(served.ask("DELETE", "/api/run", &[], b"").status, 200);
    assert_eq!(end_of_run(&served)["state"], "stopped");
    let again = served.post("/api/run", r#"{"text":"A red apple."}"#);
    assert_eq!(again.status, 200, "and another begins");
    assert_eq!(end_of_run(&served)["state"], "done");
}

#[test]
fn runs_that_cannot_be_are_refused_or_fail_in_a_sentence_and_the_server_goes_on() {
    let choice = |name: &str, load: Load| Choice { name: name.into(), place: None, load };
    let gone = choice("gone", Box::new(|| Err("models/gone is not there any more".into())));
    let broken = choice("broken", Box::new(|| panic!("a fault")));
    let served = Setup { models: vec![embedded(), gone, broken], ..Setup::default() }.serve();
    for (body, status, says) in [
        (r#"{"text":"  "}"#, 400, "the text is empty"),
        (r#"{"text":"A","model":7}"#, 404, "there is no model 7"),
        (r#"{"text":"A","max_tokens":0}"#, 400, "0 tokens"),
        (r#"{"text":"A","path":"/etc/passwd"}"#, 400, "unknown field"),
        (r#"{"text":"#, 400, "cannot be read"),
    ] {
        let answer = served.post("/api/run", body);
        assert_eq!(answer.status, status, "{body} {}", answer.text());
        assert!(answer.message().contains(says), "{body} {}", answer.message());
    }
    let long = serde_json::json!({ "text": "x".repeat((1 << 20) + 1) }).to_string();
    let answer = served.post("/api/run", &long);
    assert_eq!((answer.status, answer.code().as_str()), (413, "limit"), "{}", answer.text());
    let long = serde_json::json!({ "text": "A", "target": "x".repeat((1 << 20) + 1) }).to_string();
    let answer = served.post("/api/run", &long);
    assert!(answer.status == 413 && answer.message().starts_with("the target has 1048577 bytes"), "{}", answer.text());
    let failed = |model: usize| {
        assert_eq!(served.post("/api/run", &format!(r#"{{"text":"A","model":{model}}}"#)).status, 200);
        let phase = end_of_run(&served);
        assert_eq!(phase["state"], "failed");
        phase["error"].as_str().unwrap().to_owned()
    };
    assert!(failed(1).contains("is not there any more"));
    assert!(failed(2).contains("the run broke off"));
    // the embedded translator reads 256 tokens
    let long = serde_json::json!({ "text": "cat ".repeat(5000) }).to_string();
    assert_eq!(served.post("/api/run", &long).status, 200);
    let phase = end_of_run(&served);
    assert_eq!(phase["state"], "failed", "{phase}");
    assert!(phase["error"].as_str().unwrap().contains("tokens"), "{phase}");
    assert_eq!(served.post("/api/run", r#"{"text":"A red apple."}"#).status, 200);
    assert_eq!(end_of_run(&served)["state"], "done");
}

#[test]
fn a_text_that_is_given_at_the_start_is_run_at_once() {
    let run = RunAsk { text: "A red apple.".into(), target: None, model: 0, max_tokens: None };
    let model = Choice { place: Some("models/tiny".into()), ..embedded() };
    let served = Setup { models: vec![model], run: Some(run), ..Setup::default() }.serve();
    assert_eq!(end_of_run(&served)["state"], "done");
    let listed = served.get("/api/recordings").json()["recordings"][0].clone();
    assert_eq!(listed["name"], "A red apple.");
    let id = listed["id"].as_str().unwrap();
    assert_eq!(served.get(&format!("/api/recordings/{id}")).json()["model_place"], "models/tiny", "for its commands");
}

#[test]
fn models_of_a_folder_are_its_folders_with_a_configuration_and_its_gguf_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b", "a", "other"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    for name in ["b/config.json", "a/config.json", "c.gguf", "config.json", "d.txt"] {
        fs::write(folder.path().join(name), "{}").unwrap();
    }
    let names: Vec<_> =
        models_in(folder.path()).unwrap().into_iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["a", "b", "c.gguf"]);
}

#[test]
fn the_end_comes_soon_also_while_a_run_goes_on_and_a_client_holds_its_connection() {
    let mut served = Setup { models: vec![embedded()], ..Setup::default() }.serve();
    let long = serde_json::json!({ "text": "The old man walked slowly to the sea. ".repeat(30) }).to_string();
    assert_eq!(served.post("/api/run", &long).status, 200);
    let _held = std::net::TcpStream::connect(served.address).unwrap();
    let took = served.end();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn an_address_that_is_taken_is_an_error_that_says_so() {
    let served = serve(Vec::new());
    let taken = std::net::TcpListener::bind(served.address).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    let settings = attlas_server::Settings {
        address: served.address,
        names: Vec::new(),
        files: Vec::new(),
        effects: None,
        folders: Vec::new(),
        models: Vec::new(),
        run: None,
        n_threads: 1,
        limits: attlas_server::Limits::default(),
    };
    let error = attlas_server::Server::bind(settings).err().unwrap().to_string();
    assert_eq!(error, format!("{}: another program listens there already", served.address));
}
