//! `husk boot`: an operating system in a machine with a board like a PC's.

mod console;
mod devices;
mod ending;
mod files;
mod hypervisor;
mod input;
mod lives;
mod measured;
mod terminal;
mod vcpus;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boot::{Acpi, Range};
use engine_contract::{Engine, Machine, Resources, Vcpu};
use machine_board::{
    Board, BoardError, Clock, Config, Ending, Ends, HostClock, Parts, SerialInput, VirtualClock,
    Work,
};
use machine_debugger::Debugger;
use machine_memory::GuestMemory;
use rustix::thread::CapabilitySet;

use crate::arguments::{BootEngine, BootOptions};
use crate::confine::{self, Extent, Held};
use crate::debug::{self, Listener};
use crate::determinism;
use crate::error::{Failure, STATUS_KILLED};
use crate::{choice, limits, run, signals};
use console::Console;
use devices::Devices;
use files::Files;
use measured::Measured;
use terminal::Terminal;
use vcpus::World;

impl From<BoardError> for Failure {
    fn from(error: BoardError) -> Self {
        Self::new("the machine cannot be put together", error, "")
    }
}

/// Runs the operating system, again after each reset; the exit status.
pub(crate) fn boot(options: &BootOptions) -> Result<u8, Failure> {
    hypervisor::check(options)?;
    run::check_memory(options.memory)?;
    limits::raise_size(options.memory, options.memory)?;
    match options.told {
        None if options.no_reboot && options.debug.gdb.is_none() => one_life(options, None),
        None => lives::all(options),
        Some(descriptor) => {
            lives::end_with_parent()?;
            one_life(options, Some(lives::open(descriptor)?))
        }
    }
}

/// From power-on to the first end of whatever kind. Whoever is `told` of a reset starts the next.
fn one_life(options: &BootOptions, told: Option<File>) -> Result<u8, Failure> {
    host::allocator::one_arena();
    // While it is waited for, signals end husk as they end any program.
    let (stdin, input) = input_of(options)?;
    let held = signals::hold(&signals::ENDING);
    limits::raise_files();
    let files = Files::open(options)?;
    let devices = Devices::open(options)?;
    let measured = Measured::open(options)?;
    let engine = engine(options);
    options.debug.check(engine.as_ref())?;
    let creation = engine.create(Resources {
        memory: options.memory,
        vcpus: options.cpus,
        image: None,
    })?;
    let extent = extent(options);
    confine::drop_privileges(kept(extent))?;
    let mut machine = creation.finish()?;
    machine.report_to(crate::error::reporter());
    let ends = Arc::new(Ends::new());
    let console = Console::start(run::stream(1)?)?;
    let parts = parts(machine.as_ref(), &ends, &console, input)?;
    let mut board = board(options, machine.as_ref(), parts)?;
    let disks = devices.plug(&mut board, machine.memory())?;
    let acpi = write_tables(&board, machine.memory())?;
    let start = files.load(machine.as_ref(), acpi)?;
    let mut vcpus = vcpus::take(machine.as_mut(), options.cpus, &ends)?;
    vcpus::prepare(&mut vcpus, &start)?;
    let debugger = debugger(options, machine.memory(), &mut vcpus, &ends)?;
    let board = board.start()?;
    let terminal = stdin.as_ref().and_then(Terminal::raw);
    if let Some(stdin) = stdin {
        read_input(stdin, terminal.is_some(), board.serial_input(), &ends)?;
    }
    end_by_signals(held, &ends)?;
    let held = Held::by(debugger.as_ref());
    confine::close_for_systems(engine.as_ref(), extent, options.network.reach(), held)?;
    let world = World {
        board: Arc::new(board),
        debugger: debugger.clone(),
    };
    let (ending, vcpus) = vcpus::run(vcpus, &world, &ends);
    // Whoever ended it from outside does not wait for a reader of its output.
    console.finish(!matches!(ending, Ending::Stopped(_)));
    drop(terminal);
    disks.flush()?;
    if let (Ending::Reset, Some(told)) = (&ending, &told) {
        lives::tell(told);
    }
    let status = ending::status(&ending);
    if let Some(debugger) = debugger {
        debugger.finish(
            status
                .as_ref()
                .map_or_else(|failure| failure.status, |status| *status),
        );
    }
    measured.write(machine.as_ref(), vcpus, &status)?;
    status
}

/// Standard input, to be read while the machine runs, or all of it.
fn input_of(options: &BootOptions) -> Result<(Option<OwnedFd>, Vec<u8>), Failure> {
    let stdin = run::stream(0)?;
    match options.determinism.seed() {
        Some(_) => {
            signals::let_through(&signals::ENDING);
            Ok((None, determinism::whole_input(stdin)?))
        }
        None => Ok((stdin, Vec::new())),
    }
}

/// Lets a debugger hold the machine and traces it, if that is wanted.
fn debugger(
    options: &BootOptions,
    memory: &GuestMemory,
    vcpus: &mut [Box<dyn Vcpu>],
    ends: &Arc<Ends>,
) -> Result<Option<Arc<Debugger>>, Failure> {
    options.debug.trace(vcpus);
    let (Some(place), Some(socket)) = (&options.debug.gdb, options.gdb_socket) else {
        return Ok(None);
    };
    let listener = Listener::inherited(socket, place)?;
    let own = Arc::clone(ends);
    let kill = move || own.note(Ending::Stopped(STATUS_KILLED));
    let debugger = debug::start(&listener, memory, vcpus, kill)?;
    ends.kick_too(Arc::clone(&debugger) as _);
    Ok(Some(debugger))
}

/// The engine that was asked for; `auto` wants one that is fast.
fn engine(options: &BootOptions) -> Box<dyn Engine> {
    if let Some(engine) = hypervisor::engine(options).or_else(|| options.determinism.engine()) {
        return engine;
    }
    match options.engine {
        BootEngine::Kvm => Box::new(engine_kvm::Kvm),
        BootEngine::Emulate => Box::new(engine_emulate::Emulate),
        BootEngine::Auto if options.debug.trace_instructions.is_some() => {
            Box::new(engine_emulate::Emulate)
        }
        BootEngine::Auto => choice::for_systems(),
    }
}

/// What the board is given; `input` is what its serial port receives by itself.
fn parts(
    machine: &dyn Machine,
    ends: &Arc<Ends>,
    console: &Console,
    input: Vec<u8>,
) -> Result<Parts, Failure> {
    let controller = machine.interrupt_controller().ok_or_else(|| {
        let why = "the engine has no interrupt controllers";
        Failure::new("the machine cannot be put together", why, "use another")
    })?;
    let clock: Arc<dyn Clock> = match machine.virtual_time() {
        Some(time) => Arc::new(VirtualClock(time)),
        None => Arc::new(HostClock::start()),
    };
    Ok(Parts {
        controller,
        clock,
        console: console.output(),
        input,
        ends: Arc::clone(ends),
    })
}

fn board(options: &BootOptions, machine: &dyn Machine, parts: Parts) -> Result<Board, Failure> {
    let (since, work) = match machine.virtual_time() {
        Some(time) => (Duration::from_nanos(time.beginning()), Work::AtOnce),
        // A host whose clock stands before 1970 has none worth telling.
        None => (
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            Work::OnThreads,
        ),
    };
    let regions = machine.memory().regions().iter();
    let config = Config {
        cpus: options.cpus,
        memory: regions
            .map(|region| (region.guest, region.length))
            .collect(),
        unix_seconds: since.as_secs(),
        work,
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
