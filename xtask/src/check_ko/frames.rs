// SPDX-License-Identifier: BSD-2-Clause
//! Rule 7: no function takes more than its share of the kernel stack.
//!
//! A kernel thread has four pages (`KSTACK_PAGES`, `sys/amd64/include/param.h`),
//! which the network stack below and above the module shares. A function's
//! frame is measured from its code: how far below its value at entry the stack
//! pointer can get, pushes included, the return address and callees not.
//!
//! The walk follows the branches within the function and visits each
//! instruction once, carrying the depth of RSP and, where RBP is the frame
//! pointer, of RBP. Targets of computed jumps are unknown; code that no other
//! path reaches is taken to start at the depth of the deepest computed jump. A
//! stack pointer that is not entry minus a constant (`sub rsp, rax`) is refused,
//! and so is a loop that moves it (a stack probe).

use super::code::{self, Function};
use super::module::{Home, Module, Place};
use super::violation::Violation;
use iced_x86::{
    FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};
use object::elf;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// A call that never returns leaves its stack arguments behind, and the code
/// after it belongs to another path: paths may differ by this many bytes.
const SLACK: i64 = 64;

/// The stack pointer is a multiple of 8 at least, so rounding it down to `n`
/// costs at most `n - 8` bytes.
const WORD: i64 = 8;

/// A function and the bytes of stack it takes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Frame {
    pub(crate) function: Place,
    pub(crate) bytes: u64,
}

/// Measures `functions`: the frames, largest first, and what is refused.
pub(super) fn check(
    module: &Module<'_>,
    functions: &[Function],
    limit: u64,
) -> (Vec<Frame>, Vec<Violation>) {
    let mut frames = Vec::new();
    let mut found = Vec::new();
    for function in functions {
        let mut walk = Walk::new(module, *function);
        walk.run();
        found.append(&mut walk.found);
        let frame = Frame {
            function: function.place(module),
            bytes: walk.deepest as u64,
        };
        if frame.bytes > limit {
            let (function, bytes) = (frame.function.clone(), frame.bytes);
            found.push(Violation::FrameTooLarge {
                function,
                bytes,
                limit,
            });
        }
        frames.push(frame);
    }
    frames.sort_by_key(|frame| std::cmp::Reverse(frame.bytes));
    (frames, found)
}

/// Bytes below the stack pointer's value at entry.
#[derive(Clone, Copy)]
struct Depth {
    rsp: i64,
    /// Known while RBP points into the frame.
    rbp: Option<i64>,
}

struct Walk<'m, 'd> {
    module: &'m Module<'d>,
    function: Function,
    code: BTreeMap<u64, Instruction>,
    registers: InstructionInfoFactory,
    seen: HashMap<u64, Depth>,
    /// To visit first.
    ready: Vec<(u64, Depth)>,
    /// To visit when nothing is ready: a call may not return, so what other
    /// paths say about the code after it counts for more.
    after_calls: Vec<(u64, Depth)>,
    /// For code that only computed jumps reach.
    at_jumps: Depth,
    deepest: i64,
    found: Vec<Violation>,
}

impl<'m, 'd> Walk<'m, 'd> {
    fn new(module: &'m Module<'d>, function: Function) -> Self {
        let entry = Depth { rsp: 0, rbp: None };
        Self {
            module,
            function,
            code: function.instructions(module).map(|i| (i.ip(), i)).collect(),
            registers: InstructionInfoFactory::new(),
            seen: HashMap::new(),
            ready: vec![(function.start, entry)],
            after_calls: Vec::new(),
            at_jumps: entry,
            deepest: 0,
            found: Vec::new(),
        }
    }

    fn run(&mut self) {
        loop {
            while let Some((ip, depth)) = self.ready.pop().or_else(|| self.after_calls.pop()) {
                self.visit(ip, depth);
            }
            match self.first_unseen() {
                Some(ip) => self.ready.push((ip, self.at_jumps)),
                None => return,
            }
        }
    }

    /// The first instruction that no path has reached, padding excepted.
    fn first_unseen(&self) -> Option<u64> {
        const PADDING: [Mnemonic; 4] = [
            Mnemonic::Nop,
            Mnemonic::Int3,
            Mnemonic::Ud2,
            Mnemonic::INVALID,
        ];
        let mut code = self.code.iter();
        let (ip, _) = code.find(|(ip, instruction)| {
            !self.seen.contains_key(ip) && !PADDING.contains(&instruction.mnemonic())
        })?;
        Some(*ip)
    }

    fn visit(&mut self, ip: u64, before: Depth) {
        let Some(instruction) = self.code.get(&ip).copied() else {
            return;
        };
        if let Some(earlier) = self.seen.get(&ip).copied() {
            return self.compare(ip, earlier, before);
        }
        self.seen.insert(ip, before);
        let after = self.after(&instruction, before);
        self.deepest = self.deepest.max(after.rsp);
        self.follow(&instruction, after);
    }

    fn compare(&mut self, ip: u64, earlier: Depth, now: Depth) {
        if now.rsp - earlier.rsp > SLACK {
            let place = self.module.place(self.function.section, ip);
            let bytes = (now.rsp - earlier.rsp) as u64;
            self.found
                .push(Violation::StackDepthVaries { place, bytes });
        }
    }

    fn follow(&mut self, instruction: &Instruction, depth: Depth) {
        let next = (instruction.next_ip(), depth);
        match instruction.flow_control() {
            FlowControl::Next | FlowControl::XbeginXabortXend => self.ready.push(next),
            FlowControl::Interrupt if instruction.mnemonic() != Mnemonic::Int3 => {
                self.ready.push(next);
            }
            FlowControl::Call | FlowControl::IndirectCall => self.after_calls.push(next),
            FlowControl::UnconditionalBranch => self.branch(instruction, depth),
            FlowControl::ConditionalBranch => {
                self.ready.push(next);
                self.branch(instruction, depth);
            }
            FlowControl::IndirectBranch => self.note_jump(depth),
            FlowControl::Return | FlowControl::Exception | FlowControl::Interrupt => {}
        }
    }

    /// A branch that leaves the function with a frame may be a computed jump by
    /// way of a retpoline.
    fn branch(&mut self, instruction: &Instruction, depth: Depth) {
        match self.target(instruction) {
            Some(target) if self.code.contains_key(&target) => self.ready.push((target, depth)),
            _ => self.note_jump(depth),
        }
    }

    fn note_jump(&mut self, depth: Depth) {
        if depth.rsp > self.at_jumps.rsp {
            self.at_jumps = depth;
        }
    }

    /// The offset in this section that a direct branch goes to. Where a
    /// relocation patches the branch, its symbol says.
    fn target(&self, instruction: &Instruction) -> Option<u64> {
        let section = &self.module.sections[self.function.section];
        let Some(relocation) = section.relocation_in(instruction.ip(), instruction.next_ip())
        else {
            return Some(instruction.near_branch_target());
        };
        let symbol = self.module.symbols.get(relocation.symbol)?;
        let pc_relative = [elf::R_X86_64_PC32, elf::R_X86_64_PLT32].contains(&relocation.kind);
        if !pc_relative || symbol.home != Home::Section(self.function.section) {
            return None;
        }
        let past_field = instruction.next_ip() - relocation.offset;
        symbol
            .value
            .checked_add_signed(relocation.addend)?
            .checked_add(past_field)
    }

    fn after(&mut self, instruction: &Instruction, before: Depth) -> Depth {
        use FlowControl::{Call, IndirectCall, Return};
        if matches!(instruction.flow_control(), Call | IndirectCall | Return) {
            return before;
        }
        let mut after = before;
        if self.writes(instruction, Register::RBP) {
            after.rbp = frame_pointer(instruction, before);
        }
        if self.writes(instruction, Register::RSP) {
            match stack_pointer(instruction, before) {
                Some(rsp) => after.rsp = rsp,
                None => self.found.push(Violation::StackPointerComputed {
                    instruction: code::text(instruction),
                    place: self.module.place(self.function.section, instruction.ip()),
                }),
            }
        }
        after
    }

    fn writes(&mut self, instruction: &Instruction, register: Register) -> bool {
        use OpAccess::{CondWrite, ReadCondWrite, ReadWrite, Write};
        let used = self.registers.info(instruction).used_registers();
        used.iter().any(|used| {
            used.register().full_register() == register
                && matches!(used.access(), Write | CondWrite | ReadWrite | ReadCondWrite)
        })
    }
}

/// Where RBP points after `instruction` wrote it, if it is into the frame.
fn frame_pointer(instruction: &Instruction, before: Depth) -> Option<i64> {
    match instruction.mnemonic() {
        Mnemonic::Mov if is_register(instruction, 1) => pointer(instruction.op1_register(), before),
        Mnemonic::Lea => address(instruction, before),
        _ => None,
    }
}

/// The depth of RSP after `instruction` wrote it, if it is a constant.
fn stack_pointer(instruction: &Instruction, before: Depth) -> Option<i64> {
    let to_rsp =
        instruction.op0_kind() == OpKind::Register && instruction.op0_register() == Register::RSP;
    let pushed = i64::from(instruction.stack_pointer_increment());
    match instruction.mnemonic() {
        Mnemonic::Push | Mnemonic::Pushf | Mnemonic::Pushfq => Some(before.rsp - pushed),
        Mnemonic::Popf | Mnemonic::Popfq => Some(before.rsp - pushed),
        Mnemonic::Pop if !to_rsp => Some(before.rsp - pushed),
        Mnemonic::Leave => Some(before.rbp? - WORD),
        Mnemonic::Sub if to_rsp => Some(before.rsp + immediate(instruction)?),
        Mnemonic::Add if to_rsp => Some(before.rsp - immediate(instruction)?),
        Mnemonic::And if to_rsp => Some(before.rsp + alignment(instruction)? - WORD),
        Mnemonic::Lea if to_rsp => address(instruction, before),
        Mnemonic::Mov if to_rsp && is_register(instruction, 1) => {
            pointer(instruction.op1_register(), before)
        }
        _ => None,
    }
}

fn pointer(register: Register, before: Depth) -> Option<i64> {
    match register {
        Register::RSP => Some(before.rsp),
        Register::RBP => before.rbp,
        _ => None,
    }
}

/// The depth of the address that a `lea` computes from RSP or RBP.
fn address(instruction: &Instruction, before: Depth) -> Option<i64> {
    if instruction.memory_index() != Register::None {
        return None;
    }
    Some(pointer(instruction.memory_base(), before)? - instruction.memory_displacement64() as i64)
}

fn is_register(instruction: &Instruction, operand: u32) -> bool {
    instruction.op_kind(operand) == OpKind::Register
}

fn immediate(instruction: &Instruction) -> Option<i64> {
    instruction.try_immediate(1).ok().map(|value| value as i64)
}

/// `n` of `and rsp, -n`, a power of two.
fn alignment(instruction: &Instruction) -> Option<i64> {
    let n = immediate(instruction)?.checked_neg()?;
    (n >= WORD && n.count_ones() == 1).then_some(n)
}
