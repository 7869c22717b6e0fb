//! Frames of an interface. Making one takes root, so that elsewhere this is skipped.

use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backend_net::{
    Abilities, Body, Delivery, Guest, Head, Network, Offload, Source, Tap, TapError,
};
use rustix::fd::BorrowedFd;

struct Interface(String);

impl Interface {
    /// One with an address, if this host lets us.
    fn new(kind: &[&str]) -> Option<Self> {
        let name = format!("husk{}", std::process::id() % 100_000);
        let ip = |arguments: &[&str]| {
            let status = Command::new("ip").args(arguments).output().ok()?.status;
            status.success().then_some(())
        };
        let add = ["tuntap", "add", &name, "mode", "tap"];
        ip(&[&add[..], kind].concat())?;
        let interface = Self(name);
        let name = interface.0.as_str();
        ip(&["address", "add", "198.18.77.1/24", "dev", name])?;
        ip(&["link", "set", name, "up"])?;
        Some(interface)
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["link", "delete", &self.0])
            .status();
    }
}

struct Listening(Mutex<Sender<Vec<u8>>>);

impl Guest for Listening {
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn deliver(
        &self,
        _: usize,
        _: usize,
        body: Body<'_>,
        head: &mut dyn FnMut(usize) -> Option<Head>,
    ) -> io::Result<Delivery> {
        let Body::Bytes(bytes) = body else {
            return Ok(Delivery::Lost);
        };
        assert_eq!(head(bytes.len()).unwrap().offload, Offload::default());
        let _ = self.0.lock().unwrap().send(bytes.to_vec());
        Ok(Delivery::Done {
            moved: bytes.len(),
            room: bytes.len(),
        })
    }

    fn flush(&self, _: usize) {}
}

struct Frame(Vec<u8>);

impl Source for Frame {
    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn peek(&self, _: &mut [u8]) -> usize {
        0
    }

    fn skip(&mut self, _: usize) {}

    fn sum(&self, _: usize) -> u16 {
        0
    }

    fn send(&mut self, _: BorrowedFd<'_>, _: usize) -> io::Result<usize> {
        Ok(0)
    }

    fn write(&mut self, file: BorrowedFd<'_>, head: &[u8]) -> io::Result<()> {
        rustix::io::write(file, &[head, &self.0].concat())?;
        Ok(())
    }
}

/// Who has 198.18.77.1?
fn question() -> Vec<u8> {
    let mac = [2, 0, 0, 0, 0, 5];
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend([198, 18, 77, 2, 0, 0, 0, 0, 0, 0, 198, 18, 77, 1]);
    frame
}

#[test]
fn frames_pass_both_ways() {
    for kind in [&[][..], &["multi_queue"]] {
        let Some(interface) = Interface::new(kind) else {
            eprintln!("SKIPPED: no tap interface can be made here (it takes root, ip and tun)");
            return;
        };
        let tap = Arc::new(Tap::open(&interface.0, 2).unwrap());
        assert_eq!(tap.pairs(), if kind.is_empty() { 1 } else { 2 });
        if kind.is_empty() {
            let again = Tap::open(&interface.0, 1).unwrap_err();
            assert!(matches!(again, TapError::Busy), "{again}");
        }
        assert_eq!(tap.mtu(), 1500);
        let (sender, receiver) = channel();
        let guest = Arc::new(Listening(Mutex::new(sender)));
        let stop = Arc::<AtomicBool>::default();
        let servers: Vec<_> = (0..tap.servers())
            .map(|server| {
                let (tap, guest, stop) = (tap.clone(), guest.clone(), stop.clone());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Acquire) {
                        tap.wait(server);
                        tap.serve(server, guest.as_ref());
                        tap.rest(server);
                    }
                })
            })
            .collect();
        let is_answer = |frame: &Vec<u8>| frame[..6] == [2, 0, 0, 0, 0, 5] && frame[21] == 2;
        let answered = (0..50).any(|_| {
            let mut frame = Frame(question());
            tap.transmit(0, &mut frame, Offload::default(), guest.as_ref());
            let patience = Duration::from_millis(100);
            std::iter::from_fn(|| receiver.recv_timeout(patience).ok()).any(|f| is_answer(&f))
        });
        assert!(answered, "the host answers");
        stop.store(true, Ordering::Release);
        tap.wake();
        for server in servers {
            server.join().unwrap();
        }
    }
}

#[test]
fn what_is_no_tap_interface_is_refused() {
    for name in ["", "lo", "no-such", "../lo", "."] {
        let error = Tap::open(name, 1).unwrap_err();
        let known = matches!(error, TapError::NoInterface | TapError::NoTun);
        assert!(known, "{name}: {error}");
    }
}
