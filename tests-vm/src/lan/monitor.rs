// SPDX-License-Identifier: BSD-2-Clause
//! QEMU's monitor (QMP): cables are pulled and put in again by it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long QEMU may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// A way to QEMU's monitor. It is connected to for each command.
pub struct Monitor {
    path: PathBuf,
}

impl Monitor {
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// Pulls the cable of a card, or puts it in.
    ///
    /// # Errors
    /// If QEMU is gone, or refuses.
    pub fn set_link(&self, card: usize, up: bool) -> Result<()> {
        let arguments = serde_json::json!({"name": format!("nic{card}"), "up": up});
        self.run("set_link", &arguments)
    }

    fn run(&self, command: &str, arguments: &serde_json::Value) -> Result<()> {
        let mut out = UnixStream::connect(&self.path).context("QEMU's monitor")?;
        out.set_read_timeout(Some(LIMIT))?;
        let mut lines = BufReader::new(out.try_clone()?).lines();
        let mut say = |request: serde_json::Value| -> Result<()> {
            writeln!(out, "{request}")?;
            for line in lines.by_ref() {
                let line = line.context("QEMU's monitor")?;
                let reply: serde_json::Value = serde_json::from_str(&line)?;
                if let Some(error) = reply.get("error") {
                    bail!("QEMU: {request}: {error}");
                }
                if reply.get("return").is_some() {
                    return Ok(());
                }
            }
            bail!("QEMU's monitor is closed")
        };
        say(serde_json::json!({"execute": "qmp_capabilities"}))?;
        say(serde_json::json!({"execute": command, "arguments": arguments}))
    }
}
