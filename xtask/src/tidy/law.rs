//! The dependency law: which group of packages may depend on which.
//!
//! The table is the law of ARCHITECTURE.md in checkable form. A package is named by its folder; a
//! pattern ends in `/*` to mean everything below a folder, at any depth.

use super::Finding;
use crate::workspace::{Edge, Use};

/// What the packages that match `from` may link.
struct Rule {
    from: &'static str,
    may_use: &'static [&'static str],
}

/// The first rule whose `from` matches decides.
const LAW: &[Rule] = &[
    Rule {
        from: "guest/abi",
        may_use: &[],
    },
    Rule {
        from: "guest/config",
        may_use: &["guest/abi"],
    },
    Rule {
        from: "guest/*",
        may_use: &["guest/*"],
    },
    Rule {
        from: "host",
        may_use: &[],
    },
    Rule {
        from: "host/freestanding",
        may_use: &[],
    },
    Rule {
        from: "host/processor",
        may_use: &[],
    },
    Rule {
        from: "x86/state",
        may_use: &[],
    },
    Rule {
        from: "x86/listing",
        may_use: &["x86/state"],
    },
    Rule {
        from: "x86/paging",
        may_use: &["x86/state"],
    },
    Rule {
        from: "x86/semantics",
        may_use: &["x86/state", "x86/paging"],
    },
    // It lets the host's processor do what it emulates.
    Rule {
        from: "x86/vector",
        may_use: &["x86/state", "x86/paging", "x86/semantics", "host/processor"],
    },
    Rule {
        from: "machine/memory",
        may_use: &["host"],
    },
    Rule {
        from: "machine/bus",
        may_use: &[],
    },
    Rule {
        from: "machine/entropy",
        may_use: &[],
    },
    Rule {
        from: "machine/acpi",
        may_use: &["machine/bus"],
    },
    // A board is put together from devices, and is the world that an engine's virtual CPUs see.
    Rule {
        from: "machine/board",
        may_use: &["engines/contract", "machine/*", "devices/*"],
    },
    // Put together from chips, as a board is.
    Rule {
        from: "machine/irqchip",
        may_use: &["engines/contract", "machine/bus", "devices/legacy"],
    },
    // It stands between an engine and whoever runs its virtual CPUs.
    Rule {
        from: "machine/debugger",
        may_use: &["engines/contract", "machine/bus", "machine/memory", "x86/*"],
    },
    Rule {
        from: "machine/bells",
        may_use: &["machine/bus", "machine/memory"],
    },
    Rule {
        from: "engines/paravirt/cell",
        may_use: &[],
    },
    Rule {
        from: "engines/contract",
        may_use: &["x86/state", "machine/*"],
    },
    // A processor has its local interrupt controller; vector instructions are the host's own.
    Rule {
        from: "engines/emulate",
        may_use: &[
            "engines/contract",
            "x86/*",
            "machine/*",
            "devices/legacy",
            "host",
            "host/processor",
        ],
    },
    Rule {
        from: "engines/*",
        may_use: &["engines/contract", "x86/*", "machine/*", "host"],
    },
    // `devices/pci` is a bus, on which other devices are functions.
    Rule {
        from: "devices/pci",
        may_use: &["machine/*"],
    },
    Rule {
        from: "devices/*",
        may_use: &[
            "machine/*",
            "devices/pci",
            "backends/fs",
            "backends/block",
            "backends/net",
        ],
    },
    Rule {
        from: "backends/block",
        may_use: &["host"],
    },
    // `backends/fs` holds the seam that every FUSE service speaks.
    Rule {
        from: "backends/*",
        may_use: &["backends/fs", "host"],
    },
    Rule {
        from: "boot",
        may_use: &["machine/memory", "machine/bus", "x86/state", "guest/config"],
    },
    Rule {
        from: "cli",
        may_use: &[
            "engines/contract",
            "engines/emulate",
            "engines/kvm",
            "engines/paravirt",
            "x86/*",
            "machine/*",
            "devices/*",
            "backends/*",
            "boot",
            "guest/config",
            "host",
        ],
    },
    // These are no part of the product; nothing may look at them.
    Rule {
        from: "tests/isolation",
        may_use: &["*"],
    },
    // It puts whole machines together.
    Rule {
        from: "tests/lockstep",
        may_use: &["*"],
    },
    Rule {
        from: "tests/servers",
        may_use: &["tests/serving", "tests/vocabulary"],
    },
    // What machines of every engine must do, for the tests of engines.
    Rule {
        from: "tests/machines",
        may_use: &[
            "engines/contract",
            "machine/bus",
            "machine/memory",
            "x86/state",
        ],
    },
    // The host's processor beside ours, for the tests of what instructions do.
    Rule {
        from: "tests/oracle",
        may_use: &["host/processor", "x86/*"],
    },
    Rule {
        from: "tests/*",
        may_use: &["tests/vocabulary"],
    },
    Rule {
        from: "benches",
        may_use: &["tests/serving", "tests/vocabulary"],
    },
    Rule {
        from: "xtask",
        may_use: &[],
    },
];

/// What anyone may use: the numbers that both sides of the hypercall wall agree on.
const FOR_EVERYONE: &[&str] = &["guest/abi"];

/// What anyone's tests may use.
const FOR_EVERY_TEST: &[&str] = &[
    "tests/vocabulary",
    "tests/machines",
    "tests/oracle",
    "host/processor",
];

/// The builder of freestanding programs, and whose build scripts may call it.
const BUILDER: &str = "host/freestanding";
const BUILDERS_USERS: &[&str] = &["boot", "engines/paravirt"];

/// Reports every edge that the law does not allow, and every package it does not know.
pub(crate) fn check(edges: &[Edge]) -> Vec<Finding> {
    edges.iter().filter_map(check_edge).collect()
}

fn check_edge(edge: &Edge) -> Option<Finding> {
    let place = format!("{}/Cargo.toml", edge.from);
    if rule_for(&edge.from).is_none() {
        return Some(Finding::new(
            place,
            "no rule of the dependency law (xtask) names this folder",
        ));
    }
    let message = format!("may not depend on {} ({:?})", edge.to, edge.using);
    (!is_allowed(edge)).then(|| Finding::new(place, message))
}

fn is_allowed(edge: &Edge) -> bool {
    if edge.to == BUILDER {
        return edge.using == Use::Build && BUILDERS_USERS.contains(&edge.from.as_str());
    }
    let by_rule = rule_for(&edge.from).is_some_and(|rule| matches_any(rule.may_use, &edge.to));
    let by_test = edge.using == Use::Dev && matches_any(FOR_EVERY_TEST, &edge.to);
    by_rule || by_test || matches_any(FOR_EVERYONE, &edge.to)
}

fn rule_for(folder: &str) -> Option<&'static Rule> {
    LAW.iter().find(|rule| matches(rule.from, folder))
}

fn matches_any(patterns: &[&str], folder: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, folder))
}

fn matches(pattern: &str, folder: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => folder.starts_with(prefix),
        None => pattern == folder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(from: &str, to: &str, using: Use) -> bool {
        check(&[Edge {
            from: from.into(),
            to: to.into(),
            using,
        }])
        .is_empty()
    }

    #[test]
    fn an_engine_may_use_what_lies_below_it_and_no_other_engine() {
        assert!(allowed("engines/paravirt", "engines/contract", Use::Normal));
        assert!(allowed("engines/paravirt", "machine/memory", Use::Normal));
        assert!(allowed("engines/kvm", "x86/listing", Use::Normal));
        assert!(!allowed("engines/paravirt", "engines/kvm", Use::Normal));
        assert!(!allowed(
            "engines/contract",
            "engines/paravirt",
            Use::Normal
        ));
    }

    #[test]
    fn only_the_command_may_use_an_engine() {
        assert!(allowed("cli", "engines/paravirt", Use::Normal));
        assert!(!allowed("devices/virtio", "engines/contract", Use::Normal));
        assert!(!allowed("backends/fs", "engines/paravirt", Use::Normal));
    }

    #[test]
    fn the_two_sides_of_the_machine_share_only_the_abi() {
        assert!(allowed("cli", "guest/abi", Use::Normal));
        assert!(allowed("engines/paravirt/cell", "guest/abi", Use::Normal));
        assert!(!allowed("cli", "guest/kernel", Use::Normal));
        assert!(!allowed("guest/kernel", "host", Use::Normal));
        assert!(!allowed("guest/abi", "guest/hal", Use::Normal));
    }

    #[test]
    fn the_builder_serves_two_build_scripts_only() {
        assert!(allowed("boot", "host/freestanding", Use::Build));
        assert!(allowed("engines/paravirt", "host/freestanding", Use::Build));
        assert!(!allowed("boot", "host/freestanding", Use::Normal));
        assert!(!allowed("cli", "host/freestanding", Use::Build));
    }

    #[test]
    fn tests_may_be_helped_but_not_depended_on() {
        assert!(allowed("devices/virtio", "tests/vocabulary", Use::Dev));
        assert!(!allowed("devices/virtio", "tests/vocabulary", Use::Normal));
    }

    #[test]
    fn a_device_calls_its_backend_and_not_the_other_way_round() {
        assert!(allowed("devices/virtio", "backends/fs", Use::Normal));
        assert!(!allowed("backends/fs", "devices/virtio", Use::Normal));
        assert!(!allowed("backends/fs", "machine/memory", Use::Normal));
        assert!(!allowed("backends/fs", "backends/console", Use::Normal));
    }

    #[test]
    fn a_board_knows_devices_and_the_contract_but_no_engine() {
        assert!(allowed("machine/board", "devices/legacy", Use::Normal));
        assert!(allowed("machine/board", "engines/contract", Use::Normal));
        assert!(!allowed("machine/board", "engines/kvm", Use::Normal));
        assert!(!allowed("machine/board", "backends/block", Use::Normal));
        assert!(!allowed("machine/memory", "devices/legacy", Use::Normal));
    }

    #[test]
    fn an_unknown_folder_is_reported() {
        assert!(!allowed("attic", "host", Use::Normal));
    }
}
