//! Networks that cannot be had.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::cases::Missing;
use crate::options::Options;
use crate::site::Site;
use serving::load::Served;

const LIMIT: Duration = Duration::from_secs(30);
/// The status of what husk refuses.
const REFUSED: i32 = 125;
const NOBODY: u32 = 65_534;

/// husk with these options says these words in one sentence, and ends.
fn refuses(site: &Site<'_>, options: &[&str], user: Option<u32>, words: &[&str]) -> Result<Served> {
    let started = Instant::now();
    let options: Vec<String> = options.iter().map(|option| site.fill(option)).collect();
    let mut machine = site.start_with(&options, vec!["/bin/true".to_owned()], user)?;
    let status = machine.wait(LIMIT)?;
    let said = machine.said();
    ensure!(status == REFUSED, "status {status}: {said}");
    ensure!(said.lines().count() == 1, "more than a sentence: {said}");
    let missing = words.iter().find(|word| !said.contains(**word));
    ensure!(missing.is_none(), "no {missing:?} in: {said}");
    Ok(Served::some(0, started).saying(said.trim()))
}

pub(super) fn port_in_use(site: &Site<'_>) -> Result<Served> {
    let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, site.port))?;
    let words = ["husk: --publish 127.0.0.1:", "in use", "("];
    refuses(site, &["--publish", "127.0.0.1:{port}:80"], None, &words)
}

pub(super) fn privileged_port(site: &Site<'_>) -> Result<Served> {
    if !rustix::process::getuid().is_root() {
        bail!(Missing("only root can become another user".to_owned()));
    }
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")?;
    if first.trim().parse::<u32>()? < 2 {
        bail!(Missing("this host has no privileged ports".to_owned()));
    }
    // Where that user can reach it.
    let husk = site.path("husk");
    fs::copy(&site.options.husk, &husk)?;
    for path in [site.folder(), &husk] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    let options = Options {
        husk,
        ..site.options.clone()
    };
    let theirs = Site::new(&options, site.place)?;
    let words = ["husk: --publish 127.0.0.1:1:80", "1024", "("];
    refuses(
        &theirs,
        &["--publish", "127.0.0.1:1:80"],
        Some(NOBODY),
        &words,
    )
}

pub(super) fn no_such_tap(site: &Site<'_>) -> Result<Served> {
    let words = ["husk: --net tap=nosuch:", "("];
    refuses(site, &["--net", "tap=nosuch"], None, &words)
}

const CONNECT: &str = r#"
import errno, socket
for kind, address in [
    (socket.SOCK_STREAM, ("10.0.2.2", 80)),
    (socket.SOCK_STREAM, ("192.0.2.1", 80)),
    (socket.SOCK_DGRAM, ("192.0.2.1", 53)),
]:
    with socket.socket(socket.AF_INET, kind) as s:
        print(errno.errorcode.get(s.connect_ex(address), "connected"))
with socket.create_server(("127.0.0.1", 80)) as s:
    with socket.create_connection(("127.0.0.1", 80)):
        print("loopback")
"#;

/// A machine that has none.
pub(super) fn no_network(site: &Site<'_>) -> Result<Served> {
    let started = Instant::now();
    let words = ["/usr/bin/python3", "-c", CONNECT].map(str::to_owned);
    let options = ["--net", "none"].map(str::to_owned);
    let mut machine = site.start_with(&options, words.to_vec(), None)?;
    let status = machine.wait(LIMIT)?;
    let said = machine.said();
    let wanted = "ENETUNREACH\nENETUNREACH\nENETUNREACH\nloopback\n";
    ensure!(status == 0 && said == wanted, "status {status}: {said}");
    Ok(Served::some(0, started))
}
