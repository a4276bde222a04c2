// SPDX-License-Identifier: BSD-2-Clause
//! CRC32c, the checksum of SCTP (RFC 9260, appendix A): polynomial 0x1edc6f41, bits
//! reflected, over the whole packet from SCTP's header on with its checksum taken for 0.
//!
//! Two ways, with the same result: tables, eight bytes a step; or the instruction that
//! SSE4.2 brought, which works on general registers and so leaves the FPU's state alone. Who
//! knows the processor chooses, once, by [`Method`].

#[allow(unsafe_code)]
#[cfg(target_arch = "x86_64")]
mod instruction;

/// The polynomial, its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// How the sum is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Method {
    by_instruction: bool,
}

impl Method {
    /// By tables, 8 KB of them: on any processor.
    pub const TABLES: Self = Self {
        by_instruction: false,
    };

    /// By the instruction CRC32.
    ///
    /// # Safety
    ///
    /// The processor has SSE4.2: bit 20 of ECX of CPUID's leaf 1.
    #[allow(unsafe_code)]
    #[cfg(target_arch = "x86_64")]
    pub const unsafe fn instruction() -> Self {
        Self {
            by_instruction: true,
        }
    }

    /// What this processor is best at.
    #[cfg(feature = "std")]
    pub fn of_this_processor() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("sse4.2") {
            // SAFETY: it has it.
            #[allow(unsafe_code)]
            return unsafe { Self::instruction() };
        }
        Self::TABLES
    }
}

/// A sum over what comes in pieces of any length and alignment.
#[derive(Clone, Copy, Debug)]
pub struct Crc {
    state: u32,
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "there is one method only")
    )]
    method: Method,
}

impl Crc {
    /// Of nothing.
    #[inline]
    pub const fn new(method: Method) -> Self {
        Self { state: !0, method }
    }

    /// Of what has that value already.
    #[inline]
    pub const fn behind(value: u32, method: Method) -> Self {
        Self {
            state: !value,
            method,
        }
    }

    /// Adds bytes behind those that were added before.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        if self.method.by_instruction {
            // SAFETY: who made the method promised that the processor has it.
            #[allow(unsafe_code)]
            let state = unsafe { instruction::update(self.state, bytes) };
            self.state = state;
            return;
        }
        self.state = by_tables(self.state, bytes);
    }

    /// The sum, as RFC 9260 prints it: its lowest byte is sent first.
    #[inline]
    pub const fn value(self) -> u32 {
        !self.state
    }
}

/// `TABLES[n][byte]` is what `byte` has become when `n` more bytes have followed.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut state = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            state = (state >> 1) ^ (POLYNOMIAL & (state & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = state;
        byte += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            let state = tables[n - 1][byte];
            tables[n][byte] = (state >> 8) ^ tables[0][(state & 0xff) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
}

/// What a byte becomes when `behind` more follow.
#[inline]
fn look_up(behind: usize, byte: u8) -> u32 {
    TABLES
        .get(behind)
        .map_or(0, |table| table[usize::from(byte)])
}

#[inline(never)]
fn by_tables(mut state: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let [a, b, c, d, e, f, g, h] = (u64::from_le_bytes(*word) ^ u64::from(state)).to_le_bytes();
        let early = look_up(7, a) ^ look_up(6, b) ^ look_up(5, c) ^ look_up(4, d);
        let late = look_up(3, e) ^ look_up(2, f) ^ look_up(1, g) ^ look_up(0, h);
        state = early ^ late;
    }
    for &byte in rest {
        state = (state >> 8) ^ look_up(0, state as u8 ^ byte);
    }
    state
}

#[cfg(test)]
mod tests;
