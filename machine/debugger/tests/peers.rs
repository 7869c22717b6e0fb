//! A machine of two virtual CPUs that do nothing, and peers that are debuggers, or are not.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use engine_contract::{
    Debugging, EngineError, Kick, Limits, Met, Points, Stop, Vcpu, VcpuId, World,
};
use machine_bus::{GuestAddress, Port, Vector};
use machine_debugger::Debugger;
use x86_state::CpuState;

const EFER_LMA: u64 = 1 << 10;
const PROTECTION: u64 = 1;
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Kicked {
    is_kicked: Mutex<bool>,
    changed: Condvar,
}

impl Kick for Kicked {
    fn kick(&self) {
        *self.is_kicked.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

/// Counts its steps in `rip`, and otherwise waits to be kicked.
struct Idle {
    state: CpuState,
    points: Points,
    kicked: Arc<Kicked>,
    /// How often it has run without an end.
    runs: Arc<AtomicU64>,
}

impl Idle {
    fn new(runs: &Arc<AtomicU64>) -> Self {
        let mut state = CpuState::default();
        state.control.efer = EFER_LMA;
        state.control.cr0 = PROTECTION;
        state.segments.cs.rights = 0x209b;
        state.rip = 0x1000;
        Self {
            state,
            points: Points::default(),
            kicked: Arc::default(),
            runs: Arc::clone(runs),
        }
    }
}

impl Debugging for Idle {
    fn limits(&self) -> Limits {
        Limits {
            points: 2,
            aligned: true,
        }
    }

    fn set(&mut self, points: &Points) -> Result<(), EngineError> {
        assert!(self.limits().allow(points));
        self.points = points.clone();
        Ok(())
    }
}

impl Vcpu for Idle {
    fn prepare(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn run(&mut self, _: &dyn World) -> Result<Stop, EngineError> {
        if self.points.steps {
            self.state.rip += 1;
            return Ok(Stop::Breakpoint(Met::Step));
        }
        if self.points.breakpoints.contains(&self.state.rip) && !self.points.passes {
            return Ok(Stop::Breakpoint(Met::Breakpoint));
        }
        self.runs.fetch_add(1, Ordering::SeqCst);
        let is_kicked = self.kicked.is_kicked.lock().unwrap();
        let mut is_kicked = self
            .kicked
            .changed
            .wait_while(is_kicked, |is_kicked| !*is_kicked)
            .unwrap();
        *is_kicked = false;
        Ok(Stop::Kicked)
    }

    fn state(&mut self) -> Result<CpuState, EngineError> {
        Ok(self.state.clone())
    }

    /// Refuses what no processor can be in.
    fn set_state(&mut self, state: &CpuState) -> Result<(), EngineError> {
        if state.control.cr0 & PROTECTION == 0 {
            return Err(EngineError::new("registers", "they cannot be"));
        }
        self.state = state.clone();
        Ok(())
    }

    fn kick(&self) -> Arc<dyn Kick> {
        Arc::clone(&self.kicked) as _
    }

    fn debugging(&mut self) -> Option<&mut dyn Debugging> {
        Some(self)
    }
}

struct Nothing;

impl World for Nothing {
    fn port_read(&self, _: Port, _: &mut [u8]) {}
    fn port_write(&self, _: Port, _: &[u8]) {}
    fn mmio_read(&self, _: GuestAddress, _: &mut [u8]) {}
    fn mmio_write(&self, _: GuestAddress, _: &[u8]) {}
    fn take_interrupt(&self, _: VcpuId) -> Option<Vector> {
        None
    }
}

/// A machine that waits for debuggers.
struct Held {
    debugger: Arc<Debugger>,
    folder: tempfile::TempDir,
    threads: Vec<JoinHandle<()>>,
    kicks: Vec<Arc<dyn Kick>>,
    runs: Arc<AtomicU64>,
    is_killed: Arc<AtomicBool>,
}

impl Held {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("gdb")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let memory = machine_memory::create(0x10_0000).unwrap();
        let (runs, is_killed) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let vcpu = || Box::new(Idle::new(&runs)) as Box<dyn Vcpu>;
        let mut vcpus = vec![vcpu(), vcpu()];
        let kicks = vcpus.iter().map(|vcpu| vcpu.kick()).collect();
        let debugger = Debugger::new(listener.into(), memory, &mut vcpus).unwrap();
        let debugger = Arc::new(debugger);
        let mut threads = Vec::new();
        for (number, mut vcpu) in (0..).zip(vcpus) {
            let debugger = Arc::clone(&debugger);
            threads.push(std::thread::spawn(move || {
                loop {
                    let stop = debugger.run(VcpuId(number), vcpu.as_mut(), &Nothing);
                    assert_eq!(stop.unwrap(), Stop::Kicked);
                    if debugger.is_over() {
                        return;
                    }
                }
            }));
        }
        let (served, killed) = (Arc::clone(&debugger), Arc::clone(&is_killed));
        threads.push(std::thread::spawn(move || {
            let end = Arc::clone(&served);
            served.serve(move || {
                killed.store(true, Ordering::SeqCst);
                end.kick();
            });
        }));
        Self {
            debugger,
            folder,
            threads,
            kicks,
            runs,
            is_killed,
        }
    }

    fn connect(&self) -> Peer {
        let stream = UnixStream::connect(self.folder.path().join("gdb")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer(stream)
    }

    fn runs(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }

    /// Waits until it runs.
    fn wait_for_runs(&self, runs: u64) {
        let started = std::time::Instant::now();
        while self.runs() < runs {
            assert!(started.elapsed() < PATIENCE, "it does not run");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it with this status, kicking the virtual CPUs as a machine does.
    fn end(self, status: u8) {
        self.debugger.kick();
        self.kicks.iter().for_each(|kick| kick.kick());
        self.debugger.finish(status);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

struct Peer(UnixStream);

/// An answer in which a character that is repeated stands once, with a star and how often.
fn whole(text: &str) -> String {
    let mut whole = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '*' {
            whole.push(letter);
            continue;
        }
        let count = letters.next().map_or(0, |count| u32::from(count) - 29);
        let last = whole.chars().last().unwrap();
        whole.extend((0..count).map(|_| last));
    }
    whole
}

impl Peer {
    fn send(&mut self, body: &[u8]) {
        let sum = body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        let packet = [b"$", body, format!("#{sum:02x}").as_bytes()].concat();
        self.0.write_all(&packet).unwrap();
    }

    /// The next answer; `None`: the connection is closed.
    fn answer(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"#") {
            match self.0.read(&mut byte) {
                Ok(1) if byte == *b"+" => {}
                Ok(1) => bytes.extend(byte),
                _ => return None,
            }
        }
        self.0.read_exact(&mut [0; 2]).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        Some(whole(text.trim_start_matches('$').trim_end_matches('#')))
    }

    fn ask(&mut self, body: &str) -> String {
        self.send(body.as_bytes());
        let answer = self.answer();
        answer.unwrap_or_else(|| panic!("{body} is not answered"))
    }

    fn check(&mut self, body: &str, expected: &str) {
        let answer = self.ask(body);
        assert!(answer.contains(expected), "{body}: {answer}");
    }
}

#[test]
fn a_debugger_looks_steps_and_goes() {
    let held = Held::new();
    let mut peer = held.connect();
    peer.check("?", "T05thread:01;");
    peer.check("qfThreadInfo", "m01,02");
    peer.check("qXfer:features:read:target.xml:0,400", "i386:x86-64");
    peer.check("Hg2", "OK");
    // rip is the seventeenth.
    peer.check("p10", "0010");
    peer.check("M2000,4:01020304", "OK");
    peer.check("m2000,4", "01020304");
    peer.check("m200000,4", "E");
    peer.check("P0=8877665544332211", "OK");
    peer.check("p0", "8877665544332211");
    peer.check("P10=", "E");
    peer.check("Z0,5000,1", "OK");
    peer.check("Z2,5008,8", "OK");
    peer.check("Z1,5000,1", "OK");
    peer.check("Z0,5001,1", "E");
    peer.check("Z2,5001,4", "E");
    peer.check("z2,5008,8", "OK");
    peer.check("z2,5008,8", "E");
    assert_eq!(held.runs(), 0);
    peer.check("vCont;s:2", "T05thread:02;");
    peer.check("p10", "0110");
    peer.check("Z0,1000,1", "OK");
    // The first virtual CPU stands before it.
    peer.check("vCont;c", "T05thread:01;swbreak:;");
    peer.send(b"vCont;c");
    held.wait_for_runs(2);
    peer.0.write_all(&[3]).unwrap();
    assert_eq!(peer.answer().as_deref(), Some("T02thread:01;"));
    peer.check("D", "OK");
    held.wait_for_runs(4);
    held.end(0);
}

#[test]
fn registers_that_cannot_be_are_refused() {
    let held = Held::new();
    let mut peer = held.connect();
    peer.check("?", "T05");
    let description = peer.ask("qXfer:features:read:target.xml:0,3f00");
    let names: Vec<&str> = description.split("<reg name=\"").skip(1).collect();
    let cr0 = names
        .iter()
        .position(|name| name.starts_with("cr0\""))
        .unwrap();
    peer.check(&format!("P{cr0:x}=0000000000000000"), "E");
    peer.check(&format!("p{cr0:x}"), "01000000");
    peer.check(&format!("P{cr0:x}=1100000000000000"), "OK");
    held.end(0);
}

#[test]
fn the_end_of_the_machine_is_told() {
    let held = Held::new();
    let mut peer = held.connect();
    peer.check("?", "T05");
    peer.send(b"vCont;c");
    held.wait_for_runs(2);
    held.end(7);
    assert_eq!(peer.answer().as_deref(), Some("W07"));
    assert_eq!(peer.answer(), None);
}

#[test]
fn a_debugger_ends_the_machine() {
    let held = Held::new();
    let mut peer = held.connect();
    peer.check("?", "T05");
    peer.check("vKill;1", "OK");
    assert_eq!(peer.answer(), None);
    // The connection may be closed a little earlier.
    held.debugger.finish(137);
    assert!(held.is_killed.load(Ordering::SeqCst) && held.debugger.was_killed());
    held.end(137);
}

#[test]
fn a_machine_that_has_not_begun_waits_for_the_next_and_one_that_has_goes_on() {
    let held = Held::new();
    let mut peer = held.connect();
    peer.check("?", "T05");
    drop(peer);
    let mut peer = held.connect();
    peer.check("?", "T05");
    assert_eq!(held.runs(), 0);
    peer.check("vCont;s:1;c", "T05");
    let runs = held.runs();
    drop(peer);
    held.wait_for_runs(runs + 1);
    held.end(0);
}

/// Numbers that look random, the same each time.
struct Numbers(u64);

impl Numbers {
    fn random(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn one_of<'t, T: ?Sized>(&mut self, all: &[&'t T]) -> &'t T {
        all[self.random() as usize % all.len()]
    }

    /// A packet that looks like one, more or less.
    fn packet(&mut self) -> Vec<u8> {
        let commands: [&str; 34] = [
            "?",
            "g",
            "G",
            "m",
            "M",
            "p",
            "P",
            "c",
            "s",
            "C",
            "S",
            "H",
            "Hg",
            "Hc",
            "T",
            "X",
            "z0",
            "Z0",
            "Z1",
            "Z2",
            "Z3",
            "Z4",
            "z2",
            "vCont;",
            "vCont?",
            "vCont;s:1;c",
            "vCont;c",
            "vCont;s:2",
            "qSupported",
            "qXfer:features:read:target.xml:",
            "qRcmd,",
            "qThreadExtraInfo,",
            "qfThreadInfo",
            "QStartNoAckMode",
        ];
        let mut body = self.one_of(&commands).as_bytes().to_vec();
        for _ in 0..self.random() % 6 {
            let word = match self.random() % 6 {
                0 => format!("{:x}", self.random()),
                1 => format!("{:x}", self.random() % 0x2000),
                2 => format!("{:02x}", self.random() % 256),
                3 => ["-1", "0", "1", "2", "ffffffffffffffff", "p1.1", "xx"]
                    [self.random() as usize % 7]
                    .to_owned(),
                4 => "0a".repeat(self.random() as usize % 300),
                _ => char::from(self.random() as u8).to_string(),
            };
            body.extend(word.bytes());
            body.extend(self.one_of(&[",", ":", ";", "=", ""]).bytes());
        }
        body
    }
}

/// Sends what comes to mind until it is turned away.
fn annoy(held: &Held, numbers: &mut Numbers) {
    let mut peer = held.connect();
    peer.0
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    for _ in 0..40 {
        let body = numbers.packet();
        let sum = body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        let mut packet = [b"$", body.as_slice(), format!("#{sum:02x}").as_bytes()].concat();
        match numbers.random() % 30 {
            0 => packet = vec![3],
            1 => packet.truncate(numbers.random() as usize % packet.len()),
            2 => packet[0] = numbers.random() as u8,
            3 => packet = vec![b'+'; 7],
            _ => {}
        }
        if peer.0.write_all(&packet).is_err() {
            return;
        }
        let mut bytes = [0; 4096];
        while peer
            .0
            .read(&mut bytes)
            .is_ok_and(|count| count == bytes.len())
        {}
    }
}

#[test]
fn peers_that_send_anything_are_turned_away_at_worst() {
    let mut numbers = Numbers(0x0f1e_2d3c_4b5a_6978);
    let held = Held::new();
    for _ in 0..300 {
        annoy(&held, &mut numbers);
    }
    // A packet without an end, and one that never begins.
    let mut peer = held.connect();
    let _ = peer
        .0
        .write_all(&[b"$".as_slice(), &vec![b'a'; 1 << 20]].concat());
    drop(peer);
    let mut peer = held.connect();
    let _ = peer.0.write_all(&vec![b'a'; 1 << 20]);
    drop(peer);
    let mut peer = held.connect();
    peer.check("?", "T05");
    peer.check("m2000,4", "0");
    held.end(0);
}
