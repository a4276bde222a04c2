// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask vm fetch-image`: downloads FreeBSD's own virtual machine image and
//! holds it against the SHA-512 that is published beside it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha512};

/// The project's download server.
const SERVER: &str = "https://download.freebsd.org/releases/VM-IMAGES";
/// The list of checksums in each folder there.
const CHECKSUMS: &str = "CHECKSUM.SHA512";
/// The image that takes a second disk with what to run (nuageinit(7)), on UFS.
const FLAVOUR: &str = "BASIC-CLOUDINIT-ufs.qcow2.xz";
/// The longest list of checksums that is read.
const LONGEST_LIST: u64 = 1 << 20;

/// The arguments of `cargo xtask vm fetch-image`.
#[derive(clap::Args, Clone, Debug)]
pub struct FetchArgs {
    /// The release to fetch
    #[arg(long, default_value = "15.1-RELEASE")]
    pub release: String,
    /// The folder to fetch from, instead of the release's on FreeBSD's server
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// The folder to put it into, instead of the cache
    #[arg(long, value_name = "FOLDER")]
    pub to: Option<PathBuf>,
}

/// Downloads, checks and unpacks the image, and says how to use it.
///
/// # Errors
/// If the server or the checksum does not give what it should.
pub fn run(args: &FetchArgs) -> Result<()> {
    let from = args
        .from
        .clone()
        .unwrap_or_else(|| format!("{SERVER}/{}/amd64/Latest", args.release));
    let folder = match &args.to {
        Some(folder) => folder.clone(),
        None => crate::kernel::cache_folder()
            .context("no cache folder: set HOME")?
            .join("images"),
    };
    let packed = fetch(&from, &folder)?;
    let image = unpack(&packed)?;
    println!(
        "{}\nuse it by WEFT_IMAGE={} cargo xtask vm",
        image.display(),
        image.display()
    );
    Ok(())
}

/// Downloads the image of the folder `from` into `folder`, unless it is there already
/// with the right checksum, and gives its path.
fn fetch(from: &str, folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("could not make {}", folder.display()))?;
    let list = get(&format!("{from}/{CHECKSUMS}"))?.take(LONGEST_LIST);
    let (name, wanted) = find_image(BufReader::new(list))?;
    let path = folder.join(&name);
    if path.exists() && hash(File::open(&path)?, std::io::sink())? == wanted {
        return Ok(path);
    }
    let partial = folder.join(format!("{name}.part"));
    let out =
        File::create(&partial).with_context(|| format!("could not write {}", partial.display()))?;
    let found = hash(get(&format!("{from}/{name}"))?, out)?;
    if found != wanted {
        std::fs::remove_file(&partial)?;
        bail!("{from}/{name}: SHA-512 is {found}, {CHECKSUMS} says {wanted}");
    }
    std::fs::rename(&partial, &path)?;
    Ok(path)
}

fn get(url: &str) -> Result<Box<dyn Read>> {
    let response = ureq::get(url)
        .call()
        .with_context(|| format!("could not fetch {url}"))?;
    Ok(Box::new(response.into_body().into_reader()))
}

/// Copies `from` to `to` and gives its SHA-512 in hexadecimal.
fn hash(mut from: impl Read, mut to: impl Write) -> Result<String> {
    let mut digest = Sha512::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let got = from.read(&mut buffer).context("the download broke off")?;
        if got == 0 {
            return Ok(digest
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect());
        }
        digest.update(&buffer[..got]);
        to.write_all(&buffer[..got])
            .context("could not write the download")?;
    }
}

/// The name and checksum of the image in a list as sha512(1) prints it:
/// `SHA512 (NAME) = HEX`.
fn find_image(list: impl BufRead) -> Result<(String, String)> {
    for line in list.lines() {
        let line = line.context("could not read the list of checksums")?;
        let parts = line
            .strip_prefix("SHA512 (")
            .and_then(|rest| rest.split_once(") = "));
        let Some((name, sum)) = parts.filter(|(name, _)| name.ends_with(FLAVOUR)) else {
            continue;
        };
        ensure!(
            !name.contains('/'),
            "{CHECKSUMS} names a file in another folder: {name}"
        );
        let sum = sum.trim().to_ascii_lowercase();
        let is_sum = sum.len() == 128 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        ensure!(is_sum, "{CHECKSUMS} has no SHA-512 for {name}: {sum}");
        return Ok((name.into(), sum));
    }
    bail!("{CHECKSUMS} names no file that ends in {FLAVOUR}")
}

/// Unpacks `NAME.xz` beside itself as `NAME`, by xz(1).
fn unpack(packed: &Path) -> Result<PathBuf> {
    let image = packed.with_extension("");
    let partial = packed.with_extension("part");
    let out =
        File::create(&partial).with_context(|| format!("could not write {}", partial.display()))?;
    let mut command = Command::new("xz");
    let status = command
        .args(["-d", "-c"])
        .arg(packed)
        .stdout(out)
        .status()
        .context("could not start xz")?;
    ensure!(
        status.success(),
        "xz could not unpack {} ({status})",
        packed.display()
    );
    std::fs::rename(&partial, &image)?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "FreeBSD-15.1-RELEASE-amd64-BASIC-CLOUDINIT-ufs.qcow2.xz";

    fn sum_of(bytes: &[u8]) -> String {
        hash(bytes, std::io::sink()).unwrap()
    }

    /// A server with these files, and its address.
    fn serve(files: Vec<(String, Vec<u8>)>) -> String {
        let server = tiny_http::Server::http("127.0.0.1:0").unwrap();
        let address = format!("http://{}", server.server_addr().to_ip().unwrap());
        std::thread::spawn(move || {
            for request in server.incoming_requests() {
                let file = files
                    .iter()
                    .find(|(name, _)| request.url() == format!("/{name}"));
                let response = match file {
                    Some((_, bytes)) => tiny_http::Response::from_data(bytes.clone()),
                    None => tiny_http::Response::from_string("gone").with_status_code(404),
                };
                request.respond(response).unwrap();
            }
        });
        address
    }

    fn list(sum: &str) -> (String, Vec<u8>) {
        let other = NAME.replace("ufs", "zfs");
        let text = format!(
            "SHA512 ({other}) = {}\nSHA512 ({NAME}) = {sum}\n",
            "0".repeat(128)
        );
        (CHECKSUMS.into(), text.into_bytes())
    }

    #[test]
    fn a_known_sum() {
        assert!(sum_of(b"abc").starts_with("ddaf35a193617abacc417349ae204131"));
    }

    #[test]
    fn the_image_is_fetched_once_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let address = serve(vec![
            list(&sum_of(b"image")),
            (NAME.into(), b"image".to_vec()),
        ]);
        let path = fetch(&address, folder.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"image");

        let only_list = serve(vec![list(&sum_of(b"image"))]);
        assert_eq!(fetch(&only_list, folder.path()).unwrap(), path);

        std::fs::write(&path, "damaged").unwrap();
        assert!(fetch(&only_list, folder.path()).is_err());
    }

    #[test]
    fn a_wrong_sum_is_refused_and_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let address = serve(vec![
            list(&sum_of(b"other")),
            (NAME.into(), b"image".to_vec()),
        ]);
        let error = fetch(&address, folder.path()).unwrap_err();
        assert!(error.to_string().contains("SHA-512 is"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn odd_lists_are_refused() {
        let find = |text: &str| find_image(text.as_bytes());
        let sum = "a".repeat(128);
        assert_eq!(
            find(&format!("SHA512 ({NAME}) = {sum}")).unwrap(),
            (NAME.into(), sum.clone())
        );
        assert!(find("").is_err());
        assert!(find(&format!("SHA512 ({NAME}) = 1234")).is_err());
        assert!(find(&format!("SHA512 (../{NAME}) = {sum}")).is_err());
        assert!(find(&format!("SHA256 ({NAME}) = {sum}")).is_err());
    }

    #[test]
    fn a_packed_image_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("x.qcow2");
        std::fs::write(&image, "image").unwrap();
        assert!(Command::new("xz").arg(&image).status().unwrap().success());
        assert_eq!(unpack(&folder.path().join("x.qcow2.xz")).unwrap(), image);
        assert_eq!(std::fs::read(image).unwrap(), b"image");
    }
}
