//! Mapping a program and its interpreter.

use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_abi::layout::{APP_END, PAGE_SIZE, page_down, page_up};
use guest_hal::{LinearAddress, Protection, UserContext};

use super::elf::{self, Header, Kind, Segment};
use super::stack::{self, StartVectors};
use super::{ExecError, Loaded, Program, parse, read_fully};
use crate::fs::{Caller, OpenFile};
use crate::mm::{AddressSpace, Place, Source};
use crate::process::{Process, ProgramInfo, limit};
use crate::{Errno, random, uaccess};

/// Where position-independent programs are loaded, before randomization: Linux'
/// `ELF_ET_DYN_BASE`.
const PROGRAM_BASE: u64 = 0x5555_5555_4000;
/// Room left between the stack and the mappings below it.
const STACK_GAP: u64 = 128 << 20;
/// The stack's size when its limit is "unlimited".
const STACK_UNLIMITED: u64 = 256 << 20;
/// Flags of a fresh program: interrupts on, and the bit that is always set.
const INITIAL_FLAGS: u64 = 0x202;

/// An ELF file with its headers read.
struct Image {
    file: Arc<OpenFile>,
    header: Header,
    segments: Vec<Segment>,
}

/// Where an image has been mapped.
#[derive(Clone, Copy)]
struct Mapped {
    /// What was added to its addresses.
    bias: u64,
    /// Where its program headers lie.
    headers: u64,
}

/// Replaces a process's address space by a program's. The process must be the current
/// one, or about to be.
///
/// # Errors
/// As `execve`; the old address space is gone once mapping has begun.
pub fn load(
    process: &Process,
    caller: &Caller,
    program: &Program,
    environment: &[Vec<u8>],
) -> Result<Loaded, ExecError> {
    let image = read_image(Arc::clone(&program.file))?;
    let interpreter = match interpreter_path(&image)? {
        Some(path) => Some(open_interpreter(caller, &path)?),
        None => None,
    };
    let stack_top = APP_END - (random::u64() % (1 << 22)) * PAGE_SIZE;
    let stack_size = stack_size(process);
    let top = stack_top - stack_size - STACK_GAP;
    let limit = guest_hal::boot::info().memory_limit;
    *process.memory.lock() = AddressSpace::new(LinearAddress(top), limit);
    let mapped = map_program(process, &image)?;
    let interpreter = match &interpreter {
        Some(interpreter) => Some((
            map_interpreter(process, interpreter)?,
            interpreter.header.entry,
        )),
        None => None,
    };
    map_stack(process, &image, stack_top, stack_size)?;
    let program_entry = image.header.entry.wrapping_add(mapped.bias);
    let library = super::vdso::map(&mut process.memory.lock())?;
    let vectors = StartVectors {
        vdso: library.0,
        path: &program.path,
        arguments: &program.arguments,
        environment,
        headers: mapped.headers,
        header_count: u64::from(image.header.count),
        interpreter_base: interpreter.map_or(0, |(interpreter, _)| interpreter.bias),
        entry: program_entry,
        credentials: &process.credentials.lock().clone(),
    };
    let written = stack::write(&vectors, stack_top, stack_size)?;
    let entry = interpreter.map_or(program_entry, |(at, entry)| entry.wrapping_add(at.bias));
    if entry >= APP_END {
        return Err(ExecError::new(
            Errno::ENOEXEC,
            "has an entry point outside of the address space",
        ));
    }
    set_program_info(process, caller, program, &written);
    Ok(Loaded {
        context: start_context(entry, written.pointer),
        file: Arc::clone(&program.file),
    })
}

/// Refuses what [`load`] would refuse before anything is replaced.
///
/// # Errors
/// As `execve`.
pub fn check(caller: &Caller, program: &Program) -> Result<(), ExecError> {
    let image = read_image(Arc::clone(&program.file))?;
    if let Some(path) = interpreter_path(&image)? {
        open_interpreter(caller, &path)?;
    }
    Ok(())
}

fn start_context(entry: u64, stack_pointer: u64) -> UserContext {
    UserContext {
        rip: entry,
        rsp: stack_pointer,
        rflags: INITIAL_FLAGS,
        cs: 0x33,
        ss: 0x2b,
        call: u64::MAX,
        ..UserContext::default()
    }
}

fn set_program_info(process: &Process, caller: &Caller, program: &Program, stack: &stack::Written) {
    let path = program.file.path(&caller.root);
    let name = program
        .path
        .rsplit(|&byte| byte == b'/')
        .next()
        .unwrap_or_default();
    *process.program.lock() = ProgramInfo {
        path,
        name: name.iter().copied().take(15).collect(),
        arguments: stack.arguments,
        environment: stack.environment,
        auxiliary: stack.auxiliary.clone(),
        stack: stack.pointer,
    };
}

fn stack_size(process: &Process) -> u64 {
    let limits = process.limits.lock();
    let soft = limits.get(limit::STACK).map_or(8 << 20, |(soft, _)| *soft);
    if soft > STACK_UNLIMITED {
        STACK_UNLIMITED
    } else {
        page_up(soft.max(256 << 10))
    }
}

fn read_image(file: Arc<OpenFile>) -> Result<Image, ExecError> {
    let mut head = [0; elf::HEADER_SIZE];
    let length = read_fully(&file, 0, &mut head)?;
    let header = parse(head.get(..length).unwrap_or_default())?;
    let mut table = alloc::vec![0; usize::from(header.count) * elf::SEGMENT_SIZE as usize];
    if header.table >> 62 != 0 || read_fully(&file, header.table, &mut table)? != table.len() {
        return Err(ExecError::new(Errno::ENOEXEC, "is a truncated ELF file"));
    }
    let segments = elf::segments(&table)?;
    let size = file.regular()?.size()?;
    let missing = |segment: &&Segment| {
        segment.kind == elf::LOAD && segment.file_size > 0 && segment.offset >= size
    };
    if segments.iter().any(|segment| missing(&segment)) {
        return Err(ExecError::new(Errno::ENOEXEC, "is a truncated ELF file"));
    }
    Ok(Image {
        file,
        header,
        segments,
    })
}

fn interpreter_path(image: &Image) -> Result<Option<Vec<u8>>, ExecError> {
    let found = image
        .segments
        .iter()
        .find(|segment| segment.kind == elf::INTERPRETER);
    let Some(segment) = found else {
        return Ok(None);
    };
    if segment.file_size < 2 || segment.file_size > 4096 {
        return Err(ExecError::new(
            Errno::ENOEXEC,
            "names an interpreter that makes no sense",
        ));
    }
    let mut path = alloc::vec![0; segment.file_size as usize];
    read_fully(&image.file, segment.offset, &mut path)?;
    match path.iter().position(|&byte| byte == 0) {
        Some(end) => path.truncate(end),
        None => {
            return Err(ExecError::new(
                Errno::ENOEXEC,
                "names an interpreter without an end",
            ));
        }
    }
    Ok(Some(path))
}

fn open_interpreter(caller: &Caller, path: &[u8]) -> Result<Image, ExecError> {
    let shown = path.escape_ascii();
    let file = caller.open_program(&caller.cwd, path).map_err(|errno| {
        let reason = alloc::format!("its dynamic loader {shown} cannot be opened ({errno})");
        ExecError::new(errno, reason)
    })?;
    read_image(file).map_err(|error| {
        let reason = alloc::format!("its dynamic loader {shown} {}", error.reason);
        ExecError::new(Errno::ELIBBAD, reason)
    })
}

/// Lowest and highest address of what is to be loaded, whole pages.
fn extent_of(segments: &[Segment]) -> (u64, u64) {
    let loads = || segments.iter().filter(|segment| segment.kind == elf::LOAD);
    let low = loads()
        .map(|segment| page_down(segment.address))
        .min()
        .unwrap_or(0);
    let high = loads()
        .map(|segment| page_up(segment.address + segment.memory_size))
        .max();
    (low, high.unwrap_or(0))
}

fn map_program(process: &Process, image: &Image) -> Result<Mapped, ExecError> {
    let (low, high) = extent_of(&image.segments);
    let bias = match image.header.kind {
        Kind::Fixed => 0,
        Kind::Relocatable => {
            let align = image
                .segments
                .iter()
                .filter(|segment| segment.kind == elf::LOAD);
            let align = align.map(|segment| segment.align).max().unwrap_or(0);
            let align = if align.is_power_of_two() {
                align.clamp(PAGE_SIZE, 1 << 30)
            } else {
                PAGE_SIZE
            };
            let base = PROGRAM_BASE + (random::u64() % (1 << 28)) * PAGE_SIZE;
            (base & !(align - 1)).wrapping_sub(low)
        }
    };
    let mapped = map_image(process, image, bias)?;
    let heap_gap = (random::u64() % (1 << 13)) * PAGE_SIZE;
    let heap = page_up(high.wrapping_add(bias)) + heap_gap;
    process.memory.lock().set_brk_start(LinearAddress(heap));
    Ok(mapped)
}

fn map_interpreter(process: &Process, image: &Image) -> Result<Mapped, ExecError> {
    let (low, high) = extent_of(&image.segments);
    let memory = process.memory.lock();
    let base = memory.find_below(memory.top(), high - low, PAGE_SIZE)?;
    drop(memory);
    let bias = if image.header.kind == Kind::Fixed {
        0
    } else {
        base.wrapping_sub(low)
    };
    map_image(process, image, bias)
}

fn map_image(process: &Process, image: &Image, bias: u64) -> Result<Mapped, ExecError> {
    let mut headers = 0;
    for segment in image
        .segments
        .iter()
        .filter(|segment| segment.kind == elf::LOAD)
    {
        map_segment(process, &image.file, segment, bias)?;
        let table = image.header.table;
        if (segment.offset..segment.offset.saturating_add(segment.file_size)).contains(&table) {
            headers = (table - segment.offset + segment.address).wrapping_add(bias);
        }
    }
    if let Some(own) = image
        .segments
        .iter()
        .find(|segment| segment.kind == elf::HEADERS)
    {
        headers = own.address.wrapping_add(bias);
    }
    Ok(Mapped { bias, headers })
}

fn map_segment(
    process: &Process,
    file: &Arc<OpenFile>,
    segment: &Segment,
    bias: u64,
) -> Result<(), ExecError> {
    let start = segment.address.wrapping_add(bias);
    let file_end = start + segment.file_size;
    let end = start + segment.memory_size;
    let first = page_down(start);
    let file_pages_end = if segment.file_size == 0 {
        first
    } else {
        page_up(file_end)
    };
    let mut memory = process.memory.lock();
    if file_pages_end > first {
        let source = Source::Private(Arc::clone(file), page_down(segment.offset));
        let place = Place::Fixed(LinearAddress(first));
        memory.map(place, file_pages_end - first, segment.protection, source)?;
    }
    if page_up(end) > file_pages_end {
        let place = Place::Fixed(LinearAddress(file_pages_end));
        let length = page_up(end) - file_pages_end;
        memory.map(place, length, segment.protection, Source::Anonymous)?;
    }
    drop(memory);
    if segment.memory_size > segment.file_size && segment.file_size > 0 {
        clear_tail(segment.protection, file_end, file_pages_end);
    }
    Ok(())
}

/// Clears the rest of the page in which the file's part of a segment ends. A segment
/// that cannot be written keeps it, as on Linux.
fn clear_tail(protection: Protection, from: u64, to: u64) {
    if protection.contains(Protection::WRITE) {
        let zeroes = [0; PAGE_SIZE as usize];
        let length = (to - from) as usize;
        let _ = uaccess::write(
            LinearAddress(from),
            zeroes.get(..length).unwrap_or_default(),
        );
    }
}

fn map_stack(process: &Process, image: &Image, top: u64, size: u64) -> Result<(), ExecError> {
    let marked = image
        .segments
        .iter()
        .find(|segment| segment.kind == elf::STACK);
    let executable = marked.is_some_and(|segment| segment.protection.contains(Protection::EXECUTE));
    let mut protection = Protection::READ.union(Protection::WRITE);
    if executable {
        protection = protection.union(Protection::EXECUTE);
    }
    let place = Place::Fixed(LinearAddress(top - size));
    process
        .memory
        .lock()
        .map(place, size, protection, Source::Stack)?;
    Ok(())
}
