//! What the fuzz targets share: the input as a file, and everything that is asked of a recording.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use attlas::analysis::{measure_all, standouts, summarise};
use attlas::arrays::{self, ImportOptions};
use attlas::{Kind, Pooling, Recording};
use attlas_model::Model;

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// A temporary folder, in memory where the system has such a place.
pub fn memory_folder() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    tempfile::tempdir_in(parent).expect("a temporary folder")
}

/// The fixtures of the model crate's tests.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/attlas-model/tests/data").join(name)
}

/// A small model of `family` with this preprocessor_config.json.
pub fn model_that_reads(family: &str, preprocessor: &str) -> Model {
    let folder = memory_folder();
    for name in ["config.json", "generation_config.json", "model.safetensors"] {
        let _ = std::fs::copy(data("families").join(family).join(name), folder.path().join(name)); // not all have all
    }
    std::fs::write(folder.path().join("preprocessor_config.json"), preprocessor).expect("it is written");
    Model::load(folder.path()).expect("a model")
}

/// Writes `bytes` to a file called `name`, alone in its folder.
pub fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(memory_folder);
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("the input is written");
        read(&path);
    });
}

/// Asks a recording for everything; answers may be errors.
pub fn read_everything(recording: &Recording) {
    if recording.check().is_err() {
        return;
    }
    for layer in &recording.layers {
        for item in 0..recording.items.len() {
            for head in 0..layer.shape.n_heads.min(4) {
                let Ok(map) = recording.map_of(layer, item, head) else { continue };
                let n_cells = map.n_queries().saturating_mul(map.n_keys());
                map.row(map.n_queries() - 1);
                map.visible_keys(0);
                map.sees(0, 0);
                map.sink_mass(0);
                if n_cells < 1 << 16 {
                    map.dense();
                    map.pooled(Pooling { rows: 3, columns: 2 });
                }
            }
        }
    }
    let _ = recording.verify();
    let _ = measure_all(recording).map(|heads| standouts(&heads));
    let _ = summarise(recording, 0);
}

/// Reads arrays and imports them under every kind.
pub fn import(path: &Path) {
    for kind in [None, Some(Kind::Encoder), Some(Kind::Decoder), Some(Kind::Cross)] {
        let Ok(arrays) = arrays::read(path, 1 << 20) else { return };
        let options = ImportOptions { kind, allow_unnormalised: true, ..ImportOptions::default() };
        if let Ok(recording) = arrays::import(arrays, &options) {
            read_everything(&recording);
        }
    }
}
