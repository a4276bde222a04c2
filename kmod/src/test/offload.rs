// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.test.offload`: sends a packet by an interface that asks for anything, whatever the
//! interface has. Settings are numbers, so that a test writes a header eight bytes at a time.

use core::ffi::CStr;

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::errno::Errno;
use crate::kpi::sent::Asking;
use crate::kpi::slept::Slept;
use crate::kpi::sysctl::{Indexed, Parent, Sysctls};

/// Bytes of the longest header.
const LONGEST: usize = 512;
/// Places of the settings that are more than a number.
const HEADER: usize = 0;
const SHAPE: usize = 1;
const SEND: usize = 4;

const SETTINGS: [(&CStr, &CStr); 5] = [
    (
        c"header",
        c"The next eight bytes of the header, the first one highest",
    ),
    (
        c"shape",
        c"Bytes of the header << 48, mbufs << 32, and bytes of payload; begins a new header",
    ),
    (c"asks", c"Bytes of a segment << 32, and csum_flags"),
    (c"tag", c"The tag beside it, 65536 for none"),
    (
        c"send",
        c"Sends it by the interface whose name these bytes are, the first one highest",
    ),
];

struct Draft {
    header: [u8; LONGEST],
    written: usize,
    values: [u64; SETTINGS.len()],
}

static DRAFT: Slept<Draft> = Slept::new(Draft {
    header: [0; LONGEST],
    written: 0,
    values: [0; SETTINGS.len()],
});

impl Draft {
    fn write(
        &mut self,
        sleepable: &mut Sleepable,
        vnet: &Vnet<'_>,
        index: usize,
        value: u64,
    ) -> Result<(), Errno> {
        match index {
            HEADER => {
                let room = self.header.get_mut(self.written..).unwrap_or_default();
                let place = room.first_chunk_mut().ok_or(Errno::EINVAL)?;
                *place = value.to_be_bytes();
                self.written = self.written.wrapping_add(8);
            }
            SEND => return self.send(sleepable, vnet, value),
            _ => {
                self.written = if index == SHAPE { 0 } else { self.written };
                let place = self.values.get_mut(index).ok_or(Errno::EINVAL)?;
                *place = value;
            }
        }
        Ok(())
    }

    fn send(&self, sleepable: &mut Sleepable, vnet: &Vnet<'_>, name: u64) -> Result<(), Errno> {
        let mut text = [0; 9];
        for (to, from) in text.iter_mut().zip(name.to_be_bytes()) {
            *to = from;
        }
        let name = CStr::from_bytes_until_nul(&text).map_err(|_| Errno::EINVAL)?;
        let [_, shape, asks, tag, _] = self.values;
        let asking = Asking {
            header: self
                .header
                .get(..(shape >> 48) as usize)
                .ok_or(Errno::EINVAL)?,
            payload: shape as u32,
            pieces: (shape >> 32) as u16 as u32,
            csum_flags: asks as u32,
            segsz: (asks >> 32) as u16,
            tag: u16::try_from(tag).ok(),
        };
        asking.send(sleepable, vnet, name)
    }
}

struct Settings;

impl Indexed for Settings {
    fn read(index: u32, sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        DRAFT.with(sleepable, |_, draft| {
            draft.values.get(index as usize).copied().unwrap_or(0)
        })
    }

    fn write(
        index: u32,
        sleepable: &mut Sleepable,
        vnet: &Vnet<'_>,
        value: u64,
    ) -> Result<(), Errno> {
        DRAFT.with(sleepable, |sleepable, draft| {
            draft.write(sleepable, vnet, index as usize, value)
        })
    }
}

/// Adds this file's part of `net.weft.test`.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn add_sysctls(tree: &mut Sysctls, test: Parent) -> Result<(), Errno> {
    let about = c"A packet that asks an interface for anything";
    let node = tree.node(test, c"offload", about)?;
    for (index, (name, about)) in (0..).zip(SETTINGS) {
        tree.setting_of::<Settings>(node, name, index, about)?;
    }
    Ok(())
}
