//! Runs Transformers and records their attention heads.
//!
//! A [`Model`] comes from a folder or is the embedded one; [`Model::run`] gives an [`attlas::Recording`], logits and
//! generated text. One generic Transformer (`config`, `block`) serves every family; a family (`family/`) only says how
//! its configuration, its weights and its vocabulary are to be read.
//!
//! ```
//! use attlas::{Head, Kind, View};
//! use attlas_model::{Model, RunOptions};
//!
//! # std::env::set_current_dir(std::env::temp_dir())?;
//! let model = Model::embedded()?;                                     // or Model::load(folder)
//! let input = model.input("A red apple.", Some("Une pomme rouge."))?;
//! let run = model.run(&[input], &RunOptions::default())?;             // every head, as plain data
//! let view = View::of(&run.recording, Kind::Cross, 2, Head::One(4))?;
//! std::fs::write("map.svg", view.map().to_svg())?;
//! # assert!(std::fs::read_to_string("map.svg")?.contains("pomme"));
//! # std::fs::remove_file("map.svg")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
pub mod config;
mod embedded;
mod error;
pub mod explain;
pub mod family;
mod folder;
mod known_words;
mod load;
mod model;
mod modules;
mod run;
mod senses;
mod sight;
pub mod tokenizer;
pub mod weights;

pub use attlas_kernels::Precision;
pub use block::convolution::{Convolution, Ends, GroupedConvolution};
pub use block::dropout::Dropout;
pub use block::linear::{BothWays, Linear, Weight};
pub use block::norm::NormWeights;
pub use block::parameters::{Numbers, Parameter};
pub use block::pass::{Array, Keep, Next, Pass, Progress, Site};
pub use block::recurrence::{
    DeltaWeights, Mamba2Weights, MambaWeights, RecurrenceWeights, RuleWeights, ShortConvolution,
};
pub use block::weights::{
    AddedWeights, AttentionWeights, BlockWeights, ContactWeights, DistanceWeights, EmbeddingWeights, Expert,
    FeedForwardWeights, Mixer, MixtureWeights, PatchWeights, Projections, ReadWeights, ReadoutWeights, SampleLayer,
    SharedExpert, StackWeights, Transformer,
};
pub use config::file::ConfigFile;
pub use error::{Clash, Error, Misfit};
pub use family::Tower;
pub use known_words::{FILE as KNOWN_WORDS_FILE, KnownWords};
pub use load::{
    AttentionNames, ExpertNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames,
    Superfluous,
};
pub use model::{LoadOptions, Model};
pub use run::backward::{Backward, Gradients, Rules, ScoreGradient, Words};
pub use run::collect::{HeadMeans, Kept, mean_head_outputs};
pub use run::generate::Decoding;
pub use run::input::{Features, Input, Side};
pub use run::loops::Loops;
pub use run::objects::Object;
pub use run::packed::{PackedPair, PackedTexts, SeeLogits};
pub use run::record::{Generation, Run, RunOptions};
pub use run::seen::Seen;
pub use run::sentences::{sentences, sentences_note};
pub use run::words::UnknownWords;
pub use senses::audio::Spectrogram;
pub use senses::image;
pub use sight::Look;
pub use tokenizer::{Encoded, Tokenizer};
pub use weights::hub;
