//! Which of KVM's controllers gets which interrupt of the machine.
//!
//! KVM's own default leads interrupt 0 to input 0 of the I/O APIC. On every PC, and in what boards
//! tell their guests, it is at input 2, which in the pair of 8259 is no input but the second chip.

use kvm_bindings::{
    KVM_IOAPIC_NUM_PINS, KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE, KvmIrqRouting, kvm_irq_routing_entry,
    kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_irqchip,
};
use kvm_ioctls::VmFd;

use crate::error::{KvmError, call};

/// Where the second 8259 is on the first.
const CASCADE: u32 = 2;
/// Inputs of each 8259.
const PIC_INPUTS: u32 = 8;

/// An interrupt, a controller, and the controller's input.
type Connection = (u32, u32, u32);

/// Wires the machine's interrupts to its controllers.
pub(crate) fn connect(vm: &VmFd) -> Result<(), KvmError> {
    let entries: Vec<_> = connections().map(entry).collect();
    let routing = KvmIrqRouting::from_entries(&entries);
    let routing = routing.map_err(|_| KvmError::Missing("room for the list of interrupts"))?;
    let set = vm.set_gsi_routing(&routing);
    set.map_err(call("KVM_SET_GSI_ROUTING"))
}

fn connections() -> impl Iterator<Item = Connection> {
    let pics = (0..2 * PIC_INPUTS).map(|interrupt| match interrupt.checked_sub(PIC_INPUTS) {
        Some(input) => (interrupt, KVM_IRQCHIP_PIC_SLAVE, input),
        None => (interrupt, KVM_IRQCHIP_PIC_MASTER, interrupt),
    });
    let io_apic = (0..KVM_IOAPIC_NUM_PINS).map(|interrupt| {
        let input = if interrupt == 0 { CASCADE } else { interrupt };
        (interrupt, KVM_IRQCHIP_IOAPIC, input)
    });
    let all = pics.chain(io_apic);
    all.filter(|(interrupt, ..)| *interrupt != CASCADE)
}

fn entry((gsi, irqchip, pin): Connection) -> kvm_irq_routing_entry {
    kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        u: kvm_irq_routing_entry__bindgen_ty_1 {
            irqchip: kvm_irq_routing_irqchip { irqchip, pin },
        },
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(interrupt: u32) -> Vec<(u32, u32)> {
        let all = connections().filter(|(other, ..)| *other == interrupt);
        all.map(|(_, chip, input)| (chip, input)).collect()
    }

    #[test]
    fn the_timer_is_wired_as_in_a_pc() {
        let (first, second) = (KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE);
        assert_eq!(inputs(0), [(first, 0), (KVM_IRQCHIP_IOAPIC, 2)]);
        assert_eq!(inputs(2), []);
        assert_eq!(inputs(4), [(first, 4), (KVM_IRQCHIP_IOAPIC, 4)]);
        assert_eq!(inputs(9), [(second, 1), (KVM_IRQCHIP_IOAPIC, 9)]);
        assert_eq!(inputs(16), [(KVM_IRQCHIP_IOAPIC, 16)]);
        assert_eq!(inputs(KVM_IOAPIC_NUM_PINS), []);
    }
}
