//! How the arguments of each call are shown, where their types alone do not say.

use super::sets::{self, Names};

/// How an argument is shown.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A signed number of 32 bits: a descriptor, a process.
    Int,
    /// A signed number of 64 bits.
    Long,
    /// An unsigned number of 64 bits.
    Size,
    /// In hexadecimal, zero as such.
    Hex,
    /// An address or `NULL`.
    Address,
    /// A descriptor or `AT_FDCWD`.
    Directory,
    /// A file mode.
    Mode,
    /// A file mode, shown if the argument before it creates a file.
    ModeIfCreated,
    /// Flags of `open`.
    Open,
    /// Flags of `statx`.
    StatxFlags,
    /// Flags by name.
    Set(Names),
    /// One of several.
    One(Names),
    /// A signal.
    Signal,
    /// What the address holds when the call is made.
    In(Value),
    /// What it holds when the call has returned.
    Out(Value),
    /// Depends on the command before it (`fcntl`).
    OfControl,
    /// Depends on the operation of a futex.
    OfFutex,
}

/// What an address holds.
#[derive(Clone, Copy)]
pub(super) enum Value {
    /// A string that ends in a zero byte.
    Path,
    /// Bytes, as many as another argument says.
    Bytes(usize),
    /// Bytes, as many as the call returned.
    Returned,
    /// The same, none of them text.
    Random,
    /// Directory entries, as many bytes as the call returned.
    Entries,
    /// `struct stat`.
    Stat,
    /// `struct statx`.
    Statx,
    /// Two descriptors.
    Pipe,
    /// `struct timespec`.
    Time,
    /// Two of them.
    Times,
    /// `struct timeval`.
    TimeOfDay,
    /// `struct itimerval`.
    Interval,
    /// `struct rlimit`.
    Limit,
    /// The kernel's `struct sigaction`.
    Action,
    /// A signal set.
    Signals,
    /// `stack_t`.
    Stack,
    /// `struct iovec`s, as many as another argument says; their bytes are to be written.
    Vectors(usize),
    /// `struct pollfd`s, as many as another argument says.
    Polls(usize),
    /// Strings, up to a null pointer.
    Strings,
    /// How many strings there are.
    Environment,
    /// `struct utsname`.
    System,
    /// A path without a zero byte, as long as the call returned.
    Link,
}

use Shape::{
    Address, Directory, Hex, In, Int, Long, Mode, ModeIfCreated, OfControl, OfFutex, One, Open,
    Out, Set, Signal, Size, StatxFlags,
};
use Value::{
    Action, Bytes, Entries, Environment, Interval, Limit, Link, Path, Pipe, Polls, Random,
    Returned, Signals, Stack, Stat, Statx, Strings, System, Time, TimeOfDay, Times, Vectors,
};

const PATH: Shape = In(Path);

/// The arguments of a call; `None`: as their types say.
pub(super) fn of(number: u64) -> Option<&'static [Shape]> {
    files(number)
        .or_else(|| paths(number))
        .or_else(|| memory(number))
        .or_else(|| others(number))
}

fn files(number: u64) -> Option<&'static [Shape]> {
    Some(match number {
        0 => &[Int, Out(Returned), Size],
        1 => &[Int, In(Bytes(2)), Size],
        5 => &[Int, Out(Stat)],
        7 => &[In(Polls(1)), Size, Int],
        41 => &[One(sets::DOMAIN), Set(sets::SOCKET), Int],
        53 => &[One(sets::DOMAIN), Set(sets::SOCKET), Int, Out(Pipe)],
        8 => &[Int, Long, One(sets::WHENCE)],
        16 => &[Int, One(sets::TERMINAL), Address],
        17 => &[Int, Out(Returned), Size, Long],
        18 => &[Int, In(Bytes(2)), Size, Long],
        20 => &[Int, In(Vectors(2)), Size],
        22 => &[Out(Pipe)],
        72 => &[Int, One(sets::CONTROL), OfControl],
        73 => &[Int, Set(sets::LOCK)],
        217 => &[Int, Out(Entries), Size],
        221 => &[Int, Long, Long, One(sets::FILE_ADVICE)],
        271 => &[In(Polls(1)), Size, In(Time), In(Signals), Size],
        285 => &[Int, Set(sets::FALLOCATE), Long, Long],
        290 => &[Size, Set(sets::EVENT)],
        291 => &[Set(sets::EPOLL)],
        233 => &[Int, One(sets::EPOLL_CONTROL), Int, Address],
        283 => &[One(sets::CLOCK), Set(sets::TIMER_DESCRIPTOR)],
        292 => &[Int, Int, Set(sets::DUP)],
        293 => &[Out(Pipe), Set(sets::PIPE)],
        319 => &[PATH, Set(sets::MEMORY_FILE)],
        _ => return None,
    })
}

fn paths(number: u64) -> Option<&'static [Shape]> {
    Some(match number {
        2 => &[PATH, Open, ModeIfCreated],
        4 | 6 => &[PATH, Out(Stat)],
        21 => &[PATH, Set(sets::ACCESS)],
        59 => &[PATH, In(Strings), In(Environment)],
        79 => &[Out(Path), Size],
        89 => &[PATH, Out(Link), Size],
        188 | 189 => &[PATH, PATH, In(Bytes(3)), Size, Set(sets::EXTENDED)],
        190 => &[Int, PATH, In(Bytes(3)), Size, Set(sets::EXTENDED)],
        191 | 192 => &[PATH, PATH, Out(Returned), Size],
        193 => &[Int, PATH, Out(Returned), Size],
        194 | 195 => &[PATH, Out(Returned), Size],
        196 => &[Int, Out(Returned), Size],
        197 | 198 => &[PATH, PATH],
        199 => &[Int, PATH],
        257 => &[Directory, PATH, Open, ModeIfCreated],
        260 => &[Directory, PATH, Int, Int, Set(sets::AT)],
        262 => &[Directory, PATH, Out(Stat), Set(sets::AT)],
        263 => &[Directory, PATH, Set(sets::REMOVE)],
        265 => &[Directory, PATH, Directory, PATH, Set(sets::AT)],
        267 => &[Directory, PATH, Out(Link), Size],
        269 => &[Directory, PATH, Set(sets::ACCESS)],
        280 => &[Directory, PATH, In(Times), Set(sets::AT)],
        316 => &[Directory, PATH, Directory, PATH, Set(sets::RENAME)],
        332 => &[Directory, PATH, StatxFlags, Set(sets::STATX), Out(Statx)],
        _ => return None,
    })
}

fn memory(number: u64) -> Option<&'static [Shape]> {
    Some(match number {
        9 => &[
            Address,
            Size,
            Set(sets::PROTECTION),
            Set(sets::MAP),
            Int,
            Hex,
        ],
        10 => &[Address, Size, Set(sets::PROTECTION)],
        25 => &[Address, Size, Size, Set(sets::REMAP)],
        26 => &[Address, Size, Set(sets::SYNC)],
        28 => &[Address, Size, One(sets::ADVICE)],
        _ => return None,
    })
}

fn others(number: u64) -> Option<&'static [Shape]> {
    Some(match number {
        13 => &[Signal, In(Action), Out(Action), Size],
        14 => &[One(sets::MASK), In(Signals), Out(Signals), Size],
        35 => &[In(Time), Address],
        36 => &[One(sets::INTERVAL), Out(Interval)],
        38 => &[One(sets::INTERVAL), In(Interval), Out(Interval)],
        62 => &[Int, Signal],
        63 => &[Out(System)],
        95 => &[Mode],
        96 => &[Out(TimeOfDay), Address],
        97 => &[One(sets::LIMIT), Out(Limit)],
        98 => &[One(sets::USAGE), Address],
        127 => &[Out(Signals), Size],
        128 => &[In(Signals), Address, In(Time), Size],
        130 => &[In(Signals), Size],
        131 => &[In(Stack), Out(Stack)],
        158 => &[One(sets::BASE), Hex],
        160 => &[One(sets::LIMIT), In(Limit)],
        200 => &[Int, Signal],
        202 => &[
            Address,
            One(sets::FUTEX),
            OfFutex,
            OfFutex,
            OfFutex,
            OfFutex,
        ],
        227 => &[One(sets::CLOCK), In(Time)],
        228 | 229 => &[One(sets::CLOCK), Out(Time)],
        230 => &[One(sets::CLOCK), Set(sets::TIMER), In(Time), Address],
        234 => &[Int, Int, Signal],
        302 => &[Int, One(sets::LIMIT), In(Limit), Out(Limit)],
        318 => &[Out(Random), Size, Set(sets::RANDOM)],
        334 => &[Address, Hex, Hex, Hex],
        _ => return None,
    })
}
