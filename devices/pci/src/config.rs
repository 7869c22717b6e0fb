//! The configuration space of a function as a pure chip (PCI 3.0, chapter 6).
//!
//! 256 bytes, each with a mask of the bits that a guest may write. Base address registers
//! need nothing more: that the low bits cannot be written is how a guest sizes them. What has
//! effects elsewhere (decoding, MSI-X control, the interrupt disable bit) is read out by the
//! owner after a write.

use crate::{Bar, Capability, Description, PciError, Width, copy};

/// Bytes of a conventional configuration space.
pub(crate) const SIZE: usize = 256;

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const BARS: usize = 0x10;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;
/// Where the first capability lies.
const FIRST_CAPABILITY: usize = 0x40;
/// Base address registers of a type 0 header.
const BAR_COUNT: usize = 6;

const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;
const COMMAND_PARITY: u16 = 1 << 6;
const COMMAND_SERR: u16 = 1 << 8;
const COMMAND_NO_WIRE: u16 = 1 << 10;
const COMMAND_WRITABLE: u16 =
    COMMAND_MEMORY | COMMAND_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_NO_WIRE;
const STATUS_WIRE: u8 = 1 << 3;
const STATUS_CAPABILITIES: u8 = 1 << 4;

const BAR_64: u32 = 0b100;
const BAR_PREFETCHABLE: u32 = 0b1000;
const BAR_FLAGS: u64 = 0xf;

/// Identity of the MSI-X capability.
const MSIX: u8 = 0x11;
/// In the MSI-X capability's body: message control.
const MSIX_ENABLE: u8 = 1 << 7;
const MSIX_MASK: u8 = 1 << 6;

/// Memory that a function claims at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarRange {
    /// The base address register.
    pub bar: u8,
    /// The first address.
    pub first: u64,
    /// The last address.
    pub last: u64,
}

/// The state of a [`ConfigSpace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSpaceState {
    /// All 256 bytes.
    pub registers: Vec<u8>,
}

/// A body of a capability that the function has a part in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowPlace {
    /// Where the body starts.
    pub(crate) body: usize,
    /// Where the window does.
    pub(crate) start: usize,
    /// Where both end.
    pub(crate) end: usize,
}

/// A configuration space.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    registers: [u8; SIZE],
    writable: [u8; SIZE],
    bars: Vec<Bar>,
    windows: Vec<WindowPlace>,
    /// Where MSI-X message control is.
    msix: Option<usize>,
}

impl ConfigSpace {
    /// As after reset. `vectors`: how many MSI-X vectors there are; `wire`: whether there is
    /// an interrupt wire.
    ///
    /// # Errors
    /// When no function can look like this.
    pub fn new(description: &Description, vectors: u16, wire: bool) -> Result<Self, PciError> {
        let mut space = Self {
            registers: [0; SIZE],
            writable: [0; SIZE],
            bars: description.bars.clone(),
            windows: Vec::new(),
            msix: None,
        };
        space.lay_out_header(description, wire);
        for bar in &description.bars {
            space.lay_out_bar(bar)?;
        }
        let mut capabilities = description.capabilities.clone();
        if description.msix.is_some() {
            capabilities.insert(0, msix_capability(description, vectors)?);
        }
        space.lay_out_capabilities(&capabilities)?;
        space.msix = description.msix.map(|_| FIRST_CAPABILITY + 2);
        Ok(space)
    }

    fn lay_out_header(&mut self, description: &Description, wire: bool) {
        self.place(0, &description.vendor.to_le_bytes());
        self.place(2, &description.device.to_le_bytes());
        let [interface, subclass, class, _] = description.class.to_le_bytes();
        self.place(
            REVISION,
            &[description.revision, interface, subclass, class],
        );
        self.place(SUBSYSTEM, &description.subsystem_vendor.to_le_bytes());
        self.place(SUBSYSTEM + 2, &description.subsystem.to_le_bytes());
        self.place(INTERRUPT_PIN, &[u8::from(wire)]);
        self.allow(COMMAND, &COMMAND_WRITABLE.to_le_bytes());
        // The cache line's size and the interrupt line are the guest's notes.
        self.allow(0x0c, &[0xff]);
        self.allow(INTERRUPT_LINE, &[0xff]);
    }

    fn lay_out_bar(&mut self, bar: &Bar) -> Result<(), PciError> {
        let registers = if bar.width == Width::Bits64 { 2 } else { 1 };
        let index = usize::from(bar.index);
        let sized = bar.size.is_power_of_two() && bar.size >= 16;
        let fits =
            index + registers <= BAR_COUNT && (bar.width == Width::Bits64 || bar.size <= 1 << 31);
        if !sized || !fits {
            return Err(PciError::Description(
                "a base address register of no size or place",
            ));
        }
        let at = BARS + 4 * index;
        let mask = (!(bar.size - 1)).to_le_bytes();
        let taken = self
            .writable
            .get(at..at + 4 * registers)
            .unwrap_or_default();
        if taken.iter().any(|&byte| byte != 0) || self.registers.get(at) != Some(&0) {
            return Err(PciError::Description("base address registers overlap"));
        }
        self.allow(at, mask.get(..4 * registers).unwrap_or_default());
        let flags = if bar.width == Width::Bits64 {
            BAR_64
        } else {
            0
        } | if bar.prefetchable {
            BAR_PREFETCHABLE
        } else {
            0
        };
        self.place(at, &flags.to_le_bytes());
        Ok(())
    }

    fn lay_out_capabilities(&mut self, capabilities: &[Capability]) -> Result<(), PciError> {
        let mut at = FIRST_CAPABILITY;
        let mut link = CAPABILITIES;
        for capability in capabilities {
            let end = at + 2 + capability.body.len();
            if end > SIZE || capability.writable.len() > capability.body.len() {
                return Err(PciError::Description("capabilities are too long"));
            }
            self.place(link, &[at as u8]);
            self.place(STATUS, &[STATUS_CAPABILITIES]);
            self.place(at, &[capability.id, 0]);
            self.place(at + 2, &capability.body);
            self.allow(at + 2, &capability.writable);
            if let Some(window) = capability.window {
                let (body, start) = (at + 2, at + 2 + window);
                self.windows.push(WindowPlace { body, start, end });
            }
            link = at + 1;
            at = end.next_multiple_of(4);
        }
        Ok(())
    }

    fn place(&mut self, at: usize, bytes: &[u8]) {
        for (to, byte) in self.registers.iter_mut().skip(at).zip(bytes) {
            *to = *byte;
        }
    }

    fn allow(&mut self, at: usize, mask: &[u8]) {
        for (to, byte) in self.writable.iter_mut().skip(at).zip(mask) {
            *to = *byte;
        }
    }

    /// Reads; what lies past the end is zero.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        data.fill(0);
        copy(&self.registers, offset, data);
    }

    /// Writes the bits that can be written.
    pub fn write(&mut self, offset: usize, data: &[u8]) {
        let registers = self.registers.iter_mut().zip(&self.writable);
        for ((register, mask), byte) in registers.skip(offset).zip(data) {
            *register = *register & !mask | byte & mask;
        }
    }

    /// Shows in the status register whether the wire is high (PCI 3.0, 6.2.3).
    pub fn show_wire(&mut self, level: bool) {
        let status = self.byte(STATUS) & !STATUS_WIRE;
        self.place(STATUS, &[status | if level { STATUS_WIRE } else { 0 }]);
    }

    /// The memory claimed at the moment, none while decoding is off.
    pub fn ranges(&self) -> Vec<BarRange> {
        let decodes = self.command() & COMMAND_MEMORY != 0;
        let bars = self.bars.iter().filter(|_| decodes);
        bars.map(|bar| self.range(bar)).collect()
    }

    /// The memory of each base address register.
    pub fn bars(&self) -> &[Bar] {
        &self.bars
    }

    /// Puts the memory of base address register `index` at `address`, as firmware does.
    pub fn assign(&mut self, index: u8, address: u64) {
        let at = BARS + 4 * usize::from(index);
        let wide = self
            .bars
            .iter()
            .any(|bar| bar.index == index && bar.width == Width::Bits64);
        let bytes = address.to_le_bytes();
        self.write(
            at,
            bytes.get(..if wide { 8 } else { 4 }).unwrap_or_default(),
        );
    }

    /// Turns decoding of memory and bus mastering on, as firmware does.
    pub fn enable(&mut self) {
        self.write(COMMAND, &(COMMAND_MEMORY | COMMAND_MASTER).to_le_bytes());
    }

    /// Whether the guest forbids use of the wire.
    pub fn wire_is_disabled(&self) -> bool {
        self.command() & COMMAND_NO_WIRE != 0
    }

    /// MSI-X message control: enabled, and all vectors masked.
    pub fn msix_control(&self) -> (bool, bool) {
        let high = self.msix.map_or(0, |at| self.byte(at + 1));
        (high & MSIX_ENABLE != 0, high & MSIX_MASK != 0)
    }

    /// The window of a capability in which an access of one byte or more at `offset` begins.
    pub(crate) fn window(&self, offset: usize) -> Option<WindowPlace> {
        let inside = |place: &&WindowPlace| (place.start..place.end).contains(&offset);
        self.windows.iter().find(inside).copied()
    }

    /// The body of a capability.
    pub(crate) fn body(&self, place: WindowPlace) -> Vec<u8> {
        let body = self.registers.get(place.body..place.end);
        body.unwrap_or_default().to_vec()
    }

    /// A copy of the whole state.
    pub fn save(&self) -> ConfigSpaceState {
        ConfigSpaceState {
            registers: self.registers.to_vec(),
        }
    }

    /// This space, as it is after reset, in the state of `state`.
    ///
    /// # Errors
    /// When the state is of a function that looks different.
    pub fn restore(&self, state: &ConfigSpaceState) -> Result<Self, PciError> {
        let refused = PciError::State {
            part: "PCI configuration space",
            reason: "is of another function",
        };
        let registers: [u8; SIZE] = state.registers.as_slice().try_into().map_err(|_| refused)?;
        let mut restored = self.clone();
        restored.write(0, &registers);
        let wire = registers
            .get(STATUS)
            .is_some_and(|status| status & STATUS_WIRE != 0);
        restored.show_wire(wire);
        let same = restored.registers == registers;
        if same { Ok(restored) } else { Err(refused) }
    }

    fn byte(&self, at: usize) -> u8 {
        self.registers.get(at).copied().unwrap_or(0)
    }

    fn command(&self) -> u16 {
        u16::from_le_bytes([self.byte(COMMAND), self.byte(COMMAND + 1)])
    }

    fn range(&self, bar: &Bar) -> BarRange {
        let mut bytes = [0; 8];
        let length = if bar.width == Width::Bits64 { 8 } else { 4 };
        let at = BARS + 4 * usize::from(bar.index);
        copy(
            &self.registers,
            at,
            bytes.get_mut(..length).unwrap_or_default(),
        );
        let first = u64::from_le_bytes(bytes) & !BAR_FLAGS;
        BarRange {
            bar: bar.index,
            first,
            // The low bits are zero: this cannot overflow.
            last: first | (bar.size - 1),
        }
    }
}

/// The capability of PCI 3.0, 6.8.2.
fn msix_capability(description: &Description, vectors: u16) -> Result<Capability, PciError> {
    let refused = PciError::Description("MSI-X structures that do not fit");
    let place = description.msix.ok_or(refused)?;
    let bar = description.bars.iter().find(|bar| bar.index == place.bar);
    let size = bar.ok_or(refused)?.size;
    let table_end = u64::from(place.table) + 16 * u64::from(vectors);
    let pending_end = u64::from(place.pending) + 8 * u64::from(vectors).div_ceil(64);
    let overlap = u64::from(place.table) < pending_end && u64::from(place.pending) < table_end;
    let aligned = place.table.is_multiple_of(8) && place.pending.is_multiple_of(8);
    if !(1..=2048).contains(&vectors) || !aligned || overlap || table_end.max(pending_end) > size {
        return Err(refused);
    }
    let mut body = (vectors - 1).to_le_bytes().to_vec();
    body.extend((place.table | u32::from(place.bar)).to_le_bytes());
    body.extend((place.pending | u32::from(place.bar)).to_le_bytes());
    Ok(Capability {
        id: MSIX,
        body,
        writable: vec![0, MSIX_ENABLE | MSIX_MASK],
        window: None,
    })
}
