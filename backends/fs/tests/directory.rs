//! Every operation of the directory service, over real temporary directories.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use backend_fs::testing::Client;
use backend_fs::{Access, DirectoryService, Export, Limits, Locks, Owner};
use guest_abi::fuse::*;
use tempfile::TempDir;
use zerocopy::{FromBytes, IntoBytes};

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EIO: i32 = 5;
const EBADF: i32 = 9;
const EAGAIN: i32 = 11;
const EACCES: i32 = 13;
const ENODEV: i32 = 19;
const EEXIST: i32 = 17;
const ENOTDIR: i32 = 20;
const EISDIR: i32 = 21;
const EINVAL: i32 = 22;
const ENFILE: i32 = 23;
const EROFS: i32 = 30;
const ENAMETOOLONG: i32 = 36;
const ENOSYS: i32 = 38;
const ENOTEMPTY: i32 = 39;
const ELOOP: i32 = 40;
const EOPNOTSUPP: i32 = 95;
const ESTALE: i32 = 116;

const O_WRONLY: u32 = 0o1;
const O_RDWR: u32 = 0o2;
const O_EXCL: u32 = 0o200;
const O_TRUNC: u32 = 0o1000;
const O_APPEND: u32 = 0o2000;
const O_DIRECT: u32 = 0o40000;

type Guest = Client<DirectoryService>;

fn guest_with(root: &Path, access: Access) -> Guest {
    let owner = Owner::of_process();
    Client::new(
        DirectoryService::new(Export {
            root: root.into(),
            access,
            owner,
            locks: Locks::Host,
        })
        .unwrap(),
    )
}

fn scene() -> (TempDir, Guest) {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "0123456789").unwrap();
    fs::create_dir(root.path().join("dir")).unwrap();
    std::os::unix::fs::symlink("../../etc/passwd", root.path().join("link")).unwrap();
    let guest = guest_with(root.path(), Access::ReadWrite);
    (root, guest)
}

fn create(guest: &mut Guest, parent: u64, name: &str, flags: u32) -> Result<(u64, u64), i32> {
    let body = CreateIn {
        flags,
        mode: 0o100_664,
        ..CreateIn::default()
    };
    let parts = [body.as_bytes(), name.as_bytes(), b"\0"];
    let reply = guest.call(Opcode::Create, parent, &parts, 144)?;
    let (entry, rest) = EntryOut::read_from_prefix(&reply).unwrap();
    Ok((entry.nodeid, OpenOut::read_from_bytes(rest).unwrap().fh))
}

fn mkdir(guest: &mut Guest, parent: u64, name: &str, mode: u32) -> Result<EntryOut, i32> {
    let body = MkdirIn { mode, umask: 0o22 };
    guest.ask(
        Opcode::Mkdir,
        parent,
        &[body.as_bytes(), name.as_bytes(), b"\0"],
    )
}

fn rename2(
    guest: &mut Guest,
    (from, old): (u64, &str),
    (newdir, new): (u64, &str),
    flags: u32,
) -> Result<(), i32> {
    let body = Rename2In {
        newdir,
        flags,
        padding: 0,
    };
    let names = format!("{old}\0{new}\0");
    guest
        .call(
            Opcode::Rename2,
            from,
            &[body.as_bytes(), names.as_bytes()],
            0,
        )
        .map(drop)
}

fn setattr(guest: &mut Guest, node: u64, body: SetattrIn) -> Result<Attr, i32> {
    guest
        .ask::<AttrOut>(Opcode::Setattr, node, &[body.as_bytes()])
        .map(|out| out.attr)
}

fn getattr(guest: &mut Guest, node: u64) -> Result<Attr, i32> {
    let body = GetattrIn::default();
    guest
        .ask::<AttrOut>(Opcode::Getattr, node, &[body.as_bytes()])
        .map(|out| out.attr)
}

#[test]
fn init_negotiates_the_version_and_flags() {
    let (_root, mut guest) = scene();
    let body = InitIn {
        major: 7,
        minor: 31,
        flags: !0,
        ..InitIn::default()
    };
    let out: InitOut = guest.ask(Opcode::Init, 0, &[body.as_bytes()]).unwrap();
    assert_eq!((out.major, out.minor, out.max_write), (7, 38, 1 << 20));
    assert_ne!(out.flags & init::POSIX_LOCKS, 0);
    assert_eq!(
        out.flags & init::DONT_MASK,
        0,
        "the guest's kernel applies the umask"
    );
    let old = InitIn {
        major: 6,
        ..InitIn::default()
    };
    assert_eq!(
        guest.ask::<InitOut>(Opcode::Init, 0, &[old.as_bytes()]),
        Err(71)
    );
}

#[test]
fn a_kernel_that_waits_for_locks_keeps_them_itself() {
    let (root, _) = scene();
    let export = Export {
        root: root.path().into(),
        access: Access::ReadWrite,
        owner: Owner::Monitor,
        locks: Locks::Guest,
    };
    let mut guest = Client::new(DirectoryService::new(export).unwrap());
    let body = InitIn {
        major: 7,
        minor: 38,
        flags: !0,
        ..InitIn::default()
    };
    let out: InitOut = guest.ask(Opcode::Init, 0, &[body.as_bytes()]).unwrap();
    assert_eq!(out.flags & (init::POSIX_LOCKS | init::FLOCK_LOCKS), 0);
    assert_ne!(out.flags & init::DO_READDIRPLUS, 0);
}

#[test]
fn direct_input_and_output_past_the_guests_cache_needs_no_alignment_here() {
    let (_root, mut guest) = scene();
    let file = guest.lookup(ROOT_ID, "file").unwrap().nodeid;
    let fh = guest.open(file, O_RDWR | O_DIRECT).unwrap();
    guest.write(file, fh, 3, b"abc").unwrap();
    assert_eq!(guest.read(file, fh, 1, 6).unwrap(), b"12abc6");
    let made = guest.call(
        Opcode::Create,
        ROOT_ID,
        &[
            CreateIn {
                flags: O_RDWR | O_DIRECT,
                mode: 0o100_644,
                ..CreateIn::default()
            }
            .as_bytes(),
            b"made\0",
        ],
        4096,
    );
    assert!(made.is_ok(), "{made:?}");
}

#[test]
fn lookup_finds_forgets_and_says_what_is_not_there() {
    let (_root, mut guest) = scene();
    let file = guest.lookup(ROOT_ID, "file").unwrap();
    assert_eq!(
        (file.attr.size, file.entry_valid, file.attr_valid),
        (10, 1, 1)
    );
    assert_eq!(guest.lookup(ROOT_ID, "file").unwrap().nodeid, file.nodeid);
    let none: EntryOut = guest.ask(Opcode::Lookup, ROOT_ID, &[b"none\0"]).unwrap();
    assert_eq!((none.nodeid, none.entry_valid), (0, 1));
    for name in ["", ".", "..", "a/b", "/"] {
        assert_eq!(guest.lookup(ROOT_ID, name), Err(EINVAL), "{name:?}");
    }
    assert_eq!(guest.lookup(ROOT_ID, &"x".repeat(256)), Err(ENAMETOOLONG));
    assert_eq!(guest.lookup(file.nodeid, "x"), Err(ENOTDIR));
    assert_eq!(guest.lookup(99, "x"), Err(ESTALE));
    guest
        .tell(Opcode::Forget, file.nodeid, &ForgetIn { nlookup: 1 })
        .unwrap();
    getattr(&mut guest, file.nodeid).unwrap();
    let one = ForgetOne {
        nodeid: file.nodeid,
        nlookup: u64::MAX,
    };
    let batch = BatchForgetIn {
        count: u32::MAX,
        dummy: 0,
    };
    guest
        .call(
            Opcode::BatchForget,
            0,
            &[batch.as_bytes(), one.as_bytes()],
            0,
        )
        .unwrap();
    assert_eq!(getattr(&mut guest, file.nodeid), Err(ESTALE));
    guest
        .tell(Opcode::Forget, ROOT_ID, &ForgetIn { nlookup: 9 })
        .unwrap();
    getattr(&mut guest, ROOT_ID).unwrap();
}

#[test]
fn files_are_read_and_written_at_offsets() {
    let (root, mut guest) = scene();
    let file = guest.lookup(ROOT_ID, "file").unwrap().nodeid;
    let fh = guest.open(file, O_RDWR).unwrap();
    assert_eq!(guest.read(file, fh, 3, 4).unwrap(), b"3456");
    assert_eq!(guest.read(file, fh, 8, 100).unwrap(), b"89");
    assert_eq!(guest.read(file, fh, 100, 100).unwrap(), b"");
    assert_eq!(guest.write(file, fh, 2, b"xyz"), Ok(3));
    assert_eq!(fs::read(root.path().join("file")).unwrap(), b"01xyz56789");
    for offset in [CURRENT_POSITION, i64::MAX as u64, 1 << 63] {
        assert_eq!(guest.read(file, fh, offset, 4), Err(EINVAL));
        assert_eq!(guest.write(file, fh, offset, b"x"), Err(EINVAL));
    }
    assert_eq!(guest.read(file, fh + 1, 0, 1), Err(EBADF));
    assert_eq!(
        guest.read(ROOT_ID, fh, 0, 1),
        Err(EBADF),
        "a handle belongs to its node"
    );
    let read = ReadIn {
        fh,
        size: 100,
        ..ReadIn::default()
    };
    assert_eq!(
        guest.call(Opcode::Read, file, &[read.as_bytes()], 50),
        Err(EINVAL)
    );
    let write = WriteIn {
        fh,
        size: 100,
        ..WriteIn::default()
    };
    assert_eq!(
        guest.call(Opcode::Write, file, &[write.as_bytes(), b"x"], 8),
        Err(EINVAL)
    );
    assert_eq!(
        guest.call(Opcode::Write, file, &[write.as_bytes(), b"x"], 7),
        Err(EINVAL)
    );
    guest
        .tell(
            Opcode::Fsync,
            file,
            &FsyncIn {
                fh,
                fsync_flags: 1,
                padding: 0,
            },
        )
        .unwrap();
    guest
        .tell(
            Opcode::Flush,
            file,
            &FlushIn {
                fh,
                ..FlushIn::default()
            },
        )
        .unwrap();
    guest
        .tell(
            Opcode::Release,
            file,
            &ReleaseIn {
                fh,
                ..ReleaseIn::default()
            },
        )
        .unwrap();
    assert_eq!(guest.read(file, fh, 0, 1), Err(EBADF));
    let fh = guest.open(file, 0).unwrap();
    assert_eq!(
        guest.write(file, fh, 0, b"x"),
        Err(EBADF),
        "open for reading only"
    );
}

#[test]
fn open_honours_its_flags() {
    let (root, mut guest) = scene();
    let path = root.path().join("file");
    let file = guest.lookup(ROOT_ID, "file").unwrap().nodeid;
    assert_eq!(guest.open(file, 3), Err(EINVAL));
    let fh = guest.open(file, O_WRONLY | O_APPEND).unwrap();
    guest.write(file, fh, 0, b"end").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"0123456789end");
    let flags = O_WRONLY; // fcntl(F_SETFL) has taken O_APPEND away
    let write = WriteIn {
        fh,
        size: 1,
        flags,
        ..WriteIn::default()
    };
    guest
        .call(Opcode::Write, file, &[write.as_bytes(), b"X"], 8)
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"X123456789end");
    guest.open(file, O_WRONLY | O_TRUNC).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn only_regular_files_are_opened() {
    let (root, mut guest) = scene();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.path().join("fifo"), 0o666.into()).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    for (name, errno) in [
        ("fifo", EACCES),
        ("socket", EACCES),
        ("dir", EISDIR),
        ("link", ELOOP),
    ] {
        let node = guest.lookup(ROOT_ID, name).unwrap().nodeid;
        assert_eq!(guest.open(node, O_RDWR), Err(errno), "{name}");
        getattr(&mut guest, node).unwrap();
    }
    assert_eq!(create(&mut guest, ROOT_ID, "fifo", O_RDWR), Err(EACCES));
    assert_eq!(create(&mut guest, ROOT_ID, "link", O_RDWR), Err(ELOOP));
    let file = guest.lookup(ROOT_ID, "file").unwrap().nodeid;
    let open = OpenIn::default();
    assert_eq!(
        guest.call(Opcode::Opendir, file, &[open.as_bytes()], 16),
        Err(ENOTDIR)
    );
}

#[test]
fn create_makes_opens_and_refuses() {
    let (root, mut guest) = scene();
    let (node, fh) = create(&mut guest, ROOT_ID, "new", O_RDWR | O_EXCL).unwrap();
    assert_eq!(guest.write(node, fh, 0, b"hello"), Ok(5));
    let meta = fs::metadata(root.path().join("new")).unwrap();
    assert_eq!(
        meta.mode() & 0o7777,
        0o664,
        "the monitor's umask has no part"
    );
    assert_eq!(
        create(&mut guest, ROOT_ID, "new", O_RDWR | O_EXCL),
        Err(EEXIST)
    );
    let (again, fh) = create(&mut guest, ROOT_ID, "new", 0).unwrap();
    assert_eq!(again, node);
    assert_eq!(guest.read(node, fh, 0, 9).unwrap(), b"hello");
    let (_, _) = create(&mut guest, ROOT_ID, "new", O_RDWR | O_TRUNC).unwrap();
    assert_eq!(fs::read(root.path().join("new")).unwrap(), b"");
    assert_eq!(create(&mut guest, node, "x", O_RDWR), Err(ENOTDIR));
    assert_eq!(create(&mut guest, ROOT_ID, "..", O_RDWR), Err(EINVAL));
    assert_eq!(create(&mut guest, ROOT_ID, "dir", O_RDWR), Err(EISDIR));
}

#[test]
fn what_is_created_belongs_to_the_requester() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped 1: needs CAP_CHOWN");
        return;
    }
    let (root, mut guest) = scene();
    guest.identity = (1234, 2345);
    create(&mut guest, ROOT_ID, "f", O_RDWR).unwrap();
    mkdir(&mut guest, ROOT_ID, "d", 0o2755).unwrap();
    guest
        .call(Opcode::Symlink, ROOT_ID, &[b"l\0t\0"], 128)
        .unwrap();
    for name in ["f", "d", "l"] {
        let meta = fs::symlink_metadata(root.path().join(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (1234, 2345), "{name}");
    }
    // Below a set-group-id directory the group is inherited.
    let shared = guest.lookup(ROOT_ID, "d").unwrap().nodeid;
    guest.identity = (1, 1);
    create(&mut guest, shared, "f", O_RDWR).unwrap();
    mkdir(&mut guest, shared, "d", 0o755).unwrap();
    let meta = fs::metadata(root.path().join("d/f")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1, 2345));
    let meta = fs::metadata(root.path().join("d/d")).unwrap();
    assert_eq!((meta.gid(), meta.mode() & 0o7777), (2345, 0o2755));
}

#[test]
fn privilege_bits_end_with_an_ordinary_write() {
    let (root, mut guest) = scene();
    let path = root.path().join("file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6755)).unwrap();
    let file = guest.lookup(ROOT_ID, "file").unwrap().nodeid;
    let fh = guest.open(file, O_RDWR).unwrap();
    let write = WriteIn {
        fh,
        size: 1,
        write_flags: WRITE_KILL_SUIDGID,
        ..WriteIn::default()
    };
    guest
        .call(Opcode::Write, file, &[write.as_bytes(), b"x"], 8)
        .unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn nodes_are_made() {
    let (root, mut guest) = scene();
    let mut mknod = |name: &[u8], mode: u32| {
        let body = MknodIn {
            mode,
            rdev: 0x103,
            ..MknodIn::default()
        };
        guest.ask::<EntryOut>(Opcode::Mknod, ROOT_ID, &[body.as_bytes(), name])
    };
    mknod(b"p\0", 0o010_622).unwrap();
    mknod(b"s\0", 0o140_700).unwrap();
    mknod(b"r\0", 0o666).unwrap();
    assert_eq!(mknod(b"c\0", 0o020_666), Err(EPERM));
    assert_eq!(mknod(b"b\0", 0o060_666), Err(EPERM));
    let kind = |name| fs::metadata(root.path().join(name)).unwrap();
    assert!(kind("p").file_type().is_fifo());
    assert_eq!(kind("p").mode() & 0o7777, 0o622);
    assert!(kind("s").file_type().is_socket());
    assert_eq!(kind("r").mode(), 0o100_666);
}

#[test]
fn directories_are_made_and_removed() {
    let (root, mut guest) = scene();
    let new = mkdir(&mut guest, ROOT_ID, "new", 0o777).unwrap();
    assert_eq!(new.attr.mode, 0o040_777);
    assert_eq!(mkdir(&mut guest, ROOT_ID, "new", 0o777), Err(EEXIST));
    create(&mut guest, new.nodeid, "f", O_RDWR).unwrap();
    assert_eq!(
        guest.call(Opcode::Rmdir, ROOT_ID, &[b"new\0"], 0),
        Err(ENOTEMPTY)
    );
    assert_eq!(
        guest.call(Opcode::Unlink, ROOT_ID, &[b"new\0"], 0),
        Err(EISDIR)
    );
    guest
        .call(Opcode::Unlink, new.nodeid, &[b"f\0"], 0)
        .unwrap();
    guest.call(Opcode::Rmdir, ROOT_ID, &[b"new\0"], 0).unwrap();
    assert!(!root.path().join("new").exists());
    assert_eq!(
        guest.call(Opcode::Unlink, ROOT_ID, &[b"new\0"], 0),
        Err(ENOENT)
    );
    assert_eq!(create(&mut guest, new.nodeid, "f", O_RDWR), Err(ENOENT));
}

#[test]
fn links_of_both_kinds() {
    let (root, mut guest) = scene();
    let link = guest.lookup(ROOT_ID, "link").unwrap().nodeid;
    let text = guest.call(Opcode::Readlink, link, &[], 4096).unwrap();
    assert_eq!(text, b"../../etc/passwd");
    assert_eq!(
        guest.lookup(link, "x"),
        Err(ENOTDIR),
        "links are the guest's to follow"
    );
    assert_eq!(
        guest.call(Opcode::Readlink, ROOT_ID, &[], 4096),
        Err(EINVAL)
    );
    guest
        .call(Opcode::Symlink, ROOT_ID, &[b"s\0/abs olute\0"], 128)
        .unwrap();
    assert_eq!(
        fs::read_link(root.path().join("s")).unwrap(),
        Path::new("/abs olute")
    );
    let file = guest.lookup(ROOT_ID, "file").unwrap();
    for (old, name) in [(file.nodeid, "hard"), (link, "hardlink")] {
        let body = LinkIn { oldnodeid: old };
        let parts = [body.as_bytes(), name.as_bytes(), b"\0"];
        let entry: EntryOut = guest.ask(Opcode::Link, ROOT_ID, &parts).unwrap();
        assert_eq!((entry.nodeid, entry.attr.nlink), (old, 2));
    }
    let dir = guest.lookup(ROOT_ID, "dir").unwrap().nodeid;
    let body = LinkIn { oldnodeid: dir };
    assert_eq!(
        guest.call(Opcode::Link, ROOT_ID, &[body.as_bytes(), b"d\0"], 128),
        Err(EPERM)
    );
}

#[test]
fn renames() {
    let (root, mut guest) = scene();
    let dir = guest.lookup(ROOT_ID, "dir").unwrap().nodeid;
    let body = RenameIn { newdir: dir };
    guest
        .call(
            Opcode::Rename,
            ROOT_ID,
            &[body.as_bytes(), b"file\0moved\0"],
            0,
        )
        .unwrap();
    assert!(root.path().join("dir/moved").exists());
    create(&mut guest, ROOT_ID, "other", O_RDWR).unwrap();
    let (from, to) = ((dir, "moved"), (ROOT_ID, "other"));
    assert_eq!(rename2(&mut guest, from, to, 1), Err(EEXIST));
    rename2(&mut guest, from, to, 2).unwrap();
    assert_eq!(fs::read(root.path().join("other")).unwrap(), b"0123456789");
    assert_eq!(rename2(&mut guest, from, to, 4), Err(EINVAL));
    assert_eq!(rename2(&mut guest, from, (77, "x"), 0), Err(ESTALE));
    assert_eq!(rename2(&mut guest, from, (ROOT_ID, ".."), 0), Err(EINVAL));
    let whole = guest.call(Opcode::Rename, ROOT_ID, &[body.as_bytes(), b"other\0"], 0);
    assert_eq!(whole, Err(EINVAL));
}

#[test]
fn attributes_change() {
    let (root, mut guest) = scene();
    let file = guest.lookup(ROOT_ID, "file").unwrap().nodeid;
    let change = |valid| SetattrIn {
        valid,
        ..SetattrIn::default()
    };
    let mode = SetattrIn {
        mode: 0o107_751,
        ..change(setattr::MODE)
    };
    assert_eq!(setattr(&mut guest, file, mode).unwrap().mode, 0o107_751);
    let size = SetattrIn {
        size: 4,
        ..change(setattr::SIZE)
    };
    assert_eq!(setattr(&mut guest, file, size).unwrap().size, 4);
    assert_eq!(fs::read(root.path().join("file")).unwrap(), b"0123");
    let fh = guest.open(file, O_RDWR).unwrap();
    let size = SetattrIn {
        fh,
        size: 6,
        ..change(setattr::SIZE | setattr::FH)
    };
    assert_eq!(setattr(&mut guest, file, size).unwrap().size, 6);
    let huge = SetattrIn {
        size: u64::MAX,
        ..change(setattr::SIZE)
    };
    assert_eq!(setattr(&mut guest, file, huge), Err(EINVAL));
    let times = SetattrIn {
        atime: 7,
        mtime: (-5_i64).cast_unsigned(),
        mtimensec: 9,
        ..change(setattr::ATIME | setattr::MTIME)
    };
    let attr = setattr(&mut guest, file, times).unwrap();
    assert_eq!(
        (attr.atime, attr.mtime.cast_signed(), attr.mtimensec),
        (7, -5, 9)
    );
    let now = setattr(&mut guest, file, change(setattr::MTIME_NOW)).unwrap();
    assert_eq!(now.atime, 7);
    assert!(now.mtime > 1_000_000_000);
    let bad = SetattrIn {
        atimensec: 1_000_000_000,
        ..change(setattr::ATIME)
    };
    assert_eq!(setattr(&mut guest, file, bad), Err(EINVAL));
    let link = guest.lookup(ROOT_ID, "link").unwrap().nodeid;
    assert_eq!(
        setattr(&mut guest, link, times).unwrap().atime,
        7,
        "of the link itself"
    );
    assert_eq!(setattr(&mut guest, link, mode), Err(EOPNOTSUPP));
    assert_eq!(setattr(&mut guest, link, size), Err(EBADF));
    if rustix::process::geteuid().is_root() {
        let owner = SetattrIn {
            uid: 5,
            gid: 6,
            ..change(setattr::UID | setattr::GID)
        };
        let attr = setattr(&mut guest, link, owner).unwrap();
        assert_eq!((attr.uid, attr.gid), (5, 6));
    }
}

#[test]
fn statfs_access_and_attributes_that_are_not() {
    let (_root, mut guest) = scene();
    let out: StatfsOut = guest.ask(Opcode::Statfs, ROOT_ID, &[]).unwrap();
    assert!(out.blocks > 0 && out.namelen > 0);
    let body = |mask| AccessIn { mask, padding: 0 };
    let file = guest.lookup(ROOT_ID, "file").unwrap().nodeid;
    guest.tell(Opcode::Access, file, &body(4)).unwrap();
    assert_eq!(guest.tell(Opcode::Access, file, &body(1)), Err(EACCES));
    assert_eq!(guest.tell(Opcode::Access, file, &body(8)), Err(EINVAL));
    let get = GetxattrIn {
        size: 64,
        padding: 0,
    };
    assert_eq!(
        guest.call(Opcode::Getxattr, file, &[get.as_bytes(), b"user.a\0"], 64),
        Err(61)
    );
    assert_eq!(
        guest.call(Opcode::Listxattr, file, &[get.as_bytes()], 64),
        Ok(vec![])
    );
    let set = SetxattrIn { size: 1, flags: 0 };
    let parts = [set.as_bytes(), b"user.a\0x"];
    assert_eq!(
        guest.call(Opcode::Setxattr, file, &parts, 0),
        Err(EOPNOTSUPP)
    );
    assert_eq!(guest.call(Opcode::Bmap, file, &[], 64), Err(ENOSYS));
    assert_eq!(guest.call(Opcode::Tmpfile, file, &[], 64), Err(ENOSYS));
}

/// All records of a listing, by as many requests of `size` bytes as it takes.
fn list(guest: &mut Guest, node: u64, opcode: Opcode, size: u32) -> Vec<(String, u64)> {
    let open = OpenIn::default();
    let fh = guest
        .ask::<OpenOut>(Opcode::Opendir, node, &[open.as_bytes()])
        .unwrap()
        .fh;
    let (mut offset, mut found) = (0, Vec::new());
    loop {
        let read = ReadIn {
            fh,
            offset,
            size,
            ..ReadIn::default()
        };
        let reply = guest
            .call(opcode, node, &[read.as_bytes()], size as usize)
            .unwrap();
        assert!(reply.len() <= size as usize && reply.len().is_multiple_of(8));
        if reply.is_empty() {
            break;
        }
        let mut rest = &reply[..];
        while !rest.is_empty() {
            let mut nodeid = 0;
            if opcode == Opcode::Readdirplus {
                let (entry, tail) = EntryOut::read_from_prefix(rest).unwrap();
                (nodeid, rest) = (entry.nodeid, tail);
            }
            let (dirent, tail) = Dirent::read_from_prefix(rest).unwrap();
            let name = &tail[..dirent.namelen as usize];
            found.push((String::from_utf8(name.to_vec()).unwrap(), nodeid));
            rest = &tail[padded(name.len())..];
            offset = dirent.off;
        }
    }
    guest
        .tell(
            Opcode::Fsyncdir,
            node,
            &FsyncIn {
                fh,
                ..FsyncIn::default()
            },
        )
        .unwrap();
    guest
        .tell(
            Opcode::Releasedir,
            node,
            &ReleaseIn {
                fh,
                ..ReleaseIn::default()
            },
        )
        .unwrap();
    found
}

#[test]
fn large_directories_stream() {
    let (root, mut guest) = scene();
    let dir = guest.lookup(ROOT_ID, "dir").unwrap().nodeid;
    let mut expected: Vec<String> = (0..1000)
        .map(|i| format!("entry-{i:0width$}", width = 1 + i % 90))
        .collect();
    for name in &expected {
        fs::write(root.path().join("dir").join(name), "").unwrap();
    }
    expected.extend([".".into(), "..".into()]);
    expected.sort();
    for (opcode, size) in [
        (Opcode::Readdir, 4096),
        (Opcode::Readdir, 300),
        (Opcode::Readdir, 1 << 20),
        (Opcode::Readdirplus, 8192),
    ] {
        let found = list(&mut guest, dir, opcode, size);
        let plus = opcode == Opcode::Readdirplus;
        assert!(
            found
                .iter()
                .all(|(name, id)| (*id != 0) == (plus && !name.starts_with(".")))
        );
        let mut names: Vec<_> = found.into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, expected, "{opcode:?} {size}");
    }
}

#[test]
fn listings_check_their_handles() {
    let (_root, mut guest) = scene();
    let file = guest.lookup(ROOT_ID, "file").unwrap().nodeid;
    let fh = guest.open(file, 0).unwrap();
    let read = |fh, offset, size| ReadIn {
        fh,
        offset,
        size,
        ..ReadIn::default()
    };
    let mut readdir =
        |node, body: ReadIn| guest.call(Opcode::Readdir, node, &[body.as_bytes()], 512);
    assert_eq!(readdir(file, read(fh, 0, 512)), Err(ENOTDIR));
    assert_eq!(readdir(ROOT_ID, read(fh, 0, 512)), Err(EBADF));
    let open = OpenIn::default();
    let dh = guest
        .ask::<OpenOut>(Opcode::Opendir, ROOT_ID, &[open.as_bytes()])
        .unwrap()
        .fh;
    let mut readdir = |body: ReadIn| guest.call(Opcode::Readdir, ROOT_ID, &[body.as_bytes()], 512);
    assert_eq!(readdir(read(dh, u64::MAX, 512)), Err(EINVAL));
    assert_eq!(
        readdir(read(dh, 0, 8)),
        Err(EINVAL),
        "not even one record fits"
    );
    assert_eq!(guest.read(ROOT_ID, dh, 0, 10), Err(EISDIR));
}

#[test]
fn holes_allocation_and_copies() {
    let (root, mut guest) = scene();
    let (node, fh) = create(&mut guest, ROOT_ID, "sparse", O_RDWR).unwrap();
    guest.write(node, fh, 1 << 20, b"data").unwrap();
    let mut seek = |whence, offset| {
        let body = LseekIn {
            fh,
            offset,
            whence,
            padding: 0,
        };
        guest
            .ask::<LseekOut>(Opcode::Lseek, node, &[body.as_bytes()])
            .map(|out| out.offset)
    };
    assert_eq!(seek(3, 0), Ok(1 << 20));
    assert_eq!(seek(4, 0), Ok(0));
    assert_eq!(seek(2, 0), Ok((1 << 20) + 4));
    assert_eq!(seek(3, u64::MAX), Err(6));
    assert_eq!(seek(9, 0), Err(EINVAL));
    let mut allocate = |mode, offset, length| {
        let body = FallocateIn {
            fh,
            offset,
            length,
            mode,
            padding: 0,
        };
        guest.tell(Opcode::Fallocate, node, &body)
    };
    allocate(0, 0, 1 << 21).unwrap();
    allocate(3, 0, 1 << 20).unwrap();
    allocate(0x10, 0, 4096)
        .or_else(|e| if e == EOPNOTSUPP { Ok(()) } else { Err(e) })
        .unwrap();
    assert_eq!(
        allocate(8, 0, 4096),
        Err(EOPNOTSUPP),
        "collapsing is not served"
    );
    assert_eq!(allocate(0, 1 << 63, 4096), Err(EINVAL));
    assert_eq!(
        fs::metadata(root.path().join("sparse")).unwrap().len(),
        1 << 21
    );
    let file = guest.lookup(ROOT_ID, "file").unwrap().nodeid;
    let from = guest.open(file, 0).unwrap();
    let body = CopyFileRangeIn {
        fh_in: from,
        off_in: 2,
        nodeid_out: node,
        fh_out: fh,
        off_out: 5,
        len: u64::MAX >> 1,
        flags: 0,
    };
    let out: WriteOut = guest
        .ask(Opcode::CopyFileRange, file, &[body.as_bytes()])
        .unwrap();
    assert_eq!(out.size, 8);
    assert_eq!(guest.read(node, fh, 5, 8).unwrap(), b"23456789");
}

#[test]
fn a_read_only_export_changes_nothing() {
    let (root, _) = scene();
    let mut guest = guest_with(root.path(), Access::ReadOnly);
    let file = guest.lookup(ROOT_ID, "file").unwrap().nodeid;
    for flags in [O_WRONLY, O_RDWR, O_TRUNC] {
        assert_eq!(guest.open(file, flags), Err(EROFS));
    }
    let fh = guest.open(file, 0).unwrap();
    assert_eq!(guest.read(file, fh, 0, 4).unwrap(), b"0123");
    assert_eq!(guest.write(file, fh, 0, b"x"), Err(EROFS));
    assert_eq!(create(&mut guest, ROOT_ID, "new", O_RDWR), Err(EROFS));
    assert_eq!(mkdir(&mut guest, ROOT_ID, "new", 0o755), Err(EROFS));
    assert_eq!(setattr(&mut guest, file, SetattrIn::default()), Err(EROFS));
    assert_eq!(
        rename2(&mut guest, (ROOT_ID, "file"), (ROOT_ID, "g"), 0),
        Err(EROFS)
    );
    assert_eq!(
        guest.tell(
            Opcode::Access,
            file,
            &AccessIn {
                mask: 2,
                padding: 0
            }
        ),
        Err(EROFS)
    );
    for opcode in [
        Opcode::Unlink,
        Opcode::Rmdir,
        Opcode::Symlink,
        Opcode::Link,
        Opcode::Mknod,
    ] {
        assert_eq!(
            guest.call(opcode, ROOT_ID, &[b"file\0x\0"], 128),
            Err(EROFS),
            "{opcode:?}"
        );
    }
}

#[test]
fn a_guest_that_never_forgets_gets_enfile() {
    let (root, _) = scene();
    for i in 0..50 {
        fs::write(root.path().join(format!("{i}")), "").unwrap();
    }
    let owner = Owner::Monitor;
    let export = Export {
        root: root.path().into(),
        access: Access::ReadWrite,
        owner,
        locks: Locks::Host,
    };
    let limits = Limits {
        nodes: 20,
        handles: 5,
        lock_owners: 1,
    };
    let mut guest = Client::new(DirectoryService::with_limits(export, limits).unwrap());
    let outcomes: Vec<_> = (0..50)
        .map(|i| guest.lookup(ROOT_ID, &i.to_string()))
        .collect();
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
        19
    );
    assert_eq!(outcomes[49], Err(ENFILE));
    assert_eq!(mkdir(&mut guest, ROOT_ID, "new", 0o755), Err(ENFILE));
    assert!(
        !root.path().join("new").exists(),
        "nothing is made that cannot be told"
    );
    let node = outcomes[0].unwrap().nodeid;
    let opened: Vec<_> = (0..6).map(|_| guest.open(node, 0)).collect();
    assert_eq!(opened[5], Err(ENFILE));
    guest
        .tell(
            Opcode::Forget,
            outcomes[1].unwrap().nodeid,
            &ForgetIn { nlookup: 1 },
        )
        .unwrap();
    guest.lookup(ROOT_ID, "49").unwrap();
}

fn lock(
    guest: &mut Guest,
    node: u64,
    fh: u64,
    owner: u64,
    lk: FileLock,
    flock: u32,
) -> Result<(), i32> {
    guest.tell(
        Opcode::Setlkw,
        node,
        &LkIn {
            fh,
            owner,
            lk,
            lk_flags: flock,
            padding: 0,
        },
    )
}

#[test]
fn locks_exclude_other_machines() {
    let (root, mut first) = scene();
    let mut second = guest_with(root.path(), Access::ReadWrite);
    let node = first.lookup(ROOT_ID, "file").unwrap().nodeid;
    let a = first.open(node, O_RDWR).unwrap();
    let a2 = first.open(node, O_RDWR).unwrap();
    let other = second.lookup(ROOT_ID, "file").unwrap().nodeid;
    let b = second.open(other, O_RDWR).unwrap();
    let range = |kind, start, end| FileLock {
        start,
        end,
        kind,
        pid: 0,
    };
    lock(&mut first, node, a, 1, range(LOCK_WRITE, 0, 9), 0).unwrap();
    lock(&mut first, node, a2, 1, range(LOCK_WRITE, 0, 5), 0).unwrap();
    assert_eq!(
        lock(&mut first, node, a2, 2, range(LOCK_READ, 5, 5), 0),
        Err(EAGAIN)
    );
    assert_eq!(
        lock(
            &mut second,
            other,
            b,
            1,
            range(LOCK_READ, 9, LOCK_TO_END),
            0
        ),
        Err(EAGAIN)
    );
    lock(
        &mut second,
        other,
        b,
        1,
        range(LOCK_READ, 10, LOCK_TO_END),
        0,
    )
    .unwrap();
    let body = LkIn {
        fh: b,
        owner: 1,
        lk: range(LOCK_WRITE, 0, LOCK_TO_END),
        ..LkIn::default()
    };
    let found: LkOut = second
        .ask(Opcode::Getlk, other, &[body.as_bytes()])
        .unwrap();
    assert_eq!(
        (found.lk.kind, found.lk.start, found.lk.end),
        (LOCK_WRITE, 0, 9)
    );
    // Any close by the owner ends its locks.
    let flush = FlushIn {
        fh: a2,
        lock_owner: 1,
        ..FlushIn::default()
    };
    first.tell(Opcode::Flush, node, &flush).unwrap();
    let found: LkOut = second
        .ask(Opcode::Getlk, other, &[body.as_bytes()])
        .unwrap();
    assert_eq!(found.lk.kind, LOCK_NONE);
    assert_eq!(
        lock(&mut first, node, a, 1, range(LOCK_WRITE, 9, 2), 0),
        Err(EINVAL)
    );
    assert_eq!(lock(&mut first, node, a, 1, range(7, 0, 2), 0), Err(EINVAL));
    let readable = first.open(node, 0).unwrap();
    assert_eq!(
        lock(&mut first, node, readable, 1, range(LOCK_WRITE, 0, 1), 0),
        Err(EBADF)
    );
}

#[test]
fn flock_excludes_machines_and_host_programs() {
    let (root, mut first) = scene();
    let node = first.lookup(ROOT_ID, "file").unwrap().nodeid;
    let a = first.open(node, O_RDWR).unwrap();
    let b = first.open(node, O_RDWR).unwrap();
    let kind = |kind| FileLock {
        kind,
        ..FileLock::default()
    };
    lock(&mut first, node, a, 1, kind(LOCK_WRITE), LK_FLOCK).unwrap();
    assert_eq!(
        lock(&mut first, node, b, 1, kind(LOCK_READ), LK_FLOCK),
        Err(EAGAIN)
    );
    let host = fs::File::open(root.path().join("file")).unwrap();
    assert!(host.try_lock().is_err());
    let release = ReleaseIn {
        fh: a,
        release_flags: RELEASE_FLOCK_UNLOCK,
        ..ReleaseIn::default()
    };
    first.tell(Opcode::Release, node, &release).unwrap();
    host.try_lock().unwrap();
}

/// What was handed over: under which number, what it says, and whether it can be written.
type Handed = std::sync::mpsc::Receiver<(u64, Vec<u8>, bool)>;

fn guest_that_maps(root: &Path) -> (Guest, Handed) {
    let (to, handed) = std::sync::mpsc::channel();
    let export = Export {
        root: root.into(),
        access: Access::ReadWrite,
        owner: Owner::of_process(),
        locks: Locks::Host,
    };
    let service = DirectoryService::new(export)
        .unwrap()
        .handing_over(Box::new(move |token, file| {
            let file = fs::File::from(file.try_clone_to_owned()?);
            let mut content = vec![0; 100];
            let length = file.read_at(&mut content, 0)?;
            content.truncate(length);
            let writable = file.write_at(b"w", 0).is_ok();
            to.send((token, content, writable))
                .map_err(std::io::Error::other)
        }));
    (Client::new(service), handed)
}

fn set_up(guest: &mut Guest, node: u64, fh: u64, token: u64) -> Result<(), i32> {
    let setup = SetupmappingIn {
        fh,
        moffset: token,
        ..SetupmappingIn::default()
    };
    guest.tell(Opcode::Setupmapping, node, &setup)
}

#[test]
fn files_are_handed_over_to_be_read_whatever_they_are_open_for() {
    let root = tempfile::tempdir().unwrap();
    // Beyond what a file system keeps beside the name.
    let content = "0123456789".repeat(1000);
    fs::write(root.path().join("file"), &content).unwrap();
    fs::write(root.path().join("empty"), "").unwrap();
    let (mut guest, handed) = guest_that_maps(root.path());
    let node = guest.lookup(ROOT_ID, "file").unwrap().nodeid;
    for flags in [0, O_RDWR, O_WRONLY] {
        let fh = guest.open(node, flags).unwrap();
        set_up(&mut guest, node, fh, 70 + u64::from(flags)).unwrap();
        let (token, said, writable) = handed.try_recv().unwrap();
        assert_eq!(token, 70 + u64::from(flags));
        assert_eq!(said, content.as_bytes()[..100]);
        assert!(!writable);
    }
    assert_eq!(set_up(&mut guest, node, 99, 1), Err(EBADF));
    let empty = guest.lookup(ROOT_ID, "empty").unwrap().nodeid;
    let fh = guest.open(empty, 0).unwrap();
    assert_eq!(set_up(&mut guest, node, fh, 1), Err(EBADF), "another's");
    assert_eq!(set_up(&mut guest, empty, fh, 1), Err(ENODEV));
    drop(handed);
    let fh = guest.open(node, 0).unwrap();
    assert_eq!(set_up(&mut guest, node, fh, 1), Err(EIO), "nobody takes it");
}

#[test]
fn what_the_hosts_kernel_makes_up_is_not_handed_over() {
    let (mut guest, _handed) = guest_that_maps(Path::new("/sys/kernel"));
    let node = guest.lookup(ROOT_ID, "uevent_seqnum").unwrap().nodeid;
    let fh = guest.open(node, 0).unwrap();
    assert_eq!(set_up(&mut guest, node, fh, 1), Err(ENODEV));
}

#[test]
fn without_a_way_to_the_guest_it_is_told_to_copy() {
    let (_root, mut guest) = scene();
    let node = guest.lookup(ROOT_ID, "file").unwrap().nodeid;
    let fh = guest.open(node, 0).unwrap();
    assert_eq!(set_up(&mut guest, node, fh, 1), Err(ENOSYS));
}

#[test]
fn a_reset_machine_begins_anew() {
    let (_root, mut guest) = scene();
    let file = guest.lookup(ROOT_ID, "file").unwrap().nodeid;
    let fh = guest.open(file, 0).unwrap();
    let body = InitIn {
        major: 7,
        minor: 38,
        ..InitIn::default()
    };
    guest
        .ask::<InitOut>(Opcode::Init, 0, &[body.as_bytes()])
        .unwrap();
    assert_eq!(guest.read(file, fh, 0, 1), Err(EBADF));
    assert_eq!(getattr(&mut guest, file), Err(ESTALE));
    assert_ne!(
        guest.lookup(ROOT_ID, "file").unwrap().nodeid,
        file,
        "ids are never reused"
    );
}

#[test]
fn a_missing_root_is_one_clear_sentence() {
    let export = Export {
        root: "/no/where".into(),
        access: Access::ReadOnly,
        owner: Owner::Monitor,
        locks: Locks::Host,
    };
    let text = DirectoryService::new(export).unwrap_err().to_string();
    assert!(text.starts_with("/no/where: No such file"), "{text}");
}
