// SPDX-License-Identifier: BSD-2-Clause
//! The routing tables of both families that the scenarios load into the guest: real
//! ones that `WEFT_RIB` names, or generated ones, and the files that the agent reads.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::bufread::GzDecoder;
use weft_engine::fib::Key;
use weft_engine::sim::table::{NextHops, Prefix, Prefix6, generate, generate6, read};

/// Routes of each family in an everyday run. A real table is thinned to about as many.
pub const EVERYDAY: [usize; 2] = [20_000, 8_000];
/// Routes of each family in a full run without a table of one's own.
const FULL: [usize; 2] = [900_000, 160_000];
/// Different next hops.
pub const GATEWAYS: u32 = 16;
const SEED: u64 = 15;
/// What the agent expects a table file to begin with.
const MAGIC_V4: &[u8; 8] = b"weftrib4";
const MAGIC_V6: &[u8; 8] = b"weftrib6";

/// The prefixes of a table, sorted, without default routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// IPv4's.
    pub v4: Vec<Prefix>,
    /// IPv6's.
    pub v6: Vec<Prefix6>,
}

/// The prefixes to load: those of the text file `given` (one a line, perhaps
/// compressed by gzip), or generated ones. All of them if `full`, otherwise some
/// 20,000 of IPv4 and 8,000 of IPv6. A family that the file lacks is generated.
///
/// # Errors
/// If the file cannot be read or is no table.
pub fn prefixes(given: Option<&OsStr>, full: bool) -> Result<Prefixes> {
    let counts = if full { FULL } else { EVERYDAY };
    let mut found = match given.filter(|path| !path.is_empty()).map(Path::new) {
        Some(path) => parse(path).with_context(|| format!("WEFT_RIB: {}", path.display()))?,
        None => Prefixes::default(),
    };
    if !full {
        found.v4 = thinned(found.v4, EVERYDAY[0]);
        found.v6 = thinned(found.v6, EVERYDAY[1]);
    }
    if found.v4.is_empty() {
        found.v4 = generate(counts[0], SEED);
    }
    if found.v6.is_empty() {
        found.v6 = generate6(counts[1], SEED);
    }
    Ok(found)
}

/// About `count` of the list, evenly.
fn thinned<T>(list: Vec<T>, count: usize) -> Vec<T> {
    let step = list.len().div_ceil(count).max(1);
    list.into_iter().step_by(step).collect()
}

fn parse(path: &Path) -> Result<Prefixes> {
    let text = read(open(path)?)?;
    Ok(Prefixes {
        v4: in_order(text.prefixes),
        v6: in_order(text.prefixes6),
    })
}

/// Each prefix once, without the default route.
fn in_order<K: Key>(mut prefixes: Vec<Prefix<K>>) -> Vec<Prefix<K>> {
    prefixes.retain(|prefix| prefix.len > 0);
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let file = BufReader::new(File::open(path)?);
    Ok(match path.extension().is_some_and(|end| end == "gz") {
        true => Box::new(BufReader::new(GzDecoder::new(file))),
        false => Box::new(file),
    })
}

/// Writes the prefixes as the agent's `route load` reads them, a file a family: a
/// record a route, of the address in network order, the length, the number of the
/// gateway, two bytes of nothing.
///
/// # Errors
/// If a file cannot be written.
pub fn write(prefixes: &Prefixes, v4: &Path, v6: &Path) -> Result<()> {
    write_file(v4, MAGIC_V4, &prefixes.v4, |address| {
        address.to_be_bytes().to_vec()
    })?;
    write_file(v6, MAGIC_V6, &prefixes.v6, |address| {
        address.to_be_bytes().to_vec()
    })
}

fn write_file<K: Key>(
    path: &Path,
    magic: &[u8],
    prefixes: &[Prefix<K>],
    octets: impl Fn(K) -> Vec<u8>,
) -> Result<()> {
    let hops = NextHops::Clustered {
        classes: GATEWAYS,
        salt: SEED,
    };
    let mut bytes = magic.to_vec();
    for &prefix in prefixes {
        let gateway = u8::try_from(hops.class(prefix) - 1).unwrap_or(0);
        bytes.extend(octets(prefix.address));
        bytes.extend([prefix.len, gateway, 0, 0]);
    }
    let what = || format!("could not write {}", path.display());
    let mut file = File::create(path).with_context(what)?;
    file.write_all(&bytes).with_context(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    #[test]
    fn an_everyday_table_is_generated() {
        let found = prefixes(None, false).unwrap();
        assert_eq!([found.v4.len(), found.v6.len()], EVERYDAY);
    }

    fn compressed(folder: &Path, text: &[u8]) -> std::path::PathBuf {
        let path = folder.join("rib.txt.gz");
        let mut file = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        file.write_all(text).unwrap();
        file.finish().unwrap();
        path
    }

    #[test]
    fn a_compressed_table_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"0.0.0.0/0\n192.0.2.0/24 # one\n2001:db8::/32\n::/0\n";
        let path = compressed(folder.path(), text);
        let found = prefixes(Some(path.as_os_str()), true).unwrap();
        assert_eq!(found.v4, ["192.0.2.0/24".parse().unwrap()]);
        assert_eq!(found.v6, ["2001:db8::/32".parse().unwrap()]);
    }

    #[test]
    fn a_family_that_the_table_lacks_is_generated() {
        let folder = tempfile::tempdir().unwrap();
        let path = compressed(folder.path(), b"192.0.2.0/24\n");
        let found = prefixes(Some(path.as_os_str()), false).unwrap();
        assert_eq!([found.v4.len(), found.v6.len()], [1, EVERYDAY[1]]);
    }

    #[test]
    fn a_missing_table_is_an_error() {
        let error = prefixes(Some(OsStr::new("/nonexistent/rib")), false).unwrap_err();
        assert!(
            format!("{error:#}").contains("/nonexistent/rib"),
            "{error:#}"
        );
    }

    #[test]
    fn the_files_have_a_record_a_route() {
        let folder = tempfile::tempdir().unwrap();
        let (v4, v6) = (folder.path().join("v4"), folder.path().join("v6"));
        let table = Prefixes {
            v4: vec!["192.0.2.0/24".parse().unwrap()],
            v6: vec!["2001:db8::/32".parse().unwrap()],
        };
        write(&table, &v4, &v6).unwrap();
        let bytes = std::fs::read(v4).unwrap();
        assert_eq!(bytes.len(), 8 + 8);
        assert_eq!(bytes[8..13], [192, 0, 2, 0, 24]);
        assert!(u32::from(bytes[13]) < GATEWAYS);
        let bytes = std::fs::read(v6).unwrap();
        assert_eq!(bytes.len(), 8 + 20);
        assert_eq!(bytes[8..12], [0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!(bytes[24], 32);
        assert!(u32::from(bytes[25]) < GATEWAYS);
    }
}
