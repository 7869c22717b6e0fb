//! Where bytes of the running program lie in its file.
#![expect(unsafe_code, reason = "reads the program's own headers in memory")]

/// `PT_LOAD` (ELF specification, program header types).
const PT_LOAD: u32 = 1;

unsafe extern "C" {
    /// The linker's symbol for the ELF header of this program.
    static __ehdr_start: libc::Elf64_Ehdr;
}

/// The offset in this program's file at which `bytes`, a constant of it, begin; `None` if
/// they do not come from the file.
#[must_use]
pub fn file_offset(bytes: &[u8]) -> Option<u64> {
    // SAFETY: the linker puts the header into the first segment; nobody writes it.
    let header = unsafe { &__ehdr_start };
    let base = (&raw const __ehdr_start).addr() as u64;
    let first = std::ptr::with_exposed_provenance((base + header.e_phoff) as usize);
    // SAFETY: the loaded program's headers lie in the same segment, `e_phnum` of them.
    let headers: &[libc::Elf64_Phdr] =
        unsafe { std::slice::from_raw_parts(first, header.e_phnum.into()) };
    let loaded = || headers.iter().filter(|header| header.p_type == PT_LOAD);
    let first = loaded().find(|header| header.p_offset == 0)?;
    // What was added to the addresses in the file when the program was loaded.
    let moved = base.wrapping_sub(first.p_vaddr);
    let start = (bytes.as_ptr().addr() as u64).wrapping_sub(moved);
    let end = start.checked_add(bytes.len() as u64)?;
    loaded().find_map(|header| {
        let inside = header.p_vaddr <= start && end <= header.p_vaddr + header.p_filesz;
        inside.then(|| header.p_offset + (start - header.p_vaddr))
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_constant_is_found_in_the_file() {
        static WORDS: [u8; 24] = *b"a constant of this test!";
        let offset = file_offset(&WORDS).unwrap();
        let mut found = [0; 24];
        let file = File::open("/proc/self/exe").unwrap();
        file.read_exact_at(&mut found, offset).unwrap();
        assert_eq!(found, WORDS);
    }

    #[test]
    fn what_is_not_in_the_file_is_not_found() {
        let heap = Box::new([7; 24]);
        assert_eq!(file_offset(heap.as_slice()), None);
    }
}
