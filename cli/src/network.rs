//! The machine's network: what the command line says of it, and its host end.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use backend_net::user::Options;
use backend_net::user::addresses::GUEST_MAC;
use backend_net::{
    Allowed, Network, Policy, Publish, PublishError, Tap, TapError, User, listen_on, resolvers,
};
use clap::Args;

use crate::error::Failure;

/// What a machine is told of its network.
#[derive(Clone, Debug, Args)]
pub(crate) struct NetworkOptions {
    /// The machine's network: through sockets of husk, none, or a tap interface of this host (default: user, with
    /// --deterministic none)
    #[arg(long, value_name = "user|none|tap=NAME[,...]")]
    pub(crate) net: Option<Net>,
    /// Let this host's port lead to the machine's (IPv6 addresses in brackets)
    #[arg(long, short, value_name = "[ADDR:]PORT:PORT[/udp]")]
    pub(crate) publish: Vec<Publish>,
    /// Whom the machine may reach; `host` is this host, at 10.0.2.2
    #[arg(long, value_name = "CIDR|host|none|all")]
    pub(crate) allow_net: Vec<Allowed>,
    /// Ethernet address of the machine
    #[arg(long, value_name = "XX:XX:XX:XX:XX:XX", default_value_t = Mac(GUEST_MAC))]
    pub(crate) mac: Mac,
}

/// Which network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    User,
    None,
    /// The interface, and the machine's place there.
    Tap(String, Place),
}

/// A place in a network that the command line says: `ip=`, `gateway=` and `dns=`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Address and length of its prefix.
    pub(crate) ipv4: Option<(Ipv4Addr, u8)>,
    pub(crate) gateway_v4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<(Ipv6Addr, u8)>,
    pub(crate) gateway_v6: Option<Ipv6Addr>,
    /// Who answers for names.
    pub(crate) resolvers: Vec<Ipv4Addr>,
}

impl Place {
    /// Whether a server is to say it.
    pub(crate) const fn is_open(&self) -> bool {
        self.ipv4.is_none() && self.ipv6.is_none()
    }

    /// Takes one word of it; `None` if it is none.
    fn take(&mut self, word: &str) -> Option<()> {
        let (name, value) = word.split_once('=')?;
        match name {
            "ip" => {
                let (address, prefix) = value.split_once('/')?;
                let prefix = prefix.parse::<u8>().ok()?;
                match address.parse().ok()? {
                    IpAddr::V4(address) if prefix <= 32 => self.ipv4 = Some((address, prefix)),
                    IpAddr::V6(address) if prefix <= 128 => self.ipv6 = Some((address, prefix)),
                    _ => return None,
                }
            }
            "gateway" => match value.parse().ok()? {
                IpAddr::V4(address) => self.gateway_v4 = Some(address),
                IpAddr::V6(address) => self.gateway_v6 = Some(address),
            },
            "dns" => self.resolvers.push(value.parse().ok()?),
            _ => return None,
        }
        Some(())
    }

    /// The words of a network after its name.
    fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut place = Self::default();
        for word in words {
            place.take(word).ok_or_else(|| {
                format!(
                    "'{word}' says no place in a network (write ip=ADDRESS/PREFIX, gateway=ADDRESS \
                     or dns=ADDRESS, which is IPv4)"
                )
            })?;
        }
        let lost = place.gateway_v4.is_some() && place.ipv4.is_none()
            || place.gateway_v6.is_some() && place.ipv6.is_none();
        if lost {
            return Err("gateway= without ip= of the same kind leads nowhere (add it)".to_owned());
        }
        Ok(place)
    }
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.strip_prefix("tap=").unwrap_or_default().split(',');
        let name = words.next().unwrap_or_default();
        match text {
            "user" => Ok(Self::User),
            "none" => Ok(Self::None),
            _ if !name.is_empty() => Ok(Self::Tap(name.to_owned(), Place::parse(words)?)),
            _ => Err(format!(
                "'{text}' is no network (there are user, none and tap=NAME)"
            )),
        }
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || {
            format!(
                "'{text}' is no Ethernet address (write it as {})",
                Self(GUEST_MAC)
            )
        };
        let byte = |part: &str| {
            let is_hex = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_hex.then(|| u8::from_str_radix(part, 16).ok())?
        };
        let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
        let bytes: Option<[u8; 6]> = bytes.and_then(|bytes| bytes.try_into().ok());
        let mac = bytes.ok_or_else(usage)?;
        if mac[0] & 1 != 0 {
            return Err(format!(
                "'{text}' is the address of a group (its first byte is odd)"
            ));
        }
        Ok(Self(mac))
    }
}

/// What the monitor must be able to do for a network while the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing.
    Nothing,
    /// Frames of an interface.
    Frames,
    /// Sockets.
    Sockets,
}

impl NetworkOptions {
    /// Which network.
    pub(crate) const fn net(&self) -> &Net {
        match &self.net {
            Some(net) => net,
            None => &Net::User,
        }
    }

    /// What the monitor's confinement has to leave.
    pub(crate) const fn reach(&self) -> Reach {
        match self.net() {
            Net::None => Reach::Nothing,
            Net::Tap(..) => Reach::Frames,
            Net::User => Reach::Sockets,
        }
    }

    /// Opens the host end, if there is to be a network. `queues` is how many pairs the machine
    /// can use.
    pub(crate) fn open(&self, queues: usize) -> Result<Option<Arc<dyn Network>>, Failure> {
        self.check()?;
        match self.net() {
            Net::None => Ok(None),
            Net::User => self.open_user().map(Some),
            Net::Tap(name, _) => {
                let tap = Tap::open(name, queues).map_err(|error| tap_failure(name, &error))?;
                Ok(Some(Arc::new(tap)))
            }
        }
    }

    /// What is only for the user network.
    fn check(&self) -> Result<(), Failure> {
        let given = [
            ("--publish", !self.publish.is_empty()),
            ("--allow-net", !self.allow_net.is_empty()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((option, _)) if *self.net() != Net::User => {
                let why = "it goes with --net user only";
                let remedy = "leave it out, or leave out --net";
                Err(Failure::new(option, why, remedy))
            }
            _ => Ok(()),
        }
    }

    fn open_user(&self) -> Result<Arc<dyn Network>, Failure> {
        let listeners = listen_on(&self.publish);
        let listeners = listeners.map_err(|(which, error)| publish_failure(which, &error))?;
        let options = Options {
            mac: Some(self.mac.0),
            policy: Policy::new(&self.allow_net),
            listeners,
            resolvers: resolvers::of_host(),
            host_name: "husk".to_owned(),
        };
        let user = User::new(options);
        let user = user.map_err(|error| Failure::new("--net user", &error, no_remedy(&error)))?;
        Ok(Arc::new(user))
    }
}

fn no_remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files",
        _ => "",
    }
}

fn publish_failure(which: Publish, error: &PublishError) -> Failure {
    let remedy = match error {
        PublishError::InUse(_) => "publish another, or end who uses it",
        PublishError::Privileged(_) => {
            "publish one from 1024 on, or lower net.ipv4.ip_unprivileged_port_start"
        }
        PublishError::Address(_) => "`ip address` shows those it has",
        PublishError::Host(_) => "",
    };
    Failure::new(format_args!("--publish {which}"), error, remedy)
}

fn tap_failure(name: &str, error: &TapError) -> Failure {
    let make = format!("`ip tuntap add {name} mode tap user $USER` makes one");
    let remedy = match error {
        TapError::NoTun => "load the module tun, or use --net user".to_owned(),
        TapError::Permission => {
            format!("give it to this user when it is made: {make}; or use --net user")
        }
        TapError::NoInterface => make,
        TapError::Busy => "end the other machine, or make another interface".to_owned(),
        TapError::Host(_) => "use --net user".to_owned(),
    };
    Failure::new(format_args!("--net tap={name}"), error, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        assert_eq!("user".parse(), Ok(Net::User));
        assert_eq!("none".parse(), Ok(Net::None));
        assert_eq!(
            "tap=t0".parse(),
            Ok(Net::Tap("t0".to_owned(), Place::default()))
        );
        for text in [
            "",
            "tap",
            "tap=",
            "tap=,ip=10.0.0.1/8",
            "bridge",
            "user,ip=10.0.0.1/8",
        ] {
            assert!(text.parse::<Net>().is_err(), "{text}");
        }
    }

    #[test]
    fn places() {
        let place = |text: &str| match format!("tap=t0,{text}").parse() {
            Ok(Net::Tap(_, place)) => Some(place),
            _ => None,
        };
        let told = place("ip=10.1.0.2/16,gateway=10.1.0.1,dns=9.9.9.9,dns=1.1.1.1,ip=fd00::2/64");
        let told = told.unwrap();
        assert_eq!(told.ipv4, Some((Ipv4Addr::new(10, 1, 0, 2), 16)));
        assert_eq!(told.gateway_v4, Some(Ipv4Addr::new(10, 1, 0, 1)));
        assert_eq!((told.ipv6.unwrap().1, told.gateway_v6), (64, None));
        assert_eq!(told.resolvers.len(), 2);
        assert!(!told.is_open());
        assert!(place("dns=9.9.9.9").unwrap().is_open());
        for text in [
            "",
            "ip",
            "ip=",
            "ip=10.0.0.1",
            "ip=10.0.0.1/33",
            "ip=fd00::1/129",
            "ip=10.0.0.1/-1",
            "gateway=10.0.0.1",
            "ip=fd00::1/64,gateway=10.0.0.1",
            "ip=10.0.0.2/8,gateway=x",
            "dns=fd00::3",
            "mtu=9000",
        ] {
            assert!(place(text).is_none(), "{text}");
        }
    }

    #[test]
    fn ethernet_addresses() {
        let mac: Mac = "02:00:0a:ff:00:01".parse().unwrap();
        assert_eq!(mac.0, [2, 0, 10, 255, 0, 1]);
        assert_eq!(mac.to_string(), "02:00:0a:ff:00:01");
        for text in [
            "",
            "02:00:0a:ff:00",
            "03:00:00:00:00:00",
            "2:0:0:0:0:0:",
            "+2:00:00:00:00:00",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_only_for_sockets_is_refused_elsewhere() {
        let options = NetworkOptions {
            net: Some(Net::None),
            publish: vec!["80:80".parse().unwrap()],
            allow_net: Vec::new(),
            mac: Mac(GUEST_MAC),
        };
        assert!(options.open(1).is_err());
    }

    #[test]
    fn an_interface_that_is_not_there_is_said() {
        for name in ["no-such-tap", "lo", "../x"] {
            let options = NetworkOptions {
                net: Some(Net::Tap(name.to_owned(), Place::default())),
                publish: Vec::new(),
                allow_net: Vec::new(),
                mac: Mac(GUEST_MAC),
            };
            let failure = options.open(1).map(drop).unwrap_err();
            assert!(
                failure.to_string().starts_with("husk: --net tap="),
                "{failure}"
            );
        }
    }
}
