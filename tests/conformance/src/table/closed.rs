//! Programs of the host's shells that stay within one process, and odd ways to be started.

use crate::case::{Case, in_package};
use crate::content::Content::{Text, Words};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = in_package(
        "dash",
        [
            Case::new("loop", &["dash", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo $i"]),
            Case::new("script", &["./script", "one", "two words"])
                .prepare("printf '#!/bin/sh\\necho \"${0##*/}\" \"$#\" \"$2\"; exit 5\\n' > script; chmod +x script")
                .fails(),
            Case::new("redirect", &["dash", "-c", "echo a > f; echo b >> f; read x < f; echo $x; umask"]),
            Case::new("trap", &["dash", "-c", "trap 'echo got; exit 4' TERM; kill -TERM $$; echo never"]).fails(),
            Case::new("kill-itself", &["dash", "-c", "echo before; kill -KILL $$; echo never"]).fails(),
        ],
    );
    cases.extend(in_package(
        "bash",
        [
            Case::new("arrays", &["bash", "-c", "declare -A m=([a]=1 [b]=2); for k in a b; do printf '%s=%s\\n' $k ${m[$k]}; done"]),
            Case::new("regex", &["bash", "-c", "[[ foo123 =~ ^([a-z]+)([0-9]+)$ ]] && echo ${BASH_REMATCH[2]}"]),
            Case::new("read", &["bash", "-c", "while read -r a b; do x=$b; done; echo \"$a|$x\"; printf -v y %q \"$x\"; echo $y"])
                .stdin(Words(300)),
            Case::new("exec", &["bash", "-c", "exec 5> out; echo five >&5; exec 5>&-; echo $((16#ff)) ${#HOME}"]),
            Case::new("syntax", &["bash", "-c", "if"]).fails(),
        ],
    ));
    cases.extend(in_package(
        "arguments",
        [
            Case::new(
                "empty",
                &[
                    "/usr/bin/printf",
                    "<%s>",
                    "",
                    " ",
                    "a\nb",
                    "\u{1f980}",
                    "-",
                    "--",
                ],
            ),
            Case::new("long", &["/usr/bin/wc", "-c", "--files0-from=-"])
                .stdin(Text("/etc/hostname\0/etc/debian_version\0")),
        ],
    ));
    cases
}
