//! A network that goes, as with the monitor, while there are connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use backend_net::user::addresses::GATEWAY_V4;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{Socket, State};

use crate::peer::{Peer, with_host};
use crate::wire::Faults;

const BYTES: usize = 300_000;

/// A guest that was asked this on a stream and has said so much, all of it acknowledged, and the other
/// end of the stream, on which nothing was read.
fn asked(question: &[u8]) -> (Peer, SocketHandle, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut peer = Peer::new(with_host(), Faults::default());
    let handle = peer.call((GATEWAY_V4, port), 40_000, 1 << 20);
    peer.until("the connection", |sockets, _| {
        sockets.get::<Socket>(handle).may_send().then_some(())
    });
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(question).unwrap();
    peer.until("the question", |sockets, _| {
        let socket = sockets.get_mut::<Socket>(handle);
        let whole = socket.recv_queue() == question.len();
        whole.then(|| socket.recv(|bytes| (bytes.len(), ())).unwrap())
    });
    let mut left = BYTES;
    peer.until("the answer", |sockets, _| {
        let socket = sockets.get_mut::<Socket>(handle);
        left -= socket.send_slice(&vec![7; left]).unwrap();
        (left == 0 && socket.send_queue() == 0).then_some(())
    });
    (peer, handle, stream)
}

#[test]
fn a_stream_whose_end_was_said_is_complete_when_the_network_is_gone() {
    let (mut peer, handle, mut stream) = asked(b"what is there?");
    peer.until("the end", |sockets, _| {
        let socket = sockets.get_mut::<Socket>(handle);
        if socket.state() == State::Established {
            socket.close();
        }
        (socket.state() == State::FinWait2).then_some(())
    });
    // As long as what the guest has may stay in the socket's queue, and longer.
    thread::sleep(Duration::from_millis(60));
    peer.step();
    assert_eq!(peer.user.connections(), 1);
    drop(peer);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), BYTES);
}

#[test]
fn a_stream_whose_end_was_not_said_is_reset_when_the_network_is_gone() {
    let (peer, _, mut stream) = asked(b"");
    drop(peer);
    let failure = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::ConnectionReset);
}
