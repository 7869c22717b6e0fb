//! `husk run`: a program of this host in a machine of its own.

mod configuration;
mod held;
mod served;
mod services;
mod vcpus;
mod world;

use std::os::fd::AsFd;
use std::sync::Arc;

use boot::{BootError, Facts};
use engine_contract::{Engine, EngineError, Machine, Platform, Resources, Vcpu};
use guest_abi::boot::{RAM_RANGES_MAX, RamRange};
use guest_abi::layout;
use guest_abi::report::ReportPage;
use machine_bus::SignalLine;
use machine_entropy::{Consumer, Source};
use machine_memory::{GuestMemory, MemoryError};

use crate::arguments::RunOptions;
use crate::clock::Clock;
use crate::debug::Listener;
use crate::determinism::Fingerprint;
use crate::error::{Failure, say};
use crate::image::Image;
use crate::stats::{self, Measured};
use crate::{choice, confine, ending, limits, signals};
use configuration::configuration;
use held::Held;
use served::{AtOnce, WakingLine};
use services::{Servers, Service, services};
pub(crate) use services::{start_thread, stream};
use vcpus::{End, Vcpus};
use world::Ports;

/// Least memory a machine can have.
const MEMORY_MIN: u64 = 2 << 20;
/// Device number of the standard streams.
const CONSOLE: u32 = 0;
/// Device number of the root; volumes follow.
const ROOT: u32 = 1;

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::new(
            error.action,
            error.reason,
            "`husk engines` shows what this host allows",
        )
    }
}

impl From<MemoryError> for Failure {
    fn from(error: MemoryError) -> Self {
        Self::new("the machine's memory", error, "")
    }
}

impl From<BootError> for Failure {
    fn from(error: BootError) -> Self {
        Self::new("the machine cannot be prepared", error, "")
    }
}

/// Runs the program; the exit status.
pub(crate) fn run(options: &RunOptions, started: u64) -> Result<u8, Failure> {
    check_memory(options.memory)?;
    check_program(options)?;
    host::allocator::one_arena();
    let held = signals::hold(&signals::FORWARDED);
    let config = configuration(options)?;
    // The program's limits are its own affair from here on.
    limits::raise_files();
    limits::raise_size(layout::RAM_SPAN, options.memory)?;
    let engine = engine(options)?;
    let listener = options.debug.gdb.as_ref().map(Listener::open).transpose()?;
    let platform = engine.platform();
    let image = engine.maps_image().then(Image::open).transpose()?;
    let creation = engine.create(Resources {
        memory: options.memory + reserve(platform, options.cpus),
        vcpus: options.cpus,
        image: image.as_ref().map(|image| image.file.as_fd()),
    })?;
    // The host makes the machine meanwhile.
    let services = services(options)?;
    let network = options.network.open(1)?;
    let facts = facts(options, started, network.is_some())?;
    confine::drop_privileges(confine::SERVING_FILES)?;
    let mut machine = creation.finish()?;
    machine.report_to(crate::error::reporter());
    let offset = image.map(|image| image.offset);
    let facts = with_memory(facts, platform, machine.memory());
    let entry = boot::load(machine.memory(), boot::KERNEL, offset, &config, &facts)?;
    let mut vcpus = Vcpus::take(machine.as_mut(), platform, options.cpus)?;
    if platform == Platform::Bare {
        vcpus.set_start(machine.as_ref(), entry)?;
    }
    let line = machine.signals()?;
    start_clock(machine.as_ref())?;
    let mut servers = Servers {
        machine: machine.as_ref(),
        at_once: at_once(machine.as_ref())?,
    };
    let interrupter = services.iter().find_map(Service::interrupter);
    for (number, service) in (CONSOLE..).zip(services) {
        servers.device(number, service)?;
    }
    if let Some(network) = network.clone() {
        servers.network(network_number(options), options.network.mac, network)?;
    }
    let (bells, line) = match (servers.at_once, interrupter) {
        (Some(at_once), Some(interrupter)) => {
            let line: Arc<dyn SignalLine> = Arc::new(WakingLine { line, interrupter });
            (Arc::new(at_once) as _, line)
        }
        _ => (machine.doorbells()?, line),
    };
    let ports = Arc::new(Ports::new(bells, vcpus.kicks()));
    options.debug.trace(vcpus.all());
    let start = |listener| Held::start(listener, machine.memory(), &mut vcpus, &ports, &line);
    let holder = listener.as_ref().map(start).transpose()?;
    let line = holder.as_ref().map_or(line, Held::line);
    start_thread("signals", move || signals::forward(&held, &line))?;
    let vcpus = vcpus.start(&ports)?;
    confine::close(
        engine.as_ref(),
        options.network.reach(),
        confine::Held::by(holder.as_ref()),
    )?;
    warn_of_missing_layers(machine.as_ref())?;
    let released = host::cpu::tsc();
    let end = vcpus.run(&ports)?;
    let ended = host::cpu::tsc();
    let times = [started, released, ended];
    let outcome = Outcome {
        end,
        times,
        engine: engine.name(),
        network: network.map_or(Vec::new(), |network| network.counts()),
    };
    let result = finish(options, machine.as_ref(), outcome);
    match holder {
        Some(holder) => holder.finish(result),
        None => result,
    }
}

/// The engine that runs the machine.
fn engine(options: &RunOptions) -> Result<Box<dyn Engine>, Failure> {
    if let Some(engine) = options.determinism.engine() {
        return Ok(engine);
    }
    if !options.debug.is_wanted() {
        return Ok(choice::engine(options.engine));
    }
    let engine = choice::debuggable(options.engine, &options.debug);
    options.debug.check(engine.as_ref())?;
    Ok(engine)
}

/// How a run went.
struct Outcome {
    end: End,
    /// Time-stamp counter: the monitor's start, the machine's, its end.
    times: [u64; 3],
    engine: &'static str,
    network: Vec<(&'static str, u64)>,
}

/// Memory for the kernel's own use beyond what the program was promised.
fn reserve(platform: Platform, cpus: u32) -> u64 {
    match platform {
        // The engine's affair: it knows what it needs.
        Platform::Cell => 0,
        // What is shared with the kernel, its image, its page tables; a virtual CPU's stacks.
        Platform::Bare => {
            (16 << 20) + (u64::from(cpus - 1) * (192 << 10)).next_multiple_of(2 << 20)
        }
    }
}

/// With what there is to say of the machine's memory.
fn with_memory(facts: Facts, platform: Platform, memory: &GuestMemory) -> Facts {
    if platform == Platform::Cell {
        let span = memory.span();
        return Facts { span, ..facts };
    }
    let mut ram = [RamRange::default(); RAM_RANGES_MAX];
    for (slot, region) in ram.iter_mut().zip(memory.regions()) {
        *slot = RamRange {
            start: region.guest,
            length: region.length,
        };
    }
    let span = layout::RAM_SPAN;
    Facts { ram, span, ..facts }
}

/// A machine with less than all layers runs, but nobody shall be able to say they did not know.
fn warn_of_missing_layers(machine: &dyn Machine) -> Result<(), Failure> {
    let missing = machine.missing_layers()?;
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|layer| layer.name).collect();
        let why = format!("this host refuses: {}", names.join("; "));
        let remedy = "the system call filter holds; `husk engines` says what is refused and why";
        say(&Failure::new("isolation", why, remedy).to_string());
    }
    Ok(())
}

fn finish(options: &RunOptions, machine: &dyn Machine, outcome: Outcome) -> Result<u8, Failure> {
    let [started, released, ended] = outcome.times;
    let page = machine.memory().page::<ReportPage>(layout::REPORT_PAGE)?;
    let program = options
        .command
        .first()
        .map_or(String::new(), |name| name.display().to_string());
    let End { stop, exits, vcpus } = outcome.end;
    let result = ending::status(&page, stop, &program, options.memory);
    if let Some(to) = &options.stats {
        let measured = Measured {
            engine: outcome.engine,
            exits,
            network: outcome.network,
            started,
            released,
            ended,
            memory_limit: options.memory,
            touched: machine.touched_bytes(),
            missing: machine
                .missing_layers()?
                .iter()
                .map(|layer| layer.name)
                .collect(),
            exit_status: result
                .as_ref()
                .map_or_else(|failure| failure.status, |status| *status),
            fingerprint: fingerprint(options, machine, vcpus)?,
        };
        stats::write(to, &page, &measured)?;
    }
    result
}

/// What the machine has come to, if that is the same in every run.
fn fingerprint(
    options: &RunOptions,
    machine: &dyn Machine,
    vcpus: Vec<Box<dyn Vcpu>>,
) -> Result<Option<Fingerprint>, Failure> {
    let seed = options.determinism.seed();
    let (Some(seed), Some(time)) = (seed, machine.virtual_time()) else {
        return Ok(None);
    };
    Ok(Some(Fingerprint::take(
        seed,
        time.as_ref(),
        machine.memory(),
        vcpus,
    )?))
}

/// Tells the machine the time, and goes on doing so where it is the host's.
fn start_clock(machine: &dyn Machine) -> Result<(), Failure> {
    if let Some(time) = machine.virtual_time() {
        return Ok(Clock::set_virtual(machine.memory(), time.as_ref())?);
    }
    let clock = Clock::new(machine.memory())?;
    start_thread("clock", move || clock.keep())
}

/// Where devices work at once: for a machine whose time is its own, they have none.
fn at_once(machine: &dyn Machine) -> Result<Option<AtOnce>, Failure> {
    if machine.virtual_time().is_none() {
        return Ok(None);
    }
    Ok(Some(AtOnce::new(machine.doorbells()?)))
}

/// An option that nobody knows looks like a program to the parser.
fn check_program(options: &RunOptions) -> Result<(), Failure> {
    let name = options
        .command
        .first()
        .map(|name| name.to_string_lossy().into_owned());
    match name.unwrap_or_default().as_str() {
        "" => Err(Failure::new(
            "command line",
            "the program's name is empty",
            "name a program",
        )),
        name if name.starts_with('-') => {
            let remedy = "`husk run --help` shows the options; a program of that name is ./NAME";
            Err(Failure::new(
                format_args!("command line: {name}"),
                "unknown option",
                remedy,
            ))
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_memory(memory: u64) -> Result<(), Failure> {
    if memory < MEMORY_MIN {
        let why = format!("{} KiB is too little for a machine", memory >> 10);
        return Err(Failure::new("--memory", why, "give it at least 2M"));
    }
    let host = rustix::system::sysinfo();
    let total = (host.totalram as u64 + host.totalswap as u64) * u64::from(host.mem_unit);
    if memory > total {
        let why = format!(
            "{} MiB is more than this host has ({} MiB)",
            memory >> 20,
            total >> 20
        );
        return Err(Failure::new("--memory", why, "give the machine less"));
    }
    Ok(())
}

/// The network's device number: behind the volumes.
fn network_number(options: &RunOptions) -> u32 {
    ROOT + 1 + options.volume.len() as u32
}

/// Whether this host is a machine itself that tells its own host which pages are free; those are
/// taken from it, and come back one by one when they are touched. Linux has an order of pages here
/// once somebody wants its reports (`mm/page_reporting.c`), and -1 before.
fn reports_free_pages() -> bool {
    let order = std::fs::read("/sys/module/page_reporting/parameters/page_reporting_order");
    order.is_ok_and(|order| matches!(order.trim_ascii(), [b'0'..=b'9'] | [b'1', b'0'..=b'9']))
}

fn facts(options: &RunOptions, started: u64, has_network: bool) -> Result<Facts, Failure> {
    let is_deterministic = options.determinism.seed().is_some();
    let (hwcap, hwcap2) = rustix::param::linux_hwcap();
    Ok(Facts {
        vcpus: options.cpus,
        memory_limit: options.memory,
        ram: [RamRange::default(); RAM_RANGES_MAX],
        span: 0,
        devices: network_number(options) + u32::from(has_network),
        started_tsc: if is_deterministic { 0 } else { started },
        entropy: entropy(options.determinism.seed())?,
        hwcap: (hwcap as u64, hwcap2 as u64),
        signal_stack_min: rustix::param::linux_minsigstksz() as u64,
        large_pages_are_dear: !is_deterministic && reports_free_pages(),
    })
}

/// What the kernel's random numbers follow from.
fn entropy(seed: Option<u64>) -> Result<[u8; 64], Failure> {
    let mut entropy = [0; 64];
    if let Some(seed) = seed {
        Source::new(seed, Consumer::Kernel).fill(&mut entropy);
        return Ok(entropy);
    }
    let filled = rustix::rand::getrandom(&mut entropy, rustix::rand::GetRandomFlags::empty());
    if filled == Ok(entropy.len()) {
        return Ok(entropy);
    }
    let why = "this host has none to give";
    Err(Failure::new("random numbers", why, ""))
}
