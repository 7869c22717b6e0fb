//! The console's answers, on a line that is a queue of bytes.

extern crate std;

use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use guest_abi::fuse::{
    AttrOut, CURRENT_POSITION, GetattrIn, InHeader, InitIn, InitOut, IoctlIn, IoctlOut, LOG, MAJOR,
    Opcode, OutHeader, PollIn, PollOut, ReadIn, STDERR, STDIN, STDOUT, SetattrIn, WriteIn,
    WriteOut, setattr,
};
use guest_hal::Nanos;
use guest_hal::memory::Extent;
use guest_hal::virtio::{Source, Target};
use guest_kernel::fs::fuse::{Transport, Waits};
use guest_kernel::{Errno, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::pieces;
use super::port::Port;
use super::service::Console;

#[derive(Clone, Debug, Default)]
struct Line {
    typed: Arc<Mutex<VecDeque<u8>>>,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Port for Line {
    fn read(&self, into: &mut [u8]) -> Result<usize> {
        let mut typed = self.typed.lock().unwrap();
        let count = into.len().min(typed.len());
        into.iter_mut()
            .zip(typed.drain(..count))
            .for_each(|(place, byte)| *place = byte);
        Ok(count)
    }

    fn has_input(&self) -> Result<bool> {
        Ok(!self.typed.lock().unwrap().is_empty())
    }

    fn write(&self, from: &[Source<'_>]) -> Result<()> {
        let mut bytes = std::vec![0; 1 << 16];
        let count = pieces::copy(from, 0, &mut bytes);
        self.sent.lock().unwrap().extend_from_slice(&bytes[..count]);
        Ok(())
    }

    fn look_again(&self) -> Option<Nanos> {
        None
    }

    fn window(&self) -> Option<(u16, u16)> {
        Some((50, 132))
    }
}

fn console() -> (Line, Console) {
    let line = Line::default();
    (line.clone(), Console::new(Box::new(line)))
}

fn head(opcode: u32, nodeid: u64) -> InHeader {
    InHeader {
        opcode,
        nodeid,
        unique: 6,
        ..InHeader::default()
    }
}

/// Asks, and checks the reply's frame; its body or error.
fn ask(
    console: &Console,
    opcode: Opcode,
    node: u64,
    pieces: &[&[u8]],
) -> core::result::Result<Vec<u8>, i32> {
    let header = head(opcode as u32, node);
    let mut send = std::vec![Source::Bytes(header.as_bytes())];
    send.extend(pieces.iter().map(|piece| Source::Bytes(piece)));
    let (mut first, mut second) = ([0; 16], [0xa5; 4096]);
    let mut receive = [Target::Bytes(&mut first), Target::Bytes(&mut second)];
    let length = console
        .exchange(6, &send, &mut receive, Waits::Input)
        .unwrap();
    let reply = OutHeader::read_from_bytes(&first).unwrap();
    assert_eq!((reply.unique, reply.len as usize), (6, length));
    match reply.error {
        0 => Ok(second[..length - 16].to_vec()),
        error => Err(error),
    }
}

fn value<T: FromBytes>(reply: core::result::Result<Vec<u8>, i32>) -> T {
    T::read_from_bytes(&reply.unwrap()).unwrap()
}

fn control<T: IntoBytes + Immutable>(
    console: &Console,
    cmd: u32,
    input: &T,
) -> core::result::Result<Vec<u8>, i32> {
    let input = input.as_bytes();
    let request = IoctlIn {
        cmd,
        in_size: input.len() as u32,
        out_size: 64,
        ..IoctlIn::default()
    };
    let reply = ask(console, Opcode::Ioctl, STDIN, &[request.as_bytes(), input])?;
    Ok(reply[size_of::<IoctlOut>()..].to_vec())
}

const fn error(errno: Errno) -> i32 {
    -(errno.0 as i32)
}

#[test]
fn a_session_begins_and_every_stream_is_one_terminal() {
    let (_, console) = console();
    let init = InitIn {
        major: MAJOR,
        ..InitIn::default()
    };
    let reply: InitOut = value(ask(&console, Opcode::Init, 0, &[init.as_bytes()]));
    assert_eq!((reply.major, reply.max_write), (MAJOR, 1 << 20));
    for node in [STDIN, STDOUT, STDERR, LOG] {
        let ask = ask(
            &console,
            Opcode::Getattr,
            node,
            &[GetattrIn::default().as_bytes()],
        );
        let reply: AttrOut = value(ask);
        assert_eq!((reply.attr.mode, reply.attr.rdev), (0o020_620, 0x501));
    }
    let other = ask(
        &console,
        Opcode::Getattr,
        1,
        &[GetattrIn::default().as_bytes()],
    );
    assert_eq!(other, Err(error(Errno::EBADF)));
}

#[test]
fn bytes_go_out_as_they_are_from_every_stream() {
    let (line, console) = console();
    for (node, text) in [(STDOUT, "one\r\n"), (STDERR, "two\n"), (LOG, "\0\x04")] {
        let request = WriteIn {
            offset: CURRENT_POSITION,
            size: text.len() as u32,
            ..WriteIn::default()
        };
        let pieces = [request.as_bytes(), text.as_bytes()];
        let reply: WriteOut = value(ask(&console, Opcode::Write, node, &pieces));
        assert_eq!(reply.size as usize, text.len());
    }
    assert_eq!(*line.sent.lock().unwrap(), b"one\r\ntwo\n\0\x04");
}

#[test]
fn a_write_that_says_more_than_it_brings_is_refused() {
    let (line, console) = console();
    let request = WriteIn {
        size: u32::MAX,
        ..WriteIn::default()
    };
    let reply = ask(
        &console,
        Opcode::Write,
        STDOUT,
        &[request.as_bytes(), b"short"],
    );
    assert_eq!(reply, Err(error(Errno::EINVAL)));
    assert!(line.sent.lock().unwrap().is_empty());
    let cut = &request.as_bytes()[..12];
    let reply = ask(&console, Opcode::Write, STDOUT, &[cut]);
    assert_eq!(reply, Err(error(Errno::EINVAL)));
}

#[test]
fn reading_gives_what_has_come_and_no_more_than_was_asked() {
    let (line, console) = console();
    line.typed.lock().unwrap().extend(b"abc\x04\r");
    let read = |size, flags| {
        let request = ReadIn {
            size,
            flags,
            ..ReadIn::default()
        };
        ask(&console, Opcode::Read, STDIN, &[request.as_bytes()])
    };
    assert_eq!(read(0, 0), Ok(b"".to_vec()));
    assert_eq!(read(3, 0), Ok(b"abc".to_vec()));
    assert_eq!(read(4096, 0o4000), Ok(b"\x04\r".to_vec()));
    assert_eq!(read(4096, 0o4000), Err(error(Errno::EAGAIN)));
    line.typed
        .lock()
        .unwrap()
        .extend(core::iter::repeat_n(b'x', 3000));
    assert_eq!(read(2500, 0).map(|bytes| bytes.len()), Ok(2500));
    assert_eq!(read(2500, 0).map(|bytes| bytes.len()), Ok(500));
}

#[test]
fn readiness_is_output_always_and_input_when_there_is_some() {
    let (line, console) = console();
    let poll = |events| {
        let request = PollIn {
            events,
            ..PollIn::default()
        };
        let reply: PollOut = value(ask(&console, Opcode::Poll, STDIN, &[request.as_bytes()]));
        reply.revents
    };
    assert_eq!(poll(5), 4);
    line.typed.lock().unwrap().push_back(b'x');
    assert_eq!(poll(5), 5);
    assert_eq!(poll(1), 1);
}

#[test]
fn modes_and_window_are_remembered() {
    let (line, console) = console();
    let mut modes = control(&console, 0x5401, &()).unwrap();
    assert_eq!(modes.len(), 36);
    modes[12] = 0xa;
    let modes: [u8; 36] = modes.try_into().unwrap();
    line.typed.lock().unwrap().push_back(b'x');
    assert_eq!(control(&console, 0x541b, &()), Ok(std::vec![1, 0, 0, 0]));
    assert_eq!(control(&console, 0x5402, &modes), Ok(std::vec![]));
    assert_eq!(control(&console, 0x5401, &()), Ok(modes.to_vec()));
    assert!(line.has_input().unwrap());
    assert_eq!(control(&console, 0x5404, &modes), Ok(std::vec![]));
    assert!(!line.has_input().unwrap(), "TCSETSF drops input");
    let window = |rows, columns| std::vec![rows, 0, columns, 0, 0, 0, 0, 0];
    assert_eq!(control(&console, 0x5413, &()), Ok(window(50, 132)));
    assert_eq!(
        control(&console, 0x5414, &[24u16, 80, 0, 0]),
        Ok(std::vec![])
    );
    assert_eq!(control(&console, 0x5413, &()), Ok(window(24, 80)));
}

#[test]
fn other_requests_are_refused_as_the_monitor_refuses_them() {
    let (_, console) = console();
    let size = SetattrIn {
        valid: setattr::SIZE,
        ..SetattrIn::default()
    };
    let short: [u8; 35] = [0; 35];
    let check = |reply, errno| assert_eq!(reply, Err(error(errno)));
    check(control(&console, 0x540f, &()), Errno::ENOTTY);
    check(control(&console, 0x5402, &short), Errno::EINVAL);
    check(control(&console, 0x5402, &[0u8; 65]), Errno::EINVAL);
    let refused = |opcode, body: &[u8]| ask(&console, opcode, STDOUT, &[body]);
    check(refused(Opcode::Setattr, size.as_bytes()), Errno::EINVAL);
    check(refused(Opcode::Lseek, &[0; 24]), Errno::ESPIPE);
    check(refused(Opcode::Lookup, b"x\0"), Errno::ENOENT);
    check(refused(Opcode::Readdir, &[]), Errno::ENOSYS);
}

#[test]
fn odd_frames_end_in_an_error() {
    let (_, console) = console();
    let header = head(99, STDIN);
    let bytes = header.as_bytes();
    let mut reply = [0; 16];
    let unknown = [Source::Bytes(bytes)];
    let length = console.exchange(6, &unknown, &mut [Target::Bytes(&mut reply)], Waits::Work);
    assert_eq!(length, Ok(16));
    let answer = OutHeader::read_from_bytes(&reply).unwrap();
    assert_eq!(answer.error, error(Errno::ENOSYS));
    let cut = [Source::Bytes(&bytes[..39])];
    let short = console.exchange(6, &cut, &mut [Target::Bytes(&mut reply)], Waits::Work);
    assert_eq!(short, Err(Errno::EIO));
    let mut small = [0; 15];
    let small = console.exchange(6, &unknown, &mut [Target::Bytes(&mut small)], Waits::Work);
    assert_eq!(small, Err(Errno::EIO));
    assert_eq!(console.exchange(6, &unknown, &mut [], Waits::Work), Ok(0));
}

#[test]
fn pieces_are_cut_and_filled_wherever_they_join() {
    guest_hal::initialize_hosted();
    let extent = Extent::allocate(4096, 4096, None).unwrap();
    extent.write(100, b"defg");
    let all = [
        Source::Bytes(b"abc"),
        Source::Bytes(b""),
        Source::Extent(&extent, 100, 4),
        Source::Bytes(b"hi"),
    ];
    for (start, wanted, expected) in [
        (0, 9, Some("abcdefghi")),
        (2, 3, Some("cde")),
        (3, 4, Some("defg")),
        (8, 1, Some("i")),
        (9, 0, Some("")),
        (9, 1, None),
        (u64::MAX, 1, None),
    ] {
        let found = pieces::range(&all, start, wanted).map(|pieces| {
            let mut bytes = std::vec![0; wanted as usize];
            assert_eq!(pieces::copy(&pieces, 0, &mut bytes), bytes.len());
            bytes
        });
        assert_eq!(found.as_deref(), expected.map(str::as_bytes));
    }
    let (mut first, mut last) = ([0; 3], [0; 2]);
    let mut room = [
        Target::Bytes(&mut first),
        Target::Extent(&extent, 200, 4),
        Target::Bytes(&mut last),
    ];
    assert!(pieces::fill(&mut room, 1, b"12345678"));
    assert!(!pieces::fill(&mut room, 8, b"9!"));
    let mut middle = [0; 4];
    extent.read(200, &mut middle);
    assert_eq!((&first, &middle, &last), (b"\x0012", b"3456", b"79"));
}
