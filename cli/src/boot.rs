//! `husk boot`: an operating system in a machine with a board like a PC's.

mod console;
mod devices;
mod ending;
mod files;
mod input;
mod lives;
mod terminal;
mod vcpus;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use boot::{Acpi, Range};
use engine_contract::{Engine, Machine, Resources};
use machine_board::{Board, BoardError, Config, Ending, Ends, HostClock, Parts, SerialInput};
use machine_memory::GuestMemory;
use rustix::thread::CapabilitySet;

use crate::arguments::{BootEngine, BootOptions};
use crate::confine::{self, Extent};
use crate::error::Failure;
use crate::{choice, limits, run, signals};
use console::Console;
use devices::Devices;
use files::Files;
use terminal::Terminal;

impl From<BoardError> for Failure {
    fn from(error: BoardError) -> Self {
        Self::new("the machine cannot be put together", error, "")
    }
}

/// Runs the operating system, again after each reset; the exit status.
pub(crate) fn boot(options: &BootOptions) -> Result<u8, Failure> {
    run::check_memory(options.memory)?;
    limits::raise_size(options.memory, options.memory)?;
    match options.told {
        None if options.no_reboot => one_life(options, None),
        None => lives::all(),
        Some(descriptor) => {
            lives::end_with_parent()?;
            one_life(options, Some(lives::open(descriptor)?))
        }
    }
}

/// From power-on to the first end of whatever kind. Whoever is `told` of a reset starts the next.
fn one_life(options: &BootOptions, told: Option<File>) -> Result<u8, Failure> {
    host::allocator::one_arena();
    let held = signals::hold(&signals::ENDING);
    limits::raise_files();
    let files = Files::open(options)?;
    let devices = Devices::open(options)?;
    let engine = engine(options.engine)?;
    let creation = engine.create(Resources {
        memory: options.memory,
        vcpus: options.cpus,
        image: None,
    })?;
    let extent = extent(options);
    confine::drop_privileges(kept(extent))?;
    let mut machine = creation.finish()?;
    let ends = Arc::new(Ends::new());
    let console = Console::start(run::stream(1)?)?;
    let mut board = board(options, machine.as_ref(), &ends, &console)?;
    let disks = devices.plug(&mut board, machine.memory())?;
    let acpi = write_tables(&board, machine.memory())?;
    let start = files.load(machine.memory(), acpi)?;
    let mut vcpus = vcpus::take(machine.as_mut(), options.cpus, &ends)?;
    vcpus::prepare(&mut vcpus, &start)?;
    let board = board.start()?;
    let stdin = run::stream(0)?;
    let terminal = stdin.as_ref().and_then(Terminal::raw);
    if let Some(stdin) = stdin {
        read_input(stdin, terminal.is_some(), board.serial_input(), &ends)?;
    }
    end_by_signals(held, &ends)?;
    confine::close_for_systems(extent, options.network.reach())?;
    let ending = vcpus::run(vcpus, Arc::new(board), &ends);
    // Whoever ended it from outside does not wait for a reader of its output.
    console.finish(!matches!(ending, Ending::Stopped(_)));
    drop(terminal);
    disks.flush()?;
    if let (Ending::Reset, Some(told)) = (&ending, &told) {
        lives::tell(told);
    }
    ending::status(&ending)
}

/// The engine that was asked for; `auto` wants one that is fast.
fn engine(choice: BootEngine) -> Result<Box<dyn Engine>, Failure> {
    match choice {
        BootEngine::Kvm => Ok(Box::new(engine_kvm::Kvm)),
        BootEngine::Auto => choice::for_systems(),
    }
}

fn board(
    options: &BootOptions,
    machine: &dyn Machine,
    ends: &Arc<Ends>,
    console: &Console,
) -> Result<Board, Failure> {
    let controller = machine.interrupt_controller().ok_or_else(|| {
        let why = "the engine has no interrupt controllers";
        Failure::new("the machine cannot be put together", why, "use another")
    })?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let regions = machine.memory().regions().iter();
    let config = Config {
        cpus: options.cpus,
        memory: regions
            .map(|region| (region.guest, region.length))
            .collect(),
        // A host whose clock stands before 1970 has none worth telling.
        unix_seconds: since.map_or(0, |since| since.as_secs()),
    };
    let parts = Parts {
        controller,
        clock: Arc::new(HostClock::start()),
        console: console.output(),
        ends: Arc::clone(ends),
    };
    Ok(Board::new(config, parts)?)
}

/// Describes the board to the guest.
fn write_tables(board: &Board, memory: &GuestMemory) -> Result<Acpi, Failure> {
    let tables = machine_acpi::tables(&board.description());
    let tables = tables.map_err(|error| Failure::new("the machine", error, ""))?;
    for (address, bytes) in &tables.pieces {
        memory.write(address.0, bytes)?;
    }
    let start = machine_acpi::START.0;
    let range = Range::new(start, tables.end.0 - start);
    Ok(Acpi {
        rsdp: tables.rsdp.0,
        tables: range.expect("there is at least one table"),
    })
}

/// What the monitor must still be able to do once the guest runs.
fn extent(options: &BootOptions) -> Extent {
    if options.volume.is_empty() {
        Extent::Devices
    } else {
        Extent::DevicesAndFiles
    }
}

fn kept(extent: Extent) -> CapabilitySet {
    match extent {
        Extent::Devices => CapabilitySet::empty(),
        Extent::DevicesAndFiles => confine::SERVING_FILES,
    }
}

/// A thread that hands standard input to the guest.
fn read_input(
    stdin: OwnedFd,
    is_terminal: bool,
    to: SerialInput,
    ends: &Arc<Ends>,
) -> Result<(), Failure> {
    let ends = Arc::clone(ends);
    run::start_thread("console-in", move || {
        if !is_terminal {
            return input::forward(&stdin, &to);
        }
        if let Err(failure) = input::forward_keys(&stdin, to, &ends) {
            ends.note(Ending::Failed(failure.why));
        }
    })
}

/// A thread that ends the machine when somebody wants to end husk.
fn end_by_signals(held: nix::sys::signal::SigSet, ends: &Arc<Ends>) -> Result<(), Failure> {
    let ends = Arc::clone(ends);
    run::start_thread("signals", move || {
        let number = signals::wait(&held);
        ends.note(Ending::Stopped(128 + number));
    })
}
