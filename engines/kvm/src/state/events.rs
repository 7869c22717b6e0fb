//! What is on its way to the processor, and whether it runs.

use kvm_bindings::{
    KVM_MP_STATE_HALTED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_RUNNABLE,
    KVM_MP_STATE_SIPI_RECEIVED, KVM_MP_STATE_UNINITIALIZED, KVM_VCPUEVENT_VALID_NMI_PENDING,
    KVM_VCPUEVENT_VALID_SHADOW, KVM_X86_SHADOW_INT_MOV_SS, KVM_X86_SHADOW_INT_STI, kvm_mp_state,
    kvm_vcpu_events,
};
use x86_state::{CpuState, Events, Exception};

const RFLAGS_IF: u64 = 1 << 9;
/// Exceptions that an instruction of their own raises: `int3`, `into`.
const BREAKPOINT: u8 = 3;
const OVERFLOW: u8 = 4;

/// What software raised (`int n`, `int3`, `into`) is left out: it has not begun for the guest,
/// whose instruction pointer is still at the instruction, and begins anew.
pub(super) fn from_kvm(events: &kvm_vcpu_events, running: kvm_mp_state) -> Events {
    let exception = &events.exception;
    let is_raised = exception.injected != 0 || exception.pending != 0;
    let is_soft = matches!(exception.nr, BREAKPOINT | OVERFLOW);
    let interrupt = &events.interrupt;
    Events {
        exception: (is_raised && !is_soft).then(|| Exception {
            vector: exception.nr,
            error: (exception.has_error_code != 0).then_some(exception.error_code),
        }),
        interrupt: (interrupt.injected != 0 && interrupt.soft == 0).then_some(interrupt.nr),
        nmi_pending: events.nmi.pending != 0 || events.nmi.injected != 0,
        nmi_masked: events.nmi.masked != 0,
        interrupt_shadow: interrupt.shadow != 0,
        halted: running.mp_state == KVM_MP_STATE_HALTED,
        awaits_startup: matches!(
            running.mp_state,
            KVM_MP_STATE_UNINITIALIZED | KVM_MP_STATE_INIT_RECEIVED | KVM_MP_STATE_SIPI_RECEIVED
        ),
    }
}

pub(super) fn to_kvm(state: &CpuState) -> (kvm_vcpu_events, kvm_mp_state) {
    let from = &state.events;
    let mut events = kvm_vcpu_events {
        flags: KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
        ..Default::default()
    };
    if let Some(exception) = from.exception {
        events.exception.injected = 1;
        events.exception.nr = exception.vector;
        events.exception.has_error_code = u8::from(exception.error.is_some());
        events.exception.error_code = exception.error.unwrap_or_default();
    }
    events.interrupt.injected = u8::from(from.interrupt.is_some());
    events.interrupt.nr = from.interrupt.unwrap_or_default();
    if from.interrupt_shadow {
        // Processors refuse the shadow of `sti` where interrupts are off (SDM vol. 3, 27.3.1.5).
        let is_on = state.rflags & RFLAGS_IF != 0;
        let shadow = if is_on {
            KVM_X86_SHADOW_INT_STI
        } else {
            KVM_X86_SHADOW_INT_MOV_SS
        };
        events.interrupt.shadow = shadow as u8;
    }
    events.nmi.pending = u8::from(from.nmi_pending);
    events.nmi.masked = u8::from(from.nmi_masked);
    let mp_state = match () {
        // One that waits takes a start-up message from here on, with or without another INIT.
        () if from.awaits_startup => KVM_MP_STATE_INIT_RECEIVED,
        () if from.halted => KVM_MP_STATE_HALTED,
        () => KVM_MP_STATE_RUNNABLE,
    };
    (events, kvm_mp_state { mp_state })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn back(state: &CpuState) -> Events {
        let (events, running) = to_kvm(state);
        from_kvm(&events, running)
    }

    #[test]
    fn what_software_raised_begins_anew() {
        let running = kvm_mp_state::default();
        let mut events = kvm_vcpu_events::default();
        events.interrupt.injected = 1;
        events.interrupt.nr = 0x80;
        events.interrupt.soft = 1;
        events.exception.injected = 1;
        events.exception.nr = BREAKPOINT;
        assert_eq!(from_kvm(&events, running), Events::default());
    }

    #[test]
    fn the_shadow_fits_the_flags() {
        let mut state = CpuState::default();
        state.events.interrupt_shadow = true;
        let shadow = |state: &CpuState| u32::from(to_kvm(state).0.interrupt.shadow);
        assert_eq!(shadow(&state), KVM_X86_SHADOW_INT_MOV_SS);
        state.rflags = RFLAGS_IF;
        assert_eq!(shadow(&state), KVM_X86_SHADOW_INT_STI);
    }

    #[test]
    fn one_that_was_never_started_waits() {
        let mp_state = KVM_MP_STATE_UNINITIALIZED;
        let events = from_kvm(&kvm_vcpu_events::default(), kvm_mp_state { mp_state });
        assert!(events.awaits_startup && !events.halted);
    }

    proptest! {
        #[test]
        fn events_come_back(
            vector in prop::option::of(prop_oneof![0..3_u8, 5..32_u8]),
            error: Option<u32>,
            interrupt: Option<u8>,
            flags: [bool; 4],
            waits in 0..3,
            rflags: u64,
        ) {
            let [nmi_pending, nmi_masked, interrupt_shadow, _] = flags;
            let events = Events {
                exception: vector.map(|vector| Exception { vector, error }),
                interrupt,
                nmi_pending,
                nmi_masked,
                interrupt_shadow,
                halted: waits == 1,
                awaits_startup: waits == 2,
            };
            let state = CpuState { rflags, events, ..CpuState::default() };
            prop_assert_eq!(back(&state), events);
        }
    }
}
