// SPDX-License-Identifier: BSD-2-Clause
//! DPDK's tables, by the glue in `dpdk/glue.c`.

use crate::c_peer::{self, CPeers, RawPeer};
use std::ffi::c_int;
use std::sync::OnceLock;

// SAFETY: as `dpdk/glue.c` defines them.
unsafe extern "C" {
    fn weft_dpdk_start() -> c_int;
    fn weft_dpdk_peer(index: usize) -> *const RawPeer;
}

/// Starts DPDK if it is not. The error says why not.
pub(crate) fn start() -> Result<(), String> {
    static STARTED: OnceLock<c_int> = OnceLock::new();
    // SAFETY: called once.
    let error = *STARTED.get_or_init(|| unsafe { weft_dpdk_start() });
    if error != 0 {
        let error = std::io::Error::from_raw_os_error(error);
        return Err(format!(
            "DPDK {} does not start: {error}",
            env!("WEFT_DPDK_VERSION")
        ));
    }
    Ok(())
}

/// DPDK's route tables. The error says why there are none.
pub(crate) fn peers() -> Result<CPeers, String> {
    start()?;
    // SAFETY: the glue keeps to `peer.h`.
    unsafe { c_peer::peers(weft_dpdk_peer) }.map_err(|error| format!("{error:#}"))
}
