//! The tidy test: the rules of the house that a compiler cannot check.
//!
//! Each rule is a pure function in a file of its own, with tests that show that it can fail. A
//! rule returns its findings; it never prints and never stops at the first one.

mod groups;
mod law;
mod lexer;
mod map;
mod markers;
mod tails;
mod unsafety;

use std::fmt;
use std::fs;

use anyhow::Result;

use crate::workspace::Workspace;

/// One broken rule: where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    place: String,
    message: String,
}

impl Finding {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Runs every rule over the workspace.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let architecture = fs::read_to_string(workspace.root.join("ARCHITECTURE.md")).ok();
    let mut findings = law::check(&workspace.edges);
    findings.extend(map::check(architecture.as_deref(), &workspace.packages));
    findings.extend(groups::check(&groups::read(
        &workspace.root,
        &workspace.packages,
    )));
    for manifest in &workspace.manifests {
        findings.extend(unsafety::check_manifest(manifest));
    }
    for source in &workspace.sources {
        let code = lexer::code_only(&source.text);
        findings.extend(tails::check(&source.path, &code));
        findings.extend(unsafety::check(&source.path, &code));
        findings.extend(markers::check(&source.path, &code));
    }
    findings.extend(tails::stale_allowances(&workspace.sources));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tidy test itself: this workspace breaks no rule.
    #[test]
    fn the_workspace_is_tidy() {
        let workspace = Workspace::load().expect("the workspace can be read");
        let findings = check(&workspace).expect("the rules can be checked");
        let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert!(lines.is_empty(), "\n{}", lines.join("\n"));
    }
}
