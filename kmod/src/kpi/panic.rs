// SPDX-License-Identifier: BSD-2-Clause
//! A Rust panic becomes panic(9), with its file and line, without allocation.

use core::panic::PanicInfo;

use weft_bindings::kernel as c;

use super::text::Text;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let text = match info.location() {
        Some(place) => Text::<256>::format(format_args!(
            "{}:{}: {}",
            place.file(),
            place.line(),
            info.message()
        )),
        None => Text::<256>::format(format_args!("{}", info.message())),
    };
    let bytes = text.as_bytes();
    // SAFETY: the pointer and the length are those of one live slice.
    unsafe { c::weft_shim_panic(bytes.as_ptr().cast(), bytes.len()) }
}
