// SPDX-License-Identifier: BSD-2-Clause
//! Who holds kernel memory: malloc(9) types, UMA zones, pages. What vmstat(8) -m and
//! -z read, by the binary streams of `sys/malloc.h` and `vm/uma.h`.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::size_of;

use super::command::{Failure, Outcome};
use super::sys::{self, Plain, text_of};
use super::sysctl;

/// `struct malloc_type_stream_header` and `struct uma_stream_header`: the same.
#[repr(C)]
#[derive(Clone, Copy)]
struct StreamHeader {
    version: u32,
    cpus: u32,
    count: u32,
    pad: u32,
}

/// `struct malloc_type_stats`
#[repr(C)]
#[derive(Clone, Copy)]
struct MallocStats {
    bytes_allocated: u64,
    bytes_freed: u64,
    allocations: u64,
    frees: u64,
    reserved: [u64; 4],
}

/// `struct uma_type_header`
#[repr(C)]
#[derive(Clone, Copy)]
struct ZoneHeader {
    name: [u8; 32],
    align: u32,
    size: u32,
    real_size: u32,
    max_pages: u32,
    limit: u32,
    pages: u32,
    keg_free: u32,
    zone_free: u32,
    bucket_size: u32,
    flags: u32,
    allocations: u64,
    frees: u64,
    failures: u64,
    sleeps: u64,
    cross_domain: u64,
    reserved: u64,
}

/// `struct uma_percpu_stat`
#[repr(C)]
#[derive(Clone, Copy)]
struct ZoneCpu {
    allocations: u64,
    frees: u64,
    free_in_cache: u64,
    reserved: [u64; 5],
}

// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for StreamHeader {}
// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for MallocStats {}
// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for ZoneHeader {}
// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for ZoneCpu {}

/// Takes structures one after the other from a stream.
struct Stream<'a>(&'a [u8]);

impl Stream<'_> {
    fn take<T: Plain>(&mut self) -> Result<T, Failure> {
        let value = sys::read_plain(self.0).ok_or(Failure::new("statistics stream ends early"))?;
        self.0 = &self.0[size_of::<T>()..];
        Ok(value)
    }
}

/// `malloc [PREFIX]`: a line a malloc type, `NAME` tab bytes in use, allocations in use,
/// allocations ever. `zones PREFIX`: a line a zone, `NAME` tab items in use, pages
/// held, allocations ever. `pages`: free, active, wired pages.
pub(super) fn command(verb: &str, words: &[&str]) -> Outcome {
    match (verb, words) {
        ("malloc", []) => malloc_types(""),
        ("malloc", [prefix]) => malloc_types(prefix),
        ("zones", [prefix]) => zones(prefix),
        ("pages", []) => pages(),
        _ => Err(Failure::usage("malloc [PREFIX] | zones PREFIX | pages")),
    }
}

fn malloc_types(prefix: &str) -> Outcome {
    let (mut pages, used) = sysctl::raw("kern.malloc_stats")?;
    let mut stream = Stream(&pages.bytes_mut()[..used]);
    let header: StreamHeader = stream.take()?;
    let mut lines = Vec::new();
    for _ in 0..header.count {
        let name = text_of(&stream.take::<[u8; 32]>()?);
        let (mut bytes, mut live, mut ever) = (0u64, 0u64, 0u64);
        for _ in 0..header.cpus {
            let cpu: MallocStats = stream.take()?;
            bytes = bytes
                .wrapping_add(cpu.bytes_allocated)
                .wrapping_sub(cpu.bytes_freed);
            live = live.wrapping_add(cpu.allocations).wrapping_sub(cpu.frees);
            ever = ever.wrapping_add(cpu.allocations);
        }
        if name.starts_with(prefix) {
            lines.push(format!("{name}\t{bytes}\t{live}\t{ever}"));
        }
    }
    Ok(lines)
}

fn zones(prefix: &str) -> Outcome {
    let (mut pages, used) = sysctl::raw("vm.zone_stats")?;
    let mut stream = Stream(&pages.bytes_mut()[..used]);
    let header: StreamHeader = stream.take()?;
    let mut lines = Vec::new();
    for _ in 0..header.count {
        let zone: ZoneHeader = stream.take()?;
        let (mut live, mut ever) = (zone.allocations.wrapping_sub(zone.frees), zone.allocations);
        for _ in 0..header.cpus {
            let cpu: ZoneCpu = stream.take()?;
            live = live.wrapping_add(cpu.allocations).wrapping_sub(cpu.frees);
            ever = ever.wrapping_add(cpu.allocations);
        }
        let name = text_of(&zone.name);
        if name.starts_with(prefix) {
            lines.push(format!("{name}\t{live}\t{}\t{ever}", zone.pages));
        }
    }
    Ok(lines)
}

fn pages() -> Outcome {
    let count = |name: &str| sysctl::count(&format!("vm.stats.vm.{name}"));
    let (free, active, wired) = (
        count("v_free_count")?,
        count("v_active_count")?,
        count("v_wire_count")?,
    );
    Ok(vec![format!("free {free} active {active} wired {wired}")])
}
