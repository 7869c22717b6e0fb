//! The host's files in the machine, by virtio-fs: `virtiofsd`, as our child, serves them to QEMU.
//!
//! `init.sh` mounts them for reading and puts a file system in memory over them. What the machine
//! has of its own, though the host has it too, is empty or the machine's: `/proc`, `/sys`, `/dev`,
//! `/tmp` and `/run`; of the last two, the program's folder and the working folder are kept.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Child;

use anyhow::{Context, Result, ensure};

use super::options::Options;
use super::{files, tools};

/// Where Debian's packages put it: that of QEMU, and the later one of its own.
const SERVERS: [&str; 2] = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];
/// Where the machine has fresh folders.
const FRESH: [&str; 2] = ["/tmp", "/run"];

/// Checks that there is a server.
///
/// # Errors
/// One sentence that says what to install.
pub(crate) fn require() -> Result<()> {
    find_server(&SERVERS).map(|_| ())
}

fn find_server(places: &[&'static str]) -> Result<&'static str> {
    let mut places = places.iter().copied();
    let missing = || {
        tools::missing(
            "virtiofsd",
            "qemu-system-common, or virtiofsd where it is one",
        )
    };
    places
        .find(|place| Path::new(place).is_file())
        .with_context(missing)
}

/// The server: it ends when we do, and when QEMU does.
pub(crate) struct Server {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts it, with its socket and its log in `folder`.
    ///
    /// # Errors
    /// When it is missing or does not start. What it dislikes later, [`finish`](Self::finish)
    /// tells.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let program = find_server(&SERVERS)?;
        let (socket, log) = (folder.join("files"), folder.join("files.log"));
        // Whoever reaches the socket reads every file.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("a socket cannot be made at {}", socket.display()))?;
        let child = tools::command("setpriv")
            .args(["--pdeathsig", "KILL", program, "--fd=0"])
            .args([
                "-o",
                "source=/",
                "-o",
                "cache=always",
                "-o",
                "sandbox=chroot",
            ])
            .stdin(OwnedFd::from(listener))
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("{program} does not start"))?;
        Ok(Self { child, socket, log })
    }

    /// QEMU's arguments for the device. The server reads the machine's memory itself.
    pub(crate) fn device(&self, memory: &str) -> [String; 8] {
        // A comma in an option's value is written twice.
        let socket = self.socket.to_string_lossy().replace(',', ",,");
        let memory = format!("memory-backend-memfd,id=memory,size={memory},share=on");
        let chardev = format!("socket,id=files,path={socket}");
        let device = "vhost-user-fs-pci,chardev=files,tag=host";
        let machine = "memory-backend=memory";
        let words = ["-object", &memory, "-machine", machine];
        let more = ["-chardev", &chardev, "-device", device];
        let [a, b, c, d] = words.map(String::from);
        let [e, f, g, h] = more.map(String::from);
        [a, b, c, d, e, f, g, h]
    }

    /// Ends it; returns what it said.
    pub(crate) fn finish(self) -> Vec<u8> {
        // It may have said nothing, or be unable to.
        fs::read(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It mostly has ended with QEMU by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of the host, where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    path: PathBuf,
    working_folder: PathBuf,
}

impl Program {
    /// The program that the options name: a path, or a name that is looked up.
    ///
    /// # Errors
    /// When it is no file.
    pub(crate) fn of(options: &Options) -> Result<Self> {
        let named = &options.program;
        let is_name = !named.as_os_str().as_bytes().contains(&b'/');
        let found = is_name.then(|| tools::find(&named.to_string_lossy()));
        let path = std::path::absolute(found.flatten().as_ref().unwrap_or(named))?;
        ensure!(path.is_file(), "{} is no file", named.display());
        let working_folder = std::env::current_dir()?;
        Ok(Self {
            path,
            working_folder,
        })
    }

    /// A script that keeps what would be hidden by fresh folders.
    pub(crate) fn kept(&self) -> Vec<u8> {
        let folders = self.path.parent().into_iter();
        let mut folders: Vec<&Path> = folders.chain([self.working_folder.as_path()]).collect();
        folders.sort();
        let hidden = |folder: &&Path| FRESH.iter().any(|fresh| folder.starts_with(fresh));
        let mut kept: Vec<&Path> = Vec::new();
        for folder in folders.into_iter().filter(hidden) {
            if !kept.iter().any(|above| folder.starts_with(above)) {
                kept.push(folder);
            }
        }
        let line = |folder: &Path| format!("keep {}\n", files::quoted(&folder.to_string_lossy()));
        kept.into_iter().map(line).collect::<String>().into_bytes()
    }

    /// A script that runs it with our own environment.
    ///
    /// # Errors
    /// When its path is not UTF-8.
    pub(crate) fn command(&self, arguments: &[String]) -> Result<String> {
        let folder = files::quoted(&self.working_folder.to_string_lossy());
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = files::quoted(name.trim());
        let line = files::command_line(&environment(std::env::vars_os()), &self.path, arguments)?;
        Ok(format!(
            "hostname {name}\ncd {folder} 2>/dev/null || cd /tmp\n{line}"
        ))
    }
}

/// Variables as words of the shell; those that are not UTF-8 are left out.
fn environment(
    variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
) -> String {
    let word = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        Some(files::quoted(&format!("{name}={value}")))
    };
    variables.filter_map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nested::scratch::Scratch;

    fn kept(path: &str, working_folder: &str) -> String {
        let program = Program {
            path: path.into(),
            working_folder: working_folder.into(),
        };
        String::from_utf8(program.kept()).expect("text")
    }

    #[test]
    fn what_fresh_folders_would_hide_is_kept_once() {
        assert_eq!(kept("/bin/ls", "/root"), "");
        assert_eq!(kept("/bin/ls", "/tmpfiles"), "");
        assert_eq!(
            kept("/tmp/a/ls", "/tmp/b c"),
            "keep '/tmp/a'\nkeep '/tmp/b c'\n"
        );
        assert_eq!(kept("/tmp/a/b/ls", "/tmp/a"), "keep '/tmp/a'\n");
        assert_eq!(kept("/run/ls", "/run/a"), "keep '/run'\n");
    }

    #[test]
    fn the_environment_is_passed_as_words() {
        let variables = [("A", "b c"), ("D", "it's\n$x"), ("EMPTY", "")];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let words = environment(variables.into_iter());
        let script =
            format!("env -i {words} sh -c 'printf \"%s|\" \"$A\" \"$D\" \"${{EMPTY-unset}}\"'");
        let output = tools::output("sh", &["-c", &script], Path::new("/")).expect("sh runs");
        assert_eq!(output, "b c|it's\n$x||");
    }

    #[test]
    fn a_program_is_a_path_or_looked_up() {
        let options = |program: &str| Options::parse(&[program.to_string()]).expect("valid");
        let found = Program::of(&options("sh")).expect("everywhere");
        assert!(found.path.is_absolute() && found.path.ends_with("sh"));
        assert!(Program::of(&options("./sh")).is_err());
        assert!(Program::of(&options("/bin")).is_err());
        let script = found.command(&["-c".to_string()]).expect("text");
        assert!(script.contains(" || cd /tmp\nexec "), "{script}");
    }

    #[test]
    fn a_missing_server_is_named_with_its_package() {
        let error = find_server(&["/nonexistent/virtiofsd"]).expect_err("missing");
        assert!(error.to_string().contains("qemu-system-common"));
        assert_eq!(
            find_server(&["/nonexistent", "/bin/sh"]).ok(),
            Some("/bin/sh")
        );
    }

    #[test]
    fn a_comma_in_the_socket_s_path_does_not_end_it() {
        let folder = Scratch::new(&std::env::temp_dir(), "a,b").expect("writable");
        let server = Server {
            child: std::process::Command::new("true").spawn().expect("true"),
            socket: folder.path().join("files"),
            log: folder.path().join("files.log"),
        };
        let arguments = server.device("2G");
        assert!(arguments.iter().any(|word| word.contains(".a,,b-")));
        assert!(
            arguments
                .iter()
                .any(|word| word.contains("size=2G,share=on"))
        );
        assert!(server.finish().is_empty());
    }
}
