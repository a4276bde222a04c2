// SPDX-License-Identifier: BSD-2-Clause
//! By the instruction, in three streams: it takes one word a cycle, but has its result only
//! three cycles later.
//!
//! It is written in assembly since the compiler gives intrinsics of SSE4.2 only to functions
//! that may use vector registers as well, which none in a kernel may.

use core::arch::asm;

/// Bytes of one stream in a round.
const STREAM: usize = 128;

/// The state after the bytes.
///
/// # Safety
///
/// The processor has SSE4.2.
#[inline(never)]
pub(super) unsafe fn update(mut state: u32, bytes: &[u8]) -> u32 {
    let (rounds, rest) = bytes.as_chunks::<{ STREAM * 3 }>();
    for round in rounds {
        let (streams, _) = round.as_chunks::<STREAM>();
        if let [one, two, three] = streams {
            // SAFETY: the caller's promise.
            state = unsafe { abreast(state, one, two, three) };
        }
    }
    let (words, rest) = rest.as_chunks::<8>();
    let mut wide = u64::from(state);
    for word in words {
        // SAFETY: the caller's promise.
        wide = unsafe { step(wide, u64::from_le_bytes(*word)) };
    }
    state = wide as u32;
    for &byte in rest {
        // SAFETY: the caller's promise; nothing but a register changes.
        unsafe {
            asm!("crc32 {state:e}, {byte}", state = inout(reg) state, byte = in(reg_byte) byte,
                options(pure, nomem, nostack, preserves_flags));
        }
    }
    state
}

/// The state after three streams behind one another.
///
/// # Safety
///
/// As for `update`.
#[inline]
unsafe fn abreast(state: u32, one: &[u8; STREAM], two: &[u8; STREAM], three: &[u8; STREAM]) -> u32 {
    let (mut first, mut second, mut third) = (u64::from(state), 0, 0);
    let (one, _) = one.as_chunks::<8>();
    let (two, _) = two.as_chunks::<8>();
    let (three, _) = three.as_chunks::<8>();
    for ((one, two), three) in one.iter().zip(two).zip(three) {
        // SAFETY: the caller's promise.
        unsafe {
            first = step(first, u64::from_le_bytes(*one));
            second = step(second, u64::from_le_bytes(*two));
            third = step(third, u64::from_le_bytes(*three));
        }
    }
    let both = moved(first as u32) ^ second as u32;
    moved(both) ^ third as u32
}

/// # Safety
///
/// As for `update`.
#[inline(always)]
unsafe fn step(mut state: u64, word: u64) -> u64 {
    // SAFETY: the caller's promise; nothing but a register changes.
    unsafe {
        asm!("crc32 {state}, {word}", state = inout(reg) state, word = in(reg) word,
            options(pure, nomem, nostack, preserves_flags));
    }
    state
}

/// What a state becomes when a stream of zeros follows: a sum of what each byte becomes.
#[inline]
fn moved(state: u32) -> u32 {
    let [a, b, c, d] = state.to_le_bytes().map(usize::from);
    MOVED[0][a] ^ MOVED[1][b] ^ MOVED[2][c] ^ MOVED[3][d]
}

static MOVED: [[u32; 256]; 4] = moves();

const fn moves() -> [[u32; 256]; 4] {
    let mut moves = [[0; 256]; 4];
    let mut n = 0;
    while n < 4 {
        // The move is linear, so that those of single bits tell all.
        let mut bit = 0;
        while bit < 8 {
            moves[n][1 << bit] = zeros(1 << (8 * n + bit));
            bit += 1;
        }
        let mut byte = 1;
        while byte < 256usize {
            let rest = byte & (byte - 1);
            moves[n][byte] = moves[n][rest] ^ moves[n][byte ^ rest];
            byte += 1;
        }
        n += 1;
    }
    moves
}

const fn zeros(mut state: u32) -> u32 {
    let mut left = STREAM;
    while left > 0 {
        state = (state >> 8) ^ TABLE[(state & 0xff) as usize];
        left -= 1;
    }
    state
}

/// The table for one byte, which is known before the program runs.
const TABLE: [u32; 256] = super::tables()[0];
