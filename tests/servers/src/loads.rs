//! What each server is asked, and what it must answer.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::site::{self, Site};
use serving::clients::exchange;
use serving::clients::http::{self, Body, Client, Request};
use serving::clients::same::{self, Same};
use serving::clients::{mqtt, nats as nats_client};
use serving::load::{Plan, Served, drive};

/// Of the large file.
const LARGE: u64 = 100 << 20;
/// Requests of one curl.
const BY_CURL: u64 = 400;
/// Messages through the clients of mosquitto; it keeps 1,000 for who is away.
const AWAY: usize = 500;

const HELLO: Request<'static> = Request::get("/hello");
const HELLO_ONCE: Request<'static> = Request {
    keep_alive: false,
    ..HELLO
};

pub(crate) fn redis(site: &Site<'_>) -> Result<Served> {
    Ok(exchange::load(
        site.port,
        Plan::new(16, 100),
        exchange::redis,
    ))
}

pub(crate) fn memcached(site: &Site<'_>) -> Result<Served> {
    let plan = Plan::new(16, 100);
    Ok(exchange::load(site.port, plan, exchange::memcached))
}

/// One answer to `/hello`.
pub(crate) fn says_hello(site: &Site<'_>) -> Result<()> {
    http::ask(None, site.port, &HELLO, Body::Has("hello")).map(drop)
}

/// Many, on connections that stay and on some that do not.
pub(crate) fn hello(site: &Site<'_>) -> Result<Served> {
    hellos(site, Plan::new(32, 250), Plan::new(16, 50))
}

/// The same of servers that are slow natively, too.
pub(crate) fn hello_slowly(site: &Site<'_>) -> Result<Served> {
    hellos(site, Plan::new(8, 200), Plan::new(8, 20))
}

fn hellos(site: &Site<'_>, staying: Plan, passing: Plan) -> Result<Served> {
    let mut first = Vec::new();
    Client::connect(site.port)?.ask(&HELLO, &mut first)?;
    let first = String::from_utf8(first)?;
    ensure!(first.starts_with("hello from "), "the body is {first:?}");
    let body = Body::Is(&first);
    let served = http::load(site.port, staying, HELLO, body);
    served.check().context("connections that stay")?;
    let once = http::load(site.port, passing, HELLO_ONCE, body);
    once.check().context("connections for one request")?;
    let remark = format!(
        "{} connections for one request, {:.0}/s",
        once.requests,
        once.rate()
    );
    Ok(served.saying(remark))
}

const DESCRIPTION: Request<'static> = Request::get("/v2/api-docs");
const RULE: Request<'static> = Request {
    path: "/",
    body: r#"{"rule": "the age of the applicant MUST be greater than 18",
        "schema": "{\"age\": 20}", "culture": "en", "language": "Java"}"#,
    keep_alive: true,
};

/// A description of the application's requests.
pub(crate) fn describes_itself(site: &Site<'_>) -> Result<()> {
    let has = Body::Has("Open Validation Controller");
    http::ask(None, site.port, &DESCRIPTION, has).map(drop)
}

/// Rules that become Java, the same each time.
pub(crate) fn rules(site: &Site<'_>) -> Result<Served> {
    let mut first = Vec::new();
    Client::connect(site.port)?.ask(&RULE, &mut first)?;
    let first = String::from_utf8(first)?;
    let compares = first.contains("GREATER_THAN") && first.contains("applicant");
    ensure!(compares, "the rule became {first:?}");
    let served = http::load(site.port, Plan::new(8, 50), RULE, Body::Is(&first));
    served.check().context("rules")?;
    let described = Plan::new(8, 100);
    let has = Body::Has("Open Validation Controller");
    let described = http::load(site.port, described, DESCRIPTION, has);
    described.check().context("descriptions")?;
    let rate = described.rate();
    Ok(served.saying(format!("descriptions {rate:.0}/s")))
}

/// A large file that is like no other.
pub(crate) fn make_file(site: &Site<'_>) -> Result<()> {
    same::make(&site.path("www/large"), LARGE)
}

/// Fetched alone, and by several at once; on connections that stay and on others.
pub(crate) fn files(site: &Site<'_>) -> Result<Served> {
    let started = Instant::now();
    let mut client = Client::connect(site.port)?;
    for _ in 0..2 {
        fetch(site, &mut client, true)?;
    }
    fetch(site, &mut Client::connect(site.port)?, false)?;
    let at_once = drive(
        Plan::new(3, 1),
        |_| Client::connect(site.port),
        |client, _, _| fetch(site, client, true).map(|()| 1),
    );
    at_once.check()?;
    Ok(fetched(6, started))
}

fn fetched(count: u64, started: Instant) -> Served {
    let served = Served::some(count, started);
    let rate = (count * LARGE) as f64 / 1e6 / served.elapsed.as_secs_f64();
    served.saying(format!("intact, {rate:.0} MB/s"))
}

fn fetch(site: &Site<'_>, client: &mut Client, keep_alive: bool) -> Result<()> {
    let mut same = Same::new(&site.path("www/large"))?;
    let path = "/large";
    let request = Request {
        path,
        body: "",
        keep_alive,
    };
    let keeps = client.ask(&request, &mut same)?;
    ensure!(keeps == keep_alive, "the connection stays: {keeps}");
    same.end()
}

/// A certificate for this host, made by openssl.
pub(crate) fn make_certificate(site: &Site<'_>) -> Result<()> {
    let mut command = Command::new("/usr/bin/openssl");
    command.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes".split(' '));
    command.args(["-days", "2", "-subj", "/CN=localhost"]);
    command.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
    command.arg("-keyout").arg(site.path("key"));
    command.arg("-out").arg(site.path("certificate"));
    site::run(&mut command).map(drop)
}

/// curl, which knows the certificate.
fn curl(site: &Site<'_>, path: &str, keep_alive: bool) -> Command {
    let mut command = Command::new("/usr/bin/curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "60"]);
    command.arg("--noproxy").arg("*");
    command.arg("--cacert").arg(site.path("certificate"));
    if !keep_alive {
        command.args(["--header", "Connection: close"]);
    }
    command.arg(format!("https://127.0.0.1:{}{path}", site.port));
    command
}

pub(crate) fn says_hello_by_tls(site: &Site<'_>) -> Result<()> {
    site::run(&mut curl(site, "/hello", true)).map(drop)
}

/// Many requests by several curls, on connections that stay and on others.
pub(crate) fn tls(site: &Site<'_>) -> Result<Served> {
    let hello = "hello from a file\n";
    let ask = |count: u64, keep_alive| {
        let path = format!("/hello?[1-{count}]");
        let printed = site::run(&mut curl(site, &path, keep_alive))?;
        let right = printed == hello.repeat(count as usize).as_bytes();
        ensure!(right, "{} bytes, not {count} answers", printed.len());
        Ok(count)
    };
    let plan = Plan::new(4, 2);
    let served = drive(plan, |_| Ok(()), |(), _, _| ask(BY_CURL, true));
    served.check()?;
    let once = drive(Plan::new(4, 1), |_| Ok(()), |(), _, _| ask(40, false));
    once.check()?;
    let remark = format!("{} handshakes, {:.0}/s", once.requests, once.rate());
    Ok(served.saying(remark))
}

/// The large file by curl.
pub(crate) fn tls_files(site: &Site<'_>) -> Result<Served> {
    let started = Instant::now();
    for keep_alive in [true, false] {
        let mut child = curl(site, "/large", keep_alive)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut printed = child.stdout.take().context("it has a pipe")?;
        let mut same = Same::new(&site.path("www/large"))?;
        let copied = std::io::copy(&mut printed, &mut same);
        let status = child.wait()?;
        copied?;
        ensure!(status.success(), "curl: {status}");
        same.end()?;
    }
    Ok(fetched(2, started))
}

pub(crate) fn mqtt_is_ready(site: &Site<'_>) -> Result<()> {
    mqtt::open(site.port, 0).map(drop)
}

/// Our own clients, then those of mosquitto: messages for one who is away until they are sent.
pub(crate) fn mqtt(site: &Site<'_>) -> Result<Served> {
    let served = mqtt::load(site.port, Plan::new(16, 50));
    served.check()?;
    let messages: Vec<String> = (0..AWAY).map(|at| format!("away {at}")).collect();
    let messages = messages.join("\n") + "\n";
    let client = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(format!("/usr/bin/mosquitto_{name}"));
        command.args(["-h", "127.0.0.1", "-p", &site.port.to_string()]);
        command.args(["-t", "away", "-q", "1"]).args(arguments);
        command
    };
    site::run(&mut client("sub", &["-c", "-i", "away", "-E"])).context("subscribing")?;
    publish(client("pub", &["-l"]), &messages)?;
    let count = AWAY.to_string();
    let heard = ["-c", "-i", "away", "-W", "20", "-C", &count];
    let heard = site::run(&mut client("sub", &heard)).context("hearing")?;
    ensure!(
        heard == messages.as_bytes(),
        "other messages are heard than were sent"
    );
    Ok(served.saying(format!("{AWAY} kept for a client that was away")))
}

fn publish(mut command: Command, messages: &str) -> Result<()> {
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("it has a pipe")?;
    input.write_all(messages.as_bytes())?;
    drop(input);
    let status = child.wait()?;
    ensure!(status.success(), "mosquitto_pub: {status}");
    Ok(())
}

pub(crate) fn nats_is_ready(site: &Site<'_>) -> Result<()> {
    nats_client::Client::open(site.port, 0).map(drop)
}

pub(crate) fn nats(site: &Site<'_>) -> Result<Served> {
    Ok(nats_client::load(site.port, Plan::new(16, 100)))
}

pub(crate) fn etcd_is_ready(site: &Site<'_>) -> Result<()> {
    let health = Request::get("/health");
    http::ask(None, site.port, &health, Body::Has("true")).map(drop)
}

/// Puts and gets by the JSON gateway, whose keys and values are in base64: text of its alphabet
/// whose length is a multiple of four is some.
pub(crate) fn etcd(site: &Site<'_>) -> Result<Served> {
    let step = |client: &mut Option<Client>, number: u32, round: u32| {
        let key = format!("key{number:05}");
        let value = format!("value{number:03}{round:08}");
        let mut post = |path, body: &str, wanted: &str| -> Result<()> {
            let request = Request {
                path,
                body,
                keep_alive: true,
            };
            let asked = http::ask(client.take(), site.port, &request, Body::Has(wanted));
            *client = asked.context(path)?;
            Ok(())
        };
        let put = format!(r#"{{"key":"{key}","value":"{value}"}}"#);
        post("/v3/kv/put", &put, "revision")?;
        let get = format!(r#"{{"key":"{key}"}}"#);
        post("/v3/kv/range", &get, &format!(r#""value":"{value}""#))?;
        Ok(2)
    };
    Ok(drive(Plan::new(8, 40), |_| Ok(None), step))
}

pub(crate) fn exports_metrics(site: &Site<'_>) -> Result<()> {
    http::ask(None, site.port, &METRICS, METRICS_HAVE).map(drop)
}

const METRICS: Request<'static> = Request::get("/metrics");
const METRICS_HAVE: Body<'static> = Body::Has("node_exporter_build_info");

pub(crate) fn metrics(site: &Site<'_>) -> Result<Served> {
    Ok(http::load(
        site.port,
        Plan::new(4, 25),
        METRICS,
        METRICS_HAVE,
    ))
}
