// SPDX-License-Identifier: BSD-2-Clause
//! What the device does with a frame that is sent: it fills in the checksum and cuts, by what the
//! header in front of it says.

use crate::machine::frames::ones;

/// A header, of 10 or 12 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    flags: u8,
    cut: u8,
    header_len: usize,
    size: usize,
    from: usize,
    at: usize,
}

impl Header {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let word = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        Self {
            flags: bytes[0],
            cut: bytes[1],
            header_len: word(2),
            size: word(4),
            from: word(6),
            at: word(8),
        }
    }

    /// What goes over the wire.
    pub(super) fn apply(
        &self,
        mut frame: Vec<u8>,
        fills: bool,
        cuts: bool,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, String> {
        if self.flags & !1 != 0 || self.flags & 1 != 0 && !fills || self.cut != 0 && !cuts {
            return Err(format!("what was not agreed upon: {self:?}"));
        }
        if frame.len() < 14 {
            return Err(format!("a frame of {} bytes", frame.len()));
        }
        if self.cut == 0 {
            if frame.len() > most {
                return Err(format!("a frame of {} bytes, of {most}", frame.len()));
            }
            if self.flags & 1 != 0 {
                fill(&mut frame, self.from, self.at)?;
            }
            return Ok(vec![frame]);
        }
        self.cut(&frame, most)
    }

    fn cut(&self, frame: &[u8], most: usize) -> Result<Vec<Vec<u8>>, String> {
        let is_ipv6 = match self.cut {
            1 => false,
            4 => true,
            _ => return Err(format!("cut in a way that there is not: {self:?}")),
        };
        let tcp = self.from;
        let headers = tcp + usize::from(frame[tcp + 12] >> 4) * 4;
        if self.flags & 1 == 0 || headers != self.header_len || self.size == 0 || self.at != 16 {
            return Err(format!("a segment that cannot be cut: {self:?}"));
        }
        if headers + self.size > most {
            return Err(format!("cut into frames that are too long: {self:?}"));
        }
        let ip = if is_ipv6 { tcp - 40 } else { tcp - 20 };
        let (header, payload) = frame.split_at(headers);
        let count = payload.len().div_ceil(self.size);
        let mut all = Vec::new();
        for (n, part) in payload.chunks(self.size).enumerate() {
            let mut one = [header, part].concat();
            let len = one.len() - ip;
            let set = |one: &mut Vec<u8>, at: usize, value: u16| {
                one[at..at + 2].copy_from_slice(&value.to_be_bytes());
            };
            if is_ipv6 {
                set(&mut one, ip + 4, len as u16 - 40);
            } else {
                let id = u16::from_be_bytes([one[ip + 4], one[ip + 5]]);
                set(&mut one, ip + 2, len as u16);
                set(&mut one, ip + 4, id.wrapping_add(n as u16));
                set(&mut one, ip + 10, 0);
                let sum = !ones(&one[ip..tcp]);
                set(&mut one, ip + 10, sum);
            }
            let sequence = u32::from_be_bytes(one[tcp + 4..tcp + 8].try_into().unwrap());
            let sequence = sequence.wrapping_add((n * self.size) as u32);
            one[tcp + 4..tcp + 8].copy_from_slice(&sequence.to_be_bytes());
            if n + 1 < count {
                one[tcp + 13] &= !9;
            }
            let addresses = if is_ipv6 {
                ip + 8..ip + 40
            } else {
                ip + 12..ip + 20
            };
            let mut pseudo = one[addresses].to_vec();
            pseudo.extend((one.len() as u32 - tcp as u32).to_be_bytes());
            pseudo.extend([0, 0, 0, 6]);
            set(&mut one, tcp + 16, ones(&pseudo));
            fill(&mut one, tcp, 16)?;
            all.push(one);
        }
        Ok(all)
    }
}

fn fill(frame: &mut [u8], from: usize, at: usize) -> Result<(), String> {
    let field = from + at;
    if field + 2 > frame.len() {
        return Err(format!("a checksum outside of the frame, at {field}"));
    }
    let sum = !ones(&frame[from..]);
    let sum = if sum == 0 { 0xffff } else { sum };
    frame[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}
