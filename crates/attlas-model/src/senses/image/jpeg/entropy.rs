//! Huffman-coded blocks of coefficients (ITU-T T.81, annexes F and G).

use super::damaged;
use super::segments::{CodeLengths, next_marker};
use super::transform::ZIGZAG;

/// Codes up to this length are looked up at once.
const N_LOOKED_UP: u32 = 9;

/// What the blocks of a scan hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Decode {
    /// All coefficients, whole.
    Sequential,
    /// The first coefficient down to a bit.
    DcFirst { lowest: u8 },
    /// One more bit of it.
    DcNext { lowest: u8 },
    /// A band of the others down to a bit.
    AcFirst { band: [usize; 2], lowest: u8 },
    /// One more bit of them.
    AcNext { band: [usize; 2], lowest: u8 },
}

impl Decode {
    /// Whether a code for first coefficients is needed.
    pub fn reads_dc(self) -> bool {
        matches!(self, Decode::Sequential | Decode::DcFirst { .. })
    }

    /// Whether a code for the others is needed.
    pub fn reads_ac(self) -> bool {
        matches!(self, Decode::Sequential | Decode::AcFirst { .. } | Decode::AcNext { .. })
    }
}

/// A Huffman code to decode with.
#[derive(Debug, Clone, Default)]
pub(super) struct Code {
    /// By the next bits: length and symbol; length 0 where the code is longer. Shape `[2^N_LOOKED_UP]`.
    short: Vec<(u8, u8)>,
    /// For each length from 1 on: the code after its last one, and what is added to a code for its place in `symbols`.
    lengths: Vec<(i32, i32)>,
    symbols: Vec<u8>,
}

impl Code {
    /// # Errors
    /// When there are more codes of a length than fit.
    pub fn new(written: &CodeLengths) -> Result<Code, String> {
        let mut short = vec![(0, 0); 1 << N_LOOKED_UP];
        let mut lengths = Vec::with_capacity(16);
        let (mut code, mut place) = (0_i32, 0_usize);
        for (length, n) in (1_u32..).zip(written.n_of_length) {
            lengths.push((code + i32::from(n), place as i32 - code));
            for symbol in &written.symbols[place..][..usize::from(n)] {
                if code >= 1 << length {
                    return Err(damaged("a Huffman table has more codes than fit"));
                }
                if length <= N_LOOKED_UP {
                    let free = N_LOOKED_UP - length;
                    short[(code as usize) << free..][..1 << free].fill((length as u8, *symbol));
                }
                code += 1;
            }
            place += usize::from(n);
            code <<= 1;
        }
        Ok(Code { short, lengths, symbols: written.symbols.clone() })
    }
}

/// The bits of a scan, up to the next marker.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, from the highest on.
    buffer: u64,
    n_bits: u32,
    /// How many of them, the last ones, are no data but zeros after its end.
    n_padding: u32,
    /// Whether a marker, or nothing, comes next.
    has_ended: bool,
}

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Bits<'a> {
        Bits { bytes, at, buffer: 0, n_bits: 0, n_padding: 0, has_ended: false }
    }

    /// Makes sure of 32 bits, with zeros where the data ends.
    #[inline]
    fn fill(&mut self) {
        while self.n_bits <= 56 {
            let byte = match self.next_byte() {
                Some(byte) => byte,
                None => {
                    self.n_padding += 8;
                    0
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.n_bits);
            self.n_bits += 8;
        }
    }

    #[inline]
    fn next_byte(&mut self) -> Option<u8> {
        if self.has_ended {
            return None;
        }
        let byte = *self.bytes.get(self.at)?;
        if byte != 0xff {
            self.at += 1;
            return Some(byte);
        }
        let after = self.bytes[self.at..].iter().position(|byte| *byte != 0xff);
        let Some(after) = after.filter(|after| self.bytes[self.at + after] == 0) else {
            self.has_ended = true; // lest a long run of 0xff is looked through for every byte that is missing
            return None;
        };
        self.at += after + 1;
        Some(0xff)
    }

    /// The next `n` bits, at most 16, as a number.
    #[inline]
    fn take(&mut self, n: u32) -> i32 {
        if n == 0 {
            return 0;
        }
        if self.n_bits < 16 {
            self.fill();
        }
        let number = (self.buffer >> (64 - n)) as i32;
        self.skip(n);
        number
    }

    #[inline]
    fn skip(&mut self, n: u32) {
        self.buffer <<= n;
        self.n_bits -= n;
    }

    /// The next `n` bits as a number of either sign.
    #[inline]
    fn take_signed(&mut self, n: u32) -> i32 {
        let number = self.take(n);
        if n > 0 && number < 1 << (n - 1) { number - (1 << n) + 1 } else { number }
    }

    #[inline]
    fn symbol(&mut self, code: &Code) -> Result<u8, String> {
        if self.n_bits < 16 {
            self.fill();
        }
        let (length, symbol) = code.short[(self.buffer >> (64 - N_LOOKED_UP)) as usize];
        if length > 0 {
            self.skip(u32::from(length));
            return Ok(symbol);
        }
        for (length, (end, shift)) in (1_u32..).zip(&code.lengths) {
            let found = (self.buffer >> (64 - length)) as i32;
            if found < *end {
                self.skip(length);
                let place = usize::try_from(found + shift).ok();
                return place.and_then(|place| code.symbols.get(place).copied()).ok_or_else(no_code);
            }
        }
        Err(no_code())
    }
}

fn no_code() -> String {
    damaged("its data holds a code that no Huffman table has")
}

/// The state of decoding a scan.
pub(super) struct Coder<'a> {
    bits: Bits<'a>,
    decode: Decode,
    /// The first coefficient of the block before, by component of the scan.
    before: [i32; 4],
    /// Blocks that follow without anything new in the band.
    n_empty: u32,
}

impl<'a> Coder<'a> {
    pub fn new(bits: Bits<'a>, decode: Decode) -> Coder<'a> {
        Coder { bits, decode, before: [0; 4], n_empty: 0 }
    }

    /// Goes on behind the `n`-th restart marker.
    pub fn restart(&mut self, n: usize) -> Result<(), String> {
        match next_marker(self.bits.bytes, self.bits.at) {
            Some((marker, at)) if usize::from(marker) == 0xd0 + n % 8 => {
                *self = Coder::new(Bits::new(self.bits.bytes, at), self.decode);
                Ok(())
            }
            _ => Err(damaged("a restart marker is missing")),
        }
    }

    /// Where the data ends, or a little before.
    pub fn end(self) -> usize {
        self.bits.at
    }

    /// Reads a block, or more of it. Shape `[64]`, in the order of rows.
    #[inline]
    pub fn block(&mut self, part: usize, dc: &Code, ac: &Code, block: &mut [i16; 64]) -> Result<(), String> {
        match self.decode {
            Decode::Sequential => {
                block[0] = self.dc(part, dc)? as i16;
                self.ac_sequential(ac, block)?;
            }
            Decode::DcFirst { lowest } => block[0] = (self.dc(part, dc)? << lowest) as i16,
            Decode::DcNext { lowest } => block[0] |= (self.bits.take(1) << lowest) as i16,
            Decode::AcFirst { band, lowest } => self.ac_first(ac, band, lowest, block)?,
            Decode::AcNext { band, lowest } => self.ac_next(ac, band, lowest, block)?,
        }
        if self.bits.n_bits < self.bits.n_padding {
            return Err(damaged("its data ends before the picture does"));
        }
        Ok(())
    }

    #[inline]
    fn dc(&mut self, part: usize, code: &Code) -> Result<i32, String> {
        let n = u32::from(self.bits.symbol(code)?);
        if n > 15 {
            return Err(no_code());
        }
        self.before[part] = self.before[part].wrapping_add(self.bits.take_signed(n));
        Ok(self.before[part])
    }

    #[inline]
    fn ac_sequential(&mut self, code: &Code, block: &mut [i16; 64]) -> Result<(), String> {
        let mut k = 1;
        while k < 64 {
            let symbol = self.bits.symbol(code)?;
            let (n_zeros, n) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if n == 0 && n_zeros != 15 {
                break;
            }
            k += n_zeros;
            if n > 0 {
                *coefficient(block, k)? = self.bits.take_signed(n) as i16;
            }
            k += 1;
        }
        Ok(())
    }

    fn ac_first(&mut self, code: &Code, band: [usize; 2], lowest: u8, block: &mut [i16; 64]) -> Result<(), String> {
        if self.n_empty > 0 {
            self.n_empty -= 1;
            return Ok(());
        }
        let mut k = band[0];
        while k <= band[1] {
            let symbol = self.bits.symbol(code)?;
            let (n_zeros, n) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if n == 0 && n_zeros != 15 {
                self.n_empty = self.run(n_zeros) - 1;
                break;
            }
            k += n_zeros;
            if n > 0 {
                *coefficient(block, k)? = (self.bits.take_signed(n) << lowest) as i16;
            }
            k += 1;
        }
        Ok(())
    }

    /// How many blocks end here, this one among them.
    fn run(&mut self, n_bits: usize) -> u32 {
        (1 << n_bits) + self.bits.take(n_bits as u32) as u32
    }

    fn ac_next(&mut self, code: &Code, band: [usize; 2], lowest: u8, block: &mut [i16; 64]) -> Result<(), String> {
        let one = 1_i16 << lowest;
        let mut k = band[0];
        while self.n_empty == 0 && k <= band[1] {
            let symbol = self.bits.symbol(code)?;
            let (n_zeros, n) = (usize::from(symbol >> 4), symbol & 15);
            if n == 0 && n_zeros != 15 {
                self.n_empty = self.run(n_zeros);
                break;
            }
            if n > 1 {
                return Err(no_code());
            }
            let new = if n == 0 {
                0
            } else if self.bits.take(1) == 1 {
                one
            } else {
                -one
            };
            k = self.refine(block, k, band[1], one, n_zeros);
            if new != 0 {
                *coefficient(block, k)? = new;
            }
            k += 1;
        }
        if self.n_empty > 0 {
            self.refine(block, k, band[1], one, 64);
            self.n_empty -= 1;
        }
        Ok(())
    }

    /// Reads one more bit of each coefficient that is not 0, over `n_zeros` that are; returns the place after them.
    fn refine(&mut self, block: &mut [i16; 64], from: usize, last: usize, one: i16, n_zeros: usize) -> usize {
        let mut left = n_zeros;
        for k in from..=last {
            let value = &mut block[ZIGZAG[k]];
            if *value == 0 {
                if left == 0 {
                    return k;
                }
                left -= 1;
            } else if self.bits.take(1) == 1 && *value & one == 0 {
                *value = value.wrapping_add(if *value > 0 { one } else { -one });
            }
        }
        last + 1
    }
}

/// The coefficient at a place of the zigzag.
#[inline]
fn coefficient(block: &mut [i16; 64], k: usize) -> Result<&mut i16, String> {
    let place = ZIGZAG.get(k).ok_or_else(|| damaged("its data goes beyond the end of a block"))?;
    Ok(&mut block[*place])
}
