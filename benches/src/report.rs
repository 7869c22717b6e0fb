//! Prints the medians: a table for people, or JSON.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::options::Options;
use crate::peer::Side;
use crate::row::Row;

/// Prints the rows and the other facts.
///
/// # Errors
/// When something failed natively or under Husk.
pub(crate) fn print(options: &Options, rows: &[Row], facts: &Value) -> Result<()> {
    if options.json {
        let mut all = json!({ "workloads": rows.iter().map(row_json).collect::<Vec<_>>() });
        merge(&mut all, facts);
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        print_table(rows);
        print_facts(options, facts)?;
    }
    let failed = rows.iter().filter(|row| row.has_failed()).count();
    ensure!(failed == 0, "{failed} of {} workloads failed", rows.len());
    Ok(())
}

fn print_table(rows: &[Row]) {
    println!(
        "{:<20} {:>12} {:>12} {:>7} {:>12} {:>7}  promised",
        "work", "native", "husk", "x", "runsc", "x"
    );
    for row in rows {
        println!("{}", line(row));
    }
    let skipped = rows.iter().filter(|row| row.skipped.is_some()).count();
    if skipped > 0 {
        println!("{skipped} of {} skipped:", rows.len());
    }
    for row in rows {
        if let Some(why) = &row.skipped {
            println!("  {}: {why}", row.name);
        }
    }
    for row in rows {
        print_failures(row);
    }
}

fn print_failures(row: &Row) {
    for (side, median) in &row.medians {
        if let Err(error) = median {
            let word = if side.is_peer() { "SKIPPED" } else { "FAILED" };
            println!("{word} {}: {error:#}", row.name);
        }
    }
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
    let figure = |side| {
        row.median(side)
            .map_or("-".to_string(), |figure| row.unit.show(figure))
    };
    let ratio = |side| {
        row.ratio(side)
            .map_or("-".to_string(), |ratio| format!("{ratio:.3}"))
    };
    let (native, husk) = (figure(Side::Native), figure(Side::Husk));
    let (runsc, of_husk, of_runsc) = (figure(Side::Runsc), ratio(Side::Husk), ratio(Side::Runsc));
    let line = format!(
        "{:<20} {native:>12} {husk:>12} {of_husk:>7} {runsc:>12} {of_runsc:>7}  {}",
        row.name,
        promised(row)
    );
    line.trim_end().to_string()
}

/// What was promised, and what came of it.
fn promised(row: &Row) -> String {
    let Some(promise) = row.promise else {
        return String::new();
    };
    let outcome = match row.is_kept() {
        Some(true) => "kept",
        Some(false) => "not kept",
        None => "unknown",
    };
    format!("{}: {outcome}", promise.show(row.unit))
}

fn row_json(row: &Row) -> Value {
    let mut value = json!({ "name": row.name });
    for (side, median) in &row.medians {
        let name = side.name();
        match median {
            Ok(figure) => value[format!("{name}_{}", row.unit.suffix())] = json!(figure),
            Err(error) => value[format!("{name}_error")] = json!(format!("{error:#}")),
        }
        if let Some(ratio) = row.ratio(*side) {
            value[format!("{name}_ratio")] = json!(ratio);
        }
    }
    if let Some(why) = &row.skipped {
        value["skipped"] = json!(why);
    }
    if let Some(promise) = row.promise {
        value["promised"] = json!(promise.show(row.unit));
        value["kept"] = json!(row.is_kept());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Promise, Unit};

    fn row(promise: Option<Promise>) -> Row {
        Row {
            medians: vec![(Side::Native, Ok(200)), (Side::Husk, Ok(300))],
            ..Row::new("x", Unit::Time, promise)
        }
    }

    fn words(row: &Row) -> String {
        let line = line(row);
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_line_shows_what_there_is() {
        let row = row(None);
        assert_eq!(words(&row), "x 200 ns 300 ns 1.500 - -");
        assert_eq!(row_json(&row)["husk_ratio"], 1.5);
        assert_eq!(row_json(&row)["husk_ns"], 300);
    }

    #[test]
    fn a_promise_stands_beside_the_figures() {
        let row = row(Some(Promise::RatioAtMost(1.6)));
        assert!(words(&row).ends_with("x <= 1.60: kept"), "{}", words(&row));
        assert_eq!(row_json(&row)["kept"], true);
        let none = Row::new("x", Unit::Bits, Some(Promise::AtLeast(5_000_000_000)));
        assert!(words(&none).ends_with(">= 5.00 Gb/s: unknown"));
    }
}
