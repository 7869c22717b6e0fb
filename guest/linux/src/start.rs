//! From a configuration to the program's first instruction.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use guest_config::MachineConfig;
use guest_hal::report::{self, End};
use guest_hal::{LinearAddress, UserContext, boot, platform};
use guest_kernel::exec::{self, ExecError};
use guest_kernel::fs::{Caller, FileTable, FsContext, fuse::Transport};
use guest_kernel::mm::AddressSpace;
use guest_kernel::process::{self, Beginning, Credentials, Process, limit};
use guest_kernel::thread::Thread;
use guest_kernel::{Errno, Result, sched};

use crate::dispatch::{self, Linux};
use crate::trace;

/// Number of the first process, as in a container.
const FIRST_PID: u32 = 1;
/// Where programs are looked for without `PATH`.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts the machine's program; `open` gives the device of a number.
pub fn start(config: &MachineConfig, open: &mut dyn FnMut(u32) -> Result<Arc<dyn Transport>>) -> ! {
    // A server that gives addresses is told.
    process::set_host_name(config.hostname.clone().into_bytes());
    let (fs, files) = match guest_kernel::fs::boot(config, open) {
        Ok(ready) => ready,
        Err(errno) => {
            let directory = config.working_directory.escape_ascii();
            refuse(
                errno,
                &format!(
                    "working directory {directory}: {}",
                    crate::names::describe(errno)
                ),
            )
        }
    };
    let process = process::set_current(first_process(config, fs, files));
    if config.trace {
        dispatch::start_tracing();
    }
    match load(process, config) {
        Ok(context) => run(process, &context),
        Err(error) => refuse_program(config, &error),
    }
}

fn run(process: &Arc<Process>, context: &UserContext) -> ! {
    guest_hal::fpu::FpuState::initial().restore();
    let thread = match Thread::new(process, process.pid, context, 0) {
        Ok(thread) => thread,
        Err(errno) => refuse(errno, "no memory for the first thread"),
    };
    *thread.name.lock() = process.program.lock().name.clone();
    process
        .threads
        .lock()
        .insert(thread.tid, Arc::clone(&thread));
    guest_hal::set_kernel(&Linux);
    guest_kernel::time::note_start();
    platform().start_others();
    sched::start(&thread);
    drop(thread);
    let page = report::counters();
    page.first_instruction_tsc
        .store(guest_hal::time::tsc(), Ordering::Relaxed);
    sched::run()
}

fn first_process(config: &MachineConfig, fs: FsContext, files: FileTable) -> Process {
    Process::new(Beginning {
        pid: FIRST_PID,
        memory: AddressSpace::new(LinearAddress(0), boot::info().memory_limit),
        files,
        fs,
        credentials: Credentials {
            uid: [config.user; 3],
            gid: [config.group; 3],
            groups: config.groups.clone(),
        },
        ignored_signals: config.ignored_signals,
        limits: limits(config),
    })
}

fn limits(config: &MachineConfig) -> [(u64, u64); 16] {
    let mut limits = [(u64::MAX, u64::MAX); 16];
    let wanted = [
        (limit::STACK, (config.stack_limit, u64::MAX)),
        (limit::NOFILE, config.file_limit),
        (limit::FSIZE, config.size_limit),
        (limit::CORE, (0, u64::MAX)),
        (limit::NICE, (0, 0)),
        (limit::RTPRIO, (0, 0)),
        (limit::MEMLOCK, (8 << 20, 8 << 20)),
    ];
    for (number, value) in wanted {
        if let Some(slot) = limits.get_mut(number) {
            *slot = value;
        }
    }
    limits
}

fn load(process: &Process, config: &MachineConfig) -> core::result::Result<UserContext, ExecError> {
    let caller = Caller::current();
    let path = find_program(&caller, config)?;
    let program = exec::resolve(&caller, path.clone(), config.arguments.clone())?;
    let context = exec::load(process, &caller, &program, &config.environment)?.context;
    if config.trace {
        // The environment's pointers follow the arguments' and a null one.
        let environment = context.rsp + 8 * (config.arguments.len() as u64 + 2);
        let variables = config.environment.len();
        trace::started(&path, &config.arguments, variables, environment);
    }
    Ok(context)
}

/// A name without a slash is looked up in `PATH`, as a shell does.
fn find_program(caller: &Caller, config: &MachineConfig) -> Result<Vec<u8>> {
    let name = &config.program;
    if name.is_empty() || name.contains(&b'/') {
        return Ok(name.clone());
    }
    let path = config
        .environment
        .iter()
        .find_map(|entry| entry.strip_prefix(b"PATH="));
    let mut error = Errno::ENOENT;
    for directory in path.unwrap_or(DEFAULT_PATH).split(|&byte| byte == b':') {
        let directory = if directory.is_empty() {
            b"."
        } else {
            directory
        };
        let candidate = [directory, b"/", name].concat();
        match caller.open_program(&caller.cwd, &candidate) {
            Ok(_) => return Ok(candidate),
            Err(Errno::EACCES) => error = Errno::EACCES,
            Err(_) => {}
        }
    }
    Err(error)
}

fn refuse_program(config: &MachineConfig, error: &ExecError) -> ! {
    let name = config.program.escape_ascii();
    let reason = if error.reason.is_empty() {
        String::from(crate::names::describe(error.errno))
    } else {
        error.reason.clone()
    };
    refuse(error.errno, &format!("{name}: {reason}"))
}

fn refuse(errno: Errno, text: &str) -> ! {
    report::end(End::NotStarted(errno.0), format_args!("{text}"))
}
