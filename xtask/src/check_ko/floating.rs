// SPDX-License-Identifier: BSD-2-Clause
//! Rule 3: no instruction touches FPU or vector state.
//!
//! The kernel does not save x87, MMX, SSE, AVX or AMX registers when it enters
//! or switches a kernel thread (`fpu_kern_enter(9)` is how code asks for that,
//! and this module does not): one such instruction silently corrupts some user
//! process. The rule reads every byte of every executable section.

use super::code::{self, Function};
use super::module::Module;
use super::violation::Violation;
use iced_x86::{CpuidFeature, Instruction, InstructionInfoFactory, Mnemonic, Register};

/// Features whose every instruction reads or writes the refused state. SSE is
/// not among them: `lfence`, `prefetcht0` and `movnti` are SSE and harmless, so
/// there the registers decide.
const FEATURES: [CpuidFeature; 15] = [
    CpuidFeature::FPU,
    CpuidFeature::FPU287,
    CpuidFeature::FPU287XL_ONLY,
    CpuidFeature::FPU387,
    CpuidFeature::FPU387SL_ONLY,
    CpuidFeature::MMX,
    CpuidFeature::D3NOW,
    CpuidFeature::D3NOWEXT,
    CpuidFeature::FXSR,
    CpuidFeature::XSAVE,
    CpuidFeature::XSAVEC,
    CpuidFeature::XSAVEOPT,
    CpuidFeature::XSAVES,
    CpuidFeature::AMX_TILE,
    CpuidFeature::CYRIX_FPU,
];

/// Instructions that reach the state without naming a register of it.
const MNEMONICS: [Mnemonic; 7] = [
    Mnemonic::Wait,
    Mnemonic::Ldmxcsr,
    Mnemonic::Stmxcsr,
    Mnemonic::Vldmxcsr,
    Mnemonic::Vstmxcsr,
    Mnemonic::Vzeroall,
    Mnemonic::Vzeroupper,
];

/// Checks all of `functions`.
pub(super) fn check(module: &Module<'_>, functions: &[Function]) -> Vec<Violation> {
    let mut registers = InstructionInfoFactory::new();
    let mut found = Vec::new();
    for function in functions {
        for instruction in function.instructions(module) {
            found.extend(check_one(module, function, &instruction, &mut registers));
        }
    }
    found
}

fn check_one(
    module: &Module<'_>,
    function: &Function,
    instruction: &Instruction,
    registers: &mut InstructionInfoFactory,
) -> Option<Violation> {
    let place = || module.place(function.section, instruction.ip());
    if instruction.is_invalid() {
        let bytes = bytes(module, function, instruction);
        return Some(Violation::Undecodable {
            bytes,
            place: place(),
        });
    }
    Some(Violation::FloatingPoint {
        state: state(instruction, registers)?,
        instruction: code::text(instruction),
        place: place(),
    })
}

/// The refused register or feature that `instruction` uses.
fn state(instruction: &Instruction, registers: &mut InstructionInfoFactory) -> Option<String> {
    let used = registers.info(instruction).used_registers();
    if let Some(used) = used.iter().find(|used| is_refused(used.register())) {
        return Some(format!("{:?}", used.register()));
    }
    let features = instruction.cpuid_features();
    if let Some(feature) = features.iter().find(|feature| FEATURES.contains(feature)) {
        return Some(format!("{feature:?}"));
    }
    MNEMONICS
        .contains(&instruction.mnemonic())
        .then(|| "FPU control state".to_owned())
}

fn is_refused(register: Register) -> bool {
    register.is_vector_register()
        || register.is_mm()
        || register.is_st()
        || register.is_k()
        || register.is_tmm()
}

fn bytes(module: &Module<'_>, function: &Function, instruction: &Instruction) -> String {
    let start = instruction.ip() as usize;
    let end = (start + instruction.len().max(1)).min(function.end as usize);
    let bytes = module.sections[function.section].data[start..end].iter();
    bytes
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}
