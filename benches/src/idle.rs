//! What a server that nobody asks costs in processor time.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use serving::clients::connect;

use crate::bulk;
use crate::options::Options;
use crate::peer::Bench;
use crate::place::{self, Place};
use crate::row::{Promise, Row, Unit};

pub(crate) const NAME: &str = "idle-60-s";
const LONG: Duration = Duration::from_secs(60);
/// After the first connection.
const REST: Duration = Duration::from_secs(2);

/// With a socket that listens, and a connection that is silent.
pub(crate) fn row(bench: &Bench, options: &Options) -> Row {
    eprintln!("{NAME} ...");
    let row = Row::new(NAME, Unit::Ticks, Some(Promise::AtMost(0)));
    match place::all(bench, options.cpus, &bulk::SERVER).and_then(used) {
        Ok(medians) => Row { medians, ..row },
        Err(error) => row.without(&error),
    }
}

fn used(places: Vec<Place>) -> Result<Vec<(crate::peer::Side, Result<u64>)>> {
    let ports = places.iter().map(|place| connect(place.port));
    let _open: Vec<_> = ports.collect::<Result<_>>()?;
    thread::sleep(REST);
    let before: Vec<u64> = places.iter().map(Place::ticks).collect::<Result<_>>()?;
    thread::sleep(LONG);
    let mut used = Vec::new();
    for (place, before) in places.into_iter().zip(before) {
        used.push((place.side, Ok(place.ticks()? - before)));
        place.end()?;
    }
    Ok(used)
}
