//! `--hypervisor`: what a guest finds below itself.

use boot::{BootError, Image, Protocol};
use engine_contract::Engine;
use engine_emulate::{EmulateWith, Hypervisor};

use crate::arguments::{Below, BootEngine, BootOptions};
use crate::error::Failure;

/// Refuses an engine that could not offer it.
pub(super) fn check(options: &BootOptions) -> Result<(), Failure> {
    if options.hypervisor == Below::Xen && options.engine == BootEngine::Kvm {
        let why = "the guest's hypercalls would reach KVM, and not husk";
        let remedy = "use --engine emulate, or leave --engine out";
        return Err(Failure::new("--hypervisor xen", why, remedy));
    }
    Ok(())
}

/// The engine that offers it; `None`: any.
pub(super) fn engine(options: &BootOptions) -> Option<Box<dyn Engine>> {
    match options.hypervisor {
        Below::None => None,
        Below::Xen => Some(Box::new(EmulateWith {
            seed: options.determinism.seed(),
            hypervisor: Hypervisor::Xen,
        })),
    }
}

/// How a kernel is entered above it.
pub(super) fn protocol(below: Below, kernel: &Image) -> Result<Protocol, BootError> {
    match below {
        Below::None => boot::detect(kernel),
        Below::Xen => boot::detect_over_xen(kernel),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Verb};

    fn options(line: &str) -> BootOptions {
        let line = format!("husk boot --kernel k {line}");
        match Arguments::parse_from(line.split_whitespace()).verb {
            Verb::Boot(options) => options,
            _ => panic!("{line}"),
        }
    }

    #[test]
    fn xen_is_offered_by_the_interpreter_alone() {
        for line in ["", "--engine kvm", "--hypervisor none --engine kvm"] {
            let options = options(line);
            assert!(check(&options).is_ok(), "{line}");
            assert!(engine(&options).is_none(), "{line}");
        }
        for line in ["", "--engine auto", "--engine emulate", "--deterministic"] {
            let options = options(&format!("--hypervisor xen {line}"));
            assert!(check(&options).is_ok(), "{line}");
            let name = engine(&options).map(|engine| engine.name());
            assert_eq!(name, Some("emulate"), "{line}");
        }
        let failure = check(&options("--hypervisor xen --engine kvm")).unwrap_err();
        let sentence = failure.to_string();
        assert!(sentence.contains("--engine emulate"), "{sentence}");
    }
}
