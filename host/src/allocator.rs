//! The C library's allocator.
#![expect(unsafe_code, reason = "mallopt has no safe wrapper")]

/// Makes all threads allocate from one arena: one of its own for each would cost every
/// thread four system calls at its start and some pages for ever. Before any thread.
pub fn one_arena() {
    // SAFETY: no precondition. An allocator that does not know the option says so and goes on.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
