//! KVM's registers as a plain value, and back.
//!
//! * `registers`: general, segment, control and debug registers.
//! * `events`: what is on its way.
//! * `vector`: floating point and vectors.
//! * `model_specific`: which model-specific registers are part of it.
//!
//! Where a value of a [`CpuState`] cannot be, KVM refuses and so does [`Readable::set_state`]; three
//! that a loader may leave zero are what they are after reset: `xcr0`, `vector`, and the rights
//! of the task register, without which Intel's processors enter no guest.

mod events;
mod model_specific;
mod registers;
mod vector;

pub(crate) use model_specific::make_write_back;

use kvm_bindings::{kvm_debugregs, kvm_regs, kvm_xcr, kvm_xcrs};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use x86_state::CpuState;

use crate::error::{KvmError, call};

/// What of a virtual CPU can be read and set on this host; the same for all of a machine.
#[derive(Debug)]
pub(crate) struct Readable {
    /// Model-specific registers, ascending.
    model_specific: Vec<u32>,
    /// Bytes of vector state.
    vector_length: usize,
    /// There is `xcr0`.
    extended_control: bool,
}

impl Readable {
    /// Finds out with one of the machine's virtual CPUs.
    pub(crate) fn of(kvm: &Kvm, vm: &VmFd, vcpu: Option<&VcpuFd>) -> Result<Self, KvmError> {
        let known = kvm.get_msr_index_list();
        let known = known.map_err(call("KVM_GET_MSR_INDEX_LIST"))?;
        let wanted = model_specific::wanted(known.as_slice());
        let readable = vcpu.map(|vcpu| model_specific::readable(vcpu, wanted));
        Ok(Self {
            model_specific: readable.transpose()?.unwrap_or_default(),
            vector_length: vector::length(vm.check_extension_int(Cap::Xsave2)),
            extended_control: vm.check_extension(Cap::Xcrs),
        })
    }

    /// The registers. Between two instructions only.
    pub(crate) fn state(&self, fd: &VcpuFd) -> Result<CpuState, KvmError> {
        let general = fd.get_regs().map_err(call("KVM_GET_REGS"))?;
        let special = fd.get_sregs().map_err(call("KVM_GET_SREGS"))?;
        let debug = fd.get_debug_regs().map_err(call("KVM_GET_DEBUGREGS"))?;
        let events = fd.get_vcpu_events().map_err(call("KVM_GET_VCPU_EVENTS"))?;
        let running = fd.get_mp_state().map_err(call("KVM_GET_MP_STATE"))?;
        let mut state = CpuState {
            general: registers::general(&general),
            rip: general.rip,
            rflags: general.rflags,
            debug: registers::debug(&debug),
            model_specific: model_specific::read(fd, &self.model_specific)?,
            vector: vector::read(fd, self.vector_length)?,
            events: events::from_kvm(&events, running),
            ..CpuState::default()
        };
        registers::special_from_kvm(&special, &mut state);
        model_specific::insert_apic_base(&mut state.model_specific, special.apic_base);
        state.control.xcr0 = self.extended_control_register(fd)?;
        Ok(state)
    }

    /// Sets them. In this order: modes first, which decide what else can be; what waits for
    /// others last.
    pub(crate) fn set_state(&self, fd: &VcpuFd, state: &CpuState) -> Result<(), KvmError> {
        self.set_special(fd, state)?;
        vector::write(fd, self.vector_length, &state.vector)?;
        self.set_extended_control(fd, state.control.xcr0)?;
        let general: kvm_regs = registers::general_to_kvm(state);
        fd.set_regs(&general).map_err(refused("KVM_SET_REGS"))?;
        model_specific::write(fd, &state.model_specific)?;
        let debug: kvm_debugregs = registers::debug_to_kvm(&state.debug);
        fd.set_debug_regs(&debug)
            .map_err(refused("KVM_SET_DEBUGREGS"))?;
        let (events, running) = events::to_kvm(state);
        fd.set_vcpu_events(&events)
            .map_err(refused("KVM_SET_VCPU_EVENTS"))?;
        fd.set_mp_state(running)
            .map_err(refused("KVM_SET_MP_STATE"))
    }

    fn set_special(&self, fd: &VcpuFd, state: &CpuState) -> Result<(), KvmError> {
        let mut special = fd.get_sregs().map_err(call("KVM_GET_SREGS"))?;
        registers::special_to_kvm(state, &mut special);
        if let Some(base) = model_specific::apic_base(&state.model_specific) {
            special.apic_base = base;
        }
        fd.set_sregs(&special).map_err(refused("KVM_SET_SREGS"))
    }

    fn extended_control_register(&self, fd: &VcpuFd) -> Result<u64, KvmError> {
        if !self.extended_control {
            return Ok(1);
        }
        let all = fd.get_xcrs().map_err(call("KVM_GET_XCRS"))?;
        let first = all.xcrs.iter().take(all.nr_xcrs as usize);
        let first = first.into_iter().find(|register| register.xcr == 0);
        Ok(first.map_or(1, |register| register.value))
    }

    fn set_extended_control(&self, fd: &VcpuFd, value: u64) -> Result<(), KvmError> {
        let value = value.max(1);
        match (self.extended_control, value) {
            (false, 1) => return Ok(()),
            (false, _) => return Err(KvmError::State("this host has no xcr0".to_owned())),
            (true, _) => {}
        }
        let mut all = kvm_xcrs {
            nr_xcrs: 1,
            ..Default::default()
        };
        all.xcrs[0] = kvm_xcr {
            value,
            ..Default::default()
        };
        fd.set_xcrs(&all).map_err(refused("KVM_SET_XCRS"))
    }
}

/// A call that failed because of the values it got.
fn refused(name: &'static str) -> impl Fn(kvm_ioctls::Error) -> KvmError {
    move |error| KvmError::State(call(name)(error).to_string())
}
