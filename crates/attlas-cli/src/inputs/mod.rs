//! What commands read: texts, models, recordings.

mod chosen_heads;
mod explained;
mod head_effects;
#[cfg(feature = "download")]
mod hub;
mod model;
mod named_span;
mod notes;
mod numbers;
mod own_output;
mod recorded;
mod recording;
mod seeing;
mod senses;
mod span;
mod text;
mod towers;

pub use attlas::place::{place_of, token_of};
pub use chosen_heads::ChosenHeads;
pub use explained::{ONE_TEXT, ScoreArguments, SubjectArguments, row_of, with_options};
pub use head_effects::head_effects;
pub use model::{
    KnockOut, MAX_MB, ModelArguments, ReadArguments, RunArguments, SentenceArguments, Sentences, TextRun, Texts,
    load_model, model_path, model_place, parse_knock_out, run_given, run_ids, run_inputs, run_texts, run_traced,
    tokens_of_ids,
};
pub use named_span::{NamedSpan, parse_named_span};
pub use notes::which_text;
pub use numbers::{IdList, parse_beams, parse_ids};
pub use own_output::{check_output, files_in, model_files, refuse_inputs};
#[cfg(feature = "serve")]
pub use recording::refuse_page;
pub use recording::{
    Material, is_recording, names_recording, parse_head, parse_kind, pick_kind, pick_kind_in, pick_layer,
    pick_layer_in, recording_of, run_of,
};
pub use seeing::run_seeing;
pub use senses::{input_of, is_image_name, is_sound_name, say_sentences};
pub use span::{Span, parse_span};
pub use text::{RawText, ends_as_text, names_text_file, read_lines, read_text, read_texts, read_utf8};
pub use towers::{of_tower, run_towers};
