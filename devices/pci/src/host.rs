//! The bus: slots with functions in them, and who answers at an address now.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::config::{BarRange, SIZE, WindowPlace};
use crate::{
    ConfigSpace, ConfigSpaceState, Description, Function, Interrupts, InterruptsState, MsixPlace,
    PciError, Width,
};

/// Slots of a bus.
const SLOTS: usize = 32;
/// Bytes of an entry of the MSI-X table.
const MSIX_ENTRY: u64 = 16;

/// The host bridge itself: Red Hat's generic one, for which no driver has special cases.
const BRIDGE: Description = Description {
    vendor: 0x1b36,
    device: 0x0008,
    revision: 0,
    class: 0x06_0000,
    subsystem_vendor: 0x1b36,
    subsystem: 0x0008,
    bars: Vec::new(),
    capabilities: Vec::new(),
    msix: None,
};

/// The bridge decodes nothing of its own.
struct Bridge;

impl Function for Bridge {
    fn describe(&self) -> Description {
        BRIDGE
    }

    fn interrupts(&self) -> Option<Arc<Interrupts>> {
        None
    }

    fn read(&self, _: u8, _: u64, _: &mut [u8]) {}

    fn write(&self, _: u8, _: u64, _: &[u8]) {}
}

/// The parts of a function that stay the same while it is plugged in.
struct Plugged {
    function: Arc<dyn Function>,
    interrupts: Option<Arc<Interrupts>>,
    msix: Option<MsixPlace>,
}

impl Plugged {
    fn read(&self, bar: u8, offset: u64, data: &mut [u8]) {
        match self.msix_part(bar, offset) {
            Some((interrupts, Part::Table(at))) => interrupts.read_table(at, data),
            Some((interrupts, Part::Pending(at))) => interrupts.read_pending(at, data),
            None => self.function.read(bar, offset, data),
        }
    }

    fn write(&self, bar: u8, offset: u64, data: &[u8]) {
        match self.msix_part(bar, offset) {
            Some((interrupts, Part::Table(at))) => interrupts.write_table(at, data),
            Some((_, Part::Pending(_))) => {}
            None => self.function.write(bar, offset, data),
        }
    }

    /// Where in the MSI-X structures an access begins, if it does.
    fn msix_part(&self, bar: u8, offset: u64) -> Option<(&Interrupts, Part)> {
        let place = self.msix.filter(|place| place.bar == bar)?;
        let interrupts = self.interrupts.as_deref()?;
        let vectors = u64::from(interrupts.vectors());
        let table = offset.checked_sub(u64::from(place.table));
        let pending = offset.checked_sub(u64::from(place.pending));
        let part = table
            .filter(|&at| at < vectors * MSIX_ENTRY)
            .map(Part::Table);
        let last = pending.filter(|&at| at < vectors.div_ceil(64) * 8);
        Some((interrupts, part.or(last.map(Part::Pending))?))
    }

    /// Tells the interrupts what the configuration space says.
    fn configure(&self, config: &ConfigSpace) {
        if let Some(interrupts) = &self.interrupts {
            interrupts.configure(config.msix_control(), config.wire_is_disabled());
        }
    }
}

enum Part {
    Table(u64),
    Pending(u64),
}

struct Slot {
    /// As after reset, for restoring.
    fresh: ConfigSpace,
    config: ConfigSpace,
    plugged: Arc<Plugged>,
}

struct Route {
    range: BarRange,
    plugged: Arc<Plugged>,
}

/// The state of a function on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionState {
    /// Its slot.
    pub slot: u8,
    /// Its configuration space.
    pub config: ConfigSpaceState,
    /// Its interrupts.
    pub interrupts: Option<InterruptsState>,
}

/// The state of a [`PciHost`], without that of the devices behind the functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciHostState {
    /// The functions, by slot.
    pub functions: Vec<FunctionState>,
}

/// Where firmware may put the memory of functions.
#[derive(Clone, Debug)]
pub struct Room {
    /// Below 4 GiB.
    pub low: RangeInclusive<u64>,
    /// For registers of 64 bits; may be empty.
    pub high: RangeInclusive<u64>,
}

/// One PCI bus with its host bridge in slot 0.
///
/// Lock order: slots, then routes, then what a function's [`Interrupts`] holds. Functions are
/// called with no lock held.
pub struct PciHost {
    slots: Mutex<Vec<Option<Slot>>>,
    routes: RwLock<Vec<Route>>,
}

impl fmt::Debug for PciHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

impl Default for PciHost {
    fn default() -> Self {
        Self::new()
    }
}

impl PciHost {
    /// A bus with nothing but its bridge.
    pub fn new() -> Self {
        let slots = (0..SLOTS).map(|_| None).collect();
        let host = Self {
            slots: Mutex::new(slots),
            routes: RwLock::default(),
        };
        host.plug(0, Arc::new(Bridge))
            .expect("the bridge fits into the first slot");
        host
    }

    /// Plugs a function in. Slot 0 is the bridge's.
    ///
    /// # Errors
    /// When the slot is not free, or no function can look as this one says.
    pub fn plug(&self, slot: u8, function: Arc<dyn Function>) -> Result<(), PciError> {
        let description = function.describe();
        let interrupts = function.interrupts();
        let vectors = interrupts
            .as_ref()
            .map_or(0, |interrupts| interrupts.vectors());
        let wire = interrupts
            .as_ref()
            .is_some_and(|interrupts| interrupts.has_wire());
        let config = ConfigSpace::new(&description, vectors, wire)?;
        let msix = description.msix;
        let plugged = Plugged {
            function,
            interrupts,
            msix,
        };
        let mut slots = self.slots();
        let place = slots
            .get_mut(usize::from(slot))
            .filter(|place| place.is_none());
        *place.ok_or(PciError::Slot(slot))? = Some(Slot {
            fresh: config.clone(),
            config,
            plugged: Arc::new(plugged),
        });
        Ok(())
    }

    /// Gives every function's memory a place and lets it decode, as firmware does: the largest
    /// first, registers of 64 bits above if there is room.
    ///
    /// # Errors
    /// When there is not enough room.
    pub fn assign(&self, room: &Room) -> Result<(), PciError> {
        let mut slots = self.slots();
        let mut bars: Vec<_> = (0..)
            .zip(slots.iter())
            .flat_map(|(at, slot)| bars_of(at, slot))
            .collect();
        bars.sort_by_key(|(_, bar)| std::cmp::Reverse(bar.size));
        let (mut low, mut high) = (Cursor::new(&room.low), Cursor::new(&room.high));
        for (slot, bar) in bars {
            let above = (bar.width == Width::Bits64)
                .then(|| high.take(bar.size))
                .flatten();
            let address = above
                .or_else(|| low.take(bar.size))
                .ok_or(PciError::Room(bar.size))?;
            if let Some(Some(slot)) = slots.get_mut(slot) {
                slot.config.assign(bar.index, address);
                slot.config.enable();
            }
        }
        self.reroute(&slots);
        Ok(())
    }

    /// The memory claimed at the moment: slot by slot.
    pub fn ranges(&self) -> Vec<BarRange> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.iter().map(|route| route.range).collect()
    }

    /// Reads configuration space. `function`: the bus, slot and function, as 16 bits of an
    /// identity; all but function 0 of bus 0's slots are not there and read as ones.
    pub fn read_config(&self, function: u16, offset: u16, data: &mut [u8]) {
        let mut slots = self.slots();
        let Some(slot) = slot_of(function, &mut slots) else {
            data.fill(0xff);
            return;
        };
        let wire = slot
            .plugged
            .interrupts
            .as_ref()
            .is_some_and(|i| i.wire_is_wanted());
        slot.config.show_wire(wire);
        let offset = usize::from(offset);
        let Some(window) = slot.config.window(offset) else {
            slot.config.read(offset, data);
            return;
        };
        let (plugged, body) = (Arc::clone(&slot.plugged), slot.config.body(window));
        drop(slots);
        data.fill(0);
        if let Some((at, length)) = in_window(window, offset, data.len()) {
            let part = data.get_mut(..length).unwrap_or_default();
            plugged.function.read_window(&body, at, part);
        }
    }

    /// Writes configuration space.
    pub fn write_config(&self, function: u16, offset: u16, data: &[u8]) {
        let mut slots = self.slots();
        let offset = usize::from(offset);
        let Some(slot) = slot_of(function, &mut slots).filter(|_| offset < SIZE) else {
            return;
        };
        if let Some(window) = slot.config.window(offset) {
            let (plugged, body) = (Arc::clone(&slot.plugged), slot.config.body(window));
            drop(slots);
            if let Some((at, length)) = in_window(window, offset, data.len()) {
                let part = data.get(..length).unwrap_or_default();
                plugged.function.write_window(&body, at, part);
            }
            return;
        }
        slot.config.write(offset, data);
        slot.plugged.configure(&slot.config);
        self.reroute(&slots);
    }

    /// Reads PCI memory. What nobody claims reads as ones, and so does an access that is not
    /// wholly inside of what one function claims.
    pub fn read_memory(&self, address: u64, data: &mut [u8]) {
        match self.route(address, data.len()) {
            Some((plugged, bar, offset)) => plugged.read(bar, offset, data),
            None => data.fill(0xff),
        }
    }

    /// Writes PCI memory.
    pub fn write_memory(&self, address: u64, data: &[u8]) {
        if let Some((plugged, bar, offset)) = self.route(address, data.len()) {
            plugged.write(bar, offset, data);
        }
    }

    /// A copy of the state of the bus and of its functions' configuration and interrupts.
    pub fn save(&self) -> PciHostState {
        let slots = self.slots();
        let states = (0..).zip(slots.iter()).filter_map(|(at, slot)| {
            let slot = slot.as_ref()?;
            let interrupts = slot.plugged.interrupts.as_ref().map(|i| i.save());
            let config = slot.config.save();
            Some(FunctionState {
                slot: at,
                config,
                interrupts,
            })
        });
        PciHostState {
            functions: states.collect(),
        }
    }

    /// Puts a bus with the same functions plugged in into the state of `state`.
    ///
    /// # Errors
    /// When this bus cannot be in that state; it is then partly restored and of no use.
    pub fn restore(&self, state: &PciHostState) -> Result<(), PciError> {
        let refused = PciError::State {
            part: "PCI bus",
            reason: "has other functions",
        };
        let mut slots = self.slots();
        let count = slots.iter().flatten().count();
        let mut seen: Vec<u8> = state
            .functions
            .iter()
            .map(|function| function.slot)
            .collect();
        seen.dedup();
        if seen.len() != count || state.functions.len() != count {
            return Err(refused);
        }
        for function in &state.functions {
            let slot = slots
                .get_mut(usize::from(function.slot))
                .and_then(Option::as_mut);
            let slot = slot.ok_or(refused)?;
            slot.config = slot.fresh.restore(&function.config)?;
            match (&slot.plugged.interrupts, &function.interrupts) {
                (Some(interrupts), Some(state)) => interrupts.restore(state)?,
                (None, None) => {}
                _ => return Err(refused),
            }
            slot.plugged.configure(&slot.config);
        }
        self.reroute(&slots);
        Ok(())
    }

    /// Who answers at `address`, with the register and the offset in its memory. Of two
    /// functions at one address the one in the lower slot does.
    fn route(&self, address: u64, length: usize) -> Option<(Arc<Plugged>, u8, u64)> {
        let last = address.checked_add((length as u64).checked_sub(1)?)?;
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let inside = |route: &&Route| route.range.first <= address && last <= route.range.last;
        let route = routes.iter().find(inside)?;
        let offset = address - route.range.first;
        Some((Arc::clone(&route.plugged), route.range.bar, offset))
    }

    fn reroute(&self, slots: &[Option<Slot>]) {
        let routes = slots.iter().flatten().flat_map(|slot| {
            let route = |range| Route {
                range,
                plugged: Arc::clone(&slot.plugged),
            };
            slot.config.ranges().into_iter().map(route)
        });
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = routes.collect();
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Option<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of a function's identity.
fn slot_of(function: u16, slots: &mut [Option<Slot>]) -> Option<&mut Slot> {
    let slot = usize::from(function >> 3);
    slots.get_mut(slot).filter(|_| function & 7 == 0)?.as_mut()
}

fn bars_of(at: usize, slot: &Option<Slot>) -> Vec<(usize, crate::Bar)> {
    let bars = slot.iter().flat_map(|slot| slot.config.bars());
    bars.map(|bar| (at, *bar)).collect()
}

/// Which part of an access at `offset` lies in a window, counted from its start.
fn in_window(window: WindowPlace, offset: usize, length: usize) -> Option<(usize, usize)> {
    let at = offset.checked_sub(window.start)?;
    let room = window.end.checked_sub(offset)?;
    Some((at, length.min(room)))
}

/// Addresses given out from the front.
struct Cursor {
    next: u64,
    last: u64,
}

impl Cursor {
    fn new(range: &RangeInclusive<u64>) -> Self {
        let next = if range.is_empty() {
            u64::MAX
        } else {
            *range.start()
        };
        Self {
            next,
            last: *range.end(),
        }
    }

    fn take(&mut self, size: u64) -> Option<u64> {
        let start = self.next.checked_next_multiple_of(size)?;
        let end = start.checked_add(size)?;
        if end - 1 > self.last {
            return None;
        }
        self.next = end;
        Some(start)
    }
}
