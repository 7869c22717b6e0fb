//! Descriptors.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::inode::Inode;
use super::open::OpenFile;
use crate::{Errno, Result};

/// What a descriptor is.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// The open file description.
    pub file: Arc<OpenFile>,
    /// Whether `exec` closes it.
    pub close_on_exec: bool,
}

/// A process's descriptors.
#[derive(Clone, Debug, Default)]
pub struct FileTable {
    slots: Vec<Option<Descriptor>>,
    /// No descriptor below this is free.
    lowest_free: usize,
}

impl FileTable {
    /// None open.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: Vec::new(),
            lowest_free: 0,
        }
    }

    fn index(fd: i32) -> Result<usize> {
        usize::try_from(fd).map_err(|_| Errno::EBADF)
    }

    /// For how many descriptors there is room: Linux's table begins with 64 and doubles. `select`
    /// ignores what is beyond.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.len().next_power_of_two().max(64)
    }

    /// The open file of a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn get(&self, fd: i32) -> Result<Arc<OpenFile>> {
        self.descriptor(fd)
            .map(|descriptor| descriptor.file.clone())
    }

    /// A descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn descriptor(&self, fd: i32) -> Result<&Descriptor> {
        let slot = self.slots.get(Self::index(fd)?);
        slot.and_then(Option::as_ref).ok_or(Errno::EBADF)
    }

    /// Sets whether `exec` closes a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn set_close_on_exec(&mut self, fd: i32, close_on_exec: bool) -> Result<()> {
        let slot = self.slots.get_mut(Self::index(fd)?);
        let descriptor = slot.and_then(Option::as_mut).ok_or(Errno::EBADF)?;
        descriptor.close_on_exec = close_on_exec;
        Ok(())
    }

    /// Gives an open file the lowest descriptor that is free and not below `from`;
    /// `limit` is the soft `RLIMIT_NOFILE`.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn insert_from(&mut self, from: i32, descriptor: Descriptor, limit: u64) -> Result<i32> {
        let start = Self::index(from)?.max(self.lowest_free);
        let free = self.slots.iter().skip(start).position(Option::is_none);
        let index = free.map_or(self.slots.len().max(start), |offset| start + offset);
        if index as u64 >= limit || index >= i32::MAX as usize {
            return Err(Errno::EMFILE);
        }
        self.put(index, Some(descriptor));
        if start == self.lowest_free {
            self.lowest_free = index + 1;
        }
        Ok(index as i32)
    }

    /// Gives an open file the lowest free descriptor.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn insert(&mut self, file: Arc<OpenFile>, close_on_exec: bool, limit: u64) -> Result<i32> {
        self.insert_from(
            0,
            Descriptor {
                file,
                close_on_exec,
            },
            limit,
        )
    }

    /// Gives an open file a certain descriptor; returns what that was before.
    ///
    /// # Errors
    /// `EBADF` beyond `limit`.
    pub fn replace(
        &mut self,
        fd: i32,
        descriptor: Descriptor,
        limit: u64,
    ) -> Result<Option<Descriptor>> {
        let index = Self::index(fd)?;
        if index as u64 >= limit {
            return Err(Errno::EBADF);
        }
        Ok(self.put(index, Some(descriptor)))
    }

    fn put(&mut self, index: usize, descriptor: Option<Descriptor>) -> Option<Descriptor> {
        if index >= self.slots.len() {
            self.slots.resize(index + 1, None);
        }
        let slot = self.slots.get_mut(index)?;
        core::mem::replace(slot, descriptor)
    }

    /// Takes a descriptor out.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn remove(&mut self, fd: i32) -> Result<Descriptor> {
        let index = Self::index(fd)?;
        let slot = self.slots.get_mut(index).ok_or(Errno::EBADF)?;
        let descriptor = slot.take().ok_or(Errno::EBADF)?;
        self.lowest_free = self.lowest_free.min(index);
        Ok(descriptor)
    }

    /// Whether an inode is open for use.
    #[must_use]
    pub fn holds(&self, inode: &Arc<dyn Inode>) -> bool {
        let mut open = self.slots.iter().flatten();
        open.any(|slot| !slot.file.is_path_only() && Arc::ptr_eq(slot.file.location.inode(), inode))
    }

    /// The descriptors that are open, ascending.
    #[must_use]
    pub fn numbers(&self) -> Vec<i32> {
        let open = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.is_some());
        open.map(|(index, _)| index as i32).collect()
    }
}
