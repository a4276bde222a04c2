// SPDX-License-Identifier: BSD-2-Clause
//! Where the kernel enters the program: the stack, the allocator, what a panic
//! does, and the note that tells the kernel whose program this is.

use core::arch::global_asm;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::ptr::NonNull;

use super::{serve, sys};

/// Memory that `alloc` shares out. A command runs in a forked child, so nothing
/// that a command leaks outlives it.
const HEAP_BYTES: usize = 64 << 20;

// At entry rdi points to argc and the stack is not aligned as a call expects
// (`amd64/amd64/exec_machdep.c`, `exec_setregs`).
global_asm!(
    ".globl _start",
    ".type _start,@function",
    "_start:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym main,
);

// The ABI note that `kern/imgact_elf.c` looks for: owner "FreeBSD", type 1
// (NT_FREEBSD_ABI_TAG), and the osreldate that the program was made for.
global_asm!(
    ".section .note.tag,\"a\",@note",
    ".p2align 2",
    ".long 8, 4, 1",
    ".asciz \"FreeBSD\"",
    ".long 1500000",
    ".previous",
);

extern "C" fn main() -> ! {
    match sys::Pages::private(HEAP_BYTES) {
        Ok(pages) => heap::give(pages, HEAP_BYTES),
        Err(_) => sys::exit(2),
    }
    serve::forever()
}

mod heap {
    use super::{NonNull, sys};
    use core::alloc::{GlobalAlloc, Layout};
    use core::cell::UnsafeCell;
    use core::mem::ManuallyDrop;
    use core::ptr::null_mut;
    use linked_list_allocator::Heap;

    struct OneThread(UnsafeCell<Heap>);

    // SAFETY: the agent never has a second thread; children have their own copy.
    unsafe impl Sync for OneThread {}

    #[global_allocator]
    static HEAP: OneThread = OneThread(UnsafeCell::new(Heap::empty()));

    /// Hands `pages` to the allocator for the life of the process.
    pub(super) fn give(pages: sys::Pages, length: usize) {
        let pages = ManuallyDrop::new(pages);
        // SAFETY: called once, before the first allocation; the mapping is `length`
        // bytes, and nobody unmaps it.
        unsafe { (*HEAP.0.get()).init(pages.start(), length) };
    }

    // SAFETY: `Heap` hands out disjoint blocks of the layout asked for.
    unsafe impl GlobalAlloc for OneThread {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: one thread, and `Heap` calls nothing that would come back here.
            let heap = unsafe { &mut *self.0.get() };
            heap.allocate_first_fit(layout)
                .map_or(null_mut(), NonNull::as_ptr)
        }

        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            let Some(at) = NonNull::new(at) else { return };
            // SAFETY: as above; `at` and `layout` are those of an earlier `alloc`.
            unsafe { (*self.0.get()).deallocate(at, layout) };
        }
    }
}

/// Text in a fixed buffer, for a panic that may be about memory.
struct Note {
    bytes: [u8; 256],
    used: usize,
}

impl Write for Note {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - self.used;
        let taken = text.len().min(room);
        self.bytes[self.used..self.used + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.used += taken;
        Ok(())
    }
}

/// Says what happened and ends the process: in a command's child that is an error
/// reply, in PID 1 the kernel panics, and either way the console has the reason.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut note = Note {
        bytes: [0; 256],
        used: 0,
    };
    let _ = write!(note, "\r\nweft-agent: {info}\r\n");
    serve::say_raw(&note.bytes[..note.used]);
    sys::exit(101)
}
