//! Pages of guest memory as a processor accesses them: whole words, one access each, in the order of the
//! program, which is x86's own order on an x86 host.
#![expect(unsafe_code, reason = "guest memory is reached by address")]

use std::arch::asm;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::GuestMemory;

/// Bytes of a [`Frame`].
pub const FRAME_SIZE: usize = 4096;

/// A page of guest memory.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'m> {
    start: NonNull<u8>,
    _memory: PhantomData<&'m GuestMemory>,
}

impl GuestMemory {
    /// The page with this guest-physical address; `None` where there is no memory.
    #[must_use]
    pub fn frame(&self, address: u64) -> Option<Frame<'_>> {
        let page = address & !(FRAME_SIZE as u64 - 1);
        let region = self.regions().iter().find(|region| {
            let within = page.checked_sub(region.guest);
            within.is_some_and(|within| {
                within < region.length && region.length - within >= FRAME_SIZE as u64
            })
        })?;
        let host = region.host + (page - region.guest) as usize;
        let start = NonNull::new(std::ptr::with_exposed_provenance_mut(host))?;
        Some(Frame {
            start,
            _memory: PhantomData,
        })
    }
}

/// A number as memory has it.
pub trait Word: Copy + private::Word {}

impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}

mod private {
    /// One access of the processor, which need not be aligned.
    pub trait Word: Sized {
        /// # Safety
        /// The address is mapped for as many bytes.
        unsafe fn load(from: *const u8) -> Self;
        /// # Safety
        /// As for loading.
        unsafe fn store(to: *mut u8, value: Self);
        /// # Safety
        /// As for loading.
        unsafe fn exchange(at: *mut u8, old: Self, new: Self) -> bool;
        /// # Safety
        /// So many words are mapped.
        unsafe fn fill(to: *mut u8, count: usize, value: Self);
    }
}

macro_rules! word {
    ($type:ty, $class:ident, $modifier:literal, $accumulator:tt, $pointer:literal, $fill:literal) => {
        impl private::Word for $type {
            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                let value: Self;
                // SAFETY: reads mapped memory, as the caller says; others may write it meanwhile, which an
                // access of the processor's, unlike one of the language's, allows.
                unsafe {
                    asm!(
                        concat!("mov {value", $modifier, "}, ", $pointer, " ptr [{from}]"),
                        value = out($class) value, from = in(reg) from,
                        options(nostack, preserves_flags, readonly)
                    );
                }
                value
            }

            #[inline(always)]
            unsafe fn store(to: *mut u8, value: Self) {
                // SAFETY: as for loading.
                unsafe {
                    asm!(
                        concat!("mov ", $pointer, " ptr [{to}], {value", $modifier, "}"),
                        value = in($class) value, to = in(reg) to,
                        options(nostack, preserves_flags)
                    );
                }
            }

            #[inline(always)]
            unsafe fn exchange(at: *mut u8, old: Self, new: Self) -> bool {
                let is_old: u8;
                // SAFETY: as for loading.
                unsafe {
                    asm!(
                        concat!("lock cmpxchg ", $pointer, " ptr [{at}], {new", $modifier, "}"),
                        "sete {is_old}",
                        at = in(reg) at, new = in($class) new, is_old = lateout(reg_byte) is_old,
                        inout($accumulator) old => _,
                        options(nostack)
                    );
                }
                is_old != 0
            }

            #[inline(always)]
            unsafe fn fill(to: *mut u8, count: usize, value: Self) {
                // SAFETY: as for loading.
                unsafe {
                    asm!(
                        $fill,
                        inout("rdi") to => _, inout("rcx") count => _, in($accumulator) value,
                        options(nostack, preserves_flags)
                    );
                }
            }
        }
    };
}

word!(u8, reg_byte, "", "al", "byte", "rep stosb");
word!(u16, reg, ":x", "ax", "word", "rep stosw");
word!(u32, reg, ":e", "eax", "dword", "rep stosd");
word!(u64, reg, "", "rax", "qword", "rep stosq");

/// Copies 16 bytes, or 32, as a processor moves vectors: at once where it can, for it waits where a read has more bytes
/// than the last write to them.
///
/// # Safety
/// Both places have the bytes. Others may access them meanwhile.
#[inline(always)]
unsafe fn copy_vector<const N: usize>(from: *const u8, to: *mut u8) {
    const { assert!(N == 16 || N == 32) };
    if N == 32 && is_x86_feature_detected!("avx") {
        // SAFETY: as the caller says; the processor and its system know these registers.
        unsafe {
            asm!(
                "vmovups ymm0, ymmword ptr [{from}]",
                "vmovups ymmword ptr [{to}], ymm0",
                "vzeroupper",
                from = in(reg) from,
                to = in(reg) to,
                // The upper halves of all are gone.
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nostack, preserves_flags)
            );
        }
        return;
    }
    for at in (0..N).step_by(16) {
        // SAFETY: as the caller says; that others write meanwhile an access of the processor's allows. SSE2 is
        // there on every x86-64 host.
        unsafe {
            asm!(
                "movups {vector}, xmmword ptr [{from}]",
                "movups xmmword ptr [{to}], {vector}",
                vector = out(xmm_reg) _,
                from = in(reg) from.wrapping_add(at),
                to = in(reg) to.wrapping_add(at),
                options(nostack, preserves_flags)
            );
        }
    }
}

impl Frame<'_> {
    /// The address of a word, which must lie within the page.
    #[inline(always)]
    fn place<T>(self, offset: usize) -> *mut u8 {
        assert!(offset <= FRAME_SIZE - size_of::<T>(), "beyond the page");
        // SAFETY: the offset is within the page, as was just seen.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// Reads the word at an offset in the page.
    ///
    /// # Panics
    /// If it goes beyond the page, as all of these.
    #[inline(always)]
    #[must_use]
    pub fn load<T: Word>(self, offset: usize) -> T {
        // SAFETY: the whole word lies in the page, which is mapped as long as the memory lives.
        unsafe { T::load(self.place::<T>(offset)) }
    }

    /// Writes a word.
    #[inline(always)]
    pub fn store<T: Word>(self, offset: usize, value: T) {
        // SAFETY: as for loading.
        unsafe { T::store(self.place::<T>(offset), value) }
    }

    /// Writes the new word if there is the old one, in one step for all processors, aligned or not;
    /// whether it did.
    #[inline(always)]
    #[must_use]
    pub fn exchange<T: Word>(self, offset: usize, old: T, new: T) -> bool {
        // SAFETY: as for loading.
        unsafe { T::exchange(self.place::<T>(offset), old, new) }
    }

    /// Reads so many bytes as a vector register has: 16, or 32.
    ///
    /// # Panics
    /// Likewise.
    #[inline(always)]
    pub fn load_vector<const N: usize>(self, offset: usize, into: &mut [u8; N]) {
        let from = self.place::<[u8; N]>(offset);
        // SAFETY: both places have the bytes.
        unsafe { copy_vector::<N>(from, into.as_mut_ptr()) }
    }

    /// Writes them.
    ///
    /// # Panics
    /// Likewise.
    #[inline(always)]
    pub fn store_vector<const N: usize>(self, offset: usize, bytes: &[u8; N]) {
        let to = self.place::<[u8; N]>(offset);
        // SAFETY: as for loading.
        unsafe { copy_vector::<N>(bytes.as_ptr(), to) }
    }

    /// Copies bytes to another page, the lowest first: what overlaps is copied again.
    ///
    /// # Panics
    /// If they go beyond either page.
    pub fn copy(self, offset: usize, to: Frame<'_>, to_offset: usize, count: usize) {
        let is_within = |offset: usize| offset <= FRAME_SIZE && count <= FRAME_SIZE - offset;
        assert!(is_within(offset) && is_within(to_offset), "beyond the page");
        let (from, to) = (self.start.as_ptr(), to.start.as_ptr());
        // SAFETY: both ranges lie in mapped pages; others may access them meanwhile, which an instruction allows.
        unsafe {
            asm!(
                "rep movsb",
                inout("rsi") from.wrapping_add(offset) => _,
                inout("rdi") to.wrapping_add(to_offset) => _,
                inout("rcx") count => _,
                options(nostack, preserves_flags)
            );
        }
    }

    /// Writes a word as often as there is room for it in `count` bytes.
    ///
    /// # Panics
    /// If they go beyond the page.
    pub fn fill<T: Word>(self, offset: usize, count: usize, value: T) {
        /// Fewer words are stored sooner than a processor begins a string.
        const FEW: usize = 16;
        let words = count / size_of::<T>();
        if words < FEW {
            for number in 0..words {
                self.store(offset + number * size_of::<T>(), value);
            }
            return;
        }
        let is_within = offset <= FRAME_SIZE && count <= FRAME_SIZE - offset;
        assert!(is_within, "beyond the page");
        // SAFETY: the words lie in the page, which is mapped as long as the memory lives.
        unsafe { T::fill(self.start.as_ptr().wrapping_add(offset), words, value) };
    }

    /// Copies out, by words as long as there are such.
    pub fn read(self, offset: usize, into: &mut [u8]) {
        let mut chunks = into.chunks_exact_mut(8);
        let mut at = offset;
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.load::<u64>(at).to_le_bytes());
            at += 8;
        }
        for byte in chunks.into_remainder() {
            *byte = self.load(at);
            at += 1;
        }
    }

    /// Copies in, likewise.
    pub fn write(self, offset: usize, bytes: &[u8]) {
        let mut at = offset;
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.store(at, u64::from_le_bytes(word));
            at += 8;
        }
        for byte in chunks.remainder() {
            self.store(at, *byte);
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> GuestMemory {
        let file = tempfile::tempfile().unwrap();
        file.set_len(0x1_0000).unwrap();
        GuestMemory::with_hole(file, 0x1_0000, 0x4000..0xc000).unwrap()
    }

    #[test]
    fn there_are_frames_where_there_is_memory() {
        let memory = memory();
        let has = |address| memory.frame(address).is_some();
        assert!(has(0) && has(0x3fff) && has(0xc000) && has(0x1_7fff));
        assert!(!has(0x4000) && !has(0xbfff) && !has(0x1_8000) && !has(u64::MAX));
    }

    #[test]
    fn words_are_read_and_written_at_any_offset() {
        let memory = memory();
        let frame = memory.frame(0xc000).unwrap();
        frame.store(5, 0x1122_3344_5566_7788_u64);
        frame.store(5, 0xaa_u8);
        frame.store(6, 0xbbcc_u16);
        assert_eq!(frame.load::<u64>(5), 0x1122_3344_55bb_ccaa);
        assert_eq!(frame.load::<u32>(9), 0x1122_3344);
        assert_eq!(frame.load::<u16>(12), 0x11);
        frame.store(4092, 7_u32);
        let mut bytes = [0; 3];
        memory.read(0xc005, &mut bytes).unwrap();
        assert_eq!(bytes, [0xaa, 0xcc, 0xbb]);
        assert_eq!(memory.frame(0xc000).unwrap().load::<u32>(4092), 7);
    }

    #[test]
    fn a_word_is_exchanged_if_it_is_the_old_one() {
        let memory = memory();
        let frame = memory.frame(0).unwrap();
        frame.store(3, 0x0102_0304_u32);
        assert!(!frame.exchange(3, 1_u32, 2));
        assert!(frame.exchange(3, 0x0102_0304_u32, 0xffff_fffe));
        assert!(frame.exchange(3, 0xfe_u8, 1));
        assert!(frame.exchange(4, 0xffff_u16, 0));
        assert!(frame.exchange(3, 0xff00_0001_u64, 5));
        assert_eq!(frame.load::<u64>(3), 5);
    }

    #[test]
    fn bytes_are_copied_in_and_out() {
        let memory = memory();
        let frame = memory.frame(0x1000).unwrap();
        let bytes: Vec<u8> = (0..29).collect();
        frame.write(100, &bytes);
        let mut again = [0; 29];
        frame.read(100, &mut again);
        assert_eq!(bytes, again);
    }

    #[test]
    fn vectors_are_copied_in_and_out() {
        let memory = memory();
        let frame = memory.frame(0x1000).unwrap();
        let bytes: [u8; 32] = std::array::from_fn(|at| at as u8);
        frame.store_vector(FRAME_SIZE - 32, &bytes);
        let (mut half, mut whole) = ([0; 16], [0; 32]);
        frame.load_vector(FRAME_SIZE - 32, &mut whole);
        frame.load_vector(FRAME_SIZE - 17, &mut half);
        assert_eq!(whole, bytes);
        assert_eq!(half, bytes[15..31]);
    }

    #[test]
    fn bytes_are_copied_upwards_and_filled() {
        let memory = memory();
        let (frame, other) = (memory.frame(0).unwrap(), memory.frame(0x2000).unwrap());
        frame.write(4090, b"abcdef");
        frame.copy(4090, other, 0, 6);
        other.copy(0, other, 1, 8);
        let mut bytes = [0; 10];
        other.read(0, &mut bytes);
        assert_eq!(&bytes, b"aaaaaaaaa\0");
        other.fill(2, 7, 0x4241_u16);
        other.read(0, &mut bytes);
        assert_eq!(&bytes, b"aaABABABa\0");
    }

    #[test]
    fn many_words_of_each_size_are_filled() {
        fn check<T: Word>(value: T, wanted: u8) {
            let memory = memory();
            let frame = memory.frame(0).unwrap();
            frame.fill(3, FRAME_SIZE - 4, value);
            let mut bytes = vec![0; FRAME_SIZE];
            frame.read(0, &mut bytes);
            let words = (FRAME_SIZE - 4) / size_of::<T>() * size_of::<T>();
            let filled = bytes.iter().filter(|byte| **byte == wanted).count();
            assert_eq!((filled, bytes[2], bytes[3 + words]), (words, 0, 0));
        }
        check(0x11_u8, 0x11);
        check(0x2222_u16, 0x22);
        check(0x3333_3333_u32, 0x33);
        check(0x4444_4444_4444_4444_u64, 0x44);
    }

    #[test]
    #[should_panic(expected = "beyond the page")]
    fn nothing_is_filled_beyond_the_page() {
        let memory = memory();
        memory.frame(0).unwrap().fill(1, FRAME_SIZE, 1_u8);
    }

    #[test]
    #[should_panic(expected = "beyond the page")]
    fn nothing_is_reached_beyond_the_page() {
        let memory = memory();
        let _ = memory.frame(0).unwrap().load::<u32>(4093);
    }
}
