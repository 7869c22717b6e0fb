//! Every operation of the console service, on pipes, files, sockets and a pseudo terminal.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::time::Duration;

use backend_console::{ConsoleService, Streams};
use backend_fs::testing::Client;
use guest_abi::fuse::*;
use zerocopy::IntoBytes;

const EINTR: i32 = 4;
const EBADF: i32 = 9;
const EAGAIN: i32 = 11;
const EINVAL: i32 = 22;
const ENOTTY: i32 = 25;
const ENOSPC: i32 = 28;
const ESPIPE: i32 = 29;
const EPIPE: i32 = 32;

type Guest = Client<ConsoleService>;

fn guest(stdin: impl Into<OwnedFd>, stdout: impl Into<OwnedFd>) -> Guest {
    let streams = Streams {
        stdin: Some(stdin.into()),
        stdout: Some(stdout.into()),
        ..Streams::default()
    };
    Client::new(ConsoleService::new(streams).unwrap())
}

fn null() -> File {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap()
}

fn file(content: &str) -> (tempfile::TempDir, File) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), content).unwrap();
    let file = File::options()
        .read(true)
        .write(true)
        .open(dir.path().join("f"))
        .unwrap();
    (dir, file)
}

fn put(guest: &mut Guest, data: &[u8]) -> Result<u32, i32> {
    guest.write(STDOUT, 0, CURRENT_POSITION, data)
}

fn get(guest: &mut Guest, size: u32) -> Result<Vec<u8>, i32> {
    guest.read(STDIN, 0, CURRENT_POSITION, size)
}

#[test]
fn pipes_carry_bytes_both_ways() {
    let (stdin, mut feed) = pipe().unwrap();
    let (mut drain, stdout) = pipe().unwrap();
    let mut guest = guest(stdin, stdout);
    feed.write_all(b"in\0put").unwrap();
    assert_eq!(get(&mut guest, 100).unwrap(), b"in\0put");
    drop(feed);
    assert_eq!(get(&mut guest, 100).unwrap(), b"");
    assert_eq!(put(&mut guest, b"out"), Ok(3));
    let mut seen = [0; 3];
    drain.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"out");
    drop(drain);
    assert_eq!(put(&mut guest, b"x"), Err(EPIPE));
    let seek = LseekIn::default();
    assert_eq!(
        guest.call(Opcode::Lseek, STDIN, &[seek.as_bytes()], 8),
        Err(ESPIPE)
    );
    assert_eq!(
        guest.write(STDERR, 0, CURRENT_POSITION, b"x"),
        Err(EBADF),
        "closed"
    );
    assert_eq!(guest.write(9, 0, CURRENT_POSITION, b"x"), Err(EBADF));
}

#[test]
fn the_shared_description_stays_blocking() {
    let (stdin, _feed) = pipe().unwrap();
    let ours = stdin.try_clone().unwrap();
    let _guest = guest(stdin, null());
    let flags = rustix::fs::fcntl_getfl(&ours).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
}

#[test]
fn a_long_write_waits_for_its_reader() {
    let (mut drain, stdout) = pipe().unwrap();
    let mut guest = guest(null(), stdout);
    let data: Vec<u8> = (0..1_000_000).map(|i| i as u8).collect();
    let reader = std::thread::spawn(move || {
        let mut seen = vec![0; 1_000_000];
        drain.read_exact(&mut seen).map(|()| seen).unwrap()
    });
    assert_eq!(put(&mut guest, &data), Ok(1_000_000));
    assert_eq!(reader.join().unwrap(), data);
}

#[test]
fn a_blocked_read_is_interrupted_early_or_late() {
    let (stdin, _feed) = pipe().unwrap();
    let mut guest = guest(stdin, null());
    let interrupter = guest.service.interrupter();
    interrupter.interrupt(guest.next_unique());
    assert_eq!(get(&mut guest, 1), Err(EINTR), "before it was even served");
    for _ in 0..200 {
        let (unique, interrupter) = (guest.next_unique(), interrupter.clone());
        let other = std::thread::spawn(move || interrupter.interrupt(unique));
        assert_eq!(get(&mut guest, 1), Err(EINTR));
        other.join().unwrap();
    }
    let (unique, late) = (guest.next_unique(), interrupter.clone());
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        late.interrupt(unique - 1); // one that has ended: nothing happens
        std::thread::sleep(Duration::from_millis(20));
        late.interrupt(unique);
    });
    assert_eq!(get(&mut guest, 1), Err(EINTR));
    other.join().unwrap();
}

#[test]
fn the_interrupt_request_reaches_a_clone() {
    let (stdin, mut feed) = pipe().unwrap();
    let mut reader = guest(stdin, null());
    let mut other = Client::new(reader.service.try_clone().unwrap());
    let unique = reader.next_unique();
    let thread = std::thread::spawn(move || (get(&mut reader, 1), reader));
    std::thread::sleep(Duration::from_millis(20));
    other
        .tell(Opcode::Interrupt, 0, &InterruptIn { unique })
        .unwrap();
    let (outcome, mut reader) = thread.join().unwrap();
    assert_eq!(outcome, Err(EINTR));
    feed.write_all(b"x").unwrap();
    assert_eq!(get(&mut reader, 1).unwrap(), b"x");
}

#[test]
fn an_interrupted_write_keeps_its_partial_count() {
    let (_drain, stdout) = pipe().unwrap();
    let mut guest = guest(null(), stdout);
    let (unique, interrupter) = (guest.next_unique(), guest.service.interrupter());
    interrupter.interrupt(unique);
    assert_eq!(
        put(&mut guest, &[0; 100_000]),
        Ok(65_536),
        "what an empty pipe takes"
    );
    interrupter.shut_down();
    assert_eq!(put(&mut guest, &[0; 10]), Err(EINTR));
}

#[test]
fn sockets_cannot_be_reopened_and_still_do_not_block() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut guest = guest(ours.try_clone().unwrap(), ours);
    let (unique, interrupter) = (guest.next_unique(), guest.service.interrupter());
    interrupter.interrupt(unique);
    assert_eq!(get(&mut guest, 1), Err(EINTR));
    let mut peer = theirs.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut seen = vec![0; 1_000_000];
        peer.read_exact(&mut seen).unwrap();
    });
    assert_eq!(put(&mut guest, &[7; 1_000_000]), Ok(1_000_000));
    reader.join().unwrap();
    (&theirs).write_all(b"hello").unwrap();
    assert_eq!(get(&mut guest, 3).unwrap(), b"hel");
}

#[test]
fn nonblocking_files_answer_eagain() {
    let (stdin, _feed) = pipe().unwrap();
    let mut guest = guest(stdin, null());
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    let read = ReadIn {
        offset: CURRENT_POSITION,
        size: 1,
        flags,
        ..ReadIn::default()
    };
    assert_eq!(
        guest.call(Opcode::Read, STDIN, &[read.as_bytes()], 1),
        Err(EAGAIN)
    );
}

#[test]
fn redirected_files_behave_as_files() {
    let (dir, stdin) = file("0123456789");
    let (out, mut stdout) = file("");
    stdout.write_all(b"before ").unwrap();
    let mut guest = guest(stdin, stdout.try_clone().unwrap());
    assert_eq!(get(&mut guest, 3).unwrap(), b"012");
    assert_eq!(guest.read(STDIN, 0, 7, 9).unwrap(), b"789");
    assert_eq!(
        get(&mut guest, 2).unwrap(),
        b"34",
        "the position has not moved"
    );
    let seek = LseekIn {
        offset: (-1_i64).cast_unsigned(),
        whence: 2,
        ..LseekIn::default()
    };
    let at: LseekOut = guest.ask(Opcode::Lseek, STDIN, &[seek.as_bytes()]).unwrap();
    assert_eq!(at.offset, 9);
    put(&mut guest, b"guest ").unwrap();
    stdout.write_all(b"after").unwrap();
    assert_eq!(
        std::fs::read(out.path().join("f")).unwrap(),
        b"before guest after"
    );
    let size = SetattrIn {
        valid: setattr::SIZE,
        size: 6,
        ..SetattrIn::default()
    };
    let attr: AttrOut = guest
        .ask(Opcode::Setattr, STDOUT, &[size.as_bytes()])
        .unwrap();
    assert_eq!(attr.attr.size, 6);
    let allocate = FallocateIn {
        length: 100,
        ..FallocateIn::default()
    };
    guest.tell(Opcode::Fallocate, STDOUT, &allocate).unwrap();
    guest
        .tell(Opcode::Fsync, STDOUT, &FsyncIn::default())
        .unwrap();
    let body = GetattrIn::default();
    let attr: AttrOut = guest
        .ask(Opcode::Getattr, STDOUT, &[body.as_bytes()])
        .unwrap();
    assert_eq!((attr.attr.size, attr.attr.mode >> 12), (100, 8));
    let mode = SetattrIn {
        valid: setattr::MODE,
        ..SetattrIn::default()
    };
    assert_eq!(
        guest.call(Opcode::Setattr, STDOUT, &[mode.as_bytes()], 104),
        Err(1)
    );
    drop(dir);
}

#[test]
fn errors_of_the_host_pass_through() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut guest = guest(null(), full);
    assert_eq!(put(&mut guest, b"x"), Err(ENOSPC));
    assert_eq!(guest.write(STDIN, 0, 1 << 63, b"x"), Err(EINVAL));
    let write = WriteIn {
        size: 10,
        offset: CURRENT_POSITION,
        ..WriteIn::default()
    };
    assert_eq!(
        guest.call(Opcode::Write, STDIN, &[write.as_bytes(), b"x"], 8),
        Err(EINVAL)
    );
    let read = ReadIn {
        size: 10,
        offset: CURRENT_POSITION,
        ..ReadIn::default()
    };
    assert_eq!(
        guest.call(Opcode::Read, STDIN, &[read.as_bytes()], 9),
        Err(EINVAL)
    );
    assert_eq!(
        ioctl(&mut guest, STDOUT, 0x5401, &[], 36),
        Err(ENOTTY),
        "no terminal"
    );
    guest
        .ask::<OpenOut>(Opcode::Open, STDIN, &[&[0; 8]])
        .unwrap();
    guest
        .tell(Opcode::Release, STDIN, &ReleaseIn::default())
        .unwrap();
}

fn ioctl(guest: &mut Guest, node: u64, cmd: u32, data: &[u8], out: u32) -> Result<Vec<u8>, i32> {
    let body = IoctlIn {
        cmd,
        in_size: data.len() as u32,
        out_size: out,
        ..IoctlIn::default()
    };
    let reply = guest.call(
        Opcode::Ioctl,
        node,
        &[body.as_bytes(), data],
        16 + out as usize,
    )?;
    Ok(reply[16..].to_vec())
}

fn terminal() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let path = name.to_str().unwrap().to_owned();
    (
        master.into(),
        File::options().read(true).write(true).open(path).unwrap(),
    )
}

#[test]
fn a_terminal_is_the_hosts_terminal() {
    let (mut master, slave) = terminal();
    let mut guest = guest(slave.try_clone().unwrap(), slave.try_clone().unwrap());
    let modes = ioctl(&mut guest, STDIN, 0x5401, &[], 36).unwrap();
    assert_eq!(modes.len(), 36);
    let long = ioctl(&mut guest, STDIN, 0x802c_542a, &[], 44).unwrap();
    assert_eq!(long[..36], modes[..]);
    assert_eq!(modes[17], 3, "VINTR is ^C");
    assert_eq!(modes[17 + 6], 1, "VMIN");
    let mut raw = modes.clone();
    raw[12..16].fill(0); // no ICANON, no ECHO, no ISIG
    raw[4..8].fill(0); // no OPOST
    raw[17 + 6] = 2;
    ioctl(&mut guest, STDIN, 0x5402, &raw, 0).unwrap();
    let host = rustix::termios::tcgetattr(&slave).unwrap();
    assert!(host.local_modes.is_empty());
    assert_eq!(
        host.special_codes[rustix::termios::SpecialCodeIndex::VMIN],
        2
    );
    let mut again = ioctl(&mut guest, STDIN, 0x5401, &[], 36).unwrap();
    assert_eq!(again, raw);
    again[8] ^= 0xf; // another line speed is not the guest's to set
    ioctl(&mut guest, STDIN, 0x5404, &again, 0).unwrap();
    assert_eq!(ioctl(&mut guest, STDIN, 0x5401, &[], 36).unwrap(), raw);
    ioctl(&mut guest, STDIN, 0x5414, &[24, 0, 80, 0, 0, 0, 0, 0], 0).unwrap();
    let size = ioctl(&mut guest, STDIN, 0x5413, &[], 8).unwrap();
    assert_eq!(size, [24, 0, 80, 0, 0, 0, 0, 0]);
    master.write_all(b"hi").unwrap();
    let mut pending = || ioctl(&mut guest, STDIN, 0x541b, &[], 4).unwrap();
    while pending() != [2, 0, 0, 0] {
        std::thread::yield_now(); // the host's terminal passes bytes on in its own time
    }
    assert_eq!(get(&mut guest, 9).unwrap(), b"hi");
    put(&mut guest, b"\x1b[0m\n").unwrap();
    let mut seen = [0; 5];
    master.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"\x1b[0m\n");
    for refused in [0x540f, 0x5410, 0x5429, 0x5412, 0x1234] {
        assert_eq!(ioctl(&mut guest, STDIN, refused, &[0; 4], 4), Err(ENOTTY));
    }
    assert_eq!(ioctl(&mut guest, STDIN, 0x5402, &raw[..35], 0), Err(EINVAL));
    assert_eq!(ioctl(&mut guest, STDIN, 0x5401, &[], 35), Err(EINVAL));
    assert_eq!(ioctl(&mut guest, STDIN, 0x5401, &[0; 65], 36), Err(EINVAL));
    let (unique, interrupter) = (guest.next_unique(), guest.service.interrupter());
    interrupter.interrupt(unique);
    assert_eq!(get(&mut guest, 9), Err(EINTR));
}

#[test]
fn poll_tells_the_present_readiness() {
    let (stdin, mut feed) = pipe().unwrap();
    let (_drain, stdout) = pipe().unwrap();
    let mut guest = guest(stdin, stdout);
    let mut poll = |node| {
        let body = PollIn {
            events: 5,
            ..PollIn::default()
        };
        guest
            .ask::<PollOut>(Opcode::Poll, node, &[body.as_bytes()])
            .unwrap()
            .revents
    };
    assert_eq!((poll(STDIN), poll(STDOUT)), (0, 4));
    feed.write_all(b"x").unwrap();
    assert_eq!(poll(STDIN), 1);
}

mod hostile {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn random_requests_never_panic(data in proptest::collection::vec(any::<u8>(), 0..600)) {
            backend_console::testing::fuzz_one(&data);
        }
    }
}

#[test]
fn nothing_depends_on_when_others_read_and_write_where_runs_are_to_be_the_same() {
    let (stdin, mut feed) = pipe().unwrap();
    let streams = Streams {
        stdin: Some(stdin.into()),
        stdout: Some(null().into()),
        ..Streams::default()
    };
    let mut guest = Client::new(ConsoleService::new(streams).unwrap().repeatable());
    // It is ready before there is anything.
    let poll = PollIn {
        events: 1,
        ..PollIn::default()
    };
    let ready = guest.ask::<PollOut>(Opcode::Poll, STDIN, &[poll.as_bytes()]);
    assert_eq!(ready.unwrap().revents, 1);
    let feeder = std::thread::spawn(move || {
        for piece in [&b"one "[..], b"piece ", b"after another"] {
            feed.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(get(&mut guest, 9).unwrap(), b"one piece");
    assert_eq!(get(&mut guest, 100).unwrap(), b" after another");
    assert_eq!(get(&mut guest, 100).unwrap(), b"");
    feeder.join().unwrap();
    let ask = GetattrIn::default();
    let mut attributes = || {
        let out = guest.ask::<AttrOut>(Opcode::Getattr, STDIN, &[ask.as_bytes()]);
        out.unwrap().attr
    };
    let first = attributes();
    assert_eq!((first.ino, first.atime, first.mtime), (STDIN, 0, 0));
    assert_eq!(first.as_bytes(), attributes().as_bytes());
}
