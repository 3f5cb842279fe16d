//! Products with weights in every type that stays as its file stores it, beside packed `f32`:
//!
//!     cargo bench -p attlas-kernels --bench stored                      # every type, 1 to 512 rows
//!     cargo bench -p attlas-kernels --bench stored -- bf16 q4_k 1 6     # some types, some numbers of rows
//!
//! The matrices of a type take turns, so that each comes from memory and not from a cache, as those of a model do; the types take
//! turns, too. One thread is taken by its processor time, all threads by the clock; the medians of the rounds.

#![allow(clippy::print_stdout, unsafe_code)]

mod clock;

use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

use attlas_kernels::{Code, Coded, Finish, Packed, Part, Threads};
use clock::thread_time;

/// Inner size and output width of a feed-forward of a billion parameters.
const INNER: usize = 2048;
const COLUMNS: usize = 8192;
const ROWS: [usize; 5] = [1, 6, 32, 128, 512];
/// Bytes of the matrices of a type: more than the caches hold.
const BYTES: usize = 768 << 20;
const ROUNDS: usize = 15;

/// Matrices of one type.
enum Stored {
    F32(Vec<Packed>),
    Coded(Vec<Coded>),
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number = |text: &String| text.parse::<usize>().ok();
    let rows: Vec<usize> = arguments.iter().filter_map(number).collect();
    let rows = if rows.is_empty() { ROWS.to_vec() } else { rows };
    let names: Vec<&String> = arguments.iter().filter(|argument| number(argument).is_none()).collect();
    let name = |code: &Code| format!("{code:?}").to_lowercase();
    let wanted = |code: &Code| {
        names.is_empty() || names.iter().any(|wanted| wanted.replace('_', "") == name(code).replace('_', ""))
    };
    let codes = Code::ALL.into_iter().filter(wanted);
    let mut all = vec![("f32".to_owned(), Stored::f32())];
    all.extend(codes.map(|code| (name(&code), Stored::coded(code))));
    println!("{INNER} × {COLUMNS}, {} threads", rayon::current_num_threads());
    println!("   rows  type      GFLOP/s  % of f32   GB/s of weights   all threads: GFLOP/s   GB/s");
    for n in rows {
        measure(n, &all);
    }
}

/// A line for each type.
fn measure(n: usize, all: &[(String, Stored)]) {
    let input: Vec<f32> = (0..n * INNER).map(|i| (i * 7919 % 2003) as f32 / 1001.5 - 1.0).collect();
    let mut output = vec![0.0; n * COLUMNS]; // [n, COLUMNS]
    let mut seconds = vec![[Vec::new(), Vec::new()]; all.len()];
    for round in 0..ROUNDS {
        for ((_, stored), seconds) in all.iter().zip(&mut seconds) {
            let clock = thread_time();
            stored.multiply(2 * round, &input, Threads::One, &mut output);
            seconds[0].push(thread_time() - clock);
            let clock = Instant::now();
            stored.multiply(2 * round + 1, &input, Threads::All, &mut output);
            seconds[1].push(clock.elapsed().as_secs_f64());
            black_box(&mut output);
        }
    }
    let median = |times: &[f64]| {
        let mut times = times.to_vec();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let n_operations = 2.0 * (n * INNER * COLUMNS) as f64 / 1e9;
    let of_f32 = median(&seconds[0][0]);
    for ((name, stored), [one, every]) in all.iter().zip(&seconds) {
        let (one, every, bytes) = (median(one), median(every), stored.bytes() as f64 / 1e9);
        println!(
            "{n:7}  {name:6} {:10.1} {:9.0} {:17.1} {:22.1} {:6.1}",
            n_operations / one,
            100.0 * of_f32 / one,
            bytes / one,
            n_operations / every,
            bytes / every
        );
    }
}

impl Stored {
    fn f32() -> Stored {
        let weight: Vec<f32> = (0..COLUMNS * INNER).map(|i| (i * 7919 % 2003) as f32 / 1001.5 - 1.0).collect();
        Stored::F32((0..BYTES / size_of_val(&*weight)).map(|_| Packed::new(&weight, COLUMNS, INNER)).collect())
    }

    fn coded(code: Code) -> Stored {
        let n_row = code.row_bytes(INNER);
        // any bytes will do that are numbers and in which the upper halves of numbers and of scales, all at odd places, have moderate exponents
        let read = |_: usize, rows: Range<usize>, bytes: &mut [u8]| -> Result<(), ()> {
            let first = rows.start * n_row;
            let look_random = |i: usize| (((first + i) * 2_654_435_761) >> 13) as u8;
            let fit = |i: usize, byte: u8| if i % 2 == 1 { byte & 0x0f | 0x30 } else { byte & 0xf7 };
            bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = fit(i, look_random(i)));
            if code == Code::Mxfp4 {
                bytes.chunks_exact_mut(17).for_each(|block| block[0] = 120);
            }
            if code == Code::Int4 {
                // its blocks have odd lengths, so that no place is always a scale's
                bytes.chunks_exact_mut(21).for_each(|block| block[..4].copy_from_slice(&0.02_f32.to_le_bytes()));
            }
            Ok(())
        };
        let parts = [Part { code, n_rows: COLUMNS }];
        let matrices = (0..BYTES / (COLUMNS * n_row)).filter_map(|_| Coded::read(&parts, INNER, read).ok().flatten());
        Stored::Coded(matrices.collect())
    }

    /// Bytes of one matrix.
    fn bytes(&self) -> usize {
        match self {
            Stored::F32(_) => COLUMNS * INNER * size_of::<f32>(),
            Stored::Coded(matrices) => matrices.first().map_or(0, Coded::bytes),
        }
    }

    fn multiply(&self, turn: usize, input: &[f32], threads: Threads, output: &mut [f32]) {
        match self {
            Stored::F32(matrices) => matrices[turn % matrices.len()].multiply(input, Finish::PLAIN, threads, output),
            Stored::Coded(matrices) => matrices[turn % matrices.len()].multiply(input, Finish::PLAIN, threads, output),
        }
    }
}
