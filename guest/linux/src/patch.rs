//! Replacing a system call's trap by a jump, lazily, one site at a time.
//!
//! A site is patched when it traps, so what is patched is known to be executed as a
//! `syscall` instruction. Three forms, tried in this order:
//!
//! * `mov $number, %eax; syscall` (7 bytes): the `mov` becomes a jump to a stub that does
//!   the same `mov` and enters the kernel. Nothing moves, so this is always safe: whoever
//!   jumps to the `syscall` itself still finds it.
//! * `syscall` followed by an instruction that can be moved (3 bytes or more): both
//!   become a jump to a stub that enters the kernel, executes the moved instruction and
//!   jumps back. Refused if any jump nearby lands on the moved instruction. A saved
//!   instruction pointer there is translated ([`patched_address`], [`original_address`]).
//! * `syscall` alone becomes a short jump to padding nearby, and that a jump to a stub. Padding is
//!   the operand of a long `nop`, which stays one whatever its operand says, or a run of `int3`
//!   that no constant can be. Nothing moves here either; it comes last since it jumps twice.
//!
//! A stub follows the hardware's convention: `rcx` is the address to return to, and two
//! bytes before that address there is a `syscall` instruction, so that a call can be
//! started again by going back two bytes.
//!
//! While code is changed no other thread runs it: virtual CPUs that run the program are brought
//! into the kernel first. A thread that is on its way back to a moved instruction is sent to
//! where it is now (`dispatch`).

use alloc::collections::{BTreeMap, BTreeSet};
use core::sync::atomic::Ordering;

use guest_abi::layout::PAGE_SIZE;
use guest_hal::sync::Mutex;
use guest_hal::{LinearAddress, Protection, UserContext, platform, report};
use guest_kernel::mm::{AddressSpace, Place, Source};
use guest_kernel::process::current;
use guest_kernel::uaccess;

/// Bytes of a jump with a 32-bit distance.
const JUMP: usize = 5;
/// `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// How far around a site jumps to it are looked for.
const VICINITY: u64 = 512;
/// Bytes of a page of stubs' room for one stub.
const STUB_MAX: u64 = 64;

/// Pages of stubs and the moved instructions.
struct Patches {
    /// Start of a page of stubs, and how much of it is used.
    pages: BTreeMap<u64, u64>,
    /// Address of a moved instruction to where it is now.
    moved: BTreeMap<u64, u64>,
    /// The reverse.
    origin: BTreeMap<u64, u64>,
    /// Sites whose `syscall` is still in place: threads that were in it may trap once more.
    kept: BTreeSet<u64>,
}

static PATCHES: Mutex<Patches> = Mutex::new(Patches {
    pages: BTreeMap::new(),
    moved: BTreeMap::new(),
    origin: BTreeMap::new(),
    kept: BTreeSet::new(),
});

/// Where execution goes on instead of at `address`, which a patch may have overwritten.
pub(crate) fn patched_address(address: u64) -> u64 {
    PATCHES
        .lock()
        .moved
        .get(&address)
        .copied()
        .unwrap_or(address)
}

/// The program's own address for one that a patch moved, for those who look it up.
pub(crate) fn original_address(address: u64) -> u64 {
    PATCHES
        .lock()
        .origin
        .get(&address)
        .copied()
        .unwrap_or(address)
}

/// Patches the site whose `syscall` ends at `context.rip`, if it can be.
pub(crate) fn patch(context: &mut UserContext) {
    let Some(site) = context.rip.checked_sub(2) else {
        return;
    };
    let patches = PATCHES.lock();
    if patches.pages.contains_key(&(site & !(PAGE_SIZE - 1))) || patches.kept.contains(&site) {
        return;
    }
    drop(patches);
    let mut code = [0; 16];
    if uaccess::read(LinearAddress(site), &mut code).is_err() || !code.starts_with(&SYSCALL) {
        return;
    }
    let done = patch_load(site, context.call)
        || patch_follower(context, site, &code)
        || patch_by_padding(site);
    if done {
        report::counters()
            .patched_sites
            .fetch_add(1, Ordering::Relaxed);
    }
}

/// The form with `mov $number, %eax` before. That the bytes are that instruction, not
/// the end of a longer one, shows in the number and in what is before them.
fn patch_load(site: u64, number: u64) -> bool {
    let mut before = [0; JUMP + 1];
    let start = site.wrapping_sub(JUMP as u64);
    if uaccess::read(LinearAddress(start - 1), &mut before).is_err() {
        return false;
    }
    let [prefix, before @ ..] = before;
    let is_load = u32::try_from(number)
        .is_ok_and(|number| before.split_first() == Some((&0xb8, &number.to_le_bytes()[..])));
    if !is_load || matches!(prefix, 0x40..=0x4f | 0x66) || is_targeted(start + 1, site) {
        return false;
    }
    let placed = install(
        start,
        || still_is(site, start, &before),
        |stub| {
            stub.bytes(&before);
            stub.enter_kernel(site + 2);
        },
    );
    if placed.is_some() {
        PATCHES.lock().kept.insert(site);
    }
    placed.is_some()
}

/// The form in which the instruction behind moves.
fn patch_follower(context: &mut UserContext, site: u64, code: &[u8; 16]) -> bool {
    let follower = site + 2;
    let Some(length) = movable(code.get(2..).unwrap_or_default()) else {
        return false;
    };
    let covered = (follower + length as u64).max(site + JUMP as u64);
    if 2 + length < JUMP || is_targeted(site + 1, covered) {
        return false;
    }
    let mut back = 0;
    let placed = install(
        site,
        || still_is(site, site, code),
        |stub| {
            let end = stub.address() + 32;
            stub.enter_kernel(end);
            stub.fill_until(end - 2);
            stub.bytes(&SYSCALL);
            back = end;
            stub.bytes(code.get(2..2 + length).unwrap_or_default());
            stub.jump(follower + length as u64);
        },
    );
    if placed.is_none() {
        return false;
    }
    let mut patches = PATCHES.lock();
    patches.moved.insert(follower, back);
    patches.origin.insert(back, follower);
    drop(patches);
    context.rip = back;
    true
}

/// The form with a short jump to padding, in the site's own page.
fn patch_by_padding(site: u64) -> bool {
    let page = site & !(PAGE_SIZE - 1);
    let (from, to) = (
        page.max(site.saturating_sub(VICINITY)),
        (page + PAGE_SIZE).min(site + VICINITY),
    );
    let mut code = [0; 2 * VICINITY as usize];
    let Some(code) = code.get_mut(..(to - from) as usize) else {
        return false;
    };
    if uaccess::read(LinearAddress(from), code).is_err() {
        return false;
    }
    let origin = site + SYSCALL.len() as u64;
    let place = padding(code).find_map(|at| {
        let place = from + at as u64;
        let distance = i8::try_from(place.wrapping_sub(origin) as i64).ok()?;
        Some((place, distance))
    });
    let Some((place, distance)) = place else {
        return false;
    };
    let behind = code.get((place - from) as usize..).unwrap_or_default();
    let padding = behind.get(..JUMP).unwrap_or_default();
    let unchanged = || still_is(site, site, &SYSCALL) && still_is(site, place, padding);
    install(place, unchanged, |stub| {
        stub.enter_kernel(origin);
        stub.entered_from = Some((site, [0xeb, distance.cast_unsigned()]));
    })
    .is_some()
}

/// Where in `code` a jump can be put that is no instruction now and changes none.
fn padding(code: &[u8]) -> impl Iterator<Item = usize> {
    // nopl 0(%rax,%rax,1) with a long displacement: the byte of index and base and the displacement.
    const LONG_NOP: [u8; 8] = [0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0];
    // More than an instruction's longest constant.
    const TRAPS: [u8; 9] = [0xcc; 9];
    let ends = |pattern: &'static [u8]| {
        let found = code.windows(pattern.len()).enumerate();
        let found = found.filter(move |(_, bytes)| *bytes == pattern);
        found.map(move |(at, _)| at + pattern.len() - JUMP)
    };
    ends(&LONG_NOP).chain(ends(&TRAPS))
}

/// Length of the instruction at the start of `code` if it means the same anywhere: the
/// ones compilers put behind a system call.
fn movable(code: &[u8]) -> Option<usize> {
    Some(match code {
        // cmp $imm32, %rax
        [0x48, 0x3d, ..] => 6,
        // cmp $imm32, %eax
        [0x3d, ..] => 5,
        // mov, test or cmp between two 64-bit registers
        [
            0x48..=0x4f,
            0x85 | 0x89 | 0x8b | 0x39 | 0x3b,
            0xc0..=0xff,
            ..,
        ] => 3,
        // op $imm8, %reg
        [0x48..=0x49, 0x83, 0xc0..=0xff, ..] => 4,
        _ => return None,
    })
}

/// Whether a jump nearby lands in `start..end`: every byte is taken for a possible jump.
fn is_targeted(start: u64, end: u64) -> bool {
    let from = start.saturating_sub(VICINITY);
    let mut code = [0; 2 * VICINITY as usize];
    let mut readable = &mut code[..];
    // The vicinity may reach beyond the mapping: then the page of the site alone.
    let mut base = from;
    if uaccess::read(LinearAddress(base), readable).is_err() {
        base = from.max(start & !(PAGE_SIZE - 1));
        let limit = (start & !(PAGE_SIZE - 1)) + PAGE_SIZE - base;
        let length = (limit as usize).min(readable.len());
        readable = readable.get_mut(..length).unwrap_or_default();
        if uaccess::read(LinearAddress(base), readable).is_err() {
            return true;
        }
    }
    (0..readable.len()).any(|at| {
        let here = readable.get(at..).unwrap_or_default();
        target(base + at as u64, here).is_some_and(|target| target >= start && target < end)
    })
}

/// Where a jump or call at `address` goes, if the bytes are one.
fn target(address: u64, code: &[u8]) -> Option<u64> {
    let near = |skip: usize| {
        let distance = i32::from_le_bytes(*code.get(skip..)?.first_chunk()?);
        Some(
            address
                .wrapping_add(skip as u64 + 4)
                .wrapping_add_signed(i64::from(distance)),
        )
    };
    match code {
        [0xeb | 0x70..=0x7f | 0xe0..=0xe3, distance, ..] => Some(
            address
                .wrapping_add(2)
                .wrapping_add_signed(i64::from(*distance as i8)),
        ),
        [0xe8 | 0xe9, ..] => near(1),
        [0x0f, 0x80..=0x8f, ..] => near(2),
        _ => None,
    }
}

/// A stub that is being written.
struct Stub {
    start: u64,
    code: [u8; STUB_MAX as usize],
    length: usize,
    /// A short jump to the jump to it, and where that goes.
    entered_from: Option<(u64, [u8; 2])>,
}

impl Stub {
    fn address(&self) -> u64 {
        self.start + self.length as u64
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let place = self.code.iter_mut().skip(self.length);
        place.zip(bytes).for_each(|(to, from)| *to = *from);
        self.length += bytes.len();
    }

    /// Up to `address` with traps.
    fn fill_until(&mut self, address: u64) {
        while self.address() < address {
            self.bytes(&[0xcc]);
        }
    }

    /// `lea back(%rip), %rcx; jmp *entry(%rip)`, the entry's address in line behind.
    fn enter_kernel(&mut self, back: u64) {
        let distance = back.wrapping_sub(self.address() + 7) as u32;
        self.bytes(&[0x48, 0x8d, 0x0d]);
        self.bytes(&distance.to_le_bytes());
        self.bytes(&[0xff, 0x25, 0, 0, 0, 0]);
        self.bytes(&guest_hal::syscall_entry().0.to_le_bytes());
    }

    /// `jmp target`.
    fn jump(&mut self, target: u64) {
        let distance = target.wrapping_sub(self.address() + JUMP as u64) as u32;
        self.bytes(&[0xe9]);
        self.bytes(&distance.to_le_bytes());
    }
}

/// Whether code is still as it was read, and the site as it was: the pages around it may have had
/// to be waited for, and meanwhile another thread may have had it patched.
fn still_is(site: u64, at: u64, code: &[u8]) -> bool {
    let mut now = [0; 16];
    let now = now.get_mut(..code.len()).unwrap_or_default();
    !PATCHES.lock().kept.contains(&site)
        && uaccess::read(LinearAddress(at), now).is_ok()
        && now == code
}

/// Writes a stub near `site` and a jump to it at `site`, if what was read there is `unchanged`;
/// `None` when either cannot be done.
fn install(
    site: u64,
    unchanged: impl FnOnce() -> bool,
    build: impl FnOnce(&mut Stub),
) -> Option<()> {
    let place = reserve(site)?;
    if !unchanged() {
        return None;
    }
    let mut stub = Stub {
        start: place,
        code: [0; STUB_MAX as usize],
        length: 0,
        entered_from: None,
    };
    build(&mut stub);
    let distance = i32::try_from(place.wrapping_sub(site + JUMP as u64) as i64).ok()?;
    // Waiting for it would let others run after the look at the code: the next call tries again.
    let mut memory = current().memory.try_lock()?;
    platform().stop_others();
    write_code(&mut memory, place, stub.code.get(..stub.length)?)?;
    let mut jump = [0xe9; JUMP];
    jump[1..].copy_from_slice(&distance.to_le_bytes());
    write_code(&mut memory, site, &jump)?;
    match stub.entered_from {
        Some((from, jump)) => write_code(&mut memory, from, &jump),
        None => Some(()),
    }
}

/// Room for a stub within reach of `site`.
fn reserve(site: u64) -> Option<u64> {
    let mut patches = PATCHES.lock();
    let near = patches
        .pages
        .iter_mut()
        .find(|(page, used)| page.abs_diff(site) < 1 << 30 && **used + STUB_MAX <= PAGE_SIZE);
    if let Some((page, used)) = near {
        let place = page + *used;
        *used += STUB_MAX;
        return Some(place);
    }
    let mut memory = current().memory.lock();
    let top = (site & !(PAGE_SIZE - 1))
        .checked_add(1 << 30)?
        .min(guest_abi::layout::APP_END);
    let at = memory.find_below(top, PAGE_SIZE, PAGE_SIZE).ok()?;
    if at.abs_diff(site) >= 1 << 30 {
        return None;
    }
    let protection = Protection::READ.union(Protection::EXECUTE);
    memory
        .map(
            Place::FixedFree(LinearAddress(at)),
            PAGE_SIZE,
            protection,
            Source::Anonymous,
        )
        .ok()?;
    patches.pages.insert(at, STUB_MAX);
    Some(at)
}

/// Writes to code that the program itself cannot write, through the memory behind it.
fn write_code(memory: &mut AddressSpace, address: u64, bytes: &[u8]) -> Option<()> {
    memory.own(LinearAddress(address));
    let (start, area) = memory.area_at(LinearAddress(address))?;
    let offset = address - start.0;
    if address + bytes.len() as u64 > area.end {
        return None;
    }
    area.private_memory()?.write(offset, bytes);
    Some(())
}

/// Forgets every patch: another program begins.
pub(crate) fn forget_all() {
    let mut patches = PATCHES.lock();
    patches.pages.clear();
    patches.moved.clear();
    patches.origin.clear();
    patches.kept.clear();
}

/// Forgets patches in a range that is unmapped or replaced.
pub(crate) fn forget(start: LinearAddress, length: u64) {
    let end = start.0.saturating_add(length);
    let mut patches = PATCHES.lock();
    patches
        .pages
        .retain(|page, _| *page < start.0 || *page >= end);
    patches.moved.retain(|at, _| *at < start.0 || *at >= end);
    patches.kept.retain(|at| *at < start.0 || *at >= end);
    patches.origin.retain(|_, at| *at < start.0 || *at >= end);
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn jumps_are_recognized() {
        assert_eq!(target(100, &[0xeb, 0xfe]), Some(100));
        assert_eq!(target(100, &[0x74, 10]), Some(112));
        assert_eq!(target(100, &[0xe9, 0xfb, 0xff, 0xff, 0xff]), Some(100));
        assert_eq!(target(100, &[0x0f, 0x84, 0, 0, 0, 0]), Some(106));
        assert_eq!(target(100, &[0x90, 0x90]), None);
    }

    #[test]
    fn only_position_independent_followers_move() {
        assert_eq!(movable(&[0x48, 0x3d, 0, 0xf0, 0xff, 0xff]), Some(6));
        assert_eq!(movable(&[0x48, 0x89, 0xc7]), Some(3));
        assert_eq!(
            movable(&[0x48, 0x89, 0x05, 0, 0, 0, 0]),
            None,
            "rip-relative store"
        );
        assert_eq!(movable(&[0xe8, 0, 0, 0, 0]), None);
        assert_eq!(movable(&[0xc3]), None);
    }

    #[test]
    fn only_what_is_no_instruction_is_padding() {
        let places = |code: &[u8]| padding(code).collect::<Vec<_>>();
        let nop = [0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0];
        assert_eq!(places(&nop), [5]);
        let mut used = nop;
        used[5] = 0xe9;
        assert_eq!(places(&used), []);
        assert_eq!(places(&[0xcc; 9]), [4]);
        // movabs $0xcccccccccccccccc, %rax
        assert_eq!(places(&[&[0x48, 0xb8][..], &[0xcc; 8]].concat()), []);
        assert_eq!(places(&[0x0f, 0x1f, 0x44, 0, 0]), []);
    }

    #[test]
    fn a_stub_for_a_follower_fits() {
        let mut stub = Stub {
            start: 0x1000,
            code: [0; STUB_MAX as usize],
            length: 0,
            entered_from: None,
        };
        stub.enter_kernel(0x1020);
        assert!(stub.length <= 30);
        stub.fill_until(0x101e);
        stub.bytes(&SYSCALL);
        assert_eq!(stub.address(), 0x1020);
    }
}
