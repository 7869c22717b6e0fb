//! A 32-bit kernel that goes through what a processor has beside long mode, on a board like a PC's.

use std::sync::Arc;

use anyhow::{Result, bail};
use boot::{Acpi, Guest, Image, Part, Ram, Range};
use engine_contract::{Engine, VcpuId, World};
use machine_board::{Board, Config, Ends, HostClock, Output, Parts, Running, Work};
use machine_bus::{GuestAddress, Port, Vector};

use crate::side::{Side, Surroundings};

const KERNEL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/protected"));
/// Stands before the word whose bits say which areas are wanted.
const MARK: &[u8] = b"AREAS-->";

/// A part of the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub(crate) name: &'static str,
    /// Its number in the kernel.
    pub(crate) number: u32,
    /// Why it says nothing where QEMU emulates the processor.
    pub(crate) not_emulated: Option<&'static str>,
    /// Why KVM cannot do it there alone, but when somebody looks after it (deviations.rs).
    pub(crate) not_alone: Option<&'static str>,
}

/// What stops QEMU's emulation where the stack of another level is looked for.
const TASKS: &str = "QEMU's emulation would give up (invalid tss type)";

const fn with_levels(number: u32, name: &'static str) -> Area {
    Area {
        not_alone: Some(TASKS),
        ..area(number, name)
    }
}

const fn area(number: u32, name: &'static str) -> Area {
    Area {
        name,
        number,
        not_emulated: None,
        not_alone: None,
    }
}

/// All of them.
pub(crate) const AREAS: [Area; 21] = [
    area(0, "protected/segments"),
    area(1, "protected/far-transfers"),
    area(2, "protected/exceptions"),
    Area {
        not_emulated: Some(
            "QEMU's emulation looks at no segment's limit or rights when memory is accessed",
        ),
        ..area(3, "protected/limits")
    },
    with_levels(4, "protected/levels"),
    area(5, "protected/tasks"),
    with_levels(6, "protected/virtual-8086"),
    with_levels(7, "protected/paging"),
    with_levels(8, "protected/pae"),
    area(9, "protected/code-that-changes"),
    area(10, "protected/strings"),
    area(11, "protected/integers"),
    area(12, "protected/x87"),
    area(13, "protected/vectors"),
    area(14, "protected/debug-registers"),
    area(15, "protected/code-of-16-bits"),
    area(16, "protected/real-mode"),
    Area {
        not_alone: Some(
            "QEMU's emulation sets reserved bits, and KVM refuses them at the second time",
        ),
        ..area(17, "protected/pae-again")
    },
    Area {
        not_emulated: Some(
            "the debug registers of QEMU's emulated processor do nothing in a guest, and KVM's step is the trap flag",
        ),
        ..area(18, "protected/breakpoints")
    },
    Area {
        not_emulated: Some(
            "QEMU's emulation sets reserved bits in PAE's top entries, and KVM refuses them when CR4 changes",
        ),
        ..area(19, "protected/pae-reloaded")
    },
    Area {
        not_emulated: Some(
            "QEMU's emulation says nothing of empty x87 registers and denormal operands, and raises no #XM",
        ),
        ..area(20, "protected/number-exceptions")
    },
];

/// How it ends when all was as it should be.
pub(crate) const PASSED: &str = "Exit(0)";
const MEMORY: u64 = 16 << 20;
/// Seconds since 1970, for the board's clock.
const NOW: u64 = 1_700_000_000;

/// A console that nobody reads.
struct Silence;

impl Output for Silence {
    fn put(&mut self, _: &[u8]) {}
}

/// The board, and how it ended.
struct OnBoard {
    board: Running,
    ends: Arc<Ends>,
}

/// The kernel with one area.
fn kernel(area: &Area) -> Result<Vec<u8>> {
    let mut kernel = KERNEL.to_vec();
    let mut places = kernel.windows(MARK.len());
    let Some(mark) = places.position(|window| window == MARK) else {
        bail!("the kernel has no word for its areas");
    };
    let place = mark + MARK.len();
    kernel.splice(place..place + 4, (1_u32 << area.number).to_le_bytes());
    Ok(kernel)
}

/// A machine of this engine that stands at the kernel's first instruction.
pub(crate) fn machine(engine: &dyn Engine, area: &Area) -> Result<Side> {
    let mut side = Side::new(engine, MEMORY)?;
    let regions = side.memory().regions().iter();
    let ranges: Vec<_> = regions.map(|r| (r.guest, r.length)).collect();
    let Some(controller) = side.machine.interrupt_controller() else {
        bail!("the engine has no interrupt controllers");
    };
    let ends = Arc::new(Ends::new());
    ends.kick_too(side.kick());
    let config = Config {
        cpus: 1,
        memory: ranges.clone(),
        unix_seconds: NOW,
        work: Work::AtOnce,
    };
    let parts = Parts {
        controller,
        clock: Arc::new(HostClock::start()),
        console: Box::new(Silence),
        input: Vec::new(),
        ends: Arc::clone(&ends),
    };
    let board = Board::new(config, parts)?;
    let tables = machine_acpi::tables(&board.description())?;
    for (address, bytes) in &tables.pieces {
        side.memory().write(address.0, bytes)?;
    }
    let start = machine_acpi::START.0;
    let Some(range) = Range::new(start, tables.end.0 - start) else {
        bail!("the board has no tables");
    };
    let kernel = Image::from_bytes(Part::Kernel, "protected", kernel(area)?)?;
    let state = boot::start(
        side.memory(),
        &Guest {
            kernel: &kernel,
            modules: &[],
            command_line: b"",
            ram: &Ram::new(&ranges)?,
            acpi: Some(Acpi {
                rsdp: tables.rsdp.0,
                tables: range,
            }),
            text_screen: false,
        },
    )?;
    let board = board.start()?;
    side.begin(&state, Arc::new(OnBoard { board, ends }))?;
    Ok(side)
}

impl World for OnBoard {
    fn port_read(&self, port: Port, data: &mut [u8]) {
        self.board.port_read(port, data);
    }

    fn port_write(&self, port: Port, data: &[u8]) {
        self.board.port_write(port, data);
    }

    fn mmio_read(&self, address: GuestAddress, data: &mut [u8]) {
        self.board.mmio_read(address, data);
    }

    fn mmio_write(&self, address: GuestAddress, data: &[u8]) {
        self.board.mmio_write(address, data);
    }

    fn take_interrupt(&self, _: VcpuId) -> Option<Vector> {
        None
    }
}

impl Surroundings for OnBoard {
    fn ending(&self) -> Option<String> {
        self.ends.ending().map(|ending| format!("{ending:?}"))
    }
}
