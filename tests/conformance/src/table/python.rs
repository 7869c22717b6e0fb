//! CPython: programs of one line, and the standard library's own tests.

use crate::case::{Case, in_package};
use crate::content::Content::{Mixed, Text, Words};

/// Debian's, whatever else is called `python3` on the path.
const PYTHON: &str = "/usr/bin/python3";

pub(super) fn cases() -> Vec<Case> {
    [language(), library(), system(), own_tests()]
        .into_iter()
        .flatten()
        .collect()
}

fn script(name: &str, code: &str) -> Case {
    Case::new(name, &[PYTHON, "-c", code])
}

fn language() -> Vec<Case> {
    in_package(
        "python3",
        [
            script("answer", "print(6*7)"),
            script("pass", "pass"),
            script(
                "exit",
                "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)",
            )
            .fails()
            .with_stderr(),
            script("exception", "1/0").fails().with_stderr(),
            script(
                "big-numbers",
                "print(pow(3, 20000, 10**200+7), 2**2000, len(str(7**100000)))",
            )
            .env("PYTHONINTMAXSTRDIGITS", "0"),
            script(
                "floats",
                "import math; print(*(repr(math.sin(i)*math.exp(i/7)/(i+1)) for i in range(200)), sep='\\n')",
            ),
            script(
                "dict",
                "d={i: str(i) for i in range(300000)}; print(len(d), sum(map(len, d.values())), d[77777])",
            ),
            script(
                "sort",
                "import random; random.seed(1); x=[random.random() for _ in range(200000)]; x.sort(); print(x[0], x[-1], sum(x))",
            ),
            script(
                "strings",
                "s='äöü€😀'*5000; print(len(s.encode()), s[::-1][:4], s.upper()[:3], ascii(s[:5]), f'{3.14159:>10.2f}')",
            ),
            script(
                "classes",
                "from dataclasses import dataclass\n@dataclass(order=True)\nclass P:\n a: int\n b: str = 'x'\nprint(sorted([P(3), P(1, 'y'), P(1)]))",
            ),
            script(
                "generators",
                "from itertools import *; print(sum(islice((a*b for a, b in zip(count(), cycle([1,2,3]))), 300000)))",
            ),
            script(
                "recursion",
                "import sys; sys.setrecursionlimit(9000)\ndef f(n): return 0 if n == 0 else 1 + f(n-1)\nprint(f(8000))",
            ),
            script(
                "endless-recursion",
                "def f(): f()\ntry: f()\nexcept RecursionError as e: print(e)",
            ),
            Case::new("stdin-script", &[PYTHON, "-"]).stdin(Text(
                "import sys\nprint(sys.argv, sys.stdin.isatty(), __name__)\n",
            )),
            Case::new("script-file", &[PYTHON, "prog.py", "a", "b c"])
                .file(
                    "prog.py",
                    Text("import sys, lib\nprint(sys.argv, lib.x, __file__)\n"),
                )
                .file("lib.py", Text("x = 5\n")),
        ],
    )
}

fn library() -> Vec<Case> {
    in_package(
        "python3",
        [
            script("json", "import json; x={'a':[1,2.5,None,True,{'b':'\\u20ac'}]}; print(json.dumps(x, indent=2, sort_keys=True), json.loads(json.dumps(x))==x)"),
            script("hashes", "import hashlib; [print(n, hashlib.new(n, b'husk'*9999).hexdigest()) for n in ('md5','sha1','sha256','sha3_256','blake2b')]"),
            script("compression", "import zlib, bz2, lzma; d=bytes(i*i%251 for i in range(200000)); [print(len(m.compress(d)), m.decompress(m.compress(d))==d) for m in (zlib, bz2, lzma)]"),
            script("decimal", "from decimal import *; getcontext().prec=120; print(Decimal(2).sqrt(), Decimal(1)/Decimal(97), Decimal(1).exp())"),
            script("re", "import re, sys; t=sys.stdin.read(); print(len(re.findall(r'(?i)\\b(\\w+) \\1\\b', t)), re.sub(r'(?P<a>ring) (\\w+)', r'\\2<\\g<a>>', t)[:300])").stdin(Words(5000)),
            script("datetime", "from datetime import *; from zoneinfo import ZoneInfo; print(datetime(2024,3,31,2,30,tzinfo=ZoneInfo('Europe/Berlin')).astimezone(timezone.utc), date.fromordinal(700000).isoformat())"),
            script("csv", "import csv, sys, collections; r=csv.reader(sys.stdin, delimiter=' '); print(collections.Counter(x[1] for x in r).most_common(5))").stdin(Words(5000)),
            script("sqlite", "import sqlite3; c=sqlite3.connect('d.db'); c.execute('create table t(a,b)'); c.executemany('insert into t values(?,?)', [(i, str(i)) for i in range(5000)]); c.commit(); print(c.execute('select sum(a), max(b) from t').fetchone())").ignore_files(),
            script("struct", "import struct, array; print(struct.pack('>IhQd3s', 1, -2, 3, 4.5, b'abc').hex(), array.array('d', [1, 2]).tobytes().hex())"),
            script("xml", "import xml.etree.ElementTree as E; r=E.fromstring('<a><b c=\"1\">x</b><b c=\"2\"/></a>'); print([b.get('c') for b in r.iter('b')], E.tostring(r))"),
            script("ctypes", "import ctypes, ctypes.util; l=ctypes.CDLL('libc.so.6'); l.strlen.restype=ctypes.c_size_t; print(l.strlen(b'husk'), l.abs(-5)); C=ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)); a=(ctypes.c_int*5)(5,1,4,2,3); l.qsort(a, 5, 4, C(lambda x,y: x[0]-y[0])); print(list(a))"),
            script("imports", "import argparse, ast, asyncio, base64, calendar, cmath, codecs, configparser, copy, curses, difflib, dis, email, fractions, glob, gzip, heapq, html, http.client, inspect, ipaddress, logging, mimetypes, numbers, operator, optparse, pickle, platform, pprint, queue, secrets, select, shlex, socket, ssl, statistics, string, tarfile, tempfile, textwrap, timeit, tokenize, traceback, turtle if 0 else types, unicodedata, urllib.request, uuid, weakref, zipfile; print(len(__import__('sys').modules) > 100)".replace("turtle if 0 else types", "types").as_str()),
            script("disassembly", "import dis; dis.dis(lambda x: [i**2 for i in x if i])").status_only(),
            Case::new("json-tool", &[PYTHON, "-m", "json.tool", "--sort-keys"]).stdin(Text("{\"b\":[1,2],\"a\":null}")),
            Case::new("tarfile-tool", &[PYTHON, "-m", "tarfile", "-l", "in.tar"]).file("in", Mixed(4000)).prepare("tar -cf in.tar in"),
            Case::new("compile-all", &[PYTHON, "-m", "py_compile", "prog.py"]).file("prog.py", Text("x = [i for i in range(3)]\n")).ignore_files(),
        ],
    )
}

fn system() -> Vec<Case> {
    in_package(
        "python3",
        [
            script("files", "import os; os.makedirs('a/b'); open('a/b/c','w').write('x'*70000); os.symlink('c','a/b/l'); os.link('a/b/c','h'); print(sorted(os.listdir('a/b')), os.stat('h').st_nlink, os.readlink('a/b/l'), os.path.getsize('h')); os.chmod('h', 0o640); os.truncate('h', 5); os.replace('h', 'a/n'); [print(x) for x in os.walk('.')]"),
            script("mmap", "import mmap\nwith open('f','wb') as f: f.truncate(1<<20)\nwith open('f','r+b') as f:\n m=mmap.mmap(f.fileno(),0); m[5000:5004]=b'husk'; m.flush(); print(m.find(b'husk'), m[4999:5005], len(m)); m.close()\nprint(open('f','rb').read()[5000:5004])"),
            script("signals", "import signal, os, time; h=[]; signal.signal(signal.SIGUSR1, lambda s,f: h.append(s)); os.kill(os.getpid(), signal.SIGUSR1); signal.signal(signal.SIGALRM, lambda s,f: h.append(s)); signal.setitimer(signal.ITIMER_REAL, .02); time.sleep(.2); print(h, signal.sigpending(), signal.pthread_sigmask(0, [10]))"),
            script("sigsegv", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").fails(),
            script("null-pointer", "import ctypes; ctypes.string_at(0)").fails(),
            script("abort", "import os; os.abort()").fails(),
            script("pipes", "import os, select; r,w=os.pipe(); print(select.select([r],[w],[],0)==([],[w],[])); os.write(w,b'abc'); print(os.read(r,10), select.select([r],[],[],.01)); os.close(w); print(os.read(r,1))"),
            script("locks", "import fcntl, os; f=open('f','w'); fcntl.flock(f, fcntl.LOCK_EX|fcntl.LOCK_NB); fcntl.lockf(f, fcntl.LOCK_EX|fcntl.LOCK_NB); print(fcntl.fcntl(f, fcntl.F_GETFD), os.get_inheritable(f.fileno())); os.fsync(f.fileno())"),
            script("identity", "import os, sys; print(os.getuid(), os.getgid(), os.getppid() >= 0, os.umask(0o22), sys.platform, os.cpu_count() >= 1, os.sysconf('SC_PAGESIZE'))"),
            script("limits", "import resource; print(resource.getrlimit(resource.RLIMIT_STACK)[0] > 0, resource.getrusage(0).ru_utime >= 0)"),
            script("times", "import time; a=time.monotonic_ns(); time.sleep(.02); b=time.monotonic_ns(); print(b-a >= 20_000_000, abs(time.time()-time.clock_gettime(0)) < 1, time.process_time() > 0)"),
            script("random", "import os, random; print(len(os.urandom(1000)), len(set(os.urandom(8) for _ in range(1000))), 0 <= random.SystemRandom().random() < 1)"),
            script("proc", "import os; m=open('/proc/self/maps').read(); print('[stack]' in m, 'libc.so.6' in m, open('/proc/self/comm').read(), os.readlink('/proc/self/exe') == os.path.realpath('/usr/bin/python3'), open('/proc/self/cmdline','rb').read().split(b'\\0')[1])"),
            script("sparse", "import os; f=os.open('s', os.O_RDWR|os.O_CREAT); os.pwrite(f, b'x', 1<<33); print(os.fstat(f).st_size, os.lseek(f, 0, os.SEEK_DATA) > 0, os.pread(f, 3, 5)); os.truncate(f, 1)").ignore_files(),
        ],
    )
}

/// Runs a test module and prints how each single test came out. A test counts as skipped that
/// wants what a machine does not have: a second process, a terminal of its own, extended attributes,
/// UDP-Lite, sockets to the host by number.
const RUNNER: &str = r#"
import importlib, multiprocessing.process, os, pty, socket, sys, time, unittest
import _posixsubprocess, subprocess, test.support
class Result(unittest.TestResult):
    def say(self, test, outcome): print(outcome, test.id())
    def addSuccess(self, test): self.say(test, "ok")
    def addError(self, test, error): super().addError(test, error); self.say(test, "ERROR"); sys.stderr.write(self.errors[-1][1])
    def addFailure(self, test, error): super().addFailure(test, error); self.say(test, "FAILED"); sys.stderr.write(self.failures[-1][1])
    def addSkip(self, test, why): self.say(test, "skipped")
    def addExpectedFailure(self, test, error): self.say(test, "fails as expected")
def not_here(*_, **__): raise unittest.SkipTest("a machine has none")
subprocess._fork_exec = _posixsubprocess.fork_exec = os.fork = os.forkpty = pty.fork = not_here
os.posix_spawn = os.posix_spawnp = os.system = os.openpty = pty.openpty = not_here
multiprocessing.process.BaseProcess.start = not_here
for name in ("IPPROTO_UDPLITE", "IOCTL_VM_SOCKETS_GET_LOCAL_CID"):
    if hasattr(socket, name): delattr(socket, name)
def no_clock_setting(*_): raise PermissionError("the host's clock stays as it is")
time.clock_settime = time.clock_settime_ns = no_clock_setting
test.support.verbose = 0
test.support.run_doctest = lambda *_, **__: None
result = Result()
test.support._run_suite = lambda suite: suite.run(result)
module = importlib.import_module("test." + sys.argv[1])
if hasattr(module, "ExtendedAttributeTests"): del module.ExtendedAttributeTests
if hasattr(module, "test_main"): module.test_main()
else: unittest.defaultTestLoader.loadTestsFromName(module.__name__).run(result)
print(result.testsRun, "tests of", sys.argv[1])
sys.exit(not result.wasSuccessful())
"#;

/// Modules of the standard library's tests that are worth running.
const MODULES: &[&str] = &[
    "test_array",
    "test_augassign",
    "test_base64",
    "test_binascii",
    "test_bisect",
    "test_bool",
    "test_bz2",
    "test_calendar",
    "test_charmapcodec",
    "test_class",
    "test_cmath",
    "test_colorsys",
    "test_complex",
    "test_configparser",
    "test_contains",
    "test_copy",
    "test_csv",
    "test_decimal",
    "test_deque",
    "test_dict",
    "test_difflib",
    "test_dis",
    "test_enumerate",
    "test_exception_hierarchy",
    "test_fileio",
    "test_float",
    "test_fnmatch",
    "test_format",
    "test_fractions",
    "test_fstring",
    "test_genericpath",
    "test_getopt",
    "test_glob",
    "test_grammar",
    "test_hashlib",
    "test_heapq",
    "test_hmac",
    "test_html",
    "test_htmlparser",
    "test_index",
    "test_int",
    "test_ipaddress",
    "test_iter",
    "test_json.test_decode",
    "test_json.test_dump",
    "test_json.test_fail",
    "test_json.test_float",
    "test_json.test_scanstring",
    "test_json.test_unicode",
    "test_keyword",
    "test_linecache",
    "test_list",
    "test_long",
    "test_lzma",
    "test_math",
    "test_memoryview",
    "test_mimetypes",
    "test_numeric_tower",
    "test_operator",
    "test_ordered_dict",
    "test_pathlib",
    "test_pickle",
    "test_plistlib",
    "test_posixpath",
    "test_pow",
    "test_pprint",
    "test_quopri",
    "test_range",
    "test_re",
    "test_richcmp",
    "test_set",
    "test_shelve",
    "test_shlex",
    "test_slice",
    "test_sort",
    "test_stat",
    "test_statistics",
    "test_strftime",
    "test_string",
    "test_strptime",
    "test_struct",
    "test_tarfile",
    "test_textwrap",
    "test_time",
    "test_timeit",
    "test_tuple",
    "test_typechecks",
    "test_unicode",
    "test_unicodedata",
    "test_unpack",
    "test_urlparse",
    "test_userdict",
    "test_uuid",
    "test_weakset",
    "test_xml_etree",
    "test_zipfile",
    "test_zlib",
];

/// Those with threads and sockets, on two virtual CPUs.
const THREADED_MODULES: &[&str] = &[
    "test_asyncio.test_base_events",
    "test_asyncio.test_buffered_proto",
    "test_asyncio.test_context",
    "test_asyncio.test_events",
    "test_asyncio.test_futures",
    "test_asyncio.test_locks",
    "test_asyncio.test_pep492",
    "test_asyncio.test_protocols",
    "test_asyncio.test_queues",
    "test_asyncio.test_runners",
    "test_asyncio.test_selector_events",
    "test_asyncio.test_sendfile",
    "test_asyncio.test_server",
    "test_asyncio.test_sock_lowlevel",
    "test_asyncio.test_ssl",
    "test_asyncio.test_sslproto",
    "test_asyncio.test_streams",
    "test_asyncio.test_taskgroups",
    "test_asyncio.test_tasks",
    "test_asyncio.test_threads",
    "test_asyncio.test_timeouts",
    "test_asyncio.test_transports",
    "test_asyncio.test_unix_events",
    "test_asyncio.test_waitfor",
    "test_epoll",
    "test_mmap",
    "test_os",
    "test_poll",
    "test_queue",
    "test_select",
    "test_selectors",
    "test_signal",
    "test_socket",
    "test_ssl",
    "test_threading",
    "test_threadsignals",
];

/// Those that compute for long: half a minute natively, for every zone there is.
const LONG_MODULES: &[&str] = &["test_datetime"];

fn own_tests() -> Vec<Case> {
    let case = |module: &&str| {
        let mut case = Case::new(module, &[PYTHON, "run.py", module]);
        case.name = format!("libpython3.11-testsuite/{module}");
        case.package = "libpython3.11-testsuite";
        case.file("run.py", Text(RUNNER)).ignore_files()
    };
    let threaded = |module: &&str| case(module).cpus(2).about_time().slow();
    let plain = MODULES.iter().map(case);
    let long = LONG_MODULES.iter().map(|module| case(module).slow());
    let threaded = THREADED_MODULES.iter().map(threaded);
    plain.chain(long).chain(threaded).collect()
}
