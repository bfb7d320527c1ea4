//! Where a request comes from when it comes through proxies. A header is believed only as far as a configured proxy wrote it.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

/// The header in which a proxy says whom it speaks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`: addresses with commas between them, the nearest last.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ProxyHeader {
    /// As it is written in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    const fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => header::FORWARDED,
        }
    }
}

/// The proxies before this server. Only one header is read: the other is what any client may send through them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Their addresses.
    pub networks: Vec<IpNet>,
    /// Where they say whom they speak for.
    pub header: ProxyHeader,
}

impl Proxies {
    /// The address of the client that sent these headers over a connection from `peer`: the last one that is not a proxy's.
    /// What is no address ends the search; then it is the proxy that passed it on.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.ip().to_canonical();
        if !self.contains(client) {
            return client;
        }
        let lines: Vec<_> = headers.get_all(self.header.name()).iter().collect();
        for line in lines.into_iter().rev() {
            let line = String::from_utf8_lossy(line.as_bytes());
            let hops = match self.header {
                ProxyHeader::XForwardedFor => Some(line.split(',').map(address).collect()),
                ProxyHeader::Forwarded => forwarded(&line),
            };
            for hop in hops.unwrap_or_else(|| vec![None]).into_iter().rev() {
                let Some(hop) = hop else { return client };
                client = hop;
                if !self.contains(client) {
                    return client;
                }
            }
        }
        client
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// An address with or without a port; one of IPv6 may stand in brackets, and must if it has a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bracketed {
        Some(inside) => inside.parse().ok(),
        None => text.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip())),
    };
    address.map(|address: IpAddr| address.to_canonical())
}

/// The `for=` of each element of a `Forwarded` header (RFC 7239, 4), `None` where it is missing or names no address.
/// Nothing at all when quotes do not match: a client could have opened one to swallow what the proxy wrote behind it.
fn forwarded(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let mut elements = vec![vec![String::new()]];
    let (mut quoted, mut escaped) = (false, false);
    for c in line.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => {
                escaped = true;
                continue;
            }
            '"' => {
                quoted = !quoted;
                continue;
            }
            ',' if !quoted => {
                elements.push(vec![String::new()]);
                continue;
            }
            ';' if !quoted => {
                elements.last_mut()?.push(String::new());
                continue;
            }
            _ => {}
        }
        elements.last_mut()?.last_mut()?.push(c);
    }
    let by = |pairs: &Vec<String>| {
        let mut values = pairs.iter().filter_map(|pair| pair.split_once('='));
        values.find(|(name, _)| name.trim().eq_ignore_ascii_case("for")).and_then(|(_, value)| address(value))
    };
    (!quoted).then(|| elements.iter().map(by).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(header: ProxyHeader, peer: &str, lines: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).to_vec();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header.name(), line.parse().unwrap());
        }
        Proxies { networks, header }.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_proxies_are_believed() {
        let client = |peer: &str, lines: &[&str]| client(ProxyHeader::XForwardedFor, peer, lines);
        assert_eq!(client("192.0.2.1:5", &["198.51.100.1"]), "192.0.2.1", "a client's own word");
        assert_eq!(client("10.0.0.1:5", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1:5", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("[::ffff:10.0.0.1]:5", &["::ffff:198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("[2001:db8::1]:5", &["2001:db9::7"]), "2001:db9::7");
        assert_eq!(client("10.0.0.1:5", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1:5", &["[2001:db9::7]:4711"]), "2001:db9::7");
    }

    #[test]
    fn what_a_client_wrote_before_is_not() {
        let client = |lines: &[&str]| client(ProxyHeader::XForwardedFor, "10.0.0.1:5", lines);
        assert_eq!(client(&["203.0.113.9, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client(&["203.0.113.9, 198.51.100.1, 10.2.3.4"]), "198.51.100.1", "through two proxies");
        assert_eq!(client(&["203.0.113.9", "198.51.100.1, 10.2.3.4"]), "198.51.100.1", "in two lines");
        assert_eq!(client(&["10.9.9.9, 10.2.3.4"]), "10.9.9.9", "proxies alone");
        for nonsense in ["unknown", "", ",", "203.0.113.9;", "1.2.3", "[::1", "localhost", "é", "203.0.113.9 x"] {
            assert_eq!(client(&[nonsense]), "10.0.0.1", "{nonsense}");
            assert_eq!(client(&[&format!("203.0.113.9, {nonsense}, 10.2.3.4")]), "10.2.3.4", "{nonsense}");
        }
        assert_eq!(client(&[&"10.1.1.1,".repeat(10_000)]), "10.0.0.1");
    }

    #[test]
    fn forwarded_has_a_grammar() {
        let client = |lines: &[&str]| client(ProxyHeader::Forwarded, "10.0.0.1:5", lines);
        assert_eq!(client(&["for=198.51.100.1"]), "198.51.100.1");
        assert_eq!(client(&["for=203.0.113.9, For=\"198.51.100.1:4711\";proto=https;by=10.0.0.1"]), "198.51.100.1");
        assert_eq!(client(&["proto=http;for=\"[2001:db9::7]:80\", for=10.2.3.4"]), "2001:db9::7");
        assert_eq!(client(&["for=203.0.113.9;host=\"a,b;for=203.0.113.1\", for=198.51.100.1"]), "198.51.100.1");
        for nonsense in ["for=unknown", "for=_hidden", "for", "by=198.51.100.1", "for=\"", "for=203.0.113.9;x=\"\\\""] {
            assert_eq!(client(&[nonsense]), "10.0.0.1", "{nonsense}");
        }
        // A quote that a client left open.
        assert_eq!(client(&["for=203.0.113.9;x=\", for=198.51.100.1"]), "10.0.0.1");
        assert_eq!(client(&["for=203.0.113.9;x=\"", "for=198.51.100.1"]), "198.51.100.1", "in a line of its own");
        assert_eq!(client(&["for=203.0.113.9;x=\"\\, for=\"[2001:db9::7]:1\""]), "10.0.0.1");
    }

    proptest! {
        /// However a client begins the line, what the proxy wrote at its end is the answer, or the proxy is.
        #[test]
        fn no_beginning_changes_the_end(begin in "[ -~]{0,60}", forwarded in any::<bool>()) {
            let (header, end) = match forwarded {
                true => (ProxyHeader::Forwarded, "for=198.51.100.1"),
                false => (ProxyHeader::XForwardedFor, "198.51.100.1"),
            };
            let found = client(header, "10.0.0.1:5", &[&format!("{begin}, {end}")]);
            prop_assert!(found == "198.51.100.1" || found == "10.0.0.1", "{found}");
        }
    }
}
