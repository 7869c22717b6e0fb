//! What sits where.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use device_legacy::debug_exit::DebugExit;
use device_legacy::hpet;
use device_legacy::i8042::I8042;
use device_legacy::pit::Pit;
use device_legacy::pm_timer::{Pm1, PmTimer};
use device_legacy::rtc::Rtc;
use device_pci::{ConfigPorts, Ecam, PciError, PciHost, Room, Window};
use device_virtio::{VirtioDevice, VirtioPci};
use engine_contract::InterruptController;
use machine_acpi as acpi;
use machine_bus::{Bus, BusError, InterruptLine, MessageTarget, NoLine, Port};
use machine_memory::GuestMemory;

use crate::attached::{Attached, Chip, Registers};
use crate::chips::{ExitPort, Keyboard, PowerManagement};
use crate::clock::Clock;
use crate::ends::Ends;
use crate::event_timer::EventTimer;
use crate::places;
use crate::running::Running;
use crate::serial::{Output, Serial, SerialInput};
use crate::timers::Timers;
use crate::wire::{Replaceable, ResetLine, Wire};

/// 4 GiB: where memory below the devices ends and memory above them begins.
const BELOW_4G: u64 = 1 << 32;
/// Bytes of the event timer's registers.
const HPET_SIZE: u64 = 0x400;

/// Where virtio devices work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// On threads of their own, beside the virtual CPUs.
    OnThreads,
    /// On that of the virtual CPU that notifies them, before it goes on.
    AtOnce,
}

/// What a board is told about its machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Virtual CPUs.
    pub cpus: u32,
    /// First address and length, in bytes, of each range of memory.
    pub memory: Vec<(u64, u64)>,
    /// The time, in seconds since 1970 UTC.
    pub unix_seconds: u64,
    /// Where virtio devices work.
    pub work: Work,
}

/// What a board is given.
pub struct Parts {
    /// The machine's interrupt controllers.
    pub controller: Arc<dyn InterruptController>,
    /// The machine's time.
    pub clock: Arc<dyn Clock>,
    /// Where what the guest sends to the first serial port goes.
    pub console: Box<dyn Output>,
    /// What the first serial port receives, beside what is handed in ([`SerialInput`]): as fast as on a line,
    /// and in the machine's time.
    pub input: Vec<u8>,
    /// Where the end of the machine is noted.
    pub ends: Arc<Ends>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// A board cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// Two devices want the same addresses.
    #[error("the board: {0}")]
    Bus(BusError),
    /// No slot or no room for a PCI device.
    #[error("the board: {0} (attach fewer devices)")]
    Pci(#[from] PciError),
    /// The host has no thread.
    #[error("the board's thread cannot be started: {0}")]
    Thread(std::io::Error),
}

impl From<BusError> for BoardError {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}

/// A board that is being put together.
pub struct Board {
    config: Config,
    ports: Bus,
    memory: Bus,
    clock: Arc<dyn Clock>,
    timers: Arc<Timers>,
    pci: Arc<PciHost>,
    pins: Vec<Arc<Wire>>,
    messages: Arc<dyn MessageTarget>,
    input: SerialInput,
    next_slot: u8,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board")
            .field("ports", &self.ports)
            .field("memory", &self.memory)
            .field("pci", &self.pci)
            .finish_non_exhaustive()
    }
}

impl Board {
    /// A board with its chips and an empty PCI bus.
    ///
    /// # Errors
    /// When two of them want the same addresses, which is a fault of this package.
    pub fn new(config: Config, parts: Parts) -> Result<Self, BoardError> {
        let Parts {
            controller,
            clock,
            console,
            input,
            ends,
        } = parts;
        let timers = Timers::new(Arc::clone(&clock));
        let line = controller.line(places::COM1_INTERRUPT.into());
        let serial = Attached::new(Serial::new(console, input), line, &clock, &timers);
        let pins = places::PCI_INPUTS.map(|input| Wire::new(controller.line(input)));
        let mut board = Self {
            config,
            ports: Bus::new(),
            memory: Bus::new(),
            clock,
            timers,
            pci: Arc::new(PciHost::new()),
            pins: pins.into(),
            messages: Arc::clone(&controller) as _,
            input: SerialInput::new(&serial),
            next_slot: 1,
        };
        board.put(&serial, &[(places::COM1, 8, 0)])?;
        board.put_timers(controller.as_ref())?;
        board.put_power(controller.as_ref(), &ends)?;
        board.put_pci(ends)?;
        Ok(board)
    }

    /// Plugs a device in, into the next slot of the PCI bus; it works on `memory`.
    ///
    /// # Errors
    /// When no slot is left.
    pub fn plug(
        &mut self,
        device: Box<dyn VirtioDevice>,
        memory: &GuestMemory,
    ) -> Result<(), BoardError> {
        let slot = self.next_slot;
        // Pin A of each slot is one input further, as the tables say.
        let pins = self.pins.iter().cycle();
        let line = pins.clone().nth(slot.into()).map(Wire::end);
        let messages = Arc::clone(&self.messages);
        let function = VirtioPci::new(device, memory.clone(), messages, line);
        let function = match self.config.work {
            Work::OnThreads => function,
            Work::AtOnce => function.working_at_once(),
        };
        self.pci.plug(slot, Arc::new(function))?;
        self.next_slot = slot.saturating_add(1);
        Ok(())
    }

    /// What an operating system must be told.
    #[must_use]
    pub fn description(&self) -> acpi::Board {
        acpi::Board {
            cpus: self.config.cpus,
            local_apic: places::LOCAL_APIC,
            io_apic: acpi::IoApic {
                id: 0,
                address: places::IO_APIC,
            },
            power: acpi::Power {
                event: places::PM1,
                control: places::PM1_CONTROL,
                timer: places::PM_TIMER,
                interrupt: places::PM_INTERRUPT,
                reset: (places::RESET, places::RESET_VALUE),
                off: places::PM_OFF,
            },
            pci: Some(pci()),
            hpet: Some(acpi::Hpet {
                address: places::HPET,
                block: hpet::BLOCK,
                shortest: places::HPET_SHORTEST,
            }),
            serial: vec![acpi::Serial {
                port: places::COM1,
                interrupt: places::COM1_INTERRUPT,
            }],
            rtc: true,
            keyboard: true,
            vga: false,
            virtio: Vec::new(),
        }
    }

    /// Gives the PCI devices their memory and starts the board's thread.
    ///
    /// # Errors
    /// When there is no room for the devices, or the host has no thread.
    pub fn start(self) -> Result<Running, BoardError> {
        self.pci.assign(&Room {
            low: places::PCI_MEMORY,
            high: RangeInclusive::new(1, 0),
        })?;
        let thread = self.timers.start().map_err(BoardError::Thread)?;
        Ok(Running {
            ports: self.ports,
            memory: self.memory,
            input: self.input,
            timers: self.timers,
            thread,
        })
    }

    /// Interval timer, clock, and the event timer that may replace them.
    fn put_timers(&mut self, controller: &dyn InterruptController) -> Result<(), BoardError> {
        let shared = |interrupt: u8| Replaceable::new(controller.line(interrupt.into()));
        let pit_line = shared(places::PIT_INTERRUPT);
        let rtc_line = shared(places::RTC_INTERRUPT);
        let pit = self.attach(Pit::new(), pit_line.first());
        self.put(&pit, &[(places::PIT, 4, 0), (places::SYSTEM_CONTROL, 1, 4)])?;
        let mut rtc = Rtc::new(self.config.unix_seconds, self.clock.now());
        let (below, above) = self.memory_sizes();
        rtc.set_memory_size(below, above);
        let rtc = self.attach(rtc, rtc_line.first());
        self.put(&rtc, &[(places::RTC, 2, 0)])?;
        let timer = EventTimer::new(|input| controller.line(input), pit_line, rtc_line);
        let chip = self.attach(timer, Arc::new(NoLine));
        let registers = Arc::new(Registers { chip, first: 0 });
        Ok(self.memory.attach(places::HPET.0, HPET_SIZE, registers)?)
    }

    /// Whatever can end the machine, but PCI's reset port.
    fn put_power(
        &mut self,
        controller: &dyn InterruptController,
        ends: &Arc<Ends>,
    ) -> Result<(), BoardError> {
        let (chip, ends_too) = (I8042::new(), Arc::clone(ends));
        let keyboard = Keyboard {
            chip,
            ends: ends_too,
        };
        let keyboard = self.attach(keyboard, controller.line(places::KEYBOARD_INTERRUPT.into()));
        let places = [
            (places::KEYBOARD_DATA, 1, 0),
            (places::KEYBOARD_COMMAND, 1, 1),
        ];
        self.put(&keyboard, &places)?;
        let (chip, ends_too) = (Pm1::new(places::PM_OFF), Arc::clone(ends));
        let power = PowerManagement {
            chip,
            ends: ends_too,
        };
        let power = self.attach(power, controller.line(places::PM_INTERRUPT.into()));
        self.put(&power, &[(places::PM1, 6, 0)])?;
        let timer = self.attach(PmTimer::new(), Arc::new(NoLine));
        self.put(&timer, &[(places::PM_TIMER, 4, 0)])?;
        let (chip, ends) = (DebugExit::new(), Arc::clone(ends));
        let exit = self.attach(ExitPort { chip, ends }, Arc::new(NoLine));
        self.put(&exit, &[(places::DEBUG_EXIT, 1, 0)])
    }

    fn put_pci(&mut self, ends: Arc<Ends>) -> Result<(), BoardError> {
        let host = || Arc::clone(&self.pci);
        let reset = Arc::new(ResetLine(ends));
        let ports = ConfigPorts::new(host(), reset);
        let port = places::PCI_CONFIG.0.into();
        self.ports.attach(port, 8, Arc::new(ports))?;
        let ecam = Arc::new(Ecam::new(host()));
        self.memory.attach(places::PCI_ECAM.0, Ecam::SIZE, ecam)?;
        let (start, last) = (*places::PCI_MEMORY.start(), *places::PCI_MEMORY.end());
        let window = Arc::new(Window::new(host(), start));
        Ok(self.memory.attach(start, last - start + 1, window)?)
    }

    fn attach<C: Chip + 'static>(&self, chip: C, line: Arc<dyn InterruptLine>) -> Arc<Attached<C>> {
        Attached::new(chip, line, &self.clock, &self.timers)
    }

    /// At each place: the first port, how many, the chip's register there.
    fn put<C: Chip + 'static>(
        &mut self,
        chip: &Arc<Attached<C>>,
        places: &[(Port, u64, u16)],
    ) -> Result<(), BoardError> {
        for &(port, length, first) in places {
            let chip = Arc::clone(chip);
            let registers = Arc::new(Registers { chip, first });
            self.ports.attach(port.0.into(), length, registers)?;
        }
        Ok(())
    }

    /// Bytes of memory below and above 4 GiB.
    fn memory_sizes(&self) -> (u64, u64) {
        let ranges = self.config.memory.iter();
        let of = |above: bool| {
            let chosen = ranges
                .clone()
                .filter(|range| (range.0 >= BELOW_4G) == above);
            chosen.map(|range| range.1).sum()
        };
        (of(false), of(true))
    }
}

fn pci() -> acpi::Pci {
    let (first, last) = (*places::PCI_MEMORY.start(), *places::PCI_MEMORY.end());
    acpi::Pci {
        last_bus: 0,
        ecam: Some(places::PCI_ECAM),
        ports: vec![places::PCI_PORTS],
        memory: vec![acpi::Window {
            start: machine_bus::GuestAddress(first),
            length: last - first + 1,
        }],
        inputs: places::PCI_INPUTS,
    }
}
