//! OpenSSL's command.

use crate::case::{Case, in_package};
use crate::content::Content::{Mixed, Noise, Text};

pub(super) fn cases() -> Vec<Case> {
    [digests(), ciphers(), keys()]
        .into_iter()
        .flatten()
        .collect()
}

fn digests() -> Vec<Case> {
    in_package(
        "openssl",
        [
            Case::new("version", &["openssl", "version"]),
            Case::new("sha256", &["openssl", "dgst", "-sha256", "in"]).file("in", Noise(5_000_000)),
            Case::new("sha3", &["openssl", "dgst", "-sha3-512"]).stdin(Noise(1_000_000)),
            Case::new(
                "hmac",
                &["openssl", "dgst", "-sha512", "-hmac", "key", "in"],
            )
            .file("in", Mixed(9999)),
            Case::new(
                "speed",
                &[
                    "openssl", "speed", "-seconds", "1", "-bytes", "1024", "sha256",
                ],
            )
            .status_only(),
            Case::new("rand", &["openssl", "rand", "-hex", "32"]).status_only(),
            Case::new("prime", &["openssl", "prime", "1000000007", "1000000011"]),
        ],
    )
}

fn ciphers() -> Vec<Case> {
    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const IV: &str = "00112233445566778899aabbccddeeff";
    in_package(
        "openssl",
        [
            Case::new(
                "aes-cbc",
                &["openssl", "enc", "-aes-256-cbc", "-K", KEY, "-iv", IV],
            )
            .stdin(Mixed(1_000_000)),
            Case::new(
                "aes-ctr",
                &[
                    "openssl",
                    "enc",
                    "-aes-256-ctr",
                    "-K",
                    KEY,
                    "-iv",
                    IV,
                    "-in",
                    "in",
                    "-out",
                    "out",
                ],
            )
            .file("in", Mixed(1_000_000)),
            Case::new(
                "chacha20",
                &["openssl", "enc", "-chacha20", "-K", KEY, "-iv", IV],
            )
            .stdin(Mixed(1_000_000)),
            Case::new(
                "pbkdf2",
                &[
                    "openssl",
                    "enc",
                    "-aes-128-cbc",
                    "-pbkdf2",
                    "-pass",
                    "pass:x",
                    "-S",
                    "0011223344556677",
                    "-a",
                ],
            )
            .stdin(Text("secret\n")),
            Case::new("base64", &["openssl", "base64"]).stdin(Noise(3000)),
            Case::new(
                "passwd",
                &["openssl", "passwd", "-6", "-salt", "salt", "word"],
            ),
        ],
    )
}

fn keys() -> Vec<Case> {
    const MAKE: &str = "openssl genrsa -out key 2048 2>/dev/null; \
        openssl req -x509 -new -key key -subj /CN=husk -set_serial 7 -days 9 -out cert";
    in_package(
        "openssl",
        [
            Case::new(
                "generate",
                &["openssl", "genpkey", "-algorithm", "ed25519", "-out", "key"],
            )
            .ignore_files(),
            Case::new("rsa", &["openssl", "genrsa", "-out", "key", "1024"]).status_only(),
            Case::new(
                "self-sign",
                &["openssl", "verify", "-CAfile", "cert", "cert"],
            )
            .prepare(MAKE)
            .ignore_files(),
            Case::new("curves", &["openssl", "ecparam", "-list_curves"]),
            Case::new(
                "asn1",
                &[
                    "openssl",
                    "asn1parse",
                    "-genstr",
                    "UTF8:husk",
                    "-noout",
                    "-out",
                    "out",
                ],
            ),
        ],
    )
}
