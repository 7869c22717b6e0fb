//! What `stat` tells, and what `chmod` and its kin change.

use guest_hal::Nanos;
use linux_raw_sys::general as raw;

/// What an inode is (`st_mode & S_IFMT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl FileKind {
    /// From the type bits of a mode; `None` for bits that mean nothing.
    #[must_use]
    pub const fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & raw::S_IFMT {
            raw::S_IFREG => Self::Regular,
            raw::S_IFDIR => Self::Directory,
            raw::S_IFLNK => Self::Link,
            raw::S_IFCHR => Self::CharacterDevice,
            raw::S_IFBLK => Self::BlockDevice,
            raw::S_IFIFO => Self::Fifo,
            raw::S_IFSOCK => Self::Socket,
            _ => return None,
        })
    }

    /// As type bits of a mode.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Regular => raw::S_IFREG,
            Self::Directory => raw::S_IFDIR,
            Self::Link => raw::S_IFLNK,
            Self::CharacterDevice => raw::S_IFCHR,
            Self::BlockDevice => raw::S_IFBLK,
            Self::Fifo => raw::S_IFIFO,
            Self::Socket => raw::S_IFSOCK,
        }
    }

    /// As `d_type` of a directory record.
    #[must_use]
    pub const fn record_type(self) -> u8 {
        (self.bits() >> 12) as u8
    }
}

/// A point in time: since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds, less than a billion.
    pub nanos: u32,
}

impl Timestamp {
    /// The present.
    #[must_use]
    pub fn now() -> Self {
        Self::from(guest_hal::time::realtime())
    }
}

impl From<Nanos> for Timestamp {
    fn from(time: Nanos) -> Self {
        Self {
            seconds: (time.0 / 1_000_000_000) as i64,
            nanos: (time.0 % 1_000_000_000) as u32,
        }
    }
}

/// Everything about an inode but its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Number of the file system, in Linux' encoding (`st_dev`).
    pub device: u64,
    /// Inode number.
    pub number: u64,
    /// Kind and permission bits.
    pub mode: u32,
    /// Number of names.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Which device a device node stands for.
    pub represented: u64,
    /// Length in bytes.
    pub size: u64,
    /// Preferred size of reads and writes.
    pub block_size: u32,
    /// Allocated units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub accessed: Timestamp,
    /// Last change of the content.
    pub modified: Timestamp,
    /// Last change of the metadata.
    pub changed: Timestamp,
}

impl Metadata {
    /// Of an inode that was made just now.
    #[must_use]
    pub fn new(device: u64, number: u64, mode: u32) -> Self {
        let now = Timestamp::now();
        Self {
            device,
            number,
            mode,
            links: 1,
            uid: 0,
            gid: 0,
            represented: 0,
            size: 0,
            block_size: 4096,
            blocks: 0,
            accessed: now,
            modified: now,
            changed: now,
        }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        FileKind::from_mode(self.mode).unwrap_or(FileKind::Regular)
    }
}

/// What is to become of a time stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTime {
    /// The present.
    Now,
    /// A given time.
    At(Timestamp),
}

impl NewTime {
    /// The time stamp.
    #[must_use]
    pub fn stamp(self) -> Timestamp {
        match self {
            Self::Now => Timestamp::now(),
            Self::At(stamp) => stamp,
        }
    }
}

/// A change of metadata; `None`: as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Permission bits.
    pub permissions: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length.
    pub size: Option<u64>,
    /// Last access.
    pub accessed: Option<NewTime>,
    /// Last modification.
    pub modified: Option<NewTime>,
}

/// What `statfs` tells of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsStatus {
    /// The magic number (`f_type`).
    pub magic: u64,
    /// Block size in bytes.
    pub block_size: u64,
    /// Blocks in all, free, and free for the unprivileged.
    pub blocks: [u64; 3],
    /// Inodes in all, and free.
    pub inodes: [u64; 2],
    /// Longest name.
    pub name_max: u64,
}
