//! Names in a directory of the host.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use guest_abi::fuse::{
    CreateIn, Dirent, EntryOut, LinkIn, MkdirIn, MknodIn, Opcode, OpenIn, OpenOut, ReadIn,
    ReleaseIn, Rename2In, RenameIn,
};
use guest_hal::virtio::{Source, Target};
use linux_raw_sys::general as raw;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::file::{FuseFile, Handle, front};
use super::node::{FuseInode, validity};
use super::{FuseFs, Request, Use};
use crate::fs::inode::{Changeable, Created, Directory, Found, Inode, NewInode, Record};
use crate::fs::metadata::FileKind;
use crate::{Errno, Result};

/// Bytes of a listing fetched at once.
const LISTING: usize = 64 << 10;

/// CREATE's reply.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct CreateOut {
    entry: EntryOut,
    open: OpenOut,
}

fn found(fs: &FuseFs, entry: &EntryOut) -> Found {
    let inode = (entry.nodeid != 0).then(|| FuseInode::of_entry(fs, entry) as Arc<dyn Inode>);
    Found {
        inode,
        valid_until: validity(entry.entry_valid, entry.entry_valid_nsec),
    }
}

impl FuseInode {
    const fn on_behalf(&self, opcode: Opcode, new: &NewInode<'_>) -> Request {
        Request {
            opcode,
            node: self.node,
            owner: (new.uid, new.gid),
            waits: super::Waits::Work,
        }
    }

    /// Makes something and does not open it.
    fn make(&self, name: &[u8], new: &NewInode<'_>) -> Result<EntryOut> {
        match FileKind::from_mode(new.mode) {
            Some(FileKind::Directory) => {
                let ask = MkdirIn {
                    mode: new.mode & !raw::S_IFMT,
                    umask: 0,
                };
                self.fs
                    .ask_to_keep(self.on_behalf(Opcode::Mkdir, new), &ask, &[name])
            }
            Some(FileKind::Link) => self.fs.ask_to_keep(
                self.on_behalf(Opcode::Symlink, new),
                &(),
                &[name, new.target],
            ),
            _ => {
                let rdev = new.represented as u32;
                let ask = MknodIn {
                    mode: new.mode,
                    rdev,
                    ..MknodIn::default()
                };
                self.fs
                    .ask_to_keep(self.on_behalf(Opcode::Mknod, new), &ask, &[name])
            }
        }
    }

    /// Makes a regular file and opens it.
    fn make_open(&self, name: &[u8], new: &NewInode<'_>, flags: u32) -> Result<Created> {
        let flags = flags | raw::O_CREAT | raw::O_EXCL;
        let ask = CreateIn {
            flags,
            mode: new.mode & !raw::S_IFMT,
            umask: 0,
            open_flags: 0,
        };
        let request = self.on_behalf(Opcode::Create, new);
        let reply: CreateOut = self.fs.ask_to_keep(request, &ask, &[name])?;
        let inode = FuseInode::of_entry(&self.fs, &reply.entry);
        let handle = Handle::of(&inode, &reply.open, flags);
        let file = Arc::new(FuseFile::new(inode.clone(), handle));
        let valid_until = validity(reply.entry.entry_valid, reply.entry.entry_valid_nsec);
        Ok(Created {
            found: Found {
                inode: Some(inode),
                valid_until,
            },
            file: Some(file),
        })
    }

    /// Reads the whole listing through an open directory.
    fn read_listing(&self, fh: u64) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut buffer = alloc::vec![0; LISTING];
        let mut offset = 0;
        loop {
            let ask = ReadIn {
                fh,
                offset,
                size: LISTING as u32,
                ..ReadIn::default()
            };
            let send = [Source::Bytes(ask.as_bytes())];
            let into = &mut [Target::Bytes(&mut buffer)];
            let length = self
                .fs
                .session
                .call(self.request(Opcode::Readdir), &send, into)?;
            let page = buffer.get(..length).ok_or(Errno::EIO)?;
            match parse_listing(page, &mut records) {
                Some(next) if next != offset => offset = next,
                _ => return Ok(records),
            }
        }
    }
}

/// Appends the records of a reply; returns the cookie of the last.
fn parse_listing(mut bytes: &[u8], records: &mut Vec<Record>) -> Option<u64> {
    let mut last = None;
    while let Some((head, rest)) = front::<Dirent>(bytes) {
        let Some(name) = rest.get(..head.namelen as usize) else {
            break;
        };
        let kind = FileKind::from_mode(head.kind << 12).unwrap_or(FileKind::Regular);
        if name != b"." && name != b".." {
            records.push(Record {
                number: head.ino,
                kind,
                name: name.into(),
            });
        }
        last = Some(head.off);
        bytes = bytes
            .get(Dirent::record_len(name.len())..)
            .unwrap_or_default();
    }
    last
}

fn fuse(inode: &Arc<dyn Inode>) -> Result<&FuseInode> {
    let any: &dyn Any = &**inode;
    any.downcast_ref().ok_or(Errno::EXDEV)
}

impl Directory for FuseInode {
    fn lookup(&self, name: &[u8]) -> Result<Found> {
        let request = self.request(Opcode::Lookup);
        match self.fs.ask_to_keep::<(), EntryOut>(request, &(), &[name]) {
            Ok(entry) => Ok(found(&self.fs, &entry)),
            Err(Errno::ENOENT) => Ok(Found::just_now(None)),
            Err(errno) => Err(errno),
        }
    }

    fn list(&self) -> Result<Vec<Record>> {
        let ask = OpenIn {
            flags: raw::O_RDONLY | raw::O_DIRECTORY,
            open_flags: 0,
        };
        let request = self.request(Opcode::Opendir);
        let open: OpenOut = self.fs.ask_to_keep(request, &ask, &[])?;
        let records = self.read_listing(open.fh);
        let ask = ReleaseIn {
            fh: open.fh,
            ..ReleaseIn::default()
        };
        // A server that cannot close has nothing to tell the program.
        let _: Result<()> = self
            .fs
            .session
            .ask(self.request(Opcode::Releasedir), &ask, &[]);
        records
    }

    fn as_changeable(&self) -> Option<&dyn Changeable> {
        (self.fs.usage == Use::Volume).then_some(self as _)
    }
}

impl Changeable for FuseInode {
    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Created> {
        self.forget_attributes();
        if let Some(flags) = new.open
            && new.mode & raw::S_IFMT == raw::S_IFREG
        {
            return self.make_open(name, new, flags);
        }
        let entry = self.make(name, new)?;
        Ok(Created {
            found: found(&self.fs, &entry),
            file: None,
        })
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<Found> {
        let target = fuse(inode)?;
        let ask = LinkIn {
            oldnodeid: target.node,
        };
        let request = self.request(Opcode::Link);
        let entry: EntryOut = self.fs.ask_to_keep(request, &ask, &[name])?;
        self.forget_attributes();
        Ok(found(&self.fs, &entry))
    }

    fn remove(&self, name: &[u8], directory: bool) -> Result<()> {
        let opcode = if directory {
            Opcode::Rmdir
        } else {
            Opcode::Unlink
        };
        self.forget_attributes();
        self.fs.session.ask(self.request(opcode), &(), &[name])
    }

    fn rename(&self, name: &[u8], to: &Arc<dyn Inode>, to_name: &[u8], flags: u32) -> Result<()> {
        let target = fuse(to)?;
        self.forget_attributes();
        target.forget_attributes();
        let (session, newdir) = (&self.fs.session, target.node);
        let names = &[name, to_name];
        if flags == 0 {
            return session.ask(self.request(Opcode::Rename), &RenameIn { newdir }, names);
        }
        let ask = Rename2In {
            newdir,
            flags,
            padding: 0,
        };
        match session.ask(self.request(Opcode::Rename2), &ask, names) {
            Err(Errno::ENOSYS) => Err(Errno::EINVAL),
            result => result,
        }
    }
}
