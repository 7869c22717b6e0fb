//! Names: those made here, those removed, and those from below.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use linux_raw_sys::general as raw;

use super::inode::{Body, OverlayInode};
use crate::fs::inode::{Changeable, Created, Directory, Found, Inode, NewInode, Record};
use crate::fs::metadata::FileKind;
use crate::{Errno, Result};

/// What a directory says about names.
#[derive(Clone)]
pub(super) struct Names {
    pub(super) slots: BTreeMap<Box<[u8]>, Slot>,
    /// Whether all names are here, so that nothing shows through from below.
    pub(super) opaque: bool,
}

/// What is said about one name.
#[derive(Clone)]
pub(super) enum Slot {
    /// It leads here.
    Present(Arc<OverlayInode>),
    /// It is gone, whatever is below.
    Gone,
}

fn overlay(inode: &Arc<dyn Inode>) -> Result<Arc<OverlayInode>> {
    let any: Arc<dyn Any + Send + Sync> = inode.clone();
    any.downcast().map_err(|_| Errno::EXDEV)
}

impl OverlayInode {
    fn slot(&self, name: &[u8]) -> Result<(Option<Slot>, bool)> {
        match &self.state.lock().body {
            Body::Directory(names) => Ok((names.slots.get(name).cloned(), names.opaque)),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn set_slot(&self, name: &[u8], slot: Option<Slot>) -> Result<()> {
        self.touch()?;
        let old = match &mut self.state.lock().body {
            Body::Directory(names) => match slot {
                Some(slot) => names.slots.insert(name.into(), slot),
                None => names.slots.remove(name),
            },
            _ => return Err(Errno::ENOTDIR),
        };
        drop(old);
        Ok(())
    }

    /// Shows something under a name as if it had always been there: no time changes.
    pub(super) fn show(&self, name: &[u8], inode: &Arc<Self>) {
        if let Body::Directory(names) = &mut self.state.lock().body {
            let slot = Slot::Present(inode.clone());
            names.slots.insert(name.into(), slot);
        }
    }

    /// The ability of the directory below, if it shows through.
    fn below(&self, opaque: bool) -> Option<&dyn Directory> {
        if opaque {
            None
        } else {
            self.lower.as_ref().and_then(|lower| lower.as_directory())
        }
    }

    fn below_lookup(&self, name: &[u8], opaque: bool) -> Result<Found> {
        match self.below(opaque) {
            Some(directory) => directory.lookup(name),
            None => Ok(Found::for_good(None)),
        }
    }

    /// The inode of a name.
    fn get(&self, name: &[u8]) -> Result<Option<Arc<Self>>> {
        let (slot, opaque) = self.slot(name)?;
        match slot {
            Some(Slot::Present(inode)) => Ok(Some(inode)),
            Some(Slot::Gone) => Ok(None),
            None => {
                let found = self.below_lookup(name, opaque)?;
                Ok(found.inode.map(|lower| self.fs.standing_for(lower)))
            }
        }
    }

    fn put(&self, name: &[u8], inode: &Arc<Self>) -> Result<()> {
        self.set_slot(name, Some(Slot::Present(inode.clone())))?;
        if inode.kind == FileKind::Directory {
            self.update(|own| own.links += 1)?;
        }
        Ok(())
    }

    /// Takes a name out.
    fn take(&self, name: &[u8], kind: FileKind) -> Result<()> {
        let (_, opaque) = self.slot(name)?;
        let shows_through = self.below_lookup(name, opaque)?.inode.is_some();
        self.set_slot(name, shows_through.then_some(Slot::Gone))?;
        if kind == FileKind::Directory {
            self.update(|own| own.links = own.links.saturating_sub(1))?;
        }
        Ok(())
    }

    /// Checks that a directory has no names.
    fn check_empty(&self) -> Result<()> {
        if self.list()?.is_empty() {
            Ok(())
        } else {
            Err(Errno::ENOTEMPTY)
        }
    }

    /// Checks that one inode may take the name of another.
    fn check_replaced_by(&self, source: &Self) -> Result<()> {
        match (source.kind, self.kind) {
            (FileKind::Directory, FileKind::Directory) => self.check_empty(),
            (FileKind::Directory, _) => Err(Errno::ENOTDIR),
            (_, FileKind::Directory) => Err(Errno::EISDIR),
            _ => Ok(()),
        }
    }

    /// An inode has lost a name.
    fn unlinked(&self) -> Result<()> {
        self.count_links(if self.kind == FileKind::Directory {
            -2
        } else {
            -1
        })
    }

    fn exchange(&self, name: &[u8], to: &Self, to_name: &[u8]) -> Result<()> {
        let one = self.get(name)?.ok_or(Errno::ENOENT)?;
        let other = to.get(to_name)?.ok_or(Errno::ENOENT)?;
        self.take(name, one.kind)?;
        to.take(to_name, other.kind)?;
        self.put(name, &other)?;
        to.put(to_name, &one)
    }

    /// A copy of what is said about names, so that nothing is locked meanwhile.
    fn names(&self) -> Result<Names> {
        match &self.state.lock().body {
            Body::Directory(names) => Ok(names.clone()),
            _ => Err(Errno::ENOTDIR),
        }
    }
}

impl Directory for OverlayInode {
    fn lookup(&self, name: &[u8]) -> Result<Found> {
        let (slot, opaque) = self.slot(name)?;
        match slot {
            Some(Slot::Present(inode)) => Ok(Found::for_good(Some(inode))),
            Some(Slot::Gone) => Ok(Found::for_good(None)),
            None => {
                let Found { inode, valid_until } = self.below_lookup(name, opaque)?;
                let inode = inode.map(|lower| self.fs.standing_for(lower) as Arc<dyn Inode>);
                Ok(Found { inode, valid_until })
            }
        }
    }

    fn list(&self) -> Result<Vec<Record>> {
        let names = self.names()?;
        let mut records = match self.below(names.opaque) {
            Some(directory) => directory.list()?,
            None => Vec::new(),
        };
        records.retain(|record| !names.slots.contains_key(&record.name));
        for (name, slot) in names.slots {
            if let Slot::Present(inode) = slot {
                let number = inode.metadata()?.number;
                records.push(Record {
                    number,
                    kind: inode.kind,
                    name,
                });
            }
        }
        Ok(records)
    }

    fn as_changeable(&self) -> Option<&dyn Changeable> {
        Some(self)
    }
}

impl Changeable for OverlayInode {
    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Created> {
        if self.get(name)?.is_some() {
            return Err(Errno::EEXIST);
        }
        let inode = Self::new(&self.fs, new);
        self.put(name, &inode)?;
        Ok(Created {
            found: Found::for_good(Some(inode)),
            file: None,
        })
    }

    fn create_unnamed(&self, new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        let inode = Self::new(&self.fs, new);
        inode.update(|own| own.links = 0)?;
        Ok(inode)
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<Found> {
        let inode = overlay(inode)?;
        if !Arc::ptr_eq(&inode.fs, &self.fs) {
            return Err(Errno::EXDEV);
        }
        if self.get(name)?.is_some() {
            return Err(Errno::EEXIST);
        }
        inode.count_links(1)?;
        self.put(name, &inode)?;
        Ok(Found::for_good(Some(inode)))
    }

    fn remove(&self, name: &[u8], directory: bool) -> Result<()> {
        let victim = self.get(name)?.ok_or(Errno::ENOENT)?;
        match (directory, victim.kind == FileKind::Directory) {
            (true, false) => return Err(Errno::ENOTDIR),
            (false, true) => return Err(Errno::EISDIR),
            (true, true) => victim.check_empty()?,
            (false, false) => {}
        }
        self.take(name, victim.kind)?;
        victim.unlinked()
    }

    fn rename(&self, name: &[u8], to: &Arc<dyn Inode>, to_name: &[u8], flags: u32) -> Result<()> {
        let to = overlay(to)?;
        if flags & raw::RENAME_EXCHANGE != 0 {
            return self.exchange(name, &to, to_name);
        }
        let source = self.get(name)?.ok_or(Errno::ENOENT)?;
        let target = to.get(to_name)?;
        if let Some(target) = &target {
            if flags & raw::RENAME_NOREPLACE != 0 {
                return Err(Errno::EEXIST);
            }
            if Arc::ptr_eq(target, &source) {
                return Ok(());
            }
            target.check_replaced_by(&source)?;
            to.take(to_name, target.kind)?;
            target.unlinked()?;
        }
        self.take(name, source.kind)?;
        to.put(to_name, &source)?;
        source.count_links(0)
    }
}
