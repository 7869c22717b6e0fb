//! One command line, run natively and in a machine.

use std::time::Duration;

use crate::content::Content;

/// What a case runs.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// A program of the host, by name or path.
    Host(String),
    /// A C program of ours, `programs/NAME.c`, built with these flags.
    C {
        name: &'static str,
        flags: &'static [&'static str],
    },
}

/// A command line with everything around it. Both runs get the same fresh scratch folder as
/// their working folder; what they leave in it is compared as well.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// The Debian package that brings the program.
    pub(crate) package: &'static str,
    pub(crate) program: Program,
    pub(crate) arguments: Vec<String>,
    pub(crate) stdin: Option<Content>,
    pub(crate) files: Vec<(&'static str, Content)>,
    pub(crate) env: Vec<(&'static str, &'static str)>,
    /// A shell script that fills the scratch folder, natively, before each run.
    pub(crate) prepare: &'static str,
    /// The native run is meant to end with another status than 0.
    pub(crate) fails: bool,
    pub(crate) compares: Compares,
    pub(crate) slow: bool,
    /// It looks at the clock, and fails now and then where the host is busy.
    pub(crate) about_time: bool,
    /// Virtual CPUs of the machine, where the engine has more than one.
    pub(crate) cpus: u32,
    pub(crate) timeout: Duration,
}

/// What has to be equal beside the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compares {
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) files: bool,
}

const USUAL: Compares = Compares {
    stdout: true,
    stderr: false,
    files: true,
};
const USUAL_TIMEOUT: Duration = Duration::from_secs(60);
const SHORT_TIMEOUT: Duration = Duration::from_secs(20);
const SLOW_TIMEOUT: Duration = Duration::from_secs(900);

impl Case {
    /// A case that runs `argv` and shall end with status 0.
    pub(crate) fn new(name: &str, argv: &[&str]) -> Self {
        let (program, arguments) = argv.split_first().expect("a case names a program");
        let program = Program::Host((*program).to_string());
        Self::with_program(name, program, arguments)
    }

    /// A case that builds and runs a C program of ours.
    pub(crate) fn c(name: &str, program: &'static str, flags: &'static [&'static str]) -> Self {
        let program = Program::C {
            name: program,
            flags,
        };
        let mut case = Self::with_program(name, program, &[]);
        case.timeout = SHORT_TIMEOUT;
        case
    }

    fn with_program(name: &str, program: Program, arguments: &[&str]) -> Self {
        Self {
            name: name.to_string(),
            package: "",
            program,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            stdin: None,
            files: Vec::new(),
            env: Vec::new(),
            prepare: "",
            fails: false,
            compares: USUAL,
            slow: false,
            about_time: false,
            cpus: 1,
            timeout: USUAL_TIMEOUT,
        }
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_string());
        self
    }

    /// Standard input is a pipe with this content; without it, it is `/dev/null`.
    pub(crate) fn stdin(mut self, content: Content) -> Self {
        self.stdin = Some(content);
        self
    }

    /// Puts a file into the scratch folder.
    pub(crate) fn file(mut self, name: &'static str, content: Content) -> Self {
        self.files.push((name, content));
        self
    }

    pub(crate) fn env(mut self, key: &'static str, value: &'static str) -> Self {
        self.env.push((key, value));
        self
    }

    pub(crate) fn prepare(mut self, script: &'static str) -> Self {
        self.prepare = script;
        self
    }

    /// The machine has so many virtual CPUs.
    pub(crate) const fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    pub(crate) fn fails(mut self) -> Self {
        self.fails = true;
        self
    }

    /// Standard error has to be the same, too.
    pub(crate) fn with_stderr(mut self) -> Self {
        self.compares.stderr = true;
        self
    }

    /// Only the exit status has to be the same.
    pub(crate) fn status_only(mut self) -> Self {
        self.compares = Compares {
            stdout: false,
            stderr: false,
            files: false,
        };
        self
    }

    /// What is left in the scratch folder differs from run to run.
    pub(crate) fn ignore_files(mut self) -> Self {
        self.compares.files = false;
        self
    }

    /// Has an announced second try: what it tests is about time.
    pub(crate) fn about_time(mut self) -> Self {
        self.about_time = true;
        self
    }

    /// Only run when slow cases are asked for.
    pub(crate) fn slow(mut self) -> Self {
        self.slow = true;
        self.timeout = SLOW_TIMEOUT;
        self
    }
}

/// Names the Debian package that a list of cases needs, and puts it in front of their names.
pub(crate) fn in_package<const N: usize>(package: &'static str, cases: [Case; N]) -> Vec<Case> {
    let named = |mut case: Case| {
        case.name = format!("{package}/{}", case.name);
        case.package = package;
        case
    };
    cases.into_iter().map(named).collect()
}
