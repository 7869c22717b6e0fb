//! Finds the compressed kernel in a bzImage.
//!
//! The header is the kernel's "Linux/x86 boot protocol", version 2.08 or later. QEMU enters the
//! uncompressed kernel directly (PVH), which saves decompressing it under emulation every time.

use anyhow::{Context, Result, ensure};

const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;
/// The first version of the header that has the payload's place.
const OLDEST: u16 = 0x0208;

/// The compressed kernel, and how long it is when it is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload<'a> {
    pub(crate) compressed: &'a [u8],
    pub(crate) unpacked_length: u32,
}

/// Finds the payload.
///
/// # Errors
/// When this is no bzImage, an old one, or a part of one.
pub(crate) fn payload(image: &[u8]) -> Result<Payload<'_>> {
    ensure!(
        bytes_at(image, MAGIC)? == *b"HdrS",
        "the kernel is no bzImage"
    );
    let version = u16::from_le_bytes(bytes_at(image, VERSION)?);
    ensure!(
        version >= OLDEST,
        "the kernel's header has the old version {version:#x}"
    );
    let sectors = match bytes_at(image, SETUP_SECTORS)? {
        [0] => 4,
        [sectors] => usize::from(sectors),
    };
    let offset = u32::from_le_bytes(bytes_at(image, PAYLOAD_OFFSET)?) as usize;
    let length = u32::from_le_bytes(bytes_at(image, PAYLOAD_LENGTH)?) as usize;
    let start = (sectors + 1) * SECTOR + offset;
    let whole = image
        .get(start..)
        .and_then(|rest| rest.get(..length))
        .context("the kernel's payload lies outside its file")?;
    let (compressed, unpacked_length) = whole
        .split_last_chunk()
        .context("the kernel's payload is empty")?;
    Ok(Payload {
        compressed,
        unpacked_length: u32::from_le_bytes(*unpacked_length),
    })
}

fn bytes_at<const N: usize>(image: &[u8], at: usize) -> Result<[u8; N]> {
    let found = image.get(at..).and_then(|rest| rest.first_chunk());
    found
        .copied()
        .context("the kernel is too short for a bzImage")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sectors of set-up code, then 16 bytes, the payload `abc` and its length unpacked.
    fn image() -> Vec<u8> {
        let mut image = vec![0; 3 * SECTOR + 16];
        image[SETUP_SECTORS] = 2;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[VERSION..VERSION + 2].copy_from_slice(&OLDEST.to_le_bytes());
        image[PAYLOAD_OFFSET] = 16;
        image[PAYLOAD_LENGTH] = 7;
        image.extend_from_slice(b"abc\x09\x01\x00\x00");
        image.extend_from_slice(b"the end");
        image
    }

    fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut image = image();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        image
    }

    #[test]
    fn the_payload_is_found_behind_the_set_up_code() {
        let image = image();
        let payload = payload(&image).expect("valid");
        assert_eq!(payload.compressed, b"abc");
        assert_eq!(payload.unpacked_length, 0x109);
    }

    #[test]
    fn no_set_up_sectors_mean_four() {
        let mut image = changed(SETUP_SECTORS, &[0]);
        image.splice(3 * SECTOR..3 * SECTOR, vec![0; 2 * SECTOR]);
        assert_eq!(payload(&image).expect("valid").compressed, b"abc");
    }

    #[test]
    fn what_is_cut_or_wrong_is_refused() {
        let whole = image();
        let payload_end = whole.len() - b"the end".len();
        for length in 0..payload_end {
            assert!(payload(&whole[..length]).is_err(), "{length}");
        }
        let huge = u32::MAX.to_le_bytes();
        for (at, bytes) in [
            (MAGIC, &b"HdrX"[..]),
            (VERSION, &[0x07, 0x02]),
            (PAYLOAD_OFFSET, &huge),
            (PAYLOAD_LENGTH, &huge),
            (PAYLOAD_LENGTH, &[3]),
        ] {
            assert!(payload(&changed(at, bytes)).is_err(), "{at:#x}");
        }
    }
}
