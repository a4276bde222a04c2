// SPDX-License-Identifier: BSD-2-Clause
//! The routing table that the scenarios load into the guest: a real one that
//! `WEFT_RIB` names, or a generated one, and the file that the agent reads.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::bufread::GzDecoder;
use weft_engine::sim::table::{NextHops, Prefix, generate, read};

/// Routes of an everyday run. A real table is thinned to about as many.
const EVERYDAY: usize = 20_000;
/// Routes of a full run without a table of one's own.
const FULL: usize = 900_000;
/// Different next hops.
pub const GATEWAYS: u32 = 16;
const SEED: u64 = 15;
/// What the agent expects a table file to begin with.
const MAGIC: &[u8; 8] = b"weftrib4";

/// The prefixes to load: those of the text file `given` (one a line, perhaps
/// compressed by gzip), or generated ones. All of them if `full`, otherwise some 20,000.
///
/// # Errors
/// If the file cannot be read or is no table.
pub fn prefixes(given: Option<&OsStr>, full: bool) -> Result<Vec<Prefix>> {
    let Some(path) = given.filter(|path| !path.is_empty()).map(Path::new) else {
        return Ok(generate(if full { FULL } else { EVERYDAY }, SEED));
    };
    let what = || format!("WEFT_RIB: {}", path.display());
    let all = read(open(path).with_context(what)?)
        .with_context(what)?
        .prefixes;
    let step = if full {
        1
    } else {
        all.len().div_ceil(EVERYDAY).max(1)
    };
    Ok(all
        .into_iter()
        .step_by(step)
        .filter(|prefix| prefix.len > 0)
        .collect())
}

fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let file = BufReader::new(File::open(path)?);
    Ok(match path.extension().is_some_and(|end| end == "gz") {
        true => Box::new(BufReader::new(GzDecoder::new(file))),
        false => Box::new(file),
    })
}

/// Writes the prefixes as the agent's `route load` reads them: eight bytes a route,
/// address in network order, length, number of the gateway, two of nothing.
///
/// # Errors
/// If the file cannot be written.
pub fn write(prefixes: &[Prefix], path: &Path) -> Result<()> {
    let hops = NextHops::Clustered {
        classes: GATEWAYS,
        salt: SEED,
    };
    let mut bytes = MAGIC.to_vec();
    for &prefix in prefixes {
        let gateway = u8::try_from(hops.class(prefix) - 1).unwrap_or(0);
        bytes.extend(prefix.address.to_be_bytes());
        bytes.extend([prefix.len, gateway, 0, 0]);
    }
    let mut file =
        File::create(path).with_context(|| format!("could not write {}", path.display()))?;
    file.write_all(&bytes)
        .with_context(|| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    #[test]
    fn an_everyday_table_is_generated() {
        assert_eq!(prefixes(None, false).unwrap().len(), EVERYDAY);
    }

    #[test]
    fn a_compressed_table_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rib.txt.gz");
        let mut file = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        file.write_all(b"0.0.0.0/0\n192.0.2.0/24\n2001:db8::/32\n")
            .unwrap();
        file.finish().unwrap();
        let found = prefixes(Some(path.as_os_str()), true).unwrap();
        assert_eq!(found, ["192.0.2.0/24".parse().unwrap()]);
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
    fn the_file_has_eight_bytes_a_route() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table");
        write(&["192.0.2.0/24".parse().unwrap()], &path).unwrap();
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(bytes.len(), 16);
        assert_eq!(bytes[8..13], [192, 0, 2, 0, 24]);
        assert!(u32::from(bytes[13]) < GATEWAYS);
    }
}
