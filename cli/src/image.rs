//! The kernel's image as a file, for engines that map it.

use std::fs::File;

use guest_abi::layout::PAGE_SIZE;

use crate::error::Failure;

/// The file that holds the kernel: this program's own.
#[derive(Debug)]
pub(crate) struct Image {
    /// Open for reading.
    pub(crate) file: File,
    /// Where the kernel begins in it, in bytes; a page's start.
    pub(crate) offset: u64,
}

impl Image {
    /// Finds the kernel.
    pub(crate) fn open() -> Result<Self, Failure> {
        let file = File::open("/proc/self/exe").map_err(|error| {
            let remedy = "mount /proc where husk runs";
            Failure::new("this program's own file", error, remedy)
        })?;
        let offset = host::image::file_offset(boot::KERNEL);
        let aligned = offset.filter(|offset| offset.is_multiple_of(PAGE_SIZE));
        let offset = aligned.ok_or_else(|| {
            let remedy = "install husk anew, unstripped of its segments";
            Failure::new("this program's own file", "its kernel is not in it", remedy)
        })?;
        Ok(Self { file, offset })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn the_kernel_is_in_the_file() {
        let image = Image::open().expect("our own file");
        let mut found = vec![0; boot::KERNEL.len()];
        image
            .file
            .read_exact_at(&mut found, image.offset)
            .expect("it is that long");
        assert_eq!(found, boot::KERNEL);
    }
}
