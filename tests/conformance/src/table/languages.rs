//! Interpreters: Perl, Lua, SQLite.

use crate::case::{Case, in_package};
use crate::content::Content::{Numbers, Text, Words};

pub(super) fn cases() -> Vec<Case> {
    [perl(), lua(), sqlite()].into_iter().flatten().collect()
}

fn perl() -> Vec<Case> {
    let script = |name, code: &str| Case::new(name, &["perl", "-we", code]);
    in_package(
        "perl",
        [
            script("hello", "print \"hello @ARGV\\n\"").argument("a b").argument("c"),
            script("regex", "while (<STDIN>) { $n{$1}++ while /\\b(\\w)\\w*?(\\w)\\b(?!\\d)/g } print \"$_ $n{$_}\\n\" for sort keys %n")
                .stdin(Words(5000)),
            script("pack", "print unpack('H*', pack('NnvVqd>w/a*', 1, 2, 3, 4, -5, 6.25, 'abc')), \"\\n\"; printf \"%vd\\n\", '1.22.333'"),
            script("sort", "print sort { $a <=> $b } <STDIN>").stdin(Numbers(20_000)),
            script("sprintf", "printf \"%s %5.3f %e %#x %b %-5s|\\n\", 'a', 3.14159, 12345.678, 255, 10, 'x'"),
            script("localtime", "print scalar(localtime 1e9), ' ', join(',', (gmtime 86400)[3,4,5,6,7]), \"\\n\"")
                .env("TZ", "America/New_York"),
            script("modules", "use strict; use POSIX qw(floor fmod strftime); use List::Util qw(sum shuffle); use Data::Dumper; \
                use Digest::SHA qw(sha256_hex); use MIME::Base64; $Data::Dumper::Sortkeys = 1; \
                print floor(-2.5), fmod(7,3), sum(1..100), sha256_hex('x'), encode_base64('husk'), Dumper({a=>[1,{b=>2}]})"),
            script("files", "open my $f, '+>', 'out' or die; print $f \"line $_\\n\" for 1..1000; seek $f, 0, 0; my $n = () = <$f>; \
                close $f; rename 'out', 'new'; print $n, ' ', -s 'new', ' ', (stat 'new')[2] & 0777, \"\\n\""),
            script("die", "die \"gone\\n\"").fails().with_stderr(),
            script("big", "use Math::BigInt; print Math::BigInt->new(3)->bpow(500), \"\\n\""),
            script("alarm", "$SIG{ALRM} = sub { die \"late\\n\" }; eval { alarm 1; select undef, undef, undef, 10; }; print $@"),
            script("signals", "$SIG{USR1} = sub { print \"usr1\\n\" }; kill USR1 => $$; kill TERM => $$").fails(),
            script("memory", "my %h; $h{$_} = 'x' x ($_ % 100) for 1..100000; my $n = 0; $n += length for values %h; print \"$n\\n\""),
            script("unicode", "use utf8; use open qw(:std :utf8); my $s = 'Grüße Ω'; print uc($s), length($s), \"\\n\""),
        ],
    )
}

fn lua() -> Vec<Case> {
    let script = |name, code: &str| Case::new(name, &["lua5.4", "-e", code]);
    in_package(
        "lua5.4",
        [
            script(
                "fib",
                "local function f(n) if n < 2 then return n end return f(n-1) + f(n-2) end print(f(24))",
            ),
            script(
                "strings",
                "for w in ('one two three'):gmatch('%a+') do io.write(w:upper():rep(2, '-'), ' ') end print(('%5.2f %q'):format(math.pi, 'a\\nb'))",
            ),
            script(
                "tables",
                "local t = {} for i = 1, 50000 do t[i] = (i * 7919) % 50021 end table.sort(t) print(t[1], t[25000], #t, table.concat(t, ',', 1, 9))",
            ),
            script(
                "coroutines",
                "local c = coroutine.wrap(function() for i = 1, 5 do coroutine.yield(i * i) end end) print(c(), c(), c())",
            ),
            script(
                "files",
                "local f = assert(io.open('out', 'w')) for i = 1, 2000 do f:write(i, '\\n') end f:close() local n = 0 for l in io.lines('out') do n = n + l end print(n)",
            ),
            script("error", "error('gone')").fails().with_stderr(),
            script(
                "dates",
                "print(os.date('!%Y-%m-%d %H:%M:%S', 1e9 // 1 | 0), os.time{year=2001,month=9,day=9,hour=1})",
            ),
        ],
    )
}

fn sqlite() -> Vec<Case> {
    const ROWS: &str =
        "with recursive n(i) as (select 1 union all select i+1 from n where i < 20000) ";
    let memory = |name, sql: &str| Case::new(name, &["sqlite3", ":memory:", sql]);
    let file = |name, sql: &str| Case::new(name, &["sqlite3", "data.db", sql]);
    in_package(
        "sqlite3",
        [
            memory("select", "select 6*7, upper('x'), hex(zeroblob(4)), round(2.567, 2), strftime('%F', 0, 'unixepoch');"),
            memory("aggregate", &format!("{ROWS} select i % 7, count(*), sum(i*i), avg(i) from n group by 1;")),
            memory("json", "select json_extract('{\"a\":[1,2,{\"b\":3}]}', '$.a[2].b'), json_group_array(value) from json_each('[3,1,2]');"),
            memory("window", &format!("{ROWS} select i, sum(i) over (order by i rows 3 preceding) from n limit 20;")),
            file("create", &format!("create table t(i integer primary key, s text); insert into t {ROWS} select i, 'row ' || i from n; create index x on t(s); select count(*) from t; pragma integrity_check;"))
                .ignore_files(),
            file("wal", &format!("pragma journal_mode=wal; create table t(i); insert into t {ROWS} select i from n; select sum(i) from t; pragma wal_checkpoint(truncate);"))
                .ignore_files(),
            file("journal", "begin; insert into t values(9); rollback; update t set i = i + 1; select * from t; vacuum;")
                .prepare("sqlite3 data.db 'create table t(i); insert into t values(1),(2);'")
                .ignore_files(),
            Case::new("shell", &["sqlite3"]).stdin(Text(".mode csv\ncreate table t(a,b);\ninsert into t values(1,'x y');\n.headers on\nselect * from t;\n.schema\n")),
            Case::new("import", &["sqlite3", ":memory:", ".import --csv in t", "select count(*), max(length(n)) from t;"])
                .prepare("{ echo n; seq 1 3000; } > in"),
            memory("error", "select * from none;").fails(),
        ],
    )
}
