// SPDX-License-Identifier: BSD-2-Clause
//! Who a command is run as.

use super::sys::{self, Result};

/// Makes this process one of an ordinary user, with that number and no other group, for good.
pub(super) fn turn_into(user: u32) -> Result<()> {
    sys::set_groups(user)?;
    sys::set_user(user)
}
