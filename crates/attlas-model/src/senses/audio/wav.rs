//! WAV files as one channel of numbers between −1 and 1, at the rate that a model listens at.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use attlas::regular_file;
use hound::{SampleFormat, WavReader};
use rayon::prelude::*;

use crate::Error;

/// The most that is read of a file, in samples of each channel: 30 seconds at the highest rate twice over, 600 at 96 kHz.
const MAX_FRAMES: usize = 1 << 26;

/// What was read of a file.
pub(super) struct Sound {
    /// One channel.
    pub samples: Vec<f32>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// The beginning of a WAV file: at most `n_samples` at `rate` samples per second, channels averaged.
pub(super) fn open(path: &Path, n_samples: usize, rate: usize) -> Result<Sound, Error> {
    let (file, _) = regular_file::open(path).map_err(|problem| Error::regular_file(path, problem))?;
    let reader = WavReader::new(BufReader::new(file)).map_err(|error| {
        Error::file(
            path,
            format!("is no WAV file that attlas reads ({error}); `ffmpeg -i IN -ar {rate} -ac 1 OUT.wav` makes one"),
        )
    })?;
    let spec = reader.spec();
    let seconds = f64::from(reader.duration()) / f64::from(spec.sample_rate.max(1));
    let (n_channels, file_rate) = (usize::from(spec.channels), spec.sample_rate as usize);
    if !(1..=64).contains(&n_channels) || !(1000..=768_000).contains(&file_rate) || spec.bits_per_sample > 32 {
        return Err(Error::file(
            path,
            format!(
                "has {n_channels} channels, {file_rate} samples per second, {} bits; attlas reads 1 to 64 channels, \
                 1000 to 768000 samples per second, up to 32 bits",
                spec.bits_per_sample
            ),
        ));
    }
    // as many as are needed, and a few that the filter looks ahead
    let n_wanted = (n_samples * file_rate).div_ceil(rate) + 2 * REACH * file_rate.div_ceil(rate);
    let n_frames = n_wanted.min(reader.duration() as usize);
    if n_frames > MAX_FRAMES {
        return Err(Error::file(
            path,
            format!(
                "has {file_rate} samples per second, of which this model would read {n_frames}; attlas reads \
                 {MAX_FRAMES}; `ffmpeg -i IN -ar {rate} -ac 1 OUT.wav` makes a smaller one"
            ),
        ));
    }
    let mono = read(reader, n_frames).map_err(|error| Error::file(path, format!("is a damaged WAV file: {error}")))?;
    if mono.is_empty() {
        return Err(Error::file(path, "holds no sound"));
    }
    let mut notes = Vec::new();
    let longest = n_samples as f64 / rate as f64;
    if seconds > longest {
        notes.push(format!("the sound lasts {seconds:.1} s; the first {longest} s are read"));
    }
    if file_rate != rate {
        notes.push(format!("the sound was resampled from {file_rate} to {rate} samples per second"));
    }
    let mut samples = if file_rate == rate { mono } else { resampled(&mono, file_rate, rate) };
    samples.truncate(n_samples);
    if samples.iter().any(|sample| !sample.is_finite()) {
        return Err(Error::file(path, "holds samples that are not finite"));
    }
    Ok(Sound { samples, notes })
}

/// Up to `n_frames` samples, the mean of the channels; channels that end early are left out.
fn read(reader: WavReader<BufReader<File>>, n_frames: usize) -> Result<Vec<f32>, hound::Error> {
    let spec = reader.spec();
    let n_channels = usize::from(spec.channels);
    match spec.sample_format {
        SampleFormat::Float => averaged(reader.into_samples::<f32>(), n_frames, n_channels),
        SampleFormat::Int => {
            let full = 2.0_f64.powi(i32::from(spec.bits_per_sample) - 1);
            let scaled = reader.into_samples::<i32>().map(|sample| Ok((f64::from(sample?) / full) as f32));
            averaged(scaled, n_frames, n_channels)
        }
    }
}

fn averaged(
    mut samples: impl Iterator<Item = Result<f32, hound::Error>>,
    n_frames: usize,
    n_channels: usize,
) -> Result<Vec<f32>, hound::Error> {
    let mut mono = Vec::new(); // a header may claim more than there is
    'frames: for _ in 0..n_frames {
        let mut sum = 0.0;
        for _ in 0..n_channels {
            let Some(sample) = samples.next() else { break 'frames };
            sum += sample?;
        }
        mono.push(sum / n_channels as f32);
    }
    Ok(mono)
}

/// Zeros of the sinc on each side of its middle.
const REACH: usize = 24;

/// The signal at another rate: a sinc in a Hann window, cut off below half of the lower rate.
fn resampled(samples: &[f32], from: usize, to: usize) -> Vec<f32> {
    let cutoff = (to as f64 / from as f64).min(1.0);
    let reach = REACH as f64 / cutoff;
    let n_before = reach.floor() as usize;
    // 1. one filter for each place that a new sample can have between two old ones; the places repeat
    let n_phases = to / greatest_common_divisor(from, to);
    let filter = |phase: usize| -> Vec<f32> {
        let fraction = phase as f64 / n_phases as f64;
        let weight = |tap: usize| {
            let x = tap as f64 - n_before as f64 - fraction;
            let angle = std::f64::consts::PI * x * cutoff;
            let sinc = if angle == 0.0 { 1.0 } else { angle.sin() / angle };
            let window = 0.5 + 0.5 * (std::f64::consts::PI * (x / reach).clamp(-1.0, 1.0)).cos();
            (cutoff * sinc * window) as f32
        };
        (0..2 * n_before + 2).map(weight).collect()
    };
    let filters: Vec<Vec<f32>> = (0..n_phases).into_par_iter().map(filter).collect();
    // 2. the new samples; there is silence before and after the sound
    let sample = |place: usize| {
        let position = place * from; // in units of 1 / to
        let (whole, phase) = (position / to, position % to / (to / n_phases));
        let skipped = n_before.saturating_sub(whole);
        let heard = samples.get((whole + skipped).saturating_sub(n_before)..).unwrap_or_default();
        filters[phase].iter().skip(skipped).zip(heard).map(|(weight, sample)| weight * sample).sum()
    };
    (0..(samples.len() * to).div_ceil(from)).into_par_iter().map(sample).collect()
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_keeps_its_pitch_and_height_when_it_is_resampled() {
        let tone = |rate: usize, n: usize| -> Vec<f32> {
            (0..n).map(|i| (2.0 * std::f64::consts::PI * 440.0 * i as f64 / rate as f64).sin() as f32).collect()
        };
        for rate in [44_100, 8_000, 48_000] {
            let found = resampled(&tone(rate, rate / 4), rate, 16_000);
            let wanted = tone(16_000, 4_000);
            assert_eq!(found.len(), wanted.len());
            let worst = (400..3_600).map(|i| (found[i] - wanted[i]).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-3, "{rate}: {worst}");
        }
    }

    #[test]
    fn more_samples_than_are_read_are_refused_before_they_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("claims.wav");
        let mut bytes = Vec::new();
        bytes.extend_from_slice(b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0");
        bytes.extend_from_slice(&768_000_u32.to_le_bytes());
        bytes.extend_from_slice(&768_000_u32.to_le_bytes());
        bytes.extend_from_slice(b"\x01\0\x08\0data\xff\xff\xff\xff");
        bytes.extend_from_slice(&[128; 100]);
        std::fs::write(&path, &bytes).expect("a file");
        let message = open(&path, 600 * 16_000, 16_000).err().expect("a refusal").to_string();
        assert!(message.contains("claims.wav") && message.contains("attlas reads 67108864"), "{message}");
        // of the same claim, as many as are wanted: the file ends before
        let message = open(&path, 16_000, 16_000).err().expect("a refusal").to_string();
        assert!(message.contains("is a damaged WAV file"), "{message}");
    }
}
