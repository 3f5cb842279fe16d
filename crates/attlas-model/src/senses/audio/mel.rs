//! The log-mel spectrogram of Whisper (Radford et al. 2022, §2.2), as `transformers`' WhisperFeatureExtractor computes it.

use std::f64::consts::PI;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Frames, Samples};

/// Added below any energy.
const FLOOR: f64 = 1e-10;

/// The upper end of the highest filter, in hertz.
pub(super) const HIGHEST: f64 = 8000.0;

/// What lies further than this many decades below the loudest is raised to there.
pub(super) const DECADES: f64 = 8.0;

/// How a sound becomes a spectrogram.
#[derive(Debug, Clone)]
pub(crate) struct Listening {
    /// The file that says it, for messages; `None` where the model's own configuration does.
    pub file: Option<PathBuf>,
    /// Rows of the spectrogram.
    pub n_mels: usize,
    /// Samples per second.
    pub rate: usize,
    /// Samples that are listened to; shorter sounds are followed by silence.
    pub n_samples: usize,
    /// Samples from one frame to the next.
    pub hop: usize,
    /// Samples of a frame.
    pub n_fft: usize,
    /// Whether samples that are read as they are get mean 0 and variance 1.
    pub normalises: bool,
}

impl Listening {
    /// What the model itself says; preprocessor_config.json may say otherwise.
    pub fn of(frames: &Frames) -> Listening {
        let Frames { n_mels, n_positions, rate, hop, n_fft } = *frames;
        Listening { file: None, n_mels, rate, n_samples: 2 * n_positions * hop, hop, n_fft, normalises: false }
    }

    /// What a model of samples says: half a minute at most, normalised.
    pub fn of_samples(samples: &Samples) -> Listening {
        let rate = samples.rate;
        Listening {
            file: None,
            n_mels: 1,
            rate,
            n_samples: 30 * rate,
            hop: samples.hop(),
            n_fft: 400,
            normalises: true,
        }
    }

    /// Reads preprocessor_config.json.
    pub fn read(config: &ConfigFile) -> Result<Listening, Error> {
        let rate = config.size_or("sampling_rate", 16_000)?;
        let seconds = config.size_or("chunk_length", 30)?;
        let listening = Listening {
            file: Some(config.path().to_owned()),
            n_mels: config.size_or("feature_size", 80)?,
            rate,
            n_samples: rate.saturating_mul(seconds),
            hop: config.size_or("hop_length", 160)?,
            n_fft: config.size_or("n_fft", 400)?,
            normalises: config.flag_or("do_normalize", true)?,
        };
        let limits = [
            ("feature_size", listening.n_mels, 1, 1024),
            ("sampling_rate", rate, 1000, 192_000),
            ("chunk_length", seconds, 1, 600),
            ("n_fft", listening.n_fft, 16, 4096),
            ("hop_length", listening.hop, 16, listening.n_fft),
        ];
        for (field, value, least, most) in limits {
            if !(least..=most).contains(&value) {
                return Err(config.error(field, format!("is {value}, but must be from {least} to {most}")));
            }
        }
        Ok(listening)
    }

    /// The sizes of a spectrogram: mels and frames.
    pub fn shape(&self) -> [usize; 2] {
        [self.n_mels, self.n_samples / self.hop]
    }

    /// The spectrogram of a sound. Shape `[n_mels, n_samples / hop]`.
    pub fn spectrogram(&self, samples: &[f32]) -> Vec<f32> {
        let [_, n_frames] = self.shape();
        let filters = self.filters();
        let fourier = Fourier::new(self.n_fft);
        let window: Vec<f64> =
            (0..self.n_fft).map(|i| 0.5 - 0.5 * (2.0 * PI * i as f64 / self.n_fft as f64).cos()).collect();
        // 1. frames, centred, the sound mirrored at its ends; power; mels; logarithm
        let n_mels = self.n_mels;
        let mut by_frame = vec![0.0_f64; n_frames * n_mels]; // [n_frames, n_mels]
        by_frame.par_chunks_exact_mut(n_mels).enumerate().for_each(|(frame, output)| {
            let start = (frame * self.hop) as i64 - (self.n_fft / 2) as i64;
            let windowed: Vec<f64> =
                window.iter().enumerate().map(|(i, w)| w * self.sample(samples, start + i as i64)).collect();
            let power = fourier.power(&windowed);
            for (value, (first, weights)) in output.iter_mut().zip(&filters) {
                let energy: f64 = weights.iter().zip(&power[*first..]).map(|(weight, power)| weight * power).sum();
                *value = energy.max(FLOOR).log10();
            }
        });
        // 2. nothing far below the loudest; about between −1 and 1
        let loudest = by_frame.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let number = |value: f64| ((value.max(loudest - DECADES) + 4.0) / 4.0) as f32;
        let row = |mel: usize| (0..n_frames).map(move |frame| frame * n_mels + mel);
        (0..n_mels).flat_map(row).map(|place| number(by_frame[place])).collect()
    }

    /// The sample at `place`: silence after the sound, mirrored before the beginning and beyond the end.
    fn sample(&self, samples: &[f32], place: i64) -> f64 {
        let last = self.n_samples as i64 - 1;
        let place = if place > last { 2 * last - place } else { place.abs() };
        samples.get(place as usize).copied().map_or(0.0, f64::from)
    }

    /// Triangles on the mel scale of Slaney, of equal area: for each its first frequency bin and its weights.
    fn filters(&self) -> Vec<(usize, Vec<f64>)> {
        let nyquist = (self.rate / 2) as f64;
        let n_bins = self.n_fft / 2 + 1;
        let top = mel(HIGHEST);
        let edges: Vec<f64> = (0..self.n_mels + 2).map(|i| hertz(top * i as f64 / (self.n_mels + 1) as f64)).collect();
        let frequency = |bin: usize| nyquist * bin as f64 / (n_bins - 1) as f64;
        let filter = |edges: &[f64]| {
            let (low, middle, high) = (edges[0], edges[1], edges[2]);
            let weight = |bin: usize| {
                let rising = (frequency(bin) - low) / (middle - low);
                let falling = (high - frequency(bin)) / (high - middle);
                rising.min(falling).max(0.0) * 2.0 / (high - low)
            };
            let first = (0..n_bins).find(|bin| weight(*bin) > 0.0).unwrap_or(0);
            (first, (first..n_bins).map(weight).take_while(|weight| *weight > 0.0).collect())
        };
        edges.windows(3).map(filter).collect()
    }
}

/// Where Slaney's mel scale turns from lines to logarithms: hertz, mels, and mels per factor e above.
const BEND_HERTZ: f64 = 1000.0;
const BEND_MELS: f64 = 15.0;
const STEP: f64 = 27.0;

fn mel(hertz: f64) -> f64 {
    if hertz < BEND_HERTZ {
        return 3.0 * hertz / 200.0;
    }
    BEND_MELS + (hertz / BEND_HERTZ).ln() * STEP / 6.4_f64.ln()
}

fn hertz(mel: f64) -> f64 {
    if mel < BEND_MELS {
        return 200.0 * mel / 3.0;
    }
    BEND_HERTZ * ((mel - BEND_MELS) * 6.4_f64.ln() / STEP).exp()
}

/// The discrete Fourier transform of real numbers in two passes over the factors of its length (Cooley & Tukey 1965).
struct Fourier {
    /// `n = outer · inner`, as near to each other as possible.
    outer: usize,
    inner: usize,
    /// `exp(−2πi k / n)` as cosine and sine. Shape `[n]`.
    turns: Vec<[f64; 2]>,
}

impl Fourier {
    fn new(n: usize) -> Fourier {
        let outer = (1..=n.isqrt()).rev().find(|factor| n.is_multiple_of(*factor)).unwrap_or(1);
        let turn = |k: usize| {
            let angle = -2.0 * PI * k as f64 / n as f64;
            [angle.cos(), angle.sin()]
        };
        Fourier { outer, inner: n / outer, turns: (0..n).map(turn).collect() }
    }

    /// `|X_k|²` for `k = 0 ..= n / 2`.
    fn power(&self, x: &[f64]) -> Vec<f64> {
        let Fourier { outer, inner, turns } = self;
        let n = outer * inner;
        // 1. for each remainder r of the place by `outer`, the transform of the places r, r + outer, …, turned by r · k
        let mut parts = vec![[0.0; 2]; n]; // [outer, inner]
        for remainder in 0..*outer {
            for k in 0..*inner {
                let mut sum = [0.0; 2];
                for step in 0..*inner {
                    let [cosine, sine] = turns[outer * step * k % n];
                    let value = x[outer * step + remainder];
                    sum = [sum[0] + value * cosine, sum[1] + value * sine];
                }
                parts[remainder * inner + k] = times(sum, turns[remainder * k % n]);
            }
        }
        // 2. for each k, the transform over the remainders
        let power = |k: usize| {
            let (low, high) = (k % inner, k / inner);
            let mut sum = [0.0; 2];
            for remainder in 0..*outer {
                let term = times(parts[remainder * inner + low], turns[inner * remainder * high % n]);
                sum = [sum[0] + term[0], sum[1] + term[1]];
            }
            sum[0] * sum[0] + sum[1] * sum[1]
        };
        (0..=n / 2).map(power).collect()
    }
}

fn times([a, b]: [f64; 2], [c, d]: [f64; 2]) -> [f64; 2] {
    [a * c - b * d, a * d + b * c]
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use safetensors::SafeTensors;

    use super::*;
    use crate::senses::audio::wav;

    fn senses(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/senses").join(name)
    }

    /// What transformers' WhisperFeatureExtractor computes (`tools/reference/senses.py`), with 80 and with 128 mels.
    #[test]
    fn spectrograms_are_those_of_transformers() {
        let bytes = std::fs::read(senses("expected.safetensors")).expect("expected.safetensors");
        let expected = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let mut n_compared = 0;
        for (name, tensor) in expected.tensors() {
            let Some((listener, file)) = name.split_once('.').filter(|(_, file)| file.ends_with("wav")) else {
                continue;
            };
            let config = ConfigFile::open(&senses(&format!("{listener}.json"))).expect("a configuration");
            let listening = Listening::read(&config).expect("settings");
            let sound = wav::open(&senses(file), listening.n_samples, listening.rate).expect("a sound");
            let found = listening.spectrogram(&sound.samples);
            assert_eq!([listening.n_mels, found.len() / listening.n_mels], tensor.shape(), "{name}");
            let wanted = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            let worst = found.iter().zip(wanted).map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "{name}: {worst}");
            n_compared += 1;
        }
        assert_eq!(n_compared, 4);
    }

    #[test]
    fn the_transform_in_two_passes_is_the_transform() {
        for n in [12, 16, 17, 400] {
            let x: Vec<f64> = (0..n).map(|i| ((i * i) as f64).sin()).collect();
            let found = Fourier::new(n).power(&x);
            for (k, found) in found.iter().enumerate() {
                let angle = |i: usize| -2.0 * PI * (i * k % n) as f64 / n as f64;
                let real: f64 = x.iter().enumerate().map(|(i, x)| x * angle(i).cos()).sum();
                let imaginary: f64 = x.iter().enumerate().map(|(i, x)| x * angle(i).sin()).sum();
                let wanted = real * real + imaginary * imaginary;
                assert!((found - wanted).abs() < 1e-9 * (1.0 + wanted), "{n} {k}: {found} {wanted}");
            }
        }
    }

    #[test]
    fn mels_and_hertz_are_inverse() {
        for frequency in [0.0, 440.0, 999.0, 1000.0, 7999.0] {
            assert!((hertz(mel(frequency)) - frequency).abs() < 1e-9);
        }
        assert_eq!(mel(1000.0), 15.0);
    }
}
