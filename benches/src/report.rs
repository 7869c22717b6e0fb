//! Prints the medians: a table for people, or JSON.

use anyhow::Result;
use serde_json::{Value, json};

use crate::measure::{Row, as_float};
use crate::options::Options;
use crate::peer::Side;

/// Prints the rows and the other facts.
pub(crate) fn print(options: &Options, rows: &[Row], facts: &Value) -> Result<()> {
    if options.json {
        let mut all = json!({ "workloads": rows.iter().map(row_json).collect::<Vec<_>>() });
        merge(&mut all, facts);
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    println!(
        "{:<14} {:>12} {:>12} {:>7} {:>12} {:>7}",
        "work", "native", "husk", "x", "runsc", "x"
    );
    for row in rows {
        println!("{}", line(row));
    }
    print_facts(options, facts)
}

/// Prints facts that are no workloads.
pub(crate) fn print_facts(options: &Options, facts: &Value) -> Result<()> {
    if options.json {
        println!("{}", serde_json::to_string_pretty(facts)?);
        return Ok(());
    }
    for (name, fact) in facts.as_object().into_iter().flatten() {
        println!("{name}: {fact}");
    }
    Ok(())
}

fn merge(all: &mut Value, facts: &Value) {
    for (name, fact) in facts.as_object().into_iter().flatten() {
        all[name] = fact.clone();
    }
}

fn line(row: &Row) -> String {
    let time = |side| row.median(side).map_or("-".to_string(), show);
    let ratio = |side| {
        row.ratio(side)
            .map_or("-".to_string(), |ratio| format!("{ratio:.3}"))
    };
    let (native, husk, runsc) = (time(Side::Native), time(Side::Husk), time(Side::Runsc));
    let (of_husk, of_runsc) = (ratio(Side::Husk), ratio(Side::Runsc));
    format!(
        "{:<14} {native:>12} {husk:>12} {of_husk:>7} {runsc:>12} {of_runsc:>7}",
        row.name
    )
}

fn row_json(row: &Row) -> Value {
    let mut value = json!({ "name": row.name });
    for (side, median) in &row.medians {
        let name = side.name();
        match median {
            Ok(time) => value[format!("{name}_ns")] = json!(time),
            Err(error) => value[format!("{name}_error")] = json!(format!("{error:#}")),
        }
        if let Some(ratio) = row.ratio(*side) {
            value[format!("{name}_ratio")] = json!(ratio);
        }
    }
    value
}

/// A time in the unit that suits it.
fn show(nanoseconds: u64) -> String {
    let time = as_float(nanoseconds);
    match nanoseconds {
        0..10_000 => format!("{nanoseconds} ns"),
        10_000..10_000_000 => format!("{:.2} us", time / 1e3),
        10_000_000.. => format!("{:.2} ms", time / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_there_is() {
        let row = Row {
            name: "x",
            medians: vec![(Side::Native, Ok(200)), (Side::Husk, Ok(300))],
        };
        let words: Vec<String> = line(&row).split_whitespace().map(String::from).collect();
        assert_eq!(words.join(" "), "x 200 ns 300 ns 1.500 - -");
        assert_eq!(row_json(&row)["husk_ratio"], 1.5);
    }

    #[test]
    fn times_are_shown_in_their_unit() {
        assert_eq!(show(124), "124 ns");
        assert_eq!(show(12_340), "12.34 us");
        assert_eq!(show(123_400_000), "123.40 ms");
    }
}
