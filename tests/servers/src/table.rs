//! The servers.

use anyhow::Result;

use crate::loads;
use crate::needs::Need;
use crate::programs;
use crate::server::Server;
use crate::site::Site;
use serving::clients::exchange;

/// What most have in common.
const SERVER: Server = Server {
    name: "",
    needs: &[],
    memory: "512M",
    command: &[],
    files: &[],
    prepare: |_| Ok(()),
    ready: |_| Ok(()),
    load: |_| anyhow::bail!("no load"),
    status: 143,
    status_in_race: None,
    status_as_first: None,
};

const HELLO: (&str, &str) = ("www/hello", "hello from a file\n");
pub(crate) const JAVA: [Need; 2] = [
    Need::Debian("java", "openjdk-17-jre-headless"),
    Need::Debian("javac", "openjdk-17-jdk-headless"),
];
const TOMCAT: &str = "/usr/share/java/tomcat10-embed-core.jar";
const ANNOTATIONS: &str = "/usr/share/java/jakarta-annotation-api.jar";

/// All of them.
pub(crate) const SERVERS: &[Server] = &[
    Server {
        name: "redis",
        needs: &[Need::Debian("redis-server", "redis-server")],
        command: &[
            "redis-server",
            "--bind",
            "{address}",
            "--port",
            "{port}",
            "--save",
            "",
            "--appendonly",
            "no",
            "--protected-mode",
            "no",
        ],
        ready: |site| exchange::ask(site.port, "PING\r\n", "+PONG\r\n"),
        load: loads::redis,
        status: 0,
        ..SERVER
    },
    Server {
        name: "memcached",
        needs: &[Need::Debian("memcached", "memcached")],
        command: &[
            "memcached",
            "-t",
            "2",
            "-u",
            "root",
            "-l",
            "{address}",
            "-p",
            "{port}",
        ],
        ready: |site| exchange::ask(site.port, "mn\r\n", "MN\r\n"),
        load: loads::memcached,
        status: 0,
        ..SERVER
    },
    NGINX,
    Server {
        name: "nginx-files",
        prepare: loads::make_file,
        load: loads::files,
        ..NGINX
    },
    NGINX_TLS,
    Server {
        name: "nginx-tls-files",
        prepare: |site| loads::make_file(site).and_then(|()| loads::make_certificate(site)),
        load: loads::tls_files,
        ..NGINX_TLS
    },
    Server {
        name: "lighttpd",
        needs: &[Need::Debian("lighttpd", "lighttpd")],
        command: &["lighttpd", "-D", "-f", "{folder}/configuration"],
        files: &[
            HELLO,
            (
                "configuration",
                r#"
                server.document-root = "{folder}/www"
                server.bind = "{address}"
                server.port = {port}
                server.max-keep-alive-requests = 100000
                mimetype.assign = ("" => "text/plain")
                "#,
            ),
        ],
        ready: loads::says_hello,
        load: loads::hello,
        status: 0,
        ..SERVER
    },
    Server {
        name: "haproxy",
        needs: &[Need::Debian("haproxy", "haproxy")],
        command: &["haproxy", "-f", "{folder}/configuration"],
        files: &[(
            "configuration",
            r#"
defaults
    mode http
    timeout client 30s
    timeout connect 5s
    timeout server 30s
frontend all
    bind {address}:{port}
    http-request return status 200 content-type text/plain string "hello from haproxy"
"#,
        )],
        ready: loads::says_hello,
        load: loads::hello,
        ..SERVER
    },
    Server {
        name: "mosquitto",
        needs: &[
            Need::Debian("mosquitto", "mosquitto"),
            Need::Debian("mosquitto_pub", "mosquitto-clients"),
        ],
        command: &["mosquitto", "-c", "{folder}/configuration"],
        files: &[(
            "configuration",
            "listener {port} {address}\nallow_anonymous true\nuser root\npersistence false\n",
        )],
        ready: loads::mqtt_is_ready,
        load: loads::mqtt,
        status: 0,
        ..SERVER
    },
    Server {
        name: "caddy",
        needs: &[Need::Debian("caddy", "caddy")],
        memory: "1G",
        command: &[
            "caddy",
            "file-server",
            "--listen",
            "{address}:{port}",
            "--root",
            "{folder}/www",
        ],
        files: &[HELLO],
        ready: loads::says_hello,
        load: loads::hello,
        status: 0,
        ..SERVER
    },
    Server {
        name: "etcd",
        needs: &[Need::Debian("etcd", "etcd-server")],
        memory: "1G",
        command: &[
            "etcd",
            "--data-dir",
            "{folder}/etcd",
            "--listen-client-urls",
            "http://{address}:{port}",
            "--advertise-client-urls",
            "http://127.0.0.1:{port}",
            "--listen-peer-urls",
            "http://127.0.0.1:{second}",
            "--initial-advertise-peer-urls",
            "http://127.0.0.1:{second}",
            "--initial-cluster",
            "default=http://127.0.0.1:{second}",
        ],
        ready: loads::etcd_is_ready,
        load: loads::etcd,
        // It cannot end itself by a signal then (etcd's osutil).
        status_as_first: Some(0),
        ..SERVER
    },
    Server {
        name: "nats",
        needs: &[Need::Debian("nats-server", "nats-server")],
        command: &["nats-server", "-a", "{address}", "-p", "{port}"],
        ready: loads::nats_is_ready,
        load: loads::nats,
        // Its signal handler ends the process by 1 while its `main`, which waits for the same
        // end of service, returns: 0 is natively as right (one of six with slow futex calls).
        status: 1,
        status_in_race: Some(0),
        ..SERVER
    },
    Server {
        name: "node-exporter",
        needs: &[Need::Debian(
            "prometheus-node-exporter",
            "prometheus-node-exporter",
        )],
        command: &[
            "prometheus-node-exporter",
            "--web.listen-address={address}:{port}",
        ],
        ready: loads::exports_metrics,
        load: loads::metrics,
        ..SERVER
    },
    Server {
        name: "python-http-server",
        needs: &[Need::Debian("/usr/bin/python3", "python3")],
        command: &[
            "/usr/bin/python3",
            "-m",
            "http.server",
            "--bind",
            "{address}",
            "--directory",
            "{folder}/www",
            "{port}",
        ],
        files: &[HELLO],
        ready: loads::says_hello,
        load: loads::hello_slowly,
        ..SERVER
    },
    Server {
        name: "python-threads",
        needs: &[Need::Debian("/usr/bin/python3", "python3")],
        command: &[
            "/usr/bin/python3",
            "{folder}/threads.py",
            "{address}",
            "{port}",
        ],
        files: &[("threads.py", include_str!("../programs/threads.py"))],
        ready: loads::says_hello,
        load: loads::hello_slowly,
        ..SERVER
    },
    Server {
        name: "node",
        needs: &[Need::Debian("node", "nodejs")],
        memory: "1G",
        command: &["node", "{folder}/server.js", "{address}", "{port}"],
        files: &[("server.js", include_str!("../programs/server.js"))],
        ready: loads::says_hello,
        load: loads::hello,
        ..SERVER
    },
    Server {
        name: "java-http-server",
        needs: &JAVA,
        memory: "1G",
        command: &["java", "-cp", "{folder}", "Plain", "{address}", "{port}"],
        prepare: |site| programs::java("Plain", "/", site.folder()),
        ready: loads::says_hello,
        load: loads::hello_slowly,
        ..SERVER
    },
    Server {
        name: "tomcat-embedded",
        needs: &[
            JAVA[0],
            JAVA[1],
            Need::Debian(TOMCAT, "libtomcat10-embed-java"),
            Need::Debian(ANNOTATIONS, "libjakarta-annotation-api-java"),
        ],
        memory: "1G",
        command: &[
            "java",
            "-cp",
            "{folder}:/usr/share/java/tomcat10-embed-core.jar:/usr/share/java/jakarta-annotation-api.jar",
            "Embedded",
            "{address}",
            "{port}",
            "{folder}",
        ],
        prepare: tomcat,
        ready: loads::says_hello,
        load: loads::hello_slowly,
        ..SERVER
    },
    Server {
        name: "wiremock",
        needs: &[
            JAVA[0],
            Need::Npm {
                name: "wiremock",
                version: "3.13.2",
                folder: "wiremock",
            },
        ],
        memory: "1G",
        command: &[
            "java",
            "-jar",
            "{kept}/wiremock/build/wiremock-standalone-3.13.2.jar",
            "--port",
            "{port}",
            "--bind-address",
            "{address}",
            "--root-dir",
            "{folder}/wiremock",
            "--disable-banner",
            "--no-request-journal",
        ],
        files: &[(
            "wiremock/mappings/hello.json",
            r#"{"request": {"method": "GET", "url": "/hello"},
                "response": {"status": 200, "body": "hello from wiremock\n"}}"#,
        )],
        ready: loads::says_hello,
        load: loads::hello_slowly,
        ..SERVER
    },
    Server {
        name: "spring-boot",
        needs: &[
            JAVA[0],
            // An application of 2019: Spring Boot 2.1.4 with Tomcat 9, whose rules become Java.
            Need::Npm {
                name: "openvalidation-languageserver-backend",
                version: "0.0.2",
                folder: "spring-boot",
            },
        ],
        memory: "1G",
        command: &[
            "java",
            "-jar",
            "{kept}/spring-boot/java/ov-rest.jar",
            "--server.address={address}",
            "--server.port={port}",
        ],
        ready: loads::describes_itself,
        load: loads::rules,
        ..SERVER
    },
    Server {
        name: "esbuild",
        needs: &[Need::Npm {
            name: "@esbuild/linux-x64",
            version: "0.28.2",
            folder: "esbuild",
        }],
        command: &[
            "{kept}/esbuild/bin/esbuild",
            "--serve={address}:{port}",
            "--servedir={folder}/www",
            "--log-level=warning",
        ],
        files: &[HELLO],
        ready: loads::says_hello,
        load: loads::hello_slowly,
        ..SERVER
    },
];

const NGINX: Server = Server {
    name: "nginx",
    needs: &[Need::Debian("nginx", "nginx-light")],
    command: &["nginx", "-e", "stderr", "-c", "{folder}/configuration"],
    files: &[
        HELLO,
        (
            "configuration",
            "
            daemon off; master_process off; user root; pid {folder}/pid;
            events { worker_connections 2048; }
            http {
                access_log off; sendfile on; keepalive_requests 1000000; root {folder}/www;
                server { listen {address}:{port}; }
            }
            ",
        ),
    ],
    ready: loads::says_hello,
    load: loads::hello,
    status: 0,
    ..SERVER
};

const NGINX_TLS: Server = Server {
    name: "nginx-tls",
    needs: &[
        NGINX.needs[0],
        Need::Debian("openssl", "openssl"),
        Need::Debian("curl", "curl"),
    ],
    files: &[
        HELLO,
        (
            "configuration",
            "
            daemon off; master_process off; user root; pid {folder}/pid;
            events { worker_connections 2048; }
            http {
                access_log off; sendfile on; keepalive_requests 1000000; root {folder}/www;
                ssl_certificate {folder}/certificate; ssl_certificate_key {folder}/key;
                server { listen {address}:{port} ssl; }
            }
            ",
        ),
    ],
    prepare: loads::make_certificate,
    ready: loads::says_hello_by_tls,
    load: loads::tls,
    ..NGINX
};

fn tomcat(site: &Site<'_>) -> Result<()> {
    programs::java("Embedded", TOMCAT, site.folder())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = SERVERS.iter().map(|server| server.name).collect();
        assert_eq!(names.len(), SERVERS.len());
    }
}
