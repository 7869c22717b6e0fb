//! Which engine runs a machine.
//!
//! `auto` takes KVM where running code in it was fast, otherwise the paravirt engine, or for operating systems the
//! one that interprets. Finding
//! that out takes milliseconds, or a fifth of a second with a KVM that interprets, so the answer
//! is kept until the host starts anew, in a file that only its owner can have written.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use engine_contract::Engine;
use engine_emulate::Emulate;
use engine_kvm::Kvm;
use engine_paravirt::Paravirt;

use crate::arguments::EngineChoice;
use crate::debug::DebugOptions;
use crate::error::{Failure, say};

/// The device whose KVM is meant.
const DEVICE: &str = "/dev/kvm";
/// Longest answer that is read back.
const ANSWER_MAX: u64 = 256;

/// The engine that was asked for, or the first that runs Husk's kernel fast.
pub(crate) fn engine(choice: EngineChoice) -> Box<dyn Engine> {
    match choice {
        EngineChoice::Kvm => Box::new(Kvm),
        EngineChoice::Paravirt => Box::new(Paravirt),
        EngineChoice::Emulate => Box::new(Emulate),
        EngineChoice::Auto if kvm_is_fast() => Box::new(Kvm),
        EngineChoice::Auto => Box::new(Paravirt),
    }
}

/// As [`engine`], but `auto` is one that lets a machine be debugged, or sees single instructions.
pub(crate) fn debuggable(choice: EngineChoice, options: &DebugOptions) -> Box<dyn Engine> {
    match choice {
        EngineChoice::Auto if options.trace_instructions.is_some() => Box::new(Emulate),
        EngineChoice::Auto if kvm_is_fast() => Box::new(Kvm),
        EngineChoice::Auto => Box::new(Emulate),
        named => engine(named),
    }
}

/// The first engine that runs any operating system fast; where there is none, the one that interprets every
/// instruction, about which a line is said.
pub(crate) fn for_systems() -> Box<dyn Engine> {
    if kvm_is_fast() {
        return Box::new(Kvm);
    }
    // The answer was kept without its reason.
    let Some(reason) = Kvm.probe().refusal else {
        return Box::new(Kvm);
    };
    let remedy = match std::fs::exists(DEVICE) {
        Ok(true) => "`--engine kvm` tries it anyway, `--engine emulate` says nothing",
        _ => "a host with hardware virtualization is fast, `--engine emulate` says nothing",
    };
    let what = "every instruction of this operating system is interpreted";
    let why = format_args!("kvm: {reason}");
    say(&Failure::new(what, why, remedy).to_string());
    Box::new(Emulate)
}

fn kvm_is_fast() -> bool {
    // Without the device, or the right to use it, there is nothing to find out.
    if OpenOptions::new()
        .read(true)
        .write(true)
        .open(DEVICE)
        .is_err()
    {
        return false;
    }
    let Some(question) = question() else {
        return Kvm.probe().refusal.is_none();
    };
    let folder = folder();
    let known = folder
        .as_deref()
        .and_then(|folder| recall(folder, &question));
    known.unwrap_or_else(|| {
        let answer = Kvm.probe().refusal.is_none();
        if let Some(folder) = folder {
            // Not kept means found out again the next time.
            let _ = keep(&folder, &question, answer);
        }
        answer
    })
}

/// What the answer depends on: this run of the host, its device, and how Husk asks.
fn question() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let device = std::fs::metadata(DEVICE).ok()?;
    let version = env!("CARGO_PKG_VERSION");
    Some(format!(
        "{} {:x} {} {version}",
        boot.trim(),
        device.rdev(),
        device.ctime_nsec()
    ))
}

/// Where answers are kept: what the host clears when it starts, or the user's cache.
fn folder() -> Option<PathBuf> {
    let absolute = |name| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    if let Some(runtime) = absolute("XDG_RUNTIME_DIR") {
        return Some(runtime.join("husk"));
    }
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/run/husk"));
    }
    let cache = absolute("XDG_CACHE_HOME");
    let cache = cache.or_else(|| Some(absolute("HOME")?.join(".cache")));
    Some(cache?.join("husk"))
}

fn recall(folder: &Path, question: &str) -> Option<bool> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let path = folder.join("kvm");
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    let metadata = file.metadata().ok()?;
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !is_ours || metadata.mode() & 0o022 != 0 || !metadata.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(ANSWER_MAX).read_to_string(&mut text).ok()?;
    match text.strip_prefix(question)? {
        " fast\n" => Some(true),
        " slow\n" => Some(false),
        _ => None,
    }
}

fn keep(folder: &Path, question: &str, answer: bool) -> std::io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let new = folder.join(format!("kvm.{}", std::process::id()));
    let answer = if answer { "fast" } else { "slow" };
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file: File| writeln!(file, "{question} {answer}"));
    let kept = written.and_then(|()| std::fs::rename(&new, folder.join("kvm")));
    if kept.is_err() {
        // It may not even have been made.
        let _ = std::fs::remove_file(&new);
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_answer_is_recalled_for_its_own_question_only() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("husk");
        assert_eq!(recall(&inner, "a b"), None);
        for answer in [true, false] {
            keep(&inner, "a b", answer).unwrap();
            assert_eq!(recall(&inner, "a b"), Some(answer));
            assert_eq!(recall(&inner, "a"), None);
            assert_eq!(recall(&inner, "a b c"), None);
        }
    }

    #[test]
    fn an_answer_that_others_could_have_written_is_none() {
        let folder = tempfile::tempdir().unwrap();
        keep(folder.path(), "q", true).unwrap();
        let file = folder.path().join("kvm");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
        assert_eq!(recall(folder.path(), "q"), None);
        let target = folder.path().join("target");
        std::fs::rename(&file, &target).unwrap();
        std::fs::set_permissions(&target, PermissionsExt::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&target, &file).unwrap();
        assert_eq!(recall(folder.path(), "q"), None);
    }
}
