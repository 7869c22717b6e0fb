//! Which frames of physical memory are free.
//!
//! A bit a frame, and for each block of 2 MiB how many of its frames are free. A frame that
//! is taken for one page comes from a block that is in use already, so that whole blocks
//! stay whole as long as possible.

/// Bytes of a frame.
pub(super) const FRAME: u64 = 4096;
/// Frames of a block.
const BLOCK: usize = 512;
/// Words of bits of a block.
const WORDS: usize = BLOCK / 64;

/// Frames that are handed out one by one: a small program stays small.
const FIRST: u64 = 2048;

/// How much is taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// 4 KiB.
    Page,
    /// 64 KiB.
    Cluster,
    /// 2 MiB.
    Block,
}

impl Size {
    /// In bytes.
    pub(super) const fn bytes(self) -> u64 {
        match self {
            Self::Page => FRAME,
            Self::Cluster => 16 * FRAME,
            Self::Block => BLOCK as u64 * FRAME,
        }
    }
}

/// Memory that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Its physical address.
    pub(super) start: u64,
    /// Whether it is known to be zero, since nobody has used it before.
    pub(super) is_zero: bool,
}

/// The frames of a machine.
#[derive(Debug)]
pub(super) struct Frames {
    /// A bit a frame, one: free.
    bits: &'static mut [u64],
    /// Free frames of each block.
    blocks: &'static mut [u16],
    /// Where a frame was found last.
    hint: usize,
    /// From this frame on nobody has used any, and all are zero.
    unused: usize,
    free: u64,
    total: u64,
}

impl Frames {
    /// Bytes that the tables of `frames` frames take; whole pages.
    pub(super) const fn table_bytes(frames: u64) -> u64 {
        let blocks = frames.div_ceil(BLOCK as u64);
        (blocks * (WORDS as u64 * 8 + 2)).next_multiple_of(FRAME)
    }

    /// Nothing free. The tables are as long as [`Frames::table_bytes`] says, all zero; so is
    /// memory from the physical address `unused` on.
    pub(super) const fn new(
        bits: &'static mut [u64],
        blocks: &'static mut [u16],
        unused: u64,
    ) -> Self {
        Self {
            bits,
            blocks,
            hint: 0,
            unused: unused.div_ceil(FRAME) as usize,
            free: 0,
            total: 0,
        }
    }

    /// Words of bits and entries of blocks for so many frames.
    pub(super) const fn table_lengths(frames: u64) -> (usize, usize) {
        let blocks = frames.div_ceil(BLOCK as u64) as usize;
        (blocks * WORDS, blocks)
    }

    /// Bytes that are free.
    pub(super) const fn free_bytes(&self) -> u64 {
        self.free * FRAME
    }

    /// Whether several frames at once are better than one: when so many have been taken that
    /// this is no small program, and so many are left that nobody misses them.
    pub(super) const fn is_time_for_clusters(&self) -> bool {
        self.free > self.total / 2 && self.total - self.free > FIRST
    }

    /// Adds a range of memory; parts of frames are left out.
    pub(super) fn add(&mut self, start: u64, end: u64) {
        let first = start.div_ceil(FRAME);
        for frame in first..end / FRAME {
            self.put(frame as usize);
            self.total += 1;
        }
    }

    /// Takes memory.
    pub(super) fn take(&mut self, size: Size) -> Option<Taken> {
        let frame = match size {
            Size::Page => self.take_page(),
            Size::Cluster => self.take_cluster(),
            Size::Block => self.take_block(),
        }?;
        let is_zero = frame >= self.unused;
        let end = frame + (size.bytes() / FRAME) as usize;
        self.unused = self.unused.max(end);
        let start = frame as u64 * FRAME;
        Some(Taken { start, is_zero })
    }

    /// Gives one frame back.
    pub(super) fn give(&mut self, physical: u64) {
        self.put((physical / FRAME) as usize);
    }

    fn put(&mut self, frame: usize) {
        let (Some(word), Some(block)) = (
            self.bits.get_mut(frame / 64),
            self.blocks.get_mut(frame / BLOCK),
        ) else {
            return;
        };
        let bit = 1 << (frame % 64);
        if *word & bit == 0 {
            *word |= bit;
            *block += 1;
            self.free += 1;
        }
    }

    /// The next block whose free frames number `least..=most`.
    fn find(&self, least: u16, most: u16) -> Option<usize> {
        let fits = |&block: &usize| {
            let count = self.blocks.get(block).copied().unwrap_or(0);
            count >= least && count <= most
        };
        let count = self.blocks.len();
        (self.hint..count)
            .find(fits)
            .or_else(|| (0..self.hint.min(count)).find(fits))
    }

    fn take_page(&mut self) -> Option<usize> {
        let whole = BLOCK as u16;
        let block = self
            .find(1, whole - 1)
            .or_else(|| self.find(whole, whole))?;
        self.hint = block;
        let start = block * WORDS;
        let words = self.bits.get_mut(start..start + WORDS)?;
        let (index, word) = words.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros() as usize;
        *word &= *word - 1;
        self.taken(block, 1);
        Some((start + index) * 64 + bit)
    }

    fn take_cluster(&mut self) -> Option<usize> {
        let whole = BLOCK as u16;
        let block = self.find(16, whole)?;
        let place = self.cluster_of(block).map(|place| (block, place));
        let (block, (index, shift)) = place.or_else(|| {
            let block = self.find(whole, whole)?;
            Some((block, self.cluster_of(block)?))
        })?;
        self.hint = block;
        let word = self.bits.get_mut(block * WORDS + index)?;
        *word &= !(0xffff << shift);
        self.taken(block, 16);
        Some((block * WORDS + index) * 64 + shift)
    }

    /// Word and shift of sixteen free frames of a block.
    fn cluster_of(&self, block: usize) -> Option<(usize, usize)> {
        let words = self.bits.get(block * WORDS..(block + 1) * WORDS)?;
        words.iter().enumerate().find_map(|(index, word)| {
            let shift = [0, 16, 32, 48]
                .into_iter()
                .find(|shift| word >> shift & 0xffff == 0xffff)?;
            Some((index, shift))
        })
    }

    fn take_block(&mut self) -> Option<usize> {
        let whole = BLOCK as u16;
        let block = self.find(whole, whole)?;
        let start = block * WORDS;
        self.bits.get_mut(start..start + WORDS)?.fill(0);
        self.taken(block, whole);
        Some(block * BLOCK)
    }

    fn taken(&mut self, block: usize, count: u16) {
        if let Some(entry) = self.blocks.get_mut(block) {
            *entry -= count;
        }
        self.free -= u64::from(count);
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::collections::BTreeSet;
    use alloc::vec;

    use super::*;

    fn frames(count: u64) -> Frames {
        let (words, blocks) = Frames::table_lengths(count);
        let bits = Box::leak(vec![0; words].into_boxed_slice());
        let blocks = Box::leak(vec![0; blocks].into_boxed_slice());
        Frames::new(bits, blocks, u64::MAX)
    }

    fn take(frames: &mut Frames, size: Size) -> Option<u64> {
        frames.take(size).map(|taken| taken.start)
    }

    #[test]
    fn every_frame_is_handed_out_once() {
        let mut frames = frames(2048);
        frames.add(0x1800, 1500 * FRAME + 5);
        assert_eq!(frames.free_bytes(), 1498 * FRAME);
        let mut seen = BTreeSet::new();
        while let Some(physical) = take(&mut frames, Size::Page) {
            assert!((0x2000..1500 * FRAME).contains(&physical));
            assert!(seen.insert(physical));
        }
        assert_eq!(seen.len(), 1498);
        assert_eq!(frames.free_bytes(), 0);
    }

    #[test]
    fn large_pieces_are_aligned_and_do_not_overlap() {
        let mut frames = frames(2048);
        frames.add(0, 2048 * FRAME);
        let mut taken = BTreeSet::new();
        for size in [
            Size::Block,
            Size::Page,
            Size::Cluster,
            Size::Page,
            Size::Cluster,
            Size::Block,
        ] {
            let start = take(&mut frames, size).unwrap();
            assert!(start.is_multiple_of(size.bytes()), "{size:?}");
            for frame in (start..start + size.bytes()).step_by(FRAME as usize) {
                assert!(taken.insert(frame), "{size:?}");
            }
        }
        // The small ones came from one block, so that a third one is whole.
        assert!(take(&mut frames, Size::Block).is_some());
        assert_eq!(take(&mut frames, Size::Block), None);
    }

    #[test]
    fn what_is_given_back_is_had_again_and_giving_twice_changes_nothing() {
        let mut frames = frames(512);
        frames.add(0, 512 * FRAME);
        let block = take(&mut frames, Size::Block).unwrap();
        assert_eq!(take(&mut frames, Size::Page), None);
        for frame in 0..512 {
            frames.give(block + frame * FRAME);
            frames.give(block + frame * FRAME);
        }
        frames.give(1 << 40);
        assert_eq!(frames.free_bytes(), 512 * FRAME);
        assert_eq!(take(&mut frames, Size::Block), Some(block));
    }

    #[test]
    fn a_cluster_is_found_behind_a_block_that_has_none() {
        let mut frames = frames(1024);
        frames.add(0, 1024 * FRAME);
        let first = take(&mut frames, Size::Block).unwrap();
        for frame in (0..512).step_by(2) {
            frames.give(first + frame * FRAME);
        }
        let cluster = take(&mut frames, Size::Cluster).unwrap();
        assert!(cluster >= 512 * FRAME);
    }

    #[test]
    fn what_nobody_has_used_is_zero_once() {
        let (words, blocks) = Frames::table_lengths(2048);
        let bits = Box::leak(vec![0; words].into_boxed_slice());
        let blocks = Box::leak(vec![0; blocks].into_boxed_slice());
        let mut frames = Frames::new(bits, blocks, 3 * FRAME - 1);
        frames.add(2 * FRAME, 2048 * FRAME);
        let zero = |frames: &mut Frames, size| frames.take(size).map(|taken| taken.is_zero);
        // The second frame was used before; the next two were not.
        assert_eq!(zero(&mut frames, Size::Page), Some(false));
        assert_eq!(zero(&mut frames, Size::Page), Some(true));
        let used = frames.take(Size::Page).unwrap();
        assert!(used.is_zero);
        frames.give(used.start);
        assert_eq!(zero(&mut frames, Size::Page), Some(false));
        // What lies below something that is in use is not known to be zero any more.
        assert_eq!(zero(&mut frames, Size::Block), Some(true));
        assert_eq!(zero(&mut frames, Size::Page), Some(false));
    }
}
