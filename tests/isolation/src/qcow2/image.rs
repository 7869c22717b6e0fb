//! A small qcow2 image with one of everything (QEMU's qcow2 specification).

/// Bytes of a cluster, the least there are.
pub(super) const CLUSTER: usize = 512;
/// Bytes of the disk: two L2 tables full.
const SIZE: u64 = 2 * 64 * CLUSTER as u64;
/// Bit of an entry whose cluster has a reference count of one.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const READS_AS_ZEROS: u64 = 1;

/// Clusters of the file.
const REFCOUNT_TABLE: usize = 1;
const REFCOUNTS: usize = 2;
const L1: usize = 3;
const L2: usize = 4;
const DATA: usize = 5;
const COMPRESSED_DATA: usize = 7;
const CLUSTERS: usize = 9;

/// What an image says of other files.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Below {
    /// Its backing file, and the format of that if it is said.
    pub(super) backing: Option<(&'static str, &'static str)>,
    /// The file that has its data.
    pub(super) data_file: Option<&'static str>,
}

/// An image of version 2 or 3.
pub(super) fn image(version: u32, below: Below) -> Vec<u8> {
    let mut file = vec![0; CLUSTERS * CLUSTER];
    put(&mut file, 0, &header(version, below));
    put(
        &mut file,
        REFCOUNT_TABLE * CLUSTER,
        &long(REFCOUNTS * CLUSTER),
    );
    for cluster in 0..CLUSTERS {
        put(&mut file, REFCOUNTS * CLUSTER + 2 * cluster, &[0, 1]);
    }
    let tables = COPIED | (L2 * CLUSTER) as u64;
    put(&mut file, L1 * CLUSTER, &tables.to_be_bytes());
    let data = |cluster: usize| COPIED | ((DATA + cluster) * CLUSTER) as u64;
    // One more sector than the first, as the bits above the address say.
    let compressed = COMPRESSED | 1 << 61 | (COMPRESSED_DATA * CLUSTER) as u64;
    let external = below.data_file.is_some();
    // With a file for its data, data lie there where they are on the disk.
    let entries = if external {
        [COPIED, COPIED | CLUSTER as u64, READS_AS_ZEROS, 0]
    } else {
        [data(0), data(1), READS_AS_ZEROS, compressed]
    };
    for (number, entry) in entries.into_iter().enumerate() {
        put(&mut file, L2 * CLUSTER + 8 * number, &entry.to_be_bytes());
    }
    file[DATA * CLUSTER..][..2 * CLUSTER].fill(7);
    put(&mut file, COMPRESSED_DATA * CLUSTER, &stored(&[9; CLUSTER]));
    file
}

/// The header, its extensions, and the name of the backing file.
fn header(version: u32, below: Below) -> Vec<u8> {
    let (name, format) = below.backing.unwrap_or_default();
    let external = below.data_file.unwrap_or_default();
    let mut extensions = Vec::new();
    if version >= 3 {
        for (kind, text) in [(0xe279_2aca, format), (0x4441_5441, external)] {
            if !text.is_empty() {
                extensions.extend(extension(kind, text));
            }
        }
        extensions.extend([0; 8]);
    }
    let length = if version >= 3 { 104 } else { 72 };
    let name_at = if name.is_empty() {
        0
    } else {
        length + extensions.len()
    };
    let mut header = b"QFI\xfb".to_vec();
    header.extend(version.to_be_bytes());
    header.extend(long(name_at));
    for word in [name.len() as u32, CLUSTER.ilog2()] {
        header.extend(word.to_be_bytes());
    }
    header.extend(SIZE.to_be_bytes());
    // No encryption, two entries of the first table.
    header.extend([0, 0, 0, 0, 0, 0, 0, 2]);
    header.extend(long(L1 * CLUSTER));
    header.extend(long(REFCOUNT_TABLE * CLUSTER));
    // One cluster of that, no snapshots.
    header.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    if version >= 3 {
        let features = if external.is_empty() { 0 } else { 4 };
        header.extend(long(features));
        header.extend([0; 16]);
        // Reference counts of 16 bits.
        header.extend([0, 0, 0, 4, 0, 0, 0, 104]);
    }
    header.extend(extensions);
    header.extend(name.bytes());
    header
}

fn extension(kind: u32, text: &str) -> Vec<u8> {
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend((text.len() as u32).to_be_bytes());
    bytes.extend(text.bytes());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// Bytes as a stored block of DEFLATE (RFC 1951, 3.2.4).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    let mut block = vec![1];
    block.extend(length.to_le_bytes());
    block.extend((!length).to_le_bytes());
    block.extend(bytes);
    block
}

fn long(value: usize) -> [u8; 8] {
    (value as u64).to_be_bytes()
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}
