//! A sound as a picture: how loud it is at each time and pitch.

use std::path::Path;

use super::mel::{DECADES, HIGHEST, Listening};
use super::wav;
use crate::Error;

/// Bands of pitch, samples per second, samples from a frame to the next, samples of a frame: Whisper's first models have these.
const LISTENING: Listening =
    Listening { file: None, n_mels: 80, rate: 16_000, n_samples: 0, hop: 160, n_fft: 400, normalises: false };
/// Frames that become one.
const POOLED: usize = 2;
/// The longest sound that is drawn, in seconds.
const MAX_SECONDS: f64 = 600.0;

/// How loud a sound is at each time and pitch, whatever a model makes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrogram {
    /// Bands of pitch, spaced as on the mel scale.
    pub n_mels: usize,
    /// 255 is the loudest of the sound, 0 what lies 80 decibels below or more; the lowest band first. Shape `[n_mels, n_frames]`.
    pub loudness: Vec<u8>,
    /// Seconds from a frame to the next.
    pub frame_seconds: f64,
    /// Seconds that the sound lasts, as far as it was read.
    pub seconds: f64,
    /// The lowest and the highest pitch, in hertz.
    pub hertz: [f64; 2],
}

impl Spectrogram {
    /// The first `seconds` of a WAV file.
    ///
    /// # Errors
    /// When the file is no WAV, or more than ten minutes are asked for.
    pub fn open(path: &Path, seconds: f64) -> Result<Spectrogram, Error> {
        if !(seconds > 0.0 && seconds <= MAX_SECONDS) {
            let message =
                format!("a picture of {seconds} seconds of sound was asked for, and {MAX_SECONDS} can be drawn");
            return Err(Error::file(path, message));
        }
        let Listening { rate, hop, n_mels, .. } = LISTENING;
        let sound = wav::open(path, (seconds * rate as f64).round().max(1.0) as usize, rate)?;
        let n_frames = sound.samples.len().div_ceil(POOLED * hop);
        let listening = Listening { n_samples: n_frames * POOLED * hop, ..LISTENING };
        let numbers = listening.spectrogram(&sound.samples); // [n_mels, n_frames · POOLED]
        let loudest = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // as Whisper has it, four decades are 1
        let share = |number: f32| 1.0 - (loudest - number) * 4.0 / DECADES as f32;
        let byte = |frames: &[f32]| {
            let mean = frames.iter().map(|number| share(*number)).sum::<f32>() / POOLED as f32;
            (mean * 255.0).round() as u8
        };
        Ok(Spectrogram {
            n_mels,
            loudness: numbers.chunks_exact(POOLED).map(byte).collect(),
            frame_seconds: (POOLED * hop) as f64 / rate as f64,
            seconds: sound.samples.len() as f64 / rate as f64,
            hertz: [0.0, HIGHEST],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_is_as_long_as_it_lasts_or_as_was_asked_for_and_has_a_loudest_place() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/senses/mono.wav");
        let whole = Spectrogram::open(&path, 30.0).unwrap();
        assert_eq!(whole.loudness.len(), 80 * (whole.seconds / whole.frame_seconds).ceil() as usize);
        assert!(whole.loudness.contains(&0) || whole.loudness.iter().any(|loudness| *loudness < 128));
        assert!(whole.loudness.iter().any(|loudness| *loudness > 240));
        let half = Spectrogram::open(&path, whole.seconds / 2.0).unwrap();
        assert!((half.seconds - whole.seconds / 2.0).abs() < 1e-3);
        for seconds in [0.0, f64::NAN, 601.0] {
            assert!(Spectrogram::open(&path, seconds).unwrap_err().to_string().contains("was asked for"));
        }
    }
}
