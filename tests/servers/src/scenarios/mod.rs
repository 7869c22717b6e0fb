//! Networks in hard times.

mod connections;
mod endings;
mod faults;
mod idle;
mod outbound;
mod refused;
mod runtimes;
mod streams;
mod tap;
mod udp;

use anyhow::Result;

use crate::needs::Need;
use crate::programs;
use crate::site::Site;
use crate::table::JAVA;
use serving::clients::exchange;
use serving::load::Served;
use serving::machine::Machine;

/// A case with a server of this suite's own, or none.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) run: fn(&Site<'_>) -> Result<Served>,
}

const CC: &[Need] = &[Need::Debian("cc", "gcc")];
const PYTHON: &[Need] = &[Need::Debian("/usr/bin/python3", "python3")];
const WIRE: &[Need] = &[
    Need::Debian("cc", "gcc"),
    Need::Debian("/usr/bin/python3", "python3"),
    Need::Debian("ip", "iproute2"),
    Need::Debian("unshare", "util-linux"),
];
const GO: &[Need] = &[Need::Debian("go", "golang-go")];
const CURL: &[Need] = &[Need::Debian("curl", "curl")];

const fn scenario(
    name: &'static str,
    needs: &'static [Need],
    run: fn(&Site<'_>) -> Result<Served>,
) -> Scenario {
    Scenario { name, needs, run }
}

/// All of them; those that wait longest come first.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("idle/listening", CC, idle::listening),
    scenario("runtimes/jvm-serial", &JAVA, runtimes::serial),
    scenario("runtimes/jvm-parallel", &JAVA, runtimes::parallel),
    scenario("runtimes/jvm-g1", &JAVA, runtimes::g1),
    scenario("runtimes/jvm-shenandoah", &JAVA, runtimes::shenandoah),
    scenario("runtimes/jvm-z", &JAVA, runtimes::z),
    scenario("runtimes/go", GO, runtimes::go),
    scenario("faults/one-percent", WIRE, faults::one_percent),
    scenario("faults/ten-percent", WIRE, faults::ten_percent),
    scenario("connections/storm", CC, connections::storm),
    scenario("connections/ten-thousand", CC, connections::ten_thousand),
    scenario("connections/burst", CC, connections::burst),
    scenario("connections/slow-loris", PYTHON, connections::slow_loris),
    scenario("streams/echo", CC, streams::echo),
    scenario("streams/client-stops-reading", CC, streams::client_stops),
    scenario("streams/server-stops-reading", CC, streams::server_stops),
    scenario(
        "streams/half-closed-by-client",
        CC,
        streams::client_closes_half,
    ),
    scenario(
        "streams/half-closed-by-server",
        CC,
        streams::server_closes_half,
    ),
    scenario("udp/echo", CC, udp::echo),
    scenario("udp/large", CC, udp::large),
    scenario("endings/exit", PYTHON, endings::exit),
    scenario("endings/slow-reader", PYTHON, endings::exit_slow_reader),
    scenario("endings/kill", PYTHON, endings::kill),
    scenario("endings/abort", PYTHON, endings::abort),
    scenario("endings/several", PYTHON, endings::several),
    scenario("endings/ipv6", PYTHON, endings::v6),
    scenario("endings/published", PYTHON, endings::published),
    scenario("endings/unread", PYTHON, endings::unread),
    scenario("endings/datagrams", PYTHON, endings::datagrams),
    scenario("endings/never-read", PYTHON, endings::never_read),
    scenario("endings/interrupted", PYTHON, endings::interrupted),
    scenario("endings/monitor-killed", PYTHON, endings::monitor_killed),
    scenario("outbound/host-allowed", CURL, outbound::host_allowed),
    scenario("outbound/host-refused", CURL, outbound::host_refused),
    scenario("outbound/names", PYTHON, outbound::names),
    scenario("tap/static", PYTHON, tap::said),
    scenario("refused/port-in-use", &[], refused::port_in_use),
    scenario("refused/privileged-port", &[], refused::privileged_port),
    scenario("refused/no-such-tap", &[], refused::no_such_tap),
    scenario("refused/no-network", PYTHON, refused::no_network),
    scenario("input/reader-beside-others", PYTHON, idle::blocked_reader),
];

/// A machine with `../programs/peer.c`, which has one of several manners.
fn peer(site: &Site<'_>, manner: &str) -> Result<Machine> {
    let program = programs::c("peer", site.folder())?;
    let words = [&program.to_string_lossy(), manner, &site.port.to_string()].map(str::to_owned);
    site.start(&[], words.to_vec())
}

/// The same, whose manner is to echo, when it does.
fn echo(site: &Site<'_>) -> Result<Machine> {
    let mut machine = peer(site, "echo")?;
    machine.wait_ready(|| exchange::ask(site.port, "there?", "there?"))?;
    Ok(machine)
}
