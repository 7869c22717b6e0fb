//! The FUSE wire protocol, version 7.38, as plain structures.
//!
//! What: every request and reply body that the monitor's file services (`backends/fs`,
//! `backends/console`) and the kernel's client exchange, the operation codes and the flags,
//! as `linux/fuse.h` defines them. A request is an [`InHeader`], the operation's structure
//! (named in [`Opcode`]'s variants) and, where the operation has them, NUL-terminated names or
//! data. A reply is an [`OutHeader`] and, unless its `error` is set, the operation's structure
//! or data. All fields are in the machine's byte order (little-endian here).
//!
//! Neighbours: the virtio file device carries these bytes; the services answer them.
//!
//! What it does not do: no parsing of names, no policy, no file descriptors; CUSE and
//! notifications have no structures here because neither side speaks them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The protocol's major version (`FUSE_KERNEL_VERSION`).
pub const MAJOR: u32 = 7;
/// The protocol's minor version (`FUSE_KERNEL_MINOR_VERSION`).
pub const MINOR: u32 = 38;
/// The node id of the root of the exported tree (`FUSE_ROOT_ID`).
pub const ROOT_ID: u64 = 1;

/// The console device's node for the program's standard input.
pub const STDIN: u64 = 2;
/// The console device's node for the program's standard output.
pub const STDOUT: u64 = 3;
/// The console device's node for the program's standard error.
pub const STDERR: u64 = 4;
/// The console device's node for the kernel's own log.
pub const LOG: u64 = 5;
/// A READ or WRITE offset on the console device that means "at the file's own position",
/// as read(2) and write(2) have it, rather than pread(2) and pwrite(2).
pub const CURRENT_POSITION: u64 = u64::MAX;

/// An operation code that this protocol version does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownOpcode(pub u32);

/// Declares the operation codes once: the enum and its `TryFrom<u32>`.
macro_rules! opcodes {
    ($($(#[$meta:meta])* $name:ident = $value:literal,)*) => {
        /// What a request asks for (`enum fuse_opcode`); each variant says what follows the
        /// headers, "request -> reply".
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Opcode {
            $($(#[$meta])* $name = $value,)*
        }

        impl Opcode {
            /// Every operation of this protocol version, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }

        impl TryFrom<u32> for Opcode {
            type Error = UnknownOpcode;

            fn try_from(code: u32) -> Result<Self, UnknownOpcode> {
                match code {
                    $($value => Ok(Self::$name),)*
                    other => Err(UnknownOpcode(other)),
                }
            }
        }
    };
}

opcodes! {
    /// Find a name in a directory: name -> [`EntryOut`] (node id 0: no such name).
    Lookup = 1,
    /// Give back lookups: [`ForgetIn`] -> no reply at all.
    Forget = 2,
    /// [`GetattrIn`] -> [`AttrOut`].
    Getattr = 3,
    /// [`SetattrIn`] -> [`AttrOut`].
    Setattr = 4,
    /// nothing -> the link's target, without NUL.
    Readlink = 5,
    /// name, then target -> [`EntryOut`].
    Symlink = 6,
    /// [`MknodIn`], name -> [`EntryOut`].
    Mknod = 8,
    /// [`MkdirIn`], name -> [`EntryOut`].
    Mkdir = 9,
    /// name -> nothing.
    Unlink = 10,
    /// name -> nothing.
    Rmdir = 11,
    /// [`RenameIn`], old name, new name -> nothing.
    Rename = 12,
    /// [`LinkIn`], new name -> [`EntryOut`].
    Link = 13,
    /// [`OpenIn`] -> [`OpenOut`].
    Open = 14,
    /// [`ReadIn`] -> data; shorter than asked means end of file.
    Read = 15,
    /// [`WriteIn`], data -> [`WriteOut`].
    Write = 16,
    /// nothing -> [`StatfsOut`].
    Statfs = 17,
    /// [`ReleaseIn`] -> nothing.
    Release = 18,
    /// [`FsyncIn`] -> nothing.
    Fsync = 20,
    /// [`SetxattrIn`], name, value -> nothing.
    Setxattr = 21,
    /// [`GetxattrIn`], name -> [`GetxattrOut`] when the size asked is 0, else the value.
    Getxattr = 22,
    /// [`GetxattrIn`] -> [`GetxattrOut`] when the size asked is 0, else the names.
    Listxattr = 23,
    /// name -> nothing.
    Removexattr = 24,
    /// [`FlushIn`] -> nothing; sent at every close(2).
    Flush = 25,
    /// [`InitIn`] -> [`InitOut`].
    Init = 26,
    /// [`OpenIn`] -> [`OpenOut`].
    Opendir = 27,
    /// [`ReadIn`] -> [`Dirent`] records.
    Readdir = 28,
    /// [`ReleaseIn`] -> nothing.
    Releasedir = 29,
    /// [`FsyncIn`] -> nothing.
    Fsyncdir = 30,
    /// [`LkIn`] -> [`LkOut`].
    Getlk = 31,
    /// [`LkIn`] -> nothing.
    Setlk = 32,
    /// [`LkIn`] -> nothing; EAGAIN means "taken, ask again later".
    Setlkw = 33,
    /// [`AccessIn`] -> nothing.
    Access = 34,
    /// [`CreateIn`], name -> [`EntryOut`], then [`OpenOut`].
    Create = 35,
    /// [`InterruptIn`] -> no reply at all.
    Interrupt = 36,
    /// Not served.
    Bmap = 37,
    /// nothing -> nothing; the last request of a session.
    Destroy = 38,
    /// [`IoctlIn`], `in_size` bytes -> [`IoctlOut`], at most `out_size` bytes.
    Ioctl = 39,
    /// [`PollIn`] -> [`PollOut`].
    Poll = 40,
    /// Not served.
    NotifyReply = 41,
    /// [`BatchForgetIn`], then `count` times [`ForgetOne`] -> no reply at all.
    BatchForget = 42,
    /// [`FallocateIn`] -> nothing.
    Fallocate = 43,
    /// [`ReadIn`] -> records of [`EntryOut`] and [`Dirent`].
    Readdirplus = 44,
    /// [`Rename2In`], old name, new name -> nothing.
    Rename2 = 45,
    /// [`LseekIn`] -> [`LseekOut`].
    Lseek = 46,
    /// [`CopyFileRangeIn`] -> [`WriteOut`].
    CopyFileRange = 47,
    /// [`SetupmappingIn`] -> nothing. To a cell: the whole file goes over the channel
    /// (`guest_abi::cell`), before the reply.
    Setupmapping = 48,
    /// Not served.
    Removemapping = 49,
    /// [`SyncfsIn`] -> nothing.
    Syncfs = 50,
    /// [`CreateIn`], name -> [`EntryOut`], then [`OpenOut`]. Not served.
    Tmpfile = 51,
}

/// Flags of [`InitIn::flags`] and [`InitOut::flags`].
pub mod init {
    /// Reads may be outstanding together.
    pub const ASYNC_READ: u32 = 1 << 0;
    /// The server keeps POSIX record locks.
    pub const POSIX_LOCKS: u32 = 1 << 1;
    /// OPEN itself honours `O_TRUNC`.
    pub const ATOMIC_O_TRUNC: u32 = 1 << 3;
    /// LOOKUP answers "." and "..".
    pub const EXPORT_SUPPORT: u32 = 1 << 4;
    /// Writes may be longer than 4 KiB.
    pub const BIG_WRITES: u32 = 1 << 5;
    /// The server applies the umask, not the client.
    pub const DONT_MASK: u32 = 1 << 6;
    /// The server keeps flock(2) locks.
    pub const FLOCK_LOCKS: u32 = 1 << 10;
    /// The client drops cached pages when the size or the modification time changes.
    pub const AUTO_INVAL_DATA: u32 = 1 << 12;
    /// READDIRPLUS is served.
    pub const DO_READDIRPLUS: u32 = 1 << 13;
    /// The client chooses between READDIR and READDIRPLUS.
    pub const READDIRPLUS_AUTO: u32 = 1 << 14;
    /// Writes may be cached by the client.
    pub const WRITEBACK_CACHE: u32 = 1 << 16;
    /// Lookups and listings of one directory may be outstanding together.
    pub const PARALLEL_DIROPS: u32 = 1 << 18;
    /// `InitOut::max_pages` is valid.
    pub const MAX_PAGES: u32 = 1 << 22;
    /// The client may cache the targets of symbolic links.
    pub const CACHE_SYMLINKS: u32 = 1 << 23;
    /// The server clears set-user-id and set-group-id bits when told to.
    pub const HANDLE_KILLPRIV_V2: u32 = 1 << 28;
    /// `flags2` is valid.
    pub const INIT_EXT: u32 = 1 << 30;
}

/// Bits of [`SetattrIn::valid`]: which fields to change.
pub mod setattr {
    /// Change the permission bits.
    pub const MODE: u32 = 1 << 0;
    /// Change the owner.
    pub const UID: u32 = 1 << 1;
    /// Change the group.
    pub const GID: u32 = 1 << 2;
    /// Change the length.
    pub const SIZE: u32 = 1 << 3;
    /// Change the time of the last access.
    pub const ATIME: u32 = 1 << 4;
    /// Change the time of the last modification.
    pub const MTIME: u32 = 1 << 5;
    /// The file handle is valid.
    pub const FH: u32 = 1 << 6;
    /// The access time becomes the server's present.
    pub const ATIME_NOW: u32 = 1 << 7;
    /// The modification time becomes the server's present.
    pub const MTIME_NOW: u32 = 1 << 8;
    /// The lock owner is valid.
    pub const LOCKOWNER: u32 = 1 << 9;
    /// The change time (ignored: the host keeps it).
    pub const CTIME: u32 = 1 << 10;
    /// Clear set-user-id and set-group-id together with a new length.
    pub const KILL_SUIDGID: u32 = 1 << 11;
}

/// Bits of [`OpenOut::open_flags`].
pub mod open_out {
    /// Bypass the client's page cache.
    pub const DIRECT_IO: u32 = 1 << 0;
    /// Keep what the client has cached of this file.
    pub const KEEP_CACHE: u32 = 1 << 1;
    /// The file cannot seek.
    pub const NONSEEKABLE: u32 = 1 << 2;
    /// The directory's listing may be cached.
    pub const CACHE_DIR: u32 = 1 << 3;
    /// The file has no position at all.
    pub const STREAM: u32 = 1 << 4;
    /// No FLUSH is needed at close.
    pub const NOFLUSH: u32 = 1 << 5;
}

/// [`OpenIn::open_flags`]: clear set-user-id and set-group-id when truncating.
pub const OPEN_KILL_SUIDGID: u32 = 1 << 0;
/// [`GetattrIn::getattr_flags`]: the file handle is valid.
pub const GETATTR_FH: u32 = 1 << 0;
/// [`ReleaseIn::release_flags`]: flush first.
pub const RELEASE_FLUSH: u32 = 1 << 0;
/// [`ReleaseIn::release_flags`]: drop the handle's flock(2) lock.
pub const RELEASE_FLOCK_UNLOCK: u32 = 1 << 1;
/// [`LkIn::lk_flags`]: a flock(2) lock, not a POSIX record lock.
pub const LK_FLOCK: u32 = 1 << 0;
/// [`WriteIn::write_flags`]: written back from the client's cache.
pub const WRITE_CACHE: u32 = 1 << 0;
/// [`WriteIn::write_flags`]: the lock owner is valid.
pub const WRITE_LOCKOWNER: u32 = 1 << 1;
/// [`WriteIn::write_flags`]: clear set-user-id and set-group-id.
pub const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// [`ReadIn::read_flags`]: the lock owner is valid.
pub const READ_LOCKOWNER: u32 = 1 << 1;
/// [`FsyncIn::fsync_flags`]: data only, as fdatasync(2).
pub const FSYNC_FDATASYNC: u32 = 1 << 0;
/// [`PollIn::flags`]: tell later when ready (not served: poll again).
pub const POLL_SCHEDULE_NOTIFY: u32 = 1 << 0;

/// [`FileLock::kind`]: a shared lock (`F_RDLCK`).
pub const LOCK_READ: u32 = 0;
/// [`FileLock::kind`]: an exclusive lock (`F_WRLCK`).
pub const LOCK_WRITE: u32 = 1;
/// [`FileLock::kind`]: no lock (`F_UNLCK`).
pub const LOCK_NONE: u32 = 2;
/// [`FileLock::end`]: to the end of the file, wherever that will be.
pub const LOCK_TO_END: u64 = i64::MAX as u64;

/// Declares wire structures: C layout, plain bytes, no padding (checked by `IntoBytes`).
macro_rules! wire {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident: $kind:ty,)*
    })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
            #[repr(C)]
            pub struct $name {
                $($(#[$field_meta])* pub $field: $kind,)*
            }
        )*
    };
}

wire! {
    /// The head of every request (`fuse_in_header`).
    pub struct InHeader {
        /// Length of the whole request in bytes, this header included.
        pub len: u32,
        /// An [`Opcode`].
        pub opcode: u32,
        /// The request's number; the reply repeats it.
        pub unique: u64,
        /// The node that the request is about.
        pub nodeid: u64,
        /// The caller's user, for the ownership of what is created.
        pub uid: u32,
        /// The caller's group.
        pub gid: u32,
        /// The caller's process.
        pub pid: u32,
        /// Length of the extensions, in units of 8 bytes.
        pub total_extlen: u16,
        /// Zero.
        pub padding: u16,
    }

    /// The head of every reply (`fuse_out_header`).
    pub struct OutHeader {
        /// Length of the whole reply in bytes, this header included.
        pub len: u32,
        /// 0, or a negative errno.
        pub error: i32,
        /// The request's number.
        pub unique: u64,
    }

    /// A file's attributes (`fuse_attr`).
    pub struct Attr {
        /// Inode number.
        pub ino: u64,
        /// Length in bytes.
        pub size: u64,
        /// Allocated units of 512 bytes.
        pub blocks: u64,
        /// Last access, seconds since the epoch (as `i64`).
        pub atime: u64,
        /// Last modification, seconds.
        pub mtime: u64,
        /// Last change, seconds.
        pub ctime: u64,
        /// Last access, nanoseconds.
        pub atimensec: u32,
        /// Last modification, nanoseconds.
        pub mtimensec: u32,
        /// Last change, nanoseconds.
        pub ctimensec: u32,
        /// Kind and permission bits, as `st_mode`.
        pub mode: u32,
        /// Number of names.
        pub nlink: u32,
        /// Owner.
        pub uid: u32,
        /// Group.
        pub gid: u32,
        /// Device number of a device node, in the 32-bit encoding.
        pub rdev: u32,
        /// Preferred I/O size.
        pub blksize: u32,
        /// Zero.
        pub flags: u32,
    }

    /// A file system's figures (`fuse_kstatfs`).
    pub struct StatfsOut {
        /// Blocks in all, of `frsize` bytes.
        pub blocks: u64,
        /// Free blocks.
        pub bfree: u64,
        /// Free blocks for the unprivileged.
        pub bavail: u64,
        /// Inodes in all.
        pub files: u64,
        /// Free inodes.
        pub ffree: u64,
        /// Preferred I/O size.
        pub bsize: u32,
        /// Longest name.
        pub namelen: u32,
        /// Block size.
        pub frsize: u32,
        /// Zero.
        pub padding: u32,
        /// Zero.
        pub spare: [u32; 6],
    }

    /// A lock on a range of a file (`fuse_file_lock`).
    pub struct FileLock {
        /// First byte.
        pub start: u64,
        /// Last byte, inclusive; [`LOCK_TO_END`] for "to the end".
        pub end: u64,
        /// [`LOCK_READ`], [`LOCK_WRITE`] or [`LOCK_NONE`].
        pub kind: u32,
        /// The holder's process, where known.
        pub pid: u32,
    }

    /// A name that was found or made (`fuse_entry_out`). In a LOOKUP reply, `nodeid` 0 means
    /// that there is no such name, and that this may be believed for `entry_valid`.
    pub struct EntryOut {
        /// The node; one lookup is owed (see [`Opcode::Forget`]).
        pub nodeid: u64,
        /// Distinguishes reuses of a node id; always 0 here, ids are never reused.
        pub generation: u64,
        /// How long the name may be cached, seconds.
        pub entry_valid: u64,
        /// How long the attributes may be cached, seconds.
        pub attr_valid: u64,
        /// Nanoseconds of `entry_valid`.
        pub entry_valid_nsec: u32,
        /// Nanoseconds of `attr_valid`.
        pub attr_valid_nsec: u32,
        /// The attributes.
        pub attr: Attr,
    }

    /// Gives lookups of the header's node back (`fuse_forget_in`).
    pub struct ForgetIn {
        /// How many lookups.
        pub nlookup: u64,
    }

    /// One record of a BATCH_FORGET (`fuse_forget_one`).
    pub struct ForgetOne {
        /// The node.
        pub nodeid: u64,
        /// How many lookups.
        pub nlookup: u64,
    }

    /// The head of a BATCH_FORGET (`fuse_batch_forget_in`).
    pub struct BatchForgetIn {
        /// How many [`ForgetOne`] follow.
        pub count: u32,
        /// Zero.
        pub dummy: u32,
    }

    /// Asks for attributes (`fuse_getattr_in`).
    pub struct GetattrIn {
        /// [`GETATTR_FH`] or 0.
        pub getattr_flags: u32,
        /// Zero.
        pub dummy: u32,
        /// File handle, when flagged.
        pub fh: u64,
    }

    /// Attributes (`fuse_attr_out`).
    pub struct AttrOut {
        /// How long they may be cached, seconds.
        pub attr_valid: u64,
        /// Nanoseconds of `attr_valid`.
        pub attr_valid_nsec: u32,
        /// Zero.
        pub dummy: u32,
        /// The attributes.
        pub attr: Attr,
    }

    /// Makes a file, fifo or socket (`fuse_mknod_in`).
    pub struct MknodIn {
        /// Kind and final permission bits.
        pub mode: u32,
        /// Device number.
        pub rdev: u32,
        /// The caller's umask, already applied to `mode`.
        pub umask: u32,
        /// Zero.
        pub padding: u32,
    }

    /// Makes a directory (`fuse_mkdir_in`).
    pub struct MkdirIn {
        /// Final permission bits.
        pub mode: u32,
        /// The caller's umask, already applied to `mode`.
        pub umask: u32,
    }

    /// Renames (`fuse_rename_in`).
    pub struct RenameIn {
        /// The directory that receives the new name.
        pub newdir: u64,
    }

    /// Renames with flags (`fuse_rename2_in`).
    pub struct Rename2In {
        /// The directory that receives the new name.
        pub newdir: u64,
        /// `RENAME_NOREPLACE`, `RENAME_EXCHANGE`.
        pub flags: u32,
        /// Zero.
        pub padding: u32,
    }

    /// Makes another name (`fuse_link_in`).
    pub struct LinkIn {
        /// The node that receives the name.
        pub oldnodeid: u64,
    }

    /// Changes attributes (`fuse_setattr_in`).
    pub struct SetattrIn {
        /// Bits of [`setattr`].
        pub valid: u32,
        /// Zero.
        pub padding: u32,
        /// File handle, when flagged.
        pub fh: u64,
        /// New length.
        pub size: u64,
        /// Lock owner, when flagged.
        pub lock_owner: u64,
        /// New access time, seconds (as `i64`).
        pub atime: u64,
        /// New modification time, seconds.
        pub mtime: u64,
        /// New change time, seconds.
        pub ctime: u64,
        /// Nanoseconds of `atime`.
        pub atimensec: u32,
        /// Nanoseconds of `mtime`.
        pub mtimensec: u32,
        /// Nanoseconds of `ctime`.
        pub ctimensec: u32,
        /// New permission bits.
        pub mode: u32,
        /// Zero.
        pub unused4: u32,
        /// New owner.
        pub uid: u32,
        /// New group.
        pub gid: u32,
        /// Zero.
        pub unused5: u32,
    }

    /// Opens (`fuse_open_in`).
    pub struct OpenIn {
        /// The `O_*` flags of open(2).
        pub flags: u32,
        /// [`OPEN_KILL_SUIDGID`] or 0.
        pub open_flags: u32,
    }

    /// Creates and opens (`fuse_create_in`).
    pub struct CreateIn {
        /// The `O_*` flags of open(2).
        pub flags: u32,
        /// Final permission bits.
        pub mode: u32,
        /// The caller's umask, already applied to `mode`.
        pub umask: u32,
        /// [`OPEN_KILL_SUIDGID`] or 0.
        pub open_flags: u32,
    }

    /// An open file (`fuse_open_out`).
    pub struct OpenOut {
        /// File handle.
        pub fh: u64,
        /// Bits of [`open_out`].
        pub open_flags: u32,
        /// Zero.
        pub padding: u32,
    }

    /// Closes (`fuse_release_in`).
    pub struct ReleaseIn {
        /// File handle.
        pub fh: u64,
        /// The `O_*` flags of open(2).
        pub flags: u32,
        /// [`RELEASE_FLUSH`], [`RELEASE_FLOCK_UNLOCK`].
        pub release_flags: u32,
        /// Lock owner.
        pub lock_owner: u64,
    }

    /// One close(2) of maybe several (`fuse_flush_in`).
    pub struct FlushIn {
        /// File handle.
        pub fh: u64,
        /// Zero.
        pub unused: u32,
        /// Zero.
        pub padding: u32,
        /// The process whose POSIX locks on the file end.
        pub lock_owner: u64,
    }

    /// Reads a file or a directory (`fuse_read_in`).
    pub struct ReadIn {
        /// File handle.
        pub fh: u64,
        /// Byte offset, or a directory's cookie (0 at first, then [`Dirent::off`]).
        pub offset: u64,
        /// How many bytes at most.
        pub size: u32,
        /// [`READ_LOCKOWNER`] or 0.
        pub read_flags: u32,
        /// Lock owner, when flagged.
        pub lock_owner: u64,
        /// The file's present `O_*` flags.
        pub flags: u32,
        /// Zero.
        pub padding: u32,
    }

    /// Writes (`fuse_write_in`); `size` bytes of data follow.
    pub struct WriteIn {
        /// File handle.
        pub fh: u64,
        /// Byte offset; ignored by files open with `O_APPEND`.
        pub offset: u64,
        /// How many bytes.
        pub size: u32,
        /// [`WRITE_CACHE`], [`WRITE_LOCKOWNER`], [`WRITE_KILL_SUIDGID`].
        pub write_flags: u32,
        /// Lock owner, when flagged.
        pub lock_owner: u64,
        /// The file's present `O_*` flags, access mode included (0: unknown).
        pub flags: u32,
        /// Zero.
        pub padding: u32,
    }

    /// How much was written or copied (`fuse_write_out`).
    pub struct WriteOut {
        /// Bytes.
        pub size: u32,
        /// Zero.
        pub padding: u32,
    }

    /// Makes durable (`fuse_fsync_in`).
    pub struct FsyncIn {
        /// File handle.
        pub fh: u64,
        /// [`FSYNC_FDATASYNC`] or 0.
        pub fsync_flags: u32,
        /// Zero.
        pub padding: u32,
    }

    /// Sets an extended attribute (`fuse_setxattr_in`, the short form).
    pub struct SetxattrIn {
        /// Length of the value.
        pub size: u32,
        /// `XATTR_CREATE`, `XATTR_REPLACE`.
        pub flags: u32,
    }

    /// Asks for an extended attribute or their names (`fuse_getxattr_in`).
    pub struct GetxattrIn {
        /// How many bytes at most; 0 asks for the length.
        pub size: u32,
        /// Zero.
        pub padding: u32,
    }

    /// The length of an extended attribute or of their names (`fuse_getxattr_out`).
    pub struct GetxattrOut {
        /// Bytes.
        pub size: u32,
        /// Zero.
        pub padding: u32,
    }

    /// Tests, takes or drops a lock (`fuse_lk_in`).
    pub struct LkIn {
        /// File handle.
        pub fh: u64,
        /// Who asks: one owner's locks never exclude each other.
        pub owner: u64,
        /// The range and kind.
        pub lk: FileLock,
        /// [`LK_FLOCK`] or 0.
        pub lk_flags: u32,
        /// Zero.
        pub padding: u32,
    }

    /// The lock in the way, or one of kind [`LOCK_NONE`] (`fuse_lk_out`).
    pub struct LkOut {
        /// The lock.
        pub lk: FileLock,
    }

    /// Asks whether an access would be allowed (`fuse_access_in`).
    pub struct AccessIn {
        /// `R_OK`, `W_OK`, `X_OK`.
        pub mask: u32,
        /// Zero.
        pub padding: u32,
    }

    /// Opens the session (`fuse_init_in`).
    pub struct InitIn {
        /// The client's [`MAJOR`].
        pub major: u32,
        /// The client's [`MINOR`].
        pub minor: u32,
        /// The client's largest read-ahead.
        pub max_readahead: u32,
        /// Bits of [`init`] that the client can.
        pub flags: u32,
        /// Upper half of the flags.
        pub flags2: u32,
        /// Zero.
        pub unused: [u32; 11],
    }

    /// Answers INIT (`fuse_init_out`).
    pub struct InitOut {
        /// The server's [`MAJOR`].
        pub major: u32,
        /// The server's [`MINOR`].
        pub minor: u32,
        /// Largest read-ahead.
        pub max_readahead: u32,
        /// Bits of [`init`] that both can and the server wants.
        pub flags: u32,
        /// How many background requests may be outstanding.
        pub max_background: u16,
        /// From how many on the client should hold back.
        pub congestion_threshold: u16,
        /// Longest WRITE in bytes.
        pub max_write: u32,
        /// Granularity of time stamps in nanoseconds.
        pub time_gran: u32,
        /// Longest request in pages.
        pub max_pages: u16,
        /// Zero: no DAX.
        pub map_alignment: u16,
        /// Upper half of the flags.
        pub flags2: u32,
        /// Zero.
        pub unused: [u32; 7],
    }

    /// Makes a request that is being served end early (`fuse_interrupt_in`).
    pub struct InterruptIn {
        /// That request's number.
        pub unique: u64,
    }

    /// A device control (`fuse_ioctl_in`); `in_size` bytes of argument follow.
    pub struct IoctlIn {
        /// File handle.
        pub fh: u64,
        /// Zero (`FUSE_IOCTL_*`).
        pub flags: u32,
        /// The command number.
        pub cmd: u32,
        /// The caller's argument, for commands that take no pointer.
        pub arg: u64,
        /// Bytes of argument that follow.
        pub in_size: u32,
        /// Bytes of result wanted.
        pub out_size: u32,
    }

    /// A device control's result (`fuse_ioctl_out`); the bytes of the result follow.
    pub struct IoctlOut {
        /// What ioctl(2) returns.
        pub result: i32,
        /// Zero.
        pub flags: u32,
        /// Zero.
        pub in_iovs: u32,
        /// Zero.
        pub out_iovs: u32,
    }

    /// Asks for readiness (`fuse_poll_in`).
    pub struct PollIn {
        /// File handle.
        pub fh: u64,
        /// The client's name for this poll.
        pub kh: u64,
        /// [`POLL_SCHEDULE_NOTIFY`] or 0.
        pub flags: u32,
        /// `POLL*` events of interest.
        pub events: u32,
    }

    /// The present readiness (`fuse_poll_out`).
    pub struct PollOut {
        /// `POLL*` events.
        pub revents: u32,
        /// Zero.
        pub padding: u32,
    }

    /// Allocates or punches (`fuse_fallocate_in`).
    pub struct FallocateIn {
        /// File handle.
        pub fh: u64,
        /// First byte.
        pub offset: u64,
        /// Bytes.
        pub length: u64,
        /// `FALLOC_FL_*`.
        pub mode: u32,
        /// Zero.
        pub padding: u32,
    }

    /// Seeks (`fuse_lseek_in`).
    pub struct LseekIn {
        /// File handle.
        pub fh: u64,
        /// Offset (as `i64`).
        pub offset: u64,
        /// `SEEK_*`.
        pub whence: u32,
        /// Zero.
        pub padding: u32,
    }

    /// The new offset (`fuse_lseek_out`).
    pub struct LseekOut {
        /// Bytes from the start.
        pub offset: u64,
    }

    /// Copies inside the server (`fuse_copy_file_range_in`); the source is the header's node.
    pub struct CopyFileRangeIn {
        /// Source handle.
        pub fh_in: u64,
        /// Source offset.
        pub off_in: u64,
        /// Destination node.
        pub nodeid_out: u64,
        /// Destination handle.
        pub fh_out: u64,
        /// Destination offset.
        pub off_out: u64,
        /// Bytes.
        pub len: u64,
        /// Zero.
        pub flags: u64,
    }

    /// Lets the guest map a file of the host (`fuse_setupmapping_in`). A cell gets the file as a
    /// descriptor, whole and read-only: then only these two count.
    pub struct SetupmappingIn {
        /// Handle.
        pub fh: u64,
        /// Zero.
        pub foffset: u64,
        /// Zero.
        pub len: u64,
        /// Zero: to be read.
        pub flags: u64,
        /// By what the guest knows it: comes with the descriptor.
        pub moffset: u64,
    }

    /// Makes a whole file system durable (`fuse_syncfs_in`).
    pub struct SyncfsIn {
        /// Zero.
        pub padding: u64,
    }

    /// A directory record's fixed part (`fuse_dirent`): `namelen` bytes of name follow, then
    /// zero bytes up to [`Dirent::record_len`]. A READDIRPLUS record has an [`EntryOut`]
    /// before it (node id 0: not looked up, no lookup owed).
    pub struct Dirent {
        /// Inode number.
        pub ino: u64,
        /// The cookie from which the listing goes on after this record.
        pub off: u64,
        /// Length of the name in bytes; no NUL.
        pub namelen: u32,
        /// `DT_*`, which is `st_mode >> 12`.
        pub kind: u32,
    }
}

impl Dirent {
    /// Length of a READDIR record with a name of `namelen` bytes: padded to 8 bytes
    /// (`FUSE_DIRENT_SIZE`).
    #[must_use]
    pub const fn record_len(namelen: usize) -> usize {
        padded(size_of::<Self>().saturating_add(namelen))
    }

    /// Length of a READDIRPLUS record with a name of `namelen` bytes
    /// (`FUSE_DIRENTPLUS_SIZE`).
    #[must_use]
    pub const fn plus_record_len(namelen: usize) -> usize {
        padded(
            size_of::<EntryOut>()
                .saturating_add(size_of::<Self>())
                .saturating_add(namelen),
        )
    }
}

/// Rounds up to a multiple of 8 (`FUSE_REC_ALIGN`), the padding rule of directory records.
#[must_use]
pub const fn padded(len: usize) -> usize {
    len.saturating_add(7) & !7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_c_header() {
        let sizes = [
            (size_of::<InHeader>(), 40),
            (size_of::<OutHeader>(), 16),
            (size_of::<Attr>(), 88),
            (size_of::<EntryOut>(), 128),
            (size_of::<AttrOut>(), 104),
            (size_of::<StatfsOut>(), 80),
            (size_of::<SetattrIn>(), 88),
            (size_of::<InitIn>(), 64),
            (size_of::<InitOut>(), 64),
            (size_of::<ReadIn>(), 40),
            (size_of::<WriteIn>(), 40),
            (size_of::<LkIn>(), 48),
            (size_of::<CopyFileRangeIn>(), 56),
            (size_of::<SetupmappingIn>(), 40),
            (size_of::<Dirent>(), 24),
        ];
        for (is, should) in sizes {
            assert_eq!(is, should);
        }
    }

    #[test]
    fn records_are_padded_to_eight_bytes() {
        assert_eq!(Dirent::record_len(1), 32);
        assert_eq!(Dirent::record_len(8), 32);
        assert_eq!(Dirent::record_len(9), 40);
        assert_eq!(Dirent::plus_record_len(1), 160);
    }

    #[test]
    fn every_opcode_comes_back_from_its_number() {
        for &opcode in Opcode::ALL {
            assert_eq!(Opcode::try_from(opcode as u32), Ok(opcode));
        }
        assert_eq!(Opcode::try_from(7), Err(UnknownOpcode(7)));
    }
}
